"""A worker process: serves the supervisor's port until it is told to stop.

The supervisor starts it as a fresh interpreter: grpc does not survive a fork. Standard input brings
its settings and then stays open; its end means that the supervisor is gone. On standard output the
worker writes one JSON object a line: that it serves or why it cannot, and its reports.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pickle
import signal
import sys
from typing import BinaryIO

import msgspec

from numroute.errors import NumrouteError
from numroute.logs import log_loop_faults, make_logger
from numroute.server.memory import forbid_core_dumps
from numroute.server.metrics import Report
from numroute.server.settings import ServerSettings

CLOSE_SECONDS_MAX = 5.0
"""How long the last report may wait for the supervisor to read it."""


class Message(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A line from a worker to its supervisor.

    Attributes:
        ready: The worker answers calls.
        reason: Why it cannot serve; empty otherwise.
        hint: What to do about that.
        report: Its counts and state.
    """

    ready: bool = False
    reason: str = ""
    hint: str = ""
    report: Report | None = None


def main() -> int:
    """Serve as the supervisor says; return the exit code."""
    forbid_core_dumps()
    # A terminal that closes sends it to the whole group; only the supervisor acts on it.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    # The supervisor is this very program, and nobody else can write here.
    settings, number = pickle.load(sys.stdin.buffer)  # noqa: S301
    # What anything else prints must not come between our lines.
    output = os.fdopen(os.dup(sys.stdout.fileno()), "wb", buffering=0)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return asyncio.run(_run(settings, number, output))


async def _run(settings: ServerSettings, number: int, pipe: BinaryIO) -> int:
    """Serve until told to stop; return the exit code, 1 when a part of the service has failed."""
    from numroute.server.app import serve  # noqa: PLC0415 - grpc: not above

    log = make_logger().bind(worker=number)
    log_loop_faults(log)
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.connect_write_pipe(
        lambda: asyncio.StreamReaderProtocol(asyncio.StreamReader()), pipe
    )
    output = asyncio.StreamWriter(transport, protocol, None, loop)
    stop = asyncio.Event()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signal_number, stop.set)
    loop.add_reader(sys.stdin.fileno(), _on_input, stop)

    def send(message: Message) -> None:
        output.write(msgspec.json.encode(message) + b"\n")

    def report(report: Report) -> None:
        # Unless the supervisor has stopped reading: nothing piles up, and nothing waits.
        if not transport.is_closing() and not transport.get_write_buffer_size():
            send(Message(report=report))

    def ready() -> None:
        log.info("worker serving")
        send(Message(ready=True))

    try:
        worked = await serve(settings, number, log, report, ready, stop)
        log.info("worker stopped")
    except NumrouteError as error:
        send(Message(reason=error.message, hint=error.hint))
        worked = False
    output.close()
    # A supervisor that is gone reads nothing more.
    with contextlib.suppress(ConnectionError):
        async with asyncio.timeout(CLOSE_SECONDS_MAX):
            await output.wait_closed()
    return int(not worked)


def _on_input(stop: asyncio.Event) -> None:
    """Stop when the supervisor is gone, killed perhaps: nobody would restart or stop us."""
    if not os.read(sys.stdin.fileno(), 1):
        asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
        stop.set()


if __name__ == "__main__":
    sys.exit(main())
