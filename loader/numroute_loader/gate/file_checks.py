"""Checks of the files and what they hold: are they whole, of the day they claim, and consistent?

A check returns its finding, or in words why it could not be made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np

from numroute_loader.gate.findings import Evidence, Finding, Outcome, finding, named
from numroute_loader.gate.limits import GateLimits
from numroute_loader.reading.description import ParsedFile

_DOWNLOAD = "The file is damaged or cut short: download it again."
_NO_DUMP = "there is no dump of ported numbers"
_FEW_SHARE_MAX = 0.01
"""Above this share the numbers of unknown operators are not few, however small the registry."""

_SAME_DAY = "Give the {} of the dump's own day."


def row_count(evidence: Evidence, _limits: GateLimits) -> Finding | str:
    """Check that every file holds as many rows as it states."""
    counts = [
        (file.source.path.name, file.stated_rows, file.source.rows)
        for file in evidence.files
        if file.stated_rows is not None
    ]
    if not counts:
        return "no file states its rows"
    wrong = [(name, stated, held) for name, stated, held in counts if stated != held]
    return finding(
        not wrong,
        named([f"{name} says {stated:,} and holds {held:,}" for name, stated, held in wrong])
        or f"{len(counts)} files hold the {sum(stated for _, stated, _ in counts):,} rows "
        "that they state",
        actual=sum(abs(stated - held) for _, stated, held in wrong),
        limit=0,
        hint=_DOWNLOAD,
    )


def rejected_rows(evidence: Evidence, limits: GateLimits) -> Finding | str:
    """Check that few rows are malformed."""
    dumps = _dumps(evidence)
    if not dumps:
        return _NO_DUMP
    rejected, rows = (
        sum(each.rejected_rows for each in dumps),
        sum(each.source.rows for each in dumps),
    )
    places = [place for each in dumps for place in each.rejected]
    return finding(
        rejected <= limits.rejected_rows,
        f"{rejected:,} of {rows:,} rows are malformed and were skipped, "
        f"the limit is {limits.rejected_rows:,}: {named(places, '; ')}"
        if rejected
        else f"all {rows:,} rows are well formed",
        actual=rejected,
        limit=limits.rejected_rows,
        hint=_DOWNLOAD,
    )


def duplicates(evidence: Evidence, _limits: GateLimits) -> Finding | str:
    """Check that each number has one row only."""
    dumps = _dumps(evidence)
    if not dumps:
        return _NO_DUMP
    rows = sum(each.duplicates for each in dumps)
    return finding(
        not rows,
        f"{rows:,} rows repeat a number of another row; the latest port was taken"
        if rows
        else "every number has one row",
        actual=rows,
        limit=0,
        hint="The file is not a whole dump as the registry makes it: download it again.",
    )


def _dumps(evidence: Evidence) -> list[ParsedFile]:
    return [file for file in evidence.files if file.ported is not None]


def sequence(evidence: Evidence, _limits: GateLimits) -> Finding | str:
    """Check that names, times and sequences follow those of the current snapshot."""
    faults = evidence.sequence
    if faults is None:
        return "no file has a sequence"
    if not faults and evidence.current is None:
        return "there is no current snapshot to follow"
    return finding(
        not faults,
        named(faults, "; ") or "names, times and sequences follow those of the current snapshot",
        actual=len(faults),
        limit=0,
        hint="Give the newest file of each kind, under the name that the registry gave it.",
    )


def age(evidence: Evidence, _limits: GateLimits) -> Finding | str:
    """Check that the data are not older than the current snapshot's."""
    current = evidence.current
    if current is None:
        return "there is no current snapshot to compare with"
    behind = (current.as_of - evidence.as_of).total_seconds()
    return finding(
        behind <= 0,
        f"data as of {evidence.as_of.isoformat()}, the current snapshot's is "
        f"{'newer: ' if behind > 0 else ''}as of {current.as_of.isoformat()}",
        actual=behind,
        limit=0,
        hint="Give the newest dump; --as-of TIME states the time of a file without a date.",
    )


def clock(evidence: Evidence, limits: GateLimits) -> Finding:
    """Check that the data are neither ahead of the clock nor far behind it.

    Data from the future would make all later data look old, and so be refused. Old data are only
    a warning: anything newer than the current snapshot is better than it, however old.
    """
    hours = (datetime.now(UTC) - evidence.as_of).total_seconds() / 3600
    ahead, late = -hours > limits.clock_ahead_hours, hours > limits.clock_behind_hours
    if ahead:
        age_text = f"lie {-hours:,.1f} hours ahead of the clock"
        limit_text = f", the limit is {limits.clock_ahead_hours:g}"
    else:
        age_text = f"are {max(0.0, hours):,.1f} hours old"
        limit_text = f", which is late from {limits.clock_behind_hours:g} on" if late else ""
    return Finding(
        outcome=Outcome.FAILED if ahead else Outcome.WARNING if late else Outcome.PASSED,
        message=f"data as of {evidence.as_of.isoformat()} {age_text}{limit_text}",
        actual=hours,
        limit=-limits.clock_ahead_hours if ahead else limits.clock_behind_hours,
        hint="Check the machine's clock, the file's name and --as-of.",
    )


def port_dates(evidence: Evidence, limits: GateLimits) -> Finding | str:
    """Check that the ports end when the data do: none much later, the newest not much earlier.

    Half of the changes of a window of increments must lie in it.
    """
    for name, window in _windows(evidence.files).items():
        misplaced = _misplaced(name, window, limits)
        if misplaced is not None:
            return misplaced
    ported_at, as_of = evidence.ported_at, evidence.as_of
    dated = 0 if ported_at is None else int(np.count_nonzero(ported_at))
    if ported_at is None or not dated:
        return "no number says when it was ported"
    # A time after 2106 does not fit the column: nothing can then lie ahead.
    latest = min((as_of + timedelta(hours=limits.port_dates_ahead_hours)).timestamp(), 2**32 - 1)
    is_ahead = ported_at > np.uint32(latest)
    count = int(np.count_nonzero(is_ahead))
    hint = "The file is not of the day that its name says: download it again."
    if count / dated > limits.port_dates_ahead_share:
        return finding(
            False,  # noqa: FBT003 - it failed
            f"{count:,} of {dated:,} ports are dated more than {limits.port_dates_ahead_hours:g} "
            "hours after the data's own time",
            actual=count / dated,
            limit=limits.port_dates_ahead_share,
            hint=hint,
        )
    newest = int(ported_at.max(initial=0, where=~is_ahead))
    later = (newest - as_of.timestamp()) / 3600
    behind, limit = max(0.0, -later) if newest else float("inf"), limits.port_dates_behind_hours
    is_behind = dated >= limits.port_dates_numbers_min and behind > limit
    distance = f"{later:,.1f} hours after" if later > 0 else f"{behind:,.1f} hours before"
    message = f"the newest port is of {datetime.fromtimestamp(newest, UTC).isoformat()}, "
    message += f"{distance} the data's own time"
    message += f", the limit is {limit:g}" if is_behind else ""
    if not newest:
        message = "no port is dated before the data's own time"
    return finding(not is_behind, message, actual=behind, limit=limit, hint=hint)


def _windows(files: Sequence[ParsedFile]) -> Mapping[str, list[ParsedFile]]:
    """Return the increments of each window, by the name of the first file."""
    windows: dict[datetime, list[ParsedFile]] = {}
    for file in files:
        if file.increment is not None and file.source.as_of is not None:
            windows.setdefault(file.source.as_of, []).append(file)
    return {window[0].source.path.name: window for window in windows.values()}


def _misplaced(name: str, window: Sequence[ParsedFile], limits: GateLimits) -> Finding | None:
    """Return the finding about a window whose median change does not belong to its time."""
    times = np.concatenate([file.increment.changed_at for file in window if file.increment])
    dated = times[times > 0]
    stated = window[0].source.as_of
    if stated is None or len(dated) < max(1, limits.increment_dates_numbers_min):
        return None
    middle = int(np.sort(dated)[(len(dated) - 1) // 2])
    hours = (middle - stated.timestamp()) / 3600
    ahead, behind = limits.increment_dates_ahead_minutes / 60, limits.increment_dates_behind_hours
    if -behind <= hours <= ahead:
        return None
    side, limit = ("after", ahead) if hours > 0 else ("before", behind)
    return finding(
        False,  # noqa: FBT003 - it failed
        f"half of the {len(dated):,} changes of {name} are "
        f"{abs(hours):,.1f} hours or more {side} the time in its name, the limit is {limit:,.1f}: "
        "it is another window under this name",
        actual=abs(hours),
        limit=limit,
        hint="Give the file back its own name, or ask the registry for it again.",
    )


def unknown_operators(evidence: Evidence, limits: GateLimits) -> Finding | str:
    """Check that the operator table names nearly all operators; a few new ones are a warning."""
    unknown = evidence.unknown_operators
    if unknown is None:
        return "there is no operator table"
    limit, floor = limits.unknown_operators_share, limits.unknown_operators_numbers_min
    numbers = sum(each.numbers for each in unknown)
    ranges = sum(each.ranges for each in unknown)
    share = max(numbers / max(evidence.ported, 1), ranges / max(evidence.ranges, 1))
    few = numbers <= floor and share <= _FEW_SHARE_MAX
    result = finding(
        share <= limit or few,
        f"the operator table lacks {named([str(each) for each in unknown])}"
        f"{evidence.where.get('unknown_operators', '')}: {share:.3%} "
        f"of the numbers or ranges, the limit is {limit:.3%} or {floor:,} numbers"
        if unknown
        else "every operator is in the operator table",
        actual=share,
        limit=limit,
        hint=_SAME_DAY.format("operator table"),
    )
    if unknown and result.outcome is Outcome.PASSED:
        return replace(result, outcome=Outcome.WARNING)
    return result


def outside_plan(evidence: Evidence, limits: GateLimits) -> Finding | str:
    """Check that the ported numbers lie in the numbering plan."""
    outside, ported = evidence.outside_plan, evidence.ported
    if not evidence.ranges or not ported:
        return "there is no numbering plan" if ported else "there are no ported numbers"
    share = outside.count / ported if outside else 0.0
    return finding(
        share <= limits.outside_plan_share,
        f"{outside.count:,} of {ported:,} ported numbers lie outside the numbering plan "
        f"({share:.2%}, the limit is {limits.outside_plan_share:.2%}), "
        f"the first is {outside.example}{evidence.where.get('outside_plan', '')}"
        if outside
        else "every ported number lies in the numbering plan",
        actual=share,
        limit=limits.outside_plan_share,
        hint=_SAME_DAY.format("numbering plan"),
    )


def routing_numbers(evidence: Evidence, limits: GateLimits) -> Finding | str:
    """Check that routing numbers contain region and MNC, where they usually do."""
    agreement = evidence.routing_numbers
    if agreement is None or not agreement.numbers:
        return "no ported number has a routing number, a region and an MNC"
    if not agreement.usual:
        return "the routing numbers of this registry do not contain region and MNC"
    share, limit = agreement.disagreeing / agreement.numbers, limits.routing_numbers_share
    return finding(
        share <= limit,
        f"{agreement.disagreeing:,} of {agreement.numbers:,} routing numbers do not agree with "
        f"their region and MNC ({share:.2%}, the limit is {limit:.2%}), e.g. "
        f"{named(agreement.examples)}"
        if agreement.disagreeing
        else f"all {agreement.numbers:,} routing numbers agree with their region and MNC",
        actual=share,
        limit=limit,
        hint="A column is shifted or wrong: download the dump again.",
    )


def chosen_numbers(evidence: Evidence, limits: GateLimits) -> Finding | str:
    """Check that the chosen numbers have the operators that are expected of them."""
    expected, wrong = evidence.expected, evidence.wrong
    if expected is None:
        return "no numbers were chosen with --expect FILE"
    return finding(
        len(wrong) <= limits.chosen_numbers,
        f"{len(wrong):,} of {expected:,} chosen numbers are not as expected: {named(wrong, '; ')}"
        if wrong
        else f"all {expected:,} chosen numbers are as expected",
        actual=len(wrong),
        limit=limits.chosen_numbers,
        hint="Ask who serves these numbers; if they were ported, correct the file of --expect.",
    )
