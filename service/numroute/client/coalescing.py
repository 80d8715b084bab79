"""Gather the single numbers of many tasks into batches.

A remote call costs about a hundred times what a number in it costs, so numbers that are asked for
at about the same time travel together. While no batch is under way, the next one is sent at once;
otherwise when it is full or has waited long enough. A lone number is therefore never held back, and
the busier the client, the larger its batches.
"""

from __future__ import annotations

import asyncio
import itertools
import math
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timezone

import numpy as np

from numroute import wire
from numroute.client import messages
from numroute.client.channel import TIMEOUT_SECONDS_MAX, timed_out
from numroute.client.core import NUMBERS_PER_CHUNK_MAX
from numroute.client.messages import BulkAnswer
from numroute.errors import ServiceError
from numroute.model import NumberAnswer, Operator

NUMBERS_PER_BATCH = 1_000
"""The most numbers in one batch. Its tasks take a few milliseconds to run when they are woken."""

WAIT_SECONDS = 0.003
"""The longest that a number waits for others while a batch is under way.

A shorter wait makes more and smaller batches, and their share of the event loop makes everything
late: at half of the client's capacity, p99 was 5.8 ms with one millisecond and 4.4 to 4.9 with two
and three.
"""

BATCHES_IN_FLIGHT = 4
"""How many batches are under way at once; further numbers wait until one of them ends."""

TASKS_WOKEN_AT_ONCE = 100
"""How many tasks are woken in one turn of the event loop: less than a millisecond."""

_LATE_SECONDS = 0.01
"""How late a number may time out. A batch does that long after its last number's deadline, so that
each task gets its own error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Coalescing:
    """How single numbers are gathered.

    A batch has at most ``numbers_max``. A number waits at most ``wait_seconds`` for others while a
    batch is under way; at most ``in_flight_max`` batches are.
    """

    numbers_max: int = NUMBERS_PER_BATCH
    wait_seconds: float = WAIT_SECONDS
    in_flight_max: int = BATCHES_IN_FLIGHT

    def __post_init__(self) -> None:
        """Refuse a limit that is out of its range."""
        if not 1 <= self.numbers_max <= NUMBERS_PER_CHUNK_MAX:
            raise ValueError(f"numbers_max must be from 1 to {NUMBERS_PER_CHUNK_MAX}")
        if self.wait_seconds < 0:
            raise ValueError("wait_seconds must not be negative")
        if self.in_flight_max < 1:
            raise ValueError("in_flight_max must be at least 1")


class _Waiter(asyncio.Future["NumberAnswer"]):
    """The future of one number's answer, with its timeout and its deadline in the loop's time.

    One object instead of a future and a record: with thousands of tasks under way, an asyncio
    program spends much of its time in the garbage collector, walking through its objects.
    """

    __slots__ = ("deadline", "number", "seconds")

    number: int
    seconds: float
    deadline: float


class Coalescer:
    """Gathers the numbers of all tasks that ask for the same columns.

    Numbers are sent in the order in which they were asked for. A cancelled task does not affect the
    others; an error reaches only the tasks of its batch. Belongs to one event loop.
    """

    def __init__(
        self,
        send: Callable[[bytes, float], Awaitable[bytes]],
        target: str,
        settings: Coalescing,
        *,
        with_range_holder: bool,
        with_ported_at: bool,
    ) -> None:
        """Send each batch to ``target`` with ``send``, which takes the request and a timeout."""
        self._send = send
        self._target = target
        self._settings = settings
        self._columns = {"with_range_holder": with_range_holder, "with_ported_at": with_ported_at}
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[_Waiter] = deque()
        self._under_way: dict[asyncio.Task[None], list[_Waiter]] = {}
        self._soon: asyncio.Handle | None = None
        self._later: asyncio.TimerHandle | None = None
        self._expiry: asyncio.TimerHandle | None = None
        self._abandoning: asyncio.Handle | None = None

    def ask(self, number: int, seconds: float) -> asyncio.Future[NumberAnswer]:
        """Return the future of the answer to a number from 0 to 2^64 - 1.

        It ends with ServiceError when the service was not reached or did not answer within
        ``seconds``. A caller that cancels it must call ``abandoned``.
        """
        waiter = _Waiter(loop=self._loop)
        waiter.number = number
        waiter.seconds = seconds
        waiter.deadline = self._loop.time() + seconds
        self._waiting.append(waiter)
        if self._expiry is None or waiter.deadline < self._expiry.when():
            if self._expiry is not None:
                self._expiry.cancel()
            self._expiry = self._loop.call_at(waiter.deadline, self._expire)
        self._arrange()
        return waiter

    def abandoned(self) -> None:
        """Check, soon, whether a batch has no waiting task left."""
        if self._abandoning is None:
            self._abandoning = self._loop.call_soon(self._drop_abandoned)

    async def flush(self) -> None:
        """Send the waiting numbers; return when every task has its answer or its error."""
        while self._waiting or self._under_way:
            self._send_waiting()
            if self._under_way:
                await asyncio.wait(self._under_way, return_when=asyncio.FIRST_COMPLETED)

    def _arrange(self) -> None:
        """Schedule the next batch: soon when none is under way, otherwise after a wait."""
        if not self._waiting or len(self._under_way) >= self._settings.in_flight_max:
            return
        if not self._under_way or len(self._waiting) >= self._settings.numbers_max:
            if self._soon is None:
                # Not at once: other tasks that run in this turn of the loop can join the batch.
                self._soon = self._loop.call_soon(self._send_waiting)
        elif self._later is None:
            self._later = self._loop.call_later(self._settings.wait_seconds, self._send_waiting)

    def _send_waiting(self) -> None:
        """Send the waiting numbers, as far as there is room."""
        for handle in (self._soon, self._later):
            if handle is not None:
                handle.cancel()
        self._soon = self._later = None
        while self._waiting and len(self._under_way) < self._settings.in_flight_max:
            count = min(len(self._waiting), self._settings.numbers_max)
            taken = [self._waiting.popleft() for _ in range(count)]
            batch = [waiter for waiter in taken if not waiter.done()]
            if batch:
                task = self._loop.create_task(self._carry_out(batch))
                self._under_way[task] = batch
                task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        del self._under_way[task]
        self._arrange()

    async def _carry_out(self, batch: list[_Waiter]) -> None:
        """Look a batch up and give each of its tasks its answer or the error."""
        numbers = np.array([waiter.number for waiter in batch], np.uint64)
        request = wire.bulk_request(numbers, **self._columns)
        seconds = max(waiter.deadline for waiter in batch) - self._loop.time() + _LATE_SECONDS
        seconds = min(seconds, TIMEOUT_SECONDS_MAX)
        try:
            response = await self._send(request, seconds)
            _, found = messages.bulk_response(response, len(batch), **self._columns)
            answered = zip(batch, _answers(batch, found), strict=True)
            for at, (waiter, answer) in enumerate(answered):
                if at and at % TASKS_WOKEN_AT_ONCE == 0:
                    await asyncio.sleep(0)  # the loop's other work runs
                if not waiter.done():
                    waiter.set_result(answer)
        except BaseException as fault:
            error = fault
            if not isinstance(error, ServiceError):
                error = ServiceError(f"the client failed: {type(fault).__name__}", code="INTERNAL")
            for waiter in batch:
                if not waiter.done():
                    # One error each: a traceback belongs to the task that raises it.
                    waiter.set_exception(replace(error))
            if error is not fault:
                raise

    def _expire(self) -> None:
        """Fail the numbers whose deadline has passed, and set the timer for the next one."""
        self._expiry = None
        now, following = self._loop.time(), math.inf
        for waiter in itertools.chain(self._waiting, *self._under_way.values()):
            if waiter.done():
                continue
            if waiter.deadline <= now:
                waiter.set_exception(timed_out(self._target, waiter.seconds))
            else:
                following = min(following, waiter.deadline)
        if following < math.inf:
            # Not once for each of thousands of numbers, for it looks at all of them.
            following = max(following, now + _LATE_SECONDS)
            self._expiry = self._loop.call_at(following, self._expire)

    def _drop_abandoned(self) -> None:
        """Cancel the batches that nobody waits for, to make room for others."""
        self._abandoning = None
        for task, batch in self._under_way.items():
            if all(waiter.done() for waiter in batch):
                task.cancel()


def _answers(batch: list[_Waiter], found: BulkAnswer) -> list[NumberAnswer]:
    statuses = [route.status for route in found.routes]
    routes = [route if route.status.has_route else None for route in found.routes]
    indexes = found.route_index.tolist()
    times: Iterable[datetime | None] = itertools.repeat(None)
    if found.ported_at is not None:
        times = [
            datetime.fromtimestamp(seconds, timezone.utc) if seconds else None
            for seconds in found.ported_at.tolist()
        ]
    holders: Iterable[Operator | None] = itertools.repeat(None)
    if found.range_holder_index is not None:
        named = [None if holder == Operator() else holder for holder in found.range_holders]
        holders = map(named.__getitem__, found.range_holder_index.tolist())
    return [
        NumberAnswer(waiter.number, statuses[place], routes[place], found.snapshot, time, holder)
        for waiter, place, time, holder in zip(batch, indexes, times, holders, strict=False)
    ]
