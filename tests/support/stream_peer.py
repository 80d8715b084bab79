"""A service whose streams do what a test wants, and ways to ask it."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import grpc
import grpc.aio

from numroute import wire
from numroute.v1 import number_routing_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    import numroute


def answered(request: bytes) -> bytes:
    """Answer each number with an operator named like it."""
    question = pb.BulkLookupRequest.FromString(request)
    numbers = question.numbers
    response = pb.BulkLookupResponse(route_indexes=range(len(numbers)))
    if question.with_range_holder:
        response.range_holder_indexes.extend([0] * len(numbers))
        response.range_holders.add(code="h")
    response.snapshot.id = "s"
    for number in numbers:
        response.routes.add(status=pb.STATUS_NOT_PORTED).operator.code = f"m{number}"
    return response.SerializeToString()


class Peer:
    """A gRPC server that answers calls, and streams as it is told.

    Attributes:
        target: Where it listens.
        calls: The requests that came as calls.
        streams: The requests that came over each stream.
        tokens: What each stream carried.
        ended: How many streams have ended.
        answer: Yields the responses to what comes over a stream.
    """

    def __init__(self) -> None:
        """Answer streams as they should be."""
        self.target = ""
        self.calls: list[bytes] = []
        self.streams: list[list[bytes]] = []
        self.tokens: list[str | bytes] = []
        self.ended = 0
        self.answer: Callable[[AsyncIterator[bytes]], AsyncIterator[bytes]] = self.all

    async def all(self, requests: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Answer everything."""
        async for request in requests:
            yield answered(request)

    async def _call(self, request: bytes, _context: object) -> bytes:
        self.calls.append(request)
        return answered(request)

    async def _stream(
        self, requests: AsyncIterator[bytes], context: grpc.aio.ServicerContext
    ) -> AsyncIterator[bytes]:
        asked: list[bytes] = []
        self.streams.append(asked)
        self.tokens.append(dict(context.invocation_metadata() or ()).get("authorization", ""))

        async def noted() -> AsyncIterator[bytes]:
            async for request in requests:
                asked.append(request)
                yield request

        try:
            async for response in self.answer(noted()):
                yield response
        finally:
            self.ended += 1

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Peer]:
        """Listen until the block ends."""
        server = grpc.aio.server()
        handlers = {
            "BulkLookup": grpc.unary_unary_rpc_method_handler(self._call),
            "StreamLookup": grpc.stream_stream_rpc_method_handler(self._stream),
        }
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(wire.SERVICE_NAME, handlers),)
        )
        self.target = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        await server.start()
        try:
            yield self
        finally:
            await server.stop(None)


def once(event: asyncio.Event) -> Callable[[AsyncIterator[bytes]], AsyncIterator[bytes]]:
    """Answer everything after an event."""

    async def answer(requests: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for request in requests:
            await event.wait()
            yield answered(request)

    return answer


async def never(requests: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Read, and answer nothing."""
    async for _ in requests:
        await asyncio.Event().wait()
        yield b""


async def ask(client: numroute.AsyncClient, *numbers: int) -> None:
    """Look numbers up at once, and check the answers of a peer."""
    answers = await asyncio.gather(*map(client.lookup, numbers))
    assert [answer.route.operator.code for answer in answers] == [f"m{each}" for each in numbers]


async def until(condition: Callable[[], bool]) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - a peer tells nobody
            await asyncio.sleep(0.01)
