"""How long `numroute serve` takes from its start to its first answer."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import grpc

from benchmarks.children import BIN, free_address, server, wait_until_listening
from benchmarks.figures import Figure, at_most
from benchmarks.pagecache import forget, warm
from benchmarks.queries import MOBILE_MIX, load_queries, load_truth
from numroute import wire
from numroute.client.codec import Values, bulk_response
from numroute.index import SnapshotStore

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from benchmarks.oracle import Truth
    from benchmarks.queries import Queries
    from benchmarks.speed.options import Options

SECTION = "Start"
SECONDS_MAX = 1.0
PATIENCE_SECONDS = 60.0


def measure(options: Options) -> list[Figure]:
    """Start and stop the service, with the snapshot in the page cache and without."""
    store = SnapshotStore(options.store)
    snapshot = store.snapshot_path(store.current_id())
    truth, queries = load_truth(options.work), load_queries(options.work, MOBILE_MIX)
    warm_seconds, cold_seconds = [], []
    for _ in range(options.slow_rounds):
        warm(snapshot)
        warm_seconds.append(_seconds(options.store, truth, queries))
        forget(snapshot)
        cold_seconds.append(_seconds(options.store, truth, queries))
    return [
        Figure(
            section=SECTION,
            name=f"`numroute serve`: start to first answer, snapshot {state}",
            unit="s",
            values=seconds,
            target=at_most(SECONDS_MAX),
            worst_counts=True,
        )
        for state, seconds in (
            ("in the page cache", warm_seconds),
            ("not in the page cache", cold_seconds),
        )
    ]


def _seconds(store: Path, truth: Truth, queries: Queries) -> float:
    """Return the seconds from the start of the process to the first right answer."""
    address = free_address()
    words: list[str | Path] = [BIN / "numroute", "serve", "--store", store, "--listen", address]
    one: NDArray[np.uint64] = queries.numbers[:1]
    begin = time.perf_counter()
    with server(words) as child:
        # A channel that finds nobody waits a second before it tries again; a plain socket need not.
        wait_until_listening(child, address, PATIENCE_SECONDS)
        with grpc.insecure_channel(address) as channel:
            call = channel.unary_unary(
                wire.method_path("BulkLookup"), request_serializer=None, response_deserializer=None
            )
            request = wire.bulk_request(one, with_range_holder=False, with_ported_at=False)
            response = call(request, timeout=PATIENCE_SECONDS, wait_for_ready=True)
        seconds = time.perf_counter() - begin
        chunk = bulk_response(response, 1, with_range_holder=False, with_ported_at=False)
        routes = [Values().route(data) for data in chunk.routes]
        truth.check(queries.expected[:1], chunk.route_indexes, routes)
    return seconds
