"""The benchmark of increments, whole, on a small registry."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from benchmarks.applying.__main__ import main
from benchmarks.applying.measuring import CHANGES
from benchmarks.plans import find_plans
from numroute.errors import NumrouteError

if TYPE_CHECKING:
    from pathlib import Path


def test_measures_everything_on_a_small_registry(tmp_path: Path) -> None:
    """A window is applied, its answers are found right, and figures are left; none is judged."""
    try:
        find_plans()
    except NumrouteError as error:
        pytest.skip(str(error))
    small = ("--ported", "20000", "--builds", "1", "--rounds", "1", "--work", str(tmp_path))
    assert main(small) == 0
    document = json.loads((tmp_path / "apply.json").read_text("utf-8"))
    assert (document["ported"], document["changes"]) == (20_000, CHANGES)
    assert len(document["figures"]) == 5
    for figure in document["figures"]:
        assert all(value > 0 for value in figure["values"])
    assert "as a share of the median build" in (tmp_path / "apply.md").read_text("utf-8")
