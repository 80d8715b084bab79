"""Checks of the change: is the new snapshot what some days of porting make of the current one?

A check returns its finding, or in words why it could not be made.
"""

from __future__ import annotations

from collections.abc import Sequence

from numroute_loader.gate.findings import Evidence, Finding, Outcome, finding, named
from numroute_loader.gate.limits import DAYS_MAX, GateLimits

_NOTHING = "there is no current snapshot with ported numbers to compare with"
_NO_PLAN = "there is no current snapshot with a numbering plan to compare with"
_WHOLE = "Give the whole dump of the day."
_COMPARE = "Compare the files with what the registry published"
_MERGER = f"{_COMPARE}; a merger of operators needs --allow."


def shrinkage(evidence: Evidence, limits: GateLimits) -> Finding | str:
    """Check that there are not many fewer ported numbers than before, and enough of them."""
    before, ported, least = evidence.ported_before, evidence.ported, limits.ported_min
    if ported < least:
        message = f"{ported:,} ported numbers, the least is {least:,}"
        return finding(False, message, actual=ported, limit=least, hint=_WHOLE)  # noqa: FBT003
    if not before:
        return _NOTHING
    return _shrunk("ported numbers", ported, before, limits.shrinkage_share, hint=_WHOLE)


def plan_shrinkage(evidence: Evidence, limits: GateLimits) -> Finding | str:
    """Check that there are not many fewer numbers in the numbering plan than before.

    A file of it that is missing or cut short makes all of its numbers unallocated.
    """
    numbers, current = evidence.range_numbers, evidence.current
    before = current.counts.get("range_numbers", 0) if current is not None else 0
    if not before or numbers is None:
        return _NO_PLAN
    hint = "Give all files of the numbering plan, each of them whole."
    limit = limits.plan_shrinkage_share
    return _shrunk("numbers in the numbering plan", numbers, before, limit, hint=hint)


def _shrunk(what: str, count: int, before: int, limit: float, *, hint: str) -> Finding:
    share = max(0.0, 1 - count / before)
    message = f"{count:,} {what}, the current snapshot has {before:,}"
    message += f": {share:.2%} fewer, the limit is {limit:.2%}" if share else ""
    return finding(share <= limit, message, actual=share, limit=limit, hint=hint)


def range_holders(evidence: Evidence, limits: GateLimits) -> Finding | str:
    """Check that not too many numbers of the plan have another range holder than before."""
    holders = evidence.range_holders
    if holders is None or not holders.numbers:
        return _NO_PLAN
    limit, floor = limits.range_holders_share, limits.range_holders_numbers_min
    result = _bounded(
        holders.changed,
        holders.numbers,
        limit,
        floor,
        f"{holders.changed:,} of {holders.numbers:,} numbers of the plan changed their range "
        "holder",
        largest=holders.flows,
        hint=_MERGER,
    )
    of_operator = limits.range_holders_operator_share
    wrong = {
        code: (lost, had)
        for code, (lost, had) in holders.lost.items()
        if lost > floor and lost > of_operator * had
    }
    if result.outcome is Outcome.FAILED or not wrong:
        return result
    share = max(lost / had for lost, had in wrong.values())
    return finding(
        False,  # noqa: FBT003 - it failed
        f"range holders lost more than {of_operator:.2%} and {floor:,} of their numbers: "
        + named([f"{code} {lost:,} of {had:,}" for code, (lost, had) in wrong.items()]),
        actual=share,
        limit=of_operator,
        hint=_MERGER,
    )


def growth(evidence: Evidence, limits: GateLimits) -> Finding | str:
    """Check that there are not many more ported numbers than before."""
    before = evidence.ported_before
    if not before:
        return _NOTHING
    more = max(0, evidence.ported - before)
    return _bounded(
        more,
        before,
        limits.growth_share_per_day * _days(evidence),
        limits.growth_numbers_min,
        f"{more:,} ported numbers more than in the current snapshot",
        hint=f"{_COMPARE}: is the dump of the right kind?",
    )


def operator_change(evidence: Evidence, limits: GateLimits) -> Finding | str:
    """Check that no operator gains or loses more numbers than some days of porting bring."""
    before, after = evidence.by_operator_before, evidence.by_operator
    if not before:
        return _NOTHING
    limit = limits.operator_change_share_per_day * _days(evidence)
    floor = limits.operator_change_numbers_min
    changes = {code: after.get(code, 0) - before.get(code, 0) for code in {*before, *after}}
    shares = {
        code: abs(change) / before[code] if before.get(code) else 1.0
        for code, change in changes.items()
        if change
    }
    large = {code for code, share in shares.items() if share > limit}
    # The largest change first, whatever share of its operator's numbers it is.
    wrong = sorted(
        (code for code in large if abs(changes[code]) > floor),
        key=lambda code: (-abs(changes[code]), code),
    )
    below = len(large) - len(wrong)
    return finding(
        not wrong,
        f"gained or lost more than {limit:.2%} and {floor:,} numbers: "
        + named([f"{code} {changes[code]:+,} (had {before.get(code, 0):,})" for code in wrong])
        if wrong
        else f"no operator gained or lost more than {limit:.2%} and {floor:,} numbers"
        + (f"; {below} exceed the share, with fewer numbers" if below else ""),
        actual=max((shares[code] for code in wrong), default=0.0),
        limit=limit,
        hint=_MERGER,
    )


def movement(evidence: Evidence, limits: GateLimits) -> Finding | str:
    """Check that some numbers changed hands since the current snapshot, and not too many."""
    moved, before = evidence.changes, evidence.ported_before
    if moved is None or not before:
        return _NOTHING
    count = moved.returned + moved.moved
    if (
        evidence.days >= 1
        and before >= limits.unchanged_numbers_min
        and not count
        and not moved.ported
    ):
        return finding(
            False,  # noqa: FBT003 - it failed
            f"not one number changed in {evidence.days:.1f} days: it is the same data again",
            actual=0,
            limit=limits.unchanged_numbers_min,
            hint=_MERGER,
        )
    return _bounded(
        count,
        before,
        limits.movement_share_per_day * _days(evidence),
        limits.movement_numbers_min,
        f"{moved.moved:,} numbers changed operator, {moved.returned:,} went home, "
        f"{moved.ported:,} were newly ported since the current snapshot",
        largest=evidence.flows,
        hint=_MERGER,
    )


def updates(evidence: Evidence, limits: GateLimits) -> Finding | str:
    """Check that not too many numbers got another route of the same operator."""
    moved, before = evidence.changes, evidence.ported_before
    if moved is None or not before:
        return _NOTHING
    return _bounded(
        moved.updated,
        before,
        limits.updates_share_per_day * _days(evidence),
        limits.updates_numbers_min,
        f"{moved.updated:,} numbers kept their operator and changed region, MNC or routing number",
        hint=f"{_COMPARE}: rows may be shifted against each other; a renumbering needs --allow.",
    )


def drift(evidence: Evidence, limits: GateLimits) -> Finding | str:
    """Check that a full dump agrees with the state that increments made up to its time."""
    differences, ported = evidence.drift, evidence.ported
    if differences is None or not ported:
        return "there is no state of the same time built from increments"
    numbers, against = differences.numbers, differences.against
    share, limit, floor = numbers / ported, limits.drift_share, limits.drift_numbers_min
    examples = f", e.g. {named(differences.examples)}" if differences.examples else ""
    since = (
        f"; {differences.changed_since:,} numbers that increments after the dump changed are left "
        "out"
        if differences.changed_since
        else ""
    )
    return finding(
        share <= limit or numbers <= floor,
        f"the dump differs from {against} in {numbers:,} numbers ({share:.3%}, the limit is "
        f"{limit:.3%} or {floor:,} numbers, whichever is larger): {differences.ported:,} more "
        f"ported, {differences.returned:,} fewer, {differences.moved:,} of another operator, "
        f"{differences.updated:,} with another route{examples}{since}"
        if numbers
        else f"the dump is what the increments made of {against}{since}",
        actual=share,
        limit=limit,
        hint="Increments were missed or the dump is wrong: compare both before choosing one.",
    )


def _bounded(
    count: int,
    of: int,
    limit: float,
    floor: int,
    message: str,
    *,
    largest: Sequence[str] = (),
    hint: str,
) -> Finding:
    """Return the finding of a count that may be a share of all, or a number that is too small."""
    share = count / of
    passed = share <= limit or count <= floor
    if share > limit and passed:
        message += (
            f" ({share:.2%}, more than the limit of {limit:.2%}; it passes because it is not more "
            f"than {floor:,} numbers)"
        )
    elif count:
        message += f" ({share:.2%}, the limit is {limit:.2%} or {floor:,} numbers)"
    if largest and not passed:
        message += f": {named(largest)}"
    return finding(passed, message, actual=share, limit=limit, hint=hint)


def _days(evidence: Evidence) -> float:
    """Return for how many days changes are due, at least one."""
    return min(max(1.0, evidence.days), DAYS_MAX)
