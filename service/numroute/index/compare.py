"""What changed: from a snapshot to another one or to new content, and by a patch.

Everywhere the same rules hold. A number with a record on one side only was ported or returned. One
with a record on both sides moved where its operator is another one, and was updated where only the
rest of its route is. A new spelling of a name is no change, nor is another time of porting.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from numroute.index import layout, numpy_kernel
from numroute.index.bitmap import records_by_row
from numroute.index.content import Content, Patch
from numroute.index.snapshot import Snapshot
from numroute.model import NUMBER_MAX, Changes, Operator, Route

Rows = NDArray[np.integer]

_NUMBERS_AT_ONCE = 1 << 20
"""Numbers of new content compared at once: their temporaries take some tens of megabytes."""

_FLOWS = 5
"""How many movements between operators are named."""


class Kind(enum.IntEnum):
    """What became of a number."""

    PORTED = 0
    RETURNED = 1
    MOVED = 2
    UPDATED = 3


CONFIRMED = 255
"""The kind of a number that a patch names and leaves as it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedNumbers:
    """Changed numbers in ascending order; all arrays have one entry per number.

    ``numbers``: uint64. ``kind``: uint8, values of :class:`Kind`. ``before`` and ``after``: intp,
    rows of the route tables of the old and of the new side. Where a side has no record, its row is
    what its ranges say.
    """

    numbers: NDArray[np.uint64]
    kind: NDArray[np.uint8]
    before: NDArray[np.intp]
    after: NDArray[np.intp]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What changed from one snapshot to another, or to new content.

    ``changes``: the counts. ``updated_by_registry``: the updated numbers whose route is another one
    for the registry itself, not only for the brand table. ``operators``: who served changed
    numbers, before or after; an empty one stands for nobody. ``matrix``: int64[k, k], how many
    numbers went from the operator of the row to that of the column; ``left``: those of them that
    are not newly ported. The range holder serves a number without a record.
    """

    changes: Changes
    updated_by_registry: int
    operators: tuple[Operator, ...]
    matrix: NDArray[np.int64]
    left: NDArray[np.int64]

    @property
    def flows(self) -> Sequence[str]:
        """The largest movements of numbers that are not newly ported, in words."""
        names = [operator_name(operator) or "nobody" for operator in self.operators]
        flows: Counter[str] = Counter()
        # Operators without a code may share a name.
        for giver, taker in np.argwhere(self.left).tolist():
            flows[f"{names[giver]} to {names[taker]}"] += int(self.left[giver, taker])
        return [f"{words} {numbers}" for words, numbers in flows.most_common(_FLOWS)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What a patch changes in a snapshot; all arrays have an entry per number of the patch.

    ``kind``: uint8, values of :class:`Kind`, or ``CONFIRMED``. ``before``, ``after``: intp, rows
    of the patch's route table; where there is no record, what the ranges say.
    ``ported_after``: how many records there are afterwards. ``changes``: the counts of each kind.
    """

    kind: NDArray[np.uint8]
    before: NDArray[np.intp]
    after: NDArray[np.intp]
    ported_after: int
    changes: Changes

    def count(self, kind: int) -> int:
        """Return how many numbers of a kind there are."""
        return int(np.count_nonzero(self.kind == kind))


def compare(old: Snapshot, new: Snapshot | Content) -> Comparison:
    """Return what changed in the ported records from ``old`` to ``new``.

    ``new`` may be content that is not published yet; it must keep the rules of the format.
    """
    routes = (old.routes, new.routes)
    of_row = _numbered([[operator_key(route.operator) for route in each] for each in routes])
    for_registry = _numbered([[registry_key(route) for route in each] for each in routes])
    operators: dict[int, Operator] = {}
    for numbers, table in zip(of_row, routes, strict=True):
        for number, route in zip(numbers.tolist(), table, strict=True):
            operators.setdefault(number, route.operator)
    size = len(operators)
    matrix = np.zeros(2 * size * size, np.int64)
    counts = np.zeros(len(Kind), np.int64)
    updated_by_registry = 0
    for piece in changed_numbers(old, new):
        counts += np.bincount(piece.kind, minlength=len(Kind))
        updated = piece.kind == Kind.UPDATED
        differ = for_registry[0][piece.before[updated]] != for_registry[1][piece.after[updated]]
        updated_by_registry += int(np.count_nonzero(differ))
        giver, taker = of_row[0][piece.before[~updated]], of_row[1][piece.after[~updated]]
        left = piece.kind[~updated] != Kind.PORTED
        np.add.at(matrix, (left * size + giver) * size + taker, 1)
    cubes = matrix.reshape(2, size, size)
    used = np.flatnonzero(cubes.any(axis=(0, 1)) | cubes.any(axis=(0, 2)))
    ported, left = cubes[:, used[:, None], used]
    return Comparison(
        changes=_changes(old, counts.tolist()),
        updated_by_registry=updated_by_registry,
        operators=tuple(operators[i] for i in used.tolist()),
        matrix=ported + left,
        left=left,
    )


def _changes(old: Snapshot, counts: Sequence[int]) -> Changes:
    by_kind = {kind.name.lower(): count for kind, count in zip(Kind, counts, strict=True)}
    return Changes(against=old.metadata.snapshot_id, **by_kind)


def effect_of(patch: Patch, snapshot: Snapshot) -> Effect:
    """Return what a patch changes in a snapshot."""
    member, _ = numpy_kernel.locate(snapshot.tables, patch.numbers)
    before = snapshot.lookup(patch.numbers, overrides=False).route.astype(np.intp)
    after = np.where(patch.present, patch.number_route, range_rows(snapshot, patch.numbers))
    kind = np.full(len(patch.numbers), CONFIRMED, np.uint8)
    both = np.flatnonzero(member & patch.present)
    kind[both] = _Kinds((patch.routes, patch.routes), route_key).of(before[both], after[both])
    kind[~member & patch.present] = Kind.PORTED
    kind[member & ~patch.present] = Kind.RETURNED
    counts = np.bincount(kind, minlength=len(Kind))[: len(Kind)].tolist()
    changes = _changes(snapshot, counts)
    return Effect(
        kind=kind,
        before=before,
        after=after,
        ported_after=snapshot.ported_count + changes.ported - changes.returned,
        changes=changes,
    )


def changed_numbers(
    old: Snapshot, new: Snapshot | Content, *, as_registry: bool = False
) -> Iterator[ChangedNumbers]:
    """Yield what :func:`compare` counts, piece by piece, in ascending order of the numbers.

    With ``as_registry`` only what the registry says counts: another brand table changes nothing.
    """
    kinds = _Kinds((old.routes, new.routes), registry_key if as_registry else route_key)
    borders = np.union1d(_borders(old), _borders(new)).tolist()
    for first, end in pairwise([0, *borders, NUMBER_MAX + 1]):
        (was, was_rows), (now, now_rows) = (_records(each, first, end) for each in (old, new))
        at = was.searchsorted(now)
        stays = np.append(was, np.uint64(NUMBER_MAX + 1)).take(at) == now
        gone = np.ones(len(was), np.bool_)
        gone[at[stays]] = False
        rows_before = np.append(was_rows, was_rows.dtype.type(0)).take(at)
        changed = np.flatnonzero(~stays | kinds.differ(rows_before, now_rows))
        numbers = np.concatenate([now[changed], was[gone]])
        if len(numbers):
            no_record = np.full(np.count_nonzero(gone), -1)
            before = np.where(stays[changed], rows_before[changed].astype(np.intp), -1)
            before = np.concatenate([before, was_rows[gone].astype(np.intp)])
            after = np.concatenate([now_rows[changed].astype(np.intp), no_record])
            order = numbers.argsort(kind="stable")
            numbers, before, after = numbers[order], before[order], after[order]
            kind = kinds.of(before, after)
            kind[before < 0], kind[after < 0] = Kind.PORTED, Kind.RETURNED
            before = np.where(before < 0, range_rows(old, numbers), before)
            after = np.where(after < 0, range_rows(new, numbers), after)
            yield ChangedNumbers(numbers=numbers, kind=kind, before=before, after=after)


def _borders(whole: Snapshot | Content) -> NDArray[np.uint64]:
    """Return numbers, each the first of a block, between which there are not too many records."""
    if isinstance(whole, Snapshot):
        return numpy_kernel.edges(whole.tables)
    shift = np.uint64(layout.BLOCK_SHIFT)
    return whole.numbers[_NUMBERS_AT_ONCE::_NUMBERS_AT_ONCE] >> shift << shift


def _records(
    whole: Snapshot | Content, first: int, end: int
) -> tuple[NDArray[np.uint64], NDArray[np.unsignedinteger]]:
    """Return the records from one border to another (exclusive): numbers, ascending, and rows."""
    if isinstance(whole, Snapshot):
        return numpy_kernel.records_between(whole.tables, first, end)
    part = slice(*whole.numbers.searchsorted(np.array([first, end], np.uint64)))
    return whole.numbers[part], whole.number_route[part]


def range_rows(whole: Snapshot | Content, numbers: NDArray[np.uint64]) -> NDArray[np.intp]:
    """Return the row that the ranges alone give to each number."""
    ranges = whole if isinstance(whole, Content) else whole.tables
    pieces = ranges.range_start.searchsorted(numbers, side="right") - 1
    return ranges.range_route.take(pieces).astype(np.intp)


def ported_by_operator(whole: Snapshot | Content) -> Mapping[str, int]:
    """Count the ported numbers by operator."""
    records = (
        whole.records_by_row
        if isinstance(whole, Snapshot)
        else records_by_row(whole.number_route, len(whole.routes))
    )
    counts: Counter[str] = Counter()
    for route, numbers in zip(whole.routes, records.tolist(), strict=True):
        if numbers:
            counts[operator_name(route.operator)] += numbers
    return counts


def operator_name(operator: Operator) -> str:
    """Return the name to count an operator by: its code, or its name where it has none."""
    return operator.code or operator.name


def operator_key(operator: Operator) -> Hashable:
    """Return a key that two operators share when they are the same one."""
    return operator.code or (operator.tax_number, operator.name, operator.brand)


def route_key(route: Route) -> tuple[Hashable, ...]:
    """Return a key that two routes share when messages go the same way by both.

    Its first part is the operator's.
    """
    return operator_key(route.operator), route.mcc, route.mnc, *registry_key(route)[1:]


def registry_key(route: Route) -> tuple[Hashable, ...]:
    """Return the like for what the registry says, without what the brand table adds."""
    return (
        route.operator.code or (route.operator.tax_number, route.operator.name),
        route.registry_mnc,
        route.routing_number,
        route.region.code or route.region.name,
        route.line_type,
    )


def _numbered(tables: Sequence[Sequence[Hashable]]) -> list[NDArray[np.intp]]:
    """Number the keys of tables, the same ones alike, in the order in which they first occur."""
    numbers: dict[Hashable, int] = {}
    return [
        np.array([numbers.setdefault(key, len(numbers)) for key in table], np.intp)
        for table in tables
    ]


class _Kinds:
    """What became of numbers with records on both sides, by the rows of two route tables."""

    def __init__(
        self,
        tables: Sequence[Iterable[Route]],
        key: Callable[[Route], tuple[Hashable, ...]],
    ) -> None:
        keys = [[key(route) for route in table] for table in tables]
        self._routes = _numbered(keys)
        self._operators = _numbered([[of_route[0] for of_route in table] for table in keys])

    def differ(self, before: Rows, after: Rows) -> NDArray[np.bool_]:
        """Return whether the rows before and after are different routes."""
        differ: NDArray[np.bool_] = self._routes[0].take(before) != self._routes[1].take(after)
        return differ

    def of(self, before: Rows, after: Rows) -> NDArray[np.uint8]:
        """Return MOVED, UPDATED or CONFIRMED for each number."""
        kind = np.full(len(before), CONFIRMED, np.uint8)
        kind[self.differ(before, after)] = Kind.UPDATED
        kind[self._operators[0].take(before) != self._operators[1].take(after)] = Kind.MOVED
        return kind
