"""The capacity planner's predictions beside what is measured: ``numroute plan``, whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.suite.results import Row
from numroute.plan.checking import ERROR_MAX, check
from numroute.plan.measuring import calibrate

if TYPE_CHECKING:
    from benchmarks.suite.scale import Scale
    from numroute.plan.checking import Comparison

SECTION = "Planner: predicted and measured, at points that no calibration uses"


def predicted_and_measured(scale: Scale) -> list[Row]:
    """Calibrate as ``numroute plan --calibrate`` does, then measure what the planner predicts."""
    scale.work.mkdir(parents=True, exist_ok=True)
    calibration = calibrate(scale.work, scale.calibration)
    checked = check(calibration, scale.work, scale.check)
    return [row for comparison in checked.comparisons for row in _rows(comparison)]


def _rows(comparison: Comparison) -> list[Row]:
    """Return the prediction and, with it as yardstick, the measurement."""
    of_time = comparison.what in {"CPU a call", "p50", "p99"}
    unit, scale = ("µs", 1e6) if of_time else ("million numbers/s", 1e-6)
    what = "capacity" if not of_time else comparison.what
    point = f"{comparison.batch:,} numbers a call at {comparison.load:.0%} load: {what}"
    where = {"batch": comparison.batch, "load": comparison.load, "figure": what}
    within = "within" if abs(comparison.error) <= ERROR_MAX else "beyond"
    return [
        Row(
            section=SECTION,
            name=f"{point}, predicted",
            unit=unit,
            values=[comparison.predicted * scale],
            where={**where, "subject": "predicted"},
        ),
        Row(
            section=SECTION,
            name=f"{point}, measured",
            unit=unit,
            values=[comparison.measured * scale],
            against=f"{point}, predicted",
            ratios=[comparison.measured / comparison.predicted],
            where={**where, "subject": "measured"},
            note=f"the prediction is off by {comparison.error:+.0%}, {within} {ERROR_MAX:.0%}",
        ),
    ]
