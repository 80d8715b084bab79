"""Gathered numbers over a stream: which way they take, and what happens when it ends."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from typing import TYPE_CHECKING

import pytest
from support.files import private
from support.stream_peer import Peer, answered, ask, never, once, until

import numroute
from numroute.client import Coalescing, batch_stream
from numroute.client import Security as ClientSecurity
from numroute.client.channel import client_closed
from numroute.errors import ServiceError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


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
