"""All that keeps the door of one process: certificate, clients, limits, and the guards of these."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from numroute.logs import fault_fields
from numroute.server.certificates import Certificates
from numroute.server.clients import Clients
from numroute.server.identity import Identity
from numroute.server.quota import Quota
from numroute.server.usage import SharedUsage

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

    from numroute.server.guard import Guard
    from numroute.server.security import Security

POLL_SECONDS = 1.0
"""How often the files of certificates and tokens are looked at for a change."""


class Protection:
    """What a worker needs to serve only those who may ask.

    Attributes:
        certificates: The certificate to serve with; None for plaintext.
        clients: Who may ask.
        guards: What must surround every call, in this order; empty when anybody may ask.
    """

    def __init__(self, security: Security, log: FilteringBoundLogger) -> None:
        """Read all files.

        Raises:
            SettingError: A certificate is not right, a file cannot be read or can be read by
                others, or a limit cannot be counted.
            InputError: The tokens file is not understood.
        """
        self.certificates = None if security.tls is None else Certificates(security.tls, log)
        self.clients = Clients(security, log)
        self._log = log
        self._usage: SharedUsage | None = None
        self._quota: Quota | None = None
        guards: list[Guard] = []
        if security.tells_clients_apart:
            guards.append(Identity(self.clients, security, log))
        if security.state is not None:
            self._usage = SharedUsage(security.state)
            self._quota = Quota(self.clients, self._usage, log)
            guards.append(self._quota)
        self.guards = tuple(guards)

    async def run(self, stop: asyncio.Event) -> None:
        """Look for changed files, and give back unused quota, until ``stop`` is set."""
        while not stop.is_set():
            try:
                await asyncio.to_thread(self._poll)
            except Exception as fault:  # noqa: BLE001 - the next look may be right, and must come
                self._log.error("files not looked at", **fault_fields(fault))
            if self._quota is not None:
                self._quota.release()
            try:
                await asyncio.wait_for(stop.wait(), POLL_SECONDS)
            except TimeoutError:
                continue

    def close(self) -> None:
        """Close what is open, after the last call."""
        if self._quota is not None:
            self._quota.release(everything=True)
        if self._usage is not None:
            self._usage.close()

    def _poll(self) -> None:
        if self.certificates is not None:
            self.certificates.poll()
        self.clients.poll()
