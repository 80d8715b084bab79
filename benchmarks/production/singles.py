"""Single numbers asked from tasks of one asyncio program: as fast as it goes, or at a rate."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.production.pacing import paced
from numroute.model import Route
from numroute.v1 import number_routing_pb2 as pb
from numroute.wire import route_value

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from benchmarks.small import Small
    from numroute.client import NumberAnswer

    Ask = Callable[[int], Awaitable[NumberAnswer | pb.BulkLookupResponse]]

TICK_SECONDS = 0.001
"""How often it is looked whether all is answered."""


@dataclass(frozen=True, slots=True)
class Given:
    """Answers, and the places of their questions in the queries.

    Two flat lists: a pair for each answer would be work for the garbage collector, which is no part
    of what is measured.
    """

    places: list[int] = field(default_factory=list)
    answers: list[NumberAnswer | pb.BulkLookupResponse] = field(default_factory=list)

    def add(self, place: int, answer: NumberAnswer | pb.BulkLookupResponse) -> None:
        """Keep an answer."""
        self.places.append(place)
        self.answers.append(answer)

    def check(self, small: Small) -> None:
        """Compare every answer with the right one."""
        routes: dict[Route, int] = {}
        indexes = []
        for answer in self.answers:
            if isinstance(answer, pb.BulkLookupResponse):
                route = route_value(answer.routes[answer.route_indexes[0]])
            else:
                route = answer.route or Route(status=answer.status)
            indexes.append(routes.setdefault(route, len(routes)))
        expected = small.queries.expected[np.array(self.places)]
        small.truth.check(expected, np.array(indexes), list(routes))


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """What a steady rate has shown.

    Attributes:
        reached: Numbers a second.
        latencies: Seconds from the moment at which a number was due to its answer, one each.
        lateness: Seconds from that moment until its task asked, one each.
    """

    reached: float
    latencies: Sequence[float]
    lateness: Sequence[float]

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
    tasks: set[asyncio.Task[None] | None] = set()
    asked = 0

    async def work(place: int) -> None:
        given.add(place, await ask(numbers[place]))
        tasks.discard(asyncio.current_task())
        if time.perf_counter() < begun + seconds:
            another()

    def another() -> None:
        nonlocal asked
        tasks.add(loop.create_task(work(asked % len(numbers))))
        asked += 1

    for _ in range(at_once):
        another()
    while tasks:  # noqa: ASYNC110 - an event would be one more thing for each task to do
        await asyncio.sleep(TICK_SECONDS)
    rate = len(given.answers) / (time.perf_counter() - begun)
    given.check(small)
    return rate


async def at_rate(small: Small, ask: Ask, rate: float, seconds: float) -> Rate:
    """Ask at a steady rate, whether answers have come or not.

    A number's time runs from the moment at which it was due, so that a loop that falls behind is
    not flattered.
    """
    numbers = small.queries.numbers.tolist()
    given = Given()
    latencies: list[float] = []
    lateness: list[float] = []
    tasks: set[asyncio.Task[None] | None] = set()
    loop = asyncio.get_running_loop()

    async def work(place: int, due: float) -> None:
        lateness.append(time.perf_counter() - due)
        answer = await ask(numbers[place])
        latencies.append(time.perf_counter() - due)
        given.add(place, answer)
        tasks.discard(asyncio.current_task())

    asked = 0

    def ask_now(due: float) -> None:
        nonlocal asked
        # asyncio itself keeps only weak references to tasks.
        tasks.add(loop.create_task(work(asked % len(numbers), due)))
        asked += 1

    with paced(rate, seconds, ask_now) as (begun, ended):
        await ended.wait()
    reached = asked / (time.perf_counter() - begun)
    while tasks:  # noqa: ASYNC110 - as above
        await asyncio.sleep(TICK_SECONDS)
    given.check(small)
    return Rate(reached=reached, latencies=latencies, lateness=lateness)
