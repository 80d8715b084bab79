"""The numbers that change hands: drawn from the base registry, and their state from then on.

Most numbers of a registry never change while it is generated, so only candidates become objects:
a sample of the ported numbers and of the free numbers beside them, as large as the changes need.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from numroute_loader.generate.port_dates import SECONDS_PER_DAY
from numroute_loader.generate.ports import PortedChunk
from numroute_loader.generate.randomness import Purpose, Stream, scaled

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from numroute_loader.generate.plan import HeldRanges

FREE_NEIGHBOURS = 4
"""Free numbers that are taken behind one ported number, at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """A number that was ported, or that is back: then ``owner`` is its range holder.

    ``owner``, ``donor``, ``region``: indexes into the market. ``time``: seconds since the midnight
    of ``port_dates.FIRST_DAY``, Moscow time. ``npid``: the porting process.
    """

    owner: int
    donor: int
    region: int
    time: int
    npid: int
    corporate: bool = False


@dataclass(frozen=True, slots=True)
class Place:
    """Where a number lies in the plan: its range's holder and region, indexes into the market."""

    holder: int
    region: int


class Candidates:
    """Samples numbers while the base registry is drawn, chunk by chunk, in any order."""

    def __init__(self, ranges: HeldRanges, *, ported: int, free: int, rows: int, seed: int) -> None:
        """Prepare to take about so many of ``rows`` ported numbers, and of free ones beside."""
        self._ranges = ranges
        self._wanted = (ported, free)
        self._rows = max(rows, 1)
        self._seed = seed
        self._ported: dict[int, tuple[Place, State]] = {}
        self._free: dict[int, Place] = {}

    def observe(self, index: int, chunk: PortedChunk) -> None:
        """Take this chunk's share of candidates."""
        if not len(chunk.number):
            return
        stream = Stream(self._seed, Purpose.CANDIDATES, index)
        ported, free = (-(-wanted * len(chunk.number) // self._rows) for wanted in self._wanted)
        chosen = _strata(len(chunk.number), ported, stream)
        self._take_ported(chunk, chosen[~chunk.home[chosen]])
        self._take_free(chunk, _strata(len(chunk.number), free, stream))

    def subscribers(self) -> Subscribers:
        """Return the numbers taken, in ascending order whatever the order of the chunks."""
        return Subscribers(dict(sorted(self._ported.items())), dict(sorted(self._free.items())))

    def _take_ported(self, chunk: PortedChunk, chosen: NDArray[np.int64]) -> None:
        number = chunk.number[chosen]
        row = self._row_of(number)
        columns = (
            number,
            chunk.owner[chosen],
            chunk.donor[chosen],
            chunk.holder[chosen],
            chunk.region[chosen],
            self._ranges.region[row],
            chunk.day[chosen] * SECONDS_PER_DAY + chunk.second[chosen],
            chunk.npid[chosen],
            chunk.corporate[chosen],
        )
        for number_, owner, donor, holder, region, home_region, time, npid, corporate in zip(
            *(column.tolist() for column in columns), strict=True
        ):
            self._ported[number_] = (
                Place(holder, home_region),
                State(
                    owner=owner,
                    donor=donor,
                    region=region,
                    time=time,
                    npid=npid,
                    corporate=corporate,
                ),
            )

    def _take_free(self, chunk: PortedChunk, chosen: NDArray[np.int64]) -> None:
        number = chunk.number[chosen]
        # Behind the chunk's last number only the end of its range bounds what is free.
        following = np.append(chunk.number[1:], np.iinfo(np.int64).max)[chosen]
        row = self._row_of(number)
        until = np.minimum(following, self._ranges.last[row] + 1)
        for one, end, holder, region in zip(
            number.tolist(),
            until.tolist(),
            self._ranges.operator[row].tolist(),
            self._ranges.region[row].tolist(),
            strict=True,
        ):
            for free in range(one + 1, min(end, one + 1 + FREE_NEIGHBOURS)):
                self._free[free] = Place(holder, region)

    def _row_of(self, number: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.asarray(self._ranges.first.searchsorted(number, side="right") - 1, np.int64)


class Subscribers:
    """The candidates and what became of them.

    ``ported``: number -> state of those with a record. ``home``: number -> state of those that came
    back while the registry was generated. ``place``: number -> where it lies in the plan.
    """

    def __init__(self, ported: dict[int, tuple[Place, State]], free: dict[int, Place]) -> None:
        """Begin with what the base registry says."""
        self.place = {number: place for number, (place, _) in ported.items()} | free
        self.ported = {number: state for number, (_, state) in ported.items()}
        self.home: dict[int, State] = {}
        self._was_ported = frozenset(ported)
        self._touched: set[int] = set()
        self._with_record = _Bag(ported)
        self._without = _Bag(free)

    @property
    def ported_more(self) -> int:
        """How many more numbers are ported than in the base registry."""
        return sum(
            (number in self.ported) - (number in self._was_ported) for number in self._touched
        )

    @property
    def rows_more(self) -> int:
        """How many more rows Port_All_Full has: it keeps a row for a number that came home."""
        return len(self._touched - self._was_ported)

    def last_time(self, number: int) -> int:
        """Return when a number last changed, as far as it is known."""
        state = self.ported.get(number) or self.home.get(number)
        return state.time if state is not None else 0

    def any_ported(self, word: int) -> int | None:
        """Return a number with a record, chosen by a random word; None where there is none."""
        return self._with_record.pick(word)

    def any_free(self, word: int) -> int | None:
        """Return a number without a record, chosen by a random word; None where there is none."""
        return self._without.pick(word)

    def free_after(self, number: int, count: int) -> list[int]:
        """Return up to ``count`` free numbers of the same holder that lie behind a free one."""
        return [
            other
            for other in range(number + 1, number + 1 + count)
            if other in self._without and self.place[other] == self.place[number]
        ]

    def port(self, number: int, state: State) -> None:
        """Give a number a record, or another one."""
        self._touched.add(number)
        self.home.pop(number, None)
        self.ported[number] = state
        self._without.discard(number)
        self._with_record.add(number)

    def bring_home(self, number: int, state: State) -> None:
        """Take a number's record away."""
        self._touched.add(number)
        del self.ported[number]
        self.home[number] = state
        self._with_record.discard(number)
        self._without.add(number)

    def overlay(self) -> PortedChunk:
        """Return every number that changed as rows of Port_All_Full, ascending."""
        touched = sorted(self._touched)
        states = [self.ported.get(number) or self.home[number] for number in touched]

        def column(values: Iterable[int]) -> NDArray[np.int64]:
            return np.fromiter(values, np.int64, len(touched))

        time = column(state.time for state in states)
        return PortedChunk(
            number=column(touched),
            owner=column(state.owner for state in states),
            donor=column(state.donor for state in states),
            holder=column(self.place[number].holder for number in touched),
            region=column(state.region for state in states),
            day=time // SECONDS_PER_DAY,
            second=time % SECONDS_PER_DAY,
            npid=column(state.npid for state in states),
            corporate=np.array([state.corporate for state in states], np.bool_),
            home=np.array([number not in self.ported for number in touched], np.bool_),
        )


class _Bag:
    """A set from which a random member can be taken; its order is fixed by what was done to it."""

    def __init__(self, members: Iterable[int]) -> None:
        self._members = list(members)
        self._at = {member: at for at, member in enumerate(self._members)}

    def __contains__(self, member: int) -> bool:
        return member in self._at

    def pick(self, word: int) -> int | None:
        return self._members[word % len(self._members)] if self._members else None

    def add(self, member: int) -> None:
        if member not in self._at:
            self._at[member] = len(self._members)
            self._members.append(member)

    def discard(self, member: int) -> None:
        at = self._at.pop(member, None)
        if at is None:
            return
        last = self._members.pop()
        if last != member:
            self._members[at] = last
            self._at[last] = at


def _strata(count: int, wanted: int, stream: Stream) -> NDArray[np.int64]:
    """Return ``wanted`` of ``count`` places, at most all, one from each of equal strata."""
    taken = min(wanted, count)
    edges = np.arange(taken + 1, dtype=np.int64) * count // max(taken, 1)
    return edges[:-1] + scaled(stream.words(taken), np.diff(edges))
