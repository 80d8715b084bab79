"""How the files of a store change: the pointer, the history, and the folder they lie in."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any

from numroute.errors import StoreAccessError
from numroute.index import history

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from numroute.index.content import Metadata
    from numroute.index.store import SnapshotStore

UNFINISHED = ".unfinished"
"""Ends the name of what is still being written: it gets its own name when it is whole."""

_ROOM_HINT = "Make room, for example with `numroute-load prune`; is the disk full or read-only?"


@contextlib.contextmanager
def access(path: Path) -> Iterator[None]:
    """Turn the operating system's refusal to write into StoreAccessError."""
    try:
        yield
    except OSError as error:
        raise StoreAccessError(
            path, f"cannot be written: {error.strerror}", hint=_ROOM_HINT
        ) from error


def flush_folder(folder: Path) -> None:
    """Make a rename in the folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_pointer(store: SnapshotStore, snapshot_id: str) -> None:
    """Point CURRENT to a snapshot by an atomic rename; raises StoreAccessError."""
    target = store.pointer_path
    fresh = target.with_name(target.name + UNFINISHED)
    with access(target):
        fresh.unlink(missing_ok=True)
        with os.fdopen(
            os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w", encoding="ascii"
        ) as file:
            file.write(snapshot_id + "\n")
            file.flush()
            os.fsync(file.fileno())
        fresh.rename(target)
        flush_folder(store.path)


def record(store: SnapshotStore, event: str, snapshot_id: str, facts: Mapping[str, Any]) -> None:
    """Append an event to the store's history; raises StoreAccessError."""
    with access(store.history_path):
        history.record(store.history_path, event, snapshot_id, facts)


def facts_of(metadata: Metadata, path: Path) -> dict[str, Any]:
    """Return what the history keeps of a snapshot when the file itself is gone."""
    return {
        "as_of": metadata.as_of.isoformat(),
        "built_at": metadata.built_at.isoformat(),
        "bytes": path.stat().st_size,
        "sources": [
            {
                "name": source.name,
                "kind": source.kind,
                "sequence": source.sequence,
                "rows": source.rows,
                "sha256": source.sha256,
            }
            for source in metadata.sources
        ],
        "counts": dict(metadata.counts),
        "changes": None
        if metadata.changes is None
        else {
            "against": metadata.changes.against,
            "ported": metadata.changes.ported,
            "returned": metadata.changes.returned,
            "moved": metadata.changes.moved,
            "updated": metadata.changes.updated,
        },
    }
