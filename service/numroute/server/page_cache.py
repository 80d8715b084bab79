"""How much of a file the page cache holds, and bringing a map's pages into a process."""

from __future__ import annotations

import ctypes
import mmap
import os
import time
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from numpy.typing import NDArray

_MADV_POPULATE_READ = 22
"""Of madvise(2), since Linux 5.14."""

_SLICE_BYTES = 4 * 1024 * 1024
"""Mapped at a time: a slice that is in the page cache takes less than a millisecond."""


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


def map_pages(arrays: Iterable[NDArray[np.generic]], seconds_max: float) -> int:
    """Enter the pages of mapped arrays into this process's page table, and return their bytes.

    Otherwise the first lookup to touch each of them pays for it. Stops after ``seconds_max``, when
    the disk must be read, and where the system cannot do it: nothing is wrong then.
    """
    madvise = ctypes.CDLL(None).madvise
    madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    end = time.monotonic() + seconds_max
    mapped = 0
    for array in arrays:
        start = array.ctypes.data & -mmap.PAGESIZE
        for begin in range(start, array.ctypes.data + array.nbytes, _SLICE_BYTES):
            length = min(_SLICE_BYTES, array.ctypes.data + array.nbytes - begin)
            # The interpreter is free meanwhile.
            if time.monotonic() >= end or madvise(begin, length, _MADV_POPULATE_READ):
                return mapped
            mapped += length
    return mapped
