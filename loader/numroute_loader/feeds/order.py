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
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import NamedTuple

from numroute_loader.reading.description import DeliveredFile, FeedLayout, Role

DUMP_KIND_DAYS = 3
"""A kind of dump that has not arrived for this many days is no longer delivered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """The time of a store's newest data, and of the newest full dump it was built from or compared.

    Both are None where nothing was published, or where the current snapshot cannot be read.
    """

    as_of: datetime | None = None
    dump: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """The files of one full dump, the dump first, or of one window of increments.

    ``missing`` names the kinds that have not come yet.
    """

    time: datetime
    files: tuple[DeliveredFile, ...]
    missing: tuple[str, ...]


class Action(enum.Enum):
    """What a step does with its files."""

    BUILD = "build a snapshot from the files of a day"
    APPLY = "apply windows of increments to the current snapshot"
    RECONCILE = "compare the full dump of a day with the current snapshot, which is newer"


class Step(NamedTuple):
    """What to do next: an action, and the day or the windows to take."""

    action: Action
    batches: tuple[Batch, ...]

    @property
    def files(self) -> tuple[DeliveredFile, ...]:
        """All files, of a day the dump first."""
        return tuple(file for batch in self.batches for file in batch.files)


class Deliveries:
    """Delivered files, put together to days and windows that the store may still use.

    ``days``: the full dumps that are newer than what the store holds, the newest first. ``late``:
    the newest full dump that came after later increments, if there is one. ``windows``: those that
    are newer than what the store holds, the oldest first.
    """

    def __init__(self, files: Collection[DeliveredFile], seen: Seen, layout: FeedLayout) -> None:
        """Sort the files by their names."""
        self._files = files
        self._seen = seen
        self._layout = layout
        unused = self._unused_days()
        as_of = seen.as_of
        self.days = [day for day in unused if as_of is None or day.time >= as_of]
        late = [day for day in unused if as_of is not None and day.time < as_of]
        self.late = late[:1] if seen.dump is not None else []
        self.windows = self._open_windows()

    @property
    def batches(self) -> list[Batch]:
        """The days and the windows."""
        return [*self.days, *self.late, *self.windows]

    def worth_fetching(self, refused: Collection[str]) -> frozenset[DeliveredFile]:
        """Return the files that are worth fetching.

        ``refused`` names files that the gate refused: a day with one of them is fetched, because it
        may be allowed later, but does not make older days useless.
        """
        chosen = {file for day in self.late for file in day.files}
        seen = self._seen
        base = seen.as_of
        for day in self.days:
            chosen.update(day.files)
            if not day.missing and not any(file.name in refused for file in day.files):
                base = day.time
                break
        if base is None:
            return frozenset(chosen)
        after = base
        if seen.as_of is not None and base - seen.as_of <= self._layout.dump_every:
            # A day's windows before its dump: applied first, they let the gate compare the two.
            after = seen.as_of
        windows = (file for file in self._files if file.role is Role.WINDOW and file.time > after)
        return frozenset(chosen.union(windows))

    def next_step(
        self, *, blocked: Callable[[Step], bool], given_up: Callable[[Batch], bool]
    ) -> Step | None:
        """Return what to do next, None when nothing is left to do.

        ``blocked`` is true of a step that was tried and did not help, ``given_up`` of an incomplete
        day whose missing files are no longer waited for.
        """
        held: list[datetime] = []
        for day in self.days:
            build = Step(Action.BUILD, (day,))
            if not day.missing and not blocked(build):
                step = self._applying_until(day.time)
                if self._leads_up_to(step.batches, day.time) and not blocked(step):
                    return step
                return build
            if day.missing and not given_up(day):
                held.append(day.time)
        step = self._applying_until(min(held, default=None))
        if step.batches and not blocked(step):
            return step
        late = [Step(Action.RECONCILE, (day,)) for day in self.late if not day.missing]
        return next((each for each in late if not blocked(each)), None)

    def obsolete(self) -> frozenset[DeliveredFile]:
        """Return the files that the published snapshots have made useless."""
        seen = self._seen
        if seen.as_of is None:
            return frozenset()
        useful = {file for batch in self.batches for file in batch.files}
        # A companion may come before its dump.
        for file in self._files:
            later = file.time >= seen.as_of if seen.dump is None else file.time > seen.dump
            if file.role is Role.COMPANION and later:
                useful.add(file)
        return frozenset(set(self._files) - useful)

    def _unused_days(self) -> list[Batch]:
        """Return the full dumps that are newer than the newest one used, the newest first."""
        companions: dict[date, dict[str, DeliveredFile]] = defaultdict(dict)
        for file in sorted(self._files, key=lambda file: (file.time, file.sequence)):
            if file.role is Role.COMPANION:
                companions[file.day][file.kind] = file
        needed = self._layout.names(Role.COMPANION)
        dumps = sorted(self._dumps_of_best_kind(), key=lambda dump: (dump.time, dump.sequence))
        return [
            Batch(
                time=dump.time,
                files=(dump, *companions[dump.day].values()),
                missing=tuple(sorted(needed - companions[dump.day].keys())),
            )
            for dump in reversed(dumps)
            if self._seen.dump is None or dump.time > self._seen.dump
        ]

    def _dumps_of_best_kind(self) -> Sequence[DeliveredFile]:
        """Return the dumps of the most detailed kind that is still delivered.

        A registry may deliver several kinds; switching between them from day to day would change
        what is known of each number.
        """
        newest = max((file.day for file in self._files if file.role is Role.DUMP), default=None)
        for kind in self._layout.kinds[Role.DUMP]:
            of_kind = [file for file in self._files if file.kind == kind.name]
            if newest and any((newest - file.day).days < DUMP_KIND_DAYS for file in of_kind):
                return of_kind
        return ()

    def _open_windows(self) -> list[Batch]:
        after = self._seen.as_of
        by_time: dict[datetime, dict[str, DeliveredFile]] = defaultdict(dict)
        for file in self._files:
            if file.role is Role.WINDOW and after is not None and file.time > after:
                by_time[file.time][file.kind] = file
        return [
            Batch(
                time=time,
                files=tuple(of_time[name] for name in sorted(of_time)),
                missing=tuple(sorted(self._layout.names(Role.WINDOW) - of_time.keys())),
            )
            for time, of_time in sorted(by_time.items())
        ]

    def _applying_until(self, end: datetime | None) -> Step:
        """Return the step that applies the windows up to a time, all of them where it is None.

        The last ones that lack a file are left out: it may be on its way. An incomplete window
        before a complete one is kept, so that the gap can be reported by name.
        """
        windows = [each for each in self.windows if end is None or each.time <= end]
        while windows and windows[-1].missing:
            windows.pop()
        return Step(Action.APPLY, tuple(windows))

    def _leads_up_to(self, ready: Sequence[Batch], end: datetime) -> bool:
        """Check that the windows lead from the published data to a full dump without a gap."""
        as_of = self._seen.as_of
        if as_of is None or not ready or ready[-1].time != end:
            return False
        is_whole = not any(window.missing for window in ready)
        return is_whole and len(ready) * self._layout.window_every == end - as_of
