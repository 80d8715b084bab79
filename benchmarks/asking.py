"""Ways to ask a service for batches, as the product's client does it, and checks of the answers."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import cycle
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from benchmarks.services import TIMEOUT_SECONDS, Service, bulk_request
from benchmarks.timing import Pair, Side
from numroute.client.channel import CALLS_IN_FLIGHT
from numroute.client.codec import Chunk, Values, bulk_response

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from benchmarks.oracle import Truth
    from benchmarks.queries import Queries
    from numroute.client import BulkAnswer
    from numroute.model import Route

    Answered: TypeAlias = Sequence[tuple[NDArray[np.uint32], Sequence[Route]]]
    """Answers in the order of the question: indexes, and the routes that they point into."""

    Exchange: TypeAlias = tuple[bytes, bytes]
    """A serialised request and the service's answer to it."""


TURNS_MAX = 64
"""Different turns; then the first one comes again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batches:
    """Some batches of one size, which are asked for in one turn.

    ``numbers`` uint64[count, size], ``expected`` uint32[count, size], and the serialised requests.
    """

    numbers: NDArray[np.uint64]
    expected: NDArray[np.uint32]
    requests: Sequence[bytes]


def turns_of(queries: Queries, size: int, count_max: int) -> list[Batches]:
    """Cut the queries into batches of ``size`` numbers, and those into turns of ``count_max``.

    There are ``TURNS_MAX`` turns, or fewer where the queries do not reach further.
    """
    turns: list[Batches] = []
    per_turn = size * min(count_max, len(queries.numbers) // size)
    for begin in range(0, len(queries.numbers) - per_turn + 1, per_turn):
        if len(turns) == TURNS_MAX:
            break
        part = slice(begin, begin + per_turn)
        numbers = queries.numbers[part].reshape(-1, size)
        turns.append(
            Batches(
                numbers=numbers,
                expected=queries.expected[part].reshape(-1, size),
                requests=tuple(map(bulk_request, numbers)),
            )
        )
    return turns


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """A way to ask.

    Attributes:
        name: How a table calls it.
        ask: What is timed.
        read: Makes answers of what ``ask`` returned, after the clock has stopped. The values keep
            decoded routes, so that checking stays fast.
    """

    name: str
    ask: Callable[[Service, Batches], Any]
    read: Callable[[Any, int, Values], Answered]


def _ask_one_by_one(service: Service, batches: Batches) -> list[Chunk]:
    """Ask for one batch after the other, each when the one before has been answered."""
    return [
        _chunk(service.call(bulk_request(numbers), timeout=TIMEOUT_SECONDS), len(numbers))
        for numbers in batches.numbers
    ]


def _ask_in_flight(service: Service, batches: Batches) -> list[Chunk]:
    """Ask for several batches at once, as many as the client keeps under way.

    A request is made when there is room for it, and a response is read into arrays when it is
    there: what the client does, without joining the batches' answers in the end.
    """
    size = batches.numbers.shape[1]
    return _in_flight(
        service, map(bulk_request, batches.numbers), lambda response: _chunk(response, size)
    )


def _send_in_flight(service: Service, batches: Batches) -> list[bytes]:
    """Send requests that were made beforehand and leave the responses unread."""
    return _in_flight(service, batches.requests, lambda response: response)


def _ask_with_client(service: Service, batches: Batches) -> BulkAnswer:
    """Ask for all batches as one question, which the product's client cuts as it likes."""
    return service.client.lookup(batches.numbers.ravel())


def _read_chunks(chunks: Sequence[Chunk], _size: int, values: Values) -> Answered:
    return [(chunk.route_indexes, list(map(values.route, chunk.routes))) for chunk in chunks]


def _read_responses(responses: Sequence[bytes], size: int, values: Values) -> Answered:
    return _read_chunks([_chunk(response, size) for response in responses], size, values)


def _read_answer(answer: BulkAnswer, _size: int, _values: Values) -> Answered:
    return [(answer.route_index, answer.routes)]


ONE_BY_ONE = Way(name="one after the other", ask=_ask_one_by_one, read=_read_chunks)
IN_FLIGHT = Way(name=f"{CALLS_IN_FLIGHT} under way", ask=_ask_in_flight, read=_read_chunks)
UNREAD = Way(name="stored requests, answers left unread", ask=_send_in_flight, read=_read_responses)
CLIENT = Way(name="the whole `numroute.Client`", ask=_ask_with_client, read=_read_answer)


class Contest:
    """Pairs of the service and the empty handler, asked for the same batches in the same way."""

    def __init__(
        self, service: Service, empty: Service, exchanges: Mapping[int, Exchange], truth: Truth
    ) -> None:
        """Compare two services; ``exchanges`` are those of the empty handler, by size of batch."""
        self._service = service
        self._empty = empty
        self._truth = truth
        self._values = Values()
        self._fixed = {
            size: _chunk(answer, size).route_indexes for size, (_, answer) in exchanges.items()
        }

    def pair(self, way: Way, turns: Sequence[Batches], *, count: int) -> Pair:
        """Return the empty handler as yardstick and the service as subject.

        Args:
            way: How to ask.
            turns: What to ask for, turn after turn and from the beginning again.
            count: By what to divide the time of a turn.
        """

        def side(service: Service, check: Callable[[Batches, Answered], None]) -> Side:
            coming = cycle(turns)

            def run() -> tuple[Batches, Any]:
                batches = next(coming)
                return batches, way.ask(service, batches)

            def check_turn(found: tuple[Batches, Any]) -> None:
                batches, answers = found
                check(batches, way.read(answers, batches.numbers.shape[1], self._values))

            return Side(run=run, check=check_turn, count=count)

        return Pair(
            yardstick=side(self._empty, self._check_fixed),
            subject=side(self._service, self._check_right),
        )

    def _check_right(self, batches: Batches, answered: Answered) -> None:
        """Compare every answer with the oracle's."""
        expected = batches.expected.ravel()
        for indexes, routes in answered:
            self._truth.check(expected[: len(indexes)], indexes, routes)
            expected = expected[len(indexes) :]
        assert not len(expected)

    def _check_fixed(self, batches: Batches, answered: Answered) -> None:
        """Compare every answer with the stored one."""
        fixed = self._fixed[batches.numbers.shape[1]]
        found = np.concatenate([indexes for indexes, _ in answered])
        assert found.size == batches.numbers.size
        assert bool((found.reshape(-1, len(fixed)) == fixed).all())


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


def _chunk(response: bytes, size: int) -> Chunk:
    return bulk_response(response, size, with_range_holder=False, with_ported_at=False)
