"""Limits on slow clients, and headers that keep browsers from doing harm."""

from __future__ import annotations

import asyncio
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from uvicorn.protocols.http.h11_impl import H11Protocol

from numroute_web.problems import ProblemError

if TYPE_CHECKING:
    from litestar.types import ASGIApp, Message, Receive, ReceiveMessage, Scope, Send

HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
    (b"cross-origin-resource-policy", b"same-origin"),
)

POLICY: Final = (
    b"content-security-policy",
    (
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        b"connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
)
"""The policy of answers that do not set one."""

HEAD_SECONDS: Final = 15.0
"""How long the head of a request may take."""

IDLE_SECONDS: Final = 20.0
"""How long a client may send nothing of a body."""

SLOW_AFTER_SECONDS, BYTES_PER_SECOND_MIN = 30.0, 2_048
"""After the first, a body must have come at this rate on average."""

LINGER_SECONDS, LINGER_BYTES = 2.0, 8 << 20
"""How long, and how far, a refused body is read on: else its sender would not see the answer."""


class Http(H11Protocol):
    """HTTP/1.1 in which a request's head must come in time: an open connection costs a place."""

    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first head."""
        super().connection_made(transport)
        self._expect_head()

    def data_received(self, data: bytes) -> None:
        """Take bytes; the first ones of another head start its time."""
        super().data_received(data)
        if self.cycle is None or self.cycle.response_complete:
            self._expect_head()
        else:
            self._stop_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._stop_timer()
        super().connection_lost(exc)

    def _expect_head(self) -> None:
        if self._timer is None:
            self._timer = self.loop.call_later(HEAD_SECONDS, self._refuse)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _refuse(self) -> None:
        self.transport.write(b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\n\r\n")
        self.transport.close()


def harden(app: ASGIApp) -> ASGIApp:
    """Return the application with these headers and limits.

    A body must keep coming; one that nobody read ends its connection.
    """

    async def hardened(scope: Scope, receive: Receive, send: Send) -> None:
        body = _Body(receive)

        async def send_hardened(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = list(message.get("headers", []))
                names = {name.lower() for name, _ in headers}
                headers += [each for each in (*HEADERS, POLICY) if each[0] not in names]
                if body.has_more and _announces_body(scope):
                    await _linger(receive)
                    headers.append((b"connection", b"close"))
                message["headers"] = headers
            await send(message)

        await app(scope, body.receive, send_hardened)

    return hardened


class _Body:
    """A request's body as it comes.

    Attributes:
        has_more: Whether it has not ended, as far as is known.
    """

    __slots__ = ("_begin", "_receive", "_received", "has_more")

    def __init__(self, receive: Receive) -> None:
        self.has_more = True
        self._receive = receive
        self._begin = time.monotonic()
        self._received = 0

    async def receive(self) -> ReceiveMessage:
        """Return the next piece. Raises ProblemError if the body comes too slowly."""
        if not self.has_more:
            return await self._receive()
        try:
            async with asyncio.timeout(IDLE_SECONDS):
                message = await self._receive()
        except TimeoutError:
            raise _too_slow() from None
        self.has_more = message["type"] == "http.request" and message.get("more_body", False)
        if message["type"] == "http.request":
            self._received += len(message["body"])
        seconds = time.monotonic() - self._begin
        if (
            self.has_more
            and seconds > SLOW_AFTER_SECONDS
            and self._received < seconds * BYTES_PER_SECOND_MIN
        ):
            raise _too_slow()
        return message


def _too_slow() -> ProblemError:
    return ProblemError(
        "too-slow", HTTPStatus.REQUEST_TIMEOUT, "the request came too slowly", hint="Send it again"
    )


def _announces_body(scope: Scope) -> bool:
    names = dict(scope["headers"])
    return b"transfer-encoding" in names or names.get(b"content-length", b"0") != b"0"


async def _linger(receive: Receive) -> None:
    """Read on for a moment, and forget what comes."""
    left = LINGER_BYTES
    try:
        async with asyncio.timeout(LINGER_SECONDS):
            while left > 0:
                message = await receive()
                if message["type"] != "http.request" or not message.get("more_body", False):
                    return
                left -= len(message.get("body", b""))
    except TimeoutError:
        return
