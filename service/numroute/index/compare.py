"""What differs between two snapshots: ported records that came, went, moved or were updated.

Worked off in slabs of a few chunks, so that memory stays bounded whatever the size. Where the cells
of a slab are alike, which is nearly everywhere, only its routes are compared.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from numroute.index import kernel
from numroute.index.content import Content
from numroute.index.layout import BIT_BITS, CELLS_PER_CHUNK, CHUNK_SHIFT
from numroute.index.ranked_bitmap import build_bitmap, build_pages
from numroute.model import Changes

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Sequence

    from numpy.typing import NDArray

    from numroute.index.snapshot import Snapshot
    from numroute.model import Operator, Route

    Unsigned = NDArray[np.unsignedinteger]

_CHUNKS_AT_ONCE = 16
"""Chunks in a slab: its cells take 256 KiB a side, its routes at most a million entries."""

_SELECT_MAX = 4_096
"""Up to so many records of a slab are found one by one; for more, all of the slab are listed."""


class Kind(enum.IntEnum):
    """What became of a number."""

    PORTED = 0
    RETURNED = 1
    MOVED = 2
    UPDATED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedNumbers:
    """Changed numbers in ascending order; all arrays have one entry per number.

    ``numbers``: uint64. ``kind``: uint8, values of :class:`Kind`. ``before`` and ``after``: intp,
    rows of the route tables of the old and of the new snapshot. Where one has no record, its row is
    what its ranges say.
    """

    numbers: NDArray[np.uint64]
    kind: NDArray[np.uint8]
    before: NDArray[np.intp]
    after: NDArray[np.intp]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What changed from one snapshot to another.

    ``changes``: the counts. ``ported``, ``returned``, ``moved``, ``updated``: uint64, the numbers,
    ascending. ``operators``: who served changed numbers, before or after; an empty one stands for
    nobody. ``matrix``: int64[k, k], how many numbers went from the operator of the row to that of
    the column: ported, returned and moved ones. The range holder serves a number without a record.
    """

    changes: Changes
    ported: NDArray[np.uint64]
    returned: NDArray[np.uint64]
    moved: NDArray[np.uint64]
    updated: NDArray[np.uint64]
    operators: tuple[Operator, ...]
    matrix: NDArray[np.int64]


def compare(old: Snapshot, new: Snapshot | Content) -> Comparison:
    """Return what changed in the ported records from ``old`` to ``new``.

    ``new`` may be content that is not published yet; it must keep the rules of the format.
    Routes are compared by the operator's code, network, routing number, region and line type. A
    new spelling of a name is no change of a number, nor is another time of porting.
    """
    operators = _Operators()
    of_row = [operators.ids(_routes(each)) for each in (old, new)]
    size = len(operators.all)
    matrix = np.zeros(size * size, np.int64)
    found: list[list[NDArray[np.uint64]]] = [[np.empty(0, np.uint64)] for _ in Kind]
    for piece in changed_numbers(old, new):
        for kind in Kind:
            found[kind].append(piece.numbers[piece.kind == kind])
        went = piece.kind != Kind.UPDATED
        cells = of_row[0][piece.before[went]] * size + of_row[1][piece.after[went]]
        matrix += np.bincount(cells, minlength=size * size)
    numbers = [np.concatenate(pieces) for pieces in found]
    square = matrix.reshape(size, size)
    used = np.flatnonzero(square.any(axis=0) | square.any(axis=1))
    return Comparison(
        changes=Changes(
            against=old.metadata.snapshot_id,
            ported=len(numbers[Kind.PORTED]),
            returned=len(numbers[Kind.RETURNED]),
            moved=len(numbers[Kind.MOVED]),
            updated=len(numbers[Kind.UPDATED]),
        ),
        ported=numbers[Kind.PORTED],
        returned=numbers[Kind.RETURNED],
        moved=numbers[Kind.MOVED],
        updated=numbers[Kind.UPDATED],
        operators=tuple(operators.all[i] for i in used.tolist()),
        matrix=square[np.ix_(used, used)],
    )


def changed_numbers(
    old: Snapshot, new: Snapshot | Content, *, as_registry: bool = False
) -> Iterator[ChangedNumbers]:
    """Yield what :func:`compare` counts, piece by piece, in ascending order of the numbers.

    With ``as_registry`` only what the registry says counts: another brand table changes nothing.
    """
    routes = [_routes(each) for each in (old, new)]
    if as_registry:
        routes = [[without_brand(route) for route in each] for each in routes]
    same_operator = _Operators()
    same_route: dict[Hashable, int] = {}
    operators = [same_operator.ids(each) for each in routes]
    ids = [_route_ids(each, same_route) for each in routes]
    sides = [_Side(each) for each in (old, new)]
    chunks = np.union1d(sides[0].chunks, sides[1].chunks)
    blocks = [side.blocks_of(chunks) for side in sides]
    for begin in range(0, len(chunks), _CHUNKS_AT_ONCE):
        part = slice(begin, begin + _CHUNKS_AT_ONCE)
        before, after = (
            side.slab(of_side[part]) for side, of_side in zip(sides, blocks, strict=True)
        )
        positions, kind, rows = _changed(before, after, ids, operators)
        if not len(positions):
            continue
        numbers = (chunks[part][positions >> CHUNK_SHIFT] << CHUNK_SHIFT).view(np.uint64)
        numbers |= (positions & ((1 << CHUNK_SHIFT) - 1)).view(np.uint64)
        order = numbers.argsort()
        numbers, kind = numbers[order], kind[order]
        rows = [side[order] for side in rows]
        for side, lacking in enumerate((Kind.PORTED, Kind.RETURNED)):
            without = (kind == lacking).nonzero()[0]
            rows[side][without] = sides[side].range_rows(numbers[without])
        yield ChangedNumbers(numbers=numbers, kind=kind, before=rows[0], after=rows[1])


@dataclass(frozen=True, slots=True)
class _Slab:
    """The cells of a few chunks and the routes of their records.

    ``bits``: uint32[n], which numbers have a record. ``ranks``: int64[n], records before the cell,
    counted from the first of the slab. ``route``: rows, in number order.
    """

    bits: NDArray[np.uint32]
    ranks: NDArray[np.int64]
    route: Unsigned


class _Side:
    """One of the two snapshots, chunk by chunk."""

    def __init__(self, whole: Snapshot | Content) -> None:
        tables = _tables_of(whole) if isinstance(whole, Content) else whole.tables
        self.chunks, self._blocks = kernel.chunks_in_use(tables)
        self._cells = tables.cells.reshape(-1, CELLS_PER_CHUNK)
        self._route = tables.route
        self._start, self._range_route = tables.range_start, tables.range_route

    def range_rows(self, numbers: NDArray[np.uint64]) -> Unsigned:
        """Return the row that the ranges alone give to each number."""
        return self._range_route.take(self._start.searchsorted(numbers, side="right") - 1)

    def blocks_of(self, chunks: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return each chunk's block, 0 where this side has no record in it."""
        blocks = np.zeros(len(chunks), np.int64)
        blocks[chunks.searchsorted(self.chunks)] = self._blocks
        return blocks

    def slab(self, blocks: NDArray[np.int64]) -> _Slab:
        """Return the cells and routes of neighbouring chunks, given their blocks."""
        cells = self._cells.take(blocks, axis=0)
        used = blocks.nonzero()[0]
        first = last = 0
        if len(used):
            first = int(cells[used[0], 0]) >> 32
            end = int(cells[used[-1], -1])
            last = (end >> 32) + (end & 0xFFFF_FFFF).bit_count()
        halves = cells.reshape(-1).view("<u4")
        return _Slab(
            bits=halves[::2],
            ranks=halves[1::2].astype(np.int64) - first,
            route=self._route[first:last],
        )


def _changed(
    before: _Slab,
    after: _Slab,
    ids: list[NDArray[np.intp]],
    operators: list[NDArray[np.intp]],
) -> tuple[NDArray[np.int64], NDArray[np.uint8], list[NDArray[np.intp]]]:
    """Return positions within the slab, kinds, and the rows before and after (0 = no record)."""
    routes = [before.route, after.route]
    positions, kinds = [np.empty(0, np.int64)], [np.empty(0, np.uint8)]
    rows: list[list[NDArray[np.intp]]] = [[np.empty(0, np.intp)], [np.empty(0, np.intp)]]
    if not np.array_equal(before.bits, after.bits):
        for side, (has, lacks, kind) in enumerate(
            ((before, after, Kind.RETURNED), (after, before, Kind.PORTED))
        ):
            only = _set_bits(has.bits & ~lacks.bits)
            ranks = _ranks(has, only)
            positions.append(only)
            kinds.append(np.full(len(only), kind, np.uint8))
            rows[side].append(routes[side][ranks].astype(np.intp))
            rows[1 - side].append(np.zeros(len(only), np.intp))
            # What is left on both sides are the records of the same numbers.
            routes[side] = np.delete(routes[side], ranks)
    differ = _differing(routes, ids)
    if len(differ):
        now = [route[differ].astype(np.intp) for route in routes]
        moved = operators[0][now[0]] != operators[1][now[1]]
        positions.append(_select(before.bits & after.bits, differ))
        kinds.append(np.where(moved, np.uint8(Kind.MOVED), np.uint8(Kind.UPDATED)))
        rows[0].append(now[0])
        rows[1].append(now[1])
    return np.concatenate(positions), np.concatenate(kinds), [np.concatenate(each) for each in rows]


def _differing(routes: list[Unsigned], ids: list[NDArray[np.intp]]) -> NDArray[np.intp]:
    """Return where two equally long columns of rows name different routes."""
    if np.array_equal(ids[0], ids[1][: len(ids[0])]):
        # Equal rows are equal routes, and few are not: only those need a look into the tables.
        other: NDArray[np.intp] = np.flatnonzero(routes[0] != routes[1])
        differ = ids[0].take(routes[0].take(other)) != ids[1].take(routes[1].take(other))
        return other.compress(differ)
    return np.flatnonzero(ids[0].take(routes[0]) != ids[1].take(routes[1]))


def _set_bits(words: NDArray[np.uint32]) -> NDArray[np.int64]:
    """Return the places of all set bits of uint32 words, ascending."""
    used = words.nonzero()[0]
    word, bit = _unpacked(words[used]).nonzero()
    places: NDArray[np.int64] = (used[word] << BIT_BITS) + bit
    return places


def _select(words: NDArray[np.uint32], wanted: NDArray[np.intp]) -> NDArray[np.int64]:
    """Return the places of the set bits with these indexes, ascending, counted over all words."""
    if len(wanted) > _SELECT_MAX:
        return _set_bits(words).take(wanted)
    count = np.bitwise_count(words).astype(np.int64)
    until = count.cumsum()
    word = until.searchsorted(wanted, side="right")
    nth = wanted - (until - count)[word]
    seen = _unpacked(words[word]).cumsum(axis=1)
    places: NDArray[np.int64] = (word << BIT_BITS) + (seen > nth[:, None]).argmax(axis=1)
    return places


def _unpacked(words: NDArray[np.uint32]) -> NDArray[np.uint8]:
    """Return uint8[n, 32]: the bits of each word, the lowest first."""
    octets = np.ascontiguousarray(words, "<u4").view(np.uint8).reshape(-1, 4)
    return np.unpackbits(octets, axis=1, bitorder="little")


def _ranks(slab: _Slab, positions: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the indexes in ``slab.route`` of the records at these places."""
    word = positions >> BIT_BITS
    bit = (positions & ((1 << BIT_BITS) - 1)).astype(np.uint32)
    below = slab.bits[word] & ((np.uint32(1) << bit) - np.uint32(1))
    ranks: NDArray[np.int64] = slab.ranks[word] + np.bitwise_count(below)
    return ranks


def operator_key(operator: Operator) -> Hashable:
    """Return what makes two operators the same one."""
    return operator.code or (operator.tax_number, operator.name, operator.brand)


def route_key(route: Route) -> Hashable:
    """Return what makes two routes the same one: what decides where a message goes."""
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


def _route_ids(routes: Sequence[Route], keys: dict[Hashable, int]) -> NDArray[np.intp]:
    return np.array([keys.setdefault(route_key(route), len(keys)) for route in routes], np.intp)


def _routes(whole: Snapshot | Content) -> Sequence[Route]:
    if isinstance(whole, Content):
        return whole.routes
    return [whole.routes[row] for row in range(len(whole.routes))]


def _tables_of(content: Content) -> kernel.Tables:
    """Return the records of content as the kernel reads them, without its granules."""
    pages, slots = build_pages(content.numbers, np.empty((0, 2), np.uint64))
    bitmap = build_bitmap(content.numbers, pages, slots)
    return kernel.prepare(
        pages=pages,
        chunks=bitmap.chunks,
        cells=bitmap.cells,
        route=content.number_route,
        granules=np.empty(0, np.uint16),
        range_start=content.range_start,
        range_route=content.range_route,
    )
