"""The recipe of docs/recipes/jasmin.md, run by Jasmin itself."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from support.oracle import make_registry, publish
from support.servers import running

from numroute.index import SnapshotStore

RECIPES = Path(__file__).resolve().parents[3] / "docs" / "recipes"
VARIABLE = "NUMROUTE_TEST_JASMIN"
"""The Python that has Jasmin and the client; Jasmin pins libraries that the tests need newer."""


DEADLINE = "DEADLINE_SECONDS = 0.05"

Intercept = Callable[..., list[list[str]]]


@pytest.fixture
def intercept(tmp_path: Path) -> Intercept:
    """Return a function that lets Jasmin tag messages to these numbers by the recipe's script."""
    python = os.environ.get(VARIABLE, "")
    if not python:
        pytest.skip(f"{VARIABLE} does not name a Python that has Jasmin and numroute's client")
    page = (RECIPES / "jasmin.md").read_text("utf-8")
    (script,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    module = (RECIPES / "numroute_jasmin.py").read_text("utf-8")
    assert DEADLINE in module
    (tmp_path / "numroute_tag.py").write_text(script, "utf-8")

    def run(target: str, numbers: Sequence[object], deadline: str = DEADLINE) -> list[list[str]]:
        (tmp_path / "numroute_jasmin.py").write_text(module.replace(DEADLINE, deadline), "utf-8")
        done = subprocess.run(
            [
                python,
                Path(__file__).with_name("run_jasmin.py"),
                tmp_path / "numroute_tag.py",
                tmp_path / "jasmin.log",
            ],
            input="".join(f"{number}\n" for number in numbers),
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PYTHONPATH": str(tmp_path), "NUMROUTE_TARGET": target},
        )
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    return run


def test_jasmin_tags_a_message_with_its_network(tmp_path: Path, intercept: Intercept) -> None:
    """Status, operator and network of each number are what the registry says of it."""
    registry = make_registry()
    store = SnapshotStore(tmp_path / "store", create=True)
    publish(store, registry)
    ported = list(registry.ported)[:3]
    others = [79_000_500_000, 79_999_999_999]
    numbers = [*ported, *others]
    with running(tmp_path, store.path) as server:
        # The machine that runs the tests may be busy: the answers are tested, not the deadline.
        tags = intercept(server.target, [*numbers, "+", "12ab"], "DEADLINE_SECONDS = 30")
    for number, found in zip(numbers, tags[:-2], strict=True):
        route, _, _ = registry.answer(number)
        expected = {f"numroute:{route.status.name.lower()}"}
        if route.operator.code:
            expected |= {f"operator:{route.operator.code}", f"network:{route.mcc}{route.mnc}"}
        assert set(found) == expected
    assert tags[-2:] == [["numroute:invalid"]] * 2


def test_a_service_that_is_away_holds_no_message_up(intercept: Intercept) -> None:
    """Every message is tagged as unknown, by the recipe's own deadline, and goes its way."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        target = f"127.0.0.1:{taken.getsockname()[1]}"
        assert intercept(target, [79_161_234_567] * 50) == [["numroute:unknown"]] * 50
