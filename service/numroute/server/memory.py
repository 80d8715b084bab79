"""A process and the system: its memory and limits, and how much of a file is cached."""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import re
import resource
from pathlib import Path

import numpy as np

KEEP_FREED = {"MALLOC_MMAP_THRESHOLD_": str(32 << 20), "MALLOC_TRIM_THRESHOLD_": str(64 << 20)}
"""Environment of a process whose glibc reuses large blocks, see mallopt(3).

By default each array over 128 KiB is mapped and unmapped anew, and every page of it faults when it
is first touched: about 640 faults for a batch of 65,536 numbers, which took half of the request's
time. 32 MiB is the largest block that glibc keeps; 64 MiB hold a few of the largest requests.
"""

_PR_SET_DUMPABLE = 4


def forbid_core_dumps() -> None:
    """Make sure that a crash writes no memory to disk: it holds tokens and phone numbers.

    The limit alone does not keep a system's crash handler from it; PR_SET_DUMPABLE (prctl(2)) does.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def raise_file_limit() -> None:
    """Raise the limit of open files as far as the system lets this process."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def resident_bytes(process: int | str = "self", *, private: bool = False) -> int:
    """Return a process's memory, mapped files not counted if ``private``; 0 when it is gone.

    proc(5): ``VmRSS`` and ``RssAnon`` in /proc/[pid]/status.
    """
    try:
        status = Path(f"/proc/{process}/status").read_text("utf-8")
    except OSError:
        return 0
    match = re.search(rf"{'RssAnon' if private else 'VmRSS'}:\s*(\d+) kB", status)
    return int(match[1]) * 1024 if match else 0


def resident_share(path: Path) -> float:
    """Return the share of a file's pages that is in the page cache (``mincore(2)``).

    For files that this user neither owns nor may write to, the system reports all pages as cached.
    Raises OSError.
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
