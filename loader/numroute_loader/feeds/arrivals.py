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
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from structlog.typing import FilteringBoundLogger

from numroute.errors import FeedError, InputError, StoreAccessError
from numroute.feed import Waiting
from numroute.files import flush
from numroute_loader.feeds.loop import Health, now
from numroute_loader.feeds.order import Deliveries, Seen
from numroute_loader.feeds.sources import PIECE_BYTES, ChangedError, RemoteFile, Source
from numroute_loader.reading.description import DeliveredFile, FeedLayout
from numroute_loader.registries import open_file

FUTURE_MAX = timedelta(days=1)
"""How far the time in a file's name may lie ahead of this machine's clock."""

SIZE_RATIO_MAX = 20
SIZE_BYTES_MIN = 64 << 20
"""A file larger than this, and so many times as large as the last of its kind, is not fetched."""

FREE_BYTES_MIN = 1 << 20
"""Free space that a download leaves on the spool's disk: the health record must be writable."""

INCOMING = ".incoming"


@dataclass(kw_only=True)
class Arrivals:
    """The files of one source, as they arrive, and the spool, the folder of local copies.

    Folders of the spool are 0700, files 0600. ``settle_seconds`` is how long a file must stay
    unchanged to be whole. After ``fetch``, ``listed`` holds the registry's files of the source by
    name, ``unsettled`` those that may still be uploaded, and ``trouble`` an error that concerns one
    file and lets the others pass.
    """

    layout: FeedLayout
    spool: Path
    health: Health
    log: FilteringBoundLogger
    settle_seconds: float
    listed: dict[str, DeliveredFile] = field(default_factory=dict)
    unsettled: list[Waiting] = field(default_factory=list)
    trouble: FeedError | None = None
    # When each delivery was first listed, by this process's own clock, and by the wall's.
    _first: dict[RemoteFile, tuple[float, datetime]] = field(default_factory=dict)
    _settled: set[RemoteFile] = field(default_factory=set)

    def __post_init__(self) -> None:
        """Create the folders that are missing; raises StoreAccessError."""
        try:
            for folder in (self.spool, self.spool / INCOMING):
                folder.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            reason = f"the spool cannot be created: {error.strerror}"
            raise StoreAccessError(self.spool, reason, hint="Check owner and mount") from None

    def fetch(self, source: Source, seen: Seen) -> None:
        """List the source and fetch what has settled and is needed.

        Raises FeedError, and OSError when the spool's disk refuses.
        """
        # Of a name in several folders, the latest.
        files = sorted(source.listing(), key=lambda file: file.mtime_ns)
        remote = {file.name: file for file in files}
        self.health.set(polled_at=now())
        # Only two listings show that a file has settled.
        clock, before = time.monotonic(), self._first
        self._first = {file: before.get(file, (clock, now())) for file in remote.values()}
        self._settled = {
            file for file, (since, _) in before.items() if clock - since >= self.settle_seconds
        }
        self.listed = {file.name: file for file in self._parsed(remote)}
        self.unsettled = []
        self.trouble = None
        past = []
        for file in self.listed.values():
            if file.time <= now() + FUTURE_MAX:
                past.append(file)
            else:
                reason = "its name states a time in the future: is the clock right?"
                self._wait_for(remote[file.name], reason)
        refused = {name for entry in self.health.state.refused for name in entry.names}
        needed = Deliveries(past, seen, self.layout).worth_fetching(refused)
        in_order = sorted(needed, key=lambda file: (file.time, file.name))
        deliveries = [remote[file.name] for file in in_order]
        # Partial downloads of these may continue.
        kept = {delivery.identity for delivery in deliveries}
        for folder in (self.spool / INCOMING).iterdir():
            if folder.name not in kept:
                shutil.rmtree(folder)
        whole = {file.name: self.identity(file.name) for file in self.spooled()}
        for delivery in deliveries:
            if whole.get(delivery.name) != delivery.identity and self._may_fetch(delivery):
                self._fetch_one(source, delivery)

    def spooled(self) -> list[DeliveredFile]:
        """Return the files that are whole in the spool."""
        return self._parsed(sorted(each.name for each in self.spool.iterdir() if each.is_file()))

    def identity(self, name: str) -> str:
        """Return size and time of a whole file, which are those of its delivery."""
        status = (self.spool / name).stat()
        return f"{status.st_size}-{status.st_mtime_ns}"

    def clear(self, seen: Seen) -> None:
        """Remove the spooled files that the published snapshots have made useless."""
        aside = self._parsed(entry.name for entry in self.health.state.quarantined)
        gone = {
            file.name
            for files in (self.spooled(), aside)
            for file in Deliveries(files, seen, self.layout).obsolete()
        }
        for name in gone:
            (self.spool / name).unlink(missing_ok=True)
        self.health.forget(gone)

    def put_aside(self, path: Path, identity: str, reason: str) -> None:
        """Remove an unusable file from the spool, and record why."""
        path.unlink(missing_ok=True)
        entry = self.health.quarantine(path.name, identity, reason)
        tries, again = entry.tries, entry.retry_at.isoformat()
        self.log.warning(
            "file quarantined", file=path.name, reason=reason, tries=tries, retry_at=again
        )

    def _parsed(self, names: Iterable[str]) -> list[DeliveredFile]:
        return [file for name in names if (file := self.layout.parse(name)) is not None]

    def _incoming(self, file: RemoteFile) -> Path:
        """Return the path to fetch a delivery to, in a folder named for its size and time."""
        return self.spool / INCOMING / file.identity / file.name

    def _may_fetch(self, file: RemoteFile) -> bool:
        """Return whether a file has settled, is plausible, and has room."""
        bad = self.health.quarantined(file.name, file.identity)
        if bad is not None and now() < bad.retry_at:
            return False
        if file not in self._settled:
            self._wait_for(file, "its size or time may still change: it is being uploaded")
            return False
        last = self.health.state.sizes.get(self.listed[file.name].kind, file.size)
        if file.size > max(SIZE_BYTES_MIN, SIZE_RATIO_MAX * last):
            reason = (
                f"it has {file.size:,} bytes, and the last usable file of its kind had {last:,}"
            )
            self.put_aside(self._incoming(file), file.identity, reason)
            return False
        free = shutil.disk_usage(self.spool).free
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
        """Copy a file: its owner may replace it while a snapshot is built from the copy."""
        path = self._incoming(file)
        try:
            path.parent.mkdir(mode=0o700, exist_ok=True)
            path.touch(0o600)
            with path.open("ab") as local:
                for piece in source.read(file, local.tell()):
                    local.write(piece)
            self._accept(file, path)
        except InputError as error:
            self.put_aside(path, file.identity, error.reason)
            return
        except ChangedError:
            path.unlink()
            raise
        except OSError as error:
            if error.errno == errno.ENOSPC:
                path.unlink(missing_ok=True)
            reason = f"{file.path}: cannot be copied: {error.strerror}"
            raise FeedError(reason, hint="Check the free space on the spool's disk") from None
        self.health.forget({file.name})
        sizes = {**self.health.state.sizes, self.listed[file.name].kind: file.size}
        self.health.set(sizes=sizes)
        self.log.info("file fetched", file=file.name, bytes=file.size)

    def _accept(self, file: RemoteFile, path: Path) -> None:
        """Check that a fetched file is whole and of its kind, and give it its own name."""
        size = path.stat().st_size
        if size != file.size:
            reason = f"{size} bytes came of {file.size}"
            raise InputError(path, reason, hint="The file will be fetched again")
        with open_file(path).archive as archive:
            # At its end a zip's checksum is checked; a plain file has only its row count.
            while archive.member is not None and archive.read(PIECE_BYTES):
                pass
        os.utime(path, ns=(file.mtime_ns, file.mtime_ns))
        flush(path)
        path.rename(self.spool / file.name)

    def _wait_for(self, file: RemoteFile, reason: str) -> None:
        since = self._first[file][1]
        self.unsettled.append(Waiting(name=file.name, reason=reason, since=since))
