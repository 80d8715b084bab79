"""Ways to ask a service for batches, as the product's client does it, and checks of the answers."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.services import TIMEOUT_SECONDS, Service, bulk_request
from numroute import Client
from numroute.client.channel import CALLS_IN_FLIGHT
from numroute.client.codec import Chunk, Values, bulk_response

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

    from benchmarks.oracle import Truth
    from benchmarks.queries import Queries
    from numroute.client import BulkAnswer
    from numroute.model import Route


@dataclass(frozen=True, slots=True, kw_only=True)
class Batches:
    """Queries cut into batches of one size: uint64[count, size] and uint32[count, size]."""

    numbers: NDArray[np.uint64]
    expected: NDArray[np.uint32]

    @classmethod
    def of(cls, queries: Queries, size: int, count_max: int) -> Batches:
        """Return as many batches as there are numbers for, at most ``count_max``."""
        count = min(count_max, len(queries.numbers) // size)
        return cls(
            numbers=queries.numbers[: count * size].reshape(count, size),
            expected=queries.expected[: count * size].reshape(count, size),
        )

    @property
    def size(self) -> int:
        """Numbers in one batch."""
        size: int = self.numbers.shape[1]
        return size


def ask_one_by_one(service: Service, batches: Batches) -> list[Chunk]:
    """Ask for one batch after the other, each when the one before has been answered."""
    return [
        _decoded(service.call(bulk_request(numbers), timeout=TIMEOUT_SECONDS), batches.size)
        for numbers in batches.numbers
    ]


def ask_in_flight(service: Service, batches: Batches) -> list[Chunk]:
    """Ask for several batches at once, as many as the client keeps under way.

    A request is made when there is room for it, and a response is read into arrays when it is
    there: what the client does, without putting the batches together in the end.
    """
    return _in_flight(
        service,
        map(bulk_request, batches.numbers),
        lambda response: _decoded(response, batches.size),
    )


def send_in_flight(service: Service, requests: Sequence[bytes]) -> list[bytes]:
    """Send requests that were made beforehand and leave the responses unread."""
    return _in_flight(service, requests, lambda response: response)


def ask_with_client(service: Service, batches: Batches) -> BulkAnswer:
    """Ask for all batches as one question with the product's client."""
    with Client(service.address, numbers_per_chunk=batches.size, timeout=TIMEOUT_SECONDS) as client:
        return client.lookup(batches.numbers.ravel())


class Answers:
    """Checks what came back; keeps decoded routes, so that checking stays fast."""

    def __init__(self, truth: Truth) -> None:
        """Check against this oracle."""
        self._truth = truth
        self._values = Values()

    def check(self, batches: Batches, chunks: Sequence[Chunk]) -> None:
        """Compare every answer with the oracle's."""
        assert len(chunks) == len(batches.numbers)
        for chunk, expected in zip(chunks, batches.expected, strict=True):
            self._truth.check(expected, chunk.route_indexes, self._routes(chunk.routes))

    def check_bytes(self, batches: Batches, responses: Sequence[bytes]) -> None:
        """Decode responses and compare every answer with the oracle's."""
        self.check(batches, [_decoded(response, batches.size) for response in responses])

    def check_answer(self, batches: Batches, answer: BulkAnswer) -> None:
        """Compare every answer of the client with the oracle's."""
        self._truth.check(batches.expected.ravel(), answer.route_index, answer.routes)

    def _routes(self, serialised: Iterable[bytes]) -> list[Route]:
        return [self._values.route(data) for data in serialised]


class Fixed:
    """Checks that the empty handler returned its stored answer, every time."""

    def __init__(self, answer: bytes, size: int) -> None:
        """Expect this answer to every batch of ``size`` numbers."""
        self._answer = answer
        self._indexes = _decoded(answer, size).route_indexes

    def check(self, chunks: Sequence[Chunk]) -> None:
        """Compare chunks with the stored answer."""
        assert chunks
        assert all(np.array_equal(chunk.route_indexes, self._indexes) for chunk in chunks)

    def check_bytes(self, responses: Sequence[bytes]) -> None:
        """Compare responses with the stored answer."""
        assert responses
        assert all(response == self._answer for response in responses)

    def check_answer(self, answer: BulkAnswer) -> None:
        """Compare the client's answer with the stored one, repeated."""
        found = answer.route_index.reshape(-1, len(self._indexes))
        assert bool((found == self._indexes).all())


def _in_flight(
    service: Service, requests: Iterable[bytes], read: Callable[[bytes], Any]
) -> list[Any]:
    under_way: deque[Any] = deque()
    answers = []
    for request in requests:
        if len(under_way) == CALLS_IN_FLIGHT:
            answers.append(read(under_way.popleft().result()))
        under_way.append(service.call.future(request, timeout=TIMEOUT_SECONDS))
    answers += [read(call.result()) for call in under_way]
    return answers


def _decoded(response: bytes, size: int) -> Chunk:
    return bulk_response(response, size, with_range_holder=False, with_ported_at=False)
