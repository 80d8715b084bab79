"""From a store to storage: the current snapshot's file, then the pointer to it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from numroute.errors import FeedError
from numroute.index.file import sha256_file
from numroute_loader.replicas.remote import Pointer, Remote

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numroute.index import SnapshotStore

    Progress = Callable[[int, int], None]
    """Called now and then with bytes: (done, total)."""

PIECE_BYTES = 4 << 20

KEEP = 4
"""Snapshots that stay at the remote: a replica may still be fetching the one before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pushed:
    """The result of a push; ``sent_bytes``: 0 when the snapshot was there already."""

    pointer: Pointer
    sent_bytes: int
    removed: tuple[str, ...]


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
            begun = _begun(remote, pointer, path)
            sent = _send(remote, pointer, path, begun, progress)
            if (begun or verify) and not _is_right(remote, pointer):
                sent += _send(remote, pointer, path, 0, progress)
                _require_right(remote, pointer)
        if remote.read_pointer_or_none() != pointer:
            remote.write_pointer(pointer)
    others = [each for each in reversed(remote.ids()) if each != pointer.snapshot]
    removed = remote.remove_all_but({pointer.snapshot, *others[: keep - 1]})
    return Pushed(pointer=pointer, sent_bytes=sent, removed=tuple(removed))


def _begun(remote: Remote, pointer: Pointer, path: Path) -> int:
    """Return how many bytes of a broken upload can be kept."""
    if not remote.renames:
        return 0
    done = remote.size(pointer.snapshot, unfinished=True) or 0
    return done if done <= path.stat().st_size else 0


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


def _require_right(remote: Remote, pointer: Pointer) -> None:
    if not _is_right(remote, pointer):
        raise FeedError(
            f"{remote.url}: snapshot {pointer.snapshot} does not read as it was sent",
            hint="The pointer was not changed. Check the storage",
        )
