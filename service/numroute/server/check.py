"""A check of a service's settings, files and store, without starting it."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime

from numroute.errors import NoSnapshotError
from numroute.files import require_writable
from numroute.index import SnapshotStore
from numroute.logs import make_logger
from numroute.server.auth import Clients
from numroute.server.certificates import load_credentials
from numroute.server.port import HeldPort
from numroute.server.settings import Security, ServerSettings


def check(settings: ServerSettings) -> dict[str, str]:
    """Read everything a service reads when it starts; return what it would do, by name.

    Raises:
        SettingError: A file of the settings is not valid, a folder cannot be written, or an
            address is not this machine's.
        InputError: The tokens file is not valid.
        StoreError: There is no store, or its current snapshot cannot be opened.
    """
    security = settings.security
    for address in filter(None, (settings.listen, settings.metrics)):
        # Any port: a service may run there, and this may be the check before its restart.
        host = address.rpartition(":")[0]
        HeldPort(dataclasses.replace(settings, listen=f"{host}:0")).close()
    return {
        "store": str(settings.store),
        "snapshot": _snapshot(settings),
        "listen": f"{settings.listen}, {_protection(security)}",
        "clients": _clients(security),
    }


def _snapshot(settings: ServerSettings) -> str:
    try:
        with SnapshotStore(settings.store).open() as snapshot:
            metadata = snapshot.metadata
    except NoSnapshotError:
        return "none yet: calls are answered UNAVAILABLE until one is published"
    age = datetime.now(UTC) - metadata.as_of
    stale = ", stale: not ready" if settings.max_age is not None and age > settings.max_age else ""
    return f"{metadata.snapshot_id}, data as of {metadata.as_of:%Y-%m-%dT%H:%M:%SZ}{stale}"


def _protection(security: Security) -> str:
    if security.tls is None:
        return "plaintext"
    credentials = load_credentials(security.tls, now=datetime.now(UTC))
    return f"TLS as {credentials.subject}, valid until {credentials.expires:%Y-%m-%dT%H:%M:%SZ}"


def _clients(security: Security) -> str:
    clients = Clients(security, make_logger()).table
    if security.state is not None:
        require_writable(security.state)
    if not security.identifies_clients:
        return "anybody"
    tokens = "1 token" if clients.token_count == 1 else f"{clients.token_count:,} tokens"
    known = f"{len(clients.clients):,} with {tokens}"
    return f"{known}, certificates required" if security.has_client_ca else known
