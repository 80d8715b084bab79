"""Decide what comes next, from the files' names and from what the store holds, and nothing else.

The newest complete day wins: what is older than its full dump need not be applied first. Windows of
increments go on top of what is published, in the order of their times. A window that is later than
a full dump of which only some files have come waits for the rest: applied first, it would make the
store newer than the dump. A full dump that comes all the same after a later window was applied is
compared with the current snapshot, and not published.
"""

from __future__ import annotations

import enum
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from numroute_loader.reading.description import Role

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from datetime import date, datetime

    from numroute_loader.reading.description import DeliveredFile, FeedLayout

DUMP_TYPE_DAYS = 3
"""A type of dump that has not arrived for this many days is no longer delivered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """The time of a store's newest data, and of the newest full dump it was built from or compared.

    Both are None where nothing was published, or where the current snapshot cannot be read.
    """

    as_of: datetime | None = None
    dump: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """A full dump and those of its companions that have come."""

    dump: DeliveredFile
    companions: tuple[DeliveredFile, ...]
    missing: tuple[str, ...]

    @property
    def files(self) -> tuple[DeliveredFile, ...]:
        """All files of the day, the dump first."""
        return (self.dump, *self.companions)


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The increments of one window of time that have come."""

    time: datetime
    sequence: int
    files: tuple[DeliveredFile, ...]
    missing: tuple[str, ...]


class Action(enum.Enum):
    """What a step does with its files."""

    BUILD = "build a snapshot from the files of a day"
    APPLY = "apply windows of increments to the current snapshot"
    RECONCILE = "compare the full dump of a day with the current snapshot, which is newer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What to do next: an action and its files, the dump first; ``windows`` are those to apply."""

    action: Action
    files: tuple[DeliveredFile, ...]
    windows: tuple[Window, ...] = ()


def days(files: Collection[DeliveredFile], seen: Seen, layout: FeedLayout) -> list[Day]:
    """Return the full dumps that are newer than what the store holds, the newest first."""
    unused = _unused_days(files, seen, layout)
    return [day for day in unused if seen.as_of is None or day.dump.time >= seen.as_of]


def late_days(files: Collection[DeliveredFile], seen: Seen, layout: FeedLayout) -> list[Day]:
    """Return the newest full dump that came after later increments, if there is one."""
    if seen.as_of is None or seen.dump is None:
        return []
    return [day for day in _unused_days(files, seen, layout) if day.dump.time < seen.as_of][:1]


def _unused_days(files: Collection[DeliveredFile], seen: Seen, layout: FeedLayout) -> list[Day]:
    """Return the full dumps that are newer than the newest one used, the newest first."""
    companions: dict[date, dict[str, DeliveredFile]] = defaultdict(dict)
    for file in sorted(files, key=lambda file: (file.time, file.sequence)):
        if file.role is Role.COMPANION:
            companions[file.day][file.type] = file
    unused = [
        Day(
            dump=dump,
            companions=tuple(companions[dump.day].values()),
            missing=tuple(sorted(layout.companions - companions[dump.day].keys())),
        )
        for dump in _dumps_of_best_type(files, layout)
        if seen.dump is None or dump.time > seen.dump
    ]
    return sorted(unused, key=lambda day: (day.dump.time, day.dump.sequence), reverse=True)


def windows(files: Collection[DeliveredFile], seen: Seen, layout: FeedLayout) -> list[Window]:
    """Return the windows that are newer than what the store holds, the oldest first."""
    by_time: dict[datetime, dict[str, DeliveredFile]] = defaultdict(dict)
    for file in files:
        if file.role is Role.WINDOW and seen.as_of is not None and file.time > seen.as_of:
            by_time[file.time][file.type] = file
    return [
        Window(
            time=time,
            sequence=max(file.sequence for file in of_time.values()),
            files=tuple(of_time[name] for name in sorted(of_time)),
            missing=tuple(sorted(layout.windows - of_time.keys())),
        )
        for time, of_time in sorted(by_time.items())
    ]


def worth_fetching(
    files: Collection[DeliveredFile],
    seen: Seen,
    layout: FeedLayout,
    *,
    refused: Collection[str] = (),
) -> frozenset[DeliveredFile]:
    """Return the delivered files that are worth fetching.

    ``refused`` names files that the gate refused: a day with one of them is fetched, because it may
    be allowed later, but does not make older days useless.
    """
    chosen = {file for day in late_days(files, seen, layout) for file in day.files}
    base = seen.as_of
    for day in days(files, seen, layout):
        chosen.update(day.files)
        if not day.missing and not any(file.name in refused for file in day.files):
            base = day.dump.time
            break
    if base is None:
        return frozenset(chosen)
    after = base
    if seen.as_of is not None and base - seen.as_of <= layout.dump_every:
        # A day's windows before its dump: applied first, they let the gate compare the two.
        after = seen.as_of
    chosen.update(file for file in files if file.role is Role.WINDOW and file.time > after)
    return frozenset(chosen)


def next_step(
    files: Collection[DeliveredFile],
    seen: Seen,
    layout: FeedLayout,
    *,
    blocked: Callable[[Step], bool],
    given_up: Callable[[Day], bool],
) -> Step | None:
    """Return what to do next with the files in the spool, None when nothing is left to do.

    ``blocked`` is true of a step that was tried and did not help, ``given_up`` of an incomplete day
    whose missing files are no longer waited for.
    """
    candidates = days(files, seen, layout)
    open_days = [day for day in candidates if day.missing or not blocked(_build(day))]
    complete = next((day for day in open_days if not day.missing), None)
    after = windows(files, seen, layout)
    if complete is not None:
        before = [each for each in after if each.time <= complete.dump.time]
        step = apply_step(_up_to_the_last_whole(before))
        if _leads_up_to(step.windows, complete.dump.time, seen, layout) and not blocked(step):
            return step
        return _build(complete)
    held = [day.dump.time for day in open_days if day.missing and not given_up(day)]
    if held:
        after = [each for each in after if each.time <= min(held)]
    step = apply_step(_up_to_the_last_whole(after))
    if step.windows and not blocked(step):
        return step
    late = [
        Step(action=Action.RECONCILE, files=day.files)
        for day in late_days(files, seen, layout)
        if not day.missing
    ]
    return next((each for each in late if not blocked(each)), None)


def apply_step(ready: Sequence[Window]) -> Step:
    """Return the step that applies windows."""
    files = tuple(file for window in ready for file in window.files)
    return Step(action=Action.APPLY, files=files, windows=tuple(ready))


def _build(day: Day) -> Step:
    return Step(action=Action.BUILD, files=day.files)


def obsolete(
    files: Collection[DeliveredFile], seen: Seen, layout: FeedLayout
) -> frozenset[DeliveredFile]:
    """Return the files that the published snapshots have made useless."""
    if seen.as_of is None:
        return frozenset()
    groups: list[Day | Window] = [*days(files, seen, layout), *late_days(files, seen, layout)]
    groups += windows(files, seen, layout)
    useful = {file for group in groups for file in group.files}
    # A companion may come before its dump.
    for file in files:
        later = file.time >= seen.as_of if seen.dump is None else file.time > seen.dump
        if file.role is Role.COMPANION and later:
            useful.add(file)
    return frozenset(set(files) - useful)


def _dumps_of_best_type(
    files: Collection[DeliveredFile], layout: FeedLayout
) -> Sequence[DeliveredFile]:
    """Return the dumps of the most detailed type that is still delivered.

    A registry may deliver several types; switching between them from day to day would change what
    is known of each number.
    """
    newest = max((file.day for file in files if file.role is Role.DUMP), default=None)
    for name in layout.dumps:
        of_type = [file for file in files if file.type == name]
        if newest and any((newest - file.day).days < DUMP_TYPE_DAYS for file in of_type):
            return of_type
    return ()


def _up_to_the_last_whole(candidates: Sequence[Window]) -> tuple[Window, ...]:
    """Return the windows without the last ones that lack a file: it may be on its way.

    An incomplete window before a complete one is kept, so that the gap can be reported by name.
    """
    whole = [place for place, window in enumerate(candidates) if not window.missing]
    return tuple(candidates[: whole[-1] + 1]) if whole else ()


def _leads_up_to(ready: Sequence[Window], end: datetime, seen: Seen, layout: FeedLayout) -> bool:
    """Check that the windows lead from the published data to a full dump without a gap."""
    if seen.as_of is None or not ready or ready[-1].time != end:
        return False
    if any(window.missing for window in ready):
        return False
    return len(ready) * layout.window_every == end - seen.as_of
