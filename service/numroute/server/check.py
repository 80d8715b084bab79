"""A check of a service's settings, files and store, without starting it."""

from __future__ import annotations

from datetime import UTC, datetime

from numroute.errors import NoSnapshotError
from numroute.files import require_writable
from numroute.index import SnapshotStore
from numroute.server.auth import service_clients
from numroute.server.certificates import load_credentials
from numroute.server.settings import ServerSettings
from numroute.server.supervisor import held_port

TIME = "%Y-%m-%dT%H:%M:%SZ"


def check(settings: ServerSettings) -> dict[str, str]:
    """Read everything a service reads when it starts; return what it would do, by name.

    Raises NumrouteError where it would not start, or where its current snapshot does not open.
    """
    security = settings.security
    for address in filter(None, (settings.listen, settings.metrics)):
        # Any port: a service may run there, and this may be the check before its restart.
        with held_port(f"{address.rpartition(':')[0]}:0"):
            pass
    now = datetime.now(UTC)
    try:
        with SnapshotStore(settings.store).open() as opened:
            as_of = opened.metadata.as_of
            snapshot = f"{opened.metadata.snapshot_id}, data as of {as_of:{TIME}}"
        if settings.max_age is not None and now - as_of > settings.max_age:
            snapshot += ", stale: not ready"
    except NoSnapshotError:
        snapshot = "none yet: calls are answered UNAVAILABLE until one is published"
    protection = "plaintext"
    if security.tls is not None:
        credentials = load_credentials(security.tls, now=now)
        protection = f"TLS as {credentials.subject}, valid until {credentials.expires:{TIME}}"
    table = service_clients(security)
    clients = f"{len(table.clients):,}, tokens: {table.token_count:,}"
    if security.has_client_ca:
        clients += ", certificates required"
    if security.state is not None:
        require_writable(security.state)
    return {
        "store": str(settings.store),
        "snapshot": snapshot,
        "listen": f"{settings.listen}, {protection}",
        "clients": clients if security.identifies_clients else "anybody",
    }
