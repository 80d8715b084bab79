"""Clients that are slow: heads and bodies over a real socket, with small limits."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
import uvicorn
from litestar import Litestar, Request, post

from numroute_web import hardening
from numroute_web.app import SERVER_OPTIONS, listen
from numroute_web.hardening import harden
from numroute_web.service import exception_handlers


@post("/")
async def length(request: Request) -> int:
    """Read the body."""
    return len(await request.body())


async def answer(*pieces: bytes, pause: float = 0.0) -> bytes:
    """Send pieces to a service and read what it answers until it closes the connection."""
    app = Litestar([length], exception_handlers=exception_handlers(None), openapi_config=None)
    listener = listen("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(harden(app), **SERVER_OPTIONS))
    serving = asyncio.create_task(server.serve([listener]))
    reader, writer = await asyncio.open_connection(*listener.getsockname())
    reading = asyncio.create_task(reader.readuntil(b"\r\n\r\n"))
    for piece in pieces:
        if not reading.done():
            writer.write(piece)
            await asyncio.sleep(pause)
    found = await asyncio.wait_for(reading, 20)
    with contextlib.suppress(ConnectionResetError):  # what was still under way meets a closed door
        found += await reader.read()
    writer.close()
    server.should_exit = True
    await serving
    return found


HEAD = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 10000\r\n"


@pytest.mark.parametrize("begun", [b"", b"P", HEAD])
def test_a_head_that_does_not_end_is_refused(monkeypatch, begun) -> None:
    """A connection that says nothing, or not enough, is closed after a while."""
    monkeypatch.setattr(hardening, "HEAD_SECONDS", 0.2)
    assert asyncio.run(answer(begun)).startswith(b"HTTP/1.1 408")


def test_heads_in_many_pieces_have_no_more_time(monkeypatch) -> None:
    """Each byte does not begin the time anew."""
    monkeypatch.setattr(hardening, "HEAD_SECONDS", 0.2)
    pieces = [HEAD[place : place + 1] for place in range(len(HEAD))]
    assert asyncio.run(answer(*pieces, pause=0.02)).startswith(b"HTTP/1.1 408")


def test_a_body_that_stops_is_refused(monkeypatch) -> None:
    """Half a body is answered 408 when nothing more comes."""
    monkeypatch.setattr(hardening, "IDLE_SECONDS", 0.2)
    monkeypatch.setattr(hardening, "LINGER_SECONDS", 0.1)
    found = asyncio.run(answer(HEAD + b"\r\n", b"1" * 10))
    assert found.startswith(b"HTTP/1.1 408")
    assert b"urn:numroute:problem:too-slow" in found


def test_a_body_that_trickles_is_refused(monkeypatch) -> None:
    """A byte now and then does not keep a request open."""
    monkeypatch.setattr(hardening, "SLOW_AFTER_SECONDS", 0.2)
    monkeypatch.setattr(hardening, "LINGER_SECONDS", 0.1)
    found = asyncio.run(answer(HEAD + b"\r\n", *[b"1"] * 20, pause=0.03))
    assert b"urn:numroute:problem:too-slow" in found
