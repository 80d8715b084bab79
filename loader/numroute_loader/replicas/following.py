"""Keep a store at what is current at the remote."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from numroute_loader.feeds.attempt import attempt, retry_seconds
from numroute_loader.feeds.backoff import jittered
from numroute_loader.feeds.status import Status, now
from numroute_loader.feeds.stopping import StopRequested
from numroute_loader.replicas.pulling import pull

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

    from numroute.index import SnapshotStore
    from numroute_loader.feeds.stopping import Stopping
    from numroute_loader.replicas.remote import Remote

INTERVAL_SECONDS = 15.0
"""How often the pointer is read, unless told otherwise: it has less than 4 KiB."""


class Following:
    """Pulls again and again, and says in the store's feed state how it does."""

    def __init__(
        self,
        store: SnapshotStore,
        remote: Remote,
        log: FilteringBoundLogger,
        stop: Stopping,
        *,
        interval_seconds: float = INTERVAL_SECONDS,
        asked_by: str = "",
    ) -> None:
        """Go on from what an earlier run left."""
        self._store = store
        self._remote = remote
        self._log = log
        self._stop = stop
        self._interval_seconds = interval_seconds
        self._asked_by = asked_by
        self._status = Status(store.path, remote.url)

    def run(self) -> None:
        """Pull until a stop signal comes."""
        self._log.info("following", source=self._remote.url, store=str(self._store.path))
        try:
            while True:
                error = attempt(self._pull, self._status.write, self._status, self._log)
                trouble = self._status.state.error
                self._stop.sleep(
                    jittered(self._interval_seconds)
                    if error is None or trouble is None
                    else retry_seconds(error, trouble.count, self._interval_seconds)
                )
        except StopRequested:
            self._log.info("stopped")

    def _pull(self) -> None:
        pulled = pull(self._store, self._remote, asked_by=self._asked_by)
        self._status.set(polled_at=now())
        if pulled.changed:
            self._status.set(
                published_at=now(),
                snapshot_id=pulled.pointer.snapshot,
                as_of=datetime.fromisoformat(pulled.pointer.as_of),
            )
            self._log.info(
                "snapshot pulled",
                snapshot=pulled.pointer.snapshot,
                as_of=pulled.pointer.as_of,
                bytes=pulled.fetched_bytes,
            )
