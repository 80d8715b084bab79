"""What the page cache holds of a file, and how to make it forget."""

from __future__ import annotations

import ctypes
import mmap
import os
from typing import TYPE_CHECKING

import numpy as np

from numroute.errors import NumrouteError

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


def resident_share(path: Path) -> float:
    """Return which share of a file's pages is in the page cache (``mincore(2)``)."""
    size = path.stat().st_size
    mincore = ctypes.CDLL(None, use_errno=True).mincore
    mincore.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p)
    pages = np.zeros(-(-size // mmap.PAGESIZE), np.uint8)
    with path.open("rb") as file, mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ) as view:
        mapped = np.frombuffer(view, np.uint8)
        failed = mincore(mapped.ctypes.data, size, pages.ctypes.data)
        # The map cannot be closed while an array refers to it.
        del mapped
    if failed:
        raise CacheError(f"mincore: {os.strerror(ctypes.get_errno())}")
    return float((pages & 1).mean())
