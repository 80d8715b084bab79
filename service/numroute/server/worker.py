"""One process of a service of several: it serves the supervisor's port until it is told to stop.

It is started by the supervisor as a fresh interpreter: grpc does not survive a fork. Standard input
brings its settings and then stays open; its end means that the supervisor is gone. On standard
output it says, one JSON object a line, that it serves or why it cannot.
"""

from __future__ import annotations

import asyncio
import json
import os
import pickle
import signal
import sys
from typing import TYPE_CHECKING, Any

from numroute.errors import NumrouteError
from numroute.index import SnapshotStore
from numroute.logs import make_logger
from numroute.server.background import log_background_faults

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

    from numroute.server.settings import ServerSettings

LENGTH_BYTES = 8
READY = "ready"
REASON = "reason"
HINT = "hint"


def settings_message(settings: ServerSettings, number: int) -> bytes:
    """Return what a worker reads first: its settings, with the port, and its number."""
    told = pickle.dumps((settings, number))
    return len(told).to_bytes(LENGTH_BYTES, "big") + told


def main() -> int:
    """Serve as the supervisor says; return the exit code."""
    # A terminal sends it to the whole group when it closes; to us only the supervisor speaks.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    told = sys.stdin.buffer
    length = int.from_bytes(told.read(LENGTH_BYTES), "big")
    # The supervisor is this very program, and no other can write here.
    settings, number = pickle.loads(told.read(length))  # noqa: S301
    try:
        failed = asyncio.run(_serve(settings, number, make_logger().bind(worker=number)))
    except NumrouteError as error:
        _say({REASON: error.message, HINT: error.hint})
        return 1
    return int(failed)


async def _serve(settings: ServerSettings, number: int, log: FilteringBoundLogger) -> bool:
    """Serve until the end; return whether a part of the service has failed."""
    from numroute.server.app import serving, stop_on_signals  # noqa: PLC0415 - grpc: not above

    log_background_faults(log)
    stop = stop_on_signals()
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), _on_input, stop)
    store = SnapshotStore(settings.store)
    async with serving(settings, store, log, shared_port=True, worker=number) as running:
        log.info("worker serving")
        _say({READY: True})
        await running.until_over(stop)
        log.info("worker draining")
    log.info("worker stopped")
    return running.failed.is_set()


def _on_input(stop: asyncio.Event) -> None:
    """Stop when the supervisor is gone, killed perhaps: nobody would restart or stop us."""
    if not os.read(sys.stdin.fileno(), 1):
        asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
        stop.set()


def _say(message: dict[str, Any]) -> None:
    print(json.dumps(message), flush=True)  # noqa: T201 - the supervisor reads it


if __name__ == "__main__":
    sys.exit(main())
