"""Arrow Flight's share of a call: an exchange that takes numbers and returns a stored column.

``python -m benchmarks.yardsticks.empty_flight ANSWER``: the file holds the answer to ``BulkLookup``
whose indexes are returned.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import flight

from numroute.v1 import number_routing_pb2 as pb


class EmptyExchange(flight.FlightServerBase):  # type: ignore[misc] # pyarrow has no types
    """Answer every batch with the same indexes."""

    def __init__(self, indexes: np.ndarray[Any, Any]) -> None:
        """Listen on a free port of the loopback interface."""
        super().__init__("grpc://127.0.0.1:0")
        self._answer = pa.record_batch([pa.array(indexes)], ["route_indexes"])

    def do_exchange(self, *call: Any) -> None:  # noqa: ANN401 - pyarrow has no types
        """Read each batch, and answer it."""
        _, _, reader, writer = call
        writer.begin(self._answer.schema)
        for chunk in reader:
            assert len(chunk.data) == len(self._answer)
            writer.write_batch(self._answer)


def main() -> None:
    """Serve until SIGTERM; print the address first."""
    message = pb.BulkLookupResponse.FromString(Path(sys.argv[1]).read_bytes())
    server = EmptyExchange(np.asarray(message.route_indexes, np.uint32))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    print(f"127.0.0.1:{server.port}", flush=True)
    server.serve()


if __name__ == "__main__":
    main()
