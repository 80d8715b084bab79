"""Batches on one stream against a unary call each, as many under way, with the asyncio client."""

from __future__ import annotations

import asyncio
import itertools
import time
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.figures import Figure
from numroute.client import AsyncClient
from numroute.client.channel import QUESTIONS_IN_FLIGHT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from benchmarks.small import Small
    from numroute.client import BulkAnswer

    Numbers = NDArray[np.uint64]

SECTION = f"Batches, {QUESTIONS_IN_FLIGHT} under way"
SIZES = (30, 1_000, 65_536)
"""Numbers in a batch."""


async def measure(small: Small, address: str, rounds: int, seconds: float) -> list[Figure]:
    """Ask by turns, each way for so many seconds; every answer is compared with the right one."""
    figures: list[Figure] = []
    async with AsyncClient(address) as client:
        for size in SIZES:
            batch, check = small.part(size).numbers, _Check(small)
            unary: list[float] = []
            streamed: list[float] = []
            for _ in range(rounds):
                unary.append(await _unary(check, client, batch, seconds))
                streamed.append(await _streamed(check, client, batch, seconds))
            name = f"{size:,} numbers a batch"
            figures += [
                Figure(section=SECTION, name=f"{name}: unary", unit="numbers/s", values=unary),
                Figure(section=SECTION, name=f"{name}: stream", unit="numbers/s", values=streamed),
                Figure(
                    section=SECTION,
                    name=f"{name}: stream, in times of unary",
                    unit="",
                    values=[b / a for a, b in zip(unary, streamed, strict=True)],
                ),
            ]
    return figures


async def _unary(check: _Check, client: AsyncClient, batch: Numbers, seconds: float) -> float:
    begun = time.perf_counter()
    answered = 0

    async def ask() -> None:
        nonlocal answered
        while time.perf_counter() < begun + seconds:
            check(await client.lookup(batch))
            answered += len(batch)

    await asyncio.gather(*(ask() for _ in range(QUESTIONS_IN_FLIGHT)))
    return answered / (time.perf_counter() - begun)


async def _streamed(check: _Check, client: AsyncClient, batch: Numbers, seconds: float) -> float:
    begun = time.perf_counter()
    answered = 0

    def batches() -> Iterator[Numbers]:
        return itertools.takewhile(
            lambda _: time.perf_counter() < begun + seconds, itertools.repeat(batch)
        )

    async for answer in client.stream(batches()):
        check(answer)
        answered += len(batch)
    return answered / (time.perf_counter() - begun)


class _Check:
    """Compares every answer with the right one; an answer like one that was right is right."""

    def __init__(self, small: Small) -> None:
        self._small = small
        self._right: BulkAnswer | None = None

    def __call__(self, answer: BulkAnswer) -> None:
        right = self._right
        if (
            right is None
            or answer.routes != right.routes
            or not np.array_equal(answer.route_index, right.route_index)
        ):
            expected = self._small.queries.expected[: len(answer.route_index)]
            self._small.truth.check(expected, answer.route_index, answer.routes)
            self._right = answer
