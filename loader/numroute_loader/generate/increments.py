"""Windows of increments: what happens to subscribers in two hours, and how it is written.

Columns and the order of events: registries.md, 1. Within a window the same number can change
several times and in both files; only time and process number say what came last. Most numbers of a
registry never change while it is generated, so only a sample becomes objects: ported numbers, and
free numbers beside them.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from numroute_loader.generate.dumps import window_sequence
from numroute_loader.generate.market import Market
from numroute_loader.generate.options import GenerateOptions
from numroute_loader.generate.plan import MobileRanges
from numroute_loader.generate.ports import (
    FIRST_DAY,
    NPID_FIRST,
    NPIDS_PER_SECOND,
    PORTED_ROW,
    SECONDS_PER_DAY,
    Ports,
)
from numroute_loader.generate.randomness import Stream

WINDOWS_PER_DAY = 12
_WINDOW = timedelta(days=1) / WINDOWS_PER_DAY
_BEGINNING = datetime.combine(FIRST_DAY, time())

_SAMPLE_MIN = 64
_FREE_NEIGHBOURS = 4
"""Free numbers that are sampled behind one ported number, at most."""
_CORPORATE_MAX = 4
"""Numbers of one corporate port in an increment, at most."""
_LATE_EVENTS, _LATE_SECONDS_MAX = 2, 9
"""Events of a window that are dated a few seconds before it."""
_SAME_SECOND_ONE_IN = 8
_EMPTY_ONE_IN = 16
"""Windows in which nothing happens: both files hold a header only."""
_TRIES = 64
_PROCESS_FIRST = 5_000_000
"""Processes of increments are numbered from here within a second, apart from the base's."""


class _Event(enum.Enum):
    """What can happen to a number, and how often."""

    PORT = "a free number is ported", 52
    ONWARD = "a ported number is ported again", 16
    RETURN = "a number comes home by Return_Increment", 10
    PORT_HOME = "a number comes home by Port_Increment", 6
    UPDATE = "a number's route changes without a port", 6
    CORPORATE = "a run of free numbers is ported by one process", 4
    AGAIN = "a number that changed in this window changes once more", 6


_DRAWN = [event for event in _Event for _ in range(event.value[1])]
_AGAIN = (_Event.ONWARD, _Event.RETURN, _Event.PORT_HOME, _Event.UPDATE)


class _Place(NamedTuple):
    """An operator and a region, indexes into the market."""

    operator: int
    region: int


@dataclass(slots=True, kw_only=True)
class _Subscriber:
    """A number: its range's ``home``, and who serves it since ``time`` by which process.

    ``time``: seconds since the midnight of ``FIRST_DAY``, Moscow time. A number that is not
    ``ported`` is served at home.
    """

    home: _Place
    served: _Place
    donor: int
    time: int = 0
    npid: int = 0
    corporate: bool = False
    ported: bool = False
    was_ported: bool = False
    touched: bool = False

    def become(self, served: _Place, donor: int, time_: int, npid: int, *, ported: bool) -> None:
        """Change who serves the number."""
        self.served, self.donor, self.time, self.npid = served, donor, time_, npid
        self.ported, self.touched = ported, True


class Window(NamedTuple):
    """The rows of one window's two files, without row counts, and when the window ends."""

    ends: datetime
    ports: list[str]
    returns: list[str]


class Subscribers:
    """A sample of the registry's numbers, and what becomes of them window after window."""

    def __init__(
        self, market: Market, ranges: MobileRanges, ports: Ports, options: GenerateOptions
    ) -> None:
        """Sample as many numbers as the changes of all days need, evenly from all chunks."""
        self._market, self._ports, self._options = market, ports, options
        self._of: dict[int, _Subscriber] = {}
        changes = options.days * WINDOWS_PER_DAY * options.changes_per_window
        step = max(1, ports.rows // (changes + _SAMPLE_MIN))
        for index in range(ports.chunk_count):
            self._sample(ports.draw(index), ranges, step)
        self._numbers = sorted(self._of)

    @property
    def ported_more(self) -> int:
        """How many more numbers are ported than in the base registry."""
        return sum(each.ported - each.was_ported for each in self._of.values())

    @property
    def rows_more(self) -> int:
        """How many more rows Port_All_Full has: it keeps a row for a number that came home."""
        return sum(each.touched and not each.was_ported for each in self._of.values())

    def overlay(self) -> NDArray[np.void]:
        """Return every number that changed as a ``PORTED_ROW``, ascending."""
        touched = [(number, self._of[number]) for number in self._numbers]
        return np.array(
            [
                (
                    number, each.served.operator, each.donor, each.home.operator,
                    each.served.region, *divmod(each.time, SECONDS_PER_DAY), each.npid,
                    each.corporate, not each.ported,
                )
                for number, each in touched if each.touched
            ],
            PORTED_ROW,
        )  # fmt: skip

    def windows(self, day: date) -> Iterator[Window]:
        """Yield the windows of a day; the last one ends at the next midnight."""
        midnight = datetime.combine(day, time())
        return (self._window(midnight + (i + 1) * _WINDOW) for i in range(WINDOWS_PER_DAY))

    def _sample(self, chunk: NDArray[np.void], ranges: MobileRanges, step: int) -> None:
        number = chunk["number"]
        chosen = np.arange(0, len(number), step)
        # Behind a number, only the next one and the end of its range limit what is free.
        following = np.append(number[1:], np.iinfo(np.int64).max)[chosen]
        row = ranges.first.searchsorted(number[chosen], side="right") - 1
        until = np.minimum(following, ranges.last[row] + 1)
        for end, home_region, values in zip(
            until.tolist(), ranges.region[row].tolist(), chunk[chosen].tolist(), strict=True
        ):
            first, owner, donor, holder, region, day, second, npid, corporate, at_home = values
            home = _Place(holder, home_region)
            for free in range(first + 1, min(end, first + 1 + _FREE_NEIGHBOURS)):
                self._of[free] = _Subscriber(home=home, served=home, donor=holder)
            if not at_home:
                self._of[first] = _Subscriber(
                    home=home,
                    served=_Place(owner, region),
                    donor=donor,
                    time=day * SECONDS_PER_DAY + second,
                    npid=npid,
                    corporate=corporate,
                    ported=True,
                    was_ported=True,
                )

    def _window(self, ends: datetime) -> Window:
        """Draw the window that ends at a time: events in the order of their time."""
        self._stream = Stream(self._options.seed, "changes", window_sequence(ends))
        self._words: list[int] = []
        self._changed: list[int] = []
        self._port_rows: list[str] = []
        self._return_rows: list[str] = []
        count = 0 if self._below(_EMPTY_ONE_IN) == 0 else self._options.changes_per_window
        begins = int((ends - _WINDOW - _BEGINNING).total_seconds())
        late = min(_LATE_EVENTS, count)
        seconds = [-1 - self._below(_LATE_SECONDS_MAX) for _ in range(late)]
        seconds += [self._below(int(_WINDOW.total_seconds())) for _ in range(count - late)]
        seconds.sort()
        for i, second in enumerate(seconds):
            if i and self._below(_SAME_SECOND_ONE_IN) == 0:
                second = seconds[i] = seconds[i - 1]  # noqa: PLW2901 - two events in one second
            room = count - len(self._port_rows) - len(self._return_rows)
            if room > 0:
                self._event(begins + second, i, room)
        return Window(ends, self._shuffled(self._port_rows), self._shuffled(self._return_rows))

    def _below(self, limit: int) -> int:
        if not self._words:
            self._words = self._stream.words(1024).tolist()
        return self._words.pop() % limit

    def _shuffled(self, rows: list[str]) -> list[str]:
        """Return the rows in no order: a window's files promise none."""
        return [rows[i] for i in self._stream.order(len(rows)).tolist()]

    def _event(self, time_: int, serial: int, room: int) -> None:
        """Let something happen at a time, of at most ``room`` rows.

        Where the drawn kind cannot happen to any number, another kind does.
        """
        npid = NPID_FIRST + time_ * NPIDS_PER_SECOND + _PROCESS_FIRST + serial
        drawn = _DRAWN[self._below(len(_DRAWN))]
        if drawn is _Event.CORPORATE and room < _CORPORATE_MAX:
            drawn = _Event.PORT
        for kind in (drawn, *_Event):
            number = self._number(kind, time_)
            if number is not None:
                self._happen(kind, number, time_, npid)
                return

    def _number(self, kind: _Event, time_: int) -> int | None:
        """Return a number to which this can happen, one that last changed before this time."""
        again = kind is _Event.AGAIN
        numbers = self._changed if again else self._numbers
        ported = kind not in {_Event.PORT, _Event.CORPORATE}
        for _ in range(_TRIES if numbers else 0):
            number = numbers[self._below(len(numbers))]
            subscriber = self._of[number]
            if subscriber.time < time_ + again and (again or subscriber.ported is ported):
                return number
        return None

    def _happen(self, kind: _Event, number: int, time_: int, npid: int) -> None:
        subscriber = self._of[number]
        home, old = subscriber.home, subscriber.served
        if kind is _Event.AGAIN:
            kind = _AGAIN[self._below(len(_AGAIN))] if subscriber.ported else _Event.PORT
        if kind is _Event.RETURN:
            self._write_return(number, old, time_, npid)
        elif kind is _Event.PORT_HOME:
            self._write_port(number, home, time_, npid)
        elif kind is _Event.UPDATE:
            new = _Place(old.operator, self._below(len(self._market.regions)))
            self._write_port(number, new, time_, npid)
            subscriber.become(new, old.operator, time_, npid, ported=True)
        else:
            self._port(number, time_, npid, run=kind is _Event.CORPORATE)
        if kind in {_Event.RETURN, _Event.PORT_HOME}:
            subscriber.become(home, old.operator, time_, npid, ported=False)
            subscriber.corporate = False
        self._changed.append(number)

    def _port(self, number: int, time_: int, npid: int, *, run: bool) -> None:
        """Let a number, or a run of free ones, go to an operator that does not serve it yet."""
        subscriber = self._of[number]
        home, donor = subscriber.home, subscriber.served.operator
        new = _Place(self._recipient(home, donor), home.region)
        numbers = [number]
        for one in range(number + 1, number + _CORPORATE_MAX) if run else ():
            next_ = self._of.get(one)
            if next_ and not next_.ported and next_.home == home and next_.time < time_:
                numbers.append(one)
        for one in numbers:
            self._write_port(one, new, time_, npid)
            self._of[one].become(new, donor, time_, npid, ported=True)
            self._of[one].corporate = len(numbers) > 1
        self._changed += numbers[1:]

    def _recipient(self, home: _Place, owner: int) -> int:
        """Return who may gain a number: neither its holder nor its operator."""
        holder, region = (np.full(8, index) for index in home)
        gains = self._ports.recipient(holder, region, self._stream.words(8)).tolist()
        everybody = range(len(self._market.operators))
        return next(int(one) for one in (*gains, *everybody) if one not in {home.operator, owner})

    def _write_port(self, number: int, new: _Place, time_: int, npid: int) -> None:
        operators, subscriber = self._market.operators, self._of[number]
        old, holder = subscriber.served, subscriber.home.operator
        self._port_rows.append(
            f"{npid},{number},{operators[new.operator].code},{operators[old.operator].code},"
            f"{operators[holder].code},{self._route(old)},{self._route(new)},{self._mnc(old)},"
            f"{self._mnc(new)},{self._market.regions[new.region].code},{_written(time_)},"
        )

    def _write_return(self, number: int, old: _Place, time_: int, npid: int) -> None:
        operators, home = self._market.operators, self._of[number].home
        self._return_rows.append(
            f"{npid},{number},{operators[old.operator].code},{operators[home.operator].code},"
            f"{self._mnc(home)},{self._route(old)},{self._route(home)},"
            f"{self._market.regions[home.region].code},{_written(time_)},"
        )

    def _mnc(self, place: _Place) -> str:
        return self._market.operators[place.operator].mnc_in(place.region)

    def _route(self, place: _Place) -> str:
        return f"D{self._market.regions[place.region].code}{self._mnc(place)}"


def _written(time_: int) -> str:
    return f"{(_BEGINNING + timedelta(seconds=time_)).isoformat()}+03:00"
