"""Windows of increments: what happens to subscribers in two hours, and how it is written.

Columns and the order of events: registries.md, 1. Within a window the same number can change
several times and in both files; only time and process number say what came last. Most numbers of a
registry never change while it is generated, so only a sample becomes objects: ported numbers, and
free numbers beside them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, time, timedelta
from operator import attrgetter
from random import Random

import numpy as np
from numpy.typing import NDArray

from numroute_loader.generate.dumps import WINDOW
from numroute_loader.generate.options import GenerateOptions
from numroute_loader.generate.plan import Market, MobileRanges
from numroute_loader.generate.ports import (
    FIRST_DAY,
    NPID_FIRST,
    NPIDS_PER_SECOND,
    PORTED_ROW,
    Ports,
)
from numroute_loader.generate.randomness import TABLE_SIZE

WINDOWS_PER_DAY = timedelta(days=1) // WINDOW
_BEGINNING = datetime.combine(FIRST_DAY, time())

_SAMPLE_MIN = 64
_FREE_NEIGHBOURS = 4
"""Free numbers that are sampled behind one ported number, at most."""
_RUN_MAX = 4
"""Numbers of one corporate port in an increment, at most."""
_LATE_EVENTS, _LATE_SECONDS_MAX = 2, 9
"""Events of a window that are dated a few seconds before it."""
_SAME_SECOND_ONE_IN, _EMPTY_ONE_IN = 8, 16
"""Events in the second of the one before, and windows of which both files hold a header only."""
_AGAIN_ONE_IN, _RUN_ONE_IN, _FREE_PER_CENT = 16, 14, 60
"""Events of a number that has changed in the window; ports of a run; events of free numbers."""
_FATES = ("onward",) * 8 + ("return",) * 5 + ("home",) * 3 + ("update",) * 3
"""What happens to a ported number: another port, a return in either file, or another region."""
_TRIES = 64
_PROCESS_FIRST = 5_000_000
"""Processes of increments are numbered from here within a second, apart from the base's."""


@dataclass(slots=True)
class _Subscriber:
    """A number of a range, and who serves it since ``time`` by which process.

    The fields behind ``home_region`` are those of ``PORTED_ROW``. Without a change the number is
    ``new`` to the dumps, or as the first of them has it.
    """

    home_region: int
    number: int
    owner: int
    donor: int
    holder: int
    region: int
    time: int = 0
    npid: int = 0
    corporate: bool = False
    new: bool = True
    changed: bool = False

    @property
    def ported(self) -> bool:
        """Whether another operator than the range holder serves the number."""
        return self.owner != self.holder


class Subscribers:
    """A sample of the registry's numbers, and what becomes of them window after window."""

    def __init__(
        self, market: Market, ranges: MobileRanges, ports: Ports, options: GenerateOptions
    ) -> None:
        """Sample as many numbers as the changes of all days need, evenly from all chunks."""
        self._market, self._ports, self._options = market, ports, options
        self._area_of = market.area_of.tolist()
        self._of: dict[int, _Subscriber] = {}
        changes = options.days * WINDOWS_PER_DAY * options.changes_per_window
        step = max(1, ports.rows // (changes + _SAMPLE_MIN))
        for index in range(ports.chunk_count if options.days else 0):
            self._sample(ports.draw(index), ranges, step)
        self._all = list(self._of.values())

    def changed(self) -> NDArray[np.void]:
        """Return every number that changed as a ``PORTED_ROW``, ascending."""
        row = attrgetter(*PORTED_ROW.names or ())
        return np.array([row(each) for each in self._all if each.changed], PORTED_ROW)

    def _sample(self, chunk: NDArray[np.void], ranges: MobileRanges, step: int) -> None:
        number = chunk["number"]
        chosen = np.arange(0, len(number), step)
        # Behind a number, only the next one and the end of its range limit what is free.
        following = np.append(number[1:], np.iinfo(np.int64).max)[chosen]
        row = ranges.first.searchsorted(number[chosen], side="right") - 1
        until = np.minimum(following, ranges.last[row] + 1)
        for end, home, values in zip(
            until.tolist(), ranges.region[row].tolist(), chunk[chosen].tolist(), strict=True
        ):
            drawn = _Subscriber(home, *values)
            if drawn.ported:
                self._of[drawn.number] = drawn
            for free in range(drawn.number + 1, min(end, drawn.number + 1 + _FREE_NEIGHBOURS)):
                holder = drawn.holder
                self._of[free] = _Subscriber(home, free, holder, holder, holder, home)

    def window(self, ends: datetime) -> dict[str, list[str]]:
        """Draw the window that ends at a time: events in the order of their time.

        Return the rows of its two files, without row counts.
        """
        self._random = Random(f"{self._options.seed} {ends}")  # noqa: S311 - no secret
        self._rows: dict[str, list[str]] = {"Port_Increment": [], "Return_Increment": []}
        self._touched: list[_Subscriber] = []
        count = 0 if self._below(_EMPTY_ONE_IN) == 0 else self._options.changes_per_window
        begins = int((ends - WINDOW - _BEGINNING).total_seconds())
        late = min(_LATE_EVENTS, count)
        seconds = [-1 - self._below(_LATE_SECONDS_MAX) for _ in range(late)]
        seconds += [self._below(int(WINDOW.total_seconds())) for _ in range(count - late)]
        seconds.sort()
        for i, second in enumerate(seconds):
            if i and self._below(_SAME_SECOND_ONE_IN) == 0:
                second = seconds[i] = seconds[i - 1]  # noqa: PLW2901 - two events in one second
            room = count - sum(map(len, self._rows.values()))
            subscriber = self._drawn(begins + second) if room else None
            if subscriber is not None:
                npid = NPID_FIRST + (begins + second) * NPIDS_PER_SECOND + _PROCESS_FIRST + i
                self._happen(subscriber, begins + second, npid, room)
        for rows in self._rows.values():
            # A window's files promise no order.
            rows.sort(key=lambda _: self._random.random())
        return self._rows

    def _below(self, limit: int) -> int:
        # Only random() itself is promised to stay the same.
        return int(self._random.random() * limit)

    def _drawn(self, time_: int) -> _Subscriber | None:
        """Return a number that last changed before this time, None where none is found."""
        again = bool(self._touched) and self._below(_AGAIN_ONE_IN) == 0
        numbers = self._touched if again else self._all
        ported = self._below(100) >= _FREE_PER_CENT
        for tries in range(_TRIES if numbers else 0):
            drawn = numbers[self._below(len(numbers))]
            fits = again or drawn.ported is ported or tries > _TRIES // 2
            if fits and drawn.time < time_ + again:
                return drawn
        return None

    def _happen(self, subscriber: _Subscriber, time_: int, npid: int, room: int) -> None:
        """Let something happen to a number, or a run of them, of at most ``room`` rows."""
        fate = _FATES[self._below(len(_FATES))] if subscriber.ported else "port"
        owner, region = subscriber.holder, subscriber.home_region
        run = [subscriber]
        if fate == "update":
            owner, region = subscriber.owner, self._below(len(self._market.regions))
        elif fate in ("port", "onward"):
            # Dozens of operators gain numbers in each area.
            table = self._ports.recipients[subscriber.holder, self._area_of[region]]
            while owner in (subscriber.holder, subscriber.owner):
                owner = int(table[self._below(TABLE_SIZE)])
        if fate == "port" and self._below(_RUN_ONE_IN) == 0:
            beside = range(subscriber.number + 1, subscriber.number + min(_RUN_MAX, room))
            run += [
                each
                for each in map(self._of.get, beside)
                if each and not each.ported and each.holder == subscriber.holder
                if each.home_region == region and each.time < time_
            ]
        for each in run:
            self._write(each, owner, region, time_, npid, returns=fate == "return")
            each.owner, each.region, each.donor = owner, region, each.owner
            each.time, each.npid, each.corporate, each.changed = time_, npid, len(run) > 1, True
        self._touched += run

    def _write(
        self, old: _Subscriber, owner: int, region: int, time_: int, npid: int, *, returns: bool
    ) -> None:
        codes = [self._market.operators[at].code for at in (owner, old.owner, old.holder)]
        region_code, mnc, route = self._route(owner, region)
        _, old_mnc, old_route = self._route(old.owner, old.region)
        when = f"{(_BEGINNING + timedelta(seconds=time_)).isoformat()}+03:00"
        start, end = f"{npid},{old.number}", f"{region_code},{when},"
        if returns:
            cells = (start, *codes[1:], mnc, old_route, route, end)
        else:
            cells = (start, *codes, old_route, route, old_mnc, mnc, end)
        self._rows["Return_Increment" if returns else "Port_Increment"].append(",".join(cells))

    def _route(self, operator: int, region: int) -> tuple[str, str, str]:
        """Return the region's code, the MNC and the routing number."""
        code = self._market.regions[region].code
        mnc = self._market.operators[operator].mnc_in(region)
        return code, mnc, f"D{code}{mnc}"
