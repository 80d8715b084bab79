"""From a source's listing into the spool: fetch what is needed once its upload is complete.

A file in the spool under its own name is whole: it was fetched under another path, read to its end,
and only then renamed. Its modification time is that of the delivered file, which tells one delivery
from the next. The spool keeps no other state, so a crash cannot leave a contradiction.
"""

from __future__ import annotations

import errno
import os
import shutil
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from structlog.typing import FilteringBoundLogger

from numroute.errors import FeedError, InputError, StoreAccessError
from numroute.feed import Quarantined, Waiting
from numroute_loader.feeds.loop import Health, now, retry_seconds
from numroute_loader.feeds.order import Deliveries, Seen
from numroute_loader.feeds.sources import RemoteFile, Source
from numroute_loader.reading.description import DeliveredFile, FeedLayout
from numroute_loader.registries import open_file

FUTURE_MAX = timedelta(days=1)
"""How far the time in a file's name may lie ahead of this machine's clock."""

SIZE_RATIO_MAX = 20
SIZE_BYTES_MIN = 64 << 20
"""A file of more bytes, and more times as large as the last of its kind, is not fetched."""

FREE_BYTES_MIN = 1 << 20
"""Free space that a download leaves on the spool's disk: the health record must be writable."""

INCOMING = ".incoming"

_READ_BYTES = 1 << 20


class Spool:
    """The folder of local copies (0700, files 0600)."""

    def __init__(self, path: Path) -> None:
        """Create the folders that are missing; raises StoreAccessError."""
        self.path = path
        self._incoming = path / INCOMING
        try:
            for folder in (path, self._incoming):
                folder.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            reason = f"the spool cannot be created: {error.strerror}"
            raise StoreAccessError(path, reason, hint="Check owner and mount") from None

    def names(self) -> list[str]:
        """Return the names of the files that are whole."""
        return sorted(each.name for each in self.path.iterdir() if each.is_file())

    def identity(self, name: str) -> str:
        """Return size and time of a whole file, which are those of its delivery."""
        status = (self.path / name).stat()
        return f"{status.st_size}-{status.st_mtime_ns}"

    def holds(self, file: RemoteFile) -> bool:
        """Return whether this very delivery is in the spool."""
        return (self.path / file.name).exists() and self.identity(file.name) == file.identity

    def incoming(self, file: RemoteFile) -> Path:
        """Return the path to fetch a delivery to, in a folder named for its size and time."""
        folder = self._incoming / file.identity
        folder.mkdir(mode=0o700, exist_ok=True)
        return folder / file.name

    def accept(self, file: RemoteFile) -> None:
        """Check that a fetched file is whole and of its kind, and give it its own name.

        Raises InputError when it is not.
        """
        path = self.incoming(file)
        size = path.stat().st_size
        if size != file.size:
            reason = f"{size} bytes came of {file.size}"
            raise InputError(path, reason, hint="The file will be fetched again")
        with open_file(path).archive as archive:
            # At its end a zip's checksum is checked; a plain file has only its row count.
            while archive.member is not None and archive.read(_READ_BYTES):
                pass
        os.utime(path, ns=(file.mtime_ns, file.mtime_ns))
        with path.open("rb") as written:
            os.fsync(written.fileno())
        path.rename(self.path / file.name)

    def remove(self, names: Collection[str]) -> None:
        """Remove whole files that are no longer needed."""
        for name in names:
            (self.path / name).unlink(missing_ok=True)

    def keep_incoming(self, files: Collection[RemoteFile]) -> None:
        """Remove partial downloads, except those of these deliveries, which may continue."""
        kept = {file.identity for file in files}
        for folder in self._incoming.iterdir():
            if folder.name not in kept:
                shutil.rmtree(folder)


class _Observed(NamedTuple):
    """A delivery since it was first listed so, by this process's own clock, and by the wall's."""

    identity: str
    since: float
    noticed_at: datetime


@dataclass(kw_only=True)
class Arrivals:
    """The files of one source, as they arrive.

    ``settle_seconds`` is how long a file must stay unchanged to be whole. After ``fetch``,
    ``listed`` holds the registry's files of the source by name, ``unsettled`` those that may still
    be uploaded, and ``trouble`` an error that concerns one file and lets the others pass.
    """

    layout: FeedLayout
    spool: Spool
    health: Health
    log: FilteringBoundLogger
    settle_seconds: float
    listed: dict[str, DeliveredFile] = field(default_factory=dict)
    unsettled: list[Waiting] = field(default_factory=list)
    trouble: FeedError | None = None
    _observed: dict[str, _Observed] = field(default_factory=dict)
    _settled: set[str] = field(default_factory=set)

    def fetch(self, source: Source, seen: Seen) -> None:
        """List the source and fetch what has settled and is needed.

        Raises FeedError, and OSError when the spool's disk refuses.
        """
        # Of a name in several folders, the latest.
        files = sorted(source.listing(), key=lambda file: file.mtime_ns)
        remote = {file.name: file for file in files}
        self.health.set(polled_at=now())
        self._observe(remote)
        self.listed = {file.name: file for file in self._parsed(remote)}
        self.unsettled = []
        self.trouble = None
        past = [each for each in self.listed.values() if self._is_of_the_past(each)]
        refused = {name for entry in self.health.state.refused for name in entry.names}
        needed = Deliveries(past, seen, self.layout).worth_fetching(refused)
        in_order = sorted(needed, key=lambda file: (file.time, file.name))
        deliveries = [remote[file.name] for file in in_order]
        self.spool.keep_incoming(deliveries)
        for delivery in deliveries:
            if not self.spool.holds(delivery) and self._may_fetch(delivery):
                self._fetch_one(source, delivery)

    def spooled(self) -> list[DeliveredFile]:
        """Return the files that are whole in the spool."""
        return self._parsed(self.spool.names())

    def clear(self, seen: Seen) -> None:
        """Remove the spooled files that the published snapshots have made useless."""
        aside = self._parsed(entry.name for entry in self.health.state.quarantined)
        gone = {
            file.name
            for files in (self.spooled(), aside)
            for file in Deliveries(files, seen, self.layout).obsolete()
        }
        self.spool.remove(gone)
        self.health.forget(gone)

    def put_aside(self, path: Path, identity: str, reason: str) -> None:
        """Remove an unusable file from the spool, and record why."""
        path.unlink(missing_ok=True)
        before = self.health.quarantined(path.name, identity)
        tries = before.tries + 1 if before is not None else 1
        retry_at = now() + timedelta(seconds=retry_seconds(tries))
        entry = Quarantined(
            name=path.name,
            identity=identity,
            reason=reason,
            at=now(),
            tries=tries,
            retry_at=retry_at,
        )
        self.health.quarantine(entry)
        again = retry_at.isoformat()
        self.log.warning(
            "file quarantined", file=path.name, reason=reason, tries=tries, retry_at=again
        )

    def _parsed(self, names: Iterable[str]) -> list[DeliveredFile]:
        return [file for name in names if (file := self.layout.parse(name)) is not None]

    def _observe(self, remote: dict[str, RemoteFile]) -> None:
        """Compare the listing with earlier ones: only two of them show that a file has settled."""
        clock, before = time.monotonic(), self._observed
        self._observed = {
            name: before[name]
            if name in before and before[name].identity == file.identity
            else _Observed(file.identity, clock, now())
            for name, file in remote.items()
        }
        self._settled = {
            name
            for name, each in self._observed.items()
            if each is before.get(name) and clock - each.since >= self.settle_seconds
        }

    def _may_fetch(self, file: RemoteFile) -> bool:
        """Return whether a file has settled, is plausible, and has room."""
        bad = self.health.quarantined(file.name, file.identity)
        if bad is not None and now() < bad.retry_at:
            return False
        if file.name not in self._settled:
            self._wait_for(file.name, "its size or time may still change: it is being uploaded")
            return False
        last = self.health.state.sizes.get(self.listed[file.name].kind, file.size)
        if file.size > max(SIZE_BYTES_MIN, SIZE_RATIO_MAX * last):
            reason = (
                f"it has {file.size:,} bytes, and the last usable file of its kind had {last:,}"
            )
            self.put_aside(self.spool.incoming(file), file.identity, reason)
            return False
        free = shutil.disk_usage(self.spool.path).free
        if file.size + FREE_BYTES_MIN > free:
            self.trouble = FeedError(
                f"{file.path}: {os.strerror(errno.ENOSPC)}: it needs {file.size:,} bytes, and "
                f"{free:,} are free",
                hint="Free space on the spool's disk, or remove the file if it is not the "
                "registry's",
            )
            return False
        return True

    def _fetch_one(self, source: Source, file: RemoteFile) -> None:
        path = self.spool.incoming(file)
        try:
            source.fetch(file, path)
            self.spool.accept(file)
        except InputError as error:
            self.put_aside(path, file.identity, error.reason)
            return
        except OSError as error:
            if error.errno == errno.ENOSPC:
                path.unlink(missing_ok=True)
            reason = f"{file.path}: cannot be copied: {error.strerror}"
            raise FeedError(reason, hint="Check the free space on the spool's disk") from None
        self.health.forget({file.name})
        sizes = {**self.health.state.sizes, self.listed[file.name].kind: file.size}
        self.health.set(sizes=sizes)
        self.log.info("file fetched", file=file.name, bytes=file.size)

    def _is_of_the_past(self, file: DeliveredFile) -> bool:
        if file.time <= now() + FUTURE_MAX:
            return True
        self._wait_for(file.name, "its name states a time in the future: is the clock right?")
        return False

    def _wait_for(self, name: str, reason: str) -> None:
        since = self._observed[name].noticed_at
        self.unsettled.append(Waiting(name=name, reason=reason, since=since))
