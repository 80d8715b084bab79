"""How long many single numbers take that tasks ask for at once, gathered by the client."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import numpy as np
import pytest

from benchmarks.services import numroute_serve
from numroute.client import AsyncClient
from numroute.model import Route

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_benchmark.fixture import BenchmarkFixture

    from benchmarks.small import Small
    from numroute.client import NumberAnswer


@pytest.fixture(scope="module")
def address(small: Small) -> Iterator[str]:
    """Return where a service over the small snapshot listens."""
    with numroute_serve(small.store.path) as running:
        yield running.address


@pytest.mark.parametrize("tasks", [1, 100, 4_000])
def test_gathered(benchmark: BenchmarkFixture, small: Small, address: str, tasks: int) -> None:
    """Each task hears what the oracle says of its number."""
    benchmark.extra_info["numbers"] = tasks
    queries = small.part(tasks)
    numbers = queries.numbers.tolist()

    async def ask(client: AsyncClient) -> list[NumberAnswer]:
        return await asyncio.gather(*map(client.lookup, numbers))

    with asyncio.Runner() as runner:
        client = runner.run(_connected(address))
        try:
            answers = benchmark(lambda: runner.run(ask(client)))
        finally:
            runner.run(client.close())
    places: dict[Route, int] = {}
    indexes = [
        places.setdefault(answer.route or Route(status=answer.status), len(places))
        for answer in answers
    ]
    small.truth.check(queries.expected, np.array(indexes), list(places))


async def _connected(address: str) -> AsyncClient:
    """Return a client that has asked before, so that no connection is made while measuring."""
    client = AsyncClient(address)
    await client.snapshot()
    return client
