"""Each benchmark runs small, and refuses answers that the registry's files do not give."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks.__main__ import BENCHMARKS, main, run
from benchmarks.material import VARIABLE, Material, make_material
from benchmarks.report import Figure, Report
from benchmarks.service import asking, loaded

PORTED = 20_000
SECONDS = 0.01


@pytest.fixture(scope="session")
def material(tmp_path_factory: pytest.TempPathFactory) -> Material:
    """Return a small registry over a generated plan."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("material")
        patch.setenv(VARIABLE, str(folder / "no reference data"))
        return make_material(folder / "small", PORTED)


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Load services for a moment, and do not wait until they have compiled their kernel."""
    monkeypatch.setattr(asking, "COMPILE_AFTER_NUMBERS", 1)
    monkeypatch.setattr(loaded, "CAPACITY_CALLS", {1_000: 40, 65_536: 8})
    monkeypatch.setattr(loaded, "STRETCH_SECONDS_MIN", 0.2)
    monkeypatch.setattr(loaded, "SWAP_SECONDS", 0.2)


@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_benchmark_measures_and_reports(material: Material, tmp_path: Path, name: str) -> None:
    """Every figure has values, and the report names the benchmark's sections."""
    report = run(material, {name: SECONDS}, Report(scale="small"), tmp_path)
    assert report.figures
    assert all(figure.values for figure in report.figures)
    document = json.loads((tmp_path / "small.json").read_text("utf-8"))
    assert document["complete"]
    assert len(document["figures"]) == len(report.figures)
    assert report.figures[0].section in (tmp_path / "small.md").read_text("utf-8")


@pytest.mark.parametrize(
    "name",
    ["micro.kernel", "micro.parse", "service.client", "lists.campaign", "yardsticks.stores"],
)
def test_a_benchmark_finds_a_wrong_answer(material: Material, name: str) -> None:
    """Measured against the truth of another registry, no benchmark passes."""
    truth = replace(material.truth, ported=material.truth.ported + np.uint64(1))
    with pytest.raises(AssertionError):
        BENCHMARKS[name](replace(material, truth=truth), SECONDS)


def test_a_wrong_answer_over_grpc_is_a_failed_call(material: Material) -> None:
    """Answers are compared byte for byte with those that the oracle confirmed."""
    questions = asking.make_questions(material, 10)
    questions.answers[0][b"right"] = "first"
    assert questions.right(0, b"right")
    assert not questions.right(0, b"wrong")
    assert questions.seen == {"first": 1}


def test_a_late_run_gives_each_benchmark_less_time(
    material: Material, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is left until the promised end is shared by what is left to run; two rounds at least."""
    figure = Figure(section="", name="", unit="", values=[1.0])
    given: list[float] = []
    names = list(BENCHMARKS)[:3]
    for name in names:
        monkeypatch.setitem(BENCHMARKS, name, lambda _, seconds: given.append(seconds) or [figure])
    monkeypatch.setattr("benchmarks.__main__.time", SimpleNamespace(monotonic=lambda: 0.0))
    wanted = dict.fromkeys(names, 9.0)
    for end in (1e6, 30.0, 0.0):
        run(material, wanted, Report(scale="small"), tmp_path, end)
    assert given == [9.0] * 3 + [4.0, 6.0, 9.0] + [1.0] * 3


def test_committed_results_are_kept_unless_asked_for(tmp_path: Path) -> None:
    """The report goes to the work folder, and --commit-results takes no other place."""
    with pytest.raises(SystemExit):
        main(["--commit-results", "--out", str(tmp_path)])
    with pytest.raises(SystemExit):
        main(["no such area"])
