"""Gathered numbers over a stream: which way they take, and what happens when it ends."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import grpc.aio
import pytest
from support.certificates import Authority
from support.oracle import FIRST

import numroute
from numroute import wire
from numroute.client import Coalescing, batch_stream
from numroute.client import Security as ClientSecurity
from numroute.client.channel import client_closed
from numroute.errors import ServiceError
from numroute.index import SnapshotStore
from numroute.server.security import Security
from numroute.server.tokens import new_token, token_line
from numroute.v1 import number_routing_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

NUMBERS = range(FIRST, FIRST + 100)


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


async def test_batches_travel_over_one_stream() -> None:
    """Whichever columns are asked for, batches come over one stream, and none as a call."""
    async with Peer().running() as peer, numroute.AsyncClient(peer.target) as client:
        for number in range(20):
            await ask(client, number, number + 100)
        await client.lookup(7, with_range_holder=True)
        assert [len(stream) for stream in peer.streams] == [21]
        assert peer.calls == []


async def test_another_stream_in_time(monkeypatch) -> None:
    """A stream is used for a while; the next one answers what comes then, an idle one ends."""
    monkeypatch.setattr(batch_stream, "STREAM_SECONDS", 0.05)
    async with Peer().running() as peer, numroute.AsyncClient(peer.target) as client:
        number = 0
        while len(peer.streams) < 4:
            number += 1
            await ask(client, number)
        await until(lambda: peer.ended == 4)
        assert peer.calls == []
        assert sum(map(len, peer.streams)) == number


async def test_what_a_broken_stream_leaves_is_asked_again() -> None:
    """A stream that ends with questions unanswered hurts none of them."""
    peer = Peer()

    async def two(requests: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        for _ in range(2):
            yield answered(await anext(requests))
        await anext(requests)

    peer.answer = two
    async with (
        peer.running(),
        numroute.AsyncClient(
            peer.target, coalescing=Coalescing(numbers_max=10, in_flight_max=4)
        ) as client,
    ):
        await ask(client, *range(100))
        assert len(peer.streams) == 1
        assert len(peer.calls) >= 7


@pytest.mark.parametrize("kind", ["refused", "ended"])
async def test_where_no_stream_gets_through(kind, monkeypatch) -> None:
    """Where streams come to nothing, calls answer everything, and streams are tried ever less."""
    monkeypatch.setattr(batch_stream, "PAUSE_SECONDS", 0.001)
    monkeypatch.setattr(batch_stream, "PAUSE_SECONDS_MAX", 3600.0)
    peer = Peer()

    async def nothing(_requests: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        if kind == "refused":
            raise NotImplementedError
        return
        yield b""

    peer.answer = nothing
    async with peer.running(), numroute.AsyncClient(peer.target) as client:
        for number in range(300):
            await ask(client, number)
        # After 1 ms, 2, 4, ...: 300 calls take no minute.
        assert 1 < len(peer.streams) < 17
        assert len(peer.calls) == 300


async def test_an_answer_too_many_ends_the_stream() -> None:
    """A service that answers what nobody asked is not trusted with the next question."""
    peer = Peer()

    async def too_many(requests: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for request in requests:
            yield answered(request)
            yield answered(request)

    peer.answer = too_many
    async with peer.running(), numroute.AsyncClient(peer.target) as client:
        await ask(client, 1)
        await until(lambda: peer.ended == 1)
        await ask(client, 2)
        assert len(peer.streams) == 2


async def test_a_task_that_gives_up_ends_no_stream(monkeypatch) -> None:
    """The answer that nobody waits for is passed over; the others get theirs."""
    monkeypatch.setattr(batch_stream, "SILENT_SECONDS", 60.0)
    peer, may_answer = Peer(), asyncio.Event()
    peer.answer = once(may_answer)
    async with peer.running(), numroute.AsyncClient(peer.target) as client:
        first = asyncio.ensure_future(client.lookup(1))
        await until(lambda: [len(stream) for stream in peer.streams] == [1])
        second = asyncio.ensure_future(ask(client, 2))
        await asyncio.sleep(0.02)
        first.cancel()
        may_answer.set()
        await second
        await ask(client, 3)
        assert first.cancelled()
        assert len(peer.streams) == 1
        assert peer.calls == []


@pytest.mark.parametrize("who", ["the client", "its caller"])
async def test_a_silent_stream_is_left(who, monkeypatch) -> None:
    """Where nothing comes over a stream, calls are made, whoever gave the numbers up before."""
    monkeypatch.setattr(batch_stream, "SILENT_SECONDS", 0.2)
    peer = Peer()
    peer.answer = never
    async with peer.running(), numroute.AsyncClient(peer.target) as client:
        if who == "the client":
            with pytest.raises(ServiceError, match=r"did not answer within 0\.1 s"):
                await client.lookup(1, timeout=0.1)
        else:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(client.lookup(1), 0.1)
        assert peer.calls == []
        await ask(client, 2)
        await until(lambda: peer.ended == len(peer.streams))
        assert len(peer.calls) == 1


async def test_what_a_silent_stream_was_asked_is_asked_again(monkeypatch) -> None:
    """Numbers with time left are not lost to a stream, though all batches that may be are on it."""
    monkeypatch.setattr(batch_stream, "SILENT_SECONDS", 0.2)
    monkeypatch.setattr(batch_stream, "PAUSE_SECONDS", 60.0)
    peer = Peer()
    peer.answer = never
    limits = Coalescing(numbers_max=1, in_flight_max=2)
    async with (
        peer.running(),
        numroute.AsyncClient(peer.target, timeout=30.0, coalescing=limits) as client,
    ):
        await ask(client, *range(10))
        assert len(peer.calls) == 10
        assert len(peer.streams) == 1


async def test_a_loop_held_up_ends_no_stream() -> None:
    """A program that keeps its loop from running finds its answers afterwards."""
    async with Peer().running() as peer, numroute.AsyncClient(peer.target) as client:
        for number in range(2):
            asking = asyncio.ensure_future(ask(client, number))
            await asyncio.sleep(0)
            time.sleep(1.5 * batch_stream.SILENT_SECONDS)  # noqa: ASYNC251 - the mistake
            await asking
        assert len(peer.streams) == 1
        assert peer.calls == []


@pytest.mark.parametrize("seconds", [0.0, 0.02])
async def test_a_hasty_number_ends_no_stream(seconds, monkeypatch) -> None:
    """A deadline that passes is its own number's; the others' stream goes on."""
    monkeypatch.setattr(batch_stream, "SILENT_SECONDS", 60.0)
    peer, may_answer = Peer(), asyncio.Event()
    peer.answer = once(may_answer)
    async with peer.running(), numroute.AsyncClient(peer.target) as client:
        patient = asyncio.ensure_future(ask(client, 1))
        await until(lambda: bool(peer.streams))
        with pytest.raises(ServiceError, match=r"timeout|did not answer"):
            await client.lookup(2, timeout=seconds)
        # A batch ends a moment after the last of its numbers' deadlines.
        await asyncio.sleep(0.05)
        may_answer.set()
        await patient
        await ask(client, 3)
        assert len(peer.streams) == 1
        assert peer.calls == []


async def test_who_is_patient_does_not_wait_behind_the_hasty() -> None:
    """Where answers come later than numbers are given up, they do not gather on the stream."""
    peer = Peer()

    async def slowly(requests: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for request in requests:
            await asyncio.sleep(0.3)
            yield answered(request)

    peer.answer = slowly
    async with peer.running(), numroute.AsyncClient(peer.target, timeout=60.0) as client:
        hasty = 0
        while not peer.calls:
            hasty += 1
            with contextlib.suppress(ServiceError):
                await client.lookup(hasty, timeout=0.01)
        await ask(client, 0)
        assert hasty >= batch_stream.WAITING_MAX
        assert len(peer.streams) == 1


async def test_a_left_stream_ends_in_time(monkeypatch) -> None:
    """What a stream that is no longer used has been asked is asked again when it takes too long."""
    monkeypatch.setattr(batch_stream, "SILENT_SECONDS", 60.0)
    monkeypatch.setattr(batch_stream, "STREAM_SECONDS", 0.05)
    monkeypatch.setattr(batch_stream, "LEFT_SECONDS", 0.05)
    peer = Peer()
    peer.answer = never
    async with peer.running(), numroute.AsyncClient(peer.target, timeout=60.0) as client:
        await ask(client, 1)
        await until(lambda: peer.ended == 1)
        assert len(peer.calls) == 1


async def test_a_shutdown_that_cancels_all_tasks() -> None:
    """A program that cancels whatever runs, the client's tasks too, can still use the client."""
    async with Peer().running() as peer, numroute.AsyncClient(peer.target) as client:
        for turns in range(8):
            asking = asyncio.ensure_future(ask(client, turns))
            for _ in range(turns):
                await asyncio.sleep(0)
            for task in asyncio.all_tasks():
                if "batch_stream" in repr(task.get_coro()):
                    task.cancel()
            await asking


async def test_large_batches_are_calls() -> None:
    """A batch for which the service may have to find room holds up no others."""
    async with (
        Peer().running() as peer,
        numroute.AsyncClient(peer.target, coalescing=Coalescing(numbers_max=5_000)) as client,
    ):
        await ask(client, *range(5_000))
        assert len(peer.calls) == 1
        assert peer.streams == []


async def test_a_host_that_says_nothing(monkeypatch) -> None:
    """A connection that comes to nothing leaves nothing behind, and holds up no close."""
    monkeypatch.setattr(batch_stream, "SILENT_SECONDS", 0.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        async with asyncio.timeout(20):
            target = f"127.0.0.1:{silent.getsockname()[1]}"
            async with numroute.AsyncClient(target, timeout=0.05) as client:
                for number in range(5):
                    with pytest.raises(ServiceError, match="did not answer"):
                        await client.lookup(number)
            await until(lambda: asyncio.all_tasks() == {asyncio.current_task()})


async def test_a_close_cut_short_begins_no_stream() -> None:
    """What still waits when ``close`` is cancelled hears that the client is closed."""
    peer = Peer()
    peer.answer = never
    async with peer.running():
        client = numroute.AsyncClient(
            peer.target, coalescing=Coalescing(numbers_max=1, in_flight_max=1)
        )
        tasks = [asyncio.ensure_future(client.lookup(number)) for number in range(3)]
        await until(lambda: bool(peer.streams))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.close(), 0.05)
        found = await asyncio.gather(*tasks, return_exceptions=True)
        assert {str(each) for each in found} == {str(client_closed())}
        assert len(peer.streams) == 1


async def test_closing_ends_streams(server, registry) -> None:
    """After the client has been closed nothing of it is left; there is nothing to collect."""
    async with numroute.AsyncClient(server.target) as client:
        await client.lookup(FIRST)
        assert len(asyncio.all_tasks()) > 1
    # grpc's own tasks may take some turns of the loop.
    await until(lambda: asyncio.all_tasks() == {asyncio.current_task()})


async def test_a_service_that_stands_still(run_server, store, registry) -> None:
    """Numbers that it does not answer in time are told so; when it goes on, all is well again."""
    server = run_server(store.path)
    async with numroute.AsyncClient(server.target, timeout=1.0) as client:
        await client.lookup(FIRST)
        os.kill(server.process.pid, signal.SIGSTOP)
        try:
            found = await asyncio.gather(*map(client.lookup, NUMBERS), return_exceptions=True)
        finally:
            os.kill(server.process.pid, signal.SIGCONT)
        assert {error.code for error in found} == {"DEADLINE_EXCEEDED"}
        answers = await asyncio.gather(*(client.lookup(number, timeout=30.0) for number in NUMBERS))
        assert [answer.status for answer in answers] == [
            registry.answer(number)[0].status for number in NUMBERS
        ]


async def test_a_stopping_service_answers_first(run_server, store, registry) -> None:
    """A service that stops answers what it has read, and an idle stream does not hold it up."""
    server = run_server(store.path, drain_seconds=60.0)
    async with numroute.AsyncClient(server.target, timeout=20.0) as client:
        await client.lookup(FIRST)
        assert await asyncio.to_thread(server.stop) == 0
        with pytest.raises(ServiceError) as caught:
            await client.lookup(FIRST)
        assert caught.value.code == "UNAVAILABLE"
        assert "numroute serve" in str(caught.value.hint)


def private(path: Path, *lines: str) -> Path:
    """Write a file that only its owner can read."""
    path.unlink(missing_ok=True)
    path.touch(0o600)
    path.write_text("\n".join(lines), "ascii")
    return path


async def test_a_new_token_takes_a_new_stream(tmp_path, monkeypatch) -> None:
    """When the token is replaced, no number is asked for with the old one any more."""
    monkeypatch.setattr("numroute.client.security.TOKEN_CHECK_SECONDS", 0.0)
    file = private(tmp_path / "token", "before")
    security = ClientSecurity(token_file=file)
    async with (
        Peer().running() as peer,
        numroute.AsyncClient(peer.target, security=security) as client,
    ):
        await ask(client, 1)
        await ask(client, 2)
        private(file, "after")
        await ask(client, 3)
        await until(lambda: peer.ended == 1)
        await ask(client, 4)
        assert peer.tokens == ["Bearer before", "Bearer after"]
        assert [len(stream) for stream in peer.streams] == [2, 2]
        assert peer.calls == []


async def test_what_is_refused_is_told(run_server, store, tmp_path) -> None:
    """Numbers beyond a client's quota are refused with the reason, those before are answered."""
    authority = Authority.make(tmp_path / "tls")
    token, sha256 = new_token()
    tokens = private(tmp_path / "tokens", "small daily=100", token_line("small", sha256))
    server = run_server(
        store.path,
        security=Security(tls=authority.issue(), tokens=tokens, state=tmp_path / "state"),
    )
    security = ClientSecurity(ca=authority.path, token=token)
    async with numroute.AsyncClient(server.target, security=security) as client:
        found = [
            (await asyncio.gather(client.lookup(FIRST), return_exceptions=True))[0]
            for _ in range(103)
        ]
        assert [isinstance(each, ServiceError) for each in found] == [False] * 100 + [True] * 3
        assert {each.code for each in found[100:]} == {"RESOURCE_EXHAUSTED"}
        assert "may ask for 100 numbers a day" in str(found[-1])


async def test_what_is_wrong_is_told_as_soon_as_by_a_call(run_server, tmp_path) -> None:
    """Of a service without a snapshot a number hears why, within a timeout of its own."""
    SnapshotStore(tmp_path / "empty", create=True)
    server = run_server(tmp_path / "empty")
    async with numroute.AsyncClient(server.target) as client:
        with pytest.raises(ServiceError) as of_call:
            await client.lookup([FIRST])
        with pytest.raises(ServiceError) as of_number:
            await client.lookup(FIRST)
        assert str(of_number.value) == str(of_call.value)
        assert of_number.value.code == of_call.value.code == "UNAVAILABLE"
