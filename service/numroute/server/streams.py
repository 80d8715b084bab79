"""The calls that stay open: batches over one connection, and announcements of snapshots."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable

from numroute.errors import StoppingError
from numroute.server.follower import Follower
from numroute.server.guard import Call, Write
from numroute.server.limits import STREAM_QUESTIONS_IN_WORK_MAX
from numroute.server.view import announcement
from numroute.v1 import number_routing_pb2 as pb

CHECK_SECONDS = 0.25
"""How often an open ``WatchSnapshots`` checks that its client may still watch, and for a drain."""


class Streams:
    """``StreamLookup`` and ``WatchSnapshots``; both end when the service drains."""

    def __init__(
        self, follower: Follower, answer: Callable[[bytes, Call], Awaitable[bytes]]
    ) -> None:
        """Announce the follower's snapshots; ``answer`` answers one message of a stream."""
        self._follower = follower
        self._answer = answer
        self._reading: set[asyncio.Task[None]] = set()
        self._draining = False

    def drain(self) -> None:
        """Take no more questions and announce no more snapshots.

        Questions read before are still answered; then each stream ends with StoppingError. Without
        this an idle stream would delay every stop by the whole drain limit.
        """
        self._draining = True
        for task in self._reading:
            task.cancel()

    async def stream_lookup(
        self, questions: AsyncIterator[bytes], write: Write, call: Call
    ) -> None:
        """Answer a stream of ``BulkLookupRequest``, in order.

        At most STREAM_QUESTIONS_IN_WORK_MAX questions are read and not answered: while ``write``
        waits for the client to take an answer, nothing more is read. The first question that
        cannot be answered ends the stream with its error, after the answers before it.
        So does a drain, with StoppingError, after all answers.
        """
        room = asyncio.Semaphore(STREAM_QUESTIONS_IN_WORK_MAX)
        answers: asyncio.Queue[asyncio.Future[bytes] | None] = asyncio.Queue()
        failed = False

        async def answer(question: bytes) -> bytes:
            nonlocal failed
            read = time.perf_counter()
            try:
                response = await self._answer(question, call)
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
                await write(await answered)
                room.release()
        finally:
            self._reading.discard(reading)
            reading.cancel()
            _cancel_all(answers)
        if reading.cancelled():
            raise _stopping()
        reading.result()

    async def watch_snapshots(self, request: bytes, write: Write, call: Call) -> None:
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
                message = announcement(view).SerializeToString()
            await write(message)
        raise _stopping()


def _cancel_all(answers: asyncio.Queue[asyncio.Future[bytes] | None]) -> None:
    while not answers.empty():
        if (left := answers.get_nowait()) is not None:
            left.cancel()


def _stopping() -> StoppingError:
    return StoppingError("the service is stopping", hint="Ask again, or ask another replica")
