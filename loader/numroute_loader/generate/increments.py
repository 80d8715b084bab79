"""Windows of increments: what happens to the subscribers in two hours, and how it is written.

Columns, sequence and the order of events: registries.md, 1. Within a window the same number can
change several times and in both files; only time and process number tell what came last.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace
from datetime import datetime, time, timedelta
from typing import TYPE_CHECKING

from numroute_loader.generate.dump_file import counted_since
from numroute_loader.generate.port_dates import FIRST_DAY
from numroute_loader.generate.ports import NPID_FIRST, NPIDS_PER_SECOND
from numroute_loader.generate.randomness import Purpose, Stream
from numroute_loader.generate.subscribers import State

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import date

    from numroute_loader.generate.market import Market
    from numroute_loader.generate.ports import Ports
    from numroute_loader.generate.subscribers import Place, Subscribers

WINDOWS_PER_DAY = 12
WINDOW = timedelta(days=1) / WINDOWS_PER_DAY
WINDOW_SECONDS = 7200

PORT_INCREMENT = "Port_Increment"
RETURN_INCREMENT = "Return_Increment"
HEADERS = {
    PORT_INCREMENT: "NPId,Number,RecipientId,DonorId,RangeHolderId,OldRoute,NewRoute,OldMNC,"
    "NewMNC,RegionCode,PortDate,RowCount",
    RETURN_INCREMENT: "NPId,Number,OwnerId,RangeHolderId,RangeHolderMNC,OldRoute,NewRoute,"
    "RegionCode,PortDate,RowCount",
}

CORPORATE_MAX = 4
"""Numbers of one corporate port in an increment, at most: as many as lie free side by side."""

LATE_EVENTS = 2
"""Events of a window that are dated a few seconds before it."""
LATE_SECONDS_MAX = 9

SAME_SECOND_ONE_IN = 8
EMPTY_ONE_IN = 16
"""Windows in which nothing happens: both files hold a header only."""

_TRIES = 16
_PROCESS_FIRST = 5_000_000
"""Processes of increments are numbered from here within a second, apart from the base's."""


class _Event(enum.Enum):
    """What can happen to a number."""

    PORT = "a free number is ported"
    ONWARD = "a ported number is ported again"
    RETURN = "a number comes home, told by Return_Increment"
    PORT_HOME = "a number comes home, told by Port_Increment"
    UPDATE = "a number's route changes without a port"
    CORPORATE = "a run of free numbers is ported by one process"
    AGAIN = "a number that changed in this window changes once more"


_WEIGHTS = {
    _Event.PORT: 52,
    _Event.ONWARD: 16,
    _Event.RETURN: 10,
    _Event.PORT_HOME: 6,
    _Event.UPDATE: 6,
    _Event.CORPORATE: 4,
    _Event.AGAIN: 6,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The rows of one window's two files, without row counts, and when the window ends."""

    ends: datetime
    sequence: int
    rows: dict[str, list[str]]

    def name(self, kind: str, *, zipped: bool) -> str:
        """Return a file's name, e.g. ``Port_Increment_201806281400_20179.zip``."""
        suffix = ".zip" if zipped else ".csv"
        return f"{kind}_{self.ends:%Y%m%d%H%M}_{self.sequence}{suffix}"

    def text(self, kind: str) -> bytes:
        """Return a file's text: CRLF, the row count in the first data row only."""
        rows = self.rows[kind]
        lines = [HEADERS[kind]]
        lines += [row if place else f"{row}{len(rows)}" for place, row in enumerate(rows)]
        return "".join(f"{line}\r\n" for line in lines).encode()


def sequence_of(ends: datetime) -> int:
    """Return the sequence of the window that ends at a time (Moscow time, naive)."""
    since = datetime.combine(counted_since("Port_All"), time())
    return (ends - since) // WINDOW


class Life:
    """What happens to the subscribers, window after window."""

    def __init__(
        self, subscribers: Subscribers, market: Market, ports: Ports, *, changes: int, seed: int
    ) -> None:
        """Prepare; ``changes`` is how many rows the two files of a window have together."""
        self._subscribers = subscribers
        self._market = market
        self._ports = ports
        self._changes = changes
        self._seed = seed

    def day(self, day: date) -> Iterator[Window]:
        """Yield the windows of a day; the last one ends at the next midnight."""
        midnight = datetime.combine(day, time())
        for place in range(1, WINDOWS_PER_DAY + 1):
            yield self._window(midnight + place * WINDOW)

    def _window(self, ends: datetime) -> Window:
        sequence = sequence_of(ends)
        dice = _Dice(Stream(self._seed, Purpose.CHANGES, sequence))
        drawing = _Drawing(self._subscribers, self._market, self._ports, dice)
        count = 0 if dice.below(EMPTY_ONE_IN) == 0 else self._changes
        begins = int((ends - WINDOW - datetime.combine(FIRST_DAY, time())).total_seconds())
        seconds = sorted(dice.below(WINDOW_SECONDS) for _ in range(count))
        for place in range(min(LATE_EVENTS, count)):
            seconds[place] = -1 - dice.below(LATE_SECONDS_MAX)
        seconds.sort()
        for place in range(1, count):
            if dice.below(SAME_SECOND_ONE_IN) == 0:
                seconds[place] = seconds[place - 1]
        for place, second in enumerate(seconds):
            if drawing.rows < count:
                drawing.event(begins + second, place, count - drawing.rows)
        rows = {
            PORT_INCREMENT: _shuffled(drawing.ports, dice),
            RETURN_INCREMENT: _shuffled(drawing.returns, dice),
        }
        return Window(ends=ends, sequence=sequence, rows=rows)


class _Dice:
    """Random integers from a stream, one at a time."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._words: list[int] = []

    def word(self) -> int:
        if not self._words:
            self._words = self._stream.words(1024).tolist()
        return self._words.pop()

    def below(self, bound: int) -> int:
        return self.word() % bound


class _Drawing:
    """One window while it is drawn: events in the order of their time."""

    def __init__(self, subscribers: Subscribers, market: Market, ports: Ports, dice: _Dice) -> None:
        self._subscribers = subscribers
        self._market = market
        self._ports = ports
        self._dice = dice
        self._changed: list[int] = []
        self.ports: list[str] = []
        self.returns: list[str] = []

    @property
    def rows(self) -> int:
        """How many rows both files have so far."""
        return len(self.ports) + len(self.returns)

    def event(self, time_: int, place: int, room: int) -> None:
        """Let something happen at a time; ``place`` numbers the events of the window.

        ``room`` is how many rows it may have. Where nothing of the drawn kind can happen, something
        else does.
        """
        npid = NPID_FIRST + time_ * NPIDS_PER_SECOND + _PROCESS_FIRST + place
        drawn = self._drawn()
        if drawn is _Event.CORPORATE and room < CORPORATE_MAX:
            drawn = _Event.PORT
        for kind in (drawn, *_Event):
            number = self._number(kind, time_)
            if number is not None:
                self._happen(kind, number, time_, npid)
                return

    def _drawn(self) -> _Event:
        word = self._dice.below(sum(_WEIGHTS.values()))
        for kind, weight in _WEIGHTS.items():
            if word < weight:
                return kind
            word -= weight
        raise AssertionError("the weights are summed up")

    def _number(self, kind: _Event, time_: int) -> int | None:
        """Return a number to which this can happen, one that last changed before this time."""
        subscribers = self._subscribers
        for _ in range(_TRIES):
            word = self._dice.word()
            number: int | None
            if kind is _Event.AGAIN:
                number = self._changed[word % len(self._changed)] if self._changed else None
                latest = time_
            else:
                free = kind in {_Event.PORT, _Event.CORPORATE}
                number = subscribers.any_free(word) if free else subscribers.any_ported(word)
                latest = time_ - 1
            if number is not None and subscribers.last_time(number) <= latest:
                return number
        return None

    def _happen(self, kind: _Event, number: int, time_: int, npid: int) -> None:
        if kind is _Event.AGAIN:
            ported = number in self._subscribers.ported
            again = (_Event.ONWARD, _Event.RETURN, _Event.PORT_HOME, _Event.UPDATE)
            kind = again[self._dice.below(len(again))] if ported else _Event.PORT
        if kind is _Event.RETURN:
            self._return(number, time_, npid)
        elif kind is _Event.PORT_HOME:
            self._port_home(number, time_, npid)
        elif kind is _Event.UPDATE:
            self._update(number, time_, npid)
        else:
            self._port(number, time_, npid, run=kind is _Event.CORPORATE)

    def _port(self, number: int, time_: int, npid: int, *, run: bool) -> None:
        """Let a number, or a run of free ones, go to an operator that serves it not yet."""
        place = self._subscribers.place[number]
        before = self._subscribers.ported.get(number)
        donor = before.owner if before is not None else place.holder
        recipient = self._recipient(place, donor)
        numbers = [number]
        if run:
            beside = self._subscribers.free_after(number, CORPORATE_MAX - 1)
            numbers += [one for one in beside if self._subscribers.last_time(one) < time_]
        for one in numbers:
            old_region = before.region if before is not None else place.region
            self._write_port(one, (donor, old_region), (recipient, place.region), time_, npid)
            state = State(
                owner=recipient,
                donor=donor,
                region=place.region,
                time=time_,
                npid=npid,
                corporate=len(numbers) > 1,
            )
            self._subscribers.port(one, state)
            self._changed.append(one)

    def _update(self, number: int, time_: int, npid: int) -> None:
        """Let the same operator serve a number by another route: that of another region."""
        state = self._subscribers.ported[number]
        region = self._dice.below(len(self._market.regions))
        self._write_port(number, (state.owner, state.region), (state.owner, region), time_, npid)
        self._subscribers.port(
            number, replace(state, donor=state.owner, region=region, time=time_, npid=npid)
        )
        self._changed.append(number)

    def _return(self, number: int, time_: int, npid: int) -> None:
        place, state = self._subscribers.place[number], self._subscribers.ported[number]
        operators, regions = self._market.operators, self._market.regions
        self.returns.append(
            f"{npid},{number},{operators[state.owner].code},{operators[place.holder].code},"
            f"{operators[place.holder].mnc_in(place.region)},"
            f"{self._route(state.owner, state.region)},{self._route(place.holder, place.region)},"
            f"{regions[place.region].code},{_written(time_)},"
        )
        self._bring_home(number, time_, npid)

    def _port_home(self, number: int, time_: int, npid: int) -> None:
        """Let a number return by a port whose recipient is its range holder."""
        place, state = self._subscribers.place[number], self._subscribers.ported[number]
        old, new = (state.owner, state.region), (place.holder, place.region)
        self._write_port(number, old, new, time_, npid)
        self._bring_home(number, time_, npid)

    def _bring_home(self, number: int, time_: int, npid: int) -> None:
        place, state = self._subscribers.place[number], self._subscribers.ported[number]
        home = State(
            owner=place.holder, donor=state.owner, region=place.region, time=time_, npid=npid
        )
        self._subscribers.bring_home(number, home)
        self._changed.append(number)

    def _recipient(self, place: Place, owner: int) -> int:
        """Return who may gain a number: neither its holder nor its operator."""
        for _ in range(_TRIES):
            found = self._ports.recipient(place.holder, place.region, self._dice.word())
            if found not in {place.holder, owner}:
                return found
        everybody = range(len(self._market.operators))
        return next(one for one in everybody if one not in {place.holder, owner})

    def _write_port(
        self, number: int, old: tuple[int, int], new: tuple[int, int], time_: int, npid: int
    ) -> None:
        """Write a row of Port_Increment; ``old`` and ``new`` are operator and region."""
        operators = self._market.operators
        (donor, old_region), (recipient, region) = old, new
        holder = self._subscribers.place[number].holder
        self.ports.append(
            f"{npid},{number},{operators[recipient].code},{operators[donor].code},"
            f"{operators[holder].code},{self._route(donor, old_region)},"
            f"{self._route(recipient, region)},{operators[donor].mnc_in(old_region)},"
            f"{operators[recipient].mnc_in(region)},{self._market.regions[region].code},"
            f"{_written(time_)},"
        )

    def _route(self, operator: int, region: int) -> str:
        mnc = self._market.operators[operator].mnc_in(region)
        return f"D{self._market.regions[region].code}{mnc}"


def _written(time_: int) -> str:
    moment = datetime.combine(FIRST_DAY, time()) + timedelta(seconds=time_)
    return f"{moment.isoformat()}+03:00"


def _shuffled(rows: list[str], dice: _Dice) -> list[str]:
    """Return the rows in no order: a window's files promise none."""
    keyed = sorted((dice.word(), row) for row in rows)
    return [row for _, row in keyed]
