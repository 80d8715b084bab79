"""How much two workers do in the time of one, asked by a client outside Python.

One worker is kept to one core, two to one core each: without that one worker takes parts of both,
since gRPC has threads of its own. On a machine with two cores the client takes its part of them as
well, and two workers never have two whole cores. So beside the plain ratio stands what a second of
the workers' processor time does: where two workers do as much with it as one, two cores of their
own do twice as much as one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import grpc

from benchmarks.figures import Figure, at_least
from benchmarks.production import h2load
from benchmarks.production.workers import pin, processor_seconds, production
from benchmarks.services import TIMEOUT_SECONDS
from numroute import wire
from numroute.server.limits import NUMBERS_INLINE_MAX

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.production.vintages import Question, Vintages
    from benchmarks.production.workers import Production

SECTION = "Two workers against one (h2load on the same cores)"
RATIO_MIN = 1.7
ROUNDS = 5
SMALL_LOAD = h2load.Load(connections=64, streams=2, seconds=3)
LARGE_LOAD = h2load.Load(connections=16, streams=1, seconds=3)
"""Few enough for no batch to be refused or to wait for long."""
PATH = wire.method_path("BulkLookup")


@dataclass(slots=True)
class Rates:
    """Calls a second, and calls for each second of the workers' processor time; one per round."""

    wall: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)


def measure(vintages: Vintages, work: Path) -> list[Figure]:
    """Ask one worker and two by turns, over the batch size."""
    kinds = {len(each[0].numbers): each[0] for each in vintages.questions.values()}
    figures = []
    with production(vintages.store, 1) as one, production(vintages.store, 2) as two:
        for service in (one, two):
            for core, pid in enumerate(service.workers()):
                pin(pid, core)
        for size, question in kinds.items():
            body = work / f"{size}.frame"
            body.write_bytes(h2load.frame(question.request))
            found = {1: Rates(), 2: Rates()}
            for _ in range(ROUNDS):
                for workers, service in ((1, one), (2, two)):
                    _turn(service, question, body, found[workers])
            figures += _figures(size, found[1], found[2])
    return figures


def _turn(service: Production, question: Question, body: Path, rates: Rates) -> None:
    workers = service.workers()
    load = LARGE_LOAD if len(question.numbers) > NUMBERS_INLINE_MAX else SMALL_LOAD
    answer = right_answer(service.address, question)
    before = sum(map(processor_seconds, workers))
    seen = h2load.run(service.address, PATH, body, len(answer), load)
    used = sum(map(processor_seconds, workers)) - before
    rates.wall.append(seen.answered)
    rates.processor.append(seen.answered * load.seconds / used)


def _figures(size: int, one: Rates, two: Rates) -> list[Figure]:
    name = f"{size:,} number{'s' * (size > 1)} a call"
    return [
        Figure(section=SECTION, name=f"{name}: one worker", unit="calls/s", values=one.wall),
        Figure(section=SECTION, name=f"{name}: two workers", unit="calls/s", values=two.wall),
        Figure(
            section=SECTION,
            name=f"{name}: two against one, the client taking its part of the cores",
            unit="",
            values=[b / a for a, b in zip(one.wall, two.wall, strict=True)],
        ),
        Figure(
            section=SECTION,
            name=f"{name}: two against one, on as many whole cores (by processor time)",
            unit="",
            values=[2 * b / a for a, b in zip(one.processor, two.processor, strict=True)],
            target=at_least(RATIO_MIN),
        ),
    ]


def right_answer(address: str, question: Question) -> bytes:
    """Return the answer to a question, having checked what h2load cannot: that it is right."""
    with grpc.insecure_channel(address) as channel:
        response: bytes = channel.unary_unary(PATH)(question.request, timeout=TIMEOUT_SECONDS)
    assert question.answered_by(response) is not None
    return response
