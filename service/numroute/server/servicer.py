"""The service's methods: bytes in, bytes out; the pipeline of ``guard`` surrounds each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc

from numroute import wire
from numroute.server.control import Control
from numroute.server.guard import Pipeline
from numroute.server.lookups import Lookups
from numroute.server.past import PastSnapshots
from numroute.server.streams import Streams

if TYPE_CHECKING:
    from collections.abc import Sequence

    from structlog.typing import FilteringBoundLogger

    from numroute.server.follower import Follower
    from numroute.server.guard import Guard


class NumberRouting:
    """``numroute.v1.NumberRouting`` over the snapshot that the follower keeps in service.

    Methods take and return serialised messages: a bulk answer never becomes a message object, and
    a request that cannot be parsed gets a status of our choosing.
    """

    def __init__(
        self, follower: Follower, log: FilteringBoundLogger, guards: Sequence[Guard] = ()
    ) -> None:
        """Answer from the follower's snapshot what the guards let pass; faults go to the log."""
        self._pipeline = Pipeline(guards, log)
        self._past = PastSnapshots(follower)
        self._lookups = Lookups(follower, self._past)
        self._control = Control(follower, self._past)
        self._streams = Streams(follower, self._lookups.bulk_lookup)

    @property
    def under_way(self) -> int:
        """How many calls have begun and not ended; one ends when its answer has been sent."""
        return self._pipeline.under_way

    def drain(self) -> None:
        """End the calls that stay open; what they have been asked is still answered."""
        self._streams.drain()

    def close(self) -> None:
        """Wait for the batches that are still looked up, of calls that nobody waits for."""
        self._lookups.close()
        self._past.close()

    def handler(self) -> grpc.GenericRpcHandler[bytes, bytes]:
        """Return the service as a handler that a ``grpc.aio`` server takes."""
        pipeline, lookups, control = self._pipeline, self._lookups, self._control
        handlers = {
            name: pipeline.unary(name, method)
            for name, method in {
                "Lookup": lookups.lookup,
                "BulkLookup": lookups.bulk_lookup,
                "Explain": control.explain,
                "GetSnapshot": control.get_snapshot,
                "ListOperators": control.list_operators,
            }.items()
        }
        streams = self._streams
        handlers["StreamLookup"] = pipeline.both_streams("StreamLookup", streams.stream_lookup)
        handlers["WatchSnapshots"] = pipeline.server_stream(
            "WatchSnapshots", streams.watch_snapshots
        )
        return grpc.method_handlers_generic_handler(wire.SERVICE_NAME, handlers)
