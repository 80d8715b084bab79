"""How long the service's own work on a call takes, without a network."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from benchmarks.services import bulk_request
from benchmarks.small import BATCH
from numroute.client.codec import Values, bulk_response
from numroute.logs import make_logger
from numroute.server.follower import Follower
from numroute.server.guard import Call
from numroute.server.servicer import NumberRouting
from numroute.v1 import number_routing_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_benchmark.fixture import BenchmarkFixture

    from benchmarks.small import Small

TEXTS = 100


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """Return an event loop of the module's own."""
    loop = asyncio.new_event_loop()
    yield loop
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()


@pytest.fixture(scope="module")
def lookups(small: Small, loop: asyncio.AbstractEventLoop) -> Iterator[NumberRouting]:
    """Return the service's lookups over the small snapshot."""
    follower = Follower(small.store, make_logger(), max_age=None, on_state=lambda _: None)
    loop.run_until_complete(follower.poll())
    lookups = NumberRouting(follower, make_logger())
    yield lookups
    lookups.close()
    follower.close()


@pytest.mark.parametrize("count", [1, 1_000, BATCH])
def test_bulk_lookup(
    benchmark: BenchmarkFixture,
    small: Small,
    lookups: NumberRouting,
    loop: asyncio.AbstractEventLoop,
    count: int,
) -> None:
    """A bulk request's bytes become an answer's bytes that say what the oracle says."""
    benchmark.extra_info["numbers"] = count
    queries = small.part(count)
    request, call = bulk_request(queries.numbers), Call("BulkLookup")
    response = benchmark(lambda: loop.run_until_complete(lookups.bulk_lookup(request, call)))
    chunk = bulk_response(response, count, with_range_holder=False, with_ported_at=False)
    values = Values()
    small.truth.check(queries.expected, chunk.route_indexes, list(map(values.route, chunk.routes)))


def test_lookup_of_texts(
    benchmark: BenchmarkFixture,
    small: Small,
    lookups: NumberRouting,
    loop: asyncio.AbstractEventLoop,
) -> None:
    """A request of texts is answered in rows, in order."""
    benchmark.extra_info["numbers"] = TEXTS
    numbers = small.truth.ported[:TEXTS].tolist()
    request = pb.LookupRequest(numbers=[f"+{number}" for number in numbers]).SerializeToString()
    call = Call("Lookup")
    response = benchmark(lambda: loop.run_until_complete(lookups.lookup(request, call)))
    answers = pb.LookupResponse.FromString(response).answers
    assert [answer.number for answer in answers] == numbers
    assert {answer.status for answer in answers} == {pb.STATUS_PORTED}
