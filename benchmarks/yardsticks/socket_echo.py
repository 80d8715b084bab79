"""Numbers sent to another process and back: what any client of a service on this machine pays.

No gRPC, no message, no lookup: what is left are the tasks of the asking program, its event loop,
and two processes that wake each other. ``python -m benchmarks.yardsticks.socket_echo`` echoes one
connection after another.
"""

from __future__ import annotations

import asyncio
import socket
from array import array
from collections import deque
from typing import Any, cast

_NUMBER_BYTES = 8
_READ_BYTES = 1 << 20


class SocketEcho(asyncio.Protocol):
    """Sends the numbers of one turn of the loop together, and wakes each task with its own."""

    def __init__(self) -> None:
        """Make it inside the loop."""
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._numbers = array("Q")
        self._partial = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Wake the tasks whose numbers have come back."""
        count, self._partial = divmod(self._partial + len(data), _NUMBER_BYTES)
        for _ in range(count):
            self._waiting.popleft().set_result(None)

    async def lookup(self, number: int) -> Any:  # noqa: ANN401 - it has no answer
        """Return once the number has been to the other process and back."""
        if not self._numbers:
            self._loop.call_soon(self._send)
        self._numbers.append(number)
        back = self._loop.create_future()
        self._waiting.append(back)
        await back

    def _send(self) -> None:
        self._transport.write(self._numbers.tobytes())
        self._numbers = array("Q")


def main() -> None:
    """Echo until the process is ended."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        print(f"127.0.0.1:{listening.getsockname()[1]}", flush=True)
        while True:
            connection, _ = listening.accept()
            with connection:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                while data := connection.recv(_READ_BYTES):
                    connection.sendall(data)


if __name__ == "__main__":
    main()
