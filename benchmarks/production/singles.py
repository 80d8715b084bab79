"""Single numbers asked from tasks of one asyncio program: as fast as it goes, or at a rate."""

from __future__ import annotations

import asyncio
import time
from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.production.pacing import paced
from numroute.model import Route
from numroute.v1 import number_routing_pb2 as pb
from numroute.wire import route_value

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from benchmarks.small import Small
    from numroute.client import NumberAnswer

    Ask = Callable[[int], Awaitable[NumberAnswer | pb.BulkLookupResponse]]

TICK_SECONDS = 0.001
"""How often it is looked whether all is answered."""


class Given:
    """Answers, and the places of their questions in the queries.

    In arrays of plain numbers, and each different answer once: through a list of them all the
    garbage collector would walk again and again, for 10 ms and more, in the middle of a call.
    """

    def __init__(self) -> None:
        """Begin without answers."""
        self._places = array("Q")
        self._indexes = array("Q")
        self._kinds: dict[int | bytes, int] = {}
        self._answers: list[NumberAnswer | pb.Route] = []

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._places)

    def add(self, place: int, answer: NumberAnswer | pb.BulkLookupResponse) -> None:
        """Keep an answer."""
        kind: int | bytes
        if isinstance(answer, pb.BulkLookupResponse):
            said: NumberAnswer | pb.Route = answer.routes[answer.route_indexes[0]]
            kind = said.SerializeToString()
        else:
            # The client's answers of one route are one object, which is kept here.
            said, kind = answer, id(answer)
        index = self._kinds.setdefault(kind, len(self._answers))
        if index == len(self._answers):
            self._answers.append(said)
        self._places.append(place)
        self._indexes.append(index)

    def check(self, small: Small) -> None:
        """Compare every answer with the right one."""
        routes = [
            route_value(answer)
            if isinstance(answer, pb.Route)
            else answer.route or Route(status=answer.status)
            for answer in self._answers
        ]
        expected = small.queries.expected[np.array(self._places)]
        small.truth.check(expected, np.array(self._indexes, np.int64), routes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """What a steady rate has shown.

    Attributes:
        reached: Numbers a second.
        latencies: Seconds from the moment at which a number was due to its answer, one each.
        lateness: Seconds from that moment until its task asked, one each.
    """

    reached: float
    latencies: array[float]
    lateness: array[float]

    def milliseconds(self, rank: float) -> float:
        """Return a percentile of the latencies."""
        return float(np.percentile(self.latencies, rank)) * 1e3

    def late_milliseconds(self, rank: float) -> float:
        """Return a percentile of the lateness."""
        return float(np.percentile(self.lateness, rank)) * 1e3


async def as_fast_as_it_goes(small: Small, ask: Ask, at_once: int, seconds: float) -> float:
    """Ask for each number from a task of its own, so many at once; return numbers a second."""
    numbers = small.queries.numbers.tolist()
    given = Given()
    loop = asyncio.get_running_loop()
    begun = time.perf_counter()
    tasks: dict[int, asyncio.Task[None]] = {}
    failures: list[Exception] = []
    asked = 0

    async def work(which: int) -> None:
        place = which % len(numbers)
        try:
            given.add(place, await ask(numbers[place]))
        except Exception as error:  # noqa: BLE001 - any of them ends the measurement
            failures.append(error)
        del tasks[which]
        if time.perf_counter() < begun + seconds:
            another()

    def another() -> None:
        nonlocal asked
        tasks[asked] = loop.create_task(work(asked))
        asked += 1

    for _ in range(at_once):
        another()
    while tasks:  # noqa: ASYNC110 - an event would be one more thing for each task to do
        await asyncio.sleep(TICK_SECONDS)
    rate = len(given) / (time.perf_counter() - begun)
    _raise_first(failures)
    given.check(small)
    return rate


async def at_rate(small: Small, ask: Ask, rate: float, seconds: float) -> Rate:
    """Ask at a steady rate, whether answers have come or not.

    A number's time runs from the moment at which it was due, so that a loop that falls behind is
    not flattered.
    """
    numbers = small.queries.numbers.tolist()
    given = Given()
    latencies, lateness = array("d"), array("d")
    tasks: dict[int, asyncio.Task[None]] = {}
    failures: list[Exception] = []
    loop = asyncio.get_running_loop()

    async def work(which: int, due: float) -> None:
        place = which % len(numbers)
        lateness.append(time.perf_counter() - due)
        try:
            answer = await ask(numbers[place])
        except Exception as error:  # noqa: BLE001 - as above
            failures.append(error)
        else:
            latencies.append(time.perf_counter() - due)
            given.add(place, answer)
        del tasks[which]

    asked = 0

    def ask_now(due: float) -> None:
        nonlocal asked
        # asyncio itself keeps only weak references to tasks.
        tasks[asked] = loop.create_task(work(asked, due))
        asked += 1

    with paced(rate, seconds, ask_now) as (begun, ended):
        await ended.wait()
    reached = asked / (time.perf_counter() - begun)
    while tasks:  # noqa: ASYNC110 - as above
        await asyncio.sleep(TICK_SECONDS)
    _raise_first(failures)
    given.check(small)
    return Rate(reached=reached, latencies=latencies, lateness=lateness)


def _raise_first(failures: list[Exception]) -> None:
    if failures:
        raise RuntimeError(f"{len(failures):,} numbers were not answered") from failures[0]
