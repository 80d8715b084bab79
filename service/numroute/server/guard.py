"""The pipeline around every call: guards before it, a status for every error, guards after it.

Guards are called in their order at the beginning and in the opposite order for numbers and at the
end. All of it runs on the event loop, so that a guard needs no lock and must not wait.
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn, TypeAlias

import grpc
from google.protobuf.message import DecodeError
from grpc import StatusCode
from structlog.typing import FilteringBoundLogger

from numroute import errors, wire
from numroute.logs import fault_fields
from numroute.server.limits import UNAUTHENTICATED_BYTES_MAX, UNAUTHENTICATED_SECONDS

Context: TypeAlias = "grpc.aio.ServicerContext[bytes, bytes]"
Method: TypeAlias = "Callable[[Any, Call], Awaitable[Any]]"
"""Takes a request, or an iterator of several; returns the response, or writes several."""

STREAM = "StreamLookup"
"""The method that takes many questions in one call."""

WATCH = "WatchSnapshots"
"""The method that announces snapshots."""

STAY_OPEN = frozenset({STREAM, WATCH})
"""The methods whose calls last as long as their clients want."""

STATUS_OF_ERROR: dict[type[errors.NumrouteError], StatusCode] = {
    # The request is wrong: asking again does not help.
    errors.InputError: StatusCode.INVALID_ARGUMENT,
    errors.SettingError: StatusCode.INVALID_ARGUMENT,
    errors.LimitExceededError: StatusCode.INVALID_ARGUMENT,
    # The client needs another token or certificate.
    errors.UnauthenticatedError: StatusCode.UNAUTHENTICATED,
    # The request is right but comes too early: trailing metadata say when to ask again.
    errors.TryLaterError: StatusCode.RESOURCE_EXHAUSTED,
    # There is nothing to answer from yet: clients retry UNAVAILABLE.
    errors.StoreMissingError: StatusCode.UNAVAILABLE,
    errors.NoSnapshotError: StatusCode.UNAVAILABLE,
    errors.StoreBusyError: StatusCode.UNAVAILABLE,
    errors.StoreAccessError: StatusCode.UNAVAILABLE,
    errors.StoppingError: StatusCode.UNAVAILABLE,
    # Asking again does not help.
    errors.SnapshotNotKeptError: StatusCode.NOT_FOUND,
    # Another replica may have it; a client that splits questions asks there or starts again.
    errors.OtherSnapshotError: StatusCode.FAILED_PRECONDITION,
    # This program cannot read the data until somebody acts.
    errors.SnapshotVersionError: StatusCode.FAILED_PRECONDITION,
    errors.SnapshotCorruptError: StatusCode.DATA_LOSS,
    errors.DeadlinePassedError: StatusCode.DEADLINE_EXCEEDED,
    # Everything else.
    errors.NumrouteError: StatusCode.INTERNAL,
}
"""The status of each class of errors; other classes take that of their nearest ancestor."""


def status_of(error: errors.NumrouteError) -> StatusCode:
    """Return the status of an error."""
    return next(STATUS_OF_ERROR[kind] for kind in type(error).__mro__ if kind in STATUS_OF_ERROR)


def details_of(error: errors.NumrouteError) -> str:
    """Return the text of an error for a client, without the path of the store."""
    if isinstance(error, errors.StoreError):
        return f"{error.reason}. {error.hint}" if error.hint else error.reason
    return str(error)


class Guard:
    """A hook around all calls; a NumrouteError that it raises refuses the call."""

    def begin(self, call: Call) -> None:
        """Let a call begin, or refuse it; its request has not been read yet."""

    def numbers(self, call: Call, count: int) -> None:
        """Admit the numbers of a call, or of a message of a stream, or refuse the call.

        Guards are asked in the opposite order: what the first one counts, no other has refused.
        """

    def answered(self, call: Call, seconds: float) -> None:
        """Record the latency of one streamed answer."""

    def check(self, call: Call) -> None:
        """Refuse a call that stays open if it may no longer do so."""

    def end(self, call: Call, status: StatusCode) -> None:
        """Record how a call ended, once, after its answer was sent; not if ``begin`` refused it.

        A client that gives up a stream between two messages has only ended its requests, for grpc:
        its call may be OK. If it gives up while it waits for an answer, the call is CANCELLED.
        """


@dataclass(slots=True, eq=False)
class Call:
    """A call under way, as guards and methods see it.

    Attributes:
        client: The client's name, once a guard has found it out; empty before.
        numbers: How many numbers it has asked for so far.
        started: When it began, by ``time.perf_counter()``.
        begun: How many guards have let it begin.
        status: How it ended; CANCELLED until then, which is right for a call that is given up.
        error: The error that ended it, or None.
    """

    method: str
    context: Context
    guards: Sequence[Guard] = ()
    client: str = ""
    numbers: int = 0
    started: float = field(default_factory=time.perf_counter)
    begun: int = 0
    status: StatusCode = StatusCode.CANCELLED
    error: Exception | None = None

    def require_wanted(self) -> None:
        """Raise DeadlinePassedError after the call's deadline. Any thread may call this."""
        left = self.context.time_remaining()
        if left is not None and left <= 0:
            raise errors.DeadlinePassedError("the call's deadline passed before its turn came")

    def ask(self, count: int) -> None:
        """Ask the guards for ``count`` (more) numbers, before any work is done for them."""
        self.numbers += count
        if self.method == STREAM:
            self.check()
        for guard in reversed(self.guards):
            guard.numbers(self, count)

    def answered(self, seconds: float) -> None:
        """Record the latency of one streamed answer."""
        for guard in self.guards:
            guard.answered(self, seconds)

    def check(self) -> None:
        """Ask the guards whether a call that stays open may still do so."""
        for guard in self.guards:
            guard.check(self)


class Pipeline:
    """Wraps methods for gRPC: guards are called around them, and no exception gets out.

    Attributes:
        under_way: How many calls have begun and not ended; a call ends when its answer was sent.
    """

    def __init__(self, guards: Sequence[Guard], log: FilteringBoundLogger) -> None:
        """Call these guards, in this order; log faults."""
        self.under_way = 0
        self._guards = tuple(guards)
        self._log = log

    def answering(self, name: str, method: Method) -> Callable[[Any, Context], Awaitable[Any]]:
        """Return what answers a method's calls, for a handler of gRPC without (de)serialisers."""

        async def answer(request: Any, context: Context) -> Any:  # noqa: ANN401 - as methods have
            call = Call(name, context, self._guards)
            self.under_way += 1
            # The task ends when the answer has been sent. grpc's own callback would do as well, but
            # it leaves a cycle of references behind each call, for the garbage collector to find.
            task = asyncio.current_task()
            if task is not None:
                task.add_done_callback(functools.partial(self._end, call))
            try:
                for guard in self._guards:
                    guard.begin(call)
                    call.begun += 1
                # After the guards, so that those that count calls count this one.
                call.require_wanted()
                response = await method(request, call)
            except Exception as error:  # noqa: BLE001 - every one becomes a status
                await self._refuse(call, error, request)
            call.status = StatusCode.OK
            return response

        return answer

    def _end(self, call: Call, _task: object) -> None:
        self.under_way -= 1
        for guard in reversed(self._guards[: call.begun]):
            try:
                guard.end(call, call.status)
            except Exception as fault:  # noqa: BLE001 - the other guards must be called too
                self._log.error("guard failed", guard=type(guard).__name__, **fault_fields(fault))

    async def _refuse(self, call: Call, error: Exception, request: object) -> NoReturn:
        """End the call with the error's status; always raises."""
        kind = type(error).__name__
        trailers: tuple[tuple[str, str], ...] = ()
        if isinstance(error, errors.NumrouteError):
            status, details = status_of(error), details_of(error)
            if isinstance(error, errors.TryLaterError):
                trailers = wire.retry_hint(error.retry_after_seconds, call.context.time_remaining())
        elif isinstance(error, DecodeError):
            status = StatusCode.INVALID_ARGUMENT
            details = f"the request is not a well-formed {wire.REQUEST_NAMES[call.method]} message"
        elif isinstance(error, grpc.aio.AbortError | grpc.aio.InternalError | grpc.RpcError):
            # The connection is gone, or the call has ended already: nobody would read a status.
            # Writing to a client that has given up is an InternalError before a cancellation.
            raise error
        else:
            self._log.error("request failed", method=call.method, **fault_fields(error))
            status, kind = StatusCode.INTERNAL, "Fault"
            details = "the service failed on this request; its log names the place"
        call.status = status
        call.error = error
        is_small = not isinstance(request, bytes) or len(request) <= UNAUTHENTICATED_BYTES_MAX
        if isinstance(error, errors.UnauthenticatedError) and is_small:
            await asyncio.sleep(UNAUTHENTICATED_SECONDS)
        await call.context.abort(status, details, ((wire.ERROR_KEY, kind), *trailers))
        raise AssertionError  # never reached: abort raises
