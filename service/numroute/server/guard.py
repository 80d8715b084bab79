"""The pipeline around every call: guards before it, a status for every error, guards after it.

A guard may refuse a call when it begins, and again when it is known how many numbers it asks for.
Guards are called in their order at the beginning and in the opposite order at the end. All of it
runs on the event loop, so that a guard needs no lock and must not wait.
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, TypeAlias

import grpc
from google.protobuf.message import DecodeError
from structlog.typing import FilteringBoundLogger

from numroute import wire
from numroute.errors import (
    DeadlinePassedError,
    NumrouteError,
    TryLaterError,
    UnauthenticatedError,
)
from numroute.logs import fault_fields
from numroute.server.limits import UNAUTHENTICATED_BYTES_MAX, UNAUTHENTICATED_SECONDS
from numroute.server.statuses import details_of, status_of

# These classes of grpc take no parameters at run time.
Context: TypeAlias = "grpc.aio.ServicerContext[bytes, bytes]"
Handler: TypeAlias = "grpc.RpcMethodHandler[bytes, bytes]"
UnaryMethod = Callable[[bytes, "Call"], Awaitable[bytes]]
Write = Callable[[bytes], Awaitable[None]]
"""Send a response; returns when there is room for the next."""
ServerStreamMethod = Callable[[bytes, Write, "Call"], Awaitable[None]]
StreamMethod = Callable[[AsyncIterator[bytes], Write, "Call"], Awaitable[None]]

STREAM = "StreamLookup"
"""The method that takes many questions in one call."""

STAY_OPEN = frozenset({STREAM, "WatchSnapshots"})
"""The methods whose calls last as long as their clients want."""


class Guard:
    """A hook around all calls; a NumrouteError that it raises refuses the call."""

    def begin(self, call: Call) -> None:
        """Let a call begin, or refuse it; its request has not been read yet."""

    def numbers(self, call: Call, count: int) -> None:
        """Admit the numbers of a call, or of a message of a stream, or refuse the call."""

    def answered(self, call: Call, seconds: float) -> None:
        """Record the latency of one streamed answer."""

    def check(self, call: Call) -> None:
        """Refuse a call that stays open if it may no longer do so."""

    def end(self, call: Call, status: grpc.StatusCode) -> None:
        """Record how a call ended, once, after its answer was sent; not if ``begin`` refused it.

        A client that gives up a stream between two messages has only ended its requests, for grpc:
        its call may be OK. If it gives up while it waits for an answer, the call is CANCELLED.
        """


class Call:
    """A call under way, as guards and methods see it.

    Attributes:
        method: The method's name, e.g. ``BulkLookup``.
        client: The client's name, once a guard has found it out; empty before.
        numbers: How many numbers it has asked for so far.
        started: When it began, by ``time.perf_counter()``.
        begun: How many guards have let it begin.
        status: How it ended; CANCELLED until then, which is right for a call that is given up.
        error: The error that ended it, or None.
    """

    __slots__ = (
        "_context",
        "_guards",
        "begun",
        "client",
        "error",
        "method",
        "numbers",
        "started",
        "status",
    )

    def __init__(
        self, method: str, context: Context | None = None, guards: Sequence[Guard] = ()
    ) -> None:
        """Pass these guards, in this order; a call from within this process has no context."""
        self.method = method
        self.client = ""
        self.numbers = 0
        self.started = time.perf_counter()
        self.begun = 0
        self.status = grpc.StatusCode.CANCELLED
        self.error: Exception | None = None
        self._context = context
        self._guards = guards

    @property
    def peer(self) -> str:
        """The other end of the connection as gRPC names it, e.g. ``ipv4:10.0.0.7:41234``."""
        return "" if self._context is None else self._context.peer()

    @property
    def metadata(self) -> Sequence[tuple[str, str | bytes]]:
        """The metadata that the client sent with the call."""
        found: Any = () if self._context is None else self._context.invocation_metadata()
        return found or ()

    def auth_context(self) -> dict[str, Any]:
        """Return what TLS knows about the client; empty without TLS."""
        found: Any = {} if self._context is None else self._context.auth_context()
        return dict(found)

    def time_left(self) -> float | None:
        """Return the seconds until its deadline, 0 after it; None without one."""
        return None if self._context is None else self._context.time_remaining()

    def require_wanted(self) -> None:
        """Refuse to work on a call after its deadline. Any thread may call this.

        Raises:
            DeadlinePassedError: The call's deadline has passed.
        """
        left = self.time_left()
        if left is not None and left <= 0:
            raise DeadlinePassedError("the call's deadline passed before its turn came")

    def ask(self, count: int) -> None:
        """Ask the guards for ``count`` (more) numbers, before any work is done for them.

        Raises:
            NumrouteError: A guard refuses them.
        """
        self.numbers += count
        for guard in self._guards:
            guard.numbers(self, count)

    def answered(self, seconds: float) -> None:
        """Record the latency of one streamed answer."""
        for guard in self._guards:
            guard.answered(self, seconds)

    def check(self) -> None:
        """Check that a call that stays open may still do so.

        Raises:
            NumrouteError: A guard refuses it.
        """
        for guard in self._guards:
            guard.check(self)


class Pipeline:
    """Wraps methods into gRPC handlers that call the guards and never let an exception out."""

    def __init__(self, guards: Sequence[Guard], log: FilteringBoundLogger) -> None:
        """Call these guards, in this order; log faults."""
        self._guards = tuple(guards)
        self._log = log
        self._under_way = 0

    @property
    def under_way(self) -> int:
        """How many calls have begun and not ended; a call ends when its answer has been sent."""
        return self._under_way

    def unary(self, name: str, method: UnaryMethod) -> Handler:
        """Return the handler of a method with one request and one response."""

        async def answer(request: bytes, context: Context) -> bytes:
            call = self._call(name, context)
            try:
                self._begin(call)
                response = await method(request, call)
            except Exception as error:  # noqa: BLE001 - every one becomes a status
                await self._refuse(call, context, error, held_bytes=len(request))
                raise AssertionError from None  # never reached: to refuse is to raise
            call.status = grpc.StatusCode.OK
            return response

        # Without a (de)serialiser grpc hands the bytes over as they are.
        return grpc.unary_unary_rpc_method_handler(answer)

    def server_stream(self, name: str, method: ServerStreamMethod) -> Handler:
        """Return the handler of a method with one request and a stream of responses."""
        return grpc.unary_stream_rpc_method_handler(self._streaming(name, method))

    def both_streams(self, name: str, method: StreamMethod) -> Handler:
        """Return the handler of a method with a stream of requests and one of responses."""
        return grpc.stream_stream_rpc_method_handler(self._streaming(name, method))

    def _streaming(
        self, name: str, method: Callable[[Any, Write, Call], Awaitable[None]]
    ) -> Callable[[Any, Context], Awaitable[None]]:
        async def answer(request: Any, context: Context) -> None:  # noqa: ANN401 - one, or several
            call = self._call(name, context)
            try:
                self._begin(call)
                await method(request, context.write, call)
            except Exception as error:  # noqa: BLE001 - every one becomes a status
                await self._refuse(call, context, error)
            call.status = grpc.StatusCode.OK

        return answer

    def _call(self, name: str, context: Context) -> Call:
        call = Call(name, context, self._guards)
        self._under_way += 1
        # The task ends when the answer has been sent. grpc's own callback would do as well, but it
        # leaves a cycle of references behind each call, for the garbage collector to find.
        task = asyncio.current_task()
        if task is not None:
            task.add_done_callback(functools.partial(self._end, call))
        return call

    def _begin(self, call: Call) -> None:
        for guard in self._guards:
            guard.begin(call)
            call.begun += 1
        # After the guards, so that those that count calls count this one.
        call.require_wanted()

    def _end(self, call: Call, _task: object) -> None:
        self._under_way -= 1
        for guard in reversed(self._guards[: call.begun]):
            try:
                guard.end(call, call.status)
            except Exception as fault:  # noqa: BLE001 - the other guards must be called too
                self._log.error("guard failed", guard=type(guard).__name__, **fault_fields(fault))

    async def _refuse(
        self, call: Call, context: Context, error: Exception, held_bytes: int = 0
    ) -> None:
        """End the call with the error's status; always raises."""
        kind = type(error).__name__
        trailers: tuple[tuple[str, str], ...] = ()
        if isinstance(error, NumrouteError):
            status, details = status_of(error), details_of(error)
            if isinstance(error, TryLaterError):
                trailers = wire.retry_hint(error.retry_after_seconds, call.time_left())
        elif isinstance(error, DecodeError):
            status = grpc.StatusCode.INVALID_ARGUMENT
            details = f"the request is not a well-formed {wire.REQUEST_NAMES[call.method]} message"
        elif isinstance(error, grpc.aio.AbortError | grpc.aio.InternalError | grpc.RpcError):
            # The connection is gone, or the call has ended already: nobody would read a status.
            # Writing to a client that has given up is an InternalError before a cancellation.
            raise error
        else:
            self._log.error("request failed", method=call.method, **fault_fields(error))
            status, kind = grpc.StatusCode.INTERNAL, "Fault"
            details = "the service failed on this request; its log names the place"
        call.status = status
        call.error = error
        if isinstance(error, UnauthenticatedError) and held_bytes <= UNAUTHENTICATED_BYTES_MAX:
            await asyncio.sleep(UNAUTHENTICATED_SECONDS)
        await context.abort(status, details, ((wire.ERROR_KEY, kind), *trailers))
