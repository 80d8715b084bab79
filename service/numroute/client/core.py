"""What both clients decide alike, without input or output.

How a question is split into requests and their responses joined into one answer from one snapshot,
and when a call that failed is sent again. ``Client`` and ``AsyncClient`` send what a question asks
for and hand back what they receive.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from numroute import wire
from numroute.client import messages
from numroute.client.messages import BulkAnswer, Chunk
from numroute.errors import ServiceError
from numroute.model import Answer, Operator, SnapshotNews, SnapshotRef
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


ItemsT = TypeVar("ItemsT", "NDArray[np.uint64]", "Sequence[str]")
PartT = TypeVar("PartT")
AnswerT = TypeVar("AnswerT")


class Question(ABC, Generic[ItemsT, PartT, AnswerT]):
    """A question in chunks, one request each.

    Send what ``next_request`` returns, as many at once as you like, and pass each outcome to
    ``accept`` or ``refuse`` until the question is ``done``.

    The whole answer comes from one snapshot: the first response decides which, and every later
    request names it. A replica that has another one refuses, and the request is sent again, with
    luck to a replica that has it. When none seems to have it any more the question starts again.
    """

    method: str
    large = False
    """Whether its requests and responses take an event loop too long."""

    def __init__(self, items: ItemsT, items_per_chunk: int) -> None:
        """Split the items; none are one chunk, to learn whether the service is there."""
        self.chunk_count = chunk_count = max(1, -(-len(items) // items_per_chunk))
        self._items: ItemsT = items
        self._step = items_per_chunk
        self._open = deque(range(chunk_count))
        self._parts: dict[int, PartT] = {}
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
        return chunk, self._request(self._chunk(chunk), self._ref.id if self._ref else "")

    def message(self) -> bytes:
        """Return the request of a question of one chunk."""
        return self._request(self._items, "")

    def accept(self, chunk: int, response: bytes) -> None:
        """Take the response to a chunk's request."""
        ref, part = self._decode(len(self._chunk(chunk)), response)
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
        self.accept(0, response)
        return self.answer()

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

    @abstractmethod
    def _request(self, items: ItemsT, snapshot_id: str) -> bytes: ...

    @abstractmethod
    def _decode(self, count: int, response: bytes) -> tuple[SnapshotRef, PartT]: ...

    @abstractmethod
    def _join(self, parts: list[PartT]) -> AnswerT: ...


class BulkQuestion(Question["NDArray[np.uint64]", "Chunk", BulkAnswer]):
    """A batch of numbers for ``BulkLookup``."""

    method = "BulkLookup"

    def __init__(
        self,
        numbers: NDArray[Any] | Sequence[int],
        *,
        with_range_holder: bool,
        with_ported_at: bool,
        numbers_per_chunk: int = NUMBERS_PER_CHUNK_MAX,
    ) -> None:
        """Ask for whole numbers."""
        self._columns = {"with_range_holder": with_range_holder, "with_ported_at": with_ported_at}
        super().__init__(messages.as_numbers(numbers), numbers_per_chunk)
        self.large = len(self._items) > NUMBERS_AT_ONCE_MAX

    def _request(self, items: NDArray[np.uint64], snapshot_id: str) -> bytes:
        return wire.bulk_request(items, snapshot_id=snapshot_id, **self._columns)

    def _decode(self, count: int, response: bytes) -> tuple[SnapshotRef, Chunk]:
        part = messages.bulk_response(response, count, **self._columns)
        return part.snapshot, part

    def _join(self, parts: list[Chunk]) -> BulkAnswer:
        route_index, routes = _merge([(part.route_indexes, part.routes) for part in parts])
        holder_index = None
        holders: tuple[Operator, ...] = ()
        if self._columns["with_range_holder"]:
            holder_index, distinct = _merge(
                [(part.range_holder_indexes, part.range_holders) for part in parts]
            )
            holders = tuple(map(messages.operator, distinct))
        ported_at = None
        if self._columns["with_ported_at"]:
            ported_at = np.concatenate([part.ported_at for part in parts])
        return BulkAnswer(
            route_index=route_index,
            routes=tuple(map(messages.route, routes)),
            snapshot=parts[0].snapshot,
            ported_at=ported_at,
            range_holder_index=holder_index,
            range_holders=holders,
        )


def stream_question(
    batch: NDArray[Any] | Sequence[int], *, with_range_holder: bool, with_ported_at: bool
) -> BulkQuestion:
    """Return a batch of a stream as a question of one request."""
    question = BulkQuestion(
        batch, with_range_holder=with_range_holder, with_ported_at=with_ported_at
    )
    if question.chunk_count > 1:
        raise ValueError(f"a batch has more than {NUMBERS_PER_CHUNK_MAX} numbers: split it")
    return question


class TextQuestion(Question["Sequence[str]", list[Answer], list[Answer]]):
    """Texts for ``Lookup``."""

    method = "Lookup"

    def __init__(
        self, texts: Iterable[str], default_region: str | None, as_of: datetime | None = None
    ) -> None:
        """Ask for texts in any human format."""
        self._options = pb.LookupRequest(
            default_region=messages.as_region(default_region), as_of=messages.as_time(as_of)
        )
        super().__init__(messages.as_texts(texts), TEXTS_PER_CHUNK)

    def _request(self, items: Sequence[str], snapshot_id: str) -> bytes:
        texts = pb.LookupRequest(numbers=items, snapshot_id=snapshot_id)
        texts.MergeFrom(self._options)
        return texts.SerializeToString()

    def _decode(self, count: int, response: bytes) -> tuple[SnapshotRef, list[Answer]]:
        return messages.lookup_response(response, count)

    def _join(self, parts: list[list[Answer]]) -> list[Answer]:
        return [answer for part in parts for answer in part]


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


def _merge(
    parts: Sequence[tuple[NDArray[np.uint32], Sequence[bytes]]],
) -> tuple[NDArray[np.uint32], list[bytes]]:
    """Join columns of indexes, each into its own distinct values, into one such column."""
    if len(parts) == 1:
        ((indexes, values),) = parts
        return indexes.copy(), list(values)
    places: dict[bytes, int] = {}
    joined = []
    for indexes, values in parts:
        remap = np.array([places.setdefault(value, len(places)) for value in values], np.uint32)
        joined.append(remap.take(indexes, mode="clip") if len(indexes) else indexes)
    return np.concatenate(joined), list(places)
