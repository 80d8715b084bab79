"""Threads that look up large batches, shared fairly between clients and bounded in total.

A large batch costs thousands of times what a single number does. So room is counted in numbers, not
in calls: each client may have its share of it under way, and further batches are refused at once
instead of being queued until nobody wants the answer. Small calls are looked up on the event loop
and never enter this queue.
"""

from __future__ import annotations

import heapq
import itertools
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeVar

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


@dataclass(frozen=True, slots=True, order=True)
class _Batch:
    tag: int
    order: int
    client: str = field(compare=False)
    numbers: int = field(compare=False)
    future: Future[Any] = field(compare=False)
    work: Callable[[], Any] = field(compare=False)


class Batches:
    """A queue of large batches, and the threads that serve its clients in turns."""

    def __init__(self, threads: int) -> None:
        """Start the threads."""
        self._changed = threading.Condition()
        self._waiting: list[_Batch] = []
        self._order = itertools.count()
        self._closed = False
        # By client: numbers under way, and how much work lies before its next batch.
        self._under_way: Counter[str] = Counter()
        self._total = 0
        self._ahead: dict[str, int] = {}
        self._now = 0
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

        A client that has nothing under way gets room unless the service is quite full. When there
        is room, ``admit`` is called with the count of numbers; its error refuses the batch.

        Raises:
            OverloadedError: The client has its share under way already, or there is no room left.
        """
        future: Future[Result] = Future()
        with self._changed:
            self._require_room(client, numbers)
            if admit is not None:
                # Only now: what finds no room counts against no quota.
                admit(numbers)
            self._under_way[client] += numbers
            self._total += numbers
            # Start-time fair queueing: a batch comes when those of other clients have had as many
            # numbers looked up as its own client's before it.
            tag = max(self._now, self._ahead.get(client, 0))
            self._ahead[client] = tag + numbers
            item = _Batch(tag, next(self._order), client, numbers, future, work)
            heapq.heappush(self._waiting, item)
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
        mine = self._under_way[client]
        share = NUMBERS_UNDER_WAY_MAX // len(self._under_way.keys() | {client})
        if (mine and mine + numbers > share) or (
            self._total and self._total + numbers > NUMBERS_UNDER_WAY_HARD_MAX
        ):
            raise OverloadedError(
                f"{self._total:,} numbers are being looked up, {mine:,} of them for this client",
                retry_after_seconds=max(RETRY_SECONDS_MIN, self._total / NUMBERS_PER_SECOND),
                hint="Ask again later, or have fewer batches under way",
            )

    def _give_room(self, batch: _Batch) -> None:
        self._total -= batch.numbers
        self._under_way[batch.client] -= batch.numbers
        if not self._under_way[batch.client]:
            del self._under_way[batch.client]
            if self._ahead.get(batch.client, 0) <= self._now:
                self._ahead.pop(batch.client, None)
        if not self._total:
            # Nobody waits: the order of clients no longer matters.
            self._ahead.clear()

    def _work(self) -> None:
        while (batch := self._next()) is not None:
            # Skip a call that was given up while it waited.
            if batch.future.set_running_or_notify_cancel():
                try:
                    result = batch.work()
                except BaseException as error:  # noqa: BLE001 - it is raised where the call waits
                    batch.future.set_exception(error)
                else:
                    batch.future.set_result(result)
                    del result
            with self._changed:
                self._give_room(batch)
            # Neither the answer nor its snapshot is held until the next batch comes.
            del batch

    def _next(self) -> _Batch | None:
        """Wait for the next batch; None when the queue is closed and empty."""
        with self._changed:
            while not self._waiting and not self._closed:
                self._changed.wait()
            if not self._waiting:
                return None
            batch = heapq.heappop(self._waiting)
            self._now = max(self._now, batch.tag)
            return batch
