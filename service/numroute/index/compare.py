"""What changed: between two snapshots, from a snapshot to new content, and by a patch.

Everywhere the same rules hold. A number with a record on one side only was ported or returned. One
with a record on both sides moved where its operator is another one, and was updated where only the
rest of its route is. A new spelling of a name is no change, nor is another time of porting.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from numroute.index import kernel, numpy_kernel
from numroute.index.bitmap import records_by_row
from numroute.index.content import Content, Patch
from numroute.index.records import all_records, records_at
from numroute.index.snapshot import Snapshot
from numroute.model import NUMBER_MAX, Changes, Operator, Route

Rows = NDArray[np.integer]

_NUMBERS_AT_ONCE = 1 << 20
"""Numbers of new content compared at once: their temporaries take some tens of megabytes."""

_FLOWS = 5
"""How many movements between operators are named."""

_RANGE_HOLDER = "the range holder"


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
    """What changed from one snapshot to another.

    ``changes``: the counts. ``operators``: who served changed numbers, before or after; an empty
    one stands for nobody. ``matrix``: int64[k, k], how many numbers went from the operator of the
    row to that of the column: ported, returned and moved ones. The range holder serves a number
    without a record.
    """

    changes: Changes
    operators: tuple[Operator, ...]
    matrix: NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """What changed from the current snapshot to new content, in counts and words.

    ``updated_by_registry``: the updated numbers whose route is another one for the registry itself,
    not only for the brand table. ``before``: the current snapshot's ported numbers by operator.
    ``flows``: the largest movements of numbers that are not newly ported, in words.
    """

    changes: Changes
    updated_by_registry: int
    before: Mapping[str, int]
    flows: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What a patch changes in a snapshot; all arrays have an entry per number of the patch.

    ``kind``: uint8, values of :class:`Kind`, or ``CONFIRMED``. ``before``, ``after``: intp, rows
    of the patch's route table; where there is no record, what the ranges say.
    ``ported_before``: how many records the snapshot has. ``changes``: the counts of each kind.
    """

    kind: NDArray[np.uint8]
    before: NDArray[np.intp]
    after: NDArray[np.intp]
    ported_before: int

    changes: Changes

    def count(self, kind: int) -> int:
        """Return how many numbers of a kind there are."""
        return int(np.count_nonzero(self.kind == kind))

    @property
    def ported_after(self) -> int:
        """How many records there are after the patch."""
        return self.ported_before + self.changes.ported - self.changes.returned


def compare(old: Snapshot, new: Snapshot | Content) -> Comparison:
    """Return what changed in the ported records from ``old`` to ``new``.

    ``new`` may be content that is not published yet; it must keep the rules of the format.
    """
    operators = _Operators()
    of_row = [operators.ids(routes_of(each)) for each in (old, new)]
    size = len(operators.all)
    matrix = np.zeros(size * size, np.int64)
    counts = np.zeros(len(Kind), np.int64)
    for piece in changed_numbers(old, new):
        counts += np.bincount(piece.kind, minlength=len(Kind))
        went = piece.kind != Kind.UPDATED
        cells = of_row[0][piece.before[went]] * size + of_row[1][piece.after[went]]
        matrix += np.bincount(cells, minlength=size * size)
    square = matrix.reshape(size, size)
    used = np.flatnonzero(square.any(axis=0) | square.any(axis=1))
    return Comparison(
        changes=_changes(old, counts.tolist()),
        operators=tuple(operators.all[i] for i in used.tolist()),
        matrix=square[np.ix_(used, used)],
    )


def difference(current: Snapshot, content: Content) -> Difference:
    """Return how new content differs from the current snapshot, before anything is written."""
    routes = [routes_of(current), content.routes]
    registry = _RouteKeys(*([without_brand(route) for route in each] for each in routes))
    names = [np.array([operator_name(r.operator) for r in each], object) for each in routes]
    counts: Counter[int] = Counter()
    flows: Counter[tuple[str, str]] = Counter()
    updated_by_registry = 0
    for piece in changed_numbers(current, content):
        for kind in Kind:
            of_kind = piece.kind == kind
            before, after = piece.before[of_kind], piece.after[of_kind]
            counts[kind] += len(before)
            if kind is Kind.UPDATED:
                updated_by_registry += int(np.count_nonzero(registry.differ(before, after)))
            elif kind is Kind.RETURNED:
                for row, numbers in _counted(before):
                    flows[names[0][row], _RANGE_HOLDER] += numbers
            elif kind is Kind.MOVED:
                width = len(routes[1])
                for pair, numbers in _counted(before * width + after):
                    row, other = divmod(pair, width)
                    flows[names[0][row], names[1][other]] += numbers
    largest = sorted(flows, key=lambda flow: (-flows[flow], flow))[:_FLOWS]
    return Difference(
        changes=_changes(current, [counts[kind] for kind in Kind]),
        updated_by_registry=updated_by_registry,
        before=ported_by_operator(current),
        flows=[f"{one} to {other} {flows[one, other]}" for one, other in largest],
    )


def _changes(old: Snapshot, counts: Sequence[int]) -> Changes:
    """Return the counts of each kind as changes against a snapshot."""
    by_kind = {kind.name.lower(): count for kind, count in zip(Kind, counts, strict=True)}
    return Changes(against=old.metadata.snapshot_id, **by_kind)


def effect_of(patch: Patch, snapshot: Snapshot) -> Effect:
    """Return what a patch changes in a snapshot."""
    answers = snapshot.lookup(patch.numbers, range_route=True, overrides=False)
    if answers.range_route is None:
        raise AssertionError("it was asked for")
    member, _ = numpy_kernel.locate(snapshot.tables, patch.numbers)
    before = answers.route.astype(np.intp)
    after = np.where(patch.present, patch.number_route, answers.range_route).astype(np.intp)
    keys = _RouteKeys(patch.routes, patch.routes)
    kind = np.full(len(patch.numbers), CONFIRMED, np.uint8)
    both = np.flatnonzero(member & patch.present)
    both = both[keys.differ(before[both], after[both])]
    kind[both] = keys.kind(before[both], after[both])
    kind[~member & patch.present] = Kind.PORTED
    kind[member & ~patch.present] = Kind.RETURNED
    counts = np.bincount(kind, minlength=len(Kind))[: len(Kind)].tolist()
    return Effect(
        kind=kind,
        before=before,
        after=after,
        ported_before=snapshot.ported_count,
        changes=_changes(snapshot, counts),
    )


def changed_numbers(
    old: Snapshot, new: Snapshot | Content, *, as_registry: bool = False
) -> Iterator[ChangedNumbers]:
    """Yield what :func:`compare` counts, piece by piece, in ascending order of the numbers.

    With ``as_registry`` only what the registry says counts: another brand table changes nothing.
    """
    routes = [routes_of(each) for each in (old, new)]
    if as_registry:
        routes = [[without_brand(route) for route in each] for each in routes]
    keys = _RouteKeys(*routes)
    tables = old.tables
    begin = 0
    for numbers, rows, until in _pieces(new):
        _, edge = numpy_kernel.locate(tables, np.array([until], np.uint64))
        end = int(edge[0])
        positions, ranks = numpy_kernel.find_records(tables, numbers)
        before: Rows = kernel.lookup(tables, numbers.take(positions))
        after: Rows = rows.take(positions)
        differ = keys.differ(before, after).nonzero()[0]
        before, after = before[differ], after[differ]
        ported = np.delete(np.arange(len(numbers)), positions)
        stays = np.zeros(end - begin, np.bool_)
        stays[ranks - begin] = True
        returned = np.flatnonzero(~stays) + begin
        begin = end
        gone, gone_rows = records_at(tables, returned)
        found = [numbers[ported], gone, numbers[positions[differ]]]
        kinds = [
            np.full(len(ported), Kind.PORTED, np.uint8),
            np.full(len(returned), Kind.RETURNED, np.uint8),
            keys.kind(before, after),
        ]
        was: list[Rows] = [
            range_rows(old, found[0]),
            gone_rows,
            before,
        ]
        now: list[Rows] = [
            rows[ported],
            range_rows(new, found[1]),
            after,
        ]
        changed = np.concatenate(found)
        if len(changed):
            order = changed.argsort()
            yield ChangedNumbers(
                numbers=changed[order],
                kind=np.concatenate(kinds)[order],
                before=np.concatenate([each.astype(np.intp) for each in was])[order],
                after=np.concatenate([each.astype(np.intp) for each in now])[order],
            )


def _pieces(whole: Snapshot | Content) -> Iterator[tuple[NDArray[np.uint64], Rows, int]]:
    """Yield records, ascending: numbers, rows, and up to which number (exclusive) these are all."""
    if isinstance(whole, Content):
        count = len(whole.numbers)
        for begin in range(0, max(1, count), _NUMBERS_AT_ONCE):
            part = slice(begin, begin + _NUMBERS_AT_ONCE)
            until = int(whole.numbers[part.stop]) if part.stop < count else NUMBER_MAX + 1
            yield whole.numbers[part], whole.number_route[part], until
        return
    for piece, until in all_records(whole.tables):
        yield piece.numbers, piece.rows, until


def range_rows(whole: Snapshot | Content, numbers: NDArray[np.uint64]) -> NDArray[np.intp]:
    """Return the row that the ranges alone give to each number."""
    ranges = whole if isinstance(whole, Content) else whole.tables
    pieces = ranges.range_start.searchsorted(numbers, side="right") - 1
    return ranges.range_route.take(pieces).astype(np.intp)


def by_operator(
    routes: Sequence[Route], number_route: NDArray[np.unsignedinteger]
) -> Mapping[str, int]:
    """Count the ported numbers by operator; ``number_route`` holds rows of ``routes``."""
    return _summed(routes, records_by_row(number_route, len(routes)))


def ported_by_operator(snapshot: Snapshot) -> Mapping[str, int]:
    """Count a snapshot's ported numbers by operator."""
    return _summed(routes_of(snapshot), snapshot.records_by_row)


def _summed(routes: Sequence[Route], records: NDArray[np.integer]) -> Mapping[str, int]:
    counts: Counter[str] = Counter()
    for route, numbers in zip(routes, records.tolist(), strict=True):
        if numbers:
            counts[operator_name(route.operator)] += numbers
    return counts


def operator_name(operator: Operator) -> str:
    """Return the name to count an operator by: its code, or its name where it has none."""
    return operator.code or operator.name


def operator_key(operator: Operator) -> Hashable:
    """Return a key that two operators share when they are the same one."""
    return operator.code or (operator.tax_number, operator.name, operator.brand)


def route_key(route: Route) -> Hashable:
    """Return a key that two routes share when messages go the same way by both."""
    return (
        operator_key(route.operator),
        route.mcc,
        route.mnc,
        route.registry_mnc,
        route.routing_number,
        route.region.code or route.region.name,
        route.line_type,
    )


def without_brand(route: Route) -> Route:
    """Return what the registry says of a route, without what the brand table adds to it."""
    return replace(route, operator=replace(route.operator, brand=""), mcc="", mnc="")


class _Operators:
    """The operators of both sides; equal codes are one operator."""

    def __init__(self) -> None:
        self.all: list[Operator] = []
        self._keys: dict[Hashable, int] = {}

    def ids(self, routes: Sequence[Route]) -> NDArray[np.intp]:
        """Return each route's operator as an index into ``all``."""
        ids = np.empty(len(routes), np.intp)
        for row, route in enumerate(routes):
            number = self._keys.setdefault(operator_key(route.operator), len(self._keys))
            if number == len(self.all):
                self.all.append(route.operator)
            ids[row] = number
        return ids


class _RouteKeys:
    """Which rows of two route tables are the same route, and which are of the same operator."""

    def __init__(self, before: Sequence[Route], after: Sequence[Route]) -> None:
        keys: dict[Hashable, int] = {}
        operators = _Operators()
        self._routes = [
            np.array([keys.setdefault(route_key(route), len(keys)) for route in each], np.intp)
            for each in (before, after)
        ]
        self._operators = [operators.ids(each) for each in (before, after)]

    def differ(self, before: Rows, after: Rows) -> NDArray[np.bool_]:
        """Return whether the rows before and after are different routes."""
        differ: NDArray[np.bool_] = self._routes[0].take(before) != self._routes[1].take(after)
        return differ

    def kind(self, before: Rows, after: Rows) -> NDArray[np.uint8]:
        """Return whether numbers whose route differs moved or were updated."""
        moved = self._operators[0].take(before) != self._operators[1].take(after)
        return np.where(moved, np.uint8(Kind.MOVED), np.uint8(Kind.UPDATED))


def _counted(values: NDArray[np.intp]) -> Iterator[tuple[int, int]]:
    """Yield each distinct value and how often it occurs."""
    distinct, counts = np.unique(values, return_counts=True)
    return zip(distinct.tolist(), counts.tolist(), strict=True)


def routes_of(whole: Snapshot | Content) -> Sequence[Route]:
    """Return the whole route table."""
    if isinstance(whole, Content):
        return whole.routes
    return [whole.routes[row] for row in range(len(whole.routes))]
