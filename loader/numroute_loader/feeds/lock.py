"""One feed per store: a lock that dies with its process."""

from __future__ import annotations

import contextlib
import fcntl
import os
from typing import TYPE_CHECKING

from numroute.errors import StoreAccessError, StoreBusyError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LOCK = "feed.lock"


@contextlib.contextmanager
def feeding(store: Path) -> Iterator[None]:
    """Be the only process that feeds the store.

    Raises StoreBusyError when another one does, StoreAccessError when the store cannot be written.
    """
    try:
        lock = os.open(store / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StoreAccessError(
            store, f"cannot be written: {error.strerror}", hint="Check owner and mount"
        ) from None
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StoreBusyError(
                store,
                "another `watch` or `pull` feeds this store",
                hint="One is enough; `numroute info` shows how it does",
            ) from None
        yield
    finally:
        os.close(lock)
