"""The open calls of ``AsyncClient``: they go on where they were when a service goes away."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable
from typing import TYPE_CHECKING, Any, TypeVar

import grpc
import grpc.aio

from numroute.client import messages
from numroute.client.channel import BACKOFF_SECONDS, QUESTIONS_IN_FLIGHT, resume_after

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable

    from numroute.client.answers import BulkAnswer
    from numroute.client.plans import BulkPlan
    from numroute.model import SnapshotNews

    Begin = Callable[[], Any]
    """Begins a StreamLookup and returns the call."""

    Fail = Callable[[grpc.aio.AioRpcError], Exception]
    """Turns a call's error into one of ours."""

    Item = TypeVar("Item")


class StreamTimeoutError(Exception):
    """No answer came in time."""


class Questions:
    """What is asked on a stream: taken from the caller when there is room, kept until answered."""

    def __init__(self, plans: AsyncIterator[BulkPlan]) -> None:
        """Take from an iterator; :meth:`feed` does it."""
        self.waiting: deque[BulkPlan] = deque()
        self.answered = 0
        self.finished = False
        self.problem: BaseException | None = None
        self._plans = plans
        self._room = asyncio.Semaphore(QUESTIONS_IN_FLIGHT)
        self._changed = asyncio.Event()

    async def feed(self) -> None:
        """Take plans for as long as there are any; an error of the caller's is kept for later."""
        try:
            await self._room.acquire()
            async for plan in self._plans:
                self.waiting.append(plan)
                self._tell()
                await self._room.acquire()
        except Exception as problem:  # noqa: BLE001 - the caller's own, handed back after the answers
            self.problem = problem
        finally:
            self.finished = True
            self._tell()

    async def send(self, call: Any) -> None:  # noqa: ANN401 - grpc.aio does not name the type
        """Write every unanswered question to a call, and the new ones as they come."""
        sent = self.answered
        while True:
            changed = self._changed
            while sent < self.answered + len(self.waiting):
                await call.write(self.waiting[sent - self.answered].request(0))
                sent += 1
            if self.finished:
                await call.done_writing()
                return
            await changed.wait()

    async def any_waiting(self) -> bool:
        """Wait for a question without an answer; False when there will be none any more."""
        while not self.waiting and not self.finished:
            await self._changed.wait()
        return bool(self.waiting)

    def accept(self, response: bytes) -> BulkAnswer:
        """Return the answer to the question that has waited longest."""
        plan = self.waiting[0]
        plan.accept(0, response)
        self.waiting.popleft()
        self.answered += 1
        self._room.release()
        return plan.answer()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


async def stream_lookup(
    begin: Begin, plans: AsyncIterator[BulkPlan], seconds: float, fail: Fail
) -> AsyncGenerator[BulkAnswer]:
    """Yield the answers to plans of one request each, in their order.

    Raises:
        StreamTimeoutError: An answer took longer than ``seconds``, new attempts included.
        Exception: What ``fail`` makes of an error after which asking again is no use.
    """
    loop = asyncio.get_running_loop()
    questions = Questions(plans)
    feeding = asyncio.ensure_future(questions.feed())
    call: Any = None
    sending: asyncio.Future[None] | None = None
    tries, end = 0, 0.0
    try:
        while await questions.any_waiting():
            if not tries:
                end = loop.time() + seconds
            if call is None:
                call = begin()
                sending = asyncio.ensure_future(_send(questions, call))
            try:
                async with asyncio.timeout_at(end):
                    response = await _read(call)
            except TimeoutError:
                raise StreamTimeoutError from None
            except grpc.aio.AioRpcError as error:
                await _end(call, sending)
                call = None
                pause = resume_after(
                    error.code(),
                    error.trailing_metadata(),
                    tries,
                    answered=questions.answered > 0,
                )
                if pause is None or loop.time() + pause >= end:
                    raise fail(error) from None
                tries += 1
                await asyncio.sleep(pause)
                continue
            tries = 0
            yield questions.accept(response)
        if questions.problem is not None:
            raise questions.problem
    finally:
        feeding.cancel()
        if call is not None:
            await _end(call, sending)


async def watch_snapshots(
    begin: Begin, seconds: float, fail: Fail, closed: Callable[[], bool]
) -> AsyncGenerator[SnapshotNews]:
    """Yield what is announced, over as many calls as it takes, until ``closed`` says so.

    Raises:
        Exception: What ``fail`` makes of a refusal, or of a service that could not be reached for
            the first time within ``seconds``.
    """
    loop = asyncio.get_running_loop()
    announced: str | None = None
    tries, begun = 0, loop.time()
    while not closed():
        call = begin()
        try:
            while True:
                news = messages.watch_response(await _read(call))
                tries = 0
                if news.snapshot.id != announced:
                    announced = news.snapshot.id
                    yield news
        except grpc.aio.AioRpcError as error:
            if closed():
                return
            ended_well = error.code() is grpc.StatusCode.OK
            pause = (
                BACKOFF_SECONDS
                if ended_well
                else resume_after(error.code(), error.trailing_metadata(), tries, answered=True)
            )
            never = announced is None and loop.time() - begun > seconds
            if pause is None or never:
                raise fail(error) from None
        except asyncio.CancelledError:
            # Closing the channel cancels its calls; who cancels this task is heard all the same.
            current = asyncio.current_task()
            if closed() and not (current and current.cancelling()):
                return
            raise
        finally:
            call.cancel()
        tries += 1
        await asyncio.sleep(pause)


async def each(items: AsyncIterable[Item] | Iterable[Item]) -> AsyncIterator[Item]:
    """Yield the items of either kind of iterable."""
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item
            await asyncio.sleep(0)


async def _send(questions: Questions, call: Any) -> None:  # noqa: ANN401 - as above
    # Whoever reads hears of an error that ends the call.
    with contextlib.suppress(grpc.aio.AioRpcError, grpc.aio.UsageError, asyncio.InvalidStateError):
        await questions.send(call)


async def _read(call: Any) -> bytes:  # noqa: ANN401 - as above
    """Return the next response; an ended call raises its status as an error, OK as well."""
    response: Any = await call.read()
    if response is not grpc.aio.EOF:  # type: ignore[attr-defined] # the stubs lack it
        answer: bytes = response
        return answer
    raise grpc.aio.AioRpcError(
        await call.code(),
        await call.initial_metadata(),
        await call.trailing_metadata(),
        await call.details(),
        "",
    )


async def _end(call: Any, sending: asyncio.Future[None] | None) -> None:  # noqa: ANN401 - as above
    call.cancel()
    if sending is not None:
        sending.cancel()
        await asyncio.wait({sending})
