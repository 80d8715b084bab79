"""A capacity plan and a calibration in figures as people read them."""

from __future__ import annotations

from rich.filesize import decimal

from numroute.plan.interpolate import CapacityPlan, Requirements
from numroute.plan.table import Calibration, Machine, Spread, differences

BINDING = {
    "cores": "cores: no core is planned to carry more load than --load allows",
    "p99": "p99: more load on a core would make calls wait longer",
    "network": "network: the machines' connections are full before their cores",
}
CALIBRATION_HEADINGS = ("numbers a call", "CPU a call", "numbers/s a core", "load", "p50", "p99")


def facts(asked: Requirements, answer: CapacityPlan) -> list[tuple[str, str]]:
    """Return the plan as names and values."""
    p99 = _ranged(answer.p99_seconds)
    if asked.p99_seconds is not None:
        p99 += f", asked for {duration(asked.p99_seconds)}"
    if not answer.p99_reached:
        p99 += f" - cannot be reached: the least measured is {duration(answer.p99_least_seconds)}"
    spare = f" ({answer.machines - answer.spare} for the load, {answer.spare} spare)"
    index = answer.index_bytes
    low, _, high = answer.cores
    needed = f"{low:.2f} to {high:.2f} needed, by the rounds"
    return [
        ("machines", f"{answer.machines}{spare if answer.spare else ''}"),
        ("processes", f"{answer.processes}, {answer.processes_per_machine} on each machine"),
        ("cores", f"{answer.processes}, one for each process ({needed})"),
        *([("numbers a call", f"{answer.numbers_per_call:.0f}, gathered")] * asked.gathered),
        ("binding limit", BINDING[answer.binding]),
        ("load", f"{answer.load:.0%} of {quantity(answer.capacity)} numbers/s"),
        ("CPU used", f"{answer.cpu_utilisation:.0%} of these cores"),
        ("CPU a call", _ranged(answer.cpu_per_call)),
        ("p50", _ranged(answer.p50_seconds)),
        ("p99", p99),
        ("memory, private", f"{decimal(answer.private_bytes)} on each machine"),
        ("memory, page cache", f"{decimal(index)} each, {decimal(2 * index)} while it is replaced"),
        ("memory, build", f"{decimal(answer.build_bytes)} where the index is built"),
        ("disk", f"{decimal(answer.disk_bytes)}: three snapshots and an unpacked dump"),
        ("network in", f"{decimal(round(answer.bytes_in_per_second))}/s in all"),
        ("network out", f"{decimal(round(answer.bytes_out_per_second))}/s in all"),
        *(("note", note) for note in answer.notes),
    ]


def calibration_rows(calibration: Calibration) -> list[tuple[str, ...]]:
    """Return what was measured, as rows under ``CALIBRATION_HEADINGS``."""
    rows: list[tuple[str, ...]] = []
    for row in calibration.rows:
        rate = quantity(row.batch / row.busy_cpu_seconds[0])
        first = (f"{row.batch:,}", _ranged(row.busy_cpu_seconds), rate)
        for step in row.steps:
            latencies = (_ranged(step.p50_seconds), _ranged(step.p99_seconds))
            rows.append((*first, f"{step.load:.0%}", *latencies))
            first = ("", "", "")
    return rows


def warnings(calibration: Calibration, here: Machine) -> list[str]:
    """Return what makes the calibration less than good, or unfit for this machine."""
    texts = []
    if different := differences(calibration.machine, here):
        texts.append(f"the calibration is of another machine: {'; '.join(different)}")
    if calibration.disturbed_steps:
        texts.append(
            f"other processes disturbed {calibration.disturbed_steps} steps of the calibration in "
            "every round, so that their figures are too high; repeat it on a quiet machine"
        )
    if not calibration.pinned:
        texts.append("the machine has one core: the measured latencies include the client's work")
    return texts


def duration(seconds: float) -> str:
    """Return a time with a unit that fits it."""
    if seconds < 1e-3:  # noqa: PLR2004 - a millisecond
        return f"{seconds * 1e6:.0f} us"
    return f"{seconds * 1e3:.1f} ms" if seconds < 1 else f"{seconds:.2f} s"


def quantity(count: float) -> str:
    """Return a count with M for millions."""
    return f"{count / 1e6:.2f}M" if count >= 1e6 else f"{count:,.0f}"  # noqa: PLR2004 - a million


def _ranged(spread: Spread) -> str:
    """Return the median and, where the rounds differ, their range."""
    low, usual, high = map(duration, spread)
    return usual if low == high else f"{usual} ({low} to {high})"
