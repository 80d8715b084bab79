"""The client for ordinary programs."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

import grpc
from numpy.typing import NDArray

from numroute.client import messages
from numroute.client.channel import (
    CALLS_IN_FLIGHT,
    TIMEOUT_SECONDS,
    ClientBase,
    client_closed,
)
from numroute.client.core import (
    NUMBERS_PER_CHUNK,
    BulkQuestion,
    Question,
    TextQuestion,
    Watch,
    stream_question,
)
from numroute.client.messages import BulkAnswer
from numroute.client.security import PLAINTEXT, Security
from numroute.errors import ServiceError
from numroute.model import Answer, Explanation, OperatorInfo, SnapshotInfo, SnapshotNews

if TYPE_CHECKING:
    from typing_extensions import Self

AnswerT = TypeVar("AnswerT")


class Client(ClientBase):
    """A connection to a numroute service, which any number of threads may share.

    ::

        with numroute.Client("localhost:50051") as client:
            answer = client.lookup(numbers)
            operators = [answer.routes[i].operator.name for i in answer.route_index]

    Every call has a deadline. While the service cannot be reached it is retried until then; before
    the client's first answer only for a third of a second, for the address may be wrong. Calls
    raise

    - ``ServiceError`` when the service was not reached or did not answer; its ``code`` is the gRPC
      status name, its ``hint`` says what to do;
    - ``TypeError`` and ``ValueError`` for arguments of the wrong type or out of range, before
      anything is sent.
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
            security: TLS and the token; by default plaintext without a token.

        Raises:
            ValueError: ``timeout`` or ``numbers_per_chunk`` is out of range.
            SettingError: The target or a file of ``security`` is wrong.
            ServiceError: A name in a list of replicas has no address.
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

        A large batch is sent in several requests, a few at once; the answer still comes from one
        snapshot.

        Args:
            numbers: integer[n]; 0 and anything over 15 digits is answered INVALID.
            with_range_holder: Also return who holds each number's range.
            with_ported_at: Also return when each number was ported.
            timeout: Seconds that each request may take; the client's own when None.

        Raises:
            TypeError: The numbers are not integers of at most 64 bits.
            ValueError: The numbers are not one-dimensional, or some are negative.
            ServiceError: The service was not reached or did not answer.
        """
        question = BulkQuestion(
            messages.as_numbers(numbers),
            with_range_holder=with_range_holder,
            with_ported_at=with_ported_at,
            numbers_per_chunk=self._numbers_per_chunk,
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

        Args:
            texts: For example ``8 (916) 123-45-67`` or ``+7 916 1234567``.
            default_region: ISO 3166 code of the country whose national formats are understood.
            as_of: Answer from the snapshot that was current at this time (aware), while it is
                kept; from the current one when None.
            timeout: Seconds that each request may take; the client's own when None.

        Raises:
            TypeError: The texts are not strings.
            ValueError: A text is not valid Unicode, or ``as_of`` has no time zone.
            ServiceError: The service was not reached or did not answer, the region is unknown, or
                the snapshot of that time is not kept.
        """
        question = TextQuestion(messages.as_texts(texts), default_region, as_of)
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
        same memory. Each answer comes from one snapshot. The other arguments and the errors are
        those of ``lookup``.
        """
        seconds = self._seconds(timeout)
        under_way: deque[tuple[BulkQuestion, bytes, float, Any]] = deque()

        def answer() -> BulkAnswer:
            question, request, end, call = under_way.popleft()
            response = self._call(question.method, request, seconds, (end, call))
            return question.whole_answer(response)

        try:
            for batch in batches:
                question = stream_question(
                    batch, with_range_holder=with_range_holder, with_ported_at=with_ported_at
                )
                request = question.message()
                end = time.monotonic() + seconds
                call = self._begin(self._methods[question.method].future, request, seconds)
                under_way.append((question, request, end, call))
                while under_way and (len(under_way) == CALLS_IN_FLIGHT or under_way[0][3].done()):
                    yield answer()
            while under_way:
                yield answer()
        finally:
            for *_, call in under_way:
                call.cancel()

    def explain(
        self,
        text: str,
        default_region: str | None = None,
        *,
        as_of: datetime | None = None,
        timeout: float | None = None,
    ) -> Explanation:
        """Explain why a number, in any human format, is answered as it is.

        The arguments and errors are those of ``lookup_text``.
        """
        request = messages.explain_request(text, default_region, as_of)
        return messages.explain_response(self._call("Explain", request, self._seconds(timeout)))

    def operators(self, *, timeout: float | None = None) -> list[OperatorInfo]:
        """Return the operators and brands that the current snapshot knows, by code."""
        response = self._call("ListOperators", b"", self._seconds(timeout))
        return messages.operators_response(response)

    def snapshot(self, *, timeout: float | None = None) -> SnapshotInfo:
        """Return which snapshot answers now, and how old its data is."""
        return messages.snapshot_response(self._call("GetSnapshot", b"", self._seconds(timeout)))

    def watch_snapshots(self) -> Iterator[SnapshotNews]:
        """Yield the snapshot that answers now, and then each that takes its place.

        Ends when the client is closed. A broken connection is made again, and nothing is announced
        twice.

        Raises:
            ServiceError: The service was not reached within the client's timeout at the beginning,
                or refuses.
        """
        watch = Watch(self.timeout, time.monotonic())
        while not self._closed.is_set():
            try:
                call = self._begin(self._watch, b"")
            except ServiceError:
                return  # closed at this very moment
            try:
                for response in call:
                    news = watch.news(response)
                    if news is not None:
                        yield news
            except grpc.RpcError:
                pass  # the call itself has its status
            finally:
                call.cancel()
            if self._closed.is_set():
                return
            pause = watch.pause(call.code().name, call.trailing_metadata(), time.monotonic())
            if pause is None:
                raise self._error(call, self.timeout)
            self._closed.wait(pause)

    def close(self) -> None:
        """Close the connection; calls under way fail, ``watch_snapshots`` just ends."""
        self._closed.set()
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(self, question: Question[Any, Any, AnswerT], seconds: float) -> AnswerT:
        """Send a question's requests, a few at once, and return the whole answer."""
        if question.chunk_count == 1:
            # Waiting in this thread saves the hand-over from the channel's own.
            response = self._call(question.method, question.message(), seconds)
            return question.whole_answer(response)
        send = self._methods[question.method].future
        under_way: deque[tuple[int, bytes, float, Any]] = deque()
        try:
            while not question.done:
                while len(under_way) < CALLS_IN_FLIGHT and (asked := question.next_request()):
                    end = time.monotonic() + seconds
                    under_way.append((*asked, end, self._begin(send, asked[1], seconds)))
                chunk, request, end, call = under_way.popleft()
                try:
                    response = self._call(question.method, request, seconds, (end, call))
                except ServiceError as error:
                    question.refuse(chunk, error)
                else:
                    question.accept(chunk, response)
        finally:
            for *_, call in under_way:
                call.cancel()
        return question.answer()

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
                    raise self._error(error, seconds) from None
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

    def _error(self, error: grpc.RpcError, seconds: float) -> ServiceError:
        """Return our error for a call's."""
        call: Any = error  # an RpcError of a call is that call, which its type hides
        if self._closed.is_set() and call.code() is grpc.StatusCode.CANCELLED:
            return client_closed()
        return self._failure(call, seconds)
