"""gRPC's server in one process, made anew when it has broken down."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from numroute.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Callable

    import grpc
    from structlog.typing import FilteringBoundLogger

    Make = Callable[[int | None], tuple[grpc.aio.Server, int]]
    """Make a server that listens on this port, or on the one of the settings; return the port."""

POLL_SECONDS = 0.05
"""How often it is looked whether the server still takes calls."""

BIND_SECONDS_MAX = 5.0
"""How long the port may stay taken by the server before."""


class Listening:
    """Takes calls on one port, by a new server when the one before has broken down.

    grpc.aio (1.85) ends its server when it cannot make out a call at all, as one whose path is no
    UTF-8. Whoever reaches the port can send such a one. Calls under way go on at the old server.
    """

    def __init__(self, make: Make, log: FilteringBoundLogger) -> None:
        """Listen by servers that ``make`` makes; that one broke goes to the log."""
        self._make = make
        self._log = log
        self._servers: list[grpc.aio.Server] = []
        self.port = 0

    async def start(self) -> None:
        """Begin to take calls.

        Raises:
            SettingError: The address cannot be listened on.
        """
        server, self.port = self._make(None)
        self._servers.append(server)
        await server.start()

    async def run(self, stop: asyncio.Event) -> None:
        """Replace what has broken down until ``stop`` is set.

        Raises:
            SettingError: The port is not to be had again.
        """
        while not stop.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL_SECONDS):
                    await stop.wait()
            if not stop.is_set() and not _runs(self._servers[-1]):
                self._log.error("grpc server broken", port=self.port)
                await self._start_another()

    async def stop(self, limit: float | None) -> None:
        """Take no more calls, and return when those under way have ended, at most at the limit."""
        await asyncio.gather(*(server.stop(limit) for server in self._servers))

    async def _start_another(self) -> None:
        # Those that broke before have had their time; at most one ends its calls beside the new.
        *earlier, last = self._servers
        for server in earlier:
            await server.stop(None)
        until = asyncio.get_running_loop().time() + BIND_SECONDS_MAX
        while True:
            try:
                server, _ = self._make(self.port)
                break
            except SettingError:
                # Its socket may not be closed yet.
                if asyncio.get_running_loop().time() > until:
                    raise
                await asyncio.sleep(POLL_SECONDS)
        await server.start()
        self._servers = [last, server]


def _runs(server: grpc.aio.Server) -> bool:
    # grpc tells it in no other way: wait_for_termination waits for the calls under way as well.
    running: bool = server._server.is_running()  # type: ignore[attr-defined]  # noqa: SLF001
    return running
