"""Running web services over the snapshot of a small synthetic registry."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.registry import command, generated_store
from support.web import Tokens, Web, running


@pytest.fixture(scope="session")
def store(tmp_path_factory) -> Path:
    """Return a store with a snapshot of a synthetic registry of 20,000 ported numbers."""
    return generated_store(tmp_path_factory)


@pytest.fixture(scope="session")
def tokens(tmp_path_factory) -> Tokens:
    """Return three clients, one of which may ask for 5 numbers a day."""
    folder = tmp_path_factory.mktemp("tokens")
    made = {}
    for client in ("crm", "erp", "limited"):
        result = command("numroute", "token", "new", client, "--append", folder / "tokens.toml")
        assert result.status == 0, result.err
        made[client] = result.out.strip()
    with (folder / "tokens.toml").open("a") as file:
        file.write("\n[clients.limited]\ndaily = 5\n")
    return Tokens(folder / "tokens.toml", folder / "state", **made)


@pytest.fixture(scope="session")
def web(store: Path, tmp_path_factory) -> Iterator[Web]:
    """Run a web service without tokens."""
    with running(tmp_path_factory.mktemp("web"), "--store", store) as started:
        yield started


@pytest.fixture(scope="module")
def guarded(store: Path, tokens: Tokens, tmp_path_factory) -> Iterator[Web]:
    """Run a web service for known clients only."""
    folder = tmp_path_factory.mktemp("guarded")
    with running(folder, "--store", store, *tokens.options) as started:
        yield started
