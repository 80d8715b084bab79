"""The service's methods: bytes in, bytes out; the pipeline of ``guard`` surrounds each.

Methods take and return serialised messages: a bulk answer never becomes a message object, and a
request that cannot be parsed gets a status of our choosing.
"""

from __future__ import annotations

import asyncio
import functools
import os
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Future

import grpc
import numpy as np
from structlog.typing import FilteringBoundLogger

from numroute import wire
from numroute.answers import answer_texts, explain_text
from numroute.errors import (
    LimitExceededError,
    OtherSnapshotError,
    OverloadedError,
    SettingError,
    StoppingError,
)
from numroute.server.batches import Batches
from numroute.server.follower import Follower
from numroute.server.guard import STREAM, WATCH, Call, Guard, Pipeline
from numroute.server.limits import (
    NUMBERS_INLINE_MAX,
    NUMBERS_PER_BULK_MAX,
    NUMBERS_PER_LOOKUP_MAX,
    STREAM_QUESTIONS_IN_WORK_MAX,
)
from numroute.server.view import View, only_number, operator_list
from numroute.v1 import number_routing_pb2 as pb

PIECE_TEXTS = 64
"""How many texts are answered before other requests get their turn: about 2 ms."""

CHECK_SECONDS = 0.25
"""How often an open ``WatchSnapshots`` checks that its client may still watch, and for a drain."""


class NumberRouting:
    """``numroute.v1.NumberRouting`` over the snapshot that the follower keeps in service."""

    def __init__(
        self, follower: Follower, log: FilteringBoundLogger, guards: Sequence[Guard] = ()
    ) -> None:
        """Answer the calls that the guards admit; faults are logged."""
        self._follower = follower
        self.pipeline = Pipeline(guards, log)
        self._reading: set[asyncio.Task[None]] = set()
        self._draining = False
        # numpy lets other threads run during its long loops: large batches use several cores and
        # do not keep small ones waiting.
        self._batches = Batches(max(2, os.cpu_count() or 1))

    def drain(self) -> None:
        """End the calls that stay open; questions read before are still answered."""
        # An idle stream would delay every stop by the whole drain limit.
        self._draining = True
        for task in self._reading:
            task.cancel()

    def close(self) -> None:
        """Wait for batches in threads, also those of calls that were given up."""
        self._batches.close()

    def handler(self) -> grpc.GenericRpcHandler[bytes, bytes]:
        """Return the service as a handler that a ``grpc.aio`` server takes."""
        answering = self.pipeline.answering
        unary = {
            "Lookup": self.lookup,
            "BulkLookup": self.bulk_lookup,
            "Explain": self.explain,
            "GetSnapshot": self.get_snapshot,
            "ListOperators": self.list_operators,
        }
        handlers = {
            STREAM: grpc.stream_stream_rpc_method_handler(answering(STREAM, self.stream_lookup)),
            WATCH: grpc.unary_stream_rpc_method_handler(answering(WATCH, self.watch_snapshots)),
        }
        for name, method in unary.items():
            handlers[name] = grpc.unary_unary_rpc_method_handler(answering(name, method))
        return grpc.method_handlers_generic_handler(wire.SERVICE_NAME, handlers)

    async def bulk_lookup(self, request: bytes, call: Call) -> bytes:
        """Answer a ``BulkLookupRequest`` with a ``BulkLookupResponse``."""
        number = only_number(request)
        if number is not None:
            with self._follower.current() as view:
                # After all that may refuse it: a question that is not answered costs no quota.
                call.ask(1)
                return view.answer_one(number)
        numbers, options = wire.bulk_request_parts(request)
        _check_limit(len(numbers), NUMBERS_PER_BULK_MAX)
        view = self._follower.current()
        self._check_snapshot(view, options.snapshot_id)
        answer = functools.partial(
            view.bulk_answer,
            numbers,
            with_range_holder=options.with_range_holder,
            with_ported_at=options.with_ported_at,
            require_wanted=call.require_wanted,
        )
        with view:
            if len(numbers) <= NUMBERS_INLINE_MAX:
                call.ask(len(numbers))
                return answer()
            work = await self._queued(call, len(numbers), answer)
            # This lease ends with the thread's work, not with this coroutine: a call that its
            # client cancels leaves the thread reading the snapshot.
            view.acquire()
            work.add_done_callback(lambda _: view.release())
        return await asyncio.wrap_future(work)

    async def lookup(self, request: bytes, call: Call) -> bytes:
        """Answer a ``LookupRequest`` with a ``LookupResponse``."""
        message = pb.LookupRequest.FromString(request)
        texts = message.numbers
        _check_limit(len(texts), NUMBERS_PER_LOOKUP_MAX)
        with await self._view(message) as view:
            self._check_snapshot(view, message.snapshot_id)
            # After all that may refuse it: a question that is not answered costs no quota.
            call.ask(len(texts))
            ref = view.ref()
            response = pb.LookupResponse(snapshot=wire.message(ref))
            for start in range(0, len(texts), PIECE_TEXTS):
                if start:
                    await asyncio.sleep(0)
                piece = texts[start : start + PIECE_TEXTS]
                answers = answer_texts(view.snapshot, ref, piece, message.default_region or None)
                view.answers.add(np.array([answer.status for answer in answers], np.uint8))
                response.answers.extend(wire.message(answer) for answer in answers)
        return response.SerializeToString()

    async def explain(self, request: bytes, call: Call) -> bytes:
        """Answer an ``ExplainRequest`` with an ``ExplainResponse``."""
        message = pb.ExplainRequest.FromString(request)
        with await self._view(message) as view:
            call.ask(1)
            found = explain_text(
                view.snapshot, view.ref(), message.number, message.default_region or None
            )
        response: pb.ExplainResponse = wire.message(found)
        return response.SerializeToString()

    async def get_snapshot(self, request: bytes, call: Call) -> bytes:
        """Answer a ``GetSnapshotRequest`` with a ``GetSnapshotResponse``."""
        pb.GetSnapshotRequest.FromString(request)
        call.ask(0)
        with self._follower.current() as view:
            return view.description(now=time.time()).SerializeToString()

    async def list_operators(self, request: bytes, call: Call) -> bytes:
        """Answer a ``ListOperatorsRequest`` with a ``ListOperatorsResponse``."""
        pb.ListOperatorsRequest.FromString(request)
        call.ask(0)
        with self._follower.current() as view:
            if view.operators is None:
                # Every route of the snapshot is read, which takes a while.
                message = await asyncio.to_thread(operator_list, view.snapshot)
                view.operators = message.SerializeToString()
            reference = pb.ListOperatorsResponse(snapshot=wire.message(view.ref()))
            return view.operators + reference.SerializeToString()

    async def stream_lookup(self, questions: AsyncIterator[bytes], call: Call) -> None:
        """Answer a stream of ``BulkLookupRequest``, in order.

        At most STREAM_QUESTIONS_IN_WORK_MAX questions are read and not answered: while the client
        takes no answer, nothing more is read. The first question that cannot be answered ends the
        stream with its error, after the answers before it. So does a drain, with StoppingError,
        after all answers.
        """
        room = asyncio.Semaphore(STREAM_QUESTIONS_IN_WORK_MAX)
        answers: asyncio.Queue[asyncio.Future[bytes] | None] = asyncio.Queue()
        failed = False

        async def answer(question: bytes) -> bytes:
            nonlocal failed
            read = time.perf_counter()
            try:
                response = await self.bulk_lookup(question, call)
            except BaseException:
                failed = True
                raise
            # Not the time until it is sent, which depends on the client.
            call.answered(time.perf_counter() - read)
            return response

        async def read_all() -> None:
            await room.acquire()
            async for question in questions:
                if failed:
                    # The failed question ends the stream: later ones must not be counted.
                    return
                answers.put_nowait(asyncio.ensure_future(answer(question)))
                await room.acquire()

        reading = asyncio.create_task(read_all())
        # Not a `finally` in it: a drain may cancel it before it has begun.
        reading.add_done_callback(lambda _: answers.put_nowait(None))
        self._reading.add(reading)
        if self._draining:
            reading.cancel()
        try:
            while (answered := await answers.get()) is not None:
                await call.context.write(await answered)
                room.release()
        finally:
            self._reading.discard(reading)
            reading.cancel()
            _cancel_all(answers)
        if reading.cancelled():
            raise _stopping()
        reading.result()

    async def watch_snapshots(self, request: bytes, call: Call) -> None:
        """Announce the snapshot in service and each that takes its place, until the drain.

        A slow client gets only the latest, so that nothing is queued for it.
        """
        pb.WatchSnapshotsRequest.FromString(request)
        call.ask(0)
        announced = None
        while not self._draining:
            try:
                async with asyncio.timeout(CHECK_SECONDS):
                    next_view = await self._follower.next_after(announced)
            except TimeoutError:
                call.check()
                continue
            with next_view as view:
                announced = view.id
                message = view.announcement().SerializeToString()
            await call.context.write(message)
        raise _stopping()

    async def _view(self, request: pb.LookupRequest | pb.ExplainRequest) -> View:
        """Return the snapshot of a request's ``as_of``; without one that in service."""
        if not request.HasField("as_of"):
            return self._follower.current()
        try:
            moment = wire.time_value(request.as_of)
        except (OverflowError, ValueError):
            raise SettingError(
                "as_of is not a valid time", hint="Give a time between the years 1 and 9999"
            ) from None
        return await self._follower.at(moment)

    def _check_snapshot(self, view: View, wanted: str) -> None:
        if wanted and wanted != view.id:
            raise OtherSnapshotError(
                self._follower.store.path,
                f"the answer would come from snapshot {view.id}, the request names another",
                hint="Ask another replica, or ask the whole question again without snapshot_id",
            )

    async def _queued(self, call: Call, count: int, answer: Callable[[], bytes]) -> Future[bytes]:
        """Queue a large batch; without room a stream's batch waits, any other is refused."""
        while True:
            try:
                return self._batches.submit(
                    call.client or call.context.peer(), count, answer, call.ask
                )
            except OverloadedError as error:
                if call.method != STREAM:
                    raise
                # Meanwhile the stream is not read any further.
                await asyncio.sleep(error.retry_after_seconds)


def _check_limit(actual: int, limit: int) -> None:
    if actual > limit:
        raise LimitExceededError(
            "numbers", actual=actual, limit=limit, hint="Split the request into several"
        )


def _cancel_all(answers: asyncio.Queue[asyncio.Future[bytes] | None]) -> None:
    while not answers.empty():
        if (left := answers.get_nowait()) is not None:
            left.cancel()


def _stopping() -> StoppingError:
    return StoppingError("the service is stopping", hint="Ask again, or ask another replica")
