"""The pipeline around every method: guards are asked, told of the end, and may refuse."""

from __future__ import annotations

import asyncio
import contextlib
import io
from collections.abc import AsyncIterator, Callable

import grpc
import pytest

from numroute import wire
from numroute.errors import LimitExceededError, OverloadedError
from numroute.logs import make_logger
from numroute.server.guard import Call, Guard, Pipeline

METHODS = ("Unary", "Down", "Both")
BUSY = OverloadedError("too much to do", retry_after_seconds=0.25)


class Noting(Guard):
    """A guard that notes what it hears, and refuses what it is told to refuse."""

    def __init__(self, name: str, heard: list[tuple[object, ...]], refuse: str = "") -> None:
        """Note under a name."""
        self.name, self.heard, self.refuse = name, heard, refuse

    def begin(self, call: Call) -> None:
        """Note the call."""
        if self.refuse == "begin":
            raise BUSY
        self.heard.append((self.name, "begin", call.method))

    def numbers(self, call: Call, count: int) -> None:
        """Note the count."""
        if self.refuse == "numbers":
            raise BUSY
        self.heard.append((self.name, "numbers", count, call.numbers))

    def end(self, call: Call, status: grpc.StatusCode) -> None:
        """Note the status."""
        assert call.status is status
        self.heard.append((self.name, "end", status.name))
        if self.refuse == "end":
            raise RuntimeError("79001234567")


class Methods:
    """A method of each shape; each asks for as many numbers as its request has bytes."""

    def __init__(self) -> None:
        """Begin with no stream closed."""
        self.closed = asyncio.Event()

    async def unary(self, request: bytes, call: Call) -> bytes:
        """Answer with the request."""
        call.ask(len(request))
        return self._answer(request)

    async def down(self, request: bytes, call: Call) -> None:
        """Answer with the request, twice."""
        call.ask(len(request))
        try:
            for _ in range(2):
                await call.context.write(self._answer(request))
            if request == b"wait":
                await asyncio.Event().wait()
        finally:
            self.closed.set()

    async def both(self, requests: AsyncIterator[bytes], call: Call) -> None:
        """Answer each request with itself."""
        try:
            async for request in requests:
                call.ask(len(request))
                await call.context.write(self._answer(request))
        finally:
            self.closed.set()

    def _answer(self, request: bytes) -> bytes:
        if request == b"limit":
            raise LimitExceededError("numbers", actual=2, limit=1)
        if request == b"fault":
            raise RuntimeError("79001234567")
        return request


class Running:
    """A server with the three methods, and a channel to it."""

    def __init__(self, channel: grpc.aio.Channel, pipeline: Pipeline, methods: Methods) -> None:
        """Ask through the channel."""
        self.pipeline, self.methods = pipeline, methods
        path = "/test/"
        self._unary = channel.unary_unary(path + "Unary")
        self.down = channel.unary_stream(path + "Down")
        self.both = channel.stream_stream(path + "Both")

    async def ask(self, method: str, request: bytes) -> list[bytes]:
        """Call a method with one request and return all responses."""
        if method == "Unary":
            return [await self._unary(request, timeout=30)]
        call = self.down(request, timeout=30) if method == "Down" else self.both([request])
        return [response async for response in call]


@pytest.fixture
async def start():
    """Return a function that starts a server with these guards."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(*guards: Noting, log: io.StringIO | None = None) -> Running:
            pipeline = Pipeline(guards, make_logger(log or io.StringIO()))
            methods = Methods()
            server = grpc.aio.server()
            handlers = {
                name: make_handler(pipeline.answering(name, method))
                for name, make_handler, method in (
                    ("Unary", grpc.unary_unary_rpc_method_handler, methods.unary),
                    ("Down", grpc.unary_stream_rpc_method_handler, methods.down),
                    ("Both", grpc.stream_stream_rpc_method_handler, methods.both),
                )
            }
            server.add_generic_rpc_handlers(
                (grpc.method_handlers_generic_handler("test", handlers),)
            )
            port = server.add_insecure_port("127.0.0.1:0")
            await server.start()
            stack.push_async_callback(server.stop, None)
            channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}")
            await stack.enter_async_context(channel)
            return Running(channel, pipeline, methods)

        yield start


async def ended(running: Running) -> None:
    """Wait until no call is under way."""
    while running.pipeline.under_way:  # noqa: ASYNC110 - the product has no event for it
        await asyncio.sleep(0)


async def refused(ask: Callable[[], object]) -> grpc.aio.AioRpcError:
    """Return the error of a call that must fail."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await ask()
    return caught.value


@pytest.mark.parametrize("method", METHODS)
async def test_guards_hear_of_every_call(start, method) -> None:
    """Guards hear of begin in their order, and of numbers and end in the opposite one."""
    heard: list[tuple[object, ...]] = []
    running = await start(Noting("a", heard), Noting("b", heard))
    answers = await running.ask(method, b"four")
    assert answers == [b"four"] * (2 if method == "Down" else 1)
    await ended(running)
    assert heard == [
        ("a", "begin", method),
        ("b", "begin", method),
        ("b", "numbers", 4, 4),
        ("a", "numbers", 4, 4),
        ("b", "end", "OK"),
        ("a", "end", "OK"),
    ]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("when", ["begin", "numbers"])
async def test_a_guard_refuses(start, method, when) -> None:
    """A refusal becomes the error's status with the hint; guards before it hear of the end."""
    heard: list[tuple[object, ...]] = []
    running = await start(Noting("a", heard), Noting("b", heard, refuse=when))
    error = await refused(lambda: running.ask(method, b"four"))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert error.details() == "too much to do"
    trailers = dict(error.trailing_metadata())
    assert trailers[wire.ERROR_KEY] == "OverloadedError"
    assert trailers[wire.RETRY_AFTER_KEY] == trailers[wire.PUSHBACK_KEY] == "250"
    await ended(running)
    assert heard[-1] == ("a", "end", "RESOURCE_EXHAUSTED")
    assert (("b", "end", "RESOURCE_EXHAUSTED") in heard) is (when == "numbers")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("request_bytes", "status"), [(b"limit", "INVALID_ARGUMENT"), (b"fault", "INTERNAL")]
)
async def test_errors_become_statuses(start, method, request_bytes, status) -> None:
    """An error in a method of any shape becomes a status; a fault's text is kept to itself."""
    heard: list[tuple[object, ...]] = []
    log = io.StringIO()
    running = await start(Noting("a", heard), log=log)
    error = await refused(lambda: running.ask(method, request_bytes))
    assert error.code().name == status
    assert "79001234567" not in error.details() + log.getvalue()
    assert ("request failed" in log.getvalue()) is (status == "INTERNAL")
    await ended(running)
    assert heard[-1] == ("a", "end", status)


async def test_a_stream_counts_each_message(start) -> None:
    """For each message of a stream the guards hear its count and the sum so far."""
    heard: list[tuple[object, ...]] = []
    running = await start(Noting("a", heard))
    call = running.both([b"1", b"22", b"333"])
    assert [response async for response in call] == [b"1", b"22", b"333"]
    await ended(running)
    assert [note[2:] for note in heard if note[1] == "numbers"] == [(1, 1), (2, 3), (3, 6)]


async def test_a_call_given_up_ends(start) -> None:
    """A stream that its client gives up ends its method, and its end is CANCELLED."""
    heard: list[tuple[object, ...]] = []
    running = await start(Noting("a", heard))
    call = running.down(b"wait")
    assert await call.read() == b"wait"
    assert running.pipeline.under_way == 1
    call.cancel()
    await running.methods.closed.wait()
    await ended(running)
    assert heard[-1] == ("a", "end", "CANCELLED")


async def test_a_fault_of_a_guard_is_logged(start) -> None:
    """A guard that fails at the end of a call is logged; the others hear of the end."""
    heard: list[tuple[object, ...]] = []
    log = io.StringIO()
    running = await start(Noting("a", heard), Noting("b", heard, refuse="end"), log=log)
    assert await running.ask("Unary", b"x") == [b"x"]
    await ended(running)
    assert heard[-2:] == [("b", "end", "OK"), ("a", "end", "OK")]
    assert "guard failed" in log.getvalue()
    assert "79001234567" not in log.getvalue()


def test_a_line_that_cannot_be_written_is_lost_and_nothing_else() -> None:
    """Where the disk is full or the pipe closed, whoever logs goes on."""

    class Full(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(28, "No space left on device", text)

    make_logger(Full()).error("nobody reads this")
    closed = io.StringIO()
    log = make_logger(closed)
    closed.close()
    log.info("nor this")
