"""Wrong settings are reported before anything starts, as a log line or as a message."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import click
import pytest
from support.certificates import Authority
from support.registry import command, write_registry

from numroute.cli import numroute
from numroute.cli.group import VARIABLES
from numroute_loader.cli import numroute_load

PROGRAM = Path(sys.executable).parent / "numroute"


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Path:
    """Return a store built from the tiny registry."""
    folder = write_registry(tmp_path_factory.mktemp("registry") / "r")
    path = tmp_path_factory.mktemp("store") / "s"
    assert command("numroute-load", "build", "--store", path, folder).status == 0
    return path


def variables(program: click.Command) -> set[str]:
    """Return the variables of all options of a command and of those below it."""
    found = {str(each.envvar) for each in program.params if each.envvar}
    if isinstance(program, click.Group):
        context = click.Context(program)
        for name in program.list_commands(context):
            found |= variables(program.get_command(context, name))
    return found


def test_every_setting_is_known() -> None:
    """The warning of unknown variables knows all settings of both programs, and the secrets."""
    secrets = {"NUMROUTE_SFTP_PASSWORD", "NUMROUTE_SFTP_PASSPHRASE"}
    assert variables(numroute) | variables(numroute_load) | secrets == VARIABLES


def test_an_unknown_variable_is_warned_of_with_the_nearest_name(store: Path, monkeypatch) -> None:
    """A misspelt variable is reported; those that Kubernetes sets are not."""
    monkeypatch.setenv("NUMROUTE_STOER", "x")
    monkeypatch.setenv("NUMROUTE_PORT_50051_TCP_ADDR", "10.0.0.1")
    monkeypatch.setenv("NUMROUTE_WEB_SERVICE_HOST", "10.0.0.1")
    looked_up = command("numroute", "lookup", "--store", store, "+79000000012")
    assert looked_up.err.splitlines() == [
        "warning: the variable NUMROUTE_STOER is no setting: did you mean NUMROUTE_STORE?"
    ]
    checked = command("numroute", "serve", "--store", store, "--check")
    (line,) = map(json.loads, checked.err.splitlines())
    assert (line["variable"], line["nearest"]) == ("NUMROUTE_STOER", "NUMROUTE_STORE")


def test_check_says_what_would_run(store: Path, tmp_path: Path) -> None:
    """Address, certificate, clients and snapshot; nothing is started or written."""
    tls = Authority.make(tmp_path / "ca").issue()
    tokens = tmp_path / "tokens.toml"
    made = command("numroute", "token", "new", "crm", "--append", tokens)
    assert made.status == 0, made.err
    options = (
        *("--store", store, "--listen", "0.0.0.0:50051", "--tokens", tokens),
        *("--tls-cert", tls.certificate, "--tls-key", tls.key, "--state", tmp_path / "state"),
    )
    for service in ("serve", "web"):
        result = command("numroute", service, "--check", "--json", *options)
        assert (result.status, result.err) == (0, "")
        facts = json.loads(result.out)
        assert facts["listen"].startswith("0.0.0.0:50051, TLS as ")
        assert facts["clients"] == "1, tokens: 1"
        assert facts["snapshot"].startswith("20260822T210000Z-")
        assert not (tmp_path / "state").exists()
        table = command("numroute", service, "--check", *options).out
        assert all(fact in table for fact in facts)


def test_check_allows_metrics_beyond_this_machine(store: Path) -> None:
    """They are plaintext, also where the service listens on loopback without TLS."""
    result = command("numroute", "serve", "--check", "--store", store, "--metrics", "0.0.0.0:9464")
    assert (result.status, result.err) == (0, "")


def test_check_finds_what_would_not_run(store: Path, tmp_path: Path) -> None:
    """Each fault is one JSON line in a pipe, and exit status 1 or, for wrong usage, 2."""
    authority = Authority.make(tmp_path / "ca")
    tls, other = authority.issue(), authority.issue("other")
    tokens = tmp_path / "tokens.toml"
    tokens.write_text('[crm]\nrate = "many"\n')
    tokens.chmod(0o600)
    (tmp_path / "empty").mkdir()
    broken = tmp_path / "broken"
    (broken / "snapshots").mkdir(parents=True)
    (broken / "snapshots" / "20260822T210000Z-000000.lmdb").write_bytes(b"no snapshot")
    (broken / "CURRENT").write_text("20260822T210000Z-000000\n")
    faults = [
        (1, ["--store", tmp_path / "nowhere"], "no snapshot store"),
        (1, ["--store", broken], "20260822T210000Z-000000"),
        (1, ["--tls-cert", tls.certificate, "--tls-key", other.key], "key"),
        (1, ["--tokens", tokens], "tokens.toml"),
        (1, ["--listen", "0.0.0.0:50051"], "plaintext"),
        (1, ["--listen", "192.0.2.1:50051", "--insecure"], "192.0.2.1"),
        (2, ["--tls-cert", tls.certificate], "--tls-key"),
        (2, ["--max-age", "nan"], "nan"),
    ]
    for service in ("serve", "web"):
        for status, options, said in faults:
            result = command("numroute", service, "--store", store, "--check", *options)
            assert (result.status, result.out) == (status, ""), options
            (line,) = map(json.loads, result.err.splitlines())
            assert (line["event"], line["level"]) == ("command failed", "error")
            assert said in line["reason"]


@pytest.mark.parametrize(
    "options",
    [
        ["serve", "--state", "/proc/nope"],
        ["serve", "--state", "/proc"],
        ["web", "--jobs", "/proc/nope"],
    ],
)
def test_check_tries_the_folders_that_are_written(store: Path, options: list[str]) -> None:
    """Root may write everywhere by the permissions; the folder decides."""
    result = command("numroute", *options, "--store", store, "--check")
    assert (result.status, result.out) == (1, "")
    assert f"{options[-1]} cannot be written: " in result.err


def test_an_error_of_the_system_is_a_line_too(store: Path, monkeypatch) -> None:
    """A system error is logged like any other."""

    def refuse(*_, **__) -> None:
        raise PermissionError(13, "Permission denied", "/somewhere")

    monkeypatch.setattr("numroute.server.supervisor.serve", refuse)
    result = command("numroute", "serve", "--store", store)
    assert result.status == 1
    (line,) = map(json.loads, result.err.splitlines())
    assert line["reason"] == "Permission denied: /somewhere"


def test_a_fatal_error_is_a_line_in_a_pipe_and_a_message_on_a_terminal(
    store: Path, tmp_path: Path
) -> None:
    """Never both, also when the workers refuse to start."""
    tokens = tmp_path / "tokens.toml"
    tokens.write_text("no TOML")
    tokens.chmod(0o600)
    words = [
        *(PROGRAM, "serve", "--store", store, "--workers", "1", "--listen", "127.0.0.1:0"),
        *("--tokens", tokens),
    ]
    piped = subprocess.run(words, capture_output=True, text=True, check=False)
    assert piped.returncode == 1
    (line,) = map(json.loads, piped.stderr.splitlines())
    assert "tokens.toml" in line["reason"]
    ours, terminal = pty.openpty()
    shown = subprocess.run(words, stderr=terminal, check=False)
    os.close(terminal)
    assert shown.returncode == 1
    text = os.read(ours, 65_536).decode()
    os.close(ours)
    assert text.startswith("numroute: ")
    assert "command failed" not in text
    assert text.count("tokens.toml") == 1


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["serve", "--max-age", "24h"], "'24h' is not a valid number"),
        (["serve", "--drain", "10s"], "'10s' is not a valid number"),
        (["lookup", "--json", "--csv", "+79000000012"], "both --json and --csv are given"),
        (["lookup", "--token-file", "none", "+79000000012"], "--token-file is for a service"),
        (["explain", "--tls", "+79000000012"], "--tls is for a service"),
    ],
)
def test_what_does_not_fit_is_refused(store: Path, words: list[str], text: str) -> None:
    """A unit, two forms at once, and what --store does not need are usage errors."""
    done = command("numroute", words[0], "--store", store, *words[1:])
    assert (done.status, text in done.err) == (2, True), done.err


def test_a_wrong_command_line_is_refused_before_files_are_read() -> None:
    """The client's token is only of interest when there is something to ask."""
    service = ("--target", "127.0.0.1:1", "--token-file", "none")
    assert command("numroute", "lookup", *service, "--json", "--csv", "+79000000012").status == 2
    assert command("numroute", "lookup", *service, "+79000000012").status == 1


@pytest.mark.parametrize("option", ["--interval", "--settle"])
def test_a_duration_of_the_loader_is_a_number(store: Path, tmp_path: Path, option: str) -> None:
    """Nan passes every comparison."""
    done = command("numroute-load", "watch", "--store", store, "--inbox", tmp_path, option, "nan")
    assert (done.status, "'nan' is not a valid number" in done.err) == (2, True), done.err


def test_a_token_in_a_variable_is_led_to_the_file(store: Path, monkeypatch) -> None:
    """NUMROUTE_TOKEN is not a setting: a client's token is in a file."""
    monkeypatch.setenv("NUMROUTE_TOKEN", "x")
    monkeypatch.setenv("NUMROUTE_TOKEN_FILE", "elsewhere")
    done = command("numroute", "lookup", "--store", store, "+79000000012")
    assert done.err.splitlines() == [
        "warning: the variable NUMROUTE_TOKEN is no setting: did you mean NUMROUTE_TOKEN_FILE?"
    ]
