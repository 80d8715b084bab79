"""Read the tables by whole-array operations of numpy: look batches up, list records in order.

These lookups are the base of all kernels, always there. A batch is worked off in pieces so that
temporaries stay in cache; nothing is done per number in Python. What is not in the tables falls on
block 0, whose entries are zeros, and what has no record on word 0 of the heap, which is 0: there is
no branch on a number.

Records are listed to compare snapshots and to apply increments; lookups never do it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from numroute.index import layout
from numroute.index.bitmap import ranks_of
from numroute.model import NUMBER_MAX

Index = NDArray[np.int64]
Words = NDArray[np.uint64]
Rows = NDArray[np.uint16]

PIECE_NUMBERS = 8_192
"""Numbers worked on at once: temporaries of 64 KiB stay in cache, and the allocator keeps them."""

SMALL_NUMBERS = 256
"""In batches up to this size all numbers take every step: to select those that need one costs more
than the step."""

_BLOCKS_AT_ONCE = 256
"""Blocks whose records are listed together."""

_SEARCH_SORTED_FROM = 16
"""From this many keys on, sorting them first makes the binary searches cheaper than it costs."""

# Constants as arrays without dimensions: a ufunc takes one of the other operand's type in half the
# time that it needs to convert a scalar.
_ONE = np.array(1, np.uint64)
_NUMBERS = np.array(NUMBER_MAX, np.uint64)
_PAGE = np.array(layout.PAGE_SHIFT, np.uint64)
_BLOCK = np.array(layout.BLOCK_SHIFT, np.uint64)
_GRANULE = np.array(layout.GRANULE_SHIFT, np.uint64)
_STRIP = np.array(layout.STRIP_SHIFT, np.uint64)
_IN_PAGE = np.array(layout.BLOCKS_PER_PAGE - 1, np.uint64)
_IN_BLOCK = np.array(layout.GRANULES_PER_BLOCK - 1, np.uint64)
_IN_GRANULE = np.array((1 << layout.GRANULE_SHIFT) - 1, np.uint64)
_FACTOR = np.array(layout.CELL_FACTOR, np.uint64)
_FACTOR_SHIFT = np.array(layout.CELL_FACTOR_SHIFT, np.uint64)
_CELL = np.array(layout.CELL_NUMBERS, np.uint64)
_CELLS = np.array(layout.CELL_MASK, np.uint64)
_PLACE_SHIFT = np.array(layout.PLACE_SHIFT, np.uint64)
_PLACE = np.array(layout.PLACE_MASK, np.uint64)
_ROW = np.array(layout.ROW_SHIFT, np.uint64)
_RANK = np.array(layout.RANK_SHIFT, np.uint64)
_MEMBERS = np.array((1 << layout.RANK_SHIFT) - 1, np.uint64)
_STRIPS = np.array(layout.STRIP_WORDS, np.uint64)
_HALVES = np.array(4, np.uint64)


class Tables:
    """The arrays of a snapshot in the form that the kernel reads.

    Attributes:
        top: int64[pages + 1], where the page's blocks begin in ``sub``; the last entry serves all
            higher pages.
        sub: int64, where the block's entries begin.
        ranks_within: None where no column of records is stored.
        strips, codes: The heap, seen as rows and as codes.
        code_shift: log2 of the codes in a word.
        group_shift: From an entry's number to its place in ``dictionary_start``.
    """

    def __init__(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Read stored arrays by key."""
        top = np.append(arrays[layout.TOP], np.uint32(0)).astype(np.int64)
        self.top: Index = top * layout.BLOCKS_PER_PAGE
        self.sub: Index = arrays[layout.SUB].astype(np.int64) * layout.GRANULES_PER_BLOCK
        self.entries: Words = arrays[layout.ENTRIES]
        self.ranks: NDArray[np.uint32] = arrays[layout.RANKS]
        self.ranks_within: Rows | None = arrays.get(layout.RANKS_WITHIN)
        self.heap: Words = arrays[layout.HEAP]
        self.strips: Rows = self.heap.view(np.uint16)
        self.codes: NDArray[np.uint8] | Rows = self.heap.view(np.uint8)
        self.code_shift = 3
        self.dictionary: Rows = arrays[layout.DICTIONARY]
        self.dictionary_start: NDArray[np.uint32] = arrays[layout.DICTIONARY_START]
        self.group_shift = (len(self.entries) // len(self.dictionary_start)).bit_length() - 1
        self.range_start: Words = arrays[layout.RANGE_START]
        self.range_route: Rows = arrays[layout.RANGE_ROUTE]
        if len(self.dictionary_start) == 1:
            # A code is the row itself: one dictionary serves all.
            self.codes, self.code_shift, self.group_shift = self.strips, 2, 63
            self.dictionary = np.arange(layout.MIXED + 1, dtype=np.uint16)

    def ranks_at(self, index: Index) -> Index:
        """Return how many records lie before the granules of these entries."""
        ranks = self.ranks.take(index >> layout.RANK_GROUP_SHIFT).astype(np.int64)
        ranks += self._within.take(index)
        return ranks

    @cached_property
    def _within(self) -> Rows:
        """What ``ranks_within`` holds, or would hold: computed, the whole heap is read for it."""
        if self.ranks_within is not None:
            return self.ranks_within
        return ranks_of(self.records_of_granules)[layout.RANKS_WITHIN]

    @cached_property
    def records_of_granules(self) -> Index:
        """How many records each granule has: the last of its cells says how many lie before it."""
        used = self.entries & _CELLS
        filled = used.nonzero()[0]
        place = places_of_entries(self.entries[filled])
        last = self.heap[place + np.bitwise_count(used[filled]) - 1]
        records = np.zeros(len(used), np.int64)
        records[filled] = (last >> _RANK) + np.bitwise_count(last & _MEMBERS)
        return records

    @cached_property
    def blocks(self) -> Index:
        """The blocks in order of their places, ascending: numbers without their low 18 bits.

        Blocks that share a place count once, by the first of them.
        """
        blocks, places = self.places
        return blocks[np.unique(places, return_index=True)[1]]

    @cached_property
    def places(self) -> tuple[Index, Index]:
        """The blocks that have a place, ascending, and their places, from 1 on."""
        pages = self.top[:-1].nonzero()[0]
        place = self.sub[self.top[pages][:, None] + np.arange(layout.BLOCKS_PER_PAGE)]
        used = place.nonzero()
        blocks = pages[used[0]] * layout.BLOCKS_PER_PAGE + used[1]
        return blocks, place[used] // layout.GRANULES_PER_BLOCK

    @cached_property
    def addresses(self) -> Words:
        """What the compiled function takes: addresses of arrays, lengths and shifts."""
        pages, pieces = len(self.top) - 1, len(self.range_start)
        lookups = (self.top, pages, self.sub, self.entries, self.heap, self.code_shift)
        routes = (self.dictionary, self.dictionary_start, self.group_shift)
        ranges = (self.range_start, pieces, self.range_route)
        words = (*lookups, *routes, *ranges)
        return np.array(
            [each if isinstance(each, int) else each.ctypes.data for each in words], np.uint64
        )


def _pieces(numbers: Words) -> Iterator[tuple[slice, Words]]:
    """Yield pieces and their places, aligned: the numbers of a request stand at any address."""
    for begin in range(0, len(numbers), PIECE_NUMBERS):
        place = slice(begin, begin + PIECE_NUMBERS)
        part = numbers[place]
        yield place, part if part.flags.aligned else part.copy()


def lookup_batch(tables: Tables, numbers: Words, rows: Rows) -> None:
    """Write the row of the route table for each number, which need not be aligned."""
    for place, part in _pieces(numbers):
        _lookup_piece(tables, part, rows[place])


def _lookup_piece(tables: Tables, numbers: Words, rows: Rows) -> None:
    index = entries_of(tables, numbers)
    entry = tables.entries.take(index, mode="clip")
    low = numbers & _IN_GRANULE
    rows[:] = entry >> _ROW
    _settle_mixed(tables, numbers, entry, low, rows)
    small = len(numbers) <= SMALL_NUMBERS
    with_cell = None if small else _places_unless_most(cell_hits(entry, low))
    if with_cell is not None:
        entry, low, index = entry.take(with_cell), low.take(with_cell), index.take(with_cell)
    rank, first_code, member = _ranks(tables, entry, low)
    found = int(np.count_nonzero(member))
    if found and (small or 2 * found > len(member)):
        # What those without a record read is thrown away.
        fresh = _routes(tables, index, first_code, rank)
        if with_cell is None:
            np.copyto(rows, fresh, where=member)
        else:
            rows[with_cell.compress(member)] = fresh.compress(member)
    elif found:
        places = member.nonzero()[0]
        fresh = _routes(tables, index.take(places), first_code.take(places), rank.take(places))
        rows[places if with_cell is None else with_cell.take(places)] = fresh
    refuse_impossible(numbers, rows)


def cell_hits(entry: Words, low: Words) -> NDArray[np.bool_]:
    """Return which numbers lie in a cell with a record."""
    cell = low * _FACTOR
    np.right_shift(cell, _FACTOR_SHIFT, out=cell)
    np.right_shift(entry, cell, out=cell)
    hit: NDArray[np.bool_] = (cell & _ONE).astype(np.bool_)
    return hit


def _places_unless_most(hit: NDArray[np.bool_]) -> NDArray[np.intp] | None:
    """Return the places of hits; None where most are, and all may be asked."""
    return None if 2 * int(np.count_nonzero(hit)) > len(hit) else hit.nonzero()[0]


def entries_of(tables: Tables, numbers: Words) -> Index:
    """Return the place of each number's entry."""
    part = numbers >> _PAGE
    index = tables.top.take(part.view(np.int64), mode="clip")
    np.right_shift(numbers, _BLOCK, out=part)
    np.bitwise_and(part, _IN_PAGE, out=part)
    np.add(index, part.view(np.int64), out=index)
    index = tables.sub.take(index, mode="clip")
    np.right_shift(numbers, _GRANULE, out=part)
    np.bitwise_and(part, _IN_BLOCK, out=part)
    np.add(index, part.view(np.int64), out=index)
    return index


def _ranks(tables: Tables, entry: Words, low: Words) -> tuple[Words, Words, NDArray[np.bool_]]:
    """Return, for each number, how many records of its granule lie before it, and more.

    The others are the word at which the codes of the granule begin, and whether the number has a
    record. A number whose cell holds none reads the cell behind, which says the same; where no cell
    follows the rank is that of the heap's next word and means nothing.
    """
    cell = low * _FACTOR
    np.right_shift(cell, _FACTOR_SHIFT, out=cell)
    bit = low - cell * _CELL
    used = entry & _CELLS
    place = (entry >> _PLACE_SHIFT) & _PLACE
    below = np.left_shift(_ONE, cell)
    np.subtract(below, _ONE, out=below)
    np.bitwise_and(below, used, out=below)
    word = place + np.bitwise_count(below)
    np.right_shift(used, cell, out=cell)
    np.bitwise_and(cell, _ONE, out=cell)
    content = tables.heap.take(word.view(np.int64), mode="clip")
    np.left_shift(cell, bit, out=bit)
    member = (content & bit).astype(np.bool_)
    np.subtract(np.maximum(bit, _ONE), _ONE, out=bit)
    np.bitwise_and(bit, content, out=bit)
    np.right_shift(content, _RANK, out=content)
    rank = np.add(content, np.bitwise_count(bit), out=content)
    return rank, np.add(place, np.bitwise_count(used), out=place), member


def _routes(tables: Tables, index: Index, first_code: Words, rank: Words) -> Rows:
    place = np.left_shift(first_code, np.uint64(tables.code_shift))
    np.add(place, rank, out=place)
    code = tables.codes.take(place.view(np.int64), mode="clip")
    start = tables.dictionary_start.take(index >> tables.group_shift, mode="clip")
    return tables.dictionary.take(start + code, mode="clip")


def _settle_mixed(tables: Tables, numbers: Words, entry: Words, low: Words, rows: Rows) -> None:
    """Replace the marker by the row of the strip, or by what a binary search finds, in place."""
    mixed = (rows == layout.MIXED).nonzero()[0]
    if not len(mixed):
        return
    place = (entry.take(mixed) >> _PLACE_SHIFT) & _PLACE
    np.subtract(place, _STRIPS, out=place)
    np.multiply(place, _HALVES, out=place)
    np.add(place, low.take(mixed) >> _STRIP, out=place)
    settled = tables.strips.take(place.view(np.int64), mode="clip")
    left = (settled == layout.MIXED).nonzero()[0]
    if len(left):
        keys = numbers.take(mixed.take(left))
        if len(keys) >= _SEARCH_SORTED_FROM:
            order = keys.argsort()
            left, keys = left.take(order), keys.take(order)
        settled[left] = tables.range_route.take(
            tables.range_start.searchsorted(keys, side="right") - 1
        )
    rows[mixed] = settled


def refuse_impossible(numbers: Words, rows: Rows) -> None:
    """Answer INVALID for 0 and for what has more than 15 digits, in place.

    No plan holds such a number, so only those outside need a look.
    """
    if np.minimum.reduce(rows) != layout.OUTSIDE_ROW:
        return
    outside = (rows == layout.OUTSIDE_ROW).nonzero()[0]
    # Unsigned wrap-around makes 0 the largest value of all: one comparison finds both.
    impossible = (numbers.take(outside) - _ONE) >= _NUMBERS
    rows[outside[impossible]] = layout.INVALID_ROW


def range_lookup(tables: Tables, numbers: Words) -> Rows:
    """Return the row that the ranges alone give to each number, ported or not."""
    rows = np.empty(len(numbers), np.uint16)
    for place, part in _pieces(numbers):
        answer = rows[place]
        entry = tables.entries.take(entries_of(tables, part), mode="clip")
        answer[:] = entry >> _ROW
        _settle_mixed(tables, part, entry, part & _IN_GRANULE, answer)
        refuse_impossible(part, answer)
    return rows


def find_records(tables: Tables, numbers: Words) -> tuple[NDArray[np.intp], Index]:
    """Return the positions in ``numbers`` that have a record, and the ranks of those records."""
    positions = [np.empty(0, np.intp)]
    ranks: list[Index] = [np.empty(0, np.int64)]
    for place, part in _pieces(numbers):
        index = entries_of(tables, part)
        entry = tables.entries.take(index, mode="clip")
        low = part & _IN_GRANULE
        with_cell = _places_unless_most(cell_hits(entry, low))
        if with_cell is not None:
            entry, low, index = entry.take(with_cell), low.take(with_cell), index.take(with_cell)
        rank, _, member = _ranks(tables, entry, low)
        found = member.nonzero()[0]
        ranks.append(rank.take(found).view(np.int64) + tables.ranks_at(index.take(found)))
        positions.append((found if with_cell is None else with_cell.take(found)) + place.start)
    return np.concatenate(positions), np.concatenate(ranks)


def locate(tables: Tables, numbers: Words) -> tuple[NDArray[np.bool_], Index]:
    """Return for each number whether it has a record, and how many records lie before it."""
    index = entries_of(tables, numbers)
    entry = tables.entries.take(index, mode="clip")
    low = numbers & _IN_GRANULE
    within, _, member = _ranks(tables, entry, low)
    # Behind the last used cell of a granule all of its records lie before.
    cell = (low * _FACTOR) >> _FACTOR_SHIFT
    behind = (entry & _CELLS) >> cell == 0
    first = tables.ranks_at(index)
    rank = np.where(behind, tables.ranks_at(index + 1), first + within.view(np.int64))
    # Outside these blocks, what lies before the next one.
    block = (numbers >> _BLOCK).astype(np.int64)
    place = tables.blocks.searchsorted(block)
    following = (place + 1) * layout.GRANULES_PER_BLOCK
    outside = np.append(tables.blocks, -1)[place] != block
    return member, np.where(outside, tables.ranks_at(following), rank)


def all_records(tables: Tables) -> tuple[Words, Rows]:
    """Return the numbers, ascending, and the rows of all records."""
    borders = [0, *edges(tables).tolist(), NUMBER_MAX + 1]
    pieces = (records_between(tables, *border) for border in pairwise(borders))
    numbers, rows = zip(*pieces, strict=True)
    return np.concatenate(numbers), np.concatenate(rows)


def edges(tables: Tables) -> Words:
    """Return numbers that cut the blocks into runs that are listed together."""
    return tables.blocks[_BLOCKS_AT_ONCE::_BLOCKS_AT_ONCE].astype(np.uint64) << _BLOCK


def records_between(tables: Tables, first: int, end: int) -> tuple[Words, Rows]:
    """Return the numbers and rows of the records from a block's first number to another's."""
    begin, behind = tables.blocks.searchsorted(
        [first >> layout.BLOCK_SHIFT, (end - 1 >> layout.BLOCK_SHIFT) + 1]
    ).tolist()
    index = np.arange(
        (begin + 1) * layout.GRANULES_PER_BLOCK, (behind + 1) * layout.GRANULES_PER_BLOCK
    )
    return decode(tables, index)


def decode(tables: Tables, index: Index) -> tuple[Words, Rows]:
    """Return the numbers and rows of all records of the granules with these entries, ascending."""
    block, within = np.divmod(index, layout.GRANULES_PER_BLOCK)
    granules = (tables.blocks[block - 1] << (layout.BLOCK_SHIFT - layout.GRANULE_SHIFT)) + within
    entry = tables.entries[index]
    used = entry & _CELLS
    # Bits as bytes of the size of a word, so that places divide into word and bit by shifts.
    places = _set_bits(used)
    of_cell, cell = places >> 6, places & 63
    cells = np.bitwise_count(used).astype(np.int64)
    place = places_of_entries(entry)
    words = tables.heap[(place - (cells.cumsum() - cells))[of_cell] + np.arange(len(of_cell))]
    places = _set_bits(words & _MEMBERS)
    at, bit = places >> 6, places & 63
    granule = of_cell[at]
    numbers = (granules[granule] << layout.GRANULE_SHIFT) + cell[at] * layout.CELL_NUMBERS + bit
    count = np.bincount(granule, minlength=len(index))
    codes = ((place + cells) << tables.code_shift) - (count.cumsum() - count)
    code = tables.codes[codes[granule] + np.arange(len(granule))]
    start = tables.dictionary_start[index[granule] >> tables.group_shift]
    return numbers.view(np.uint64), tables.dictionary[start + code]


def places_of_entries(entries: Words) -> Index:
    """Return the place in the heap that each entry holds, in words."""
    return ((entries >> _PLACE_SHIFT) & _PLACE).view(np.int64)


def _set_bits(words: Words) -> Index:
    """Return the places of all set bits, ascending, counted over all words."""
    octets = words.astype("<u8", copy=False).view(np.uint8)
    return np.unpackbits(octets, bitorder="little").view(np.bool_).nonzero()[0]
