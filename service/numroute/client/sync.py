"""The client for ordinary programs."""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any, TypeVar

import grpc

from numroute.client import messages
from numroute.client.channel import (
    CALLS_IN_FLIGHT,
    QUESTIONS_IN_FLIGHT,
    TIMEOUT_SECONDS,
    ClientBase,
    client_closed,
    timed_out,
)
from numroute.client.codec import as_numbers
from numroute.client.core import (
    NUMBERS_PER_CHUNK,
    BulkQuestion,
    Retries,
    TextQuestion,
    Watch,
    stream_question,
)
from numroute.client.security import PLAINTEXT
from numroute.errors import ServiceError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

    from numpy.typing import NDArray
    from typing_extensions import Self

    from numroute.client.codec import BulkAnswer
    from numroute.client.core import Question
    from numroute.client.security import Security
    from numroute.model import Answer, Explanation, OperatorInfo, SnapshotInfo, SnapshotNews

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
            as_numbers(numbers),
            self._values,
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
        """Look up batch after batch over one connection; yield their answers in order.

        Each batch has at most 500,000 numbers; about 262,000 is fastest. At most four are under way
        at once, and no more are taken from ``batches`` meanwhile, so lists of any length take the
        same memory. Each answer comes from one snapshot. When the service goes away, what it has
        not answered is asked again, there or at another replica.

        The other arguments and the errors are those of ``lookup``; ``timeout`` bounds the wait for
        each answer.
        """
        stream = _Stream(self, self._seconds(timeout))
        try:
            for batch in batches:
                question = stream_question(
                    batch,
                    self._values,
                    with_range_holder=with_range_holder,
                    with_ported_at=with_ported_at,
                )
                stream.ask(question)
                while stream.waiting and (
                    len(stream.waiting) == QUESTIONS_IN_FLIGHT or stream.ready()
                ):
                    yield stream.answer()
            while stream.waiting:
                yield stream.answer()
        finally:
            stream.end()

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
                call: Any = self._watch(b"", metadata=self._token.metadata())
            except ValueError:
                if self._closed.is_set():
                    return  # closed at this very moment
                raise
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
            pause = watch.pause(call.code(), call.trailing_metadata(), time.monotonic())
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

    def _ask(self, question: Question[Any, AnswerT], seconds: float) -> AnswerT:
        """Send a question's requests, a few at once, and return the whole answer."""
        if question.chunk_count == 1:
            # Waiting in this thread saves the hand-over from the channel's own.
            response = self._call(question.method, question.message(), seconds)
            return question.whole_answer(response)
        method = self._methods[question.method]
        under_way: deque[tuple[int, bytes, float, Any]] = deque()
        try:
            while not question.done:
                while len(under_way) < CALLS_IN_FLIGHT and (asked := question.next_request()):
                    chunk, request = asked
                    call = method.future(request, timeout=seconds, metadata=self._token.metadata())
                    under_way.append((chunk, request, time.monotonic() + seconds, call))
                chunk, request, end, call = under_way.popleft()
                try:
                    response = self._call(question.method, request, seconds, (end, call))
                except ServiceError as error:
                    question.refuse(chunk, error)
                else:
                    question.accept(chunk, response)
        except ValueError:
            self._raise_if_closed()
            raise
        finally:
            for *_, call in under_way:
                call.cancel()
        return question.answer()

    def _call(
        self, method: str, request: bytes, seconds: float, sent: tuple[float, Any] | None = None
    ) -> bytes:
        """Return the response to a request; ``sent``: when the call under way must end, and it."""
        end, call = sent or (time.monotonic() + seconds, None)
        tries = 0
        while True:
            try:
                response: bytes = (
                    self._methods[method](
                        request, timeout=end - time.monotonic(), metadata=self._token.metadata()
                    )
                    if call is None
                    else call.result()
                )
            except grpc.RpcError as error:  # noqa: PERF203 - the loop is over attempts
                pause = self._pause(error, tries, end - time.monotonic())
                if pause is None:
                    raise self._error(error, seconds) from None
                self._closed.wait(pause)
                call = None
                tries += 1
            except ValueError:
                self._raise_if_closed()
                raise
            else:
                self._reached = True
                return response

    def _begin_stream(self, requests: Iterator[bytes]) -> Any:  # noqa: ANN401 - grpc names no type
        try:
            return self._stream(requests, metadata=self._token.metadata())
        except ValueError:
            self._raise_if_closed()
            raise

    def _raise_if_closed(self) -> None:
        """Raise the error of a call on a closed channel, which is a ValueError to grpc."""
        if self._closed.is_set():
            raise client_closed() from None

    def _error(self, error: grpc.RpcError, seconds: float) -> ServiceError:
        """Return our error for a call's."""
        call: Any = error  # an RpcError of a call is that call, which its type hides
        if self._closed.is_set() and call.code() is grpc.StatusCode.CANCELLED:
            return client_closed()
        return self._failure(call, seconds)


class _Stream:
    """The questions of one ``Client.stream`` that are sent and not answered.

    They are asked over as many calls as it takes. A thread reads each call, so that waiting for an
    answer can time out.
    """

    def __init__(self, client: Client, seconds: float) -> None:
        """Ask through a client; each answer may take so many seconds."""
        self.waiting: deque[BulkQuestion] = deque()
        self._client = client
        self._seconds = seconds
        self._retries = Retries(reached=client._reached)  # noqa: SLF001 - its client
        self._call: Any = None
        self._requests: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._responses: queue.SimpleQueue[bytes | grpc.RpcError] = queue.SimpleQueue()

    def ask(self, question: BulkQuestion) -> None:
        """Send a question."""
        self.waiting.append(question)
        if self._call is None:
            self._connect()
        else:
            self._requests.put(question.message())

    def ready(self) -> bool:
        """Return whether an answer is there already."""
        return not self._responses.empty()

    def answer(self) -> BulkAnswer:
        """Return the answer to the question that has waited longest."""
        end = time.monotonic() + self._seconds
        while True:
            if self._call is None:
                self._connect()
            try:
                response = self._responses.get(timeout=max(0.0, end - time.monotonic()))
            except queue.Empty:
                raise timed_out(self._client.target, self._seconds) from None
            if isinstance(response, bytes):
                answer = self.waiting.popleft().whole_answer(response)
                self._retries.answered()
                self._client._reached = True  # noqa: SLF001 - its client
                return answer
            self.end()
            call: Any = response
            pause = self._retries.pause(call.code(), call.trailing_metadata())
            if pause is None or time.monotonic() + pause >= end:
                raise self._client._error(response, self._seconds)  # noqa: SLF001 - its client
            time.sleep(pause)

    def end(self) -> None:
        """Send nothing more and wait for nothing more."""
        if self._call is not None:
            self._requests.put(None)
            self._call.cancel()
            self._call = None

    def _connect(self) -> None:
        """Begin a call and ask on it all that is unanswered."""
        self._requests, self._responses = queue.SimpleQueue(), queue.SimpleQueue()
        self._call = self._client._begin_stream(  # noqa: SLF001 - its client
            iter(self._requests.get, None)
        )
        for question in self.waiting:
            self._requests.put(question.message())
        reading = threading.Thread(
            target=_read, args=(self._call, self._responses), name="numroute-stream", daemon=True
        )
        reading.start()


def _read(call: Any, responses: queue.SimpleQueue[bytes | grpc.RpcError]) -> None:  # noqa: ANN401 - grpc names no type
    """Hand over the responses of a call, then the call itself: it may still owe answers."""
    try:
        for response in call:
            responses.put(response)
    except grpc.RpcError as error:
        responses.put(error)
    else:
        responses.put(call)
