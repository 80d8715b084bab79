"""How much two workers do in the time of one, asked by a client that is not the limit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc

from benchmarks.figures import Figure, at_least
from benchmarks.production import h2load
from benchmarks.production.workers import production
from benchmarks.services import TIMEOUT_SECONDS
from numroute import wire

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from benchmarks.production.vintages import Question, Vintages

SECTION = "Two workers against one (h2load on the same cores)"
RATIO_MIN = 1.7
ROUNDS = 5
CALLS = {1: 6_000, 1_000: 6_000, 65_536: 400}
PATH = wire.method_path("BulkLookup")


def measure(vintages: Vintages, work: Path) -> list[Figure]:
    """Ask one worker and two by turns, over the batch size."""
    kinds = {len(each[0].numbers): each[0] for each in vintages.questions.values()}
    found: dict[tuple[int, int], list[float]] = {}
    with production(vintages.store, 1) as one, production(vintages.store, 2) as two:
        for size, question in kinds.items():
            body = work / f"{size}.frame"
            body.write_bytes(h2load.frame(question.request))
            for _ in range(ROUNDS):
                for workers, service in ((1, one), (2, two)):
                    _require_right(service.address, question)
                    rate = h2load.calls_per_second(service.address, body, CALLS[size], PATH)
                    found.setdefault((size, workers), []).append(rate)
    return [figure for size in kinds for figure in _figures(size, found[size, 1], found[size, 2])]


def _figures(size: int, one: Sequence[float], two: Sequence[float]) -> list[Figure]:
    name = f"{size:,} number{'s' * (size > 1)} a call"
    return [
        Figure(section=SECTION, name=f"{name}: one worker", unit="calls/s", values=one),
        Figure(section=SECTION, name=f"{name}: two workers", unit="calls/s", values=two),
        Figure(
            section=SECTION,
            name=f"{name}: two against one",
            unit="",
            values=[b / a for a, b in zip(one, two, strict=True)],
            target=at_least(RATIO_MIN),
        ),
    ]


def _require_right(address: str, question: Question) -> None:
    """Check what h2load cannot: that this request is answered rightly."""
    with grpc.insecure_channel(address) as channel:
        response = channel.unary_unary(PATH)(question.request, timeout=TIMEOUT_SECONDS)
    assert question.answered_by(response) is not None
