"""From a source's listing into the spool: fetch what is needed once its upload is complete."""

from __future__ import annotations

import errno
import os
import shutil
import time
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from numroute.errors import FeedError, InputError
from numroute.feed import Quarantined, Waiting
from numroute_loader.feeds.loop import now, retry_seconds
from numroute_loader.feeds.order import obsolete, worth_fetching

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime
    from pathlib import Path

    from structlog.typing import FilteringBoundLogger

    from numroute_loader.feeds.loop import Health, Stopping
    from numroute_loader.feeds.order import Seen
    from numroute_loader.feeds.sources import RemoteFile, Session, Source
    from numroute_loader.feeds.spool import Spool
    from numroute_loader.reading.delivery import DeliveredFile, FeedLayout

FUTURE_MAX = timedelta(days=1)
"""How far the time in a file's name may lie ahead of this machine's clock."""

SIZE_RATIO_MAX = 20
SIZE_BYTES_MIN = 64 << 20
"""A file of more bytes, and more times as large as the last of its type, is not fetched."""

FREE_BYTES_MIN = 1 << 20
"""Free space that a download leaves on the spool's disk: the health record must be writable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Observed:
    """How long a delivery has been unchanged, by this process's own clock."""

    identity: str
    since: float
    noticed_at: datetime
    settled: bool = False


class Arrivals:
    """The files of one source, as they arrive."""

    def __init__(
        self,
        layout: FeedLayout,
        spool: Spool,
        health: Health,
        log: FilteringBoundLogger,
        stop: Stopping,
        *,
        settle_seconds: float,
    ) -> None:
        """Prepare; ``settle_seconds`` is how long a file must stay unchanged to be whole.

        After ``fetch``, ``listed`` holds the registry's files of the source by name, ``unsettled``
        those that may still be uploaded, and ``trouble`` an error that concerns one file and lets
        the others pass.
        """
        self._layout = layout
        self._spool = spool
        self._health = health
        self._log = log
        self._stop = stop
        self._settle_seconds = settle_seconds
        self._observed: dict[str, _Observed] = {}
        self._past: list[DeliveredFile] = []
        self.listed: dict[str, DeliveredFile] = {}
        self.unsettled: list[Waiting] = []
        self.trouble: FeedError | None = None

    def fetch(self, session: Session, seen: Seen) -> None:
        """List the source and fetch what has settled and is needed.

        Raises FeedError, and OSError when the spool's disk refuses.
        """
        remote = _newest_of_each_name(session.listing())
        self._health.set(polled_at=now())
        self._observe(remote)
        self.listed = {file.name: file for file in self._parsed(remote)}
        self.unsettled = []
        self.trouble = None
        self._past = [each for each in self.listed.values() if self._is_of_the_past(each)]
        needed = worth_fetching(
            self._past,
            seen,
            self._layout,
            refused={name for entry in self._health.state.refused for name in entry.names},
        )
        deliveries = [
            remote[file.name] for file in sorted(needed, key=lambda file: (file.time, file.name))
        ]
        self._spool.keep_incoming(deliveries)
        for delivery in deliveries:
            self._stop.check()
            if not self._spool.holds(delivery) and self._may_fetch(delivery):
                self._fetch_one(session, delivery)

    def spooled(self) -> list[DeliveredFile]:
        """Return the files that are whole in the spool."""
        return self._parsed(self._spool.names())

    def clear(self, seen: Seen) -> None:
        """Remove the spooled files that the published snapshots have made useless."""
        aside = self._parsed(entry.name for entry in self._health.state.quarantined)
        gone = {
            file.name
            for files in (self.spooled(), aside)
            for file in obsolete(files, seen, self._layout)
        }
        self._spool.remove(gone)
        self._health.forget(gone)

    def consume(self, seen: Seen, source: Source) -> None:
        """Remove the same files from the source; ``trouble`` says why one could not be removed."""
        for file in obsolete(self._past, seen, self._layout):
            if not self._has_settled(file.name):
                continue
            try:
                source.discard(file.name)
            except FeedError as error:
                self.trouble = error
            else:
                self._log.info("file consumed", file=file.name)

    def put_aside(self, path: Path, identity: str, reason: str) -> None:
        """Quarantine an unusable file, and record why."""
        self._spool.quarantine(path)
        before = self._health.quarantined(path.name)
        tries = before.tries + 1 if before is not None and before.identity == identity else 1
        at = now()
        retry_at = at + timedelta(seconds=retry_seconds(tries))
        self._health.quarantine(
            Quarantined(
                name=path.name,
                identity=identity,
                reason=reason,
                at=at,
                tries=tries,
                retry_at=retry_at,
            )
        )
        self._log.warning(
            "file quarantined",
            file=path.name,
            reason=reason,
            tries=tries,
            retry_at=retry_at.isoformat(),
        )

    def _parsed(self, names: Iterable[str]) -> list[DeliveredFile]:
        parsed = (self._layout.parse(name) for name in names)
        return [file for file in parsed if file is not None]

    def _observe(self, remote: dict[str, RemoteFile]) -> None:
        """Compare the listing with earlier ones: only two of them show that a file has settled."""
        clock = time.monotonic()
        observed = {}
        for name, file in remote.items():
            before = self._observed.get(name)
            if before is None or before.identity != file.identity:
                observed[name] = _Observed(identity=file.identity, since=clock, noticed_at=now())
            else:
                settled = clock - before.since >= self._settle_seconds
                observed[name] = replace(before, settled=settled)
        self._observed = observed

    def _has_settled(self, name: str) -> bool:
        return name in self._observed and self._observed[name].settled

    def _may_fetch(self, file: RemoteFile) -> bool:
        bad = self._health.quarantined(file.name)
        if bad is not None and bad.identity == file.identity and now() < bad.retry_at:
            return False
        if not self._has_settled(file.name):
            self._wait_for(file.name, "its size or time may still change: it is being uploaded")
            return False
        return self._is_plausible(file) and self._has_room(file)

    def _is_plausible(self, file: RemoteFile) -> bool:
        last = self._health.state.sizes.get(self.listed[file.name].type, file.size)
        if file.size <= max(SIZE_BYTES_MIN, SIZE_RATIO_MAX * last):
            return True
        reason = f"it has {file.size:,} bytes, and the last usable file of its type had {last:,}"
        self.put_aside(self._spool.incoming(file), file.identity, reason)
        return False

    def _has_room(self, file: RemoteFile) -> bool:
        free = shutil.disk_usage(self._spool.path).free
        if file.size + FREE_BYTES_MIN <= free:
            return True
        self.trouble = FeedError(
            f"{file.path}: {os.strerror(errno.ENOSPC)}: it needs {file.size:,} bytes, and {free:,} "
            "are free",
            hint="Free space on the spool's disk, or remove the file if it is not the registry's",
        )
        return False

    def _fetch_one(self, session: Session, file: RemoteFile) -> None:
        path = self._spool.incoming(file)
        try:
            session.fetch(file, path)
            self._spool.accept(file)
        except InputError as error:
            self.put_aside(path, file.identity, error.reason)
            return
        except OSError as error:
            if error.errno == errno.ENOSPC:
                path.unlink(missing_ok=True)
            raise FeedError(
                f"{file.path}: cannot be copied: {error.strerror}",
                hint="Check the free space on the spool's disk",
            ) from None
        self._health.forget({file.name})
        sizes = {**self._health.state.sizes, self.listed[file.name].type: file.size}
        self._health.set(sizes=sizes)
        self._log.info("file fetched", file=file.name, bytes=file.size)

    def _is_of_the_past(self, file: DeliveredFile) -> bool:
        if file.time <= now() + FUTURE_MAX:
            return True
        self._wait_for(file.name, "its name states a time in the future: is the clock right?")
        return False

    def _wait_for(self, name: str, reason: str) -> None:
        since = self._observed[name].noticed_at
        self.unsettled.append(Waiting(name=name, reason=reason, since=since))


def _newest_of_each_name(files: Sequence[RemoteFile]) -> dict[str, RemoteFile]:
    """Return the files by name; of a name in several folders, the latest."""
    return {file.name: file for file in sorted(files, key=lambda file: file.mtime_ns)}
