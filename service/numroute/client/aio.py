"""The client for asyncio programs."""

from __future__ import annotations

import asyncio
import functools
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Sequence
from datetime import datetime
from operator import length_hint
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, overload

import grpc
import grpc.aio
import numpy as np
from numpy.typing import NDArray

from numroute.client import messages
from numroute.client.channel import (
    CALLS_IN_FLIGHT,
    TIMEOUT_SECONDS,
    ClientBase,
    client_closed,
    timed_out,
)
from numroute.client.coalescing import Coalescer, Coalescing
from numroute.client.core import (
    NUMBERS_AT_ONCE_MAX,
    NUMBERS_PER_CHUNK,
    Question,
    Watch,
    bulk_question,
    text_question,
)
from numroute.client.messages import BulkAnswer, as_number
from numroute.client.security import PLAINTEXT, Security
from numroute.errors import ServiceError
from numroute.model import (
    Answer,
    Explanation,
    NumberAnswer,
    OperatorInfo,
    SnapshotInfo,
    SnapshotNews,
)

if TYPE_CHECKING:
    from typing_extensions import Self

AnswerT = TypeVar("AnswerT")
Result = TypeVar("Result")
P = ParamSpec("P")
Batch = NDArray[Any] | Sequence[int]


class AsyncClient(ClientBase):
    """The asyncio twin of ``Client``: the same methods and errors. Create it inside the loop.

    It also takes single numbers, from as many tasks as you like, and looks them up together::

        async with numroute.AsyncClient("localhost:50051") as client:
            answer = await client.lookup(79001234567)
            print(answer.status, answer.route)
    """

    _closed: asyncio.Event

    def __init__(
        self,
        target: str,
        *,
        timeout: float = TIMEOUT_SECONDS,
        numbers_per_chunk: int = NUMBERS_PER_CHUNK,
        security: Security = PLAINTEXT,
        coalescing: Coalescing | None = None,
    ) -> None:
        """Name a service as for ``Client``; ``coalescing`` says how single numbers are gathered."""
        try:
            self._loop = asyncio.get_running_loop()
        except RuntimeError:
            raise RuntimeError("make an AsyncClient inside its event loop") from None
        super().__init__(grpc.aio, target, timeout, numbers_per_chunk, security)
        self._coalescers = {
            (with_range_holder, with_ported_at): Coalescer(
                functools.partial(self._call, "BulkLookup"),
                target,
                coalescing or Coalescing(),
                with_range_holder=with_range_holder,
                with_ported_at=with_ported_at,
            )
            for with_range_holder in (False, True)
            for with_ported_at in (False, True)
        }
        self._closed = asyncio.Event()  # takes no more single numbers
        self._ended = asyncio.Event()  # the channel is closed

    @overload
    async def lookup(
        self,
        numbers: int,
        *,
        with_range_holder: bool = False,
        with_ported_at: bool = False,
        timeout: float | None = None,
    ) -> NumberAnswer: ...

    @overload
    async def lookup(
        self,
        numbers: NDArray[Any] | Sequence[int],
        *,
        with_range_holder: bool = False,
        with_ported_at: bool = False,
        timeout: float | None = None,
    ) -> BulkAnswer: ...

    async def lookup(
        self,
        numbers: NDArray[Any] | Sequence[int] | int,
        *,
        with_range_holder: bool = False,
        with_ported_at: bool = False,
        timeout: float | None = None,
    ) -> BulkAnswer | NumberAnswer:
        """Look up one number, or a batch.

        One whole number, an int, is answered with a ``NumberAnswer``. Numbers that many tasks ask
        for at about the same time travel together, see ``Coalescing``: ask for one number per task
        and let the client gather them. Its timeout includes its wait for others. A batch is
        answered as by ``Client.lookup``.
        """
        seconds = self._seconds(timeout)
        if isinstance(numbers, int | np.integer):
            if self._closed.is_set():
                raise client_closed()
            coalescer = self._coalescers[with_range_holder, with_ported_at]
            try:
                return await coalescer.ask(as_number(numbers), seconds)
            except asyncio.CancelledError:
                coalescer.abandoned()
                raise
        question = await _worked_off(
            length_hint(numbers) > NUMBERS_AT_ONCE_MAX,
            bulk_question,
            numbers,
            self._numbers_per_chunk,
            with_range_holder=with_range_holder,
            with_ported_at=with_ported_at,
        )
        return await self._ask(question, seconds)

    async def lookup_text(
        self,
        texts: Iterable[str],
        default_region: str | None = None,
        *,
        as_of: datetime | None = None,
        timeout: float | None = None,
    ) -> list[Answer]:
        """Look up phone numbers in any human format; see ``Client.lookup_text``."""
        question = text_question(texts, default_region, as_of)
        return await self._ask(question, self._seconds(timeout))

    async def stream(
        self,
        batches: Iterable[Batch] | AsyncIterable[Batch],
        *,
        with_range_holder: bool = False,
        with_ported_at: bool = False,
        timeout: float | None = None,
    ) -> AsyncIterator[BulkAnswer]:
        """Look up batch after batch, which may be asynchronous; see ``Client.stream``.

        Each answer is yielded as soon as it arrives, whether or not there is another batch.
        """
        seconds = self._seconds(timeout)
        make = functools.partial(
            bulk_question, with_range_holder=with_range_holder, with_ported_at=with_ported_at
        )
        asked: asyncio.Queue[asyncio.Task[BulkAnswer] | None] = asyncio.Queue()
        room = asyncio.Semaphore(CALLS_IN_FLIGHT)
        tasks: set[asyncio.Task[Any]] = set()

        async def ask_all() -> None:
            try:
                await room.acquire()
                async for batch in _each(batches):
                    large = length_hint(batch) > NUMBERS_AT_ONCE_MAX
                    question = await _worked_off(large, make, batch)
                    task = asyncio.create_task(self._ask(question, seconds))
                    tasks.add(task)
                    asked.put_nowait(task)
                    await room.acquire()
            finally:
                asked.put_nowait(None)

        asking = asyncio.create_task(ask_all())
        tasks.add(asking)
        try:
            while (first := await asked.get()) is not None:
                answer = await first
                tasks.remove(first)
                room.release()
                yield answer
            await asking
        finally:
            await _cancel(tasks)

    async def explain(
        self,
        text: str,
        default_region: str | None = None,
        *,
        as_of: datetime | None = None,
        timeout: float | None = None,
    ) -> Explanation:
        """Explain why a number is answered as it is; see ``Client.explain``."""
        request = messages.explain_request(text, default_region, as_of)
        response = await self._call("Explain", request, self._seconds(timeout))
        return messages.decoded(Explanation, response)

    async def operators(self, *, timeout: float | None = None) -> list[OperatorInfo]:
        """Return the operators that the current snapshot knows; see ``Client.operators``."""
        response = await self._call("ListOperators", b"", self._seconds(timeout))
        return messages.operators_response(response)

    async def snapshot(self, *, timeout: float | None = None) -> SnapshotInfo:
        """Return which snapshot answers now; see ``Client.snapshot``."""
        response = await self._call("GetSnapshot", b"", self._seconds(timeout))
        return messages.decoded(SnapshotInfo, response)

    async def watch_snapshots(self) -> AsyncIterator[SnapshotNews]:
        """Yield the snapshot that answers now, and each new one; see ``Client.watch_snapshots``."""
        watch = Watch(self._seconds(None), self._loop.time())
        while not self._closed.is_set():
            call: Any = self._watch(b"", metadata=self._token())
            try:
                async for response in call:
                    if news := watch.news(response):
                        yield news
                pause = watch.pause("OK", None, self._loop.time())
                if pause is None:
                    raise timed_out(self.target, self.timeout)
            except grpc.aio.AioRpcError as error:
                if self._closed.is_set():
                    return
                pause = watch.pause(error.code().name, error.trailing_metadata(), self._loop.time())
                if pause is None:
                    raise self._failure(error, self.timeout) from None
            except asyncio.CancelledError:
                # Closing the channel cancels its calls; cancelling this task still works.
                if self._closed.is_set() and not _cancelling():
                    return
                raise
            finally:
                call.cancel()
            await asyncio.sleep(pause)

    async def close(self) -> None:
        """Answer the single numbers that tasks wait for, then close the connection.

        Other calls under way end with ServiceError; ``watch_snapshots`` just ends.
        """
        self._closed.set()
        try:
            for coalescer in self._coalescers.values():
                await coalescer.flush()
        finally:
            self._ended.set()
            await self._channel.close(None)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _ask(self, question: Question[Any, AnswerT], seconds: float) -> AnswerT:
        """Send a question's requests, a few at once, and return the whole answer."""
        if question.chunk_count == 1:
            request = await _worked_off(question.large, question.message)
            response = await self._call(question.method, request, seconds)
            return await _worked_off(question.large, question.whole_answer, response)
        under_way: deque[tuple[int, asyncio.Task[bytes]]] = deque()
        try:
            while not question.done:
                while len(under_way) < CALLS_IN_FLIGHT and (
                    asked := await _worked_off(question.large, question.next_request)
                ):
                    call = self._call(question.method, asked[1], seconds)
                    under_way.append((asked[0], asyncio.create_task(call)))
                chunk, task = under_way.popleft()
                try:
                    response = await task
                except ServiceError as error:
                    question.refuse(chunk, error)
                else:
                    await _worked_off(question.large, question.accept, chunk, response)
        finally:
            await _cancel(task for _, task in under_way)
        return await _worked_off(question.large, question.answer)

    async def _call(self, method: str, request: bytes, seconds: float) -> bytes:
        now = self._loop.time
        end = now() + seconds
        tries = 0
        while True:
            if self._ended.is_set():
                raise client_closed()
            try:
                response: bytes = await self._methods[method](
                    request, timeout=end - now(), metadata=self._token()
                )
            except grpc.aio.AioRpcError as error:
                pause = self._pause(error, tries, end - now())
                if pause is None:
                    raise self._failure(error, seconds) from None
            except asyncio.CancelledError:
                # So grpc ends a call whose channel is closed; cancelling the task still works.
                if self._ended.is_set() and not _cancelling():
                    raise client_closed() from None
                raise
            else:
                self._reached = True
                return response
            await asyncio.sleep(pause)
            tries += 1

    def _seconds(self, timeout: float | None) -> float:
        """Return the timeout of one call after checking it and the event loop."""
        if asyncio.get_running_loop() is not self._loop:
            raise RuntimeError("an AsyncClient belongs to one event loop: make one in each loop")
        return super()._seconds(timeout)


async def _worked_off(
    large: bool,  # noqa: FBT001 - decides where
    work: Callable[P, Result],
    *args: P.args,
    **options: P.kwargs,
) -> Result:
    """Return what some work returns, done in a thread when it would hold up the event loop."""
    if large:
        return await asyncio.to_thread(work, *args, **options)
    return work(*args, **options)


async def _each(items: AsyncIterable[Batch] | Iterable[Batch]) -> AsyncIterator[Batch]:
    """Yield the items of either kind of iterable."""
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item


async def _cancel(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel tasks and wait until they have ended."""
    tasks = list(tasks)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _cancelling() -> bool:
    current = asyncio.current_task()
    # Python 3.10 cannot say.
    return bool(current and getattr(current, "cancelling", lambda: True)())
