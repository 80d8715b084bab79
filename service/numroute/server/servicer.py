"""The service's methods: bytes in, bytes out, and every error as a proper status."""

from __future__ import annotations

import asyncio
import functools
import os
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf.message import DecodeError

from numroute import wire
from numroute.errors import LimitExceededError, NumrouteError
from numroute.logs import fault_fields
from numroute.server.columns import bulk_answer
from numroute.server.rows import row_answers
from numroute.server.served import describe
from numroute.server.settings import (
    NUMBERS_INLINE_MAX,
    NUMBERS_PER_BULK_MAX,
    NUMBERS_PER_LOOKUP_MAX,
)
from numroute.server.statuses import status_of
from numroute.v1 import number_routing_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from structlog.typing import FilteringBoundLogger

    from numroute.server.follower import Follower

    Method = Callable[[bytes], Awaitable[bytes]]
    Context = grpc.aio.ServicerContext[bytes, bytes]


class NumberRouting:
    """``numroute.v1.NumberRouting`` over the snapshot that the follower keeps in service.

    Methods take and return serialised messages: a bulk answer never becomes a message object, and
    a request that cannot be parsed gets a status of our choosing.
    """

    def __init__(self, follower: Follower, log: FilteringBoundLogger) -> None:
        """Answer from the follower's snapshot; faults go to the log."""
        self._follower = follower
        self._log = log
        # numpy lets other threads run during its long loops: large batches use several cores and
        # do not keep small ones waiting.
        self._threads = ThreadPoolExecutor(max(2, os.cpu_count() or 1), "batch")
        self._under_way = 0

    @property
    def under_way(self) -> int:
        """How many calls have begun and not ended; one ends when its answer has been sent."""
        return self._under_way

    def close(self) -> None:
        """Wait for the batches that are still looked up, of calls that nobody waits for."""
        self._threads.shutdown()

    def handler(self) -> grpc.GenericRpcHandler[bytes, bytes]:
        """Return the service as a handler that a ``grpc.aio`` server takes."""
        methods: dict[str, Method] = {
            "Lookup": self.lookup,
            "BulkLookup": self.bulk_lookup,
            "GetSnapshot": self.get_snapshot,
        }
        return grpc.method_handlers_generic_handler(
            wire.SERVICE_NAME,
            {
                # Without a (de)serialiser grpc hands the bytes over as they are.
                name: grpc.unary_unary_rpc_method_handler(self._guarded(name, method))
                for name, method in methods.items()
            },
        )

    async def lookup(self, request: bytes) -> bytes:
        """Answer a ``LookupRequest`` with a ``LookupResponse``."""
        message = pb.LookupRequest.FromString(request)
        _check_limit(len(message.numbers), NUMBERS_PER_LOOKUP_MAX)
        with self._follower.serving() as served:
            response = await row_answers(served, message.numbers, message.default_region or None)
        return response.SerializeToString()

    async def bulk_lookup(self, request: bytes) -> bytes:
        """Answer a ``BulkLookupRequest`` with a ``BulkLookupResponse``."""
        numbers, options = wire.bulk_request_parts(request)
        _check_limit(len(numbers), NUMBERS_PER_BULK_MAX)
        served = self._follower.serving()
        served.acquire()
        answer = functools.partial(
            bulk_answer,
            served,
            numbers,
            with_range_holder=options.with_range_holder,
            with_ported_at=options.with_ported_at,
        )
        if len(numbers) <= NUMBERS_INLINE_MAX:
            try:
                return answer()
            finally:
                served.release()
        call = self._threads.submit(answer)
        # The lease ends with the thread's work, not with this coroutine: a call that its client
        # cancels leaves the thread reading the snapshot.
        call.add_done_callback(lambda _: served.release())
        return await asyncio.wrap_future(call)

    async def get_snapshot(self, request: bytes) -> bytes:
        """Answer a ``GetSnapshotRequest`` with a ``GetSnapshotResponse``."""
        pb.GetSnapshotRequest.FromString(request)
        with self._follower.serving() as served:
            return describe(served, now=time.time()).SerializeToString()

    def _guarded(self, name: str, method: Method) -> Callable[[bytes, Context], Any]:
        """Return the method with every exception turned into a status."""

        async def answer(request: bytes, context: Context) -> bytes:
            self._under_way += 1
            context.add_done_callback(self._ended)  # type: ignore[arg-type] # stubs want a class
            try:
                return await method(request)
            except NumrouteError as error:
                status, details, kind = status_of(error), str(error), type(error).__name__
            except DecodeError:
                status = grpc.StatusCode.INVALID_ARGUMENT
                details = f"the request is not a well-formed {name}Request message"
                kind = "DecodeError"
            except Exception as fault:  # noqa: BLE001 - the last line of defence
                self._log.error("request failed", method=name, **fault_fields(fault))
                status = grpc.StatusCode.INTERNAL
                details = "the service failed on this request; its log names the place"
                kind = "Fault"
            await context.abort(status, details, ((wire.ERROR_KEY, kind),))
            raise AssertionError  # never reached: abort raises, which not every linter can see

        return answer

    def _ended(self, _: Context) -> None:
        self._under_way -= 1


def _check_limit(actual: int, limit: int) -> None:
    if actual > limit:
        raise LimitExceededError(
            "numbers", actual=actual, limit=limit, hint="Split the request into several"
        )
