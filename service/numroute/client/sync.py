"""The client for ordinary programs."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Self, TypeVar

import grpc

from numroute import wire
from numroute.client import messages
from numroute.client.channel import (
    CALLS_IN_FLIGHT,
    OPTIONS,
    TIMEOUT_SECONDS,
    checked_chunk,
    service_error,
)
from numroute.client.codec import Values, as_numbers
from numroute.client.plans import NUMBERS_PER_CHUNK, BulkPlan, TextPlan, rounds

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from numroute.client.answers import BulkAnswer, SnapshotInfo
    from numroute.client.plans import Plan
    from numroute.model import Answer

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
    ) -> None:
        """Name a service; the connection is made with the first call.

        Args:
            target: ``host:port`` of the service, or any other gRPC target.
            timeout: Seconds that each call may take unless it is told otherwise.
            numbers_per_chunk: Numbers in one request of a batch, from 1 to 500,000.
        """
        self.target = target
        self.timeout = timeout
        self._numbers_per_chunk = checked_chunk(numbers_per_chunk)
        self._values = Values()
        self._channel = grpc.insecure_channel(target, options=OPTIONS)
        self._methods = {
            name: self._channel.unary_unary(
                wire.method_path(name), request_serializer=None, response_deserializer=None
            )
            for name in ("Lookup", "BulkLookup", "GetSnapshot")
        }

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
        timeout: float | None = None,
    ) -> list[Answer]:
        """Look up phone numbers in any human format; one answer per text, in order.

        Args:
            texts: E.g. ``8 (916) 123-45-67`` or ``+7 916 1234567``.
            default_region: ISO 3166 code of the country whose national formats are understood.
            timeout: Seconds that each request may take; the client's own when None.

        Raises:
            TypeError: The texts are not texts.
            ValueError: A text is not valid Unicode.
            ServiceError: The service was not reached or did not answer, or the region is unknown.
        """
        return self._carry_out(TextPlan(messages.as_texts(texts), default_region), timeout)

    def snapshot(self, *, timeout: float | None = None) -> SnapshotInfo:
        """Return which snapshot answers now, and how old its data is.

        Raises:
            ServiceError: The service was not reached or did not answer.
        """
        seconds = self.timeout if timeout is None else timeout
        try:
            response = self._methods["GetSnapshot"](messages.snapshot_request(), timeout=seconds)
        except grpc.RpcError as error:
            raise self._service_error(error, seconds) from None
        return messages.snapshot_response(response)

    def close(self) -> None:
        """End the connection; calls that are under way fail."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _carry_out(self, plan: Plan[Any, AnswerT], timeout: float | None) -> AnswerT:
        seconds = self.timeout if timeout is None else timeout
        for chunks in rounds(plan):
            self._ask(plan, chunks, seconds)
        return plan.answer()

    def _ask(self, plan: Plan[Any, AnswerT], chunks: list[int], seconds: float) -> None:
        """Send the requests of these chunks, a few at once, and hand the responses to the plan."""
        method = self._methods[plan.method]
        under_way: deque[tuple[int, Any]] = deque()
        try:
            if len(chunks) == 1:
                # Waiting in this thread spares the hand-over from the channel's own.
                plan.accept(chunks[0], method(plan.request(chunks[0]), timeout=seconds))
                return
            for chunk in chunks:
                if len(under_way) == CALLS_IN_FLIGHT:
                    first, call = under_way.popleft()
                    plan.accept(first, call.result())
                under_way.append((chunk, method.future(plan.request(chunk), timeout=seconds)))
            while under_way:
                first, call = under_way.popleft()
                plan.accept(first, call.result())
        except grpc.RpcError as error:
            raise self._service_error(error, seconds) from None
        finally:
            for _, call in under_way:
                call.cancel()

    def _service_error(self, error: grpc.RpcError, seconds: float) -> Exception:
        call: Any = error  # an RpcError of a call is that call (grpc.Call), which its type hides
        return service_error(
            self.target, seconds, call.code(), call.details(), call.trailing_metadata()
        )
