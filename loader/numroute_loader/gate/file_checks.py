"""Checks of the files and what they hold: are they whole, of the day they claim, and consistent?

A check returns its finding, or in words why it could not be made.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from numroute_loader.gate.findings import Finding, Outcome, finding, named

if TYPE_CHECKING:
    from numroute_loader.gate.evidence import Evidence, WindowDates
    from numroute_loader.gate.limits import GateLimits

_DOWNLOAD = "The file is damaged or cut short: download it again."
_FEW_SHARE_MAX = 0.01
"""Above this share the numbers of unknown operators are not few, however small the registry."""

_SAME_DAY = "Give the {} of the dump's own day."


def row_count(evidence: Evidence, _limits: GateLimits) -> Finding | str:
    """Check that every file holds as many rows as it states."""
    counts = evidence.row_counts
    if counts is None:
        return "no file states its rows"
    wrong = [count for count in counts if count.stated != count.actual]
    return finding(
        not wrong,
        named([f"{each.file} says {each.stated:,} and holds {each.actual:,}" for each in wrong])
        or f"{len(counts)} files hold the {sum(count.stated for count in counts):,} rows "
        "that they state",
        actual=sum(abs(count.stated - count.actual) for count in wrong),
        limit=0,
        hint=_DOWNLOAD,
    )


def rejected_rows(evidence: Evidence, limits: GateLimits) -> Finding | str:
    """Check that few rows are malformed."""
    rejected = evidence.rejected
    if rejected is None:
        return "there is no dump of ported numbers"
    return finding(
        rejected.rows <= limits.rejected_rows,
        f"{rejected.rows:,} of {rejected.of_rows:,} rows are malformed and were skipped, "
        f"the limit is {limits.rejected_rows:,}: {named(rejected.places, '; ')}"
        if rejected.rows
        else f"all {rejected.of_rows:,} rows are well formed",
        actual=rejected.rows,
        limit=limits.rejected_rows,
        hint=_DOWNLOAD,
    )


def duplicates(evidence: Evidence, _limits: GateLimits) -> Finding | str:
    """Check that each number has one row only."""
    rows = evidence.duplicates
    if rows is None:
        return "there is no dump of ported numbers"
    return finding(
        not rows,
        f"{rows:,} rows repeat a number of another row; the latest port was taken"
        if rows
        else "every number has one row",
        actual=rows,
        limit=0,
        hint="The file is not a whole dump as the registry makes it: download it again.",
    )


def sequence(evidence: Evidence, _limits: GateLimits) -> Finding | str:
    """Check that names, times and sequences follow those of the current snapshot."""
    faults = evidence.sequence
    if faults is None:
        return "no file has a sequence"
    if not faults and evidence.previous is None:
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
    previous = evidence.previous
    if previous is None:
        return "there is no current snapshot to compare with"
    behind = (previous.as_of - evidence.as_of).total_seconds()
    return finding(
        behind <= 0,
        f"data as of {evidence.as_of.isoformat()}, the current snapshot's is "
        f"{'newer: ' if behind > 0 else ''}as of {previous.as_of.isoformat()}",
        actual=behind,
        limit=0,
        hint="Give the newest dump; --as-of TIME states the time of a file without a date.",
    )


def clock(evidence: Evidence, limits: GateLimits) -> Finding | str:
    """Check that the data are neither ahead of the clock nor far behind it.

    Data from the future would make all later data look old, and so be refused. Old data are only
    a warning: anything newer than the current snapshot is better than it, however old.
    """
    if evidence.now is None:
        return "the clock was not read"
    hours = (evidence.now - evidence.as_of).total_seconds() / 3600
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
    for window in evidence.windows:
        misplaced = _misplaced(window, limits)
        if misplaced is not None:
            return misplaced
    dates = evidence.port_dates
    if dates is None or not dates.dated:
        return "no number says when it was ported"
    ahead = dates.ahead / dates.dated
    behind = float("inf")
    if dates.newest is not None:
        behind = max(timedelta(), evidence.as_of - dates.newest).total_seconds() / 3600
    too_far_ahead = ahead > limits.port_dates_ahead_share
    too_far_behind = (
        dates.dated >= limits.port_dates_numbers_min and behind > limits.port_dates_behind_hours
    )
    if too_far_ahead:
        message = (
            f"{dates.ahead:,} of {dates.dated:,} ports are dated more than "
            f"{limits.port_dates_ahead_hours:g} hours after the data's own time"
        )
    elif dates.newest is None:
        message = "no port is dated before the data's own time"
    else:
        later = (dates.newest - evidence.as_of).total_seconds() / 3600
        distance = f"{later:,.1f} hours after" if later > 0 else f"{behind:,.1f} hours before"
        message = f"the newest port is of {dates.newest.isoformat()}, {distance}"
        message += " the data's own time" + (
            f", the limit is {limits.port_dates_behind_hours:g}" if too_far_behind else ""
        )
    return finding(
        not too_far_ahead and not too_far_behind,
        message,
        actual=ahead if too_far_ahead else behind,
        limit=limits.port_dates_ahead_share if too_far_ahead else limits.port_dates_behind_hours,
        hint="The file is not of the day that its name says: download it again.",
    )


def _misplaced(window: WindowDates, limits: GateLimits) -> Finding | None:
    if window.dated < limits.increment_dates_numbers_min:
        return None
    hours = (window.middle - window.time).total_seconds() / 3600
    ahead, behind = limits.increment_dates_ahead_minutes / 60, limits.increment_dates_behind_hours
    if -behind <= hours <= ahead:
        return None
    side, limit = ("after", ahead) if hours > 0 else ("before", behind)
    return finding(
        False,  # noqa: FBT003 - it failed
        f"half of the {window.dated:,} changes of {window.name} are "
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
    few = unknown.numbers <= floor and unknown.share <= _FEW_SHARE_MAX
    result = finding(
        unknown.share <= limit or few,
        f"the operator table lacks {named(unknown.codes)}{unknown.where}: {unknown.share:.3%} "
        f"of the numbers or ranges, the limit is {limit:.3%} or {floor:,} numbers"
        if unknown.codes
        else "every operator is in the operator table",
        actual=unknown.share,
        limit=limit,
        hint=_SAME_DAY.format("operator table"),
    )
    if unknown.codes and result.outcome is Outcome.PASSED:
        return replace(result, outcome=Outcome.WARNING)
    return result


def outside_plan(evidence: Evidence, limits: GateLimits) -> Finding | str:
    """Check that the ported numbers lie in the numbering plan."""
    outside, ported = evidence.outside_plan, evidence.ported
    if outside is None or not ported:
        return "there is no numbering plan" if ported else "there are no ported numbers"
    share = outside.count / ported
    return finding(
        share <= limits.outside_plan_share,
        f"{outside.count:,} of {ported:,} ported numbers lie outside the numbering plan "
        f"({share:.2%}, the limit is {limits.outside_plan_share:.2%}), "
        f"the first is {outside.example}{outside.where}"
        if outside.count
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
    chosen = evidence.chosen
    if chosen is None:
        return "no numbers were chosen with --expect FILE"
    wrong = [
        f"{each.where}: {each.number} is served by {each.actual}, {each.expected} is expected"
        for each in chosen.wrong
    ]
    return finding(
        len(wrong) <= limits.chosen_numbers,
        f"{len(wrong):,} of {chosen.numbers:,} chosen numbers are not as expected: "
        f"{named(wrong, '; ')}"
        if wrong
        else f"all {chosen.numbers:,} chosen numbers are as expected",
        actual=len(wrong),
        limit=limits.chosen_numbers,
        hint="Ask who serves these numbers; if they were ported, correct the file of --expect.",
    )
