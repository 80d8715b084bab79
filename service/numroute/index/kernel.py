"""The lookup kernel: whole-array operations from numbers to rows of the route table.

A batch is worked off in pieces so that temporaries stay in cache; nothing is done per number in
Python. Every index is formed so that what is not in the tables falls below zero and is clipped to
entry 0, which always says "none": there is no branch on membership of pages or chunks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from numroute.index.content import INVALID_ROW
from numroute.index.layout import (
    BIT_BITS,
    CELLS_PER_CHUNK,
    CHUNK_SHIFT,
    GRANULE_SHIFT,
    PAGE_SHIFT,
    mixed_marker,
)
from numroute.model import NUMBER_MAX

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Unsigned = NDArray[np.unsignedinteger]

PIECE_NUMBERS = 32_768
"""Numbers worked on at once. Measured best of 8,192 to 65,536: three temporaries fill half of a
1 MiB second-level cache, and numpy's fixed cost per call is spread over enough numbers."""

_NOWHERE = -(1 << 62)
"""Added to any number or cell position it stays below zero, so that the index is clipped to 0."""

_SEARCH_SORTED_FROM = 16
"""From this many keys on, sorting them first makes the binary searches cheaper than it costs."""

# Constants as arrays without dimensions: a ufunc takes one of the other operand's type in half the
# time that it needs to convert a scalar, and a small batch is all such overhead.
_ZERO = np.array(0, np.uint64)
_ONE = np.array(1, np.uint64)
_BIT_MASK = np.array((1 << BIT_BITS) - 1, np.uint64)
_RANK_SHIFT = np.array(32, np.uint64)
_TO_PAGE = np.array(PAGE_SHIFT, np.uint64)
_TO_CHUNK = np.array(CHUNK_SHIFT, np.int64)
_TO_CELL = np.array(BIT_BITS, np.int64)
_TO_GRANULE = np.array(GRANULE_SHIFT, np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tables:
    """The arrays of a snapshot in the form that the kernel reads.

    ``page_shift``: int64[pages + 1], what to add to a number of the page to get its place in the
    space of slots; the last entry serves all higher pages. ``cell_shift``: int64[chunk tables],
    what to add to a place's cell number to get its index in ``cells``.
    """

    page_shift: NDArray[np.int64]
    cell_shift: NDArray[np.int64]
    cells: NDArray[np.uint64]
    route: Unsigned
    granules: Unsigned
    range_start: NDArray[np.uint64]
    range_route: Unsigned
    marker: int


def prepare(
    *,
    pages: NDArray[np.uint32],
    chunks: NDArray[np.uint32],
    cells: NDArray[np.uint64],
    route: Unsigned,
    granules: Unsigned,
    range_start: NDArray[np.uint64],
    range_route: Unsigned,
) -> Tables:
    """Derive the two small tables of differences from the stored page and chunk tables."""
    used = np.flatnonzero(pages)
    page_shift = np.full(len(pages) + 1, _NOWHERE, np.int64)
    page_shift[used] = (pages[used].astype(np.int64) - used) << PAGE_SHIFT
    cell_shift = np.full(len(chunks), _NOWHERE, np.int64)
    in_use = np.flatnonzero(chunks)
    cell_shift[in_use] = (chunks[in_use].astype(np.int64) - in_use) * CELLS_PER_CHUNK
    return Tables(
        page_shift=page_shift,
        cell_shift=cell_shift,
        cells=cells,
        route=route,
        granules=granules,
        range_start=range_start,
        range_route=range_route,
        marker=mixed_marker(granules.dtype),
    )


def lookup(tables: Tables, numbers: NDArray[np.uint64]) -> Unsigned:
    """Return the row of the route table for each number, in the type of ``granules``."""
    rows = np.empty(len(numbers), tables.granules.dtype)
    size = min(len(numbers), PIECE_NUMBERS)
    place, index, cell = (np.empty(size, np.int64) for _ in range(3))
    member = np.empty(size, np.bool_)
    for begin in range(0, len(numbers), PIECE_NUMBERS):
        part, impossible = _possible(numbers[begin : begin + PIECE_NUMBERS])
        n = len(part)
        answer = rows[begin : begin + n]
        _lookup_piece(tables, part, answer, place[:n], index[:n], cell[:n], member[:n])
        if impossible is not None:
            answer[impossible] = INVALID_ROW
    return rows


def _lookup_piece(
    tables: Tables,
    numbers: NDArray[np.uint64],
    rows: Unsigned,
    place: NDArray[np.int64],
    index: NDArray[np.int64],
    cell: NDArray[np.int64],
    member: NDArray[np.bool_],
) -> None:
    """Write the rows of one piece into ``rows``; the other arrays are workspaces of its length."""
    _places(tables, numbers, place, index)
    _cells(tables, place, index, cell)
    cells, flag = cell.view(np.uint64), index.view(np.uint64)
    np.bitwise_and(numbers, _BIT_MASK, out=flag)
    np.right_shift(cells, flag, out=flag)
    np.bitwise_and(flag, _ONE, out=flag)
    np.not_equal(flag, _ZERO, out=member)
    found = int(np.count_nonzero(member))
    if 2 * found > len(numbers):
        # Most have a record: rank all, then ask the ranges for the few others only.
        bit = np.bitwise_and(numbers, _BIT_MASK, out=flag)
        rows[:] = tables.route.take(_ranks(cells, bit), mode="clip")
        if found < len(numbers):
            np.logical_not(member, out=member)
            others = member.nonzero()[0]
            rows[others] = _range_rows(tables, numbers.take(others), place.take(others))
    else:
        np.right_shift(place, _TO_GRANULE, out=place)
        tables.granules.take(place, out=rows, mode="clip")
        if found:
            with_record = member.nonzero()[0]
            bit = numbers.take(with_record)
            np.bitwise_and(bit, _BIT_MASK, out=bit)
            ranks = _ranks(cells.take(with_record), bit)
            rows[with_record] = tables.route.take(ranks, mode="clip")
        _settle_mixed(tables, numbers, rows)


def range_lookup(tables: Tables, numbers: NDArray[np.uint64]) -> Unsigned:
    """Return the row that the ranges alone give to each number, ported or not."""
    rows = np.empty(len(numbers), tables.granules.dtype)
    size = min(len(numbers), PIECE_NUMBERS)
    place, index = np.empty(size, np.int64), np.empty(size, np.int64)
    for begin in range(0, len(numbers), PIECE_NUMBERS):
        part, impossible = _possible(numbers[begin : begin + PIECE_NUMBERS])
        n = len(part)
        _places(tables, part, place[:n], index[:n])
        answer = rows[begin : begin + n]
        answer[:] = _range_rows(tables, part, place[:n])
        if impossible is not None:
            answer[impossible] = INVALID_ROW
    return rows


def find_records(
    tables: Tables, numbers: NDArray[np.uint64]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the positions in ``numbers`` that have a record, and the ranks of those records."""
    size = min(len(numbers), PIECE_NUMBERS)
    place, index, cell = (np.empty(size, np.int64) for _ in range(3))
    positions, ranks = [np.empty(0, np.intp)], [np.empty(0, np.intp)]
    for begin in range(0, len(numbers), PIECE_NUMBERS):
        part, _ = _possible(numbers[begin : begin + PIECE_NUMBERS])
        n = len(part)
        _places(tables, part, place[:n], index[:n])
        _cells(tables, place[:n], index[:n], cell[:n])
        cells = cell[:n].view(np.uint64)
        bit = part & _BIT_MASK
        with_record = ((cells >> bit) & _ONE).nonzero()[0]
        positions.append(with_record + begin)
        ranks.append(_ranks(cells.take(with_record), bit.take(with_record)))
    return np.concatenate(positions), np.concatenate(ranks)


def _possible(
    numbers: NDArray[np.uint64],
) -> tuple[NDArray[np.uint64], NDArray[np.bool_] | None]:
    """Put 0, which nobody holds, for what has more than 15 digits; say which are no numbers."""
    if np.maximum.reduce(numbers) <= NUMBER_MAX and np.minimum.reduce(numbers) > 0:
        return numbers, None
    # Unsigned wrap-around makes 0 the largest value of all: one comparison finds both.
    impossible = (numbers - _ONE) >= np.uint64(NUMBER_MAX)
    return np.where(impossible, _ZERO, numbers), impossible


def _places(
    tables: Tables,
    numbers: NDArray[np.uint64],
    place: NDArray[np.int64],
    index: NDArray[np.int64],
) -> None:
    """Write each number's place in the space of slots; below zero where its page has no slot."""
    signed = numbers.view(np.int64)
    np.right_shift(numbers, _TO_PAGE, out=index.view(np.uint64))
    tables.page_shift.take(index, out=place, mode="clip")
    np.add(place, signed, out=place)


def _cells(
    tables: Tables,
    place: NDArray[np.int64],
    index: NDArray[np.int64],
    cell: NDArray[np.int64],
) -> None:
    """Write the cell of each place into ``cell``; cell 0, which is empty, where there is none."""
    np.right_shift(place, _TO_CHUNK, out=index)
    tables.cell_shift.take(index, out=cell, mode="clip")
    np.right_shift(place, _TO_CELL, out=index)
    np.add(index, cell, out=index)
    tables.cells.take(index, out=cell.view(np.uint64), mode="clip")


def _ranks(cells: NDArray[np.uint64], bit: NDArray[np.uint64]) -> NDArray[np.intp]:
    """Return how many records lie before each number; the arguments are used up as workspaces."""
    np.left_shift(_ONE, bit, out=bit)
    np.subtract(bit, _ONE, out=bit)
    np.bitwise_and(bit, cells, out=bit)
    np.right_shift(cells, _RANK_SHIFT, out=cells)
    np.add(cells, np.bitwise_count(bit), out=cells)
    return cells.view(np.intp)


def _range_rows(tables: Tables, numbers: NDArray[np.uint64], place: NDArray[np.int64]) -> Unsigned:
    """Return the ranges' row of each number; ``place`` is used up as a workspace."""
    np.right_shift(place, _TO_GRANULE, out=place)
    rows = tables.granules.take(place, mode="clip")
    _settle_mixed(tables, numbers, rows)
    return rows


def _settle_mixed(tables: Tables, numbers: NDArray[np.uint64], rows: Unsigned) -> None:
    """Replace the marker by the row that a binary search over the pieces finds, in place."""
    mixed = (rows == tables.marker).nonzero()[0]
    if len(mixed) == 0:
        return
    keys = numbers.take(mixed)
    if len(keys) >= _SEARCH_SORTED_FROM:
        order = keys.argsort()
        mixed, keys = mixed.take(order), keys.take(order)
    pieces = tables.range_start.searchsorted(keys, side="right")
    pieces -= 1
    rows[mixed] = tables.range_route.take(pieces)
