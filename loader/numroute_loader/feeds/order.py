"""What comes next? Decided from the files' names and from how far the store is, and nothing else.

The newest complete day wins: what is older than its full dump need not be applied first. Windows of
increments go on top of what is published, in the order of their times. A window that is later than
a full dump of which only some files have come waits for the rest: applied first, it would make the
store newer than the dump. A full dump that comes all the same after a later window was applied is
compared with what is current, and not published.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from numroute_loader.feeds.layout import Role

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from datetime import date, datetime

    from numroute_loader.feeds.layout import DeliveredFile, FeedLayout

DUMP_TYPE_DAYS = 3
"""A type of dump that has not come for so many days is no longer delivered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """How far a store is: the newest data ever published, and the newest full dump used.

    A full dump is used when it was built in, or compared with what later increments had made.

    Both None: nothing was published, or what is current cannot be read.
    """

    as_of: datetime | None = None
    dump: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """A full dump with those of its companions that are there."""

    dump: DeliveredFile
    companions: tuple[DeliveredFile, ...]
    missing: tuple[str, ...]

    @property
    def files(self) -> tuple[DeliveredFile, ...]:
        """All files of the day, the dump first."""
        return (self.dump, *self.companions)


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The increments of one window of time that are there."""

    time: datetime
    sequence: int
    files: tuple[DeliveredFile, ...]
    missing: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """Build a snapshot from the files of a day."""

    day: Day

    @property
    def files(self) -> tuple[DeliveredFile, ...]:
        """The files to build from."""
        return self.day.files


@dataclass(frozen=True, slots=True, kw_only=True)
class Apply:
    """Apply windows of increments to what is current."""

    windows: tuple[Window, ...]

    @property
    def files(self) -> tuple[DeliveredFile, ...]:
        """The files of all windows."""
        return tuple(file for window in self.windows for file in window.files)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconcile:
    """Compare a day's full dump with what is current, which is newer."""

    day: Day

    @property
    def files(self) -> tuple[DeliveredFile, ...]:
        """The files to compare."""
        return self.day.files


Step = Build | Apply | Reconcile


def days(files: Collection[DeliveredFile], marks: Marks, layout: FeedLayout) -> list[Day]:
    """Return the full dumps that are newer than what the store holds, the newest first."""
    return [
        day
        for day in _unused_days(files, marks, layout)
        if marks.as_of is None or day.dump.time >= marks.as_of
    ]


def late_days(files: Collection[DeliveredFile], marks: Marks, layout: FeedLayout) -> list[Day]:
    """Return the newest full dump that later increments were faster than, if there is one."""
    if marks.as_of is None or marks.dump is None:
        return []
    late = [day for day in _unused_days(files, marks, layout) if day.dump.time < marks.as_of]
    return late[:1]


def _unused_days(files: Collection[DeliveredFile], marks: Marks, layout: FeedLayout) -> list[Day]:
    """Return the full dumps that are newer than the newest one used, the newest first."""
    dumps = _dumps_of_best_type(files, layout)
    companions: dict[date, dict[str, DeliveredFile]] = defaultdict(dict)
    for file in sorted(files, key=lambda file: (file.time, file.sequence)):
        if file.role is Role.COMPANION:
            companions[file.day][file.type] = file
    found = [
        Day(
            dump=dump,
            companions=tuple(companions[dump.day].values()),
            missing=tuple(sorted(layout.companions - companions[dump.day].keys())),
        )
        for dump in dumps
        if marks.dump is None or dump.time > marks.dump
    ]
    return sorted(found, key=lambda day: (day.dump.time, day.dump.sequence), reverse=True)


def windows(files: Collection[DeliveredFile], marks: Marks, layout: FeedLayout) -> list[Window]:
    """Return the windows that are newer than what the store holds, the oldest first."""
    found: dict[datetime, dict[str, DeliveredFile]] = defaultdict(dict)
    for file in files:
        if file.role is Role.WINDOW and marks.as_of is not None and file.time > marks.as_of:
            found[file.time][file.type] = file
    return [
        Window(
            time=time,
            sequence=max(file.sequence for file in of_time.values()),
            files=tuple(of_time[name] for name in sorted(of_time)),
            missing=tuple(sorted(layout.windows - of_time.keys())),
        )
        for time, of_time in sorted(found.items())
    ]


def wanted(
    files: Collection[DeliveredFile],
    marks: Marks,
    layout: FeedLayout,
    *,
    refused: Collection[str] = (),
) -> frozenset[DeliveredFile]:
    """Return those of the delivered files that are worth fetching.

    ``refused`` names files that the gate refused: a day with one of them is fetched, because it may
    be allowed, but does not make older ones useless.
    """
    chosen = {file for day in late_days(files, marks, layout) for file in day.files}
    base = marks.as_of
    for day in days(files, marks, layout):
        chosen.update(day.files)
        if not day.missing and not any(file.name in refused for file in day.files):
            base = day.dump.time
            break
    if base is None:
        return frozenset(chosen)
    after = base
    if marks.as_of is not None and base - marks.as_of <= layout.dump_every:
        # A day's windows before its dump: applied first, they let the gate compare the two.
        after = marks.as_of
    chosen.update(file for file in files if file.role is Role.WINDOW and file.time > after)
    return frozenset(chosen)


def next_step(
    files: Collection[DeliveredFile],
    marks: Marks,
    layout: FeedLayout,
    *,
    blocked: Callable[[Step], bool],
    given_up: Callable[[Day], bool],
) -> Step | None:
    """Return what to do next with the files that lie ready, None when there is nothing.

    ``blocked`` tells of a step that was tried and did not help; ``given_up`` of an incomplete day
    whose missing files are waited for no longer.
    """
    candidates = days(files, marks, layout)
    open_days = [day for day in candidates if day.missing or not blocked(Build(day=day))]
    complete = next((day for day in open_days if not day.missing), None)
    after = windows(files, marks, layout)
    if complete is not None:
        before = [each for each in after if each.time <= complete.dump.time]
        step = Apply(windows=_up_to_the_last_whole(before))
        if _leads_up_to(step.windows, complete.dump.time, marks, layout) and not blocked(step):
            return step
        return Build(day=complete)
    held = [day.dump.time for day in open_days if day.missing and not given_up(day)]
    if held:
        after = [each for each in after if each.time <= min(held)]
    step = Apply(windows=_up_to_the_last_whole(after))
    if step.windows and not blocked(step):
        return step
    late = [Reconcile(day=day) for day in late_days(files, marks, layout) if not day.missing]
    return next((each for each in late if not blocked(each)), None)


def obsolete(
    files: Collection[DeliveredFile], marks: Marks, layout: FeedLayout
) -> frozenset[DeliveredFile]:
    """Return the files that what is published has made useless."""
    useful = {file for day in days(files, marks, layout) for file in day.files}
    useful |= {file for day in late_days(files, marks, layout) for file in day.files}
    useful |= {file for window in windows(files, marks, layout) for file in window.files}
    if marks.as_of is not None:
        # A companion may come before its dump.
        useful |= {
            file
            for file in files
            if file.role is Role.COMPANION
            and (file.time >= marks.as_of if marks.dump is None else file.time > marks.dump)
        }
        return frozenset(set(files) - useful)
    return frozenset()


def _dumps_of_best_type(
    files: Collection[DeliveredFile], layout: FeedLayout
) -> Sequence[DeliveredFile]:
    """Return the dumps of the most telling type that is still delivered.

    A registry may deliver several; to change from day to day would change what is known per number.
    """
    newest = max((file.day for file in files if file.role is Role.DUMP), default=None)
    for name in layout.dumps:
        of_type = [file for file in files if file.type == name]
        if newest and any((newest - file.day).days < DUMP_TYPE_DAYS for file in of_type):
            return of_type
    return ()


def _up_to_the_last_whole(found: Sequence[Window]) -> tuple[Window, ...]:
    """Return the windows without the last ones that lack a file: it may be on its way.

    One that lacks a file before a whole one is kept, for the gap to be told by name.
    """
    whole = [place for place, window in enumerate(found) if not window.missing]
    return tuple(found[: whole[-1] + 1]) if whole else ()


def _leads_up_to(ready: Sequence[Window], end: datetime, marks: Marks, layout: FeedLayout) -> bool:
    """Tell whether the windows go on from what is published to a full dump without a break."""
    if marks.as_of is None or not ready or ready[-1].time != end:
        return False
    if any(window.missing for window in ready):
        return False
    return len(ready) * layout.window_every == end - marks.as_of
