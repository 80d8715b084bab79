"""Start the service, announce it, and end it without breaking a call."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc
from grpc_health.v1 import health as grpc_health
from grpc_health.v1 import health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from numroute import wire
from numroute.index import SnapshotStore
from numroute.logs import fault_fields, make_logger
from numroute.server.background import log_background_faults
from numroute.server.bounds import OPTIONS, allow_many_files
from numroute.server.follower import Follower
from numroute.server.health import Health
from numroute.server.listening import Listening
from numroute.server.memory import keep_freed_memory, spare_what_stays
from numroute.server.observation import observed
from numroute.server.port import cannot_listen
from numroute.server.protection import Protection
from numroute.server.reporter import Reporter
from numroute.server.servicer import NumberRouting
from numroute.server.tracing import make_tracing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable

    from structlog.typing import FilteringBoundLogger

    from numroute.server.certificates import Certificates
    from numroute.server.settings import ServerSettings

SWITCH_SECONDS = 0.0005
"""How long a thread keeps the interpreter while the event loop waits for it.

Python's default is ten times that. Opening a snapshot takes 10 ms of Python and more: meanwhile the
loop waited up to 12 ms for the interpreter when it woke up, and up to 3 so.
"""

LEFT_OVER_SECONDS = 0.2
"""How long calls that the service does not know of may hold up the end of a drain."""


@dataclass(frozen=True, slots=True)
class Running:
    """A service that answers calls.

    Attributes:
        port: Where it listens.
        failed: Set when a part of it has ended that must not: the process should end as well.
    """

    port: int
    failed: asyncio.Event

    async def until_over(self, stop: asyncio.Event) -> None:
        """Wait until it is told to stop or has failed."""
        waiting = [asyncio.create_task(each.wait()) for each in (stop, self.failed)]
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waiting:
                each.cancel()


def serve_alone(settings: ServerSettings, *, on_ready: Callable[[int], None] | None = None) -> int:
    """Serve in this process until SIGTERM or SIGINT, then drain; return the exit code.

    Args:
        settings: What to serve, and where.
        on_ready: Called with the port once calls are answered.

    Raises:
        StoreMissingError: There is no store at the path.
        SettingError: The address cannot be listened on, e.g. because the port is in use, or the
            certificate is not right.
    """
    store, log = SnapshotStore(settings.store), make_logger()

    async def serve() -> bool:
        log_background_faults(log)
        stop = stop_on_signals()
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGHUP, lambda: log.warning("nothing to replace"))
        # Not shared: a second server on the same port would silently take half the calls.
        async with serving(watched, store, log, shared_port=False) as running:
            host = settings.listen.rpartition(":")[0]
            log.info("serving", address=f"{host}:{running.port}", workers=1)
            if on_ready is not None:
                on_ready(running.port)
            await running.until_over(stop)
            log.info("draining", drain_seconds=settings.drain_seconds)
            return running.failed.is_set()

    with observed(settings, log) as watched:
        failed = asyncio.run(serve())
    log.info("stopped")
    return int(failed)


def stop_on_signals() -> asyncio.Event:
    """Return an event that SIGTERM or SIGINT sets; to be called in the loop's main thread."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


@contextlib.asynccontextmanager
async def serving(
    settings: ServerSettings,
    store: SnapshotStore,
    log: FilteringBoundLogger,
    *,
    shared_port: bool,
    worker: int = 1,
) -> AsyncIterator[Running]:
    """Answer calls on the port that is given, as this worker, until the block ends; then drain.

    Raises:
        SettingError: The address cannot be listened on, or the certificate is not right.
    """
    keep_freed_memory()
    allow_many_files()
    sys.setswitchinterval(SWITCH_SECONDS)
    health = Health()
    follower = Follower(store, log, max_age=settings.max_age, on_state=health.tell)
    protection = Protection(settings.security, log)
    guards = protection.guards
    running: list[Follower | Protection | Reporter | Listening] = [follower, protection]
    reporter = None
    if settings.reports is not None:
        reporter = Reporter(
            settings.reports,
            worker,
            follower=follower,
            health=health,
            certificates=protection.certificates,
            log=log,
        )
        guards = (reporter.first, *guards, reporter.last)
        running.append(reporter)
    tracing = make_tracing(log)
    if tracing is not None:
        guards = (tracing, *guards)
    service = NumberRouting(follower, log, guards)

    def make(port: int | None) -> tuple[grpc.aio.Server, int]:
        server = grpc.aio.server(options=(*OPTIONS, ("grpc.so_reuseport", int(shared_port))))
        server.add_generic_rpc_handlers((service.handler(),))
        health_pb2_grpc.add_HealthServicer_to_server(health, server)
        if settings.security.offers_reflection(settings.host):
            reflection.enable_server_reflection(
                (wire.SERVICE_NAME, grpc_health.SERVICE_NAME, reflection.SERVICE_NAME), server
            )
        return server, _listen(server, settings, port, protection.certificates)

    listening = Listening(make, log)
    running.append(listening)
    await follower.poll()
    spare_what_stays()
    await listening.start()
    if reporter is not None:
        # Whoever is told that calls are answered finds that in the reports as well.
        reporter.write()
    stop, failed = asyncio.Event(), asyncio.Event()
    following = [asyncio.create_task(part.run(stop), name=type(part).__name__) for part in running]
    _watch(following, stop, failed, log)
    try:
        yield Running(listening.port, failed)
    finally:
        health.drain()
        service.drain()
        stop.set()
        await _drain(listening, service, settings.drain_seconds)
        # What broke was told when it did; the rest must be closed all the same.
        await asyncio.gather(*following, return_exceptions=True)
        service.close()
        if reporter is not None:
            reporter.write()
        follower.close()
        protection.close()
        if tracing is not None:
            await asyncio.to_thread(tracing.close)


def _watch(
    tasks: Iterable[asyncio.Task[Any]],
    stop: asyncio.Event,
    failed: asyncio.Event,
    log: FilteringBoundLogger,
) -> None:
    """Set ``failed`` when one of the tasks ends before ``stop`` is set."""

    def ended(task: asyncio.Task[Any]) -> None:
        if not stop.is_set():
            fault = None if task.cancelled() else task.exception()
            fields = {} if fault is None else fault_fields(fault)
            log.error("service broken", part=task.get_name(), **fields)
            failed.set()

    for task in tasks:
        task.add_done_callback(ended)


async def _drain(server: Listening, service: NumberRouting, limit: float) -> None:
    """Accept no more calls, and end when those under way have ended, at the latest at the limit.

    A call that arrives in the moment of stopping can be accepted by grpc and never be handed to the
    service; ``stop`` would wait its full limit for it, and so would its client. When no call of the
    service is under way, what is left is cancelled: clients ask again, elsewhere.
    """
    stopping = asyncio.ensure_future(server.stop(limit))
    while not stopping.done():
        await asyncio.wait({stopping}, timeout=LEFT_OVER_SECONDS)
        if not service.under_way:
            await server.stop(None)
    await stopping


def _listen(
    server: grpc.aio.Server,
    settings: ServerSettings,
    port: int | None,
    certificates: Certificates | None,
) -> int:
    """Bind the server's address, or another port of it, and return the port."""
    listen = settings.listen
    if port is not None:
        listen = f"{listen.rpartition(':')[0]}:{port}"
    try:
        if certificates is not None:
            return server.add_secure_port(listen, certificates.server_credentials())
        return server.add_insecure_port(listen)
    except RuntimeError:
        # grpc tells the reason in its own log only: ask the system once more to be able to say it.
        reason = _bind_error(settings) or "refused"
        raise cannot_listen(settings, reason) from None


def _bind_error(settings: ServerSettings) -> str | None:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.bind(address)
    except OSError as error:
        return error.strerror
    return None
