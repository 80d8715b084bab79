"""Numbers sent to another process and back: what any client of a service on this machine pays.

No gRPC, no message, no lookup: what is left are the tasks of the program that asks, its event loop,
two processes that wake each other, and the machine's own pauses. Run as
``python -m benchmarks.yardsticks.socket_echo`` it echoes one connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
import sys
from array import array
from collections import deque
from typing import TYPE_CHECKING, cast

from benchmarks.plans import ROOT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from numroute.client import NumberAnswer

_NUMBER_BYTES = 8
_READ_BYTES = 1 << 20


class SocketEcho(asyncio.Protocol):
    """Sends the numbers of one turn of the loop together; their answers are known beforehand."""

    def __init__(self, answers: Mapping[int, NumberAnswer]) -> None:
        """Answer from a mapping, once a number has come back."""
        self._answers = answers
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

    async def ask(self, number: int) -> NumberAnswer:
        """Return the answer to a number after it has been to the other process and back."""
        if not self._numbers:
            self._loop.call_soon(self._send)
        self._numbers.append(number)
        back = self._loop.create_future()
        self._waiting.append(back)
        await back
        return self._answers[number]

    def _send(self) -> None:
        self._transport.write(self._numbers.tobytes())
        self._numbers = array("Q")


@contextlib.asynccontextmanager
async def socket_echo(answers: Mapping[int, NumberAnswer]) -> AsyncIterator[SocketEcho]:
    """Run the other process until the block ends."""
    with subprocess.Popen(  # noqa: ASYNC220 - nothing else runs on this loop yet
        [sys.executable, "-m", __name__], stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as child:
        try:
            if child.stdout is None:
                raise AssertionError("a pipe was asked for")
            port = int(child.stdout.readline())
            transport, echo = await asyncio.get_running_loop().create_connection(
                lambda: SocketEcho(answers), "127.0.0.1", port
            )
            yield echo
            transport.close()
        finally:
            child.kill()


def main() -> None:
    """Echo one connection until it ends."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        sys.stdout.write(f"{listening.getsockname()[1]}\n")
        sys.stdout.flush()
        connection, _ = listening.accept()
    with connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while data := connection.recv(_READ_BYTES):
            connection.sendall(data)


if __name__ == "__main__":
    main()
