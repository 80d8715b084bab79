"""The documents and the product say the same."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from numroute.cli import numroute
from numroute_loader.cli import numroute_load

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
    """A page by task shows each command, and its help says what it does."""
    program, word = name.split()
    pages = text("README.md") + "".join(
        text(f"docs/{path.name}") for path in ROOT.glob("docs/*.md")
    )
    assert re.search(rf"{program} {word}|`{word}`", pages)
    assert len(COMMANDS[name].help or "") > 20


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_has_a_help_text(name: str) -> None:
    """Each option explains itself, except for the seed, which is one."""
    for parameter in COMMANDS[name].params:
        if isinstance(parameter, click.Option) and parameter.name != "seed":
            assert parameter.help, f"{name} --{parameter.name}"


def test_reference_pages_are_those_of_the_code() -> None:
    """The pages under docs/reference are what docs/generate.py makes of the code."""
    done = subprocess.run(
        [sys.executable, "docs/generate.py", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    """Every relative link of a document names a file of the repository."""
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text("utf-8")):
        assert (path.parent / target).exists(), target


def test_modules_that_contributors_are_sent_to_exist() -> None:
    """A module that was moved or merged is named by its new place."""
    named = set(re.findall(r"`([\w/]+\.py)`", text("CONTRIBUTING.md")))
    there = [
        path.as_posix()
        for root in ("service", "loader", "campaign", "tests")
        for path in (ROOT / root).rglob("*.py")
    ]
    assert named
    assert [name for name in named if not any(path.endswith(f"/{name}") for path in there)] == []


def test_documents_have_no_blank_left_to_fill() -> None:
    """No capital placeholder was left behind."""
    for path in DOCUMENTS:
        assert not re.search(r"^[A-Z]+_[A-Z_]+$", path.read_text("utf-8"), re.MULTILINE), path
