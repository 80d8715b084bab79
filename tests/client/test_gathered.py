"""Gathered numbers and a service that stops, stands still, refuses or says nothing."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Callable

import grpc.aio
import pytest
from support.certificates import Authority
from support.files import private
from support.oracle import FIRST

import numroute
from numroute import wire
from numroute.client import Coalescing
from numroute.client import Security as ClientSecurity
from numroute.client.channel import client_closed
from numroute.errors import ServiceError
from numroute.index import SnapshotStore
from numroute.server.auth import new_token, token_entry
from numroute.server.settings import Security

NUMBERS = range(FIRST, FIRST + 100)


async def until(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - nothing announces it
            await asyncio.sleep(0.01)


async def test_closing_leaves_nothing_behind(server, registry) -> None:
    """After the client has been closed no task of it is left."""
    async with numroute.AsyncClient(server.target) as client:
        await client.lookup(FIRST)
    # grpc's own tasks may take some turns of the loop.
    await until(lambda: asyncio.all_tasks() == {asyncio.current_task()})


async def test_a_service_that_stands_still(run_server, store, registry) -> None:
    """Numbers that it does not answer in time fail; when it goes on, they are answered again."""
    server = run_server(store.path)
    async with numroute.AsyncClient(server.target, timeout=1.0) as client:
        await client.lookup(FIRST)
        server.send_signal(signal.SIGSTOP)
        try:
            found = await asyncio.gather(*map(client.lookup, NUMBERS), return_exceptions=True)
        finally:
            server.send_signal(signal.SIGCONT)
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


async def test_a_refusal_gives_its_reason(run_server, store, tmp_path) -> None:
    """Numbers beyond a client's quota are refused with the reason, those before are answered."""
    authority = Authority.make(tmp_path / "tls")
    token, sha256 = new_token()
    tokens = private(
        tmp_path / "tokens", "[clients.small]\ndaily = 100", token_entry("small", sha256)
    )
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


async def test_a_number_fails_as_a_batch_does(run_server, tmp_path) -> None:
    """Without a snapshot in service, a number gets the same error as a batch."""
    SnapshotStore(tmp_path / "empty", create=True)
    server = run_server(tmp_path / "empty")
    async with numroute.AsyncClient(server.target) as client:
        with pytest.raises(ServiceError) as of_call:
            await client.lookup([FIRST])
        with pytest.raises(ServiceError) as of_number:
            await client.lookup(FIRST)
        assert str(of_number.value) == str(of_call.value)
        assert of_number.value.code == of_call.value.code == "UNAVAILABLE"


async def test_a_host_that_says_nothing() -> None:
    """A connection that comes to nothing leaves nothing behind, and holds up no close."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        async with asyncio.timeout(20):
            target = f"127.0.0.1:{silent.getsockname()[1]}"
            async with numroute.AsyncClient(target, timeout=0.05) as client:
                for number in range(5):
                    with pytest.raises(ServiceError, match=r"did not answer|cannot reach"):
                        await client.lookup(number)
            await until(lambda: asyncio.all_tasks() == {asyncio.current_task()})


async def test_a_close_cut_short_ends_every_wait() -> None:
    """Numbers that still wait when ``close`` is cancelled end with the client's own error."""
    asked = asyncio.Event()

    async def never(_request: bytes, _context: object) -> bytes:
        asked.set()
        await asyncio.Event().wait()
        return b""

    service = grpc.aio.server()
    handlers = {"BulkLookup": grpc.unary_unary_rpc_method_handler(never)}
    service.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(wire.SERVICE_NAME, handlers),)
    )
    target = f"127.0.0.1:{service.add_insecure_port('127.0.0.1:0')}"
    await service.start()
    client = numroute.AsyncClient(target, coalescing=Coalescing(numbers_max=1, in_flight_max=1))
    tasks = [asyncio.ensure_future(client.lookup(number)) for number in range(3)]
    await asked.wait()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(client.close(), 0.05)
    found = await asyncio.gather(*tasks, return_exceptions=True)
    assert {str(error) for error in found} == {str(client_closed())}
    await service.stop(None)
