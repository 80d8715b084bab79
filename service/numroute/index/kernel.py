"""The lookup kernel: whole-array operations from numbers to rows of the route table.

A batch is worked off in pieces so that temporaries stay in cache; nothing is done per number in
Python. Every index is formed so that what is not in the tables falls below zero and is clipped to
entry 0, which always says "none": there is no branch on membership of pages or chunks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from numroute.index.layout import (
    BIT_BITS,
    CELLS_PER_CHUNK,
    CHUNK_SHIFT,
    CHUNKS_PER_PAGE,
    GRANULE_SHIFT,
    INVALID_ROW,
    PAGE_SHIFT,
    UNALLOCATED_ROW,
    mixed_marker,
)
from numroute.model import NUMBER_MAX

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    Unsigned = NDArray[np.unsignedinteger]

PIECE_NUMBERS = 32_768
"""Numbers worked on at once. Measured best of 8,192 to 65,536: three temporaries fill half of a
1 MiB second-level cache, and numpy's fixed cost per call is spread over enough numbers."""

_NOWHERE = -(1 << 62)
"""Added to a place within a page or to a cell's number it stays below zero, so that the index is
clipped to 0."""

_FILL_FROM = 4_096
_FILL_SHARE = 8
"""numpy finds the true entries of a sparse array (a tenth of it or less) by jumping from one to the
next, and mispredicts most of the jumps: 1.1 ns per entry at 7 %. A denser array it walks without
branches, at 0.4 ns. So an eighth more of true entries is appended and cut off again; below
`_FILL_FROM` entries that costs more than it saves."""

_CHUNKS_AT_ONCE = 256
"""Chunks whose numbers are listed together: a byte for each number, 16 MiB."""

_SEARCH_SORTED_FROM = 16
"""From this many keys on, sorting them first makes the binary searches cheaper than it costs."""

# Constants as arrays without dimensions: a ufunc takes one of the other operand's type in half the
# time that it needs to convert a scalar, and a small batch is all such overhead.
_ZERO = np.array(0, np.uint64)
_ONE = np.array(1, np.uint64)
_BIT_MASK = np.array((1 << BIT_BITS) - 1, np.uint64)
_PAGE_MASK = np.array((1 << PAGE_SHIFT) - 1, np.uint64)
_RANK_SHIFT = np.array(32, np.uint64)
_NUMBERS = np.array(NUMBER_MAX, np.uint64)
_TO_PAGE = np.array(PAGE_SHIFT, np.uint64)
_TO_CHUNK = np.array(CHUNK_SHIFT, np.int64)
_TO_CELL = np.array(BIT_BITS, np.int64)
_TO_GRANULE = np.array(GRANULE_SHIFT, np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tables:
    """The arrays of a snapshot in the form that the kernel reads.

    ``page_place``: int64[pages + 1], the place of the page's first number in the space of slots;
    the last entry serves all higher pages. ``cell_shift``: int64[chunk tables],
    what to add to a place's cell number to get its index in ``cells``.
    """

    page_place: NDArray[np.int64]
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
    """Derive the two small tables of places from the stored page and chunk tables."""
    used = np.flatnonzero(pages)
    page_place = np.full(len(pages) + 1, _NOWHERE, np.int64)
    page_place[used] = pages[used].astype(np.int64) << PAGE_SHIFT
    cell_shift = np.full(len(chunks), _NOWHERE, np.int64)
    in_use = np.flatnonzero(chunks)
    cell_shift[in_use] = (chunks[in_use].astype(np.int64) - in_use) * CELLS_PER_CHUNK
    return Tables(
        page_place=page_place,
        cell_shift=cell_shift,
        cells=cells,
        route=route,
        granules=granules,
        range_start=range_start,
        range_route=range_route,
        marker=mixed_marker(granules.dtype),
    )


def chunks_in_use(tables: Tables) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the chunks that hold records, ascending, and the block of each one's cells.

    A chunk is named by its numbers without their low 16 bits.
    """
    entries = (tables.cell_shift != _NOWHERE).nonzero()[0]
    pages = (tables.page_place != _NOWHERE).nonzero()[0]
    page_of_slot = np.zeros(len(tables.cell_shift) // CHUNKS_PER_PAGE, np.int64)
    page_of_slot[tables.page_place[pages] >> PAGE_SHIFT] = pages
    page = page_of_slot[entries // CHUNKS_PER_PAGE]
    chunks = (page * CHUNKS_PER_PAGE) + entries % CHUNKS_PER_PAGE
    blocks = tables.cell_shift[entries] // CELLS_PER_CHUNK + entries
    order = chunks.argsort()
    return chunks[order], blocks[order]


def lookup(tables: Tables, numbers: NDArray[np.uint64]) -> Unsigned:
    """Return the row of the route table for each number, in the type of ``granules``."""
    rows = np.empty(len(numbers), tables.granules.dtype)
    size = min(len(numbers), PIECE_NUMBERS)
    place, index, cell = (np.empty(size, np.int64) for _ in range(3))
    member = np.empty(size + size // _FILL_SHARE + 1, np.bool_)
    for begin in range(0, len(numbers), PIECE_NUMBERS):
        part = numbers[begin : begin + PIECE_NUMBERS]
        n = len(part)
        answer = rows[begin : begin + n]
        _lookup_piece(tables, part, answer, place[:n], index[:n], cell[:n], member)
        _refuse_impossible(part, answer)
    return rows


def _lookup_piece(
    tables: Tables,
    numbers: NDArray[np.uint64],
    rows: Unsigned,
    place: NDArray[np.int64],
    index: NDArray[np.int64],
    cell: NDArray[np.int64],
    flags: NDArray[np.bool_],
) -> None:
    """Write the rows of one piece into ``rows``.

    The other arrays are workspaces of its length; ``flags`` has an eighth more for `_positions`.
    """
    _places(tables, numbers, place, index)
    _cells(tables, place, index, cell)
    cells, flag = cell.view(np.uint64), index.view(np.uint64)
    np.bitwise_and(numbers, _BIT_MASK, out=flag)
    np.right_shift(cells, flag, out=flag)
    np.bitwise_and(flag, _ONE, out=flag)
    member = flags[: len(numbers)]
    np.not_equal(flag, _ZERO, out=member)
    found = int(np.count_nonzero(member))
    if 2 * found > len(numbers):
        # Most have a record: rank all, then ask the ranges for the few others only.
        bit = np.bitwise_and(numbers, _BIT_MASK, out=flag)
        rows[:] = tables.route.take(_ranks(cells, bit), mode="clip")
        if found < len(numbers):
            np.logical_not(member, out=member)
            others = _positions(flags, len(numbers), len(numbers) - found)
            rows[others] = _range_rows(tables, numbers.take(others), place.take(others))
    else:
        np.right_shift(place, _TO_GRANULE, out=place)
        tables.granules.take(place, out=rows, mode="clip")
        if found:
            with_record = _positions(flags, len(numbers), found)
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
        part = numbers[begin : begin + PIECE_NUMBERS]
        n = len(part)
        answer = rows[begin : begin + n]
        _places(tables, part, place[:n], index[:n])
        answer[:] = _range_rows(tables, part, place[:n])
        _refuse_impossible(part, answer)
    return rows


def find_records(
    tables: Tables, numbers: NDArray[np.uint64]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the positions in ``numbers`` that have a record, and the ranks of those records."""
    size = min(len(numbers), PIECE_NUMBERS)
    place, index, cell = (np.empty(size, np.int64) for _ in range(3))
    positions, ranks = [np.empty(0, np.intp)], [np.empty(0, np.intp)]
    for begin in range(0, len(numbers), PIECE_NUMBERS):
        part = numbers[begin : begin + PIECE_NUMBERS]
        n = len(part)
        _places(tables, part, place[:n], index[:n])
        _cells(tables, place[:n], index[:n], cell[:n])
        cells = cell[:n].view(np.uint64)
        bit = part & _BIT_MASK
        with_record = ((cells >> bit) & _ONE).nonzero()[0]
        positions.append(with_record + begin)
        ranks.append(_ranks(cells.take(with_record), bit.take(with_record)))
    return np.concatenate(positions), np.concatenate(ranks)


def locate(
    tables: Tables, numbers: NDArray[np.uint64]
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Return for each number whether it has a record, and how many records lie before it."""
    ids, blocks, first_ranks = _chunks_with_ranks(tables)
    chunk = (numbers >> np.uint64(CHUNK_SHIFT)).astype(np.int64)
    at = ids.searchsorted(chunk)
    in_use = np.append(ids, -1)[at] == chunk
    block = np.where(in_use, np.append(blocks, 0)[at], 0)
    within = ((numbers >> np.uint64(BIT_BITS)) & np.uint64(CELLS_PER_CHUNK - 1)).astype(np.int64)
    cells = tables.cells[block * CELLS_PER_CHUNK + within]
    bit = numbers & _BIT_MASK
    member = (cells >> bit) & _ONE != 0
    # In a chunk without records nothing precedes but what lies before the next one in use.
    rank = np.where(in_use, _ranks(cells, bit), first_ranks[at])
    return member, rank


def records(tables: Tables) -> Iterator[tuple[NDArray[np.uint64], int, int]]:
    """Yield the numbers of all records, ascending, in pieces of some chunks.

    With each come how many records lie before it, and up to which number (exclusive) it holds all
    records that the pieces before it do not. The last piece has no end but the largest number.
    """
    ids, blocks, first_ranks = _chunks_with_ranks(tables)
    for begin in range(0, max(1, len(ids)), _CHUNKS_AT_ONCE):
        end = begin + _CHUNKS_AT_ONCE
        until = int(ids[end]) << CHUNK_SHIFT if end < len(ids) else NUMBER_MAX + 1
        numbers = _numbers_in(tables, ids[begin:end], blocks[begin:end])
        yield numbers, int(first_ranks[begin]), until


def numbers_at(tables: Tables, ranks: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Return the numbers of the records with these ranks (ascending)."""
    if not len(ranks):
        return np.empty(0, np.uint64)
    ids, blocks, first_ranks = _chunks_with_ranks(tables)
    chunks = first_ranks[:-1].searchsorted(ranks, side="right") - 1
    numbers = []
    while len(ranks):
        first = int(chunks[0])
        count = int(chunks.searchsorted(first + _CHUNKS_AT_ONCE))
        part = slice(first, int(chunks[count - 1]) + 1)
        numbers.append(
            _numbers_in(tables, ids[part], blocks[part])[ranks[:count] - first_ranks[first]]
        )
        ranks, chunks = ranks[count:], chunks[count:]
    return np.concatenate(numbers)


def _chunks_with_ranks(
    tables: Tables,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return the chunks in use, their blocks, and the records before each and after the last."""
    ids, blocks = chunks_in_use(tables)
    first = (tables.cells[blocks * CELLS_PER_CHUNK] >> _RANK_SHIFT).astype(np.int64)
    return ids, blocks, np.append(first, len(tables.route))


def _numbers_in(
    tables: Tables, ids: NDArray[np.int64], blocks: NDArray[np.int64]
) -> NDArray[np.uint64]:
    """Return the numbers that have a record in some chunks, given their ids and blocks."""
    bits = tables.cells.reshape(-1, CELLS_PER_CHUNK)[blocks].astype("<u4").view(np.uint8)
    places = np.unpackbits(bits, axis=1, bitorder="little").reshape(-1).nonzero()[0]
    numbers: NDArray[np.int64] = ids[places >> CHUNK_SHIFT] << CHUNK_SHIFT
    numbers |= places & ((1 << CHUNK_SHIFT) - 1)
    return numbers.view(np.uint64)


def _places(
    tables: Tables,
    numbers: NDArray[np.uint64],
    place: NDArray[np.int64],
    index: NDArray[np.int64],
) -> None:
    """Write each number's place in the space of slots; below zero where its page has no slot."""
    within = index.view(np.uint64)
    np.right_shift(numbers, _TO_PAGE, out=within)
    tables.page_place.take(index, out=place, mode="clip")
    np.bitwise_and(numbers, _PAGE_MASK, out=within)
    np.add(place, index, out=place)


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


def _positions(flags: NDArray[np.bool_], n: int, found: int) -> NDArray[np.intp]:
    """Return where the first ``n`` flags are true; ``found`` is how many are.

    ``flags`` has at least ``n + n // _FILL_SHARE`` entries; those behind the first n are used up.
    """
    if n < _FILL_FROM:
        return flags[:n].nonzero()[0]
    filled = n + n // _FILL_SHARE
    flags[n:filled] = True
    return flags[:filled].nonzero()[0][:found]


def _refuse_impossible(numbers: NDArray[np.uint64], rows: Unsigned) -> None:
    """Answer INVALID for 0 and for what has more than 15 digits, in place.

    Nobody holds such a number, so only unallocated ones need a look.
    """
    if np.minimum.reduce(rows) != UNALLOCATED_ROW:
        return
    unallocated = (rows == UNALLOCATED_ROW).nonzero()[0]
    # Unsigned wrap-around makes 0 the largest value of all: one comparison finds both.
    impossible = (numbers.take(unallocated) - _ONE) >= _NUMBERS
    rows[unallocated[impossible]] = INVALID_ROW
