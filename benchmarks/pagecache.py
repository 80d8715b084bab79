"""What the page cache holds of a file, and how to make it forget."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from numroute.errors import NumrouteError
from numroute.server.memory import resident_share

if TYPE_CHECKING:
    from pathlib import Path

_READ_BYTES = 1 << 24


class CacheError(NumrouteError):
    """The page cache did not do as it was told."""


def warm(path: Path) -> None:
    """Read a file once, so that it is cached."""
    with path.open("rb", buffering=0) as file:
        while file.read(_READ_BYTES):
            pass


def forget(path: Path) -> None:
    """Drop a file from the page cache; no process may have it mapped.

    Raises:
        CacheError: Part of it is still there.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        # Only clean pages can be dropped.
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)
    share = resident_share(path)
    if share:
        raise CacheError(f"{share:.0%} of the file stayed in the page cache; is it in use?")
