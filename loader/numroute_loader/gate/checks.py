"""The checks of the gate, and the judgement that they make together.

A check compares facts with limits and returns its finding, or says why it could not be made. The
gate knows no registry. A new check is a function in the table below, its limits in ``limits`` and
its facts in ``findings``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from numroute_loader.gate.findings import READ_BACK, Evidence, Finding, Outcome, finding, named
from numroute_loader.gate.limits import DAYS_MAX, GateLimits
from numroute_loader.reading.description import ParsedFile

_FEW_SHARE_MAX = 0.01
"""Above this share the numbers of unknown operators are not few, however small the registry."""

_NO_DUMP = "there is no full dump"
_NO_PLAN = "there is no numbering plan"
_NOTHING = "there is no current snapshot to compare with"
_NOT_PORTED = "there is no current snapshot with ported numbers to compare with"

_DOWNLOAD = "The file is damaged, or not of the day in its name: download it again."
_SAME_DAY = "Give the operator table and the plan of the dump's own day."
_WHOLE = "Give the whole dump of the day and all files of the plan."
_COMPARE = (
    "Compare the files with what the registry published; a merger of operators or a renumbering "
    "needs --allow."
)


def row_count(evidence: Evidence, _limits: GateLimits) -> Finding | str:
    """Check that every file holds as many rows as it states."""
    stated = [file for file in evidence.files if file.stated_rows is not None]
    if not stated:
        return "no file states its rows"
    wrong = [
        f"{file.source.path.name} says {file.stated_rows:,} and holds {file.source.rows:,}"
        for file in stated
        if file.stated_rows != file.source.rows
    ]
    message = named(wrong) or f"{len(stated)} files hold the rows that they state"
    return finding(message, actual=len(wrong), limit=0, hint=_DOWNLOAD)


def rejected_rows(evidence: Evidence, limits: GateLimits) -> Finding | str:
    """Check that few rows are malformed."""
    dump = _dump(evidence)
    if dump is None:
        return _NO_DUMP
    count, limit = dump.rejected_rows, limits.rejected_rows
    message = f"{count:,} of {dump.source.rows:,} rows are malformed and were skipped, the limit is"
    message += f" {limit:,}: {named(dump.rejected, '; ')}" if count else f" {limit:,}"
    return finding(message, actual=count, limit=limit, hint=_DOWNLOAD)


def duplicates(evidence: Evidence, _limits: GateLimits) -> Finding | str:
    """Check that each number has one row only."""
    dump = _dump(evidence)
    if dump is None:
        return _NO_DUMP
    message = f"{dump.duplicates:,} rows repeat a number of another row"
    message += "; the latest port was taken" if dump.duplicates else ""
    return finding(message, actual=dump.duplicates, limit=0, hint=_DOWNLOAD)


def _dump(evidence: Evidence) -> ParsedFile | None:
    return next((file for file in evidence.files if file.ported is not None), None)


def sequence(evidence: Evidence, _limits: GateLimits) -> Finding | str:
    """Check that names, times and sequences follow those of the current snapshot."""
    faults = evidence.sequence
    if faults is None:
        return "no file has a sequence"
    if not faults and evidence.current is None:
        return _NOTHING
    message = named(faults, "; ") or "names, times and sequences follow the current snapshot's"
    hint = "Give the newest file of each kind, under the name that the registry gave it."
    return finding(message, actual=len(faults), limit=0, hint=hint)


def age(evidence: Evidence, _limits: GateLimits) -> Finding | str:
    """Check that the data are not older than the current snapshot's."""
    if evidence.current is None:
        return _NOTHING
    behind = -evidence.days * 24
    message = f"data as of {evidence.as_of.isoformat()}, the current snapshot's is "
    message += f"{'newer: ' if behind > 0 else ''}as of {evidence.current.as_of.isoformat()}"
    hint = "Give the newest dump; --as-of TIME states the time of a file without a date."
    return finding(message, actual=behind, limit=0, hint=hint)


def clock(evidence: Evidence, limits: GateLimits) -> Finding:
    """Check that the data are neither ahead of the clock nor far behind it.

    Data from the future would make all later data look old, and so be refused. Old data are only
    a warning: anything newer than the current snapshot is better than it, however old.
    """
    hours = (datetime.now(UTC) - evidence.as_of).total_seconds() / 3600
    ahead, behind = limits.clock_ahead_hours, limits.clock_behind_hours
    data = f"data as of {evidence.as_of.isoformat()}"
    hint = "Check the machine's clock, the file's name and --as-of."
    if hours < 0:
        message = f"{data} lie {-hours:,.1f} hours ahead of the clock, the limit is {ahead:g}"
        return finding(message, actual=-hours, limit=ahead, hint=hint)
    message = f"{data} are {hours:,.1f} hours old"
    message += f", which is late from {behind:g} on" if hours > behind else ""
    result = finding(message, actual=hours, limit=behind, hint=hint)
    return replace(result, outcome=Outcome.WARNING) if hours > behind else result


def port_dates(evidence: Evidence, limits: GateLimits) -> Finding | str:
    """Check that the ports end when the data do: none much later, the newest not much earlier.

    Half of the changes of a window of increments must lie in it.
    """
    misplaced = _misplaced_window(evidence, limits)
    if misplaced is not None:
        return misplaced
    ported_at, as_of = evidence.ported_at, evidence.as_of
    dated = 0 if ported_at is None else int(np.count_nonzero(ported_at))
    if ported_at is None or not dated:
        return "no number says when it was ported"
    # A time after 2106 does not fit the column: nothing can then lie ahead.
    latest = min((as_of + timedelta(hours=limits.port_dates_ahead_hours)).timestamp(), 2**32 - 1)
    is_ahead = ported_at > np.uint32(latest)
    ahead = int(np.count_nonzero(is_ahead))
    if ahead / dated > limits.port_dates_ahead_share:
        message = f"{ahead:,} of {dated:,} ports are dated more than "
        message += f"{limits.port_dates_ahead_hours:g} hours after the data's own time"
        share = limits.port_dates_ahead_share
        return finding(message, actual=ahead / dated, limit=share, hint=_DOWNLOAD)
    newest = datetime.fromtimestamp(int(ported_at.max(initial=0, where=~is_ahead)), UTC)
    behind, limit = (as_of - newest).total_seconds() / 3600, limits.port_dates_behind_hours
    message = f"the newest port is of {newest.isoformat()}, {max(0.0, behind):,.1f} hours before "
    message += f"the data's own time, the limit is {limit:g}"
    failed = behind > limit and dated >= limits.port_dates_numbers_min
    return finding(message, actual=behind, limit=limit, hint=_DOWNLOAD, failed=failed)


def _misplaced_window(evidence: Evidence, limits: GateLimits) -> Finding | None:
    """Return the finding about a window whose median change does not belong to its time."""
    windows: dict[datetime, list[NDArray[np.uint32]]] = defaultdict(list)
    for file in evidence.files:
        if file.increment is not None and file.source.as_of is not None:
            windows[file.source.as_of].append(file.increment.changed_at)
    ahead, behind = limits.increment_dates_ahead_minutes / 60, limits.increment_dates_behind_hours
    for stated, times in windows.items():
        dated = np.concatenate(times)
        dated = dated[dated > 0]
        if len(dated) < max(1, limits.increment_dates_numbers_min):
            continue
        hours = (float(np.median(dated)) - stated.timestamp()) / 3600
        if not -behind <= hours <= ahead:
            side, limit = ("after", ahead) if hours > 0 else ("before", behind)
            message = f"half of the {len(dated):,} changes of the window of {stated.isoformat()} "
            message += f"are {abs(hours):,.1f} hours or more {side} the time in its name, the "
            message += f"limit is {limit:,.1f}: it is another window under this name"
            hint = "Give the files back their own names, or ask the registry for them again."
            return finding(message, actual=abs(hours), limit=limit, hint=hint)
    return None


def unknown_operators(evidence: Evidence, limits: GateLimits) -> Finding | str:
    """Check that the operator table names nearly all operators; a few new ones are a warning."""
    unknown = evidence.unknown_operators
    if unknown is None:
        return "there is no operator table"
    limit, floor = limits.unknown_operators_share, limits.unknown_operators_numbers_min
    numbers, ranges = sum(each.numbers for each in unknown), sum(each.ranges for each in unknown)
    share = max(numbers / max(evidence.ported, 1), ranges / max(evidence.ranges, 1))
    message = "every operator is in the operator table"
    if unknown:
        message = f"the operator table lacks {named([str(each) for each in unknown])}"
        message += f"{evidence.where.get('unknown_operators', '')}: {share:.3%} of the numbers or "
        message += f"ranges, the limit is {limit:.3%} or {floor:,} numbers"
    few = numbers <= floor and share <= _FEW_SHARE_MAX
    failed = share > limit and not few
    result = finding(message, actual=share, limit=limit, hint=_SAME_DAY, failed=failed)
    return replace(result, outcome=Outcome.WARNING) if unknown and not failed else result


def outside_plan(evidence: Evidence, limits: GateLimits) -> Finding | str:
    """Check that the ported numbers lie in the numbering plan."""
    outside, ported, limit = evidence.outside_plan, evidence.ported, limits.outside_plan_share
    if not evidence.ranges or not ported:
        return _NO_PLAN if ported else "there are no ported numbers"
    if outside is None:
        return finding("every ported number is in the plan", actual=0, limit=limit, hint="")
    share = outside.count / ported
    message = f"{outside.count:,} of {ported:,} ported numbers lie outside the numbering plan "
    message += f"({share:.2%}, the limit is {limit:.2%}), the first is {outside.example}"
    message += evidence.where.get("outside_plan", "")
    return finding(message, actual=share, limit=limit, hint=_SAME_DAY)


def routing_numbers(evidence: Evidence, limits: GateLimits) -> Finding | str:
    """Check that routing numbers contain region and MNC, where they usually do."""
    agreement = evidence.routing_numbers
    if agreement is None or not agreement.numbers:
        return "no ported number of a full dump has a routing number, a region and an MNC"
    if not agreement.usual:
        return "the routing numbers of this registry do not contain region and MNC"
    share, limit = agreement.disagreeing / agreement.numbers, limits.routing_numbers_share
    message = f"{agreement.disagreeing:,} of {agreement.numbers:,} routing numbers do not agree "
    message += f"with their region and MNC ({share:.2%}, the limit is {limit:.2%})"
    message += f", e.g. {named(agreement.examples)}" if agreement.examples else ""
    hint = "A column is shifted or wrong: download the dump again."
    return finding(message, actual=share, limit=limit, hint=hint)


def chosen_numbers(evidence: Evidence, limits: GateLimits) -> Finding | str:
    """Check that the chosen numbers have the operators that are expected of them."""
    expected, wrong, limit = evidence.expected, evidence.wrong, limits.chosen_numbers
    if expected is None:
        return "no numbers were chosen with --expect FILE"
    message = f"all {expected:,} chosen numbers are as expected"
    if wrong:
        message = f"{len(wrong):,} of {expected:,} chosen numbers are not as expected: "
        message += named(wrong, "; ")
    hint = "Ask who serves these numbers; if they were ported, correct the file of --expect."
    return finding(message, actual=len(wrong), limit=limit, hint=hint)


def shrinkage(evidence: Evidence, limits: GateLimits) -> Finding | str:
    """Check that there are not many fewer ported numbers than before, and enough of them."""
    before, ported, least = evidence.ported_before, evidence.ported, limits.ported_min
    if ported < least:
        message = f"{ported:,} ported numbers, the least is {least:,}"
        return finding(message, actual=ported, limit=least, hint=_WHOLE, failed=True)
    if not before:
        return _NOT_PORTED
    return _shrunk("ported numbers", ported, before, limits.shrinkage_share)


def plan_shrinkage(evidence: Evidence, limits: GateLimits) -> Finding | str:
    """Check that there are not many fewer numbers in the numbering plan than before.

    A file of it that is missing or cut short makes all of its numbers unallocated.
    """
    numbers, current = evidence.range_numbers, evidence.current
    before = current.counts.get("range_numbers", 0) if current is not None else 0
    if not before or numbers is None:
        return _NO_PLAN if numbers is None else "there is no earlier plan to compare with"
    limit = limits.plan_shrinkage_share
    return _shrunk("numbers in the numbering plan", numbers, before, limit)


def _shrunk(what: str, count: int, before: int, limit: float) -> Finding:
    share = max(0.0, 1 - count / before)
    message = f"{count:,} {what}, the current snapshot has {before:,}"
    message += f": {share:.2%} fewer, the limit is {limit:.2%}" if share else ""
    return finding(message, actual=share, limit=limit, hint=_WHOLE)


def range_holders(evidence: Evidence, limits: GateLimits) -> Finding | str:
    """Check that not too many numbers of the plan have another range holder than before."""
    holders = evidence.range_holders
    if holders is None or not holders.numbers:
        return "there are no two plans with numbers in common"
    floor, of_holder = limits.range_holders_numbers_min, limits.range_holders_operator_share
    lost = {
        f"{code} {lost:,} of {had:,}": lost / had
        for code, (lost, had) in holders.lost.items()
        if lost > floor and lost > of_holder * had
    }
    message = f"{holders.changed:,} of {holders.numbers:,} numbers of the plan changed their range "
    result = _bounded(
        holders.changed,
        holders.numbers,
        limits.range_holders_share,
        floor,
        f"{message}holder",
        largest=holders.flows,
    )
    if result.outcome is Outcome.FAILED or not lost:
        return result
    message = f"range holders lost more than {of_holder:.2%} and {floor:,} of their numbers: "
    message += named(list(lost))
    return finding(message, actual=max(lost.values()), limit=of_holder, hint=_COMPARE)


def growth(evidence: Evidence, limits: GateLimits) -> Finding | str:
    """Check that there are not many more ported numbers than before."""
    before = evidence.ported_before
    if not before:
        return _NOT_PORTED
    more, limit = max(0, evidence.ported - before), limits.growth_share_per_day * _days(evidence)
    message = f"{more:,} ported numbers more than in the current snapshot"
    return _bounded(more, before, limit, limits.growth_numbers_min, message)


def operator_change(evidence: Evidence, limits: GateLimits) -> Finding | str:
    """Check that no operator gains or loses more numbers than some days of porting bring."""
    before, after = evidence.by_operator_before, evidence.by_operator
    if not before:
        return _NOT_PORTED
    limit = limits.operator_change_share_per_day * _days(evidence)
    floor = limits.operator_change_numbers_min
    changes = {code: after.get(code, 0) - before.get(code, 0) for code in {*before, *after}}
    shares = {
        code: abs(change) / before[code] if before.get(code) else 1.0
        for code, change in changes.items()
        if change
    }
    large = [code for code, share in shares.items() if share > limit]
    # The largest change first, whatever share of its operator's numbers it is.
    large.sort(key=lambda code: -abs(changes[code]))
    wrong = [code for code in large if abs(changes[code]) > floor]
    few = len(large) - len(wrong)
    message = f"{len(wrong)} operators gained or lost more than {limit:.2%} and {floor:,} numbers"
    message += f"; {few} exceed the share, with fewer numbers" if few else ""
    changed = [f"{code} {changes[code]:+,} (had {before.get(code, 0):,})" for code in wrong]
    message += f": {named(changed)}" if wrong else ""
    largest = max((shares[code] for code in wrong), default=0.0)
    return finding(message, actual=largest, limit=limit, hint=_COMPARE)


def movement(evidence: Evidence, limits: GateLimits) -> Finding | str:
    """Check that some numbers changed hands since the current snapshot, and not too many."""
    moved, before = evidence.changes, evidence.ported_before
    if moved is None or not before:
        return _NOT_PORTED
    count, least = moved.returned + moved.moved, limits.unchanged_numbers_min
    if evidence.days >= 1 and before >= least and not count and not moved.ported:
        message = f"not one number changed in {evidence.days:.1f} days: it is the same data again"
        return finding(message, actual=0, limit=least, hint=_DOWNLOAD, failed=True)
    return _bounded(
        count,
        before,
        limits.movement_share_per_day * _days(evidence),
        limits.movement_numbers_min,
        f"{moved.moved:,} numbers changed operator, {moved.returned:,} went home, "
        f"{moved.ported:,} were newly ported since the current snapshot",
        largest=evidence.flows,
    )


def updates(evidence: Evidence, limits: GateLimits) -> Finding | str:
    """Check that not too many numbers got another route of the same operator."""
    moved, before = evidence.changes, evidence.ported_before
    if moved is None or not before:
        return _NOT_PORTED
    message = f"{moved.updated:,} numbers kept their operator and changed region, MNC or routing "
    limit = limits.updates_share_per_day * _days(evidence)
    return _bounded(moved.updated, before, limit, limits.updates_numbers_min, f"{message}number")


def drift(evidence: Evidence, limits: GateLimits) -> Finding | str:
    """Check that a full dump agrees with the state that increments made up to its time."""
    found = evidence.drift
    if isinstance(found, str):
        return found
    message = f"the dump differs from {found.against} in {found.numbers:,} numbers: "
    message += f"{found.ported:,} more ported, {found.returned:,} fewer, {found.moved:,} of "
    message += f"another operator, {found.updated:,} with another route; {found.changed_since:,} "
    message += "that increments after the dump changed are left out"
    return _bounded(
        found.numbers,
        max(evidence.ported, 1),
        limits.drift_share,
        limits.drift_numbers_min,
        message,
        largest=found.examples,
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
    hint: str = _COMPARE,
) -> Finding:
    """Return the finding of a count that may be a share of all, or a number that is too small."""
    share = count / of
    message += f" ({share:.3%}, the limit is {limit:.3%} or {floor:,} numbers)"
    if share > limit and count <= floor:
        message += f"; it passes because it is not more than {floor:,} numbers"
    if largest and count:
        message += f": {named(largest)}"
    failed = share > limit and count > floor
    return finding(message, actual=share, limit=limit, hint=hint, failed=failed)


def _days(evidence: Evidence) -> float:
    """Return for how many days changes are due, at least one."""
    return min(max(1.0, evidence.days), DAYS_MAX)


def read_back(_evidence: Evidence, _limits: GateLimits) -> Finding | str:
    """Leave it to the store, which reads the file that it has written."""
    return "nothing has been written yet: the file is read back before it is published"


_CHECKS: tuple[Callable[[Evidence, GateLimits], Finding | str], ...] = (
    row_count,
    rejected_rows,
    duplicates,
    sequence,
    age,
    clock,
    port_dates,
    unknown_operators,
    outside_plan,
    routing_numbers,
    chosen_numbers,
    shrinkage,
    plan_shrinkage,
    range_holders,
    growth,
    operator_change,
    movement,
    updates,
    drift,
    read_back,
)

CHECKS = tuple(check.__name__ for check in _CHECKS)
"""The names of all checks, in the order of the findings."""

OVERRIDABLE = tuple(name for name in CHECKS if name != READ_BACK)
"""The checks that may be allowed to fail."""


def judge(
    evidence: Evidence, limits: GateLimits, *, allowed: Collection[str] = ()
) -> tuple[Finding, ...]:
    """Return one finding per check, in the order of ``CHECKS``; ``allowed`` ones may fail."""
    findings = []
    for name, check in zip(CHECKS, _CHECKS, strict=True):
        result = check(evidence, limits)
        if isinstance(result, str):
            result = Finding(outcome=Outcome.NOT_CHECKED, message=result)
        elif result.outcome is Outcome.FAILED and name in allowed:
            result = replace(result, outcome=Outcome.ALLOWED)
        findings.append(replace(result, check=name))
    return tuple(findings)
