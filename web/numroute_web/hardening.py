"""What every answer gets: headers that keep browsers from doing harm, and an end to the request."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

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
"""The policy of every answer that has none of its own."""

LINGER_SECONDS, LINGER_BYTES = 2.0, 8 << 20
"""How long, and how far, a refused body is read on: else its sender would not see the answer."""


def harden(app: ASGIApp) -> ASGIApp:
    """Return the application with these headers; a body that nobody read ends its connection."""

    async def hardened(scope: Scope, receive: Receive, send: Send) -> None:
        has_more = True

        async def receive_watched() -> ReceiveMessage:
            nonlocal has_more
            message = await receive()
            has_more = message["type"] == "http.request" and message.get("more_body", False)
            return message

        async def send_hardened(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = list(message.get("headers", []))
                names = {name.lower() for name, _ in headers}
                headers += [each for each in (*HEADERS, POLICY) if each[0] not in names]
                if has_more and _announces_body(scope):
                    await _linger(receive_watched)
                    if has_more:
                        headers.append((b"connection", b"close"))
                message["headers"] = headers
            await send(message)

        await app(scope, receive_watched, send_hardened)

    return hardened


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
