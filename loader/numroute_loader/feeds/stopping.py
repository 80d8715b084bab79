"""SIGTERM and SIGINT end a watcher within seconds, wherever it is.

Nothing needs to be finished first: the store and the spool are consistent after every system call.
So a signal is raised as an exception in the main thread and cuts off a build or a download.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopRequested(KeyboardInterrupt):
    """A stop signal came. asyncio lets only interrupts pass through its callbacks."""


class Stopping:
    """Whether a stop signal has come, and a way to sleep until one does."""

    def __init__(self) -> None:
        """Nothing was asked yet."""
        self._asked = threading.Event()

    def sleep(self, seconds: float) -> None:
        """Sleep, or raise StopRequested."""
        if self._asked.wait(seconds):
            raise StopRequested

    def check(self) -> None:
        """Raise StopRequested if a signal has come; one may have been lost in foreign code."""
        if self._asked.is_set():
            raise StopRequested

    def handle(self, _signal: int, _frame: FrameType | None) -> None:
        """Raise StopRequested in the main thread, once."""
        if not self._asked.is_set():
            self._asked.set()
            raise StopRequested


@contextlib.contextmanager
def stopping() -> Iterator[Stopping]:
    """Turn stop signals into StopRequested until the block ends; from the main thread only."""
    stop = Stopping()
    before = [signal.signal(each, stop.handle) for each in _SIGNALS]
    try:
        yield stop
    finally:
        for each, handler in zip(_SIGNALS, before, strict=True):
            signal.signal(each, handler)
