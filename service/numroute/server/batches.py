"""Threads that look up large batches, shared fairly between clients and bounded in total.

Room is counted in numbers, not in calls: each client may have its share of it under way, and
further batches are refused at once instead of being queued until nobody wants the answer.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, NamedTuple, TypeVar

from numroute.errors import OverloadedError

Result = TypeVar("Result")

NUMBERS_UNDER_WAY_MAX = 4_000_000
"""How many numbers of large batches one process may have under way: 32 MB of requests, which take
about a fifth of a second. Clients that have some under way share them equally."""

NUMBERS_UNDER_WAY_HARD_MAX = 2 * NUMBERS_UNDER_WAY_MAX
"""The same where shares were given before other clients came."""

NUMBERS_PER_SECOND = 20_000_000
"""A low estimate of what a process looks up, for the hint when to ask again."""

RETRY_SECONDS_MIN = 0.05


class _Batch(NamedTuple):
    client: str
    numbers: int
    future: Future[Any]
    work: Callable[[], Any]


class Batches:
    """A queue of large batches, and the threads that serve its clients in turns."""

    def __init__(self, threads: int) -> None:
        """Start the threads."""
        self._changed = threading.Condition()
        self._waiting: dict[str, deque[_Batch]] = {}
        self._under_way: Counter[str] = Counter()
        # How many numbers each client was given: the one with the fewest is next. A new one starts
        # where the last one was.
        self._given: dict[str, int] = {}
        self._now = 0
        self._closed = False
        self._threads = [
            threading.Thread(target=self._work, name=f"batch-{place}", daemon=True)
            for place in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def submit(
        self,
        client: str,
        numbers: int,
        work: Callable[[], Result],
        admit: Callable[[int], None] | None = None,
    ) -> Future[Result]:
        """Queue a batch; its future can be cancelled until a thread begins it.

        A client that has nothing under way gets room unless the service is quite full. Without room
        OverloadedError is raised; with it ``admit`` is called with the count of numbers, and its
        error refuses the batch.
        """
        future: Future[Result] = Future()
        with self._changed:
            self._require_room(client, numbers)
            if admit is not None:
                # Only now: what finds no room counts against no quota.
                admit(numbers)
            self._under_way[client] += numbers
            self._given[client] = max(self._now, self._given.get(client, 0))
            queue = self._waiting.setdefault(client, deque())
            queue.append(_Batch(client, numbers, future, work))
            self._changed.notify()
        return future

    def close(self) -> None:
        """Finish queued batches and end the threads."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _require_room(self, client: str, numbers: int) -> None:
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

    def _work(self) -> None:
        while (batch := self._next()) is not None:
            # Skip a call that was given up while it waited.
            if batch.future.set_running_or_notify_cancel():
                try:
                    batch.future.set_result(batch.work())
                except BaseException as error:  # noqa: BLE001 - it is raised where the call waits
                    batch.future.set_exception(error)
            with self._changed:
                self._under_way[batch.client] -= batch.numbers
                if not self._under_way[batch.client]:
                    del self._under_way[batch.client]
                    # What one was given ahead of the others still counts when it comes back.
                    self._given = {
                        client: given
                        for client, given in self._given.items()
                        if given > self._now or client in self._under_way
                    }
            # Neither the answer nor its snapshot is held until the next batch comes.
            del batch

    def _next(self) -> _Batch | None:
        """Wait for the next batch; None when the queue is closed and empty."""
        with self._changed:
            while not self._waiting and not self._closed:
                self._changed.wait()
            if not self._waiting:
                return None
            client = min(self._waiting, key=self._given.__getitem__)
            batch = self._waiting[client].popleft()
            if not self._waiting[client]:
                del self._waiting[client]
            self._now = self._given[client]
            self._given[client] += batch.numbers
            return batch
