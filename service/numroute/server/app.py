"""Assemble the service in a worker process, and stop it without breaking a call."""

from __future__ import annotations

import asyncio
import functools
import gc
import sys
from collections.abc import Callable

import grpc
from grpc_health.v1 import health as grpc_health
from grpc_health.v1 import health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from structlog.typing import FilteringBoundLogger

from numroute import wire
from numroute.errors import SettingError
from numroute.index import SnapshotStore
from numroute.logs import fault_fields
from numroute.server.certificates import Certificates
from numroute.server.follower import Follower
from numroute.server.health import Health
from numroute.server.limits import GRPC_OPTIONS, raise_file_limit
from numroute.server.metering import Reporter
from numroute.server.metrics import Report
from numroute.server.port import Listener
from numroute.server.protection import Protection
from numroute.server.servicer import NumberRouting
from numroute.server.settings import ServerSettings
from numroute.server.tracing import make_tracing

SWITCH_SECONDS = 0.0005
"""How long a thread keeps the interpreter while the event loop waits for it.

Python's default is ten times that. Opening a snapshot takes 10 ms of Python and more: meanwhile the
loop waited up to 12 ms for the interpreter when it woke up, and up to 3 with this value.
"""

LEFT_OVER_SECONDS = 0.2
"""How long calls that never reached the service may delay the end of a drain."""


async def serve(
    settings: ServerSettings,
    worker: int,
    log: FilteringBoundLogger,
    send: Callable[[Report], None],
    on_ready: Callable[[], None],
    stop: asyncio.Event,
) -> bool:
    """Answer calls on the settings' port until ``stop`` is set; then drain.

    ``on_ready`` is called once calls are answered, ``send`` with a report of counts and state each
    second, if the settings count calls. Returns whether all parts worked until the end.
    Raises SettingError or InputError for a file of the settings that is not valid.
    """
    raise_file_limit()
    sys.setswitchinterval(SWITCH_SECONDS)
    health = Health()
    store = SnapshotStore(settings.store)
    follower = Follower(store, log, max_age=settings.max_age, on_state=health.set_unready)
    protection = Protection(settings.security, log)
    certificates = protection.certificates
    reporter = None
    guards = protection.guards
    if settings.counts_calls:
        reporter = Reporter(
            send, worker=worker, follower=follower, health=health, certificates=certificates
        )
        guards = (reporter.first, *guards, reporter.last)
    tracing = make_tracing(log)
    if tracing is not None:
        guards = (tracing, *guards)
    service = NumberRouting(follower, log, guards)

    make = functools.partial(_make_server, settings, service, health, certificates)
    listener = Listener(make, log)
    await follower.poll()
    # To walk through modules and the service itself takes 15 ms and more, in the middle of a call.
    gc.collect()
    gc.freeze()
    await listener.start()
    if reporter is not None:
        # Before anybody learns that calls are answered, the metrics show it.
        reporter.report()
    parts = [part for part in (follower, protection, reporter, listener) if part is not None]
    tasks = [asyncio.create_task(part.run(stop), name=type(part).__name__) for part in parts]
    stopped = asyncio.create_task(stop.wait())
    on_ready()
    await asyncio.wait({stopped, *tasks}, return_when=asyncio.FIRST_COMPLETED)
    broken = [] if stop.is_set() else [task for task in tasks if task.done()]
    for task in broken:
        fault = task.exception()
        log.error("service broken", part=task.get_name(), **(fault_fields(fault) if fault else {}))
    log.info("worker draining")
    health.drain()
    service.drain()
    stop.set()
    await _drain(listener, service, settings.drain_seconds)
    await asyncio.gather(stopped, *tasks, return_exceptions=True)
    service.close()
    if reporter is not None:
        reporter.report()
    follower.close()
    protection.close()
    if tracing is not None:
        await asyncio.to_thread(tracing.close)
    return not broken


def _make_server(
    settings: ServerSettings,
    service: NumberRouting,
    health: Health,
    certificates: Certificates | None,
) -> grpc.aio.Server:
    """Return a gRPC server bound to the settings' port. Raises SettingError."""
    # The supervisor holds the port against other services; its workers share it.
    server = grpc.aio.server(options=(*GRPC_OPTIONS, ("grpc.so_reuseport", 1)))
    server.add_generic_rpc_handlers((service.handler(),))
    health_pb2_grpc.add_HealthServicer_to_server(health, server)
    if settings.security.offers_reflection(settings.host):
        reflection.enable_server_reflection(
            (wire.SERVICE_NAME, grpc_health.SERVICE_NAME, reflection.SERVICE_NAME), server
        )
    try:
        if certificates is not None:
            server.add_secure_port(settings.listen, certificates.server_credentials())
        else:
            server.add_insecure_port(settings.listen)
    except RuntimeError:
        # The supervisor holds the port, so this is rare, and gRPC tells the reason only to its log.
        raise SettingError(
            f"gRPC cannot listen on {settings.listen}",
            hint="Set GRPC_VERBOSITY=ERROR to see its reason, then start again",
        ) from None
    return server


async def _drain(listener: Listener, service: NumberRouting, limit: float) -> None:
    """Accept no more calls, and end when those under way have ended, at the latest at the limit.

    A call that arrives while the service stops can be accepted by grpc and never be handed to us;
    ``stop`` would wait its full limit for it, and so would its client. When no call of the service
    is under way, the rest is cancelled: clients ask again, elsewhere.
    """
    stopping = asyncio.ensure_future(listener.stop(limit))
    while not stopping.done():
        await asyncio.wait({stopping}, timeout=LEFT_OVER_SECONDS)
        if not service.pipeline.under_way:
            await listener.stop(None)
    await stopping
