"""One feed per store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from numroute.index.locking import locked

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

LOCK = "feed.lock"


def feeding(store: Path) -> AbstractContextManager[None]:
    """Be the only process that feeds the store.

    Raises StoreBusyError when another one does, StoreAccessError when the store cannot be written.
    """
    return locked(
        store,
        LOCK,
        busy="another `watch` or `pull` feeds this store",
        hint="One is enough; `numroute info` shows how it does",
    )
