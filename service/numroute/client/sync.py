"""The client for ordinary programs."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Any, Self, TypeVar

import grpc

from numroute import wire
from numroute.client import messages
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
from numroute.client.codec import Values, as_numbers
from numroute.client.plans import NUMBERS_PER_CHUNK, BulkPlan, TextPlan, one_request, rounds
from numroute.client.security import PLAINTEXT
from numroute.client.sync_streams import StreamTimeoutError, stream_lookup, watch_snapshots

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from datetime import datetime

    from numpy.typing import NDArray

    from numroute.client.answers import BulkAnswer
    from numroute.client.plans import Plan
    from numroute.client.security import Security
    from numroute.model import Answer, Explanation, OperatorInfo, SnapshotInfo, SnapshotNews

    AnswerT = TypeVar("AnswerT")


class Client:
    """A connection to a numroute service; any number of threads may use it at once.

    ::

        with numroute.Client("localhost:50051") as client:
            answer = client.lookup(numbers)
            operators = [answer.routes[i].operator.name for i in answer.route_index]

    Every call has a deadline. A service that is not reachable for a moment is asked again.
    """

    def __init__(
        self,
        target: str,
        *,
        timeout: float = TIMEOUT_SECONDS,
        numbers_per_chunk: int = NUMBERS_PER_CHUNK,
        security: Security = PLAINTEXT,
    ) -> None:
        """Name a service; the connection is made with the first call.

        Args:
            target: ``host:port`` of the service; ``a:1,b:2`` or ``dns:///name:port`` for several
                replicas, among the healthy ones of which calls take turns; or any other gRPC
                target.
            timeout: Seconds that each call may take unless it is told otherwise, up to 86,400.
            numbers_per_chunk: Numbers in one request of a batch, from 1 to 500,000.
            security: TLS and the token; plaintext without a token by default.

        Raises:
            ValueError: ``timeout`` or ``numbers_per_chunk`` is out of its range.
            SettingError: The target, or a file of ``security``, is not what it should be.
            ServiceError: A name in a list of replicas stands for no address.
        """
        self.target = target
        self.timeout = checked_client_timeout(timeout)
        self._numbers_per_chunk = checked_chunk(numbers_per_chunk)
        self._values = Values()
        made = connection(target, security)
        self._token = made.token
        self._closed = threading.Event()
        self._channel = (
            grpc.insecure_channel(made.uri, options=made.options)
            if made.credentials is None
            else grpc.secure_channel(made.uri, made.credentials, options=made.options)
        )
        self._methods = {
            name: self._channel.unary_unary(wire.method_path(name), None, None)
            for name in UNARY_METHODS
        }
        self._stream = self._channel.stream_stream(wire.method_path("StreamLookup"), None, None)
        self._watch = self._channel.unary_stream(wire.method_path("WatchSnapshots"), None, None)

    def lookup(
        self,
        numbers: NDArray[Any] | Sequence[int],
        *,
        with_range_holder: bool = False,
        with_ported_at: bool = False,
        timeout: float | None = None,
    ) -> BulkAnswer:
        """Look up whole E.164 numbers, as many as you like, in any order.

        A large batch is sent in several requests, a few of them at once; the answer is of one
        snapshot nevertheless.

        Args:
            numbers: integer[n]; what is no number (0, or more than 15 digits) is answered INVALID.
            with_range_holder: Also return who holds each number's range.
            with_ported_at: Also return when each number was ported.
            timeout: Seconds that each request may take; the client's own when None.

        Raises:
            TypeError: The numbers are not integers of at most 64 bits.
            ValueError: The numbers are not one row, or some are negative.
            ServiceError: The service was not reached or did not answer.
        """
        plan = BulkPlan(
            as_numbers(numbers),
            self._values,
            with_range_holder=with_range_holder,
            with_ported_at=with_ported_at,
            numbers_per_chunk=self._numbers_per_chunk,
        )
        return self._carry_out(plan, timeout)

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
            texts: E.g. ``8 (916) 123-45-67`` or ``+7 916 1234567``.
            default_region: ISO 3166 code of the country whose national formats are understood.
            as_of: Answer from the snapshot that was current at this time (aware), while it is
                kept; from the current one when None.
            timeout: Seconds that each request may take; the client's own when None.

        Raises:
            TypeError: The texts are not texts.
            ValueError: A text is not valid Unicode, or ``as_of`` has no time zone.
            ServiceError: The service was not reached or did not answer, the region is unknown, or
                the snapshot of that time is not kept.
        """
        plan = TextPlan(messages.as_texts(texts), default_region, as_of)
        return self._carry_out(plan, timeout)

    def stream(
        self,
        batches: Iterable[NDArray[Any] | Sequence[int]],
        *,
        with_range_holder: bool = False,
        with_ported_at: bool = False,
        timeout: float | None = None,
    ) -> Iterator[BulkAnswer]:
        """Look up batch after batch over one connection; yield their answers in order.

        A few batches are under way at once, no more are taken from ``batches`` meanwhile, so that
        lists of any length take the same memory. An answer may come up to four batches after its
        question. Each answer is of one snapshot. When the service goes away, what it has not
        answered is asked again, there or at another replica.

        Args:
            batches: integer[n] each, n at most 500,000; about 65,000 is fast.
            with_range_holder: Also return who holds each number's range.
            with_ported_at: Also return when each number was ported.
            timeout: Seconds that each answer may take; the client's own when None.

        Raises:
            TypeError: A batch's numbers are not integers of at most 64 bits.
            ValueError: A batch is too large, not one row, or has negative numbers.
            ServiceError: The service was not reached or did not answer.
        """
        seconds = self.timeout if timeout is None else checked_timeout(timeout)
        plans = (
            one_request(as_numbers(batch), self._values, with_range_holder, with_ported_at)
            for batch in batches
        )
        try:
            yield from stream_lookup(self._begin_stream, plans, seconds, self._fail(seconds))
        except StreamTimeoutError:
            raise timed_out(self.target, seconds) from None

    def explain(
        self,
        text: str,
        default_region: str | None = None,
        *,
        as_of: datetime | None = None,
        timeout: float | None = None,
    ) -> Explanation:
        """Say why a number, in any human format, is answered as it is.

        Raises:
            TypeError: It is no text.
            ValueError: It is not valid Unicode, or ``as_of`` has no time zone.
            ServiceError: The service was not reached or did not answer, the region is unknown, or
                the snapshot of that time is not kept.
        """
        request = messages.explain_request(text, default_region, as_of)
        return messages.explain_response(self._call("Explain", request, timeout))

    def operators(self, *, timeout: float | None = None) -> list[OperatorInfo]:
        """Return the operators and brands that the current snapshot knows, by code.

        Raises:
            ServiceError: The service was not reached or did not answer.
        """
        response = self._call("ListOperators", messages.operators_request(), timeout)
        return messages.operators_response(response)

    def snapshot(self, *, timeout: float | None = None) -> SnapshotInfo:
        """Return which snapshot answers now, and how old its data is.

        Raises:
            ServiceError: The service was not reached or did not answer.
        """
        return messages.snapshot_response(
            self._call("GetSnapshot", messages.snapshot_request(), timeout)
        )

    def watch_snapshots(self) -> Iterator[SnapshotNews]:
        """Yield the snapshot that answers now, and then each that takes its place.

        Ends when the client is closed. A connection that breaks is made again, and what was
        announced already is not announced twice.

        Raises:
            ServiceError: The service was not reached within the client's timeout at the beginning,
                or refuses.
        """
        return watch_snapshots(
            self._begin_watch, self.timeout, self._fail(self.timeout), self._closed
        )

    def close(self) -> None:
        """End the connection; calls that are under way fail, ``watch_snapshots`` just ends."""
        self._closed.set()
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _carry_out(self, plan: Plan[Any, AnswerT], timeout: float | None) -> AnswerT:
        seconds = self.timeout if timeout is None else checked_timeout(timeout)
        for chunks in rounds(plan, seconds):
            self._ask(plan, chunks, seconds)
        return plan.answer()

    def _ask(self, plan: Plan[Any, AnswerT], chunks: list[int], seconds: float) -> None:
        """Send the requests of these chunks, a few at once, and hand the responses to the plan."""
        if len(chunks) == 1:
            # Waiting in this thread spares the hand-over from the channel's own.
            plan.accept(chunks[0], self._call(plan.method, plan.request(chunks[0]), seconds))
            return
        method = self._methods[plan.method]
        under_way: deque[tuple[int, Any]] = deque()
        try:
            for chunk in chunks:
                if len(under_way) == CALLS_IN_FLIGHT:
                    first, call = under_way.popleft()
                    plan.accept(first, call.result())
                call = method.future(
                    plan.request(chunk), timeout=seconds, metadata=self._token.metadata()
                )
                under_way.append((chunk, call))
            while under_way:
                first, call = under_way.popleft()
                plan.accept(first, call.result())
        except grpc.RpcError as error:
            raise self._fail(seconds)(error) from None
        except ValueError:
            self._raise_if_closed()
            raise
        finally:
            for _, call in under_way:
                call.cancel()

    def _call(self, method: str, request: bytes, timeout: float | None) -> bytes:
        seconds = self.timeout if timeout is None else checked_timeout(timeout)
        try:
            response: bytes = self._methods[method](
                request, timeout=seconds, metadata=self._token.metadata()
            )
        except grpc.RpcError as error:
            raise self._fail(seconds)(error) from None
        except ValueError:
            self._raise_if_closed()
            raise
        return response

    def _begin_stream(self, requests: Iterator[bytes]) -> Any:  # noqa: ANN401 - grpc names no type
        try:
            return self._stream(requests, metadata=self._token.metadata())
        except ValueError:
            self._raise_if_closed()
            raise

    def _begin_watch(self) -> Any:  # noqa: ANN401 - as above
        return self._watch(messages.watch_request(), metadata=self._token.metadata())

    def _raise_if_closed(self) -> None:
        """Raise the error of a call on a closed channel, which to grpc is a ValueError."""
        if self._closed.is_set():
            raise client_closed() from None

    def _fail(self, seconds: float) -> Callable[[grpc.RpcError], Exception]:
        """Return what makes our error of a call's."""

        def fail(error: grpc.RpcError) -> Exception:
            call: Any = error  # an RpcError of a call is that call, which its type hides
            if self._closed.is_set() and call.code() is grpc.StatusCode.CANCELLED:
                return client_closed()
            return service_error(
                self.target, seconds, call.code(), call.details(), call.trailing_metadata()
            )

        return fail
