"""The open calls of ``Client``: they go on where they were when a service goes away."""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any

import grpc

from numroute.client import messages
from numroute.client.channel import BACKOFF_SECONDS, QUESTIONS_IN_FLIGHT, resume_after

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numroute.client.answers import BulkAnswer
    from numroute.client.plans import BulkPlan
    from numroute.model import SnapshotNews

    Begin = Callable[[Iterator[bytes]], Any]
    """Begins a StreamLookup with an iterator of requests, and returns the call."""

    Fail = Callable[[grpc.RpcError], Exception]
    """Turns a call's error into one of ours."""


class StreamTimeoutError(Exception):
    """No answer came in time."""


class _Call:
    """One StreamLookup under way. A thread reads, so that waiting for an answer can have an end."""

    def __init__(self, begin: Begin) -> None:
        self._requests: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._responses: queue.SimpleQueue[bytes | grpc.RpcError] = queue.SimpleQueue()
        self._call = begin(iter(self._requests.get, None))
        threading.Thread(target=self._read, name="numroute-stream", daemon=True).start()

    def send(self, request: bytes) -> None:
        self._requests.put(request)

    def receive(self, seconds: float) -> bytes:
        """Return the next answer; raise the call's error, or queue.Empty when none comes."""
        response = self._responses.get(timeout=max(0.0, seconds))
        if isinstance(response, bytes):
            return response
        raise response

    def ready(self) -> bool:
        return not self._responses.empty()

    def end(self) -> None:
        """Send nothing more and wait for nothing more."""
        self._requests.put(None)
        self._call.cancel()

    def _read(self) -> None:
        try:
            for response in self._call:
                self._responses.put(response)
        except grpc.RpcError as error:
            self._responses.put(error)
        else:
            # It ended well although it owes answers: to be told from an answer, it is an error.
            self._responses.put(self._call)


class _Questions:
    """The questions that are sent and not answered, over as many calls as it takes."""

    def __init__(self, begin: Begin, seconds: float, fail: Fail) -> None:
        self.waiting: deque[BulkPlan] = deque()
        self._begin = begin
        self._seconds = seconds
        self._fail = fail
        self._call: _Call | None = None
        self._any_answered = False

    def ask(self, plan: BulkPlan) -> None:
        self.waiting.append(plan)
        if self._call is not None:
            self._call.send(plan.request(0))

    def answered(self) -> bool:
        """Return whether an answer can be had without waiting."""
        return self._call is not None and self._call.ready()

    def answer(self) -> BulkAnswer:
        """Return the answer to the question that has waited longest."""
        end, tries = time.monotonic() + self._seconds, 0
        while True:
            try:
                response = self._connected().receive(end - time.monotonic())
            except queue.Empty:
                raise StreamTimeoutError from None
            except grpc.RpcError as error:
                self.end()
                told: Any = error
                pause = resume_after(
                    told.code(), told.trailing_metadata(), tries, answered=self._any_answered
                )
                if pause is None or time.monotonic() + pause >= end:
                    raise self._fail(error) from None
                tries += 1
                time.sleep(pause)
            else:
                plan = self.waiting.popleft()
                plan.accept(0, response)
                self._any_answered = True
                return plan.answer()

    def connect(self) -> None:
        """Begin to work on what is asked, if that has not begun."""
        self._connected()

    def end(self) -> None:
        if self._call is not None:
            self._call.end()
            self._call = None

    def _connected(self) -> _Call:
        if self._call is None:
            self._call = _Call(self._begin)
            for plan in self.waiting:
                self._call.send(plan.request(0))
        return self._call


def stream_lookup(
    begin: Begin, plans: Iterator[BulkPlan], seconds: float, fail: Fail
) -> Iterator[BulkAnswer]:
    """Yield the answers to plans of one request each, in their order.

    At most QUESTIONS_IN_FLIGHT questions are sent and not answered; a plan is taken from the
    iterator, in the caller's thread, when there is room for its question.

    Raises:
        StreamTimeoutError: An answer took longer than ``seconds``, new attempts included.
        Exception: What ``fail`` makes of an error after which asking again is no use.
    """
    questions = _Questions(begin, seconds, fail)
    try:
        for plan in plans:
            questions.ask(plan)
            questions.connect()
            while questions.waiting and (
                len(questions.waiting) == QUESTIONS_IN_FLIGHT or questions.answered()
            ):
                yield questions.answer()
        while questions.waiting:
            yield questions.answer()
    finally:
        questions.end()


def watch_snapshots(
    begin: Callable[[], Any], seconds: float, fail: Fail, closed: threading.Event
) -> Iterator[SnapshotNews]:
    """Yield what is announced, over as many calls as it takes, until ``closed`` is set.

    Raises:
        Exception: What ``fail`` makes of a refusal, or of a service that could not be reached for
            the first time within ``seconds``.
    """
    announced: str | None = None
    tries, begun = 0, time.monotonic()
    while not closed.is_set():
        try:
            call = begin()
        except ValueError:
            if closed.is_set():
                return  # closed in this very moment
            raise
        try:
            for response in call:
                news = messages.watch_response(response)
                tries = 0
                if news.snapshot.id != announced:
                    announced = news.snapshot.id
                    yield news
            pause: float | None = BACKOFF_SECONDS
        except grpc.RpcError as error:
            if closed.is_set():
                return
            told: Any = error
            pause = resume_after(told.code(), told.trailing_metadata(), tries, answered=True)
            never = announced is None and time.monotonic() - begun > seconds
            if pause is None or never:
                raise fail(error) from None
        finally:
            call.cancel()
        tries += 1
        closed.wait(pause)
