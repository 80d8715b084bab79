"""The documents and the product say the same."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import click
import pytest

from numroute.cli import numroute
from numroute_loader.cli import numroute_load
from numroute_loader.cli.watch import SECRET_VARIABLES

RAISED = {
    "InputError", "SettingError", "StoreError", "NoSnapshotError", "StoreBusyError",
    "StoreAccessError", "StoreMissingError", "FeedError", "HostKeyError", "LoginRefusedError",
    "ChainError", "SnapshotCorruptError",
}  # fmt: skip
PHRASE_MIN = 6

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *ROOT.glob("docs/**/*.md")]
COMMANDS = {
    f"{group.name} {name}".replace("_", "-"): group.get_command(click.Context(group), name)
    for group in (numroute, numroute_load)
    for name in group.list_commands(click.Context(group))
}


def text(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_documented(name: str) -> None:
    """README or OPERATIONS.md tells of each command, and its help says what it does."""
    program, word = name.split()
    assert re.search(rf"{program} {word}|`{word}`", text("README.md") + text("docs/OPERATIONS.md"))
    assert len(COMMANDS[name].help or "") > 20


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_has_a_help_text(name: str) -> None:
    """Each option explains itself, except for the seed, which is one."""
    for parameter in COMMANDS[name].params:
        if isinstance(parameter, click.Option) and parameter.name != "seed":
            assert parameter.help, f"{name} --{parameter.name}"


def test_every_setting_is_documented() -> None:
    """OPERATIONS.md lists each environment variable that a command reads, and no other."""
    variables = {
        parameter.envvar
        for command in COMMANDS.values()
        for parameter in command.params
        if isinstance(parameter, click.Option) and parameter.envvar
    } | set(SECRET_VARIABLES)
    assert set(re.findall(r"NUMROUTE_[A-Z_]+", text("docs/OPERATIONS.md"))) == variables


@pytest.mark.parametrize(
    ("sources", "document"),
    [
        (("service/numroute/server/*.py",), "docs/METRICS.md"),
        (
            ("loader/numroute_loader/feeds/*.py", "loader/numroute_loader/replicas/*.py"),
            "docs/OPERATIONS.md",
        ),
    ],
    ids=["service", "feeds"],
)
def test_every_log_event_is_documented(sources: tuple[str, ...], document: str) -> None:
    """Each event that the service or a feed logs has its row, and there is no other."""
    events = {
        event
        for pattern in sources
        for path in ROOT.glob(pattern)
        for event in re.findall(
            r'log\.(?:info|warning|error)\(\s*"([^"]+)"', path.read_text("utf-8")
        )
    }
    rows = set(
        re.findall(r"^\| `([a-z ]+)` \| (?:info|warning|error) ", text(document), re.MULTILINE)
    )
    assert events
    assert rows == events


def raised_messages() -> list[tuple[str, str]]:
    """Return where the loader and the index raise an error of ours, and its text with gaps."""
    found = []
    for root in ("loader/numroute_loader", "service/numroute/index"):
        for path in sorted((ROOT / root).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.Call) and getattr(node.func, "id", "") in RAISED:
                    text = "...".join(literals(node.args))
                    if len(re.sub(r"[^\w]", "", text)) >= PHRASE_MIN:
                        found.append((f"{path.name}:{node.lineno}", text))
    return found


def literals(nodes: list[ast.expr]) -> list[str]:
    """Return the constant parts of texts in the order in which they stand."""
    return [
        part.value
        for node in nodes
        if isinstance(node, ast.Constant | ast.JoinedStr | ast.BinOp | ast.IfExp)
        for part in ast.walk(node)
        if isinstance(part, ast.Constant) and isinstance(part.value, str)
    ]


def test_every_message_of_the_loader_is_documented() -> None:
    """Of each error that the loader and the index raise, OPERATIONS.md names a phrase."""
    section = text("docs/OPERATIONS.md").partition("## Messages of")[2]
    phrases = [
        phrase.strip(" :,;")
        for quoted in re.findall(r"``? ?([^`]+)`", section)
        for phrase in quoted.split("...")
    ]
    phrases = [phrase for phrase in phrases if len(phrase) >= PHRASE_MIN]
    messages = [(where, said.replace("`", "")) for where, said in raised_messages()]
    assert len(messages) > 150
    missing = [
        (where, said) for where, said in messages if not any(phrase in said for phrase in phrases)
    ]
    assert not missing


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    """Every relative link of a document names a file of the repository."""
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text("utf-8")):
        assert (path.parent / target).exists(), target


def test_documents_have_no_blank_left_to_fill() -> None:
    """No capital placeholder was left behind."""
    for path in DOCUMENTS:
        assert not re.search(r"^[A-Z]+_[A-Z_]+$", path.read_text("utf-8"), re.MULTILINE), path
