"""``python -m benchmarks.production.coalescing``: single numbers gathered by the client.

Three ways to look single numbers up from one asyncio program, against one service, in turns:
one unary call per number as a program without the gathering client makes it (the yardstick), the
gathering client as fast as it can, and the gathering client at half of that rate, with numbers that
come when they come and do not wait for each other. In each a task is made for every number. Every
answer is compared with the right one.

What the benchmark itself holds is frozen (``gc.freeze``): a full collection would walk through it
in the middle of a call. A program that wants short latencies does the same after its start.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import numpy as np

from benchmarks.children import end_on_sigterm
from benchmarks.machine import facts
from benchmarks.services import OPTIONS, numroute_serve
from benchmarks.small import make_small
from numroute.client import AsyncClient
from numroute.model import Route
from numroute.v1 import number_routing_pb2 as pb
from numroute.v1 import number_routing_pb2_grpc as pb_grpc
from numroute.wire import route_value

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from benchmarks.queries import Queries
    from benchmarks.small import Small
    from numroute.client import NumberAnswer

    Ask = Callable[[int], Awaitable[NumberAnswer | pb.BulkLookupResponse]]

UNARY_TASKS = 64
"""Tasks that make unary calls: more do not make it faster."""

GATHERING_TASKS = 4_000
"""Tasks that share the gathering client."""

HALF = 0.5
TIMES_UNARY_MIN = 20.0
P99_MILLISECONDS_MAX = 5.0
TICK_SECONDS = 0.001


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What one turn has shown: calls a second, and milliseconds at half of the gathered rate."""

    unary_per_second: float
    gathered_per_second: float
    half_per_second: float
    half_ms_p50: float
    half_ms_p99: float

    @property
    def times_unary(self) -> float:
        """How many times the unary calls' rate the gathering client reached."""
        return self.gathered_per_second / self.unary_per_second


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; return 1 when a target was missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="how long each way is measured")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args(arguments)
    end_on_sigterm()
    with tempfile.TemporaryDirectory() as folder:
        rounds = measure(make_small(Path(folder)), options.rounds, options.seconds)
    for each in rounds:
        print(
            f"unary {each.unary_per_second:8,.0f}/s   gathered {each.gathered_per_second:9,.0f}/s"
            f"   {each.times_unary:5.1f} times   at {each.half_per_second:8,.0f}/s: "
            f"p50 {each.half_ms_p50:.2f} ms, p99 {each.half_ms_p99:.2f} ms"
        )
    times = float(np.median([each.times_unary for each in rounds]))
    p99 = float(np.median([each.half_ms_p99 for each in rounds]))
    met = times >= TIMES_UNARY_MIN and p99 < P99_MILLISECONDS_MAX
    print(
        f"median: {times:.1f} times (at least {TIMES_UNARY_MIN:g}), "
        f"p99 {p99:.2f} ms (below {P99_MILLISECONDS_MAX:g}): {'met' if met else 'MISSED'}"
    )
    if options.json:
        document = {
            "machine": facts(),
            "rounds": [asdict(each) for each in rounds],
            "times_unary": times,
            "half_ms_p99": p99,
        }
        options.json.write_text(json.dumps(document, indent=1) + "\n", "utf-8")
    return 0 if met else 1


def measure(small: Small, rounds: int, seconds: float) -> list[Round]:
    """Measure so many turns, each way for so many seconds."""
    with numroute_serve(small.store.path) as service:
        return asyncio.run(_measure(small, service.address, rounds, seconds))


async def _measure(small: Small, address: str, rounds: int, seconds: float) -> list[Round]:
    numbers = small.queries.numbers.tolist()
    found = []
    gc.collect()
    gc.freeze()
    async with (
        grpc.aio.insecure_channel(address, options=OPTIONS) as channel,
        AsyncClient(address) as client,
    ):
        stub = pb_grpc.NumberRoutingStub(channel)

        def unary(number: int) -> Awaitable[pb.BulkLookupResponse]:
            call: Awaitable[pb.BulkLookupResponse] = stub.BulkLookup(
                pb.BulkLookupRequest(numbers=[number]), timeout=5.0
            )
            return call

        for _ in range(rounds):
            unary_rate, given = await _as_fast_as_it_goes(unary, numbers, UNARY_TASKS, seconds)
            _check(small, given)
            rate, given = await _as_fast_as_it_goes(
                client.lookup, numbers, GATHERING_TASKS, seconds
            )
            _check(small, given)
            half, latencies, given = await _at_rate(client.lookup, numbers, rate * HALF, seconds)
            _check(small, given)
            p50, p99 = np.percentile(latencies, [50, 99]) * 1e3
            found.append(
                Round(
                    unary_per_second=unary_rate,
                    gathered_per_second=rate,
                    half_per_second=half,
                    half_ms_p50=float(p50),
                    half_ms_p99=float(p99),
                )
            )
    return found


async def _as_fast_as_it_goes(
    ask: Ask, numbers: Sequence[int], at_once: int, seconds: float
) -> tuple[float, Given]:
    """Ask for each number from a task of its own, so many at once; return calls a second."""
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
    return len(given.answers) / (time.perf_counter() - begun), given


async def _at_rate(
    ask: Ask, numbers: Sequence[int], rate: float, seconds: float
) -> tuple[float, list[float], Given]:
    """Ask at a steady rate, whether answers have come or not; return the rate and seconds each.

    A call's time runs from the moment at which it was due, so that a loop that falls behind is not
    flattered.
    """
    given = Given()
    latencies: list[float] = []
    tasks: set[asyncio.Task[None] | None] = set()
    loop = asyncio.get_running_loop()

    async def work(place: int, due: float) -> None:
        answer = await ask(numbers[place])
        latencies.append(time.perf_counter() - due)
        given.add(place, answer)
        tasks.discard(asyncio.current_task())

    begun = time.perf_counter()
    asked = 0
    while (now := time.perf_counter()) < begun + seconds:
        while asked < (now - begun) * rate:
            # asyncio itself keeps only weak references to tasks.
            tasks.add(loop.create_task(work(asked % len(numbers), begun + asked / rate)))
            asked += 1
        await asyncio.sleep(TICK_SECONDS)
    while tasks:  # noqa: ASYNC110 - an event would be one more thing for each task to do
        await asyncio.sleep(TICK_SECONDS)
    return asked / (time.perf_counter() - begun), latencies, given


def _check(small: Small, given: Given) -> None:
    """Compare every answer with the right one."""
    routes: dict[Route, int] = {}
    indexes = []
    for answer in given.answers:
        if isinstance(answer, pb.BulkLookupResponse):
            route = route_value(answer.routes[answer.route_indexes[0]])
        else:
            route = answer.route or Route(status=answer.status)
        indexes.append(routes.setdefault(route, len(routes)))
    queries: Queries = small.queries
    expected = queries.expected[np.array(given.places)]
    small.truth.check(expected, np.array(indexes), list(routes))


if __name__ == "__main__":
    sys.exit(main())
