"""The client for ordinary programs."""

from __future__ import annotations

import functools
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

import grpc
from numpy.typing import NDArray

from numroute.client import messages
from numroute.client.channel import CALLS_IN_FLIGHT, TIMEOUT_SECONDS, ClientBase, client_closed
from numroute.client.core import (
    NUMBERS_PER_CHUNK,
    Question,
    Watch,
    bulk_question,
    text_question,
)
from numroute.client.messages import BulkAnswer
from numroute.client.security import PLAINTEXT, Security
from numroute.errors import ServiceError
from numroute.model import Answer, Explanation, OperatorInfo, SnapshotInfo, SnapshotNews

if TYPE_CHECKING:
    from typing_extensions import Self

AnswerT = TypeVar("AnswerT")
AskedT = TypeVar("AskedT")


class Client(ClientBase):
    """A connection to a numroute service, which any number of threads may share.

    ::

        with numroute.Client("localhost:50051") as client:
            answer = client.lookup(numbers)
            operators = [answer.routes[i].operator.name for i in answer.route_index]

    Every call has a deadline. While the service cannot be reached it is retried until then; before
    the client's first answer only for a third of a second, for the address may be wrong. Calls
    raise ``ServiceError`` when the service was not reached or did not answer, and ``TypeError`` or
    ``ValueError`` for wrong arguments, before anything is sent.
    """

    _closed: threading.Event

    def __init__(
        self,
        target: str,
        *,
        timeout: float = TIMEOUT_SECONDS,
        numbers_per_chunk: int = NUMBERS_PER_CHUNK,
        security: Security = PLAINTEXT,
    ) -> None:
        """Name a service; the first call connects.

        Args:
            target: ``host:port`` of the service; ``a:1,b:2`` or ``dns:///name:port`` for several
                replicas, of which the healthy ones take turns; or any other gRPC target.
            timeout: Seconds that each call may take unless it sets its own, up to 86,400.
            numbers_per_chunk: Numbers in one request of a batch, from 1 to 500,000.
            security: TLS and the token; SettingError when a file of it is wrong.
        """
        super().__init__(grpc, target, timeout, numbers_per_chunk, security)
        self._closed = threading.Event()

    def lookup(
        self,
        numbers: NDArray[Any] | Sequence[int],
        *,
        with_range_holder: bool = False,
        with_ported_at: bool = False,
        timeout: float | None = None,
    ) -> BulkAnswer:
        """Look up whole E.164 numbers, as many as you like, in any order.

        0 and anything over 15 digits is answered INVALID. A large batch is sent in several
        requests, a few at once, each of which may take ``timeout``; the answer still comes from one
        snapshot. It has range holders and times of porting when they are asked for.
        """
        question = bulk_question(
            numbers,
            self._numbers_per_chunk,
            with_range_holder=with_range_holder,
            with_ported_at=with_ported_at,
        )
        return self._ask(question, self._seconds(timeout))

    def lookup_text(
        self,
        texts: Iterable[str],
        default_region: str | None = None,
        *,
        as_of: datetime | None = None,
        timeout: float | None = None,
    ) -> list[Answer]:
        """Look up phone numbers in any human format; one answer per text, in order.

        ``default_region`` is the ISO 3166 code of the country whose national formats are
        understood. With ``as_of``, an aware time, the snapshot that was current then answers; a
        ServiceError says when it is no longer kept.
        """
        question = text_question(texts, default_region, as_of)
        return self._ask(question, self._seconds(timeout))

    def stream(
        self,
        batches: Iterable[NDArray[Any] | Sequence[int]],
        *,
        with_range_holder: bool = False,
        with_ported_at: bool = False,
        timeout: float | None = None,
    ) -> Iterator[BulkAnswer]:
        """Look up batch after batch; yield their answers in order.

        Each batch has at most 500,000 numbers; about 262,000 is fastest. At most four are under way
        at once, and no more are taken from ``batches`` meanwhile, so lists of any length take the
        same memory. Each answer comes from one snapshot.
        """
        questions = (
            bulk_question(batch, with_range_holder=with_range_holder, with_ported_at=with_ported_at)
            for batch in batches
        )
        requests = ((question, question.message()) for question in questions)
        with closing(self._sent("BulkLookup", requests, self._seconds(timeout))) as sent:
            for question, wait in sent:
                yield question.whole_answer(wait())

    def explain(
        self,
        text: str,
        default_region: str | None = None,
        *,
        as_of: datetime | None = None,
        timeout: float | None = None,
    ) -> Explanation:
        """Explain why a number, in any human format, is answered as it is."""
        request = messages.explain_request(text, default_region, as_of)
        response = self._call("Explain", request, self._seconds(timeout))
        return messages.decoded(Explanation, response)

    def operators(self, *, timeout: float | None = None) -> list[OperatorInfo]:
        """Return the operators and brands that the current snapshot knows, by code."""
        response = self._call("ListOperators", b"", self._seconds(timeout))
        return messages.operators_response(response)

    def snapshot(self, *, timeout: float | None = None) -> SnapshotInfo:
        """Return which snapshot answers now, and how old its data is."""
        response = self._call("GetSnapshot", b"", self._seconds(timeout))
        return messages.decoded(SnapshotInfo, response)

    def watch_snapshots(self) -> Iterator[SnapshotNews]:
        """Yield the snapshot that answers now, and then each that takes its place.

        Ends when the client is closed. A broken connection is made again, and nothing is announced
        twice.
        """
        watch = Watch(self.timeout, time.monotonic())
        while not self._closed.is_set():
            try:
                call = self._begin(self._watch, b"")
            except ServiceError:
                return  # closed at this very moment
            try:
                yield from filter(None, map(watch.news, call))
            except grpc.RpcError:
                pass  # the call itself has its status
            finally:
                call.cancel()
            if self._closed.is_set():
                return
            pause = watch.pause(call.code().name, call.trailing_metadata(), time.monotonic())
            if pause is None:
                raise self._failure(call, self.timeout)
            self._closed.wait(pause)

    def close(self) -> None:
        """Close the connection; calls under way fail, ``watch_snapshots`` just ends."""
        self._closed.set()
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(self, question: Question[Any, AnswerT], seconds: float) -> AnswerT:
        """Send a question's requests, a few at once, and return the whole answer."""
        if question.chunk_count == 1:
            # Waiting in this thread saves the hand-over from the channel's own.
            response = self._call(question.method, question.message(), seconds)
            return question.whole_answer(response)
        while not question.done:
            requests = iter(question.next_request, None)
            with closing(self._sent(question.method, requests, seconds)) as sent:
                for chunk, wait in sent:
                    try:
                        response = wait()
                    except ServiceError as error:  # noqa: PERF203 - each ends in its own way
                        question.refuse(chunk, error)
                    else:
                        question.accept(chunk, response)
        return question.answer()

    def _sent(
        self, method: str, requests: Iterable[tuple[AskedT, bytes]], seconds: float
    ) -> Generator[tuple[AskedT, Callable[[], bytes]], None, None]:
        """Send requests, a few at once; yield what each asks and what waits for its response."""
        under_way: deque[tuple[Any, tuple[AskedT, Callable[[], bytes]]]] = deque()
        try:
            for asked, request in requests:
                end = time.monotonic() + seconds
                call = self._begin(self._methods[method].future, request, seconds)
                wait = functools.partial(self._call, method, request, seconds, (end, call))
                under_way.append((call, (asked, wait)))
                while under_way and (len(under_way) == CALLS_IN_FLIGHT or under_way[0][0].done()):
                    yield under_way.popleft()[1]
            while under_way:
                yield under_way.popleft()[1]
        finally:
            for call, _ in under_way:
                call.cancel()

    def _call(
        self,
        method: str,
        request: bytes,
        seconds: float,
        sent: tuple[float, Any] | None = None,
    ) -> bytes:
        """Return the response to a request; ``sent``: when a call under way must end, and it."""
        end, call = sent or (time.monotonic() + seconds, None)
        tries = 0
        while True:
            left = end - time.monotonic()
            try:
                response: bytes = (
                    self._begin(self._methods[method], request, left)
                    if call is None
                    else call.result()
                )
            except grpc.RpcError as error:
                pause = self._pause(error, tries, end - time.monotonic())
                if pause is None:
                    raise self._failure(error, seconds) from None
            else:
                self._reached = True
                return response
            self._closed.wait(pause)
            call = None
            tries += 1

    def _begin(self, method: Any, request: bytes, seconds: float | None = None) -> Any:  # noqa: ANN401 - grpc names no types
        """Begin a call, or make it; ServiceError when the client is closed."""
        try:
            return method(request, timeout=seconds, metadata=self._token())
        except ValueError:
            # So grpc refuses a call on a closed channel.
            if self._closed.is_set():
                raise client_closed() from None
            raise
