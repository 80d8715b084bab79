"""The client for asyncio programs."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from typing import TYPE_CHECKING, Any, Self, TypeVar, overload

import grpc
import grpc.aio
import numpy as np

from numroute import wire
from numroute.client import messages
from numroute.client.aio_streams import StreamTimeoutError, each, stream_lookup, watch_snapshots
from numroute.client.batch_stream import BatchStream
from numroute.client.channel import (
    CALLS_IN_FLIGHT,
    TIMEOUT_SECONDS,
    UNARY_METHODS,
    checked_chunk,
    checked_client_timeout,
    checked_timeout,
    client_closed,
    connection,
    service_error,
    timed_out,
)
from numroute.client.coalescing import Coalescer, Coalescing
from numroute.client.codec import Values, as_number, as_numbers
from numroute.client.plans import NUMBERS_PER_CHUNK, BulkPlan, TextPlan, one_request, rounds
from numroute.client.security import PLAINTEXT

if TYPE_CHECKING:
    from collections.abc import (
        AsyncIterable,
        AsyncIterator,
        Callable,
        Iterable,
        Iterator,
        Sequence,
    )
    from datetime import datetime

    from numpy.typing import NDArray

    from numroute.client.answers import BulkAnswer
    from numroute.client.plans import Plan
    from numroute.client.security import Security
    from numroute.model import (
        Answer,
        Explanation,
        NumberAnswer,
        OperatorInfo,
        SnapshotInfo,
        SnapshotNews,
    )

    AnswerT = TypeVar("AnswerT")


class AsyncClient:
    """The asyncio twin of ``Client``: the same methods, to be awaited. Make it inside the loop.

    It also takes numbers one by one, from as many tasks as you like, and asks for them together::

        async with numroute.AsyncClient("localhost:50051") as client:
            answer = await client.lookup(79001234567)
            print(answer.status, answer.route)
    """

    def __init__(
        self,
        target: str,
        *,
        timeout: float = TIMEOUT_SECONDS,
        numbers_per_chunk: int = NUMBERS_PER_CHUNK,
        security: Security = PLAINTEXT,
        coalescing: Coalescing | None = None,
    ) -> None:
        """Name a service.

        Args:
            target: As for ``Client``.
            timeout: As for ``Client``.
            numbers_per_chunk: As for ``Client``.
            security: As for ``Client``.
            coalescing: How single numbers are gathered into batches; None for the defaults.

        Raises:
            ValueError: As for ``Client``.
            SettingError: As for ``Client``.
            ServiceError: As for ``Client``.
        """
        self.target = target
        self.timeout = checked_client_timeout(timeout)
        self._numbers_per_chunk = checked_chunk(numbers_per_chunk)
        self._coalescing = Coalescing() if coalescing is None else coalescing
        self._coalescers: dict[tuple[bool, bool], Coalescer] = {}
        self._batches: BatchStream | None = None
        self._values = Values()
        made = connection(target, security)
        self._token = made.token
        self._closed = False  # takes no more single numbers
        self._ended = False  # the channel is closed
        self._channel = (
            grpc.aio.insecure_channel(made.uri, options=made.options)
            if made.credentials is None
            else grpc.aio.secure_channel(made.uri, made.credentials, options=made.options)
        )
        self._methods = {
            name: self._channel.unary_unary(wire.method_path(name), None, None)
            for name in UNARY_METHODS
        }
        self._stream = self._channel.stream_stream(wire.method_path("StreamLookup"), None, None)
        self._watch = self._channel.unary_stream(wire.method_path("WatchSnapshots"), None, None)

    @overload
    async def lookup(
        self,
        numbers: int,
        *,
        with_range_holder: bool = False,
        with_ported_at: bool = False,
        timeout: float | None = None,  # noqa: ASYNC109 - as below
    ) -> NumberAnswer: ...

    @overload
    async def lookup(
        self,
        numbers: NDArray[Any] | Sequence[int],
        *,
        with_range_holder: bool = False,
        with_ported_at: bool = False,
        timeout: float | None = None,  # noqa: ASYNC109 - as below
    ) -> BulkAnswer: ...

    async def lookup(
        self,
        numbers: NDArray[Any] | Sequence[int] | int,
        *,
        with_range_holder: bool = False,
        with_ported_at: bool = False,
        timeout: float | None = None,  # noqa: ASYNC109 - the deadline goes to the service
    ) -> BulkAnswer | NumberAnswer:
        """Look up one number, or a batch of them.

        One whole number, an int, is answered with a ``NumberAnswer``. What thousands of tasks ask
        for at about the same time travels together, see ``Coalescing``: ask one number per task
        and let the client gather them. A batch is answered as by ``Client.lookup``.

        Args:
            numbers: An int, or integer[n].
            with_range_holder: Also return who holds the range.
            with_ported_at: Also return when the number was ported.
            timeout: Seconds that the answer to one number may take, the wait for others included;
                with a batch, that each of its requests may take; the client's own when None.

        Raises:
            TypeError: The numbers are not integers of at most 64 bits.
            ValueError: The numbers are not one row, or some are negative.
            ServiceError: The service was not reached or did not answer.
        """
        seconds = self.timeout if timeout is None else checked_timeout(timeout)
        if isinstance(numbers, int | np.integer):
            if self._closed:
                raise client_closed()
            coalescer = self._coalescers.get((with_range_holder, with_ported_at))
            if coalescer is None:
                coalescer = self._coalescer(with_range_holder, with_ported_at)
            try:
                return await coalescer.ask(as_number(numbers), seconds)
            except asyncio.CancelledError:
                coalescer.abandoned()
                raise
        plan = BulkPlan(
            as_numbers(numbers),
            self._values,
            with_range_holder=with_range_holder,
            with_ported_at=with_ported_at,
            numbers_per_chunk=self._numbers_per_chunk,
        )
        return await self._carry_out(plan, seconds)

    async def lookup_text(
        self,
        texts: Iterable[str],
        default_region: str | None = None,
        *,
        as_of: datetime | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - the deadline goes to the service
    ) -> list[Answer]:
        """Look up phone numbers in any human format; see ``Client.lookup_text``."""
        plan = TextPlan(messages.as_texts(texts), default_region, as_of)
        return await self._carry_out(
            plan, self.timeout if timeout is None else checked_timeout(timeout)
        )

    async def stream(
        self,
        batches: Iterable[NDArray[Any] | Sequence[int]]
        | AsyncIterable[NDArray[Any] | Sequence[int]],
        *,
        with_range_holder: bool = False,
        with_ported_at: bool = False,
        timeout: float | None = None,  # noqa: ASYNC109 - each answer's, not the stream's
    ) -> AsyncIterator[BulkAnswer]:
        """Look up batch after batch over one connection; see ``Client.stream``.

        ``batches`` may be asynchronous. An answer is there as soon as it is known, whether another
        batch is or not.
        """
        seconds = self.timeout if timeout is None else checked_timeout(timeout)
        plans = (
            one_request(as_numbers(batch), self._values, with_range_holder, with_ported_at)
            async for batch in each(batches)
        )
        answers = stream_lookup(self._begin_stream, plans, seconds, self._fail(seconds))
        try:
            async with contextlib.aclosing(answers):
                async for answer in answers:
                    yield answer
        except StreamTimeoutError:
            raise timed_out(self.target, seconds) from None
        except asyncio.CancelledError:
            self._raise_if_closed()
            raise

    async def explain(
        self,
        text: str,
        default_region: str | None = None,
        *,
        as_of: datetime | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - the deadline goes to the service
    ) -> Explanation:
        """Say why a number is answered as it is; see ``Client.explain``."""
        request = messages.explain_request(text, default_region, as_of)
        return messages.explain_response(await self._call("Explain", request, timeout))

    async def operators(
        self,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - the deadline goes to the service
    ) -> list[OperatorInfo]:
        """Return the operators that the current snapshot knows; see ``Client.operators``."""
        request = messages.operators_request()
        return messages.operators_response(await self._call("ListOperators", request, timeout))

    async def snapshot(
        self,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - the deadline goes to the service
    ) -> SnapshotInfo:
        """Return which snapshot answers now; see ``Client.snapshot``."""
        request = messages.snapshot_request()
        return messages.snapshot_response(await self._call("GetSnapshot", request, timeout))

    def watch_snapshots(self) -> AsyncIterator[SnapshotNews]:
        """Yield the snapshot that answers now, and each new one; see ``Client.watch_snapshots``."""
        return watch_snapshots(
            self._begin_watch, self.timeout, self._fail(self.timeout), lambda: self._closed
        )

    async def close(self) -> None:
        """Answer the single numbers that are waited for, then end the connection.

        Other calls that are under way end with ServiceError; ``watch_snapshots`` just ends.
        """
        self._closed = True
        try:
            for coalescer in self._coalescers.values():
                await coalescer.flush()
        finally:
            self._ended = True
            try:
                if self._batches is not None:
                    await self._batches.close()
            finally:
                await self._channel.close(None)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _carry_out(self, plan: Plan[Any, AnswerT], seconds: float) -> AnswerT:
        for chunks in rounds(plan, seconds):
            await self._ask(plan, chunks, seconds)
        return plan.answer()

    async def _ask(self, plan: Plan[Any, AnswerT], chunks: list[int], seconds: float) -> None:
        """Send the requests of these chunks, a few at once, and hand the responses to the plan."""
        left = iter(chunks)
        senders = [
            asyncio.ensure_future(self._send(plan, left, seconds))
            for _ in range(min(CALLS_IN_FLIGHT, len(chunks)))
        ]
        try:
            await asyncio.gather(*senders)
        finally:
            for sender in senders:
                sender.cancel()

    async def _send(self, plan: Plan[Any, AnswerT], chunks: Iterator[int], seconds: float) -> None:
        """Send one request after the other for as long as there are chunks."""
        for chunk in chunks:
            plan.accept(chunk, await self._call(plan.method, plan.request(chunk), seconds))

    async def _call(
        self,
        method: str,
        request: bytes,
        timeout: float | None,  # noqa: ASYNC109 - the deadline goes to the service
    ) -> bytes:
        seconds = self.timeout if timeout is None else checked_timeout(timeout)
        if self._ended:
            raise client_closed()
        try:
            response: bytes = await self._methods[method](
                request, timeout=seconds, metadata=self._token.metadata()
            )
        except grpc.aio.AioRpcError as error:
            raise self._fail(seconds)(error) from None
        except asyncio.CancelledError:
            self._raise_if_closed()
            raise
        return response

    def _coalescer(self, with_range_holder: bool, with_ported_at: bool) -> Coalescer:  # noqa: FBT001 - a key
        if self._batches is None:
            self._batches = BatchStream(
                self._stream,
                self._token.metadata,
                functools.partial(self._call, "BulkLookup"),
                functools.partial(timed_out, self.target),
            )
        coalescer = self._coalescers[with_range_holder, with_ported_at] = Coalescer(
            self._batches.send,
            functools.partial(timed_out, self.target),
            self._values,
            self._coalescing,
            with_range_holder=with_range_holder,
            with_ported_at=with_ported_at,
        )
        return coalescer

    def _begin_stream(self) -> Any:  # noqa: ANN401 - grpc names no type
        if self._ended:
            raise client_closed()
        return self._stream(None, metadata=self._token.metadata())

    def _begin_watch(self) -> Any:  # noqa: ANN401 - as above
        return self._watch(messages.watch_request(), metadata=self._token.metadata())

    def _raise_if_closed(self) -> None:
        """Raise the error of a call that ended because the channel was closed under it.

        grpc ends such a call as if its task were cancelled; whoever really cancels the task is
        heard all the same.
        """
        current = asyncio.current_task()
        if self._ended and not (current and current.cancelling()):
            raise client_closed() from None

    def _fail(self, seconds: float) -> Callable[[grpc.aio.AioRpcError], Exception]:
        """Return what makes our error of a call's."""

        def fail(error: grpc.aio.AioRpcError) -> Exception:
            return service_error(
                self.target, seconds, error.code(), error.details(), error.trailing_metadata()
            )

        return fail
