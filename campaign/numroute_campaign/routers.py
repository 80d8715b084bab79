"""Look numbers up for a list: in a snapshot in this process, or at a service.

Both answer whole numbers with rows of one growing table of routes, so that every later step works
per route and never per number.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from numroute.index import Snapshot
from numroute.model import Operator, Route, Status

if TYPE_CHECKING:
    from numroute.client import Client  # loads grpc, which a local run does not need

Each = TypeVar("Each")

UNKNOWN = frozenset({Status.UNALLOCATED, Status.NOT_COVERED})
"""The statuses of numbers that may belong to another country."""


Routed = tuple[NDArray[np.int64], NDArray[np.int64]]
"""The answers to n numbers.

int64[n], twice the row in the table of routes, plus one for numbers ported since the requested
time; and int64[n], the range holder's place in the router's operators, -1 for numbers not ported.
"""


class Router:
    """Answers for whole numbers; safe to call from several threads.

    Attributes:
        is_complete: Whether ``routes`` holds all routes before the first call.
        routes: The table of routes; it only grows.
        operators: The operators that range holders point to; it only grows.
        snapshots: The ids of the snapshots that have answered so far.
    """

    is_complete: bool
    routes: list[Route]
    operators: list[Operator]
    snapshots: list[str]

    def route(self, numbers: NDArray[np.uint64], ported_since: int) -> Routed:
        """Answer for uint64[n] whole numbers.

        ``ported_since``: seconds since 1970-01-01 UTC; 0 = no number counts as recently ported.
        """
        raise NotImplementedError

    def unknown(self) -> NDArray[np.int64]:
        """Return the rows of numbers that no operator holds or no plan covers."""
        return np.flatnonzero([route.status in UNKNOWN for route in self.routes])


class SnapshotRouter(Router):
    """Answers from an open snapshot, in this process."""

    is_complete = True

    def __init__(self, snapshot: Snapshot) -> None:
        """Read the table of routes once; it has a few thousand rows."""
        self._snapshot = snapshot
        self.routes = [snapshot.route(row) for row in range(snapshot.route_count)]
        places: dict[Operator, int] = {}
        self._operator = np.array(
            [places.setdefault(route.operator, len(places)) for route in self.routes], np.int64
        )
        self.operators = list(places)
        self._is_ported = np.array([route.status is Status.PORTED for route in self.routes])
        self.snapshots = [snapshot.metadata.snapshot_id]

    def route(self, numbers: NDArray[np.uint64], ported_since: int) -> Routed:
        """Answer for uint64[n] whole numbers."""
        rows = self._snapshot.lookup(numbers).route
        ported = np.flatnonzero(self._is_ported.take(rows))
        answers = self._snapshot.lookup(
            numbers.take(ported), range_route=True, ported_at=ported_since > 0
        )
        if answers.range_route is None:
            raise AssertionError("range_route was requested")
        holders = self._operator.take(answers.range_route)
        return _routed(rows.astype(np.int64), ported, holders, answers.ported_at, ported_since)


class ServiceRouter(Router):
    """Answers from a service; the table of routes grows with its answers."""

    is_complete = False

    def __init__(self, client: Client) -> None:
        """Start with empty tables; the first block asks the first question."""
        self._client = client
        self._lock = threading.Lock()
        self._route_places: dict[Route, int] = {}
        self._operator_places: dict[Operator, int] = {}
        self.routes, self.operators, self.snapshots = [], [], []

    def route(self, numbers: NDArray[np.uint64], ported_since: int) -> Routed:
        """Answer for uint64[n] whole numbers. Raises ServiceError."""
        answer = self._client.lookup(
            numbers, with_range_holder=True, with_ported_at=ported_since > 0
        )
        if answer.range_holder_index is None:
            raise AssertionError("range holders were requested")
        with self._lock:
            if answer.snapshot.id not in self.snapshots:
                self.snapshots.append(answer.snapshot.id)
            places = _places(self._route_places, self.routes, answer.routes)
            operators = _places(self._operator_places, self.operators, answer.range_holders)
        is_ported = np.array([route.status is Status.PORTED for route in answer.routes], np.bool_)
        ported = np.flatnonzero(is_ported.take(answer.route_index))
        holders = operators.take(answer.range_holder_index.take(ported))
        times = None if answer.ported_at is None else answer.ported_at.take(ported)
        return _routed(places.take(answer.route_index), ported, holders, times, ported_since)


def _routed(
    rows: NDArray[np.int64],
    ported: NDArray[np.int64],
    holders: NDArray[np.int64],
    times: NDArray[np.uint32] | None,
    since: int,
) -> Routed:
    """Return answers; the ported numbers have range holders, and times if they were requested."""
    code, holder = rows * 2, np.full(len(rows), -1, np.int64)
    holder[ported] = holders
    if times is not None and since:
        code[ported[times >= since]] += 1
    return code, holder


def _places(places: dict[Each, int], found: list[Each], more: Iterable[Each]) -> NDArray[np.int64]:
    """Return the place of each item in a list of distinct ones, which grows."""
    rows = [places.setdefault(each, len(places)) for each in more]
    found += list(places)[len(found) :]
    return np.array(rows, np.int64)
