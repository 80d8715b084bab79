"""What ``close`` does to calls under way: they fail, and are neither cancelled nor sent again."""

from __future__ import annotations

import asyncio
import threading

import pytest
from support.oracle import FIRST

import numroute
from numroute.errors import ServiceError

LARGE = [FIRST] * 10_000
"""A batch large enough for the gate to hold it, and each half of it."""


async def by_lookup(client) -> None:
    """Ask for a batch in several requests."""
    await client.lookup(LARGE)


async def by_stream(client) -> None:
    """Ask for a batch on a stream."""
    async for _ in client.stream([LARGE]):
        pass


@pytest.fixture
def held(run_server, store, gate):
    """Return a service that holds large batches."""
    server = run_server(store.path, before=gate.code)
    gate.shut()
    return server


@pytest.mark.parametrize("ask", [by_lookup, by_stream])
async def test_another_task_closes(ask, held, gate) -> None:
    """A call whose client is closed by another task ends with an error, not as if cancelled."""
    client = numroute.AsyncClient(held.target, timeout=30.0, numbers_per_chunk=5_000)
    asking = [asyncio.ensure_future(ask(client)) for _ in range(2)]
    await asyncio.to_thread(gate.wait_for_a_call)
    cancelled = asking.pop()
    cancelled.cancel()
    await client.close()
    with pytest.raises(ServiceError, match="client is closed") as caught:
        await asking.pop()
    assert caught.value.code == "CANCELLED"
    # Cancelling the task itself still works.
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    # A later call ends the same way.
    with pytest.raises(ServiceError, match="client is closed"):
        await ask(client)


@pytest.mark.parametrize("kind", ["one request", "two requests", "stream"])
def test_another_thread_closes(kind, held, gate) -> None:
    """A call whose client is closed by another thread ends with the same error, without retries."""
    size = 5_000 if kind == "two requests" else 10_000
    client = numroute.Client(held.target, timeout=30.0, numbers_per_chunk=size)

    def ask() -> None:
        if kind == "stream":
            list(client.stream([LARGE]))
        else:
            client.lookup(LARGE)

    def close() -> None:
        gate.wait_for_a_call()
        client.close()

    closing = threading.Thread(target=close)
    closing.start()
    with pytest.raises(ServiceError, match="client is closed") as caught:
        ask()
    closing.join()
    assert caught.value.code == "CANCELLED"
    with pytest.raises(ServiceError, match="client is closed"):
        ask()
