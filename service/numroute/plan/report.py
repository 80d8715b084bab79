"""A plan in words and figures for people, and the same as a document for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from numroute.cli.console import plain
from numroute.plan.calibration import QUANTILES
from numroute.plan.machine import OTHERS_SHARE_MAX

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numroute.plan.calibration import Calibration
    from numroute.plan.checking import Comparison
    from numroute.plan.model import Change, Plan
    from numroute.plan.requirements import Requirements

BINDING = {
    "cores": "cores: no core is planned to carry more load than --load allows",
    "p99": "p99: more load on a core would make calls wait longer",
    "network": "network: the machines' connections are full before their cores",
}


def facts(asked: Requirements, answer: Plan) -> list[tuple[str, str]]:
    """Return the plan as names and values."""
    needed = answer.machines - answer.spare
    floor = duration(answer.p99_floor_seconds)
    p99 = duration(answer.p99_seconds)
    if asked.p99_seconds is not None:
        p99 += f", asked for {duration(asked.p99_seconds)}"
    if not answer.p99_reached:
        p99 += f" - cannot be reached: the least possible is {floor}"
    spare = f" ({needed} for the load, {answer.spare} spare)" if answer.spare else ""
    memory = answer.memory
    return [
        ("machines", f"{answer.machines}{spare}"),
        ("processes", f"{answer.processes}, {answer.processes_per_machine} on each machine"),
        ("cores", f"{answer.cores}, one for each process ({answer.cores_exact:.2f} needed)"),
        ("binding limit", BINDING[answer.binding]),
        ("load", f"{answer.load:.0%} of {quantity(answer.capacity)} numbers/s"),
        ("CPU used", f"{answer.cpu_utilisation:.0%} of these cores"),
        ("p50", duration(answer.p50_seconds)),
        ("p99", p99),
        ("memory, private", f"{size(memory.private)} on each machine"),
        (
            "memory, page cache",
            f"{size(memory.page_cache)} each, {size(memory.replacing)} while it is replaced",
        ),
        ("memory, build", f"{size(memory.build)} where the index is built"),
        ("disk", f"{size(answer.disk_bytes)}: three snapshots and an unpacked dump"),
        ("network in", f"{size(answer.network.bytes_in)}/s in all"),
        ("network out", f"{size(answer.network.bytes_out)}/s in all"),
        (
            "cost of a call",
            f"{duration(answer.call_seconds)} and {answer.number_seconds * 1e9:.1f} ns a number",
        ),
    ]


CHANGE_HEADINGS = ("if", "machines", "cores", "cores needed", "p99", "memory", "network out")


def change_rows(base: Plan, tried: Sequence[Change]) -> list[tuple[str, ...]]:
    """Return the plan and each change of it as rows under ``CHANGE_HEADINGS``."""
    rows = [_change_row("as asked", base, base)]
    for change in tried:
        if change.plan is None:
            rows.append((change.what, f"refused: {change.refusal}", "", "", "", "", ""))
        else:
            rows.append(_change_row(change.what, change.plan, base))
    return rows


CALIBRATION_HEADINGS = (
    "numbers a call",
    "CPU a call",
    "to wake up",
    "numbers/s a core",
    "p50 quiet",
    "p99 quiet",
)


def calibration_rows(calibration: Calibration) -> list[tuple[str, ...]]:
    """Return what was measured, as rows under ``CALIBRATION_HEADINGS``."""
    return [
        (
            f"{cost.batch:,}",
            duration(cost.busy_cpu_seconds),
            duration(cost.wake_cpu_seconds),
            quantity(cost.batch / cost.busy_cpu_seconds),
            duration(cost.latency_seconds[QUANTILES.index(0.5)]),
            duration(cost.latency_seconds[QUANTILES.index(0.99)]),
        )
        for cost in calibration.costs
    ]


CHECK_HEADINGS = ("numbers a call", "load", "what", "predicted", "measured", "error")


def check_rows(found: Sequence[Comparison]) -> list[tuple[str, ...]]:
    """Return predictions beside measurements, as rows under ``CHECK_HEADINGS``."""
    return [
        (
            f"{each.batch:,}",
            f"{each.load:.0%}",
            each.what,
            _either(each.predicted),
            _either(each.measured),
            f"{each.error:+.0%}",
        )
        for each in found
    ]


def document(
    calibration: Calibration, asked: Requirements, answer: Plan, tried: Sequence[Change]
) -> dict[str, Any]:
    """Return the question, the answer and its changes as one JSON object."""
    return {
        "asked": plain(asked),
        "plan": plain(answer),
        "changes": plain(list(tried)),
        "calibration": {
            "made_at": calibration.made_at,
            "machine": plain(calibration.machine),
            "others_share": calibration.others_share,
            "pinned": calibration.pinned,
        },
    }


def warnings(calibration: Calibration) -> list[str]:
    """Return what makes the calibration less than good."""
    found = disturbances(calibration.others_share, "calibration")
    if not calibration.pinned:
        found.append(
            "the machine has one core: latencies of the calibration hold the client's work too"
        )
    return found


def disturbances(others_share: float, what: str) -> list[str]:
    """Return the warning that other processes disturbed a calibration or a check, if they did."""
    if others_share <= OTHERS_SHARE_MAX:
        return []
    text = (
        f"other processes used {others_share:.0%} of the machine during the {what}, so that its "
        "costs and latencies are too high; repeat it on a quiet machine"
    )
    return [text]


def duration(seconds: float) -> str:
    """Return a time with a unit that fits it."""
    if seconds < 1e-3:  # noqa: PLR2004 - a millisecond
        return f"{seconds * 1e6:.0f} us"
    return f"{seconds * 1e3:.1f} ms" if seconds < 1 else f"{seconds:.2f} s"


def size(count: float) -> str:
    """Return bytes in a decimal unit."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6)):
        if count >= scale:
            return f"{count / scale:.1f} {unit}"
    return f"{count / 1e3:.1f} kB"


def quantity(count: float) -> str:
    """Return a count with M for millions."""
    return f"{count / 1e6:.2f}M" if count >= 1e6 else f"{count:,.0f}"  # noqa: PLR2004 - a million


def _either(value: float) -> str:
    """Return a time or a rate: no call takes an hour, no core looks up so few numbers a second."""
    return quantity(value) if value > 3_600 else duration(value)  # noqa: PLR2004 - an hour


def _change_row(what: str, plan: Plan, base: Plan) -> tuple[str, ...]:
    ratio = plan.cores_exact / base.cores_exact
    return (
        what,
        str(plan.machines),
        str(plan.cores),
        f"{plan.cores_exact:.2f}" + ("" if plan is base else f" (x{ratio:.2f})"),
        duration(plan.p99_seconds) + ("" if plan.p99_reached else " (not reached)"),
        size(plan.memory.private + plan.memory.page_cache),
        size(plan.network.bytes_out) + "/s",
    )
