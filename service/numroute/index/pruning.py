"""Removing the snapshots that no rule keeps."""

from __future__ import annotations

import contextlib
import errno
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from numroute.errors import NoSnapshotError, StoreAccessError
from numroute.files import flush_folder
from numroute.index import history, retention
from numroute.index.store_files import access, record

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numroute.index.retention import Kept, Retention
    from numroute.index.store import SnapshotStore


def prune(
    store: SnapshotStore, rules: Retention, *, dry_run: bool = False, asked_by: str = ""
) -> list[Kept]:
    """Remove the snapshots that no rule keeps; return all, each with why it is kept.

    Never removed: the current one, the one that was current before, a pinned one, and a file that
    cannot be opened, which somebody should look at. Raises StoreAccessError.
    """
    judged = retention.judge(_in_order(store), rules, protected=[*_protected(store)])
    if not dry_run:
        for each in judged:
            if not each.reasons:
                _remove(store, each.snapshot, asked_by)
    return judged


def _protected(store: SnapshotStore) -> Iterator[tuple[str, str]]:
    with contextlib.suppress(NoSnapshotError):
        yield store.current_id(), "current"
    with contextlib.suppress(NoSnapshotError):
        yield store.previous_id(), "previous"
    for each in store.pinned():
        yield each, "pinned"
    known = store.read_history().told()
    for each in store.ids():
        if each not in known:
            yield each, "unreadable"


def _in_order(store: SnapshotStore) -> list[tuple[str, datetime]]:
    """Return the kept snapshots and their times of publishing, in the order of events.

    An adopted one is put where its time belongs; one that nothing tells of is the oldest.
    """
    told = store.read_history().told()
    kept = store.ids()
    ordered = [
        (each, entry["at"])
        for each, entry in told.items()
        if each in set(kept) and entry["event"] in history.BRINGS
    ]
    for each in kept:
        entry = told.get(each)
        if entry is None:
            at = datetime.fromtimestamp(store.snapshot_path(each).stat().st_mtime, UTC)
        elif entry["event"] == history.ADOPTED:
            at = datetime.fromisoformat(entry["built_at"])
        else:
            continue
        earlier = [i for i, (_, other) in enumerate(ordered) if other <= at]
        ordered.insert(earlier[-1] + 1 if earlier else 0, (each, at))
    return ordered


def _remove(store: SnapshotStore, snapshot_id: str, asked_by: str) -> None:
    path = store.snapshot_path(snapshot_id)
    facts = {"bytes": path.stat().st_size, "asked_by": asked_by}
    try:
        record(store, history.PRUNED, snapshot_id, facts)
    except StoreAccessError as error:
        # On a full disk there is room for the record only when the file has gone.
        if not isinstance(error.__cause__, OSError) or error.__cause__.errno != errno.ENOSPC:
            raise
        with access(path):
            path.unlink()
        record(store, history.PRUNED, snapshot_id, facts)
    else:
        with access(path):
            path.unlink()
    with access(path):
        flush_folder(store.snapshots)
