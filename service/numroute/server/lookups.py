"""The calls that look numbers up: a few texts, or a batch of whole numbers."""

from __future__ import annotations

import asyncio
import functools
import os
from typing import TYPE_CHECKING

from numroute import wire
from numroute.errors import LimitExceededError, OtherSnapshotError, OverloadedError
from numroute.server.batches import Batches
from numroute.server.columns import bulk_answer
from numroute.server.guard import STREAM
from numroute.server.rows import row_answers
from numroute.server.settings import (
    NUMBERS_INLINE_MAX,
    NUMBERS_PER_BULK_MAX,
    NUMBERS_PER_LOOKUP_MAX,
)
from numroute.v1 import number_routing_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from numroute.server.follower import Follower
    from numroute.server.guard import Call
    from numroute.server.past import PastSnapshots
    from numroute.server.served import ServedSnapshot


class Lookups:
    """``Lookup`` and ``BulkLookup``, and what ``StreamLookup`` does with each of its messages."""

    def __init__(self, follower: Follower, past: PastSnapshots) -> None:
        """Answer from the follower's snapshot, or from one of the past."""
        self._follower = follower
        self._past = past
        # numpy lets other threads run during its long loops: large batches use several cores and
        # do not keep small ones waiting.
        self._batches = Batches(max(2, os.cpu_count() or 1))

    def close(self) -> None:
        """Wait for the batches that are still looked up, of calls that nobody waits for."""
        self._batches.close()

    async def lookup(self, request: bytes, call: Call) -> bytes:
        """Answer a ``LookupRequest`` with a ``LookupResponse``."""
        message = pb.LookupRequest.FromString(request)
        _check_limit(len(message.numbers), NUMBERS_PER_LOOKUP_MAX)
        with await self._past.at(message) as served:
            self._check_snapshot(served, message.snapshot_id)
            # What cannot be answered costs nothing.
            call.ask(len(message.numbers))
            response = await row_answers(served, message.numbers, message.default_region or None)
        return response.SerializeToString()

    async def bulk_lookup(self, request: bytes, call: Call) -> bytes:
        """Answer a ``BulkLookupRequest`` with a ``BulkLookupResponse``."""
        numbers, options = wire.bulk_request_parts(request)
        _check_limit(len(numbers), NUMBERS_PER_BULK_MAX)
        served = self._follower.serving()
        self._check_snapshot(served, options.snapshot_id)
        call.ask(len(numbers))
        served.acquire()
        answer = functools.partial(
            bulk_answer,
            served,
            numbers,
            with_range_holder=options.with_range_holder,
            with_ported_at=options.with_ported_at,
            require_wanted=call.require_wanted if len(numbers) > NUMBERS_INLINE_MAX else None,
        )
        if len(numbers) <= NUMBERS_INLINE_MAX:
            try:
                return answer()
            finally:
                served.release()
        try:
            work = await self._queued(call, len(numbers), answer)
        except BaseException:
            served.release()
            raise
        # The lease ends with the thread's work, not with this coroutine: a call that its client
        # cancels leaves the thread reading the snapshot.
        work.add_done_callback(lambda _: served.release())
        return await asyncio.wrap_future(work)

    def _check_snapshot(self, served: ServedSnapshot, wanted: str) -> None:
        """Raise OtherSnapshotError unless the request names this snapshot or none."""
        if wanted and wanted != served.id:
            raise OtherSnapshotError(
                self._follower.store.path,
                f"the answer would come from snapshot {served.id}, the request names another",
                hint="Ask another replica, or ask the whole question again without snapshot_id",
            )

    async def _queued(self, call: Call, count: int, answer: Callable[[], bytes]) -> Future[bytes]:
        """Queue a large batch; one of a stream waits for room, any other is refused without."""
        while True:
            try:
                return self._batches.submit(call.client or call.peer, count, answer)
            except OverloadedError as error:
                if call.method != STREAM:
                    raise
                # A stream is not read any further meanwhile.
                await asyncio.sleep(error.retry_after_seconds)


def _check_limit(actual: int, limit: int) -> None:
    if actual > limit:
        raise LimitExceededError(
            "numbers", actual=actual, limit=limit, hint="Split the request into several"
        )
