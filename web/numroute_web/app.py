"""The application, and running it."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import importlib.metadata
import os
import signal
import socket
import sqlite3
from collections.abc import Iterator
from typing import Any, Final

import uvicorn
from litestar import Litestar, Request, get
from litestar.datastructures import State
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import Components, SecurityScheme
from structlog.typing import FilteringBoundLogger

from numroute.errors import SettingError
from numroute.index import SnapshotStore
from numroute.logs import log_loop_faults, make_logger
from numroute.server.follower import Follower
from numroute.server.health import Health
from numroute.server.memory import forbid_core_dumps, raise_file_limit
from numroute.server.metering import Meter
from numroute.server.metrics import Reports, audit
from numroute.server.protection import Protection
from numroute.server.settings import host_and_port
from numroute_web.admission import Admission, Sessions
from numroute_web.hardening import Http, harden
from numroute_web.jobs import JobStore
from numroute_web.lists import HANDLERS as LIST_HANDLERS
from numroute_web.lookup import HANDLERS as LOOKUP_HANDLERS
from numroute_web.pages import page_router
from numroute_web.runner import Runner
from numroute_web.service import Service, exception_handlers
from numroute_web.settings import (
    CONNECTIONS_MAX,
    DRAIN_SECONDS,
    KEEP_ALIVE_SECONDS,
    REQUEST_BYTES_MAX,
    WebSettings,
)
from numroute_web.webhooks import Deliverer, Webhooks

SERVER_OPTIONS: Final[dict[str, Any]] = {
    "http": Http,
    "lifespan": "off",
    "log_config": None,
    "access_log": False,
    "server_header": False,
    "limit_concurrency": CONNECTIONS_MAX,
    "timeout_keep_alive": KEEP_ALIVE_SECONDS,
    "timeout_graceful_shutdown": DRAIN_SECONDS,
}
"""How the HTTP server runs."""


@get("/openapi.json", include_in_schema=False)
async def openapi_schema(request: Request[Any, Any, Any]) -> dict[str, Any]:
    """Return the description of all requests and answers, in OpenAPI 3.1."""
    return request.app.openapi_schema.to_schema()


class _Server(uvicorn.Server):
    """A server that leaves signals to us: its own handlers would end the process by them."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop gracefully on SIGTERM and SIGINT."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        yield

    def _stop(self) -> None:
        self.should_exit = self._service.stopping = True


def make_app(service: Service, log: FilteringBoundLogger) -> Litestar:
    """Return the ASGI application of a service."""
    return Litestar(
        route_handlers=[openapi_schema, *LOOKUP_HANDLERS, *LIST_HANDLERS, page_router(log)],
        state=State({"service": service}),
        exception_handlers=exception_handlers(log),
        request_max_body_size=REQUEST_BYTES_MAX,
        openapi_config=OpenAPIConfig(
            title="numroute",
            version=importlib.metadata.version("numroute"),
            description="Which operator serves a phone number now.",
            path="/openapi",
            render_plugins=[JsonRenderPlugin()],
            components=Components(
                security_schemes={"token": SecurityScheme(type="http", scheme="bearer")}
            ),
            security=[{"token": []}],
        ),
        logging_config=None,
    )


def run(settings: WebSettings) -> None:
    """Serve until SIGTERM or Ctrl-C.

    Raises:
        SettingError: A file of the settings is not valid.
        InputError: The tokens file is not valid.
    """
    forbid_core_dumps()
    raise_file_limit()
    asyncio.run(_run(settings, make_logger()))


async def _run(settings: WebSettings, log: FilteringBoundLogger) -> None:
    log_loop_faults(log)
    tls = settings.security.tls
    protection = Protection(settings.security, log)
    host, port = host_and_port(settings.listen)
    listener = listen(host, port)
    health = Health()
    follower = Follower(
        SnapshotStore(settings.store), log, max_age=settings.max_age, on_state=health.set_unready
    )
    reports = Reports()
    meter = Meter(
        send=functools.partial(reports.receive, os.getpid()),
        worker=0,
        follower=follower,
        health=health,
        certificates=protection.certificates,
    )
    jobs = _open_jobs(settings)
    runner = Runner(settings, jobs, log)
    sessions = Sessions()
    webhooks = Webhooks.of_settings(settings.callback_hosts, settings.callback_secret)
    service = Service(
        settings=settings,
        log=log,
        follower=follower,
        jobs=jobs,
        runner=runner,
        sessions=sessions,
        webhooks=webhooks,
        admission=Admission(
            [meter, *protection.guards],
            protection.clients,
            protection.quota,
            sessions,
        ),
    )
    config = uvicorn.Config(
        harden(make_app(service, log)),
        **SERVER_OPTIONS,
        ssl_certfile=None if tls is None else tls.certificate,
        ssl_keyfile=None if tls is None else tls.key,
    )
    # In the loop's thread: a connection must not begin between the certificate and its key.
    protection.on_certificate = functools.partial(
        asyncio.get_running_loop().call_soon_threadsafe, _use_certificate, config
    )
    server = _Server(config, service)
    await follower.poll()
    meter.report()
    stop, ended = asyncio.Event(), asyncio.Event()
    auditing = asyncio.create_task(audit(reports, log, ended))
    tasks = [
        asyncio.create_task(follower.run(stop)),
        asyncio.create_task(meter.run(stop)),
        asyncio.create_task(runner.run(stop)),
        asyncio.create_task(Deliverer(webhooks, jobs, log).run(stop)),
        asyncio.create_task(protection.run(stop)),
    ]
    try:
        log.info("web serving", host=host, port=listener.getsockname()[1])
        await server.serve(sockets=[listener])
    finally:
        stop.set()
        await asyncio.gather(*tasks, return_exceptions=True)
        meter.report()
        ended.set()
        await auditing
        jobs.close()
        follower.close()
        protection.close()
        log.info("stopped")


def _open_jobs(settings: WebSettings) -> JobStore:
    """Open the folder of jobs. Raises SettingError."""
    try:
        return JobStore(settings.jobs, retention_seconds=settings.retention.total_seconds())
    except (OSError, sqlite3.Error) as error:
        raise SettingError(
            f"{settings.jobs}: the folder of jobs cannot be used: {error}",
            hint="Give one that this user may write with --jobs",
        ) from None


def _use_certificate(config: uvicorn.Config) -> None:
    """Let new connections take the certificate that the files hold; open ones keep theirs."""
    if config.ssl is not None and config.ssl_certfile is not None:
        config.ssl.load_cert_chain(config.ssl_certfile, config.ssl_keyfile)


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens. Raises SettingError."""
    try:
        listener = socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET
        )
    except OSError as error:
        raise SettingError(
            f"{host}:{port} cannot be listened on: {error.strerror}",
            hint="Give another address with --listen",
        ) from None
    # Headers and body are two packets; asyncio sets this only on sockets that it makes itself.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener
