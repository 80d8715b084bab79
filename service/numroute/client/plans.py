"""How one question becomes several requests, and their responses one answer from one snapshot.

Nothing here does input or output: ``Client`` and ``AsyncClient`` send what a plan says and hand it
what comes back.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections import deque
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np

from numroute import wire
from numroute.client import codec, messages
from numroute.client.answers import BulkAnswer
from numroute.errors import ServiceError
from numroute.model import Answer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from numpy.typing import NDArray

    from numroute.client.codec import Chunk, Values
    from numroute.client.messages import Answers
    from numroute.model import Operator, SnapshotRef

NUMBERS_PER_CHUNK = 65_536
"""Numbers in one request: large enough that what a call costs is spread thin, small enough that
several are under way at once."""

NUMBERS_PER_CHUNK_MAX = 500_000
"""The service takes no more numbers in one request."""

TEXTS_PER_CHUNK = 1_000
"""Texts in one request: the service's limit."""

SNAPSHOTS_KEPT = 3
"""From how many snapshots answers to one question are kept: replicas that are fed one after the
other differ for a while after each publication. Each costs at most what the whole answer takes."""

ANSWERS_HEEDED = 2
"""Answers looked back at, for each snapshot kept: one that gave none of them is gone for good."""

ROUNDS_MAX = 100
"""How often requests of one question are sent at most. With two snapshots that answer by turns
each round brings half of what is lacking, with five a fifth."""

AnswerT = TypeVar("AnswerT")
PartT = TypeVar("PartT")


@dataclass(slots=True)
class _Partial(Generic[PartT]):
    """What one snapshot has answered: the parts by their chunks."""

    ref: SnapshotRef
    parts: dict[int, PartT]


class Plan(ABC, Generic[PartT, AnswerT]):
    """A question in chunks. Ask all ``open_chunks``, again while there are any, then ``answer``.

    One answer comes from one snapshot. A snapshot that is published while the question is under
    way answers some chunks and not the others, and so do replicas that have different ones: which
    of them a request reaches is gRPC's choice. So what each snapshot answers is kept, and only what
    the one with the most parts still lacks is asked again. When that one is heard of no more,
    because another has taken its place, the best of the others is completed.
    """

    method: str

    def __init__(self, chunk_count: int) -> None:
        """Begin with every chunk open."""
        self._chunk_count = chunk_count
        self._partials: dict[str, _Partial[PartT]] = {}  # by the snapshot's id
        self._heard: deque[str] = deque(maxlen=ANSWERS_HEEDED * SNAPSHOTS_KEPT)

    def open_chunks(self) -> list[int]:
        """Return the chunks to ask now: none when one snapshot has answered them all."""
        if self._whole() is not None:
            return []
        aim = self._aim()
        return [chunk for chunk in range(self._chunk_count) if aim is None or chunk not in aim]

    def accept(self, chunk: int, response: bytes) -> None:
        """Take a chunk's response; ServiceError when it does not answer the request."""
        part = self._decode(chunk, response)
        ref = self._ref(part)
        partial = self._partials.setdefault(ref.id, _Partial(ref, {}))
        partial.ref = ref
        partial.parts[chunk] = part
        self._heard.append(ref.id)
        if len(self._partials) > SNAPSHOTS_KEPT and self._whole() is None:
            del self._partials[min(self._partials.keys() - {ref.id}, key=self._worth)]

    @abstractmethod
    def request(self, chunk: int) -> bytes:
        """Return the request for a chunk."""

    def answer(self) -> AnswerT:
        """Return the whole answer; no chunk may be open."""
        whole = self._whole()
        if whole is None:
            raise ValueError("no snapshot has answered every chunk")
        parts = [whole.parts[chunk] for chunk in range(self._chunk_count)]
        return self._join(parts, whole.ref)

    def _whole(self) -> _Partial[PartT] | None:
        """Return what the snapshot that has answered every chunk says."""
        for partial in self._partials.values():
            if len(partial.parts) == self._chunk_count:
                return partial
        return None

    def _aim(self) -> dict[int, PartT] | None:
        """Return the parts of the snapshot to complete; None before the first answer."""
        best = max(self._partials, key=self._worth, default=None)
        return None if best is None else self._partials[best].parts

    def _worth(self, each: str) -> tuple[bool, int, datetime, str]:
        """Order snapshots: answering of late, with most parts, the newest."""
        heeded = islice(reversed(self._heard), ANSWERS_HEEDED * len(self._partials))
        partial = self._partials[each]
        return each in heeded, len(partial.parts), partial.ref.as_of, each

    @abstractmethod
    def _decode(self, chunk: int, response: bytes) -> PartT: ...

    @abstractmethod
    def _ref(self, part: PartT) -> SnapshotRef: ...

    @abstractmethod
    def _join(self, parts: list[PartT], ref: SnapshotRef) -> AnswerT: ...


def rounds(plan: Plan[Any, Any], seconds: float) -> Iterator[list[int]]:
    """Yield the chunks to ask now, until the whole answer is of one snapshot.

    Args:
        plan: The question.
        seconds: How long chunks are asked again, beyond the time that asking all of them once took.

    Raises:
        ServiceError: Snapshots changed faster than the question could be answered.
    """
    begun = time.monotonic()
    yield plan.open_chunks()
    asked = time.monotonic()
    end = asked + (asked - begun) + seconds
    left = ROUNDS_MAX - 1
    while chunks := plan.open_chunks():
        if not left or time.monotonic() >= end:
            raise ServiceError(
                f"no snapshot answered the whole question within {ROUNDS_MAX - left} attempts",
                code="ABORTED",
                hint="Do replicas have many different snapshots? Ask again, or in smaller batches",
            )
        left -= 1
        yield chunks


class BulkPlan(Plan["Chunk", BulkAnswer]):
    """A batch of numbers for ``BulkLookup``."""

    method = "BulkLookup"

    def __init__(
        self,
        numbers: NDArray[np.uint64],
        values: Values,
        *,
        with_range_holder: bool,
        with_ported_at: bool,
        numbers_per_chunk: int,
    ) -> None:
        """Plan uint64[n] numbers; an empty batch is one chunk, to learn the snapshot."""
        self._numbers = numbers
        self._values = values
        self._with_range_holder = with_range_holder
        self._with_ported_at = with_ported_at
        self._step = numbers_per_chunk
        super().__init__(max(1, -(-len(numbers) // numbers_per_chunk)))

    def request(self, chunk: int) -> bytes:
        """Return the request for a chunk."""
        return wire.bulk_request(
            self._chunk_numbers(chunk),
            with_range_holder=self._with_range_holder,
            with_ported_at=self._with_ported_at,
        )

    def _chunk_numbers(self, chunk: int) -> NDArray[np.uint64]:
        return self._numbers[chunk * self._step : (chunk + 1) * self._step]

    def _decode(self, chunk: int, response: bytes) -> Chunk:
        return codec.bulk_response(
            response,
            len(self._chunk_numbers(chunk)),
            with_range_holder=self._with_range_holder,
            with_ported_at=self._with_ported_at,
        )

    def _ref(self, part: Chunk) -> SnapshotRef:
        return part.snapshot

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


def one_request(
    numbers: NDArray[np.uint64],
    values: Values,
    with_range_holder: bool,  # noqa: FBT001 - handed on
    with_ported_at: bool,  # noqa: FBT001 - handed on
) -> BulkPlan:
    """Plan a message of a stream; ValueError when the service would not take so many numbers."""
    if len(numbers) > NUMBERS_PER_CHUNK_MAX:
        raise ValueError(
            f"a batch has {len(numbers)} numbers, the limit is {NUMBERS_PER_CHUNK_MAX}: "
            "cut it into several"
        )
    return BulkPlan(
        numbers,
        values,
        with_range_holder=with_range_holder,
        with_ported_at=with_ported_at,
        numbers_per_chunk=NUMBERS_PER_CHUNK_MAX,
    )


class TextPlan(Plan["Answers", list[Answer]]):
    """Texts for ``Lookup``."""

    method = "Lookup"

    def __init__(
        self, texts: Sequence[str], default_region: str | None, as_of: datetime | None = None
    ) -> None:
        """Plan texts; none at all is one chunk, to learn that the service is there."""
        self._texts = texts
        self._default_region = default_region
        self._as_of = as_of
        super().__init__(max(1, -(-len(texts) // TEXTS_PER_CHUNK)))

    def request(self, chunk: int) -> bytes:
        """Return the request for a chunk."""
        return messages.lookup_request(self._chunk_texts(chunk), self._default_region, self._as_of)

    def _chunk_texts(self, chunk: int) -> Sequence[str]:
        return self._texts[chunk * TEXTS_PER_CHUNK : (chunk + 1) * TEXTS_PER_CHUNK]

    def _decode(self, chunk: int, response: bytes) -> Answers:
        return messages.lookup_response(response, len(self._chunk_texts(chunk)))

    def _ref(self, part: Answers) -> SnapshotRef:
        return part.snapshot

    def _join(self, parts: list[Answers], ref: SnapshotRef) -> list[Answer]:  # noqa: ARG002
        return [answer for part in parts for answer in part.answers]


def _merge(
    parts: Sequence[tuple[NDArray[np.uint32], Sequence[bytes]]],
) -> tuple[NDArray[np.uint32], list[bytes]]:
    """Join columns of indexes, each into distinct values of its own, into one such column.

    Args:
        parts: Pairs of uint32[n_i] indexes and the values that they point into.

    Returns:
        uint32[sum of n_i] indexes, and the distinct values that they point into.
    """
    places: dict[bytes, int] = {}
    joined = np.empty(sum(len(indexes) for indexes, _ in parts), np.uint32)
    end = 0
    for indexes, values in parts:
        begin, end = end, end + len(indexes)
        remap = np.array([places.setdefault(value, len(places)) for value in values], np.uint32)
        if len(indexes):
            remap.take(indexes, out=joined[begin:end], mode="clip")
    return joined, list(places)
