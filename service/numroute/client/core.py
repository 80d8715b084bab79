"""What both clients decide alike, without input or output.

How a question is split into requests and their responses joined into one answer from one snapshot,
when a call that broke may be made again, and what an open call still has to answer. ``Client`` and
``AsyncClient`` send what a question asks for and hand back what they receive.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np

from numroute import wire
from numroute.client import codec, messages
from numroute.client.codec import BulkAnswer
from numroute.errors import ServiceError
from numroute.model import Answer

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    import grpc
    from numpy.typing import NDArray

    from numroute.client.codec import Chunk, Values
    from numroute.client.messages import Answers
    from numroute.model import Operator, SnapshotNews, SnapshotRef

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

With five replicas of which one has the question's snapshot, a run of so many has a chance of one in
a thousand; when no replica has it any more, they are refused within milliseconds.
"""

RESTARTS_MAX = 8
"""How often one question starts again with another snapshot."""

RETRIED = ("UNAVAILABLE", "CANCELLED", "RESOURCE_EXHAUSTED")
"""The statuses after which a call is sent again.

Lookups change nothing, so asking again is always safe. UNAVAILABLE means that the call reached no
server, CANCELLED that it reached one that was stopping (grpc drops what it has not begun to
handle); a caller's own cancellation ends the call without a retry. RESOURCE_EXHAUSTED is how an
overloaded server refuses, usually with the time after which to come back, which gRPC respects
("pushback", gRPC proposal A6). When that is longer than the call may take, the service forbids the
retry and the refusal is reported at once.
"""

ATTEMPTS_MAX = 4
"""How often a call is sent at most."""

BACKOFF_SECONDS = 0.05
BACKOFF_SECONDS_MAX = 1.0

ATTEMPTS_SECONDS = 0.5
"""How long gRPC's attempts of one call take at most where nobody listens."""


def retry_policy(statuses: Iterable[str]) -> dict[str, object]:
    """Return gRPC's retry policy of a call that is sent again after these statuses."""
    return {
        "maxAttempts": ATTEMPTS_MAX,
        "initialBackoff": f"{BACKOFF_SECONDS}s",
        "maxBackoff": f"{BACKOFF_SECONDS_MAX}s",
        "backoffMultiplier": 2,
        "retryableStatusCodes": list(statuses),
    }


def backoff(tries: int) -> float:
    """Return how many seconds to wait after ``tries`` earlier waits."""
    return min(BACKOFF_SECONDS * float(1 << min(tries, 16)), BACKOFF_SECONDS_MAX)


AnswerT = TypeVar("AnswerT")
PartT = TypeVar("PartT", "Chunk", "Answers")


class Question(ABC, Generic[PartT, AnswerT]):
    """A question in chunks, one request each.

    Send what ``next_request`` returns, as many at once as you like, and pass each outcome to
    ``accept`` or ``refuse`` until the question is ``done``.

    The whole answer comes from one snapshot: the first response decides which, and every later
    request names it. A replica that has another snapshot refuses, and the request is sent again,
    with luck to a replica that has it. When none seems to have it any more the question starts
    again.
    """

    method: str

    def __init__(self, chunk_count: int, *, large: bool = False) -> None:
        """Split into ``chunk_count`` chunks; ``large`` ones take an event loop too long."""
        self.chunk_count = chunk_count
        self.large = large
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
        return chunk, self._request(chunk, self._ref.id if self._ref else "")

    def message(self) -> bytes:
        """Return the request of a question of one chunk."""
        return self._request(0, "")

    def accept(self, chunk: int, response: bytes) -> None:
        """Take the response to a chunk's request.

        Raises:
            ServiceError: It does not answer the request, or snapshots change too fast.
        """
        part = self._decode(chunk, response)
        if self._ref is not None and part.snapshot.id != self._ref.id:
            # The request was sent before the snapshot was known, or the service is an older one
            # that does not look at the id.
            self._again(chunk)
            return
        self._ref = part.snapshot
        self._refusals = 0
        self._parts[chunk] = part

    def whole_answer(self, response: bytes) -> AnswerT:
        """Return the answer to a question of one chunk; raises what ``accept`` raises."""
        self.accept(0, response)
        return self.answer()

    def refuse(self, chunk: int, error: ServiceError) -> None:
        """Take the error with which a chunk's request ended.

        Raises:
            ServiceError: It cannot be asked again.
        """
        if error.code != "FAILED_PRECONDITION" or self.chunk_count == 1:
            raise error from None
        self._again(chunk)

    def answer(self) -> AnswerT:
        """Return the whole answer; the question must be done."""
        if not self.done or self._ref is None:
            raise ValueError("some chunks have no answer yet")
        return self._join([self._parts[chunk] for chunk in range(self.chunk_count)], self._ref)

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
    def _request(self, chunk: int, snapshot_id: str) -> bytes: ...

    @abstractmethod
    def _decode(self, chunk: int, response: bytes) -> PartT: ...

    @abstractmethod
    def _join(self, parts: list[PartT], ref: SnapshotRef) -> AnswerT: ...


class BulkQuestion(Question["Chunk", BulkAnswer]):
    """A batch of numbers for ``BulkLookup``, or one message of a ``StreamLookup``."""

    method = "BulkLookup"

    def __init__(
        self,
        numbers: NDArray[np.uint64],
        values: Values,
        *,
        with_range_holder: bool,
        with_ported_at: bool,
        numbers_per_chunk: int = NUMBERS_PER_CHUNK_MAX,
    ) -> None:
        """Split uint64[n] numbers; an empty batch is one chunk, to learn the snapshot."""
        self._numbers = numbers
        self._values = values
        self._with_range_holder = with_range_holder
        self._with_ported_at = with_ported_at
        self._step = numbers_per_chunk
        chunks = max(1, -(-len(numbers) // numbers_per_chunk))
        super().__init__(chunks, large=len(numbers) > NUMBERS_AT_ONCE_MAX)

    def _chunk_numbers(self, chunk: int) -> NDArray[np.uint64]:
        return self._numbers[chunk * self._step : (chunk + 1) * self._step]

    def _request(self, chunk: int, snapshot_id: str) -> bytes:
        return wire.bulk_request(
            self._chunk_numbers(chunk),
            with_range_holder=self._with_range_holder,
            with_ported_at=self._with_ported_at,
            snapshot_id=snapshot_id,
        )

    def _decode(self, chunk: int, response: bytes) -> Chunk:
        return codec.bulk_response(
            response,
            len(self._chunk_numbers(chunk)),
            with_range_holder=self._with_range_holder,
            with_ported_at=self._with_ported_at,
        )

    def _join(self, parts: list[Chunk], ref: SnapshotRef) -> BulkAnswer:
        route_index, routes = _merge([(part.route_indexes, part.routes) for part in parts])
        holder_index = None
        holders: tuple[Operator, ...] = ()
        if self._with_range_holder:
            holder_index, distinct = _merge(
                [(part.range_holder_indexes, part.range_holders) for part in parts]
            )
            holders = tuple(map(self._values.operator, distinct))
        ported_at = None
        if self._with_ported_at:
            ported_at = np.concatenate([part.ported_at for part in parts])
        return BulkAnswer(
            route_index=route_index,
            routes=tuple(map(self._values.route, routes)),
            snapshot=ref,
            ported_at=ported_at,
            range_holder_index=holder_index,
            range_holders=holders,
        )


def stream_question(
    batch: NDArray[Any] | Sequence[int],
    values: Values,
    *,
    with_range_holder: bool,
    with_ported_at: bool,
) -> BulkQuestion:
    """Return a batch as one message of a stream.

    Raises:
        TypeError: The numbers are not integers of at most 64 bits.
        ValueError: They are more than one message takes, not one-dimensional, or negative.
    """
    numbers = codec.as_numbers(batch)
    if len(numbers) > NUMBERS_PER_CHUNK_MAX:
        raise ValueError(
            f"a batch has {len(numbers)} numbers, the limit is {NUMBERS_PER_CHUNK_MAX}: split it"
        )
    return BulkQuestion(
        numbers, values, with_range_holder=with_range_holder, with_ported_at=with_ported_at
    )


class TextQuestion(Question["Answers", list[Answer]]):
    """Texts for ``Lookup``."""

    method = "Lookup"

    def __init__(
        self, texts: Sequence[str], default_region: str | None, as_of: datetime | None = None
    ) -> None:
        """Split texts; no texts are one chunk, to learn whether the service is there."""
        self._texts = texts
        self._default_region = default_region
        self._as_of = as_of
        super().__init__(max(1, -(-len(texts) // TEXTS_PER_CHUNK)))

    def _chunk_texts(self, chunk: int) -> Sequence[str]:
        return self._texts[chunk * TEXTS_PER_CHUNK : (chunk + 1) * TEXTS_PER_CHUNK]

    def _request(self, chunk: int, snapshot_id: str) -> bytes:
        return messages.lookup_request(
            self._chunk_texts(chunk), self._default_region, self._as_of, snapshot_id
        )

    def _decode(self, chunk: int, response: bytes) -> Answers:
        return messages.lookup_response(response, len(self._chunk_texts(chunk)))

    def _join(self, parts: list[Answers], ref: SnapshotRef) -> list[Answer]:  # noqa: ARG002
        return [answer for part in parts for answer in part.answers]


class Retries:
    """When an open call that broke may be begun again.

    gRPC's own retries end with a call's first response, so the clients begin open calls again
    themselves, by the same rules.
    """

    def __init__(self, *, reached: bool = False) -> None:
        """Start before the first attempt; ``reached``: the client has been answered before."""
        self._tries = 0
        self._reached = reached
        self._answered = False

    def answered(self) -> None:
        """Start counting anew: the call works."""
        self._tries = 0
        self._answered = True

    def pause(self, code: grpc.StatusCode, trailers: Iterable[Any] | None) -> float | None:
        """Return how many seconds to wait before the next attempt; None to give up.

        A call that has been answered before is begun again for as long as its caller waits, and so
        is one of a client that has been answered, while the service is UNAVAILABLE; any other as
        often as gRPC would send it.

        Args:
            code: How the call ended.
            trailers: Its trailing metadata.
        """
        # grpc.aio reports a message that it could not send because the call had just ended as
        # INTERNAL, and forgets the status with which it ended. The service's own has trailers.
        unsent = code.name == "INTERNAL" and not trailers
        if code.name not in RETRIED and not unsent:
            return None
        endless = self._answered or (self._reached and code.name == "UNAVAILABLE")
        if not endless and self._tries >= ATTEMPTS_MAX - 1:
            return None
        tries, self._tries = self._tries, self._tries + 1
        wait = _wait_seconds(trailers)
        if wait is not None:
            return wait if wait >= 0 else None
        if code.name == "RESOURCE_EXHAUSTED":
            return None
        return backoff(tries)


class Watch:
    """What a client has been told over ``WatchSnapshots``, across reconnections."""

    def __init__(self, seconds: float, now: float) -> None:
        """Give the service so many seconds, from ``now`` on, for its first announcement."""
        self._announced: str | None = None
        self._end = now + seconds
        self._retries = Retries()
        self._retries.answered()

    def news(self, response: bytes) -> SnapshotNews | None:
        """Return what a response announces; None when it was announced before."""
        news = messages.watch_response(response)
        self._retries.answered()
        if news.snapshot.id == self._announced:
            return None
        self._announced = news.snapshot.id
        return news

    def pause(
        self, code: grpc.StatusCode, trailers: Iterable[Any] | None, now: float
    ) -> float | None:
        """Return how many seconds to wait before watching again; None to give up."""
        if self._announced is None and now > self._end:
            return None
        if code.name == "OK":
            return BACKOFF_SECONDS
        return self._retries.pause(code, trailers)


def _wait_seconds(trailers: Iterable[Any] | None) -> float | None:
    """Return how long the service asks to wait: its own metadata, else what it asks of gRPC."""
    metadata = dict(trailers or ())
    milliseconds = metadata.get(wire.RETRY_AFTER_KEY) or metadata.get(wire.PUSHBACK_KEY)
    try:
        return None if milliseconds is None else int(milliseconds) / 1000
    except ValueError:
        return None


def _merge(
    parts: Sequence[tuple[NDArray[np.uint32], Sequence[bytes]]],
) -> tuple[NDArray[np.uint32], list[bytes]]:
    """Join columns of indexes, each into its own distinct values, into one such column.

    Args:
        parts: Pairs of uint32[n_i] indexes and the values that they point into.

    Returns:
        uint32[sum of n_i] indexes, and the distinct values that they point into.
    """
    if len(parts) == 1:
        ((indexes, values),) = parts
        return indexes.copy(), list(values)
    places: dict[bytes, int] = {}
    joined = np.empty(sum(len(indexes) for indexes, _ in parts), np.uint32)
    end = 0
    for indexes, values in parts:
        begin, end = end, end + len(indexes)
        remap = np.array([places.setdefault(value, len(places)) for value in values], np.uint32)
        if len(indexes):
            remap.take(indexes, out=joined[begin:end], mode="clip")
    return joined, list(places)
