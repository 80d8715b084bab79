"""The port: one supervisor holds it, the gRPC servers of its workers listen on it together."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable

import grpc
from structlog.typing import FilteringBoundLogger

from numroute.errors import SettingError
from numroute.server.settings import ServerSettings

POLL_SECONDS = 0.05
"""How often a worker checks that its gRPC server still accepts calls."""


class HeldPort:
    """An address kept from others; only sockets with SO_REUSEPORT of the same user may share it.

    The sockets here never listen, so that no connection is ever given to them.

    Attributes:
        number: The port, chosen by the system where port 0 was asked for.
    """

    def __init__(self, settings: ServerSettings) -> None:
        """Take the address.

        Raises:
            SettingError: The address cannot be listened on; the message has the system's reason.
        """
        self._sockets: list[socket.socket] = []
        self.number = settings.port
        try:
            addresses = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)
            for family, kind, protocol, _, address in addresses:
                held = socket.socket(family, kind, protocol)
                self._sockets.append(held)
                # Closed connections of an earlier service do not keep the port.
                held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                held.bind((address[0], self.number, *address[2:]))
                # Bound exclusively and shared afterwards: a second supervisor is refused, though
                # its workers could share the port and would take half of the calls.
                held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
                held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                self.number = held.getsockname()[1]
        except OSError as error:
            self.close()
            raise SettingError(
                f"cannot listen on {settings.listen}: {error.strerror or 'refused'}",
                hint="Stop what listens there, or choose another address",
            ) from None

    def close(self) -> None:
        """Give the address up."""
        for held in self._sockets:
            held.close()


class Listener:
    """Accepts calls on the port, with a new gRPC server when the one before has broken down.

    grpc.aio (1.85) ends its server when it cannot parse a call at all, e.g. one whose path is not
    UTF-8. Anybody who reaches the port can send such a call. Calls under way continue on the old
    server.
    """

    def __init__(self, make: Callable[[], grpc.aio.Server], log: FilteringBoundLogger) -> None:
        """Listen with servers that ``make`` binds to the port; log when one breaks down."""
        self._make = make
        self._log = log
        self._servers: list[grpc.aio.Server] = []

    async def start(self) -> None:
        """Begin to accept calls; those of a server before are answered to their end."""
        server = self._make()
        await server.start()
        self._servers.append(server)

    async def run(self, stop: asyncio.Event) -> None:
        """Replace broken servers until ``stop`` is set."""
        while not stop.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL_SECONDS):
                    await stop.wait()
            if not stop.is_set() and not _runs(self._servers[-1]):
                self._log.error("grpc server broken")
                # At most one broken server ends its calls beside the new one; those before it had
                # their time.
                *earlier, last = self._servers
                for server in earlier:
                    await server.stop(None)
                self._servers = [last]
                await self.start()

    async def stop(self, limit: float | None) -> None:
        """Accept no more calls; return when those under way have ended, or at the limit."""
        await asyncio.gather(*(server.stop(limit) for server in self._servers))


def _runs(server: grpc.aio.Server) -> bool:
    # There is no public way: wait_for_termination also waits for the calls under way.
    running: bool = server._server.is_running()  # type: ignore[attr-defined]  # noqa: SLF001
    return running
