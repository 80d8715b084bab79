"""Checks of the change: is the new snapshot what some days of porting make of the current one?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from numroute_loader.gate.findings import Finding
from numroute_loader.gate.limits import DAYS_MAX
from numroute_loader.gate.outcomes import not_checked, outcome

if TYPE_CHECKING:
    from numroute_loader.gate.evidence import Evidence
    from numroute_loader.gate.limits import GateLimits

_NAMED_MAX = 5
"""How many operators, movements or numbers a message names; the rest are counted."""

_NOTHING = "there is no current snapshot with ported numbers to compare with"
_WHOLE = "Give the whole dump of the day."
_OTHER = "Compare the files with what the registry published; a merger of operators needs --allow."


def shrinkage(evidence: Evidence, limits: GateLimits) -> Finding:
    """Are there not many fewer ported numbers than before, and enough of them?"""
    previous, ported = evidence.previous, evidence.ported
    if ported is not None and ported < limits.ported_min:
        return Finding(
            check="shrinkage",
            outcome=outcome(passed=False),
            actual=ported,
            limit=limits.ported_min,
            message=f"{ported} ported numbers, the least is {limits.ported_min}",
            hint=_WHOLE,
        )
    if previous is None or not previous.ported or ported is None:
        return not_checked("shrinkage", evidence, _NOTHING)
    share = max(0.0, 1 - ported / previous.ported)
    return Finding(
        check="shrinkage",
        outcome=outcome(passed=share <= limits.shrinkage_share),
        actual=share,
        limit=limits.shrinkage_share,
        message=(
            f"{ported} ported numbers, the current snapshot has {previous.ported}"
            + (f": {share:.2%} fewer, the limit is {limits.shrinkage_share:.2%}" if share else "")
        ),
        hint=_WHOLE,
    )


def plan_shrinkage(evidence: Evidence, limits: GateLimits) -> Finding:
    """Are there not many fewer numbers in the numbering plan than before?

    A file of it that is missing or cut short turns all of its numbers into unallocated ones.
    """
    numbers, before = evidence.range_numbers, 0
    if evidence.previous is not None:
        before = evidence.previous.range_numbers
    if not before or numbers is None:
        return not_checked(
            "plan_shrinkage",
            evidence,
            "there is no current snapshot with a numbering plan to compare with",
        )
    limit = limits.plan_shrinkage_share
    share = max(0.0, 1 - numbers / before)
    return Finding(
        check="plan_shrinkage",
        outcome=outcome(passed=share <= limit),
        actual=share,
        limit=limit,
        message=(
            f"{numbers} numbers in the numbering plan, the current snapshot has {before}"
            + (f": {share:.2%} fewer, the limit is {limit:.2%}" if share else "")
        ),
        hint="Give all files of the numbering plan, each of them whole.",
    )


def growth(evidence: Evidence, limits: GateLimits) -> Finding:
    """Are there not many more ported numbers than before?"""
    previous, ported = evidence.previous, evidence.ported
    if previous is None or not previous.ported or ported is None:
        return not_checked("growth", evidence, _NOTHING)
    limit = limits.growth_share_per_day * _days(evidence)
    more = max(0, ported - previous.ported)
    share = more / previous.ported
    return Finding(
        check="growth",
        outcome=outcome(passed=share <= limit or more <= limits.growth_numbers_min),
        actual=share,
        limit=limit,
        message=f"{more} ported numbers more than in the current snapshot ({share:.2%}, the limit "
        f"is {limit:.2%} or {limits.growth_numbers_min} numbers, whichever is larger)",
        hint="Compare the file with what the registry published: is it of the right kind?",
    )


def operator_change(evidence: Evidence, limits: GateLimits) -> Finding:
    """Does no operator gain or lose more numbers than some days of porting bring?"""
    before = evidence.previous.by_operator if evidence.previous is not None else None
    after = evidence.by_operator
    if not before or after is None:
        return not_checked("operator_change", evidence, _NOTHING)
    limit = limits.operator_change_share_per_day * _days(evidence)
    changes = {code: after.get(code, 0) - before.get(code, 0) for code in {*before, *after}}
    shares = {
        code: abs(change) / before[code] if before.get(code) else 1.0
        for code, change in changes.items()
        if abs(change) > limits.operator_change_numbers_min
    }
    # The largest change first, whatever share it is of its operator's numbers.
    wrong = sorted(
        (code for code, share in shares.items() if share > limit),
        key=lambda code: (-abs(changes[code]), code),
    )
    named = ", ".join(
        f"{code} {changes[code]:+d} (had {before.get(code, 0)})" for code in wrong[:_NAMED_MAX]
    )
    more = len(wrong) - _NAMED_MAX
    return Finding(
        check="operator_change",
        outcome=outcome(passed=not wrong),
        actual=max((shares[code] for code in wrong), default=0.0),
        limit=limit,
        message=(
            f"gained or lost more than {limit:.2%} and {limits.operator_change_numbers_min} "
            f"numbers: {named}{f' and {more} more' if more > 0 else ''}"
            if wrong
            else f"no operator gained or lost more than {limit:.2%} and "
            f"{limits.operator_change_numbers_min} numbers"
        ),
        hint=_OTHER,
    )


def movement(evidence: Evidence, limits: GateLimits) -> Finding:
    """Did some numbers change hands since the current snapshot, and not too many?"""
    moved, previous = evidence.movement, evidence.previous
    if moved is None or previous is None or not previous.ported:
        return not_checked("movement", evidence, _NOTHING)
    limit = limits.movement_share_per_day * _days(evidence)
    count = moved.returned + moved.moved
    share = count / previous.ported
    frozen = (
        evidence.days >= 1
        and previous.ported >= limits.unchanged_numbers_min
        and not count
        and not moved.ported
    )
    flows = f": {', '.join(moved.flows[:_NAMED_MAX])}" if moved.flows else ""
    message = (
        f"{moved.moved} numbers changed operator, {moved.returned} went home, {moved.ported} were "
        f"newly ported since the current snapshot"
    )
    passed = share <= limit or count <= limits.movement_numbers_min
    if frozen:
        message = f"not one number changed in {evidence.days:.1f} days: it is the same data again"
    elif not passed:
        message += f" ({share:.2%} moved or went home, the limit is {limit:.2%}){flows}"
    return Finding(
        check="movement",
        outcome=outcome(passed=passed and not frozen),
        actual=share,
        limit=limit,
        message=message,
        hint=_OTHER,
    )


def drift(evidence: Evidence, limits: GateLimits) -> Finding:
    """Does a full dump agree with the state that was built from increments up to its time?"""
    found, ported = evidence.drift, evidence.ported
    if found is None or not ported:
        return not_checked(
            "drift", evidence, "there is no state of the same time built from increments"
        )
    share = found.numbers / ported
    examples = f", e.g. {', '.join(found.examples[:_NAMED_MAX])}" if found.examples else ""
    since = (
        f"; {found.changed_since} numbers that increments after the dump changed are left out"
        if found.changed_since
        else ""
    )
    return Finding(
        check="drift",
        outcome=outcome(
            passed=share <= limits.drift_share or found.numbers <= limits.drift_numbers_min
        ),
        actual=share,
        limit=limits.drift_share,
        message=(
            f"the dump differs from {found.against} in {found.numbers} numbers ({share:.3%}, the "
            f"limit is {limits.drift_share:.3%} or {limits.drift_numbers_min} numbers, "
            f"whichever is larger): "
            f"{found.ported} more ported, {found.returned} fewer, {found.moved} of another "
            f"operator, {found.updated} with another route{examples}{since}"
            if found.numbers
            else f"the dump is what the increments made of {found.against}{since}"
        ),
        hint="Increments were missed or the dump is wrong: compare both before choosing one.",
    )


def _days(evidence: Evidence) -> float:
    """How many days' worth of change is due, at least one."""
    return min(max(1.0, evidence.days), DAYS_MAX)
