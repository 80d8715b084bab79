"""How long calls over gRPC take: a service in a process of its own, and an empty handler."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from benchmarks.services import TIMEOUT_SECONDS, bulk_request, empty_service, numroute_serve
from benchmarks.small import BATCH
from numroute.client.codec import Values, bulk_response

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytest_benchmark.fixture import BenchmarkFixture

    from benchmarks.services import Service
    from benchmarks.small import Small

COUNTS = (1, 1_000, BATCH)


@pytest.fixture(scope="module")
def service(small: Small) -> Iterator[Service]:
    """Return a running service over the small snapshot."""
    with numroute_serve(small.store.path) as running:
        yield running


@pytest.mark.parametrize("count", COUNTS)
def test_bulk_lookup(
    benchmark: BenchmarkFixture, small: Small, service: Service, count: int
) -> None:
    """Every number of a call is answered as the oracle says."""
    benchmark.extra_info["numbers"] = count
    queries = small.part(count)
    request = bulk_request(queries.numbers)
    response = benchmark(service.call, request, timeout=TIMEOUT_SECONDS)
    chunk = bulk_response(response, count, with_range_holder=False, with_ported_at=False)
    values = Values()
    small.truth.check(queries.expected, chunk.route_indexes, list(map(values.route, chunk.routes)))


def test_client(benchmark: BenchmarkFixture, small: Small, service: Service) -> None:
    """The product's client gives the oracle's answers, in order."""
    benchmark.extra_info["numbers"] = BATCH
    answer = benchmark(service.client.lookup, small.queries.numbers)
    small.truth.check(small.queries.expected, answer.route_index, answer.routes)


@pytest.mark.parametrize("count", COUNTS)
def test_empty_handler(
    benchmark: BenchmarkFixture, small: Small, service: Service, tmp_path: Path, count: int
) -> None:
    """The yardstick: the same bytes, read in the same way, answered from store."""
    benchmark.extra_info["numbers"] = count
    request = bulk_request(small.part(count).numbers)
    answer = service.call(request, timeout=TIMEOUT_SECONDS)
    with empty_service(tmp_path / "exchanges", {request: answer}) as empty:
        assert benchmark(empty.call, request, timeout=TIMEOUT_SECONDS) == answer
