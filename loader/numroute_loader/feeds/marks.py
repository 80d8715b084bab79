"""How far is a store? Told by its history and its current snapshot."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from numroute.errors import StoreError
from numroute.index import history
from numroute_loader.feeds.layout import Role
from numroute_loader.feeds.order import Marks

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numroute.index import SnapshotStore
    from numroute_loader.feeds.layout import FeedLayout


def marks_of(store: SnapshotStore, layout: FeedLayout) -> Marks:
    """Return how far the store is.

    Whatever was current once counts, not only what is: after a rollback the files that led to the
    bad snapshot are not applied again. Where the current snapshot cannot be opened nothing counts:
    the newest full dump will heal the store.
    """
    try:
        with store.open() as snapshot:
            metadata = snapshot.metadata
    except StoreError:
        return Marks()
    times = [metadata.as_of]
    names = [source.name for source in metadata.sources]
    were_current = {moment.snapshot for moment in store.moments()}
    for entry in store.history():
        if entry["event"] in history.BRINGS and entry["snapshot"] in were_current:
            times.append(datetime.fromisoformat(entry["as_of"]))
            names += [source["name"] for source in entry.get("sources", ())]
        elif entry["event"] == history.RECONCILED:
            names.append(entry["dump"])
    return Marks(as_of=max(times), dump=max(_dump_times(names, layout), default=None))


def _dump_times(names: Iterable[str], layout: FeedLayout) -> Iterable[datetime]:
    for name in names:
        file = layout.parse(name)
        if file is not None and file.role is Role.DUMP:
            yield file.time
