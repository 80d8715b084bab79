"""Memory of a process that serves: what is freed is kept, what stays is not looked at again."""

from __future__ import annotations

import ctypes
import gc
from pathlib import Path

_MMAP_THRESHOLD = -3
_TRIM_THRESHOLD = -1
# The parameter numbers of mallopt(3), from glibc's malloc.h.

_KEPT_BYTES = 64 * 1024 * 1024
"""How much free memory at the top of the heap is not given back: a few of the largest requests."""

_LARGEST_MMAP_THRESHOLD = 32 * 1024 * 1024
"""glibc takes no larger one on 64-bit systems (mallopt(3), M_MMAP_THRESHOLD)."""


def keep_freed_memory() -> bool:
    """Make glibc's allocator reuse large blocks instead of giving them back to the system.

    By default each array over 128 KiB is mapped and unmapped anew, and every page of it faults
    when it is first touched: about 640 faults for a batch of 65,536 numbers, which took half of
    the request's time. Returns whether it took effect: not where the C library is another.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    mallopt.argtypes = (ctypes.c_int, ctypes.c_int)
    mallopt.restype = ctypes.c_int
    return bool(
        mallopt(_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD) and mallopt(_TRIM_THRESHOLD, _KEPT_BYTES)
    )


def spare_what_stays() -> None:
    """Let the garbage collector pass over all that is there now: modules, the service itself.

    To walk through them takes 15 ms and more, in the middle of a call.
    """
    gc.collect()
    gc.freeze()


def own_bytes(process: int) -> int:
    """Return how much memory a process has to itself, mapped files not counted; 0 when it is gone.

    proc(5): ``RssAnon`` in /proc/[pid]/status.
    """
    try:
        status = Path(f"/proc/{process}/status").read_text("utf-8")
    except OSError:
        return 0
    for line in status.splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    return 0
