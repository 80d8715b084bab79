"""A worker process: answers calls on the supervisor's port, and stops without breaking a call.

The supervisor starts it as a fresh interpreter: grpc does not survive a fork. Standard input brings
its settings and then stays open; its end means that the supervisor is gone. On standard output the
worker writes one JSON object a line: that it serves or why it cannot, and its reports.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import pickle
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import BinaryIO

import grpc
import msgspec
from grpc_health.v1 import health as grpc_health
from grpc_health.v1 import health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from structlog.typing import FilteringBoundLogger

from numroute import wire
from numroute.errors import NumrouteError, SettingError
from numroute.index import SnapshotStore
from numroute.logs import fault_fields, log_loop_faults, make_logger
from numroute.server.certificates import Certificates
from numroute.server.follower import Follower
from numroute.server.health import Health
from numroute.server.limits import GRPC_OPTIONS
from numroute.server.memory import forbid_core_dumps, raise_file_limit
from numroute.server.metering import Meter
from numroute.server.metrics import Refusal, Report
from numroute.server.protection import Protection
from numroute.server.servicer import NumberRouting
from numroute.server.settings import ServerSettings
from numroute.server.tracing import make_tracing

SWITCH_SECONDS = 0.0005
"""How long a thread keeps the interpreter while the event loop waits for it. With Python's default,
ten times that, the loop waited up to 12 ms while a snapshot was opened; with this up to 3."""

CHECK_SECONDS = 0.05
"""How often a worker checks that its gRPC server still accepts calls."""

LEFT_OVER_SECONDS = 0.2
"""How long calls that never reached the service may delay the end of a drain."""

CLOSE_SECONDS_MAX = 5.0
"""How long the last report may wait for the supervisor to read it."""


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

    def send(message: Report | Refusal) -> None:
        # Unless the supervisor has stopped reading: nothing piles up, and nothing waits.
        if not transport.is_closing() and not transport.get_write_buffer_size():
            output.write(msgspec.json.encode(message) + b"\n")

    try:
        worked = await serve(settings, number, log, send, stop)
        log.info("worker stopped")
    except NumrouteError as error:
        send(Refusal(error.message, error.hint))
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


async def serve(
    settings: ServerSettings,
    worker: int,
    log: FilteringBoundLogger,
    send: Callable[[Report], None],
    stop: asyncio.Event,
) -> bool:
    """Answer calls on the settings' port until ``stop`` is set; then drain.

    ``send`` is called with a report of counts and state once calls are answered, and then each
    second. Returns whether all parts worked until the end. Raises NumrouteError if it cannot start.
    """
    raise_file_limit()
    sys.setswitchinterval(SWITCH_SECONDS)
    health = Health()
    store = SnapshotStore(settings.store)
    follower = Follower(store, log, max_age=settings.max_age, on_state=health.set_unready)
    protection = Protection(settings.security, log)
    certificates = protection.certificates
    meter = Meter(
        send=send, worker=worker, follower=follower, health=health, certificates=certificates
    )
    tracing = make_tracing(log)
    guards = [] if tracing is None else [tracing]
    service = NumberRouting(follower, log, [*guards, meter, *protection.guards])
    listener = Listener(settings, service, health, certificates, log)
    await follower.poll()
    # Otherwise garbage collection walks through all modules now and then: 15 ms amid a call.
    gc.collect()
    gc.freeze()
    await listener.start()
    log.info("worker serving")
    meter.report()
    parts = (follower, protection, meter, listener)
    tasks = [asyncio.create_task(part.run(stop), name=type(part).__name__) for part in parts]
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait({stopped, *tasks}, return_when=asyncio.FIRST_COMPLETED)
    broken = [] if stop.is_set() else [task for task in tasks if task.done()]
    for task in broken:
        fault = task.exception()
        log.error("service broken", part=task.get_name(), **(fault_fields(fault) if fault else {}))
    log.info("worker draining")
    health.drain()
    service.drain()
    stop.set()
    await listener.drain(settings.drain_seconds)
    await asyncio.gather(stopped, *tasks, return_exceptions=True)
    service.close()
    meter.report()
    follower.close()
    protection.close()
    if tracing is not None:
        await asyncio.to_thread(tracing.close)
    return not broken


@dataclass(slots=True, eq=False)
class Listener:
    """Accepts calls on the port, with a new gRPC server when the one before has broken down.

    grpc.aio (1.85) ends its server when it cannot parse a call at all, e.g. one whose path is not
    UTF-8. Anybody who reaches the port can send such a call. Calls under way continue on the old
    server.
    """

    _settings: ServerSettings
    _service: NumberRouting
    _health: Health
    _certificates: Certificates | None
    _log: FilteringBoundLogger
    _servers: list[grpc.aio.Server] = field(default_factory=list, init=False)

    async def start(self) -> None:
        """Begin to accept calls; those of a server before are answered to their end."""
        # The supervisor holds the port against other services; its workers share it.
        server = grpc.aio.server(options=(*GRPC_OPTIONS, ("grpc.so_reuseport", 1)))
        server.add_generic_rpc_handlers((self._service.handler(),))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        if self._settings.security.offers_reflection(self._settings.host):
            names = (wire.SERVICE_NAME, grpc_health.SERVICE_NAME, reflection.SERVICE_NAME)
            reflection.enable_server_reflection(names, server)
        address = self._settings.listen
        try:
            if self._certificates is not None:
                server.add_secure_port(address, self._certificates.server_credentials())
            else:
                server.add_insecure_port(address)
        except RuntimeError:
            # The supervisor holds the port, so this is rare, and gRPC only logs the reason.
            raise SettingError(
                f"gRPC cannot listen on {address}",
                hint="Set GRPC_VERBOSITY=ERROR to see its reason, then start again",
            ) from None
        await server.start()
        self._servers.append(server)

    async def run(self, stop: asyncio.Event) -> None:
        """Replace broken servers until ``stop`` is set."""
        while not stop.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), CHECK_SECONDS)
            # There is no public way: wait_for_termination also waits for the calls under way.
            runs: bool = self._servers[-1]._server.is_running()  # type: ignore[attr-defined]  # noqa: SLF001
            if not stop.is_set() and not runs:
                self._log.error("grpc server broken")
                # At most one broken server ends its calls beside the new one; those before it had
                # their time.
                *earlier, last = self._servers
                for server in earlier:
                    await server.stop(None)
                self._servers = [last]
                await self.start()

    async def drain(self, limit: float) -> None:
        """Accept no more calls, and end when those under way have ended, at the latest at a limit.

        A call that arrives while the service stops can be accepted by grpc and never be handed to
        us; ``stop`` would wait its full limit for it, and so would its client. When no call of the
        service is under way, the rest is cancelled: clients ask again, elsewhere.
        """
        stopping = asyncio.gather(*(server.stop(limit) for server in self._servers))
        while not stopping.done():
            await asyncio.wait({stopping}, timeout=LEFT_OVER_SECONDS)
            if not self._service.pipeline.under_way:
                for server in self._servers:
                    await server.stop(None)
        await stopping


if __name__ == "__main__":
    sys.exit(main())
