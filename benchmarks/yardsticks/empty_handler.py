"""A service that takes the same messages and does nothing: what gRPC itself costs.

A ``grpc.aio`` server as the product's own, with the same options and allocator settings. Its one
handler reads the request as the product does, and returns a stored answer: the product's own answer
to as many numbers. Started by ``python -m benchmarks.yardsticks.empty_handler ADDRESS FILE...``,
where each file holds a request (its length in eight bytes, then the request) and the answer to it.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import grpc

from numroute import wire
from numroute.server.limits import REQUEST_BYTES_MAX
from numroute.server.memory import keep_freed_memory

if TYPE_CHECKING:
    from collections.abc import Callable

METHOD = "BulkLookup"
_LENGTH_BYTES = 8


def write_exchange(path: Path, request: bytes, answer: bytes) -> None:
    """Store a request and the answer to it."""
    path.write_bytes(len(request).to_bytes(_LENGTH_BYTES, "big") + request + answer)


def read_exchange(path: Path) -> tuple[bytes, bytes]:
    """Return a stored request and the answer to it."""
    data = path.read_bytes()
    end = _LENGTH_BYTES + int.from_bytes(data[:_LENGTH_BYTES], "big")
    return data[_LENGTH_BYTES:end], data[end:]


def stored_answers(answers: dict[int, bytes]) -> Callable[[bytes], bytes]:
    """Return the handler; ``answers`` has one for each count of numbers in a request."""

    def answer(request: bytes) -> bytes:
        numbers, _options = wire.bulk_request_parts(request)
        return answers[len(numbers)]

    return answer


async def serve_bulk(address: str, answer: Callable[[bytes], bytes]) -> None:
    """Answer ``BulkLookup`` until SIGTERM."""

    async def handle(request: bytes, _context: object) -> bytes:
        return answer(request)

    server = grpc.aio.server(
        options=(("grpc.max_receive_message_length", REQUEST_BYTES_MAX), ("grpc.so_reuseport", 0))
    )
    handler = grpc.unary_unary_rpc_method_handler(handle)
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(wire.SERVICE_NAME, {METHOD: handler}),)
    )
    server.add_insecure_port(address)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await server.start()
    await stop.wait()
    await server.stop(None)


def main() -> None:
    """Run the service."""
    address, *files = sys.argv[1:]
    answers = {}
    for file in files:
        request, answer = read_exchange(Path(file))
        numbers, _ = wire.bulk_request_parts(request)
        answers[len(numbers)] = answer
    keep_freed_memory()
    asyncio.run(serve_bulk(address, stored_answers(answers)))


if __name__ == "__main__":
    main()
