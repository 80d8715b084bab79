"""From a store to storage and back: the current snapshot's file, then the pointer to it."""

from __future__ import annotations

import contextlib
import hashlib
import os
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from numroute.errors import FeedError, NoSnapshotError, SnapshotCorruptError
from numroute.index import Snapshot, writing
from numroute.index.file import sha256_file
from numroute_loader.feeds.loop import Feed, now
from numroute_loader.replicas.remote import Pointer, Remote

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from structlog.typing import FilteringBoundLogger

    from numroute.index import SnapshotStore
    from numroute_loader.feeds.loop import Stopping

    Progress = Callable[[int, int], None]
    """Called now and then with bytes: (done, total)."""


INTERVAL_SECONDS = 15.0
"""How often the pointer, less than 4 KiB, is read by default."""

PIECE_BYTES = 4 << 20
SPOOL = "pulled"
"""The folder in the store for partial downloads."""


KEEP = 4
"""Snapshots that stay at the remote: a replica may still be fetching the one before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pushed:
    """The result of a push; ``sent_bytes``: 0 when the snapshot was there already."""

    pointer: Pointer
    sent_bytes: int
    removed: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pulled:
    """The result of a pull; ``changed``: whether another snapshot became current."""

    pointer: Pointer
    fetched_bytes: int
    changed: bool


def push(
    store: SnapshotStore,
    remote: Remote,
    *,
    keep: int = KEEP,
    verify: bool = False,
    progress: Progress | None = None,
) -> Pushed:
    """Copy the store's current snapshot to the remote and make it current there.

    An upload that broke off continues where it stopped, if the storage can append; the result is
    then read back and compared, with ``verify`` always. At most ``keep`` snapshots stay there.
    Raises FeedError or StoreError.
    """
    with store.open() as snapshot:
        path, metadata = snapshot.path, snapshot.metadata
        size = path.stat().st_size
        pointer = Pointer(
            snapshot=metadata.snapshot_id,
            file_bytes=size,
            sha256=sha256_file(path, size).hex(),
            as_of=metadata.as_of.isoformat(),
        )
        sent = 0
        whole = remote.size(pointer.snapshot) == size
        if not whole or (verify and not _is_right(remote, pointer)):
            begun = remote.size(pointer.snapshot, unfinished=True) if remote.renames else 0
            begun = begun if begun and begun <= size else 0
            # What was continued and is not right is sent once more from its beginning.
            for offset in (begun, 0):
                sent += _send(remote, pointer, path, offset, progress)
                if not (begun or verify) or _is_right(remote, pointer):
                    break
            else:
                raise FeedError(
                    f"{remote.url}: snapshot {pointer.snapshot} does not read as it was sent",
                    hint="The pointer was not changed. Check the storage",
                )
        written = None
        with contextlib.suppress(FeedError):  # a damaged pointer may be replaced
            written = remote.read_pointer()
        if written != pointer:
            remote.write_pointer(pointer)
    others = [each for each in reversed(remote.ids()) if each != pointer.snapshot]
    removed = remote.remove_all_but({pointer.snapshot, *others[: keep - 1]})
    return Pushed(pointer=pointer, sent_bytes=sent, removed=tuple(removed))


def _send(
    remote: Remote, pointer: Pointer, path: Path, offset: int, progress: Progress | None
) -> int:
    """Send a file from an offset; return how many bytes were sent."""
    done = offset
    with path.open("rb", buffering=0) as local, remote.writing(pointer.snapshot, offset) as target:
        local.seek(offset)
        while piece := local.read(PIECE_BYTES):
            target.write(piece)
            done += len(piece)
            if progress is not None:
                progress(done, pointer.file_bytes)
    size = remote.size(pointer.snapshot)
    if size != pointer.file_bytes:
        raise FeedError(
            f"{remote.url}: {size} bytes arrived of {pointer.file_bytes}", hint="Push again"
        )
    return done - offset


def _is_right(remote: Remote, pointer: Pointer) -> bool:
    digest = hashlib.sha256()
    with remote.reading(pointer.snapshot, 0) as file:
        while piece := file.read(PIECE_BYTES):
            digest.update(piece)
    return digest.hexdigest() == pointer.sha256


def pull(
    store: SnapshotStore,
    remote: Remote,
    *,
    asked_by: str = "",
    progress: Progress | None = None,
) -> Pulled:
    """Make current in the store what is current at the remote.

    A download that broke off continues where it stopped. Nothing is published before all of its
    bytes match the digest in the pointer, and each array its own. A snapshot that the store still
    has is not fetched again, unless it is damaged.

    Raises FeedError when the remote fails or its bytes are not those that were pushed,
    NoSnapshotError when nothing has been pushed yet, StoreError.
    """
    pointer = remote.read_pointer()
    if pointer is None:
        raise NoSnapshotError(
            remote.url,
            "nothing has been pushed here yet",
            hint="Run `numroute-load push` on the machine that builds the snapshots",
        )
    try:
        current = store.current_id()
    except NoSnapshotError:
        current = ""
    if current == pointer.snapshot and current in store.ids():
        _clear(store.path / SPOOL, keep=None)
        return Pulled(pointer=pointer, fetched_bytes=0, changed=False)
    if pointer.snapshot in store.ids():
        reason = f"current at {remote.url}"
        # A damaged one is fetched again below, and takes its place.
        with contextlib.suppress(SnapshotCorruptError):
            with writing(store) as writer:
                writer.roll_back(pointer.snapshot, asked_by=asked_by, reason=reason)
            return Pulled(pointer=pointer, fetched_bytes=0, changed=True)
    part = _part(store.path / SPOOL, pointer)
    fetched = _fetch(remote, pointer, part, progress)
    with Snapshot(part) as snapshot:
        metadata = snapshot.metadata
    if metadata.snapshot_id != pointer.snapshot:
        part.unlink()
        raise FeedError(
            f"{remote.url}: the pointer names {pointer.snapshot}, the file is "
            f"{metadata.snapshot_id}",
            hint="Push again from the machine that builds the snapshots",
        )
    with writing(store) as writer:
        writer.publish_pulled(part, metadata, url=remote.url, asked_by=asked_by)
    _clear(store.path / SPOOL, keep=None)
    return Pulled(pointer=pointer, fetched_bytes=fetched, changed=True)


def _part(folder: Path, pointer: Pointer) -> Path:
    """Return the path of the download, named for the snapshot and its digest."""
    folder.mkdir(mode=0o700, exist_ok=True)
    part = folder / f"{pointer.snapshot}-{pointer.sha256}"
    _clear(folder, keep=part)
    return part


def _clear(folder: Path, *, keep: Path | None) -> None:
    if folder.is_dir():
        for each in folder.iterdir():
            if each != keep:
                each.unlink()


def _fetch(remote: Remote, pointer: Pointer, part: Path, progress: Progress | None) -> int:
    """Fetch the rest of a snapshot's file; return how many bytes that was."""
    digest = hashlib.sha256()
    descriptor = os.open(part, os.O_CREAT | os.O_RDWR, 0o600)
    with os.fdopen(descriptor, "r+b", buffering=0) as local:
        while piece := local.read(PIECE_BYTES):
            digest.update(piece)
        begun = done = local.tell()
        if done < pointer.file_bytes:
            with remote.reading(pointer.snapshot, done) as source:
                while done < pointer.file_bytes and (
                    piece := source.read(min(PIECE_BYTES, pointer.file_bytes - done))
                ):
                    local.write(piece)
                    digest.update(piece)
                    done += len(piece)
                    if progress is not None:
                        progress(done, pointer.file_bytes)
        os.fsync(local.fileno())
    if done < pointer.file_bytes:
        raise FeedError(
            f"{remote.url}: {done} bytes came of {pointer.file_bytes} of snapshot "
            f"{pointer.snapshot}",
            hint="Pull again; if it stays, run `numroute-load push --verify` where snapshots are "
            "built",
        )
    if done > pointer.file_bytes or digest.hexdigest() != pointer.sha256:
        part.unlink()
        raise FeedError(
            f"{remote.url}: snapshot {pointer.snapshot} is not what was pushed: its bytes have "
            "another digest",
            hint="Run `numroute-load push --verify` on the machine that builds the snapshots",
        )
    return done - begun


class Follower(Feed):
    """Keeps a store at what is current at the remote."""

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
        """Continue from the store's health record."""
        super().__init__(store, remote.url, log, stop, interval_seconds)
        self._remote = remote
        self._asked_by = asked_by

    def run(self) -> None:
        """Pull until a signal asks to stop."""
        self._log.info("following", source=self._remote.url, store=str(self._store.path))
        super().run()

    def _work(self) -> None:
        pulled = pull(self._store, self._remote, asked_by=self._asked_by)
        self._health.set(polled_at=now())
        if pulled.changed:
            self._health.set(
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
