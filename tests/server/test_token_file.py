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
from numroute.server.auth import new_token, parse_clients, read_clients, token_entry

HASH = hashlib.sha256(b"nr_example").hexdigest()
OTHER = hashlib.sha256(b"nr_other").hexdigest()


def test_a_table_says_whose_a_token_is() -> None:
    """Several tokens lead to one client with its limits, wherever the tables stand."""
    table = parse_clients(
        f"""
        [clients.messaging]
        rate = 1_000   # a comment
        daily = 50_000

        [[clients.messaging.tokens]]
        sha256 = "{HASH}"

        [clients.billing]
        certificates = ["billing.internal"]
        rate = 10
        burst = 500

        [[clients.messaging.tokens]]
        sha256 = "{OTHER}"
        expires = 2999-01-01T00:00:00Z
        """,
        "tokens",
    )
    for token in (b"nr_example", b"nr_other"):
        assert table.with_token(token)[0] == "messaging"
    messaging = table.clients["messaging"]
    assert (messaging.rate, messaging.burst, messaging.daily) == (1000, 1000, 50_000)
    assert table.with_certificate(["unknown", "billing.internal"]) == "billing"
    billing = table.clients["billing"]
    assert (billing.rate, billing.burst, billing.daily) == (10, 500, None)
    assert table.with_certificate(["unknown"]) is None


@pytest.mark.parametrize("token", [b"nr_unknown", b"", HASH.encode()])
def test_an_unknown_token_is_refused(token) -> None:
    """An unknown token, and a hash in place of one, is refused without repeating it."""
    table = parse_clients(token_entry("messaging", HASH), "tokens")
    with pytest.raises(UnauthenticatedError, match="the token is unknown") as caught:
        table.with_token(token)
    assert caught.value.reason == "unknown_token"
    assert caught.value.hint
    assert not token or token.decode() not in str(caught.value)


def test_a_token_expires() -> None:
    """An entry says whether its token has expired."""
    past = datetime(2020, 1, 1, tzinfo=UTC)
    for expires, expired in (
        (past, True),
        (datetime(2999, 1, 1, tzinfo=UTC), False),
        (None, False),
    ):
        table = parse_clients(token_entry("messaging", HASH, expires), "tokens")
        assert table.with_token(b"nr_example")[1].expired is expired


TOKEN = f'tokens = [{{sha256 = "{HASH}"}}]'


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[clients", "tokens: this is not TOML: "),
        ("\n\n[clients.a]\nrate x = 5", "line 4"),
        ("rate = 5", "tokens: a tokens file has one table, `clients`"),
        ("clients = 5", "tokens: a tokens file has one table, `clients`"),
        ('[clients."="]', "clients.= is not a client's name"),
        ("clients.a = 5", "clients.a: Expected `object`, got `int`"),
        ("[clients.a]", "clients.a is empty"),
        ("[clients.a]\ncolor = 'red'", "clients.a: Object contains unknown field `color`"),
        ("[clients.a]\nrate = 0", "clients.a.rate: Expected `int` >= 1"),
        ("[clients.a]\ndaily = -5", "clients.a.daily: Expected `int` >= 1"),
        ("[clients.a]\nrate = 1e5", "clients.a.rate: Expected `int | null`, got `float`"),
        ("[clients.a]\nburst = 5", "clients.a has a burst but no rate"),
        ('[[clients.a.tokens]]\nsha256 = "abc"', "clients.a.tokens[0].sha256: Expected"),
        (f'[[clients.a.tokens]]\nsha256 = "{HASH.upper()}"', "clients.a.tokens[0].sha256"),
        ('[[clients.a.tokens]]\nsha256 = "nr_secret"', "clients.a.tokens[0].sha256"),
        ('clients.a.tokens = ["nr_secret"]', "clients.a.tokens[0]: Expected `object`, got `str`"),
        ("[clients.a]\nnr_secret = 1", "clients.a: Object contains unknown field `…`"),
        ("[clients.nr_secret]", "clients.… is empty"),
        ("[clients.nr_secret]\n[clients.nr_secret]", "Cannot declare ('clients', '…') twice"),
        (f"[clients.a]\n{TOKEN}\n[clients.b]\n{TOKEN}", "clients.b: a token is also in clients.a"),
        (
            f'[[clients.a.tokens]]\nsha256 = "{HASH}"\nexpires = "tomorrow"',
            "clients.a.tokens[0].expires: Invalid RFC3339 encoded datetime",
        ),
        (
            f'[[clients.a.tokens]]\nsha256 = "{HASH}"\nexpires = 2027-01-01T00:00:00',
            "clients.a.tokens[0].expires: Expected `datetime` with a timezone component",
        ),
        (
            "[[clients.a.tokens]]\nexpires = 2027-01-01T00:00:00Z",
            "clients.a.tokens[0]: Object missing required field `sha256`",
        ),
        (
            "clients.a.certificates = ['x']\nclients.b.certificates = ['x']",
            "clients.b: certificate x is also in clients.a",
        ),
    ],
)
def test_wrong_files(text, reason) -> None:
    """Each wrong file is refused with the key or the line and what to do, not with its secret."""
    with pytest.raises(InputError) as caught:
        parse_clients(text, "tokens")
    assert reason in caught.value.message
    assert caught.value.hint
    assert "nr_secret" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        f"messaging sha256={HASH}",
        f"# clients\nmessaging  rate=5 daily=10  # limits\nmessaging sha256={HASH}\n",
        "messaging certificate=m.internal",
    ],
)
def test_a_file_of_the_old_format_is_refused_with_the_remedy(text) -> None:
    """The error says that the file is of the old format, and how its lines are written now."""
    with pytest.raises(InputError, match="in the old format") as caught:
        parse_clients(text, "tokens")
    table, key = caught.value.hint.split("`")[3], caught.value.hint.split("`")[5]
    rewritten = f"{table}\n{key}".replace("CLIENT", "messaging").replace("HASH", HASH)
    client, _ = parse_clients(rewritten, "tokens").with_token(b"nr_example")
    assert client == "messaging"


@pytest.mark.parametrize("mode", [0o644, 0o660, 0o604, 0o620])
def test_a_file_that_others_can_read(tmp_path, mode) -> None:
    """A tokens file that others can read or change is refused with the remedy."""
    path = private(tmp_path / "tokens", token_entry("messaging", HASH))
    path.chmod(mode)
    with pytest.raises(SettingError, match="the tokens file can be read or changed") as caught:
        read_clients(path, "")
    assert "chmod 600" in caught.value.hint


def test_a_secret_mounted_for_a_group(tmp_path) -> None:
    """A file of root's that its group may read is taken, as an orchestrator mounts it."""
    path = private(tmp_path / "tokens", token_entry("messaging", HASH))
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
    """Clients from the environment come in addition to the file's; none is in both."""
    path = private(tmp_path / "tokens", token_entry("messaging", HASH))
    table = read_clients(path, f"clients.billing = {{rate = 5, tokens = [{{sha256 = '{OTHER}'}}]}}")
    assert set(table.clients) == {"messaging", "billing"}
    assert table.with_token(b"nr_other")[0] == "billing"
    assert table.clients["billing"].burst == 5
    with pytest.raises(InputError, match=r"NUMROUTE_TOKEN_LINES: clients\.billing\.rate"):
        read_clients(path, "clients.billing.rate = 0")
    with pytest.raises(InputError, match=r"clients\.messaging is also in NUMROUTE_TOKEN_LINES"):
        read_clients(path, "clients.messaging.daily = 5")


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


def test_a_made_entry_is_understood() -> None:
    """`token new` prints a token and an entry by which that token is known."""
    made = json.loads(run("new", "mess.aging", "--days", "3", "--json"))
    table = parse_clients(made["entry"], "tokens")
    client, entry = table.with_token(made["token"].encode())
    assert client == "mess.aging"
    assert timedelta(days=2.9) < entry.expires - datetime.now(UTC) < timedelta(days=3.1)
    assert made["token"] not in made["entry"]
    text = run("new", "messaging")
    token = text.splitlines()[0].partition(": ")[2].strip()
    client, entry = parse_clients(text[text.index("[[") :], "tokens").with_token(token.encode())
    assert (client, entry.expires) == ("messaging", None)


def test_append_makes_and_lengthens_a_private_file(tmp_path) -> None:
    """`--append` makes a file that only its owner reads, and prints only the token."""
    path = tmp_path / "tokens"
    tokens = [run("new", client, "--append", str(path)).strip() for client in ("a", "a", "b")]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    table = read_clients(path, "")
    assert [table.with_token(token.encode())[0] for token in tokens] == ["a", "a", "b"]
    path.write_text(path.read_text("utf-8").rstrip(), "utf-8")
    run("new", "c", "--append", str(path))
    assert read_clients(path, "").token_count == 4
    assert not any(token in path.read_text("utf-8") for token in tokens)


def test_append_to_a_wrong_file_changes_nothing(tmp_path) -> None:
    """A file that the service would refuse is not made longer."""
    for text in ("nonsense nonsense\n", f'clients.a.tokens = [{{sha256 = "{HASH}"}}]\n'):
        path = private(tmp_path / "tokens", text)
        with pytest.raises(InputError):
            run("new", "a", "--append", str(path))
        assert path.read_text("utf-8") == text


def test_list_shows_who_is_in_the_file(tmp_path) -> None:
    """`token list` shows clients, beginnings of hashes, ends and limits; with --json the same."""
    path = private(
        tmp_path / "tokens",
        "[clients.messaging]\nrate = 1000\ndaily = 5",
        token_entry("messaging", HASH, datetime(2020, 1, 1, tzinfo=UTC)),
        token_entry("messaging", OTHER, datetime(2999, 1, 1, tzinfo=UTC)),
        '[clients.billing]\ncertificates = ["b.internal"]',
    )
    text = run("list", "--tokens", str(path))
    assert f"{HASH[:8]}… (expired)" in text
    assert f"{OTHER[:8]}… (until" in text
    assert "2999-01-01" in text
    assert HASH not in text
    billing, messaging = map(json.loads, run("list", "--tokens", str(path), "--json").splitlines())
    assert billing["certificates"] == ["b.internal"]
    assert messaging["rate"] == 1000
    assert [token["expired"] for token in messaging["tokens"]] == [True, False]


@pytest.mark.parametrize("name", ["", "a b", "-x", "a" * 65, "имя", "a=b"])
def test_wrong_client_names(name) -> None:
    """A name that could not stand in a line is refused."""
    refused = CliRunner().invoke(numroute, ["token", "new", "--", name])
    assert refused.exit_code == 2
    assert "is not a client's name" in refused.output
