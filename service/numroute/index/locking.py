"""One process at a time: a lock in a store that dies with its process."""

from __future__ import annotations

import contextlib
import fcntl
import os
from typing import TYPE_CHECKING

from numroute.errors import StoreAccessError, StoreBusyError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextlib.contextmanager
def locked(store: Path, name: str, *, busy: str, hint: str) -> Iterator[None]:
    """Hold the lock of this name (0600) in a store.

    Raises StoreBusyError with the words given when another process holds it, StoreAccessError when
    the store cannot be written.
    """
    try:
        lock = os.open(store / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StoreAccessError(
            store, f"cannot be written: {error.strerror}", hint="Check owner and mount"
        ) from None
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StoreBusyError(store, busy, hint=hint) from None
        yield
    finally:
        os.close(lock)
