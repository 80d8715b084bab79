"""Questions with their right answers, and contests between services that answer them."""

from __future__ import annotations

import contextlib
import itertools
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import grpc
import numpy as np
from numpy.typing import NDArray

from benchmarks.material import Material
from benchmarks.oracle import Truth
from benchmarks.plots import CPU
from benchmarks.processes import module_server
from benchmarks.report import Figure, beside, rounds
from benchmarks.yardsticks import empty_handler
from numroute import wire
from numroute.index.kernel import COMPILE_AFTER_NUMBERS
from numroute.plan.load import CALL_SECONDS_MAX, Load, Send, Service, send_calls, sender, serving
from numroute.v1 import number_routing_pb2 as pb

Call: TypeAlias = "grpc.UnaryUnaryMultiCallable[bytes, bytes]"

WARMING_BATCH = 262_144
IDLE_SECONDS = 0.5
QUESTIONS = 4
CALLS_PER_TURN_MAX = 200
TURN_SHARE = 0.02
"""Of the time of a contest that one turn of one service takes, about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Questions:
    """Requests of one size, and for each its right answers by the snapshot's name.

    ``seen`` counts the answers that came, by snapshot.
    """

    numbers: Sequence[NDArray[np.uint64]]
    requests: Sequence[bytes]
    answers: Sequence[dict[bytes, str]]
    seen: Counter[str] = field(default_factory=Counter)

    def learn(self, call: Call, truth: Truth, name: str = "") -> None:
        """Ask a service, hold every answer against the oracle, and keep it as right."""
        for numbers, request, right in zip(self.numbers, self.requests, self.answers, strict=True):
            answer = call(request, timeout=CALL_SECONDS_MAX)
            response = pb.BulkLookupResponse.FromString(answer)
            truth.check(numbers, np.asarray(response.route_indexes, np.int64), response.routes)
            right[answer] = name

    def right(self, place: int, answer: bytes) -> bool:
        """Whether an answer is right, byte for byte."""
        name = self.answers[place].get(answer)
        if name is None:
            return False
        self.seen[name] += 1
        return True

    def send(self, call: Call) -> Send:
        """Return what sends these requests in turn and checks each answer."""
        return sender(call, self.requests, self.right)


def make_questions(material: Material, batch: int, count: int = QUESTIONS) -> Questions:
    """Return requests of this many numbers; ``learn`` must follow."""
    numbers = [material.draw(batch, seed=seed) for seed in range(count)]
    return Questions(
        numbers=numbers,
        requests=[
            wire.bulk_request(each, with_range_holder=False, with_ported_at=False)
            for each in numbers
        ],
        answers=[{} for _ in numbers],
    )


@contextlib.contextmanager
def warm_service(material: Material) -> Iterator[Service]:
    """Run a service that looks numbers up by the compiled function, where numba is installed."""
    with serving(material.store) as service, service.bulk_lookup() as call:
        (request,) = make_questions(material, WARMING_BATCH, count=1).requests
        for _ in range(-(-COMPILE_AFTER_NUMBERS // WARMING_BATCH) + 1):
            call(request, timeout=CALL_SECONDS_MAX)
        # It compiles in the background: until then it is not idle.
        spent, before = service.cpu_seconds(), -1.0
        while spent > before + IDLE_SECONDS / 10:
            time.sleep(IDLE_SECONDS)
            spent, before = service.cpu_seconds(), spent
        yield service


@contextlib.contextmanager
def empty_service(*questions: Questions) -> Iterator[tuple[Service, Call]]:
    """Run the empty handler with the first right answer of each set of questions."""
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        files = []
        for each in questions:
            files.append(Path(folder) / f"{len(each.numbers[0])}.answer")
            files[-1].write_bytes(next(iter(each.answers[0])))
        address, pid = stack.enter_context(module_server(empty_handler.__name__, *files))
        service = Service(address=address, pid=pid)
        yield service, stack.enter_context(service.bulk_lookup())


def contest(
    section: str,
    sides: Mapping[str, tuple[Service, Send]],
    *,
    in_flight: int,
    numbers: int,
    seconds: float,
) -> list[Figure]:
    """Let services answer calls of so many numbers by turns; the first is the yardstick.

    Returns wall time, and the CPU time of the service, per number.
    """
    (service, send), *_ = sides.values()
    load = ask(service, send, in_flight=in_flight, calls=in_flight)
    rate = load.answered / load.wall_seconds
    calls = min(CALLS_PER_TURN_MAX, max(in_flight, round(rate * seconds * TURN_SHARE)))
    wall: dict[str, list[float]] = {name: [] for name in sides}
    cpu: dict[str, list[float]] = {f"{name}, {CPU}": [] for name in sides}
    for round_ in itertools.chain([-1], rounds(seconds)):
        for (name, (service, send)), spent in zip(sides.items(), cpu.values(), strict=True):
            load = ask(service, send, in_flight=in_flight, calls=calls)
            if round_ >= 0:
                wall[name].append(1e9 * load.wall_seconds / load.answered / numbers)
                spent.append(1e9 * load.cpu_per_call / numbers)
    return [
        *beside(section, wall, unit="ns/number"),
        *beside(section, cpu, unit="ns/number"),
    ]


def ask(service: Service, send: Send, *, in_flight: int, calls: int) -> Load:
    """Make calls as fast as they are answered; raise ServiceError when one fails or is wrong."""
    load = send_calls(
        send, in_flight=in_flight, seconds=1e9, cpu=service.cpu_seconds, calls_max=calls
    )
    load.require_answers()
    return load
