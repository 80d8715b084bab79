"""A service that takes the same messages and does nothing: what gRPC itself costs.

``python -m benchmarks.yardsticks.empty_handler FILE...``: its one handler reads the numbers of a
``BulkLookup`` request and returns a stored answer to as many numbers. Each file is named for the
count of numbers and holds the service's own answer.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

import grpc
import numpy as np

from numroute import wire
from numroute.v1 import number_routing_pb2 as pb

MESSAGE_BYTES_MAX = 64 * 1024 * 1024


async def serve(answers: dict[int, bytes]) -> None:
    """Answer until SIGTERM; print the address first."""

    async def handle(request: bytes, _context: object) -> bytes:
        return answers[len(np.asarray(pb.BulkLookupRequest.FromString(request).numbers))]

    server = grpc.aio.server(
        options=(
            ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
            ("grpc.so_reuseport", 0),
        )
    )
    handlers = {"BulkLookup": grpc.unary_unary_rpc_method_handler(handle)}
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(wire.SERVICE_NAME, handlers),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await server.start()
    print(f"127.0.0.1:{port}", flush=True)
    await stop.wait()
    await server.stop(None)


if __name__ == "__main__":
    asyncio.run(serve({int(Path(name).stem): Path(name).read_bytes() for name in sys.argv[1:]}))
