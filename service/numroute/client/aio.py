"""The client for asyncio programs."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Self, TypeVar

import grpc
import grpc.aio

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
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from numroute.client.answers import BulkAnswer, SnapshotInfo
    from numroute.client.plans import Plan
    from numroute.model import Answer

    AnswerT = TypeVar("AnswerT")


class AsyncClient:
    """The asyncio twin of ``Client``: the same methods, to be awaited. Make it inside the loop."""

    def __init__(
        self,
        target: str,
        *,
        timeout: float = TIMEOUT_SECONDS,
        numbers_per_chunk: int = NUMBERS_PER_CHUNK,
    ) -> None:
        """Name a service; the arguments are those of ``Client``."""
        self.target = target
        self.timeout = timeout
        self._numbers_per_chunk = checked_chunk(numbers_per_chunk)
        self._values = Values()
        self._channel = grpc.aio.insecure_channel(target, options=OPTIONS)
        self._methods = {
            name: self._channel.unary_unary(
                wire.method_path(name), request_serializer=None, response_deserializer=None
            )
            for name in ("Lookup", "BulkLookup", "GetSnapshot")
        }

    async def lookup(
        self,
        numbers: NDArray[Any] | Sequence[int],
        *,
        with_range_holder: bool = False,
        with_ported_at: bool = False,
        timeout: float | None = None,  # noqa: ASYNC109 - the deadline goes to the service
    ) -> BulkAnswer:
        """Look up whole E.164 numbers; see ``Client.lookup``."""
        plan = BulkPlan(
            as_numbers(numbers),
            self._values,
            with_range_holder=with_range_holder,
            with_ported_at=with_ported_at,
            numbers_per_chunk=self._numbers_per_chunk,
        )
        return await self._carry_out(plan, timeout)

    async def lookup_text(
        self,
        texts: Iterable[str],
        default_region: str | None = None,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - the deadline goes to the service
    ) -> list[Answer]:
        """Look up phone numbers in any human format; see ``Client.lookup_text``."""
        return await self._carry_out(TextPlan(messages.as_texts(texts), default_region), timeout)

    async def snapshot(
        self,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - the deadline goes to the service
    ) -> SnapshotInfo:
        """Return which snapshot answers now; see ``Client.snapshot``."""
        seconds = self.timeout if timeout is None else timeout
        return messages.snapshot_response(
            await self._call("GetSnapshot", messages.snapshot_request(), seconds)
        )

    async def close(self) -> None:
        """End the connection; calls that are under way fail."""
        await self._channel.close(None)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _carry_out(
        self,
        plan: Plan[Any, AnswerT],
        timeout: float | None,  # noqa: ASYNC109 - the deadline goes to the service
    ) -> AnswerT:
        seconds = self.timeout if timeout is None else timeout
        for chunks in rounds(plan):
            await self._ask(plan, chunks, seconds)
        return plan.answer()

    async def _ask(self, plan: Plan[Any, AnswerT], chunks: list[int], seconds: float) -> None:
        """Send the requests of these chunks, a few at once, and hand the responses to the plan."""
        left = iter(chunks)
        senders = [
            asyncio.ensure_future(self._send(plan, left, seconds))
            for _ in range(min(CALLS_IN_FLIGHT, len(chunks)))
        ]
        try:
            await asyncio.gather(*senders)
        finally:
            for sender in senders:
                sender.cancel()

    async def _send(self, plan: Plan[Any, AnswerT], chunks: Iterator[int], seconds: float) -> None:
        """Send one request after the other for as long as there are chunks."""
        for chunk in chunks:
            plan.accept(chunk, await self._call(plan.method, plan.request(chunk), seconds))

    async def _call(self, method: str, request: bytes, seconds: float) -> bytes:
        try:
            response: bytes = await self._methods[method](request, timeout=seconds)
        except grpc.aio.AioRpcError as error:
            raise service_error(
                self.target, seconds, error.code(), error.details(), error.trailing_metadata()
            ) from None
        return response
