"""Batches of gathered numbers, over a stream that stays open and else call by call.

A message on a stream costs half of what a call costs, in the client and in the service. But a
stream ends for all its messages with the first error, stays with one replica, and knows no deadline
of each message. So it is no more than the fast way: what it leaves unanswered, for whatever reason,
is asked again by a call of its own, and that call's retries, deadline and error are what counts.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections import deque
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio

if TYPE_CHECKING:
    from collections.abc import Callable

    from numroute.client.coalescing import Send, TimedOut
    from numroute.client.security import Metadata

    Begin = Callable[..., Any]
    """grpc.aio's StreamLookup: ``begin(None, metadata=...)`` returns a call."""

STREAM_SECONDS = 60.0
"""How long a stream is used before another takes its place, on the next replica where there are
several: a replica that has come since gets its share within a minute."""

LEFT_SECONDS = 60.0
"""How long what a stream has been asked by then may take."""

WAITING_MAX = 16
"""How many requests may wait for their answers on a stream. More only gather on one that answers
later than its numbers are given up; the next ones are then calls, with deadlines of their own."""

SILENT_SECONDS = 1.0
"""How long nothing may come over a stream that has been asked something, before it is given up."""

_LOOKS = 4
"""How often it is looked in that time. A program that does not let its event loop run for so long
misses all but one look, and then finds the answers."""

REQUEST_BYTES_MAX = 32 * 1024
"""The largest request that goes over a stream, 4,000 numbers: those behind a larger one would have
to wait until the service finds room for it."""

PAUSE_SECONDS = 1.0
PAUSE_SECONDS_MAX = 64.0
"""How long there is none after one broke; ever longer while they break without an answer, as they
do where something between lets no streams through."""


_ENDED = (grpc.RpcError, grpc.aio.BaseError, asyncio.InvalidStateError)
"""How grpc.aio says that a call has ended."""

_EOF = grpc.aio.EOF  # type: ignore[attr-defined] # the stubs lack it


class BrokenError(Exception):
    """The stream has ended without the answer."""


class BatchStream:
    """Sends serialised ``BulkLookupRequest`` messages. Belongs to one event loop."""

    def __init__(
        self,
        begin: Begin,
        metadata: Callable[[], Metadata],
        call: Send,
        timed_out: TimedOut,
    ) -> None:
        """Begin streams with ``begin``; ``call`` asks what they leave unanswered.

        ``metadata`` is what each stream carries; when it has changed, a new one is begun.
        """
        self._begin = begin
        self._metadata = metadata
        self._call = call
        self._timed_out = timed_out
        self._loop = asyncio.get_running_loop()
        self._stream: _Stream | None = None
        self._open: dict[_Stream, asyncio.TimerHandle] = {}
        self._pause = PAUSE_SECONDS
        self._not_before = 0.0
        self._closed = False

    async def send(self, request: bytes, seconds: float) -> bytes:
        """Return the response to a request.

        Raises:
            ServiceError: It was not answered within ``seconds``, or cannot be.
        """
        stream = self._usable() if len(request) <= REQUEST_BYTES_MAX else None
        if stream is None:
            return await self._call(request, seconds)
        end = self._loop.time() + seconds
        try:
            async with asyncio.timeout_at(end):
                return await stream.ask(request)
        except BrokenError:
            self._leave(stream)
        except TimeoutError:
            raise self._timed_out(seconds) from None
        return await self._call(request, end - self._loop.time())

    async def close(self) -> None:
        """End all streams; what they have been asked is asked again, and no more are begun."""
        self._closed, self._stream = True, None
        tasks = [task for stream in self._open for task in stream.give_up()]
        if tasks:
            await asyncio.wait(tasks)

    def _usable(self) -> _Stream | None:
        """Return the stream to ask on; None when it is behind, or one has only just broken."""
        stream, metadata = self._stream, self._metadata()
        if stream is not None:
            if stream.metadata == metadata and not stream.ended and not stream.broken:
                return stream if stream.waiting < WAITING_MAX else None
            self._leave(stream)
        if self._closed or self._loop.time() < self._not_before:
            return None
        stream = self._stream = _Stream(self._begin(None, metadata=metadata), metadata)
        self._open[stream] = self._loop.call_later(STREAM_SECONDS, self._leave, stream)
        stream.reading.add_done_callback(functools.partial(self._ended, stream))
        return stream

    def _ended(self, stream: _Stream, _reading: asyncio.Task[None]) -> None:
        self._open.pop(stream).cancel()
        # A task that is cancelled before its first step has done nothing of what it should.
        stream.end()
        self._leave(stream)

    def _leave(self, stream: _Stream) -> None:
        """Ask no more on a stream; if it broke, do without one for a while."""
        if self._stream is not stream:
            return
        self._stream = None
        if stream.answered:
            self._pause = PAUSE_SECONDS
        if stream.broken:
            self._not_before = self._loop.time() + self._pause
            self._pause = min(2 * self._pause, PAUSE_SECONDS_MAX)
        elif not stream.ended:
            stream.finish()
            self._open[stream].cancel()
            self._open[stream] = self._loop.call_later(LEFT_SECONDS, stream.give_up)


class _Stream:
    """One open call.

    Attributes:
        metadata: What it carries.
        answered: Something has come over it.
        ended: Nothing will come any more.
        broken: It ended, or was given up, before all was answered.
        reading: The task that takes the answers; it ends with the call.
    """

    def __init__(self, call: Any, metadata: Metadata) -> None:  # noqa: ANN401 - grpc.aio does not name it
        """Take a call that has been begun."""
        self.metadata = metadata
        self.answered = self.ended = self.broken = False
        self._call = call
        self._loop = asyncio.get_running_loop()
        self._asked: deque[bytes] = deque()
        self._waiting: deque[asyncio.Future[bytes]] = deque()
        self._writing: asyncio.Task[None] | None = None
        self._finished = False
        self._looking: asyncio.TimerHandle | None = None
        self._silent = 0  # how often in a row it was looked in vain
        self.reading = self._loop.create_task(self._read())

    @property
    def waiting(self) -> int:
        """How many requests have no answer yet, also of those that nobody waits for any more."""
        return len(self._waiting)

    def ask(self, request: bytes) -> asyncio.Future[bytes]:
        """Return the future of the response; it ends with BrokenError when the stream does."""
        if self._looking is None:
            self._silent = 0
            self._looking = self._loop.call_later(SILENT_SECONDS / _LOOKS, self._look)
        future = self._loop.create_future()
        self._waiting.append(future)
        self._asked.append(request)
        self._write_soon()
        return future

    def finish(self) -> None:
        """Say that no more is asked."""
        self._finished = True
        self._write_soon()

    def give_up(self) -> list[asyncio.Task[None]]:
        """End it at once, whatever is unanswered; return the tasks that end with it."""
        self.broken = True
        tasks = [self.reading] if self._writing is None else [self.reading, self._writing]
        self._cancel()
        return tasks

    def end(self) -> None:
        """Tell who still waits that nothing will come."""
        self._cancel()
        self.ended = True
        self.broken |= bool(self._waiting)
        for future in self._waiting:
            if not future.done():
                future.set_exception(BrokenError())
        self._waiting.clear()

    def _look(self) -> None:
        """Look whether answers come; what is not answered may still be in time elsewhere."""
        self._looking = None
        self._silent += 1
        if self._waiting and self._silent > _LOOKS:
            self.give_up()
        elif self._waiting:
            self._looking = self._loop.call_later(SILENT_SECONDS / _LOOKS, self._look)

    def _cancel(self) -> None:
        self._call.cancel()
        if self._looking is not None:
            self._looking.cancel()
        # grpc.aio lets a write wait for ever when its call is cancelled before it has a connection.
        if self._writing is not None:
            self._writing.cancel()

    def _write_soon(self) -> None:
        # A task of its own: to cancel one that writes is to end the call for all.
        if self._writing is None:
            self._writing = self._loop.create_task(self._write())

    async def _write(self) -> None:
        try:
            # Whoever reads hears of an error that ends the call.
            with contextlib.suppress(*_ENDED):
                while self._asked:
                    await self._call.write(self._asked.popleft())
                if self._finished:
                    await self._call.done_writing()
        finally:
            self._writing = None

    async def _read(self) -> None:
        try:
            # How it ended does not matter: a call of its own finds out for what is unanswered.
            with contextlib.suppress(*_ENDED):
                # An answer too many ends it, as far as that can be told.
                while (response := await self._call.read()) is not _EOF and self._waiting:
                    self.answered, self._silent = True, 0
                    # They come in the order of the questions, also for who waits no more.
                    future = self._waiting.popleft()
                    if not future.done():
                        future.set_result(response)
        finally:
            self.end()
