"""How the files of a store change: the pointer, the history, and the folder they lie in."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from numroute.errors import StoreAccessError
from numroute.files import write_whole
from numroute.index import history

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from numroute.index.content import Metadata
    from numroute.index.store import SnapshotStore

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


def replace_pointer(store: SnapshotStore, snapshot_id: str) -> None:
    """Point CURRENT to a snapshot by an atomic rename; raises StoreAccessError."""
    with access(store.pointer_path):
        write_whole(store.pointer_path, snapshot_id.encode("ascii") + b"\n")


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
