"""Look numbers up for a list: in a snapshot in this process, or at a service.

Both answer whole numbers with rows of one growing table of routes, so that every later step works
per route and never per number.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from numroute.e164.metadata import check_region, library
from numroute.index import Snapshot
from numroute.model import Operator, Route, Status

if TYPE_CHECKING:
    from numroute.client import Client  # loads grpc, which a local run does not need

Each = TypeVar("Each")


class Found(NamedTuple):
    """The answers to n numbers.

    ``rows`` are int64[n] of the table of routes, ``ported`` the places of ported numbers; these
    have ``holders``, places in the operators, and ``times``, if they were requested.
    """

    rows: NDArray[np.int64]
    ported: NDArray[np.int64]
    holders: NDArray[np.int64]
    times: NDArray[np.uint32] | None


class DefaultCountry:
    """The country of a list, its default region. Without one no number is foreign.

    Countries may share a code (+7 is Russia and Kazakhstan): there the leading digits decide, as
    the metadata of ``phonenumbers`` list them.
    """

    def __init__(self, region: str | None) -> None:
        """Look the region up. Raises SettingError when it is unknown."""
        self.region = check_region(region)
        self.country_code = ""
        if self.region is None:
            return
        code = library().country_code_for_region(self.region)
        self.country_code = str(code)
        others = (
            library().PhoneMetadata.metadata_for_region(other, None)
            for other in library().region_codes_for_country_code(code)
            if other != self.region
        )
        leading = [each.leading_digits for each in others if each and each.leading_digits]
        self._others = f"^{code}(?:{'|'.join(leading)})" if leading else "^$"

    def are_foreign(self, numbers: pa.Array) -> pa.Array:
        """Return bool[n], whether numbers (string[n]) are of another country than this one."""
        return pc.or_(
            pc.invert(pc.starts_with(numbers, self.country_code)),
            pc.match_substring_regex(numbers, self._others),
        )


class Router:
    """Answers for whole numbers; safe to call from several threads.

    Attributes:
        routes: The table of routes; it only grows.
        operators: The operators that range holders point to; it only grows.
        snapshots: The ids of the snapshots that have answered so far.
    """

    routes: list[Route]
    operators: list[Operator]
    snapshots: list[str]

    def look_up(
        self, numbers: NDArray[np.uint64], country: DefaultCountry, ported_since: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the code and the range holder of each number (uint64[n]).

        The code, int64[n], is twice the row in the table of routes, plus one for foreign numbers
        without a route and for numbers ported since ``ported_since`` (seconds since 1970-01-01
        UTC; 0 = none). The range holder, int64[n], is its place in the operators; -1 = not ported.
        """
        if not len(numbers):
            return np.empty(0, np.int64), np.empty(0, np.int64)
        rows, ported, holders, times = self._ask(numbers, with_times=ported_since > 0)
        code, holder = 2 * rows, np.full(len(rows), -1, np.int64)
        holder[ported] = holders
        if times is not None:
            code[ported[times >= ported_since]] += 1
        # A number that the snapshot knows is never foreign, whatever its country.
        unknown = np.flatnonzero([not route.status.has_route for route in self.routes])
        at = np.flatnonzero(np.isin(code, 2 * unknown))
        if country.country_code and len(at):
            texts = pc.cast(pa.array(numbers.take(at)), pa.string())
            code[at] += country.are_foreign(texts).to_numpy(zero_copy_only=False)
        return code, holder

    def _ask(self, numbers: NDArray[np.uint64], *, with_times: bool) -> Found:
        raise NotImplementedError


class SnapshotRouter(Router):
    """Answers from an open snapshot, in this process; its table of routes is whole at once."""

    def __init__(self, snapshot: Snapshot) -> None:
        """Read the table of routes once; it has a few thousand rows."""
        self._snapshot = snapshot
        self.routes = [snapshot.route(row) for row in range(snapshot.route_count)]
        self.operators = []
        self._operator = _places({}, self.operators, (route.operator for route in self.routes))
        self._is_ported = np.array([route.status is Status.PORTED for route in self.routes])
        self.snapshots = [snapshot.metadata.snapshot_id]

    def _ask(self, numbers: NDArray[np.uint64], *, with_times: bool) -> Found:
        rows = self._snapshot.lookup(numbers).route
        ported = np.flatnonzero(self._is_ported.take(rows))
        answers = self._snapshot.lookup(
            numbers.take(ported), range_route=True, ported_at=with_times
        )
        if answers.range_route is None:
            raise AssertionError("range_route was requested")
        holders = self._operator.take(answers.range_route)
        return Found(rows.astype(np.int64), ported, holders, answers.ported_at)


class ServiceRouter(Router):
    """Answers from a service; the table of routes grows with its answers."""

    def __init__(self, client: Client) -> None:
        """Start with empty tables; the first block asks the first question."""
        self._client = client
        self._lock = threading.Lock()
        self._route_places: dict[Route, int] = {}
        self._operator_places: dict[Operator, int] = {}
        self.routes, self.operators, self.snapshots = [], [], []

    def _ask(self, numbers: NDArray[np.uint64], *, with_times: bool) -> Found:
        answer = self._client.lookup(numbers, with_range_holder=True, with_ported_at=with_times)
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
        return Found(places.take(answer.route_index), ported, holders, times)


def _places(places: dict[Each, int], found: list[Each], more: Iterable[Each]) -> NDArray[np.int64]:
    """Return the place of each item in a list of distinct ones, which grows."""
    rows = [places.setdefault(each, len(places)) for each in more]
    found += list(places)[len(found) :]
    return np.array(rows, np.int64)
