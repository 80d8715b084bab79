"""A clock in a process of its own: it says when numbers are due, as messages that come in do.

An event loop's own timers tell no times apart that are shorter than a millisecond, so that a
program that asks by them asks in bursts, and late. Run as ``python -m benchmarks.production.pacing
RATE SECONDS`` it writes a byte for each number that is due.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from benchmarks.plans import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TICK_SECONDS = 0.0002
"""How often it looks at the clock."""

_READ_BYTES = 1 << 16
_READY = b"+"


@contextlib.contextmanager
def paced(
    rate: float, seconds: float, due: Callable[[float], None]
) -> Iterator[tuple[float, asyncio.Event]]:
    """Call ``due`` in this event loop for each number, with when it was due, for so many seconds.

    Yields when it began, by ``time.perf_counter()``, and an event that is set at the end.
    """
    loop = asyncio.get_running_loop()
    child = subprocess.Popen(
        [sys.executable, "-m", __name__, str(rate), str(seconds)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
    )
    if child.stdin is None or child.stdout is None:
        raise AssertionError("pipes were asked for")
    pipe = child.stdout.fileno()
    ended = asyncio.Event()
    told = 0

    def read() -> None:
        nonlocal told
        count = len(os.read(pipe, _READ_BYTES))
        for number in range(told + 1, told + count + 1):
            due(begun + number / rate)
        told += count
        if not count:
            loop.remove_reader(pipe)
            ended.set()

    try:
        # It says when it is ready, and begins when it is told to.
        os.read(pipe, 1)
        loop.add_reader(pipe, read)
        # The clock is the same one in every process (CLOCK_MONOTONIC).
        begun = time.perf_counter()
        child.stdin.write(f"{begun}\n".encode())
        child.stdin.flush()
        yield begun, ended
    finally:
        loop.remove_reader(pipe)
        child.kill()
        child.communicate()


def main() -> None:
    """Write a byte for each number that is due."""
    rate, seconds = map(float, sys.argv[1:])
    out, count = sys.stdout.fileno(), int(rate * seconds)
    os.write(out, _READY)
    begun = float(sys.stdin.buffer.readline())
    told = 0
    while told < count:
        time.sleep(TICK_SECONDS)
        due = min(int((time.perf_counter() - begun) * rate), count)
        while told < due:
            told += os.write(out, b"." * (due - told))


if __name__ == "__main__":
    main()
