"""Checks of the files themselves: are they whole, in order, and of the day that they claim?"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from numroute_loader.gate.findings import Finding, Outcome
from numroute_loader.gate.outcomes import not_checked, outcome

if TYPE_CHECKING:
    from numroute_loader.gate.evidence import Evidence, WindowDates
    from numroute_loader.gate.limits import GateLimits

_PLACES_MAX = 5
"""How many rows or files a message names; the rest are counted."""

_DOWNLOAD = "The file is damaged or cut short: download it again."


def row_count(evidence: Evidence, _limits: GateLimits) -> Finding:
    """Does every file hold as many rows as it says?"""
    counts = evidence.row_counts
    if counts is None:
        return not_checked("row_count", evidence, "no file states its rows")
    wrong = [count for count in counts if count.stated != count.actual]
    named = ", ".join(
        f"{count.file} says {count.stated} and holds {count.actual}"
        for count in wrong[:_PLACES_MAX]
    )
    return Finding(
        check="row_count",
        outcome=outcome(passed=not wrong),
        actual=sum(abs(count.stated - count.actual) for count in wrong),
        limit=0,
        message=(
            named
            or f"{len(counts)} files hold the {sum(count.stated for count in counts)} rows "
            "that they state"
        ),
        hint=_DOWNLOAD,
    )


def rejected_rows(evidence: Evidence, limits: GateLimits) -> Finding:
    """Are there no more malformed rows than the budget allows?"""
    rejected = evidence.rejected
    if rejected is None:
        return not_checked("rejected_rows", evidence, "there is no dump of ported numbers")
    places = "; ".join(rejected.places[:_PLACES_MAX])
    return Finding(
        check="rejected_rows",
        outcome=outcome(passed=rejected.rows <= limits.rejected_rows),
        actual=rejected.rows,
        limit=limits.rejected_rows,
        message=(
            f"{rejected.rows} of {rejected.of_rows} rows are malformed and were skipped, "
            f"the limit is {limits.rejected_rows}: {places}"
            if rejected.rows
            else f"all {rejected.of_rows} rows are well formed"
        ),
        hint=_DOWNLOAD,
    )


def duplicates(evidence: Evidence, _limits: GateLimits) -> Finding:
    """Does each number stand in one row only?"""
    if evidence.duplicates is None:
        return not_checked("duplicates", evidence, "there is no dump of ported numbers")
    return Finding(
        check="duplicates",
        outcome=outcome(passed=not evidence.duplicates),
        actual=evidence.duplicates,
        limit=0,
        message=(
            f"{evidence.duplicates} rows repeat a number of another row; the latest port was taken"
            if evidence.duplicates
            else "every number stands in one row"
        ),
        hint="The file is not a whole dump as the registry makes it: download it again.",
    )


def sequence(evidence: Evidence, _limits: GateLimits) -> Finding:
    """Do names, times and sequences agree with each other and with the current snapshot's?"""
    if evidence.sequence is None:
        return not_checked("sequence", evidence, "no file has a sequence")
    faults = evidence.sequence
    if not faults and evidence.previous is None:
        return not_checked("sequence", evidence, "there is no current snapshot to follow")
    more = len(faults) - _PLACES_MAX
    return Finding(
        check="sequence",
        outcome=outcome(passed=not faults),
        actual=len(faults),
        limit=0,
        message=(
            "; ".join(faults[:_PLACES_MAX]) + (f"; and {more} more" if more > 0 else "")
            or "names, times and sequences follow those of the current snapshot"
        ),
        hint="Give the newest file of each kind, under the name that the registry gave it.",
    )


def age(evidence: Evidence, _limits: GateLimits) -> Finding:
    """Are the data not older than the current snapshot's?"""
    previous = evidence.previous
    if previous is None:
        return not_checked("age", evidence, "there is no current snapshot to compare with")
    behind = (previous.as_of - evidence.as_of).total_seconds()
    return Finding(
        check="age",
        outcome=outcome(passed=behind <= 0),
        actual=behind,
        limit=0,
        message=f"data as of {evidence.as_of.isoformat()}, the current snapshot's is "
        + ("newer: " if behind > 0 else "")
        + f"as of {previous.as_of.isoformat()}",
        hint="Give the newest dump; --as-of TIME says of when a file without a date is.",
    )


def clock(evidence: Evidence, limits: GateLimits) -> Finding:
    """Do the data lie neither ahead of the clock nor far behind it?

    Data from the future would make all that follow look old, and so be refused. Old data are only
    told of: what is newer than the current snapshot is better than it, however old.
    """
    if evidence.now is None:
        return not_checked("clock", evidence, "the clock was not asked")
    hours = (evidence.now - evidence.as_of).total_seconds() / 3600
    ahead, late = -hours > limits.clock_ahead_hours, hours > limits.clock_behind_hours
    if ahead:
        says = f"lie {-hours:,.1f} hours ahead of the clock"
        limit = f", the limit is {limits.clock_ahead_hours:g}"
    else:
        says = f"are {max(0.0, hours):,.1f} hours old"
        limit = f", which is late from {limits.clock_behind_hours:g} on" if late else ""
    return Finding(
        check="clock",
        outcome=Outcome.FAILED if ahead else Outcome.WARNING if late else Outcome.PASSED,
        actual=hours,
        limit=-limits.clock_ahead_hours if ahead else limits.clock_behind_hours,
        message=f"data as of {evidence.as_of.isoformat()} {says}{limit}",
        hint="Check the machine's clock, the file's name and --as-of.",
    )


def port_dates(evidence: Evidence, limits: GateLimits) -> Finding:
    """Do the ports end when the data do: none much later, the newest not much earlier?

    The bulk of a window of increments must lie in it, as its name says.
    """
    for window in evidence.windows:
        fault = _misplaced(window, limits)
        if fault is not None:
            return fault
    dates = evidence.port_dates
    if dates is None or not dates.dated:
        return not_checked("port_dates", evidence, "no number says when it was ported")
    ahead = dates.ahead / dates.dated
    behind = (
        max(timedelta(), evidence.as_of - dates.newest).total_seconds() / 3600
        if dates.newest is not None
        else float("inf")
    )
    too_far_ahead = ahead > limits.port_dates_ahead_share
    enough = dates.dated >= limits.port_dates_numbers_min
    too_far_behind = enough and behind > limits.port_dates_behind_hours
    if too_far_ahead:
        message = (
            f"{dates.ahead} of {dates.dated} ports are dated more than "
            f"{limits.port_dates_ahead_hours:g} hours after the data's own time"
        )
    elif dates.newest is None:
        message = "no port is dated before the data's own time"
    else:
        later = (dates.newest - evidence.as_of).total_seconds() / 3600
        says = f"{later:,.1f} hours after" if later > 0 else f"{behind:,.1f} hours before"
        message = f"the newest port is of {dates.newest.isoformat()}, {says}"
        message += " the data's own time" + (
            f", the limit is {limits.port_dates_behind_hours:g}" if too_far_behind else ""
        )
    return Finding(
        check="port_dates",
        outcome=outcome(passed=not too_far_ahead and not too_far_behind),
        actual=ahead if too_far_ahead else behind,
        limit=limits.port_dates_ahead_share if too_far_ahead else limits.port_dates_behind_hours,
        message=message,
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
    return Finding(
        check="port_dates",
        outcome=outcome(passed=False),
        actual=abs(hours),
        limit=limit,
        message=f"half of the {window.dated} changes of {window.name} are "
        f"{abs(hours):,.1f} hours or more {side} the time in its name, the limit is {limit:,.1f}: "
        "it is another window under this name",
        hint="Give the file back its own name, or ask the registry for it again.",
    )
