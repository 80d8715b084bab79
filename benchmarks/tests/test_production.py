"""What the soak makes of what it has seen."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from benchmarks.production.reports import Report
from benchmarks.production.soak_report import SAMPLE_SECONDS, Soak

if TYPE_CHECKING:
    from pathlib import Path

MEGABYTE = 1_000_000


def soak(*, rise_bytes_an_hour: float, minutes: float = 60.0) -> Soak:
    """Return a run whose one worker took memory at first, and then more and more."""
    found = Soak(minutes=60, workers=1, rates={"bulk": 10.0}, begin=0.0)
    found.seconds = minutes * 60
    for step in range(int(found.seconds / SAMPLE_SECONDS)):
        seconds = step * SAMPLE_SECONDS
        warm = min(seconds / 300, 1.0) * 50 * MEGABYTE
        private = 40 * MEGABYTE + warm + rise_bytes_an_hour * seconds / 3600
        found.samples[7].append((seconds, 300 * MEGABYTE, private, 15, 11))
    return found


@pytest.mark.parametrize(
    ("rise", "verdict"),
    [(0, "flat"), (-5 * MEGABYTE, "flat"), (3 * MEGABYTE, "flat"), (20 * MEGABYTE, "grows")],
)
def test_memory_is_judged_by_its_rise(rise: float, verdict: str) -> None:
    """Memory taken while warming up is no growth; what rises on and on is."""
    assert soak(rise_bytes_an_hour=rise).memory_verdict == verdict


def test_a_short_run_is_not_judged() -> None:
    """A few minutes say nothing about memory."""
    assert "not judged" in soak(rise_bytes_an_hour=0, minutes=3).memory_verdict


def test_a_worker_that_did_not_live_is_no_proof() -> None:
    """When a worker was replaced, its samples cannot show that memory is flat."""
    found = soak(rise_bytes_an_hour=0)
    found.samples[7] = found.samples[7][: len(found.samples[7]) // 2]
    assert "not judged" in found.memory_verdict


def test_an_interrupted_run_is_written(tmp_path: Path) -> None:
    """What was seen is written with the failures, and the report says that it is not whole."""
    found = soak(rise_bytes_an_hour=0, minutes=30)
    report = Report()
    report.note("20260401", 1.0)
    report.note(None, 1.0)
    report.fail("UNAVAILABLE", "gone")
    found.note("bulk", report)
    found.write(tmp_path)
    document = json.loads((tmp_path / "soak.json").read_text("utf-8"))
    assert document["failed_or_wrong"] == 2
    assert document["clients"]["bulk"]["failed"] == {"UNAVAILABLE": 1}
    text = (tmp_path / "soak.md").read_text("utf-8")
    assert "Interrupted" in text
    assert "gone" in text
    assert (tmp_path / "soak.svg").stat().st_size > 1_000
