"""How the tables of a snapshot are built: entries, heap and dictionaries, as docs/format.md says.

A granule is 1,024 numbers. Its entry holds what its range says and which of its cells of 54 numbers
hold a record; what else belongs to it follows in the heap. Records are encoded some blocks at a
time, so that temporaries stay small for any number of records.
"""

from __future__ import annotations

import contextlib
from functools import partial
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from numroute.index import layout
from numroute.index.content import ContentError
from numroute.model import NUMBER_MAX

Unsigned = NDArray[np.unsignedinteger]
Index = NDArray[np.int64]
Codes = NDArray[np.uint8] | NDArray[np.uint16]

_RECORDS_AT_ONCE = 1 << 20
"""Records encoded together; their temporaries take about a hundred megabytes."""

_TABLE_BYTES = 1 << 24
"""A byte for each route and group of granules whose routes are collected together."""

_ONE = np.uint64(1)
_GRANULE_MASK = np.uint64((1 << layout.GRANULE_SHIFT) - 1)


class TooManyRoutesError(Exception):
    """A group of granules has more routes than one dictionary holds."""


class Dictionaries:
    """Routes by code: each dictionary takes in the routes of group after group while they fit."""

    def __init__(self, routes: int, length: int = 0) -> None:
        """Begin the first dictionary behind ``length`` entries that exist already."""
        self.routes = routes
        self.pieces: list[Index] = []
        self._start = self._end = length
        self._code = np.full(routes, -1, np.int16)

    def add(self, rows: NDArray[np.int64]) -> tuple[int, NDArray[np.int16]]:
        """Take in the distinct rows of a group; return its start, and the code of each row.

        Raises TooManyRoutesError when they are more than one dictionary holds.
        """
        new = rows[self._code[rows] < 0]
        if self._end - self._start + len(new) > layout.CODES:
            if len(rows) > layout.CODES:
                raise TooManyRoutesError
            self._start = self._end
            self._code.fill(-1)
            new = rows
        first = self._end - self._start
        self._code[new] = np.arange(first, first + len(new), dtype=np.int16)
        self.pieces.append(new)
        self._end += len(new)
        return self._start, self._code[rows]


def build_bitmap(
    numbers: NDArray[np.uint64],
    rows: Unsigned,
    range_start: NDArray[np.uint64],
    range_route: Unsigned,
    routes: int,
) -> dict[str, NDArray[np.unsignedinteger]]:
    """Build the arrays from ascending, unique numbers with their rows, and from the ranges.

    ``routes`` is the length of the route table. Raises ContentError.
    """
    if routes > layout.ROWS_MAX:
        raise ContentError(f"{routes} routes are more than {layout.ROWS_MAX}")
    placed = placed_blocks(numbers, range_start, range_route)
    build = partial(_build, numbers, rows, range_start, range_route, placed, routes)
    for group_shift in range(layout.GROUP_SHIFT_MAX, -1, -1):
        with contextlib.suppress(TooManyRoutesError):
            return build(group_shift)
    # The routes of one granule are too many for a dictionary: a code is then the row itself.
    return build(None)


def _build(
    numbers: NDArray[np.uint64],
    rows: Unsigned,
    range_start: NDArray[np.uint64],
    range_route: Unsigned,
    placed: tuple[Index, Index],
    routes: int,
    group_shift: int | None,
) -> dict[str, NDArray[np.unsignedinteger]]:
    blocks = placed[0][np.unique(placed[1], return_index=True)[1]]
    count = (len(blocks) + 1) * layout.GRANULES_PER_BLOCK
    entries, records = np.zeros(count, np.uint64), np.zeros(count, np.int64)
    starts = np.zeros(1 if group_shift is None else count >> group_shift, np.uint32)
    dictionaries = Dictionaries(routes)
    heap = [np.zeros(1, np.uint64)]
    place = 1
    edges = numbers.searchsorted(
        np.append(blocks, blocks[-1:] + 1).astype(np.uint64) << np.uint64(layout.BLOCK_SHIFT)
    )
    for begin, end in _batches(edges):
        part = slice(int(edges[begin]), int(edges[end]))
        first_entry = (begin + 1) * layout.GRANULES_PER_BLOCK
        here = slice(first_entry, (end + 1) * layout.GRANULES_PER_BLOCK)
        granule_rows, strips = range_rows(blocks[begin:end], range_start, range_route)
        granule = (numbers[part] >> np.uint64(layout.GRANULE_SHIFT)).astype(np.int64)
        entry = (
            blocks[begin:end].searchsorted(granule >> (layout.BLOCK_SHIFT - layout.GRANULE_SHIFT))
        ) * (layout.GRANULES_PER_BLOCK) + (granule & (layout.GRANULES_PER_BLOCK - 1))
        codes: Codes = rows[part].astype(np.uint16)
        if group_shift is not None:
            codes, (groups, first_codes) = codes_of(entry >> group_shift, rows[part], dictionaries)
            starts[(here.start >> group_shift) + groups] = first_codes
        words, mask, places = encode(
            entry, numbers[part], codes, granule_rows == layout.MIXED, strips
        )
        entries[here] = granule_rows.astype(np.uint64) << np.uint64(layout.ROW_SHIFT)
        filled = (mask != 0) | (granule_rows == layout.MIXED)
        at = (places + place).astype(np.uint64) << np.uint64(layout.PLACE_SHIFT)
        entries[here] |= np.where(filled, mask | at, np.uint64(0))
        records[here] = np.bincount(entry, minlength=len(granule_rows))
        heap.append(words)
        place += len(words)
        if place > layout.PLACE_MASK:
            raise ContentError("the records take more room than the heap has")
    top, sub = page_tables(*placed)
    dictionary = np.concatenate([*dictionaries.pieces, np.empty(0, np.int64)])
    return {
        layout.TOP: top,
        layout.SUB: sub,
        layout.ENTRIES: entries,
        layout.HEAP: np.concatenate(heap),
        layout.DICTIONARY: dictionary.astype(np.uint16),
        layout.DICTIONARY_START: starts,
        **ranks_of(records),
    }


def placed_blocks(
    numbers: NDArray[np.uint64], range_start: NDArray[np.uint64], range_route: Unsigned
) -> tuple[Index, Index]:
    """Return the blocks, ascending, that hold a record or a part of a held piece, and their places.

    Blocks without records that lie whole in pieces of one row share a place.
    """
    held = np.flatnonzero(range_route != layout.OUTSIDE_ROW)
    after = np.append(range_start[1:], np.uint64(NUMBER_MAX + 1))
    first = (range_start[held] >> np.uint64(layout.BLOCK_SHIFT)).astype(np.int64)
    count = ((after[held] - _ONE) >> np.uint64(layout.BLOCK_SHIFT)).astype(np.int64) - first + 1
    if int(count.sum()) > layout.BLOCKS_MAX + len(held):
        raise ContentError("the ranges hold more numbers than the format has room for")
    of_ranges = np.repeat(first - (count.cumsum() - count), count) + np.arange(count.sum())
    pieces = [of_ranges]
    for begin in range(0, len(numbers), _RECORDS_AT_ONCE):
        part = numbers[begin : begin + _RECORDS_AT_ONCE] >> np.uint64(layout.BLOCK_SHIFT)
        pieces.append(part[np.flatnonzero(np.diff(part, append=part[-1:] + _ONE))].astype(np.int64))
    blocks = np.unique(np.concatenate(pieces))
    piece = range_start.searchsorted(
        blocks.astype(np.uint64) << np.uint64(layout.BLOCK_SHIFT), "right"
    )
    ends = np.append(range_start, np.uint64(1 << 63))[piece]
    alone = ends < (blocks + 1).astype(np.uint64) << np.uint64(layout.BLOCK_SHIFT)
    alone |= np.isin(blocks, np.concatenate([*pieces[1:], blocks[:0]]))
    places = places_of(np.where(alone, layout.ROWS_MAX + blocks, range_route.take(piece - 1)))
    if int(places.max(initial=0)) > layout.BLOCKS_MAX:
        raise ContentError(f"{len(blocks)} blocks of 2^{layout.BLOCK_SHIFT} numbers are in use")
    return blocks, places


def places_of(content: Index) -> Index:
    """Return the place of each block, from 1 on, in the order in which contents first occur."""
    _, first, which = np.unique(content, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int64)
    rank[first.argsort()] = np.arange(1, len(first) + 1)
    return rank[which]


def ranks_of(records: Index) -> dict[str, NDArray[np.unsignedinteger]]:
    """Return ``ranks`` and ``ranks_within`` for granules, given the records of each."""
    before = np.append(0, records.cumsum())
    ranks = before[:: 1 << layout.RANK_GROUP_SHIFT]
    within = before[:-1].reshape(-1, 1 << layout.RANK_GROUP_SHIFT) - ranks[:-1, None]
    return {
        layout.RANKS: ranks.astype(np.uint32),
        layout.RANKS_WITHIN: np.append(within.reshape(-1), 0).astype(np.uint16),
    }


def records_by_row(rows: Unsigned, routes: int) -> NDArray[np.uint32]:
    """Return how many records each row of the route table has."""
    counts = np.zeros(routes, np.int64)
    for begin in range(0, len(rows), _RECORDS_AT_ONCE):
        counts += np.bincount(rows[begin : begin + _RECORDS_AT_ONCE], minlength=routes)
    return counts.astype(np.uint32)


def page_tables(blocks: Index, places: Index) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """Return ``top`` and ``sub`` for blocks, ascending, and their places."""
    page = blocks >> (layout.PAGE_SHIFT - layout.BLOCK_SHIFT)
    pages = np.unique(page)
    top = np.zeros(int(pages[-1]) + 1 if len(pages) else 1, np.uint32)
    top[pages] = np.arange(1, len(pages) + 1)
    sub = np.zeros((len(pages) + 1) * layout.BLOCKS_PER_PAGE, np.uint32)
    sub[
        top[page].astype(np.int64) * layout.BLOCKS_PER_PAGE
        + (blocks & (layout.BLOCKS_PER_PAGE - 1))
    ] = places
    return top, sub


def range_rows(
    blocks: Index, range_start: NDArray[np.uint64], range_route: Unsigned
) -> tuple[NDArray[np.uint16], NDArray[np.uint16]]:
    """Return the row or the marker of each granule of some blocks, and those of mixed ones' strips.

    The strips are uint16[mixed granules, 32].
    """
    granule = (blocks[:, None] << (layout.BLOCK_SHIFT - layout.GRANULE_SHIFT)) + np.arange(
        layout.GRANULES_PER_BLOCK
    )
    first = granule.astype(np.uint64).reshape(-1) << np.uint64(layout.GRANULE_SHIFT)
    rows = _rows_of_parts(first, 1 << layout.GRANULE_SHIFT, range_start, range_route)
    mixed = first[rows == layout.MIXED]
    offsets = np.arange(layout.STRIPS_PER_GRANULE, dtype=np.uint64) << np.uint64(layout.STRIP_SHIFT)
    strips = _rows_of_parts(
        (mixed[:, None] + offsets).reshape(-1), 1 << layout.STRIP_SHIFT, range_start, range_route
    )
    return rows, strips.reshape(-1, layout.STRIPS_PER_GRANULE)


def _rows_of_parts(
    first: NDArray[np.uint64], size: int, range_start: NDArray[np.uint64], range_route: Unsigned
) -> NDArray[np.uint16]:
    """Return the row of each part of ``size`` numbers, the marker where several pieces share it."""
    piece = range_start.searchsorted(first, side="right")
    ends = np.append(range_start, np.uint64(1 << 63))[piece]
    rows = range_route.take(piece - 1).astype(np.uint16)
    rows[ends < first + np.uint64(size)] = layout.MIXED
    return rows


def encode(
    entry: Index,
    numbers: NDArray[np.uint64],
    codes: Codes,
    mixed: NDArray[np.bool_],
    strips: NDArray[np.uint16],
) -> tuple[NDArray[np.uint64], NDArray[np.uint64], Index]:
    """Return the words that some granules take in the heap; for each, its used cells and its place.

    A place is where the granule's cells begin in the words. ``entry``, ``numbers``, ``codes``: for
    each record, ascending: which of the granules it belongs to, int64; its number; its code, of a
    type of as many bytes as one takes. ``mixed``: for each granule, whether rows of its strips come
    before its cells; ``strips``: uint16[mixed ones, 32].
    """
    granules = len(mixed)
    low = (numbers & _GRANULE_MASK).astype(np.int64)
    cell = (low * layout.CELL_FACTOR) >> layout.CELL_FACTOR_SHIFT
    key = entry * layout.CELLS_PER_GRANULE + cell
    opens = np.flatnonzero(np.diff(key, prepend=-1))
    records = np.bincount(entry, minlength=granules)
    first_record = np.cumsum(records) - records
    of_cell = entry[opens]
    cells = np.bincount(of_cell, minlength=granules)
    first_cell = np.cumsum(cells) - cells
    mask = np.zeros(granules, np.uint64)
    if len(opens):
        granule_opens = np.flatnonzero(np.diff(of_cell, prepend=-1))
        used = np.bitwise_or.reduceat(_ONE << cell[opens].astype(np.uint64), granule_opens)
        mask[of_cell[granule_opens]] = used
    code_words = (records * codes.itemsize + 7) // 8
    before = np.where(mixed, layout.STRIP_WORDS, 0)
    length = before + cells + code_words
    place = np.cumsum(length) - length + before
    words = np.zeros(int(length.sum()), np.uint64)
    at = place[mixed] * 4 - layout.STRIPS_PER_GRANULE
    words.view(np.uint16)[at[:, None] + np.arange(layout.STRIPS_PER_GRANULE)] = strips
    if len(numbers):
        bits = np.add.reduceat(_ONE << (low - cell * layout.CELL_NUMBERS).astype(np.uint64), opens)
        rank = (opens - first_record[of_cell]).astype(np.uint64)
        words[(place - first_cell)[of_cell] + np.arange(len(opens))] = bits | (
            rank << np.uint64(layout.RANK_SHIFT)
        )
        begin = (place + cells) * (8 // codes.itemsize) - first_record
        words.view(codes.dtype)[begin[entry] + np.arange(len(entry))] = codes
    return words, mask, place


def codes_of(
    group: Index, rows: Unsigned, dictionaries: Dictionaries
) -> tuple[NDArray[np.uint8], tuple[Index, Index]]:
    """Return each record's code, and the groups with records and where their dictionaries begin."""
    routes = dictionaries.routes
    opens = np.flatnonzero(np.diff(group, prepend=-1))
    ends = np.append(opens, len(group))
    starts = np.empty(len(opens), np.int64)
    codes = np.empty(len(group), np.uint8)
    step = max(1, _TABLE_BYTES // routes)
    for first in range(0, len(opens), step):
        last = min(first + step, len(opens))
        part = slice(int(ends[first]), int(ends[last]))
        number = np.repeat(np.arange(last - first), np.diff(ends[first : last + 1]))
        key = number * routes + rows[part]
        code_of = np.zeros((last - first) * routes, np.uint8)
        code_of[key] = 1
        used = np.flatnonzero(code_of.view(np.bool_))
        edges = used.searchsorted(np.arange(last - first + 1) * routes).tolist()
        for at, (begin, end) in enumerate(pairwise(edges)):
            starts[first + at], code = dictionaries.add(used[begin:end] - at * routes)
            code_of[used[begin:end]] = code
        codes[part] = code_of[key]
    return codes, (group[opens], starts)


def _batches(edges: Index) -> list[tuple[int, int]]:
    """Cut blocks, given where their records begin, into batches of not too many records."""
    batches, begin, blocks = [], 0, len(edges) - 1
    while begin < blocks:
        end = int(edges.searchsorted(edges[begin] + _RECORDS_AT_ONCE, side="right")) - 1
        end = min(max(end, begin + 1), blocks, begin + 4096)
        batches.append((begin, end))
        begin = end
    return batches
