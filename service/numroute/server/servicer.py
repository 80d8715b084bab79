"""The service's methods: bytes in, bytes out, and every error as a proper status."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf.message import DecodeError

from numroute import wire
from numroute.errors import NumrouteError
from numroute.logs import fault_fields
from numroute.server.control import Control
from numroute.server.lookups import Lookups
from numroute.server.past import PastSnapshots
from numroute.server.statuses import status_of
from numroute.server.streams import Streams

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from structlog.typing import FilteringBoundLogger

    from numroute.server.follower import Follower

    Context = grpc.aio.ServicerContext[bytes, bytes]
    Method = Callable[[bytes], Awaitable[bytes]]
    Work = Callable[[], Awaitable[Any]]


class NumberRouting:
    """``numroute.v1.NumberRouting`` over the snapshot that the follower keeps in service.

    Methods take and return serialised messages: a bulk answer never becomes a message object, and
    a request that cannot be parsed gets a status of our choosing.
    """

    def __init__(self, follower: Follower, log: FilteringBoundLogger) -> None:
        """Answer from the follower's snapshot; faults go to the log."""
        self._log = log
        self._past = PastSnapshots(follower)
        self._lookups = Lookups(follower, self._past)
        self._control = Control(follower, self._past)
        self._streams = Streams(follower, self._lookups.bulk_lookup)
        self._under_way = 0

    @property
    def under_way(self) -> int:
        """How many calls have begun and not ended; one ends when its answer has been sent."""
        return self._under_way

    def drain(self) -> None:
        """End the calls that stay open; what they have been asked is still answered."""
        self._streams.drain()

    def close(self) -> None:
        """Wait for the batches that are still looked up, of calls that nobody waits for."""
        self._lookups.close()
        self._past.close()

    def handler(self) -> grpc.GenericRpcHandler[bytes, bytes]:
        """Return the service as a handler that a ``grpc.aio`` server takes."""
        methods: dict[str, Method] = {
            "Lookup": self._lookups.lookup,
            "BulkLookup": self._lookups.bulk_lookup,
            "Explain": self._control.explain,
            "GetSnapshot": self._control.get_snapshot,
            "ListOperators": self._control.list_operators,
        }
        # Without a (de)serialiser grpc hands the bytes over as they are.
        handlers = {
            name: grpc.unary_unary_rpc_method_handler(self._unary(name, method))
            for name, method in methods.items()
        }
        handlers["StreamLookup"] = grpc.stream_stream_rpc_method_handler(self._stream_lookup)
        handlers["WatchSnapshots"] = grpc.unary_stream_rpc_method_handler(self._watch_snapshots)
        return grpc.method_handlers_generic_handler(wire.SERVICE_NAME, handlers)

    def _unary(self, name: str, method: Method) -> Callable[[bytes, Context], Any]:
        async def answer(request: bytes, context: Context) -> bytes:
            response: bytes = await self._guarded(name, context, lambda: method(request))
            return response

        return answer

    async def _stream_lookup(self, questions: AsyncIterator[bytes], context: Context) -> None:
        await self._guarded(
            "StreamLookup",
            context,
            lambda: self._streams.stream_lookup(questions, context.write),
        )

    async def _watch_snapshots(self, request: bytes, context: Context) -> None:
        await self._guarded(
            "WatchSnapshots",
            context,
            lambda: self._streams.watch_snapshots(request, context.write),
        )

    async def _guarded(self, name: str, context: Context, work: Work) -> Any:  # noqa: ANN401
        """Return what the work returns, and turn every exception into a status."""
        self._under_way += 1
        context.add_done_callback(self._ended)  # type: ignore[arg-type] # stubs want a class
        try:
            return await work()
        except NumrouteError as error:
            status, details, kind = status_of(error), str(error), type(error).__name__
        except DecodeError:
            status = grpc.StatusCode.INVALID_ARGUMENT
            details = f"the request is not a well-formed {wire.REQUEST_NAMES[name]} message"
            kind = "DecodeError"
        except Exception as fault:  # noqa: BLE001 - the last line of defence
            self._log.error("request failed", method=name, **fault_fields(fault))
            status = grpc.StatusCode.INTERNAL
            details = "the service failed on this request; its log names the place"
            kind = "Fault"
        await context.abort(status, details, ((wire.ERROR_KEY, kind),))
        raise AssertionError  # never reached: abort raises, which not every linter can see

    def _ended(self, _: Context) -> None:
        self._under_way -= 1
