"""What keeps unknown clients and excess out: certificate, tokens and limits, from their files."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from structlog.typing import FilteringBoundLogger

from numroute.logs import fault_fields
from numroute.server.auth import Authentication, Clients
from numroute.server.certificates import Certificates
from numroute.server.guard import Guard
from numroute.server.quota import Quota, Usage
from numroute.server.settings import Security

POLL_SECONDS = 1.0
"""How often the files of certificates and tokens are checked for a change."""


class Protection:
    """Certificate, clients and limits of a process that answers, reloaded when their files change.

    Attributes:
        certificates: The certificate to serve with; None for plaintext.
        clients: The clients that the tokens file names.
        usage: The count of what clients have used; None without limits.
        guards: The guards that keep unknown clients and excess out, in their order.
        on_certificate: Called when another certificate is in use, in a thread.
    """

    def __init__(self, security: Security, log: FilteringBoundLogger) -> None:
        """Read all files. Raises SettingError and InputError, as their readers do."""
        self.certificates = None if security.tls is None else Certificates(security.tls, log)
        self.clients = Clients(security, log)
        self.usage = None if security.state is None else Usage(security.state)
        self._log = log
        guards: list[Guard] = []
        if security.identifies_clients:
            guards.append(Authentication(self.clients, security, log))
        if self.usage is not None:
            guards.append(Quota(self.clients, self.usage))
        self.guards = tuple(guards)
        self.on_certificate: Callable[[], object] | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Reload changed files until ``stop`` is set."""
        while not stop.is_set():
            try:
                await asyncio.to_thread(self._poll)
            except Exception as fault:  # noqa: BLE001 - the next check may succeed, and must come
                self._log.error("files not checked", **fault_fields(fault))
            try:
                await asyncio.wait_for(stop.wait(), POLL_SECONDS)
            except TimeoutError:
                continue

    def close(self) -> None:
        """Close files, after the last call."""
        if self.usage is not None:
            self.usage.close()

    def _poll(self) -> None:
        if self.certificates is not None:
            before = self.certificates.credentials
            self.certificates.poll()
            if self.on_certificate is not None and self.certificates.credentials is not before:
                self.on_certificate()
        self.clients.poll()
