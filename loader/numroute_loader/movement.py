"""How new content differs from the current snapshot, counted before anything is written."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from numroute.index import Changes, kernel
from numroute.index.compare import without_brand
from numroute_loader.gate import Movement
from numroute_loader.merge.routes import counted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from numroute.index import Content, Snapshot
    from numroute.model import Operator, Route

_NUMBERS_AT_ONCE = 1 << 20
"""Numbers compared at once: their temporaries take some tens of megabytes."""

_FLOWS = 5
"""How many movements are named."""

_NOBODY = "the range holder"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """What changed from the current snapshot to the new content.

    ``changes``: the counts. ``updated_by_registry``: those updated numbers whose route is another
    one for the registry itself, not only for the brand table. ``before``: the current snapshot's
    ported numbers by operator code.
    ``flows``: the largest movements of numbers that are not newly ported, in words.
    """

    changes: Changes
    updated_by_registry: int
    before: Mapping[str, int]
    flows: Sequence[str]

    @property
    def movement(self) -> Movement:
        """The same as a fact for the gate."""
        return Movement(
            ported=self.changes.ported,
            returned=self.changes.returned,
            moved=self.changes.moved,
            flows=self.flows,
        )


def operator_name(operator: Operator) -> str:
    """Return what an operator is counted by: its code, its name where it has none."""
    return operator.code or operator.name


def by_operator(
    routes: Sequence[Route], number_route: NDArray[np.unsignedinteger]
) -> Mapping[str, int]:
    """Count the ported numbers by operator; ``number_route`` holds rows of ``routes``."""
    counts: Counter[str] = Counter()
    uses = counted(number_route, len(routes)).tolist()
    for route, numbers in zip(routes, uses, strict=True):
        if numbers:
            counts[operator_name(route.operator)] += numbers
    return counts


def ported_by_operator(snapshot: Snapshot) -> Mapping[str, int]:
    """Count a snapshot's ported numbers by operator."""
    return by_operator(_routes(snapshot), snapshot.tables.route)


def difference(current: Snapshot, content: Content) -> Difference:
    """Compare new content with the current snapshot, number by number, in whole arrays.

    It counts what ``numroute.index.compare`` does, without making a bitmap of the content first.
    """
    names: dict[str, int] = {}
    keys: dict[object, int] = {}
    old, new = _routes(current), content.routes
    old_operator, old_key = _indexes(old, names, keys)
    new_operator, new_key = _indexes(new, names, keys)
    told: dict[object, int] = {}
    _, old_told = _indexes([without_brand(route) for route in old], names, told)
    _, new_told = _indexes([without_brand(route) for route in new], names, told)
    size = len(names)
    matrix = np.zeros(size * size, np.int64)
    updated = updated_by_registry = 0
    tables = current.tables
    for begin in range(0, len(content.numbers), _NUMBERS_AT_ONCE):
        part = slice(begin, begin + _NUMBERS_AT_ONCE)
        positions, ranks = kernel.find_records(tables, content.numbers[part])
        old_row = tables.route.take(ranks)
        new_row = content.number_route[part].take(positions)
        differ = (old_key.take(old_row) != new_key.take(new_row)).nonzero()[0]
        old_of, new_of = old_operator.take(old_row), new_operator.take(new_row)
        stayed = differ[old_of[differ] == new_of[differ]]
        updated += len(stayed)
        updated_by_registry += int(
            np.count_nonzero(old_told.take(old_row[stayed]) != new_told.take(new_row[stayed]))
        )
        matrix += np.bincount(old_of * size + new_of, minlength=size * size)
    square = matrix.reshape(size, size)
    before = by_operator(old, tables.route)
    kept = int(square.sum())
    return Difference(
        changes=Changes(
            against=current.metadata.snapshot_id,
            ported=len(content.numbers) - kept,
            returned=len(tables.route) - kept,
            moved=kept - int(square.trace()),
            updated=updated,
        ),
        updated_by_registry=updated_by_registry,
        before=before,
        flows=_flows(square, list(names), before),
    )


def _routes(snapshot: Snapshot) -> list[Route]:
    return [snapshot.routes[row] for row in range(len(snapshot.routes))]


def _indexes(
    routes: Sequence[Route], names: dict[str, int], keys: dict[object, int]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return for each row its operator's index in ``names`` and its own in ``keys``.

    Only what decides where a message goes makes two routes differ, not how a name is spelled.
    """
    operators = np.empty(len(routes), np.int64)
    rows = np.empty(len(routes), np.int64)
    for row, route in enumerate(routes):
        name = operator_name(route.operator)
        operators[row] = names.setdefault(name, len(names))
        network = (route.mcc, route.mnc, route.registry_mnc, route.routing_number)
        region = route.region.code or route.region.name
        rows[row] = keys.setdefault((name, network, region, route.line_type), len(keys))
    return operators, rows


def _flows(
    matrix: NDArray[np.int64], names: Sequence[str], before: Mapping[str, int]
) -> Sequence[str]:
    """Name the largest movements between operators and home."""
    flows = {
        (names[one], names[other]): int(matrix[one, other])
        for one, other in np.argwhere(matrix).tolist()
        if one != other
    }
    for index, name in enumerate(names):
        gone = before.get(name, 0) - int(matrix[index].sum())
        if gone:
            flows[name, _NOBODY] = gone
    largest = sorted(flows, key=lambda flow: (-flows[flow], flow))[:_FLOWS]
    return [f"{one} to {other} {flows[one, other]}" for one, other in largest]
