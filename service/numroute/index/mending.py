"""What a writer puts right before it writes: leftovers of a crash, and gaps in the history."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from numroute.errors import NoSnapshotError, StoreError
from numroute.files import remove_unfinished
from numroute.index import history
from numroute.index.snapshot import Snapshot
from numroute.index.store_files import access, facts_of, record

if TYPE_CHECKING:
    from numroute.index.store import SnapshotStore


def mend(store: SnapshotStore) -> bool:
    """Remove unfinished files, and make the history agree with the files; tell if it was in doubt.

    A file under its temporary name was never finished. One under its lasting name is whole: where
    the history does not tell of it, because a crash or damage came between, the history is told. No
    snapshot is removed. After damage to the history it is in doubt: what was pinned by whom and
    what was current when may be incomplete.
    """
    with access(store.path):
        remove_unfinished(store.snapshots)
        remove_unfinished(store.path, store.pointer_path.name)
    told = store.read_history()
    ids = store.ids()
    lost = bool(ids) and not store.history_path.exists()
    in_doubt = bool(told.unnoticed) or lost
    if in_doubt:
        record(store, history.DAMAGED, "", {"lines": told.damaged, "missing": lost})
    known = told.told()
    for each in ids:
        if each not in known:
            _adopt(store, each)
    with contextlib.suppress(NoSnapshotError):
        current = store.current_id()
        seen = store.read_history().moments()
        if not seen or seen[-1].snapshot != current:
            since = store.moments()[-1].at
            facts = {"at": since.isoformat(timespec="milliseconds")}
            record(store, history.FOUND_CURRENT, current, facts)
    return in_doubt


def _adopt(store: SnapshotStore, snapshot_id: str) -> None:
    path = store.snapshot_path(snapshot_id)
    try:
        with Snapshot(path) as snapshot:
            facts = facts_of(snapshot.metadata, path)
    except StoreError:
        # Damaged, or of a newer version: nothing is known of it, so nothing is done to it.
        return
    record(store, history.ADOPTED, snapshot_id, facts)
