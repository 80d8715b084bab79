"""A service that answers in rows: the same lookups, one message per number.

A ``grpc.aio`` server that takes a ``BulkLookupRequest``, looks the numbers up in the same index
with the same kernel, and returns a ``LookupResponse`` with one answer per number, each with its
route: the shape that a service has which is not made for batches. Routes are encoded once and
copied. Started by ``python -m benchmarks.yardsticks.row_handler ADDRESS STORE``.
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

from benchmarks.yardsticks.empty_handler import serve_bulk
from numroute import wire
from numroute.index import SnapshotStore
from numroute.server.memory import keep_freed_memory
from numroute.v1 import number_routing_pb2 as pb

if TYPE_CHECKING:
    from numroute.index import Snapshot


class RowAnswers:
    """Answers in rows from a snapshot."""

    def __init__(self, snapshot: Snapshot) -> None:
        """Answer from an open snapshot; every route is made a message when it first occurs."""
        self._snapshot = snapshot
        self._routes: dict[int, pb.LookupAnswer] = {}

    def answer(self, request: bytes) -> bytes:
        """Return the serialised ``LookupResponse`` to a serialised ``BulkLookupRequest``."""
        numbers, _options = wire.bulk_request_parts(request)
        rows = self._snapshot.lookup(numbers).route
        response = pb.LookupResponse()
        add = response.answers.add
        for number, row in zip(numbers.tolist(), rows.tolist(), strict=True):
            answer = add()
            answer.CopyFrom(self._routes.get(row) or self._route(row))
            answer.number = number
        return response.SerializeToString()

    def _route(self, row: int) -> pb.LookupAnswer:
        route = self._snapshot.route(row)
        answer = pb.LookupAnswer(
            status=pb.Status.Name(route.status), route=wire.route_message(route, with_status=False)
        )
        self._routes[row] = answer
        return answer


def main() -> None:
    """Run the service."""
    address, store = sys.argv[1:]
    keep_freed_memory()
    with SnapshotStore(store).open() as snapshot:
        asyncio.run(serve_bulk(address, RowAnswers(snapshot).answer))


if __name__ == "__main__":
    main()
