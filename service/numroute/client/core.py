"""What both clients decide alike, without input or output.

How a question is split into requests and their responses joined into one answer from one snapshot,
and when a call that failed is sent again. ``Client`` and ``AsyncClient`` send what a question asks
for and hand back what they receive.
"""

from __future__ import annotations

import functools
import math
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from numroute import wire
from numroute.client import messages
from numroute.client.messages import BulkAnswer
from numroute.errors import ServiceError
from numroute.model import Answer, SnapshotNews, SnapshotRef
from numroute.v1 import number_routing_pb2 as pb

NUMBERS_PER_CHUNK = 262_144
"""Numbers in one request: from here on larger calls gain nothing. Measured with 2,097,152 numbers:
77 ns a number in calls of 65,536, 48 in calls of 131,072, 46 in calls of this size, 63 in calls of
500,000; the p99 of single numbers beside them was 22, 27, 27 and 56 ms."""

NUMBERS_PER_CHUNK_MAX = 500_000
"""The service takes no more numbers in one request."""

TEXTS_PER_CHUNK = 1_000
"""Texts in one request: the service's limit."""

NUMBERS_AT_ONCE_MAX = 4_096
"""Up to this many numbers a request is written and its response read on the event loop itself, some
tenths of a millisecond; more go to a thread, so that other tasks need not wait."""

REFUSALS_MAX = 32
"""How often in a row requests of one question may meet another snapshot before it starts again.

With five replicas of which one has the question's snapshot, such a run has a chance of one in a
thousand; when no replica has it any more, they are refused within milliseconds.
"""

RESTARTS_MAX = 8
"""How often one question starts again with another snapshot."""

RETRIED = ("UNAVAILABLE", "CANCELLED", "RESOURCE_EXHAUSTED")
"""The statuses after which a call is sent again.

UNAVAILABLE means that the call reached no server, or one without a snapshot; CANCELLED that it
reached one that was stopping; RESOURCE_EXHAUSTED is how an overloaded service refuses, with the
time after which to come back.
"""

ATTEMPTS_MAX = 4
"""How often a client that was never answered sends a call: its address may be wrong."""

BACKOFF_SECONDS = 0.05
BACKOFF_SECONDS_MAX = 1.0


def retry_pause(
    code: str, trailers: Iterable[Any] | None, tries: int, left: float, *, reached: bool
) -> float | None:
    """Return how many seconds to wait before a call is sent again; None to give up.

    ``tries`` counts how often it was sent again before, and ``left`` the seconds that it may still
    take. A client that was ever ``reached`` waits as long for a service that restarts.
    """
    if code not in RETRIED or not (reached or tries < ATTEMPTS_MAX - 1):
        return None
    # A tuple first: as a mapping, the trailers of older grpc.aio (1.71) have pairs for keys.
    milliseconds = str(dict(tuple(trailers or ())).get(wire.RETRY_AFTER_KEY, ""))
    if milliseconds.isdecimal():
        pause = max(int(milliseconds), 1) / 1000
        return pause if pause < left else None
    if code == "RESOURCE_EXHAUSTED" or left < BACKOFF_SECONDS:
        return None
    return min(BACKOFF_SECONDS * float(1 << min(tries, 16)), BACKOFF_SECONDS_MAX, left / 2)


ItemsT = TypeVar("ItemsT", "NDArray[np.uint64]", "list[str]")
AnswerT = TypeVar("AnswerT")
ValueT = TypeVar("ValueT")


class Question(Generic[ItemsT, AnswerT]):
    """A question in chunks, one request each.

    Send what ``next_request`` returns, as many at once as you like, and pass each outcome to
    ``accept`` or ``refuse`` until the question is ``done``.

    The whole answer comes from one snapshot: the first response decides which, and every later
    request names it. A replica that has another one refuses, and the request is sent again, with
    luck to a replica that has it. When none seems to have it any more the question starts again.
    """

    def __init__(
        self,
        method: str,
        items: ItemsT,
        items_per_chunk: int,
        *,
        encode: Callable[[ItemsT, str], bytes],
        decode: Callable[[bytes, int], tuple[SnapshotRef, AnswerT]],
        join: Callable[[list[AnswerT]], AnswerT],
    ) -> None:
        """Split the items; none are one chunk, to learn whether the service is there.

        ``encode`` writes a request for items from a snapshot, named or any; ``decode`` reads the
        response to a number of items; ``join`` makes one answer of several.
        """
        self.method = method
        # Whether its requests and responses take an event loop too long.
        self.large = len(items) > NUMBERS_AT_ONCE_MAX
        self._encode: Callable[[ItemsT, str], bytes] = encode
        self._decode = decode
        self._join = join
        self.chunk_count = chunk_count = max(1, -(-len(items) // items_per_chunk))
        self._items: ItemsT = items
        self._step = items_per_chunk
        self._open = deque(range(chunk_count))
        self._parts: dict[int, AnswerT] = {}
        self._ref: SnapshotRef | None = None
        self._refusals = 0
        self._restarts = 0

    @property
    def done(self) -> bool:
        """Whether every chunk is answered."""
        return len(self._parts) == self.chunk_count

    def next_request(self) -> tuple[int, bytes] | None:
        """Return a chunk and its request; None while all others are under way or answered."""
        if not self._open:
            return None
        chunk = self._open.popleft()
        return chunk, self._encode(self._chunk(chunk), self._ref.id if self._ref else "")

    def message(self) -> bytes:
        """Return the request of a question of one chunk."""
        return self._encode(self._items, "")

    def accept(self, chunk: int, response: bytes) -> None:
        """Take the response to a chunk's request."""
        ref, part = self._decode(response, len(self._chunk(chunk)))
        if self._ref is not None and ref.id != self._ref.id:
            # The request was sent before the snapshot was known, or the service is an older one
            # that does not look at the id.
            self._again(chunk)
            return
        self._ref = ref
        self._refusals = 0
        self._parts[chunk] = part

    def whole_answer(self, response: bytes) -> AnswerT:
        """Return the answer to a question of one chunk."""
        return self._join([self._decode(response, len(self._items))[1]])

    def refuse(self, chunk: int, error: ServiceError) -> None:
        """Take the error with which a chunk's request ended; raise it if that is the end."""
        if error.code != "FAILED_PRECONDITION" or self.chunk_count == 1:
            raise error from None
        self._again(chunk)

    def answer(self) -> AnswerT:
        """Return the whole answer; the question must be done."""
        return self._join([self._parts[chunk] for chunk in range(self.chunk_count)])

    def _chunk(self, chunk: int) -> ItemsT:
        return self._items[chunk * self._step : (chunk + 1) * self._step]

    def _again(self, chunk: int) -> None:
        """Ask for a chunk once more, or for all of them."""
        self._open.append(chunk)
        self._refusals += 1
        if self._refusals < REFUSALS_MAX:
            return
        if self._restarts == RESTARTS_MAX:
            raise ServiceError(
                f"no snapshot answered the whole question in {RESTARTS_MAX + 1} attempts",
                code="ABORTED",
                hint="Do the replicas have many different snapshots? Ask again or in smaller "
                "batches",
            )
        self._restarts += 1
        self._refusals = 0
        self._ref = None
        self._open.extend(self._parts)
        self._parts.clear()


def bulk_question(
    numbers: NDArray[Any] | Sequence[int],
    numbers_per_chunk: int | None = None,
    *,
    with_range_holder: bool,
    with_ported_at: bool,
) -> Question[NDArray[np.uint64], BulkAnswer]:
    """Return a question about whole numbers, for ``BulkLookup``; one request unless split."""
    array = messages.as_numbers(numbers)
    if numbers_per_chunk is None and len(array) > NUMBERS_PER_CHUNK_MAX:
        raise ValueError(f"a batch has more than {NUMBERS_PER_CHUNK_MAX} numbers: split it")
    columns = {"with_range_holder": with_range_holder, "with_ported_at": with_ported_at}
    return Question(
        "BulkLookup",
        array,
        numbers_per_chunk or NUMBERS_PER_CHUNK_MAX,
        encode=functools.partial(wire.bulk_request, **columns),
        decode=functools.partial(messages.bulk_response, **columns),
        join=_joined,
    )


def text_question(
    texts: Iterable[str], default_region: str | None, as_of: datetime | None = None
) -> Question[list[str], list[Answer]]:
    """Return a question about texts in any human format, for ``Lookup``."""
    options = messages.text_options(default_region, as_of)

    def encode(items: list[str], snapshot_id: str) -> bytes:
        request = pb.LookupRequest(numbers=items, snapshot_id=snapshot_id, **options)
        return request.SerializeToString()

    return Question(
        "Lookup",
        messages.as_texts(texts),
        TEXTS_PER_CHUNK,
        encode=encode,
        decode=messages.lookup_response,
        join=lambda parts: [answer for part in parts for answer in part],
    )


class Watch:
    """What a client has received over ``WatchSnapshots``, across reconnections."""

    def __init__(self, seconds: float, now: float) -> None:
        """Wait for the first announcement until ``seconds`` after ``now``."""
        self._announced: str | None = None
        self._end = now + seconds
        self._tries = 0

    def news(self, response: bytes) -> SnapshotNews | None:
        """Return what a response announces; None when it was announced before."""
        news = messages.decoded(SnapshotNews, response)
        self._tries = 0
        if news.snapshot.id == self._announced:
            return None
        self._announced = news.snapshot.id
        self._end = math.inf
        return news

    def pause(self, code: str, trailers: Iterable[Any] | None, now: float) -> float | None:
        """Return how many seconds to wait before watching again; None to give up."""
        if code == "OK":
            return BACKOFF_SECONDS if now < self._end else None
        tries, self._tries = self._tries, self._tries + 1
        return retry_pause(code, trailers, tries, self._end - now, reached=True)


def _joined(parts: Sequence[BulkAnswer]) -> BulkAnswer:
    """Return the answers to the chunks of a batch as one, which keeps no response alive."""
    if len(parts) == 1:
        return replace(parts[0], route_index=parts[0].route_index.copy())
    route_index, routes = _merge([(part.route_index, part.routes) for part in parts])
    columns = [
        (part.range_holder_index, part.range_holders)
        for part in parts
        if part.range_holder_index is not None
    ]
    holder_index, holders = _merge(columns) if columns else (None, ())
    times = [part.ported_at for part in parts if part.ported_at is not None]
    return BulkAnswer(
        route_index=route_index,
        routes=routes,
        snapshot=parts[0].snapshot,
        ported_at=np.concatenate(times) if times else None,
        range_holder_index=holder_index,
        range_holders=holders,
    )


def _merge(
    columns: Sequence[tuple[NDArray[np.uint32], Sequence[ValueT]]],
) -> tuple[NDArray[np.uint32], tuple[ValueT, ...]]:
    """Join columns of indexes, each into its own distinct values, into one such column."""
    places: dict[ValueT, int] = {}
    known: dict[int, int] = {}  # by identity: to hash a route takes ten times as long
    joined = np.empty(sum(len(indexes) for indexes, _ in columns), np.uint32)
    end = 0
    for indexes, values in columns:
        for value in values:
            if id(value) not in known:
                known[id(value)] = places.setdefault(value, len(places))
        remap = np.fromiter(map(known.__getitem__, map(id, values)), np.uint32, len(values))
        begin, end = end, end + len(indexes)
        remap.take(indexes, mode="clip", out=joined[begin:end])
    return joined, tuple(places)
