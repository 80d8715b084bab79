"""How much of a file the page cache holds."""

from __future__ import annotations

import ctypes
import mmap
import os
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path


def resident_share(path: Path) -> float:
    """Return which share of a file's pages is in the page cache (``mincore(2)``).

    The system tells it only of files that this user owns or may write to; of others it claims that
    all of it is there.

    Raises:
        OSError: The file cannot be opened, or the system does not tell.
    """
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
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(path))
    return float((pages & 1).mean())
