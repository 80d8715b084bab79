"""Threads that look up large batches, shared fairly between clients and bounded in total.

Room is counted in numbers, not in calls: each client may have its share of it under way, and
further batches are refused at once instead of being queued until nobody wants the answer.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar

from numroute.errors import OverloadedError

Result = TypeVar("Result")

NUMBERS_UNDER_WAY_MAX = 4_000_000
"""How many numbers of large batches one process may have under way: 32 MB of requests, which take
about a fifth of a second. Clients that have some under way share them equally."""

NUMBERS_UNDER_WAY_HARD_MAX = 2 * NUMBERS_UNDER_WAY_MAX
"""With what clients took before others came: those get their share at once."""

NUMBERS_PER_SECOND = 20_000_000
"""A low estimate of what a process looks up, for the hint when to ask again."""

RETRY_SECONDS_MIN = 0.05


class _Batch(NamedTuple):
    numbers: int
    future: Future[Any]
    work: Callable[[], Any]


class Batches:
    """A queue of large batches, and threads that serve its clients in turns."""

    def __init__(self, threads: int) -> None:
        """Use this many threads."""
        self._threads = ThreadPoolExecutor(threads, "batch")
        self._lock = threading.Lock()
        self._waiting: dict[str, deque[_Batch]] = {}
        self._under_way: Counter[str] = Counter()
        # How many numbers each client was given: the one with the fewest is next. A new one starts
        # where the last one was.
        self._given: dict[str, int] = {}
        self._now = 0

    def submit(
        self,
        client: str,
        numbers: int,
        work: Callable[[], Result],
        admit: Callable[[int], None] = lambda _: None,
    ) -> Future[Result]:
        """Queue a batch; its future can be cancelled until a thread begins it.

        A client that has nothing under way gets room unless the service is quite full. Without room
        OverloadedError is raised; with it ``admit`` is called with the count of numbers, and its
        error refuses the batch.
        """
        future: Future[Result] = Future()
        with self._lock:
            mine, total = self._under_way[client], self._under_way.total()
            share = NUMBERS_UNDER_WAY_MAX // len(self._under_way.keys() | {client})
            if (mine and mine + numbers > share) or (
                total and total + numbers > NUMBERS_UNDER_WAY_HARD_MAX
            ):
                raise OverloadedError(
                    f"{total:,} numbers are being looked up, {mine:,} of them for this client",
                    retry_after_seconds=max(RETRY_SECONDS_MIN, total / NUMBERS_PER_SECOND),
                    hint="Ask again later, or have fewer batches under way",
                )
            # A turn too many does no harm; this fails where the system starts no thread.
            self._threads.submit(self._work)
            # Only now: what is not looked up counts against no quota.
            admit(numbers)
            self._under_way[client] += numbers
            self._given[client] = max(self._now, self._given.get(client, 0))
            queue = self._waiting.setdefault(client, deque())
            queue.append(_Batch(numbers, future, work))
        return future

    def close(self) -> None:
        """Finish queued batches and end the threads."""
        self._threads.shutdown()

    def _work(self) -> None:
        """Look up the batch whose turn it is: one for each call of this."""
        with self._lock:
            if not self._waiting:
                return
            client = min(self._waiting, key=self._given.__getitem__)
            batch = self._waiting[client].popleft()
            if not self._waiting[client]:
                del self._waiting[client]
            self._now = self._given[client]
            self._given[client] += batch.numbers
        # Skip a call that was given up while it waited.
        if batch.future.set_running_or_notify_cancel():
            try:
                batch.future.set_result(batch.work())
            except BaseException as error:  # noqa: BLE001 - it is raised where the call waits
                batch.future.set_exception(error)
        with self._lock:
            self._under_way[client] -= batch.numbers
            if not self._under_way[client]:
                del self._under_way[client]
                # What one was given ahead of the others still counts when it comes back.
                self._given = {
                    name: given
                    for name, given in self._given.items()
                    if given > self._now or name in self._under_way
                }
        # The error of a batch refers to this frame.
        del batch
