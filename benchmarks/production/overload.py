"""Twice the load that can be answered, sent by the clock: how much is still answered.

h2load sends it from a core of its own to one worker on another: a client on the same core would
take from the service what is measured.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.figures import Figure, at_least
from benchmarks.production import h2load
from benchmarks.production.scaling import PATH, right_answer
from benchmarks.production.vintages import BULK, LARGE, SINGLE, SIZES
from benchmarks.production.workers import pin, production

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.production.vintages import Question, Vintages

SECTION = "Twice the capacity, open load"
GOODPUT_MIN = 0.8
ROUNDS = 3
SERVICE_CORE, CLIENT_CORE = 0, 1
LARGE_SECONDS = 12.0
"""Long enough for what is still being sent at the end not to count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What is sent, and what ends it where it is too much.

    ``capacity`` is found with few calls under way, ``pressed`` has room for too many.
    """

    kind: str
    refusal: str
    capacity: h2load.Load
    pressed: h2load.Load


CASES = (
    *(
        Case(
            kind=kind,
            refusal="ended by gRPC (CANCELLED)",
            capacity=h2load.Load(core=CLIENT_CORE),
            pressed=h2load.Load(core=CLIENT_CORE, connections=256, streams=100),
        )
        for kind in (SINGLE, BULK)
    ),
    *(
        Case(
            kind=LARGE,
            refusal="refused (RESOURCE_EXHAUSTED)",
            capacity=h2load.Load(core=CLIENT_CORE, connections=8, streams=1),
            pressed=h2load.Load(
                core=CLIENT_CORE, connections=connections, streams=16, seconds=LARGE_SECONDS
            ),
        )
        for connections in (16, 64)
    ),
)


def measure(vintages: Vintages, work: Path) -> list[Figure]:
    """Measure the capacity of one worker, then send it twice as much, by turns."""
    return [figure for case in CASES for figure in _measure(vintages, work, case)]


def _measure(vintages: Vintages, work: Path, case: Case) -> list[Figure]:
    question: Question = vintages.questions[case.kind][0]
    body = work / f"{case.kind}.frame"
    body.write_bytes(h2load.frame(question.request))
    found: dict[str, list[float]] = defaultdict(list)
    with production(vintages.store, 1) as service:
        for pid in service.workers():
            pin(pid, SERVICE_CORE)
        size = len(right_answer(service.address, question))
        for _ in range(ROUNDS):
            capacity = h2load.run(service.address, PATH, body, size, case.capacity).answered
            pressed = dataclasses.replace(case.pressed, rate=2 * capacity)
            seen = h2load.run(service.address, PATH, body, size, pressed)
            found["capacity"].append(capacity)
            found["answered"].append(seen.answered / capacity)
            found["refused"].append(max(0.0, 1 - seen.answered / seen.ended))
            found["mean"].append(seen.mean_ms)
            found["worst"].append(seen.worst_ms)
    name = (
        f"{SIZES[case.kind]:,} number{'s' * (SIZES[case.kind] > 1)} a call, "
        f"up to {case.pressed.connections * case.pressed.streams:,} under way"
    )
    return [
        Figure(section=SECTION, name=f"{name}: capacity", unit="calls/s", values=found["capacity"]),
        Figure(
            section=SECTION,
            name=f"{name}: answered, share of the capacity",
            unit="",
            values=found["answered"],
            target=at_least(GOODPUT_MIN),
        ),
        Figure(
            section=SECTION,
            name=f"{name}: {case.refusal}, share of the calls",
            unit="",
            values=found["refused"],
        ),
        Figure(section=SECTION, name=f"{name}: mean call", unit="ms", values=found["mean"]),
        Figure(section=SECTION, name=f"{name}: longest call", unit="ms", values=found["worst"]),
    ]
