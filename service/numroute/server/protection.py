"""What keeps unknown clients and excess out: certificate, tokens and limits, from their files."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from structlog.typing import FilteringBoundLogger

from numroute.files import Watched
from numroute.logs import error_fields, fault_fields
from numroute.server.auth import Authentication, service_clients
from numroute.server.certificates import Certificates
from numroute.server.guard import Guard
from numroute.server.quota import Quota
from numroute.server.settings import Security

POLL_SECONDS = 1.0
"""How often the files of certificates and tokens are checked for a change."""


class Protection:
    """Certificate, clients and limits of a process that answers, reloaded when their files change.

    ``guards`` keep unknown clients and excess out, in their order. ``on_certificate`` is called, in
    a thread, when another certificate is in use.
    """

    def __init__(self, security: Security, log: FilteringBoundLogger) -> None:
        """Read all files. Raises SettingError and InputError, as their readers do."""
        self.certificates = None if security.tls is None else Certificates(security.tls, log)
        files = [] if security.tokens is None else [security.tokens]
        self.clients = Watched(files, lambda: service_clients(security))
        self.quota = None if security.state is None else Quota(self.clients, security.state)
        self._log = log
        identifies = security.identifies_clients
        authentication = Authentication(self.clients, security, log) if identifies else None
        self.guards: tuple[Guard, ...] = tuple(filter(None, (authentication, self.quota)))
        self.on_certificate: Callable[[], object] = lambda: None

    async def run(self, stop: asyncio.Event) -> None:
        """Reload changed files until ``stop`` is set."""
        while not stop.is_set():
            try:
                await asyncio.to_thread(self._poll)
            except Exception as fault:  # noqa: BLE001 - the next check may succeed, and must come
                self._log.error("files not checked", **fault_fields(fault))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), POLL_SECONDS)

    def close(self) -> None:
        """Close files, after the last call."""
        if self.quota is not None:
            self.quota.close()

    def _poll(self) -> None:
        if self.certificates is not None and self.certificates.poll():
            self.on_certificate()
        if self.clients.poll(
            lambda error: self._log.error("tokens refused", **error_fields(error))
        ):
            table = self.clients.content
            self._log.info("tokens in use", clients=len(table.clients), tokens=table.token_count)
