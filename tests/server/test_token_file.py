"""The tokens file: what it says, what is refused, and the commands that make it."""

from __future__ import annotations

import hashlib
import json
import stat
from datetime import UTC, datetime, timedelta

import pytest
from click.testing import CliRunner
from support.files import private

from numroute.cli import numroute
from numroute.errors import InputError, NumrouteError, SettingError, UnauthenticatedError
from numroute.server.clients import read_clients
from numroute.server.tokens import Limits, new_token, parse_clients, token_line

HASH = hashlib.sha256(b"nr_example").hexdigest()
OTHER = hashlib.sha256(b"nr_other").hexdigest()


def test_a_table_says_whose_a_token_is() -> None:
    """Several tokens lead to one client with its limits, wherever the lines stand."""
    table = parse_clients(
        f"""
        # rate and quota
        messaging  rate=1000 daily=50000   # a comment
        messaging  sha256={HASH}
        messaging  sha256={OTHER} expires=2999-01-01T00:00:00Z
        billing    certificate=billing.internal rate=10 burst=500
        """,
        "tokens",
    )
    for token in (b"nr_example", b"nr_other"):
        client = table.of_token(token).client
        assert client.name == "messaging"
        assert client.limits == Limits(rate=1000, burst=1000, daily=50_000)
    billing = table.of_certificate(["unknown", "billing.internal"])
    assert billing is not None
    assert billing.limits == Limits(rate=10, burst=500, daily=None)
    assert table.of_certificate(["unknown"]) is None


@pytest.mark.parametrize(
    ("token", "line", "reason", "said"),
    [
        (b"nr_unknown", "", "unknown_token", "the token is not known"),
        (b"", "", "unknown_token", "the token is not known"),
        (HASH.encode(), "", "unknown_token", "the token is not known"),
        (b"nr_example", " expires=2020-01-01T00:00:00Z", "expired_token", "messaging has expired"),
    ],
    ids=["unknown", "empty", "its_hash", "expired"],
)
def test_a_token_that_does_not_count(token, line, reason, said) -> None:
    """An unknown or expired token is refused with a message that does not repeat it."""
    table = parse_clients(f"messaging sha256={HASH}{line}", "tokens")
    with pytest.raises(UnauthenticatedError, match=said) as caught:
        table.of_token(token).require_valid()
    assert caught.value.reason == reason
    assert caught.value.hint
    assert not token or token.decode() not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("=x", "tokens:1: the line does not begin with a client's name"),
        ("\n\nmessaging sha256", "tokens:3: fact 1 of client messaging is not understood"),
        ("messaging color=red", "fact 1 of client messaging is not understood"),
        ("messaging rate=1 rate=2", "fact 2 of client messaging is not understood"),
        ("messaging rate=1\nmessaging rate=2", "tokens:2: client messaging has rate twice"),
        ("messaging rate=0", "rate of client messaging is no whole number from 1"),
        ("messaging daily=-5", "daily of client messaging is no whole number"),
        ("messaging rate=1e5", "rate of client messaging is no whole number"),
        ("messaging burst=5", "client messaging has a burst but no rate"),
        ("messaging sha256=abc", "sha256 of client messaging is no hash"),
        (f"messaging sha256={HASH.upper()}", "sha256 of client messaging is no hash"),
        ("messaging sha256=nr_secret", "sha256 of client messaging is no hash"),
        ("messaging nr_secret", "fact 1 of client messaging is not understood"),
        ("a certificate=x\nmessaging", "tokens:2: the line has one word"),
        ("nr_secret", "tokens:1: the line has one word"),
        (f"a sha256={HASH}\nb sha256={HASH}", "tokens:2: the token of client b stands here twice"),
        (f"a sha256={HASH} expires=tomorrow", "expires of client a is no time"),
        (f"a sha256={HASH} expires=2027-01-01", "expires of client a is no time with a time zone"),
        ("a expires=2027-01-01T00:00:00Z", "client a has a time but no token"),
        ("a certificate=x\nb certificate=x", "certificate x is that of two clients"),
        ('a certificate="x', "tokens:1: a quotation mark is missing"),
    ],
)
def test_wrong_lines(text, reason) -> None:
    """Each wrong line is refused with its number, the client and what to do, not its secret."""
    with pytest.raises(InputError) as caught:
        parse_clients(text, "tokens")
    assert reason in caught.value.message
    assert caught.value.hint
    assert "nr_secret" not in str(caught.value)


@pytest.mark.parametrize("mode", [0o644, 0o660, 0o604, 0o620])
def test_a_file_that_others_can_read(tmp_path, mode) -> None:
    """A tokens file that others can read or change is refused with the remedy."""
    path = private(tmp_path / "tokens", f"messaging sha256={HASH}")
    path.chmod(mode)
    with pytest.raises(SettingError, match="the tokens file can be read or changed") as caught:
        read_clients(path, "")
    assert "chmod 600" in caught.value.hint


def test_a_secret_mounted_for_a_group(tmp_path) -> None:
    """A file of root's that its group may read is taken, as an orchestrator mounts it."""
    path = private(tmp_path / "tokens", f"messaging sha256={HASH}")
    path.chmod(0o440)
    if path.stat().st_uid:
        pytest.skip("only root can make a file of root's")
    assert read_clients(path, "").token_count == 1


@pytest.mark.parametrize(
    ("content", "reason"),
    [(None, "cannot be read: No such file"), (b"\xff\xfe", "the text is not UTF-8")],
    ids=["missing", "no_text"],
)
def test_no_tokens_file(tmp_path, content, reason) -> None:
    """A missing file and one that is no text are told."""
    path = tmp_path / "tokens"
    if content is not None:
        path.touch(0o600)
        path.write_bytes(content)
    with pytest.raises(NumrouteError, match=reason):
        read_clients(path, "")


def test_lines_from_the_environment(tmp_path) -> None:
    """Lines from the environment come in addition to the file's; semicolons separate them."""
    path = private(tmp_path / "tokens", f"messaging sha256={HASH}")
    table = read_clients(path, f"billing sha256={OTHER}; billing rate=5")
    assert set(table.clients) == {"messaging", "billing"}
    with pytest.raises(InputError, match="NUMROUTE_TOKEN_LINES:1"):
        read_clients(path, "billing sha256=short")


def test_tokens_are_long_and_random() -> None:
    """Tokens have 256 bits and differ; the hash is that of the text."""
    made = [new_token() for _ in range(100)]
    assert len({token for token, _ in made}) == 100
    for token, sha256 in made:
        assert len(token) >= 43
        assert hashlib.sha256(token.encode()).hexdigest() == sha256


def run(*words: str) -> str:
    result = CliRunner().invoke(numroute, ["token", *words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_a_made_line_is_understood() -> None:
    """`token new` prints a token and a line by which that token is known."""
    made = json.loads(run("new", "messaging", "--days", "3", "--json"))
    table = parse_clients(made["line"], "tokens")
    assert table.of_token(made["token"].encode()).client.name == "messaging"
    end = datetime.fromtimestamp(table.tokens[0].expires, UTC)
    assert timedelta(days=2.9) < end - datetime.now(UTC) < timedelta(days=3.1)
    assert made["token"] not in made["line"]
    text = run("new", "messaging")
    token, line = (text.splitlines()[i].partition(": ")[2].strip() for i in (0, 1))
    assert parse_clients(line, "tokens").of_token(token.encode()).client.name == "messaging"


def test_append_makes_and_lengthens_a_private_file(tmp_path) -> None:
    """`--append` makes a file that only its owner reads, and prints only the token."""
    path = tmp_path / "tokens"
    tokens = [run("new", client, "--append", str(path)).strip() for client in ("a", "a", "b")]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    table = read_clients(path, "")
    assert [table.of_token(token.encode()).client.name for token in tokens] == ["a", "a", "b"]
    path.write_text(path.read_text("utf-8").rstrip(), "utf-8")
    run("new", "c", "--append", str(path))
    assert read_clients(path, "").token_count == 4
    assert not any(token in path.read_text("utf-8") for token in tokens)


def test_append_to_a_wrong_file_changes_nothing(tmp_path) -> None:
    """A file that the service would refuse is not made longer."""
    path = private(tmp_path / "tokens", "nonsense nonsense\n")
    with pytest.raises(InputError):
        run("new", "a", "--append", str(path))
    assert path.read_text("utf-8") == "nonsense nonsense\n"


def test_list_shows_who_is_in_the_file(tmp_path) -> None:
    """`token list` shows clients, beginnings of hashes, ends and limits; with --json the same."""
    path = private(
        tmp_path / "tokens",
        f"messaging rate=1000 daily=5\nmessaging sha256={HASH} expires=2020-01-01T00:00:00Z\n"
        f"messaging sha256={OTHER} expires=2999-01-01T00:00:00Z\nbilling certificate=b.internal\n",
    )
    text = run("list", "--tokens", str(path))
    assert f"{HASH[:8]}… (expired)" in text
    assert f"{OTHER[:8]}… (until 2999-01-01 00:00 UTC)" in text
    assert HASH not in text
    billing, messaging = map(json.loads, run("list", "--tokens", str(path), "--json").splitlines())
    assert billing["certificates"] == ["b.internal"]
    assert messaging["rate"] == 1000
    assert [token["expired"] for token in messaging["tokens"]] == [True, False]


@pytest.mark.parametrize("name", ["", "a b", "-x", "a" * 65, "имя", "a=b"])
def test_wrong_client_names(name) -> None:
    """A name that could not stand in a line is refused."""
    with pytest.raises(SettingError, match="is no client's name"):
        run("new", "--", name)


def test_a_line_of_a_token_without_an_end() -> None:
    """A line without an end has no time in it."""
    assert token_line("a", HASH) == f"a sha256={HASH}"
