"""The snapshot store: a folder of immutable snapshots, a pointer to one of them, and a history.

``snapshots/<id>.lmdb`` never changes once it has that name; ``CURRENT`` holds an id and is replaced
by an atomic rename; ``history.jsonl`` tells what was built from which files. A crash at any point
leaves the last good snapshot current.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numroute.errors import (
    NoSnapshotError,
    StoreAccessError,
    StoreBusyError,
    StoreMissingError,
)
from numroute.index.content import Content, Metadata, Source
from numroute.index.layout import FORMAT_VERSION
from numroute.index.snapshot import Snapshot
from numroute.index.verify import verify_snapshot
from numroute.index.writer import write_snapshot

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

SNAPSHOTS = "snapshots"
CURRENT = "CURRENT"
HISTORY = "history.jsonl"
LOCK = "lock"
SUFFIX = ".lmdb"
UNFINISHED = ".unfinished"

_ID = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,99}")


class SnapshotStore:
    """A snapshot store at a path."""

    def __init__(self, path: Path | str, *, create: bool = False) -> None:
        """Name a store; with ``create`` make its folders (0700) where they are missing.

        An empty folder is a store without snapshots: a service may wait there for the first one.
        Raises StoreMissingError when there is none, StoreAccessError when it cannot be made.
        """
        self.path = Path(path)
        if create:
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self.path.mkdir(mode=0o700, exist_ok=True)
                (self.path / SNAPSHOTS).mkdir(mode=0o700, exist_ok=True)
            except OSError as error:
                raise StoreAccessError(self.path, f"cannot be made: {error.strerror}") from None
        elif not self.path.is_dir():
            raise StoreMissingError(
                self.path,
                "there is no snapshot store here",
                hint="Build one with `numroute-load build --store DIR FILE...`",
            )

    def current_id(self) -> str:
        """Return the id of the current snapshot; cheap enough to be asked several times a second.

        Raises NoSnapshotError when there is none.
        """
        try:
            text = (self.path / CURRENT).read_text("ascii").strip()
        except FileNotFoundError:
            raise NoSnapshotError(
                self.path,
                "the store has no current snapshot",
                hint="Build one with `numroute-load build --store DIR FILE...`",
            ) from None
        except (OSError, UnicodeDecodeError) as error:
            raise StoreAccessError(self.path / CURRENT, f"cannot be read: {error}") from None
        if not _ID.fullmatch(text):
            raise NoSnapshotError(
                self.path / CURRENT,
                "it does not hold the id of a snapshot",
                hint="Build a snapshot again, or write one of the ids under snapshots/ into it",
            )
        return text

    def ids(self) -> list[str]:
        """Return the ids of all snapshots in the store, in the order of their names."""
        return sorted(path.stem for path in (self.path / SNAPSHOTS).glob(f"*{SUFFIX}"))

    def snapshot_path(self, snapshot_id: str) -> Path:
        """Return where a snapshot's file lies, whether it exists or not."""
        return self.path / SNAPSHOTS / f"{snapshot_id}{SUFFIX}"

    def open(self, snapshot_id: str | None = None) -> Snapshot:
        """Open a snapshot, the current one when no id is given.

        Raises NoSnapshotError, SnapshotCorruptError, SnapshotVersionError or StoreAccessError.
        """
        wanted = snapshot_id or self.current_id()
        path = self.snapshot_path(wanted)
        if not _ID.fullmatch(wanted) or not path.exists():
            raise NoSnapshotError(
                self.path,
                f"there is no snapshot {wanted!r}"
                if snapshot_id
                else f"CURRENT names snapshot {wanted!r}, which is not there",
                hint="`numroute info --store DIR` lists what is there; "
                "`numroute-load build` makes a new one",
            )
        return Snapshot(path)

    def history(self) -> list[dict[str, Any]]:
        """Return the history's entries, oldest first; a line cut short by a crash is left out."""
        try:
            lines = (self.path / HISTORY).read_text("utf-8").splitlines()
        except FileNotFoundError:
            return []
        entries = []
        for line in lines:
            with contextlib.suppress(ValueError):
                entries.append(json.loads(line))
        return entries

    @contextlib.contextmanager
    def writing(self) -> Iterator[StoreWriter]:
        """Be the store's only writer; the lock dies with the process.

        Raises StoreBusyError when another process is writing, StoreAccessError when the store
        cannot be written.
        """
        try:
            lock = os.open(self.path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreAccessError(
                self.path, f"cannot be written: {error.strerror}", hint="Check owner and mount"
            ) from None
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise StoreBusyError(
                    self.path, "another process is writing to the store", hint="Wait until it ends"
                ) from None
            writer = StoreWriter(self)
            writer.remove_leftovers()
            yield writer
        finally:
            os.close(lock)


class StoreWriter:
    """The right to change a store, from :meth:`SnapshotStore.writing`."""

    def __init__(self, store: SnapshotStore) -> None:
        """Hold the store; only :meth:`SnapshotStore.writing` makes writers."""
        self._store = store
        self._folder = store.path / SNAPSHOTS

    def remove_leftovers(self) -> list[str]:
        """Remove what a crash left behind; return the names of the files removed.

        A file under its temporary name was never finished. A snapshot that the history does not
        tell of was never announced, and CURRENT never pointed to it.
        """
        told = {entry.get("snapshot") for entry in self._store.history()}
        removed = []
        for path in sorted(self._folder.iterdir()):
            unfinished = path.name.endswith(UNFINISHED)
            unannounced = path.suffix == SUFFIX and path.stem not in told
            if unfinished or unannounced:
                path.unlink()
                removed.append(path.name)
        return removed

    def publish(
        self,
        content: Content,
        *,
        as_of: datetime,
        sources: Sequence[Source],
        counts: Mapping[str, int],
        gate: Sequence[Mapping[str, Any]] = (),
        asked_by: str = "",
    ) -> Metadata:
        """Write a snapshot, verify it by reading it back, announce it and make it current.

        Returns the new snapshot's metadata. Raises StoreAccessError when the disk refuses; then,
        as after a crash, the snapshot that was current stays current.
        """
        built_at = datetime.now(UTC).replace(microsecond=0)
        metadata = Metadata(
            format_version=FORMAT_VERSION,
            snapshot_id=self._new_id(as_of),
            as_of=as_of,
            built_at=built_at,
            sources=tuple(sources),
            counts=dict(counts),
        )
        final = self._store.snapshot_path(metadata.snapshot_id)
        unfinished = final.with_name(final.name + UNFINISHED)
        try:
            write_snapshot(unfinished, content, metadata)
            verify_snapshot(unfinished)
            unfinished.rename(final)
        except BaseException:
            unfinished.unlink(missing_ok=True)
            raise
        _flush_folder(self._folder)
        self._record(
            {
                "event": "published",
                "snapshot": metadata.snapshot_id,
                "at": built_at.isoformat(),
                "as_of": as_of.isoformat(),
                "asked_by": asked_by,
                "bytes": final.stat().st_size,
                "sources": [
                    {
                        "name": source.name,
                        "kind": source.kind,
                        "sequence": source.sequence,
                        "rows": source.rows,
                        "sha256": source.sha256,
                    }
                    for source in sources
                ],
                "counts": dict(counts),
                "gate": [dict(finding) for finding in gate],
            }
        )
        self.make_current(metadata.snapshot_id)
        return metadata

    def make_current(self, snapshot_id: str) -> None:
        """Point CURRENT to a snapshot by an atomic rename."""
        target = self._store.path / CURRENT
        fresh = target.with_name(CURRENT + UNFINISHED)
        fresh.unlink(missing_ok=True)
        with os.fdopen(
            os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w", encoding="ascii"
        ) as file:
            file.write(snapshot_id + "\n")
            file.flush()
            os.fsync(file.fileno())
        fresh.rename(target)
        _flush_folder(self._store.path)

    def _new_id(self, as_of: datetime) -> str:
        """Return an unused id that begins with the data's time, so that names sort by it."""
        while True:
            snapshot_id = f"{as_of.astimezone(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"
            if not self._store.snapshot_path(snapshot_id).exists():
                return snapshot_id

    def _record(self, entry: Mapping[str, Any]) -> None:
        path = self._store.path / HISTORY
        line = json.dumps(entry, ensure_ascii=False) + "\n"
        with os.fdopen(
            os.open(path, os.O_CREAT | os.O_RDWR | os.O_APPEND, 0o600), "r+", encoding="utf-8"
        ) as file:
            size = file.seek(0, os.SEEK_END)
            # A crash may have cut the last line short: begin on a line of its own.
            if size and os.pread(file.fileno(), 1, size - 1) != b"\n":
                line = "\n" + line
            file.write(line)
            file.flush()
            os.fsync(file.fileno())


def _flush_folder(folder: Path) -> None:
    """Make a rename in the folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
