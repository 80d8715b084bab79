"""The speed benchmark, whole, on a small registry; and what it refuses."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

import pytest

from benchmarks import registry
from benchmarks.plans import ROOT, VARIABLE, find_plans
from benchmarks.speed.__main__ import main
from benchmarks.speed.report import BEGIN, END
from numroute.errors import NumrouteError, SettingError

if TYPE_CHECKING:
    from pathlib import Path

SMALL = ("--ported", "20000", "--queries", "65536", "--rounds", "1")


def test_measures_everything_on_a_small_registry(tmp_path: Path) -> None:
    """Every step runs, finds its answers right, and leaves figures; no figure is judged here."""
    try:
        find_plans()
    except NumrouteError as error:
        pytest.skip(str(error))
    assert main([*SMALL, "--work", str(tmp_path)]) == 0
    document = json.loads((tmp_path / "speed.json").read_text("utf-8"))
    assert document["complete"]
    assert document["ported"] == 20_000
    assert len(document["figures"]) == 46
    for figure in document["figures"]:
        assert all(math.isfinite(value) and value > 0 for value in figure["values"])
        assert figure["verdict"] in {None, "met", "missed"}
    assert document["figures"][0]["name"] in (tmp_path / "speed.md").read_text("utf-8")


def test_refuses_to_run_without_the_reference_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Missing plan files are told before anything is made, with the variable that names them."""
    monkeypatch.setenv(VARIABLE, str(tmp_path / "nothing"))
    assert main([*SMALL, "--work", str(tmp_path / "work")]) == 1
    assert VARIABLE in capsys.readouterr().err
    assert not (tmp_path / "work").exists()


@pytest.mark.parametrize("what", ["disk", "memory"])
def test_refuses_a_size_that_does_not_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """Too little disk or memory is told before anything is made, with the figure."""
    name = "WORK_BYTES_PER_PORTED" if what == "disk" else "MEMORY_BYTES_PER_PORTED"
    monkeypatch.setattr(registry, name, 10**12)
    with pytest.raises(SettingError, match=f"need .* GB of {what}"):
        registry.require_room(tmp_path, 10**6)


def test_the_page_quotes_the_committed_results() -> None:
    """benchmarks/README.md says what results/speed.md says, and how to repeat it."""
    page = (ROOT / "benchmarks" / "README.md").read_text("utf-8")
    results = (ROOT / "benchmarks" / "results" / "speed.md").read_text("utf-8")
    assert page.partition(BEGIN)[2].partition(END)[0].strip() == results.strip()
    assert "make bench-speed" in page
