"""Windows of increments: what happens to the subscribers in two hours, and how it is written.

Columns and the order of events: registries.md, 1. Within a window the same number can change
several times and in both files; only time and process number say what came last. Most numbers of a
registry never change while it is generated, so only a sample becomes objects: ported numbers, and
free numbers beside them.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace
from datetime import datetime, time, timedelta
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from numroute_loader.generate.dumps import window_sequence
from numroute_loader.generate.ports import (
    FIRST_DAY,
    NPID_FIRST,
    NPIDS_PER_SECOND,
    SECONDS_PER_DAY,
    PortedChunk,
)
from numroute_loader.generate.randomness import Stream

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import date

    from numpy.typing import NDArray

    from numroute_loader.generate.market import Market
    from numroute_loader.generate.options import GenerateOptions
    from numroute_loader.generate.plan import MobileRanges
    from numroute_loader.generate.ports import Ports

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


class Place(NamedTuple):
    """Where a number lies in the plan: its range's holder and region, indexes into the market."""

    holder: int
    region: int


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """A number that was ported, or that is back: then ``owner`` is its range holder.

    ``owner``, ``donor``, ``region``: indexes into the market. ``time``: seconds since the midnight
    of ``FIRST_DAY``, Moscow time. ``npid``: the porting process.
    """

    owner: int
    donor: int
    region: int
    time: int
    npid: int
    corporate: bool = False


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
        self.place: dict[int, Place] = {}
        self.ported: dict[int, State] = {}
        self.home: dict[int, State] = {}
        changes = options.days * WINDOWS_PER_DAY * options.changes_per_window
        step = max(1, ports.rows // (changes + _SAMPLE_MIN))
        for index in range(ports.chunk_count):
            self._sample(ports.draw(index), ranges, step)
        self._was_ported = frozenset(self.ported)
        self._numbers = sorted(self.place)
        self._touched: set[int] = set()

    @property
    def ported_more(self) -> int:
        """How many more numbers are ported than in the base registry."""
        return len(self.ported) - len(self._was_ported)

    @property
    def rows_more(self) -> int:
        """How many more rows Port_All_Full has: it keeps a row for a number that came home."""
        return len(self._touched - self._was_ported)

    def windows(self, day: date) -> Iterator[Window]:
        """Yield the windows of a day; the last one ends at the next midnight."""
        midnight = datetime.combine(day, time())
        for i in range(WINDOWS_PER_DAY):
            yield _Drawing(self, self._market, self._ports, self._options).window(
                midnight + (i + 1) * _WINDOW
            )

    def any_number(self, word: int, *, ported: bool) -> int | None:
        """Return a number chosen by a random word if it is ported, or free, as asked."""
        number = self._numbers[word % len(self._numbers)] if self._numbers else None
        return number if number is not None and (number in self.ported) is ported else None

    def last_time(self, number: int) -> int:
        """Return when a number last changed, as far as it is known."""
        state = self.ported.get(number) or self.home.get(number)
        return state.time if state is not None else 0

    def port(self, number: int, state: State) -> None:
        """Give a number a record, or another one."""
        self._touched.add(number)
        self.home.pop(number, None)
        self.ported[number] = state

    def bring_home(self, number: int, time_: int, npid: int) -> None:
        """Take a number's record away: it is back with its range holder."""
        self._touched.add(number)
        place, before = self.place[number], self.ported.pop(number)
        self.home[number] = State(
            owner=place.holder, donor=before.owner, region=place.region, time=time_, npid=npid
        )

    def overlay(self) -> PortedChunk:
        """Return every number that changed as rows of Port_All_Full, ascending."""
        touched = sorted(self._touched)
        states = [self.ported.get(number) or self.home[number] for number in touched]

        def column(values: Iterable[int]) -> NDArray[np.int64]:
            return np.fromiter(values, np.int64, len(touched))

        seconds = column(state.time for state in states)
        return PortedChunk(
            number=column(touched),
            owner=column(state.owner for state in states),
            donor=column(state.donor for state in states),
            holder=column(self.place[number].holder for number in touched),
            region=column(state.region for state in states),
            day=seconds // SECONDS_PER_DAY,
            second=seconds % SECONDS_PER_DAY,
            npid=column(state.npid for state in states),
            corporate=np.array([state.corporate for state in states], np.bool_),
            home=np.array([number not in self.ported for number in touched], np.bool_),
        )

    def _sample(self, chunk: PortedChunk, ranges: MobileRanges, step: int) -> None:
        chosen = np.arange(0, len(chunk.number), step)
        # Behind a number, only the next one and the end of its range limit what is free.
        following = np.append(chunk.number[1:], np.iinfo(np.int64).max)[chosen]
        row = ranges.first.searchsorted(chunk.number[chosen], side="right") - 1
        until = np.minimum(following, ranges.last[row] + 1)
        seconds = chunk.day * SECONDS_PER_DAY + chunk.second
        columns = (chunk.number, chunk.owner, chunk.donor, chunk.region, seconds, chunk.npid)
        picked = (column[chosen].tolist() for column in (*columns, chunk.corporate, chunk.home))
        places = zip(ranges.operator[row].tolist(), ranges.region[row].tolist(), strict=True)
        for place, end, number, owner, donor, region, at, npid, corporate, home in zip(
            places, until.tolist(), *picked, strict=True
        ):
            free = range(number + 1, min(end, number + 1 + _FREE_NEIGHBOURS))
            self.place |= dict.fromkeys(free, Place(*place))
            if not home:
                self.place[number] = Place(*place)
                self.ported[number] = State(
                    owner=owner, donor=donor, region=region, time=at, npid=npid, corporate=corporate
                )


class _Drawing:
    """One window while it is drawn: events in the order of their time."""

    def __init__(
        self, subscribers: Subscribers, market: Market, ports: Ports, options: GenerateOptions
    ) -> None:
        self._subscribers, self._market, self._drawn_ports = subscribers, market, ports
        self._options = options
        self._words: list[int] = []
        self._changed: list[int] = []
        self._ports: list[str] = []
        self._returns: list[str] = []

    def window(self, ends: datetime) -> Window:
        """Draw the window that ends at a time."""
        self._stream = Stream(self._options.seed, "changes", window_sequence(ends))
        count = 0 if self._below(_EMPTY_ONE_IN) == 0 else self._options.changes_per_window
        begins = int((ends - _WINDOW - _BEGINNING).total_seconds())
        late = min(_LATE_EVENTS, count)
        seconds = [-1 - self._below(_LATE_SECONDS_MAX) for _ in range(late)]
        seconds += [self._below(int(_WINDOW.total_seconds())) for _ in range(count - late)]
        seconds.sort()
        for i in range(1, count):
            if self._below(_SAME_SECOND_ONE_IN) == 0:
                seconds[i] = seconds[i - 1]
        for i, second in enumerate(seconds):
            room = count - len(self._ports) - len(self._returns)
            if room > 0:
                self._event(begins + second, i, room)
        return Window(ends, self._shuffled(self._ports), self._shuffled(self._returns))

    def _word(self) -> int:
        if not self._words:
            self._words = self._stream.words(1024).tolist()
        return self._words.pop()

    def _below(self, limit: int) -> int:
        return self._word() % limit

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
        for _ in range(_TRIES):
            word = self._word()
            number: int | None
            if kind is _Event.AGAIN:
                number = self._changed[word % len(self._changed)] if self._changed else None
                latest = time_
            else:
                ported = kind not in {_Event.PORT, _Event.CORPORATE}
                number = self._subscribers.any_number(word, ported=ported)
                latest = time_ - 1
            if number is not None and self._subscribers.last_time(number) <= latest:
                return number
        return None

    def _happen(self, kind: _Event, number: int, time_: int, npid: int) -> None:
        if kind is _Event.AGAIN:
            again = (_Event.ONWARD, _Event.RETURN, _Event.PORT_HOME, _Event.UPDATE)
            kind = again[self._below(len(again))]
            if number not in self._subscribers.ported:
                kind = _Event.PORT
        if kind in {_Event.RETURN, _Event.PORT_HOME}:
            self._bring_home(number, time_, npid, by_port=kind is _Event.PORT_HOME)
        elif kind is _Event.UPDATE:
            self._update(number, time_, npid)
        else:
            self._port(number, time_, npid, run=kind is _Event.CORPORATE)

    def _port(self, number: int, time_: int, npid: int, *, run: bool) -> None:
        """Let a number, or a run of free ones, go to an operator that does not serve it yet."""
        subscribers = self._subscribers
        place, before = subscribers.place[number], subscribers.ported.get(number)
        old = (before.owner, before.region) if before is not None else tuple(place)
        recipient = self._recipient(place, old[0])
        numbers = [number]
        for one in range(number + 1, number + _CORPORATE_MAX) if run else ():
            free = one not in subscribers.ported and subscribers.place.get(one) == place
            if free and subscribers.last_time(one) < time_:
                numbers.append(one)
        state = State(
            owner=recipient,
            donor=old[0],
            region=place.region,
            time=time_,
            npid=npid,
            corporate=len(numbers) > 1,
        )
        for one in numbers:
            self._write_port(one, old, (recipient, place.region), time_, npid)
            subscribers.port(one, state)
            self._changed.append(one)

    def _update(self, number: int, time_: int, npid: int) -> None:
        """Let the same operator serve a number by another route: that of another region."""
        state = self._subscribers.ported[number]
        region = self._below(len(self._market.regions))
        self._write_port(number, (state.owner, state.region), (state.owner, region), time_, npid)
        self._subscribers.port(
            number, replace(state, donor=state.owner, region=region, time=time_, npid=npid)
        )
        self._changed.append(number)

    def _bring_home(self, number: int, time_: int, npid: int, *, by_port: bool) -> None:
        """Let a number return, by a row of its own or by a port to its range holder."""
        place, state = self._subscribers.place[number], self._subscribers.ported[number]
        old = (state.owner, state.region)
        if by_port:
            self._write_port(number, old, place, time_, npid)
        else:
            operators, region = self._market.operators, self._market.regions[place.region]
            self._returns.append(
                f"{npid},{number},{operators[state.owner].code},{operators[place.holder].code},"
                f"{operators[place.holder].mnc_in(place.region)},{self._route(*old)},"
                f"{self._route(*place)},{region.code},{_written(time_)},"
            )
        self._subscribers.bring_home(number, time_, npid)
        self._changed.append(number)

    def _recipient(self, place: Place, owner: int) -> int:
        """Return who may gain a number: neither its holder nor its operator."""
        words = np.array([self._word() for _ in range(8)], np.uint64)
        holder, region = (np.full(len(words), index) for index in place)
        gains = self._drawn_ports.recipient(holder, region, words).tolist()
        everybody = range(len(self._market.operators))
        return next(int(one) for one in (*gains, *everybody) if one not in {place.holder, owner})

    def _write_port(
        self, number: int, old: tuple[int, ...], new: tuple[int, ...], time_: int, npid: int
    ) -> None:
        """Write a row of Port_Increment; ``old`` and ``new`` are operator and region."""
        operators = self._market.operators
        (donor, old_region), (recipient, region) = old, new
        holder = self._subscribers.place[number].holder
        self._ports.append(
            f"{npid},{number},{operators[recipient].code},{operators[donor].code},"
            f"{operators[holder].code},{self._route(donor, old_region)},"
            f"{self._route(recipient, region)},{operators[donor].mnc_in(old_region)},"
            f"{operators[recipient].mnc_in(region)},{self._market.regions[region].code},"
            f"{_written(time_)},"
        )

    def _route(self, operator: int, region: int) -> str:
        mnc = self._market.operators[operator].mnc_in(region)
        return f"D{self._market.regions[region].code}{mnc}"

    def _shuffled(self, rows: list[str]) -> list[str]:
        """Return the rows in no order: a window's files promise none."""
        keyed = sorted((self._word(), row) for row in rows)
        return [row for _, row in keyed]


def _written(time_: int) -> str:
    return f"{(_BEGINNING + timedelta(seconds=time_)).isoformat()}+03:00"
