"""Records in the order of their numbers: all of them, those of some ranks, those of granules.

Comparing snapshots and applying increments read the tables this way; lookups never do.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from numroute.index import layout
from numroute.index.numpy_kernel import Index, Rows, Tables, Words
from numroute.model import NUMBER_MAX

_BLOCKS_AT_ONCE = 256
"""Blocks whose records are listed together."""

_CELLS, _MEMBERS = np.uint64(layout.CELL_MASK), np.uint64((1 << layout.RANK_SHIFT) - 1)
_PLACE_SHIFT, _PLACE = np.uint64(layout.PLACE_SHIFT), np.uint64(layout.PLACE_MASK)


class Records(NamedTuple):
    """Records in ascending order: numbers, rows, and how many lie before the first of them."""

    numbers: Words
    rows: Rows
    rank: int


def all_records(tables: Tables) -> Iterator[tuple[Records, int]]:
    """Yield all records, in pieces of some blocks.

    With each comes the number up to which (exclusive) it holds all records that the pieces before
    it do not. There is always one piece, and the last has no end but the largest number.
    """
    blocks = tables.blocks
    for begin in range(0, max(1, len(blocks)), _BLOCKS_AT_ONCE):
        end = min(begin + _BLOCKS_AT_ONCE, len(blocks))
        until = int(blocks[end]) << layout.BLOCK_SHIFT if end < len(blocks) else NUMBER_MAX + 1
        yield _records_in(tables, begin, end), until


def records_at(tables: Tables, ranks: Index) -> tuple[Words, Rows]:
    """Return the numbers and rows of the records with these ranks, which ascend."""
    if not len(ranks):
        return np.empty(0, np.uint64), np.empty(0, np.uint16)
    first = tables.ranks_at(np.arange(1, len(tables.blocks) + 1) * layout.GRANULES_PER_BLOCK)
    block = first.searchsorted(ranks, side="right") - 1
    numbers, rows = [], []
    while len(ranks):
        begin = int(block[0])
        count = int(block.searchsorted(begin + _BLOCKS_AT_ONCE))
        part = _records_in(tables, begin, int(block[count - 1]) + 1)
        numbers.append(part.numbers[ranks[:count] - part.rank])
        rows.append(part.rows[ranks[:count] - part.rank])
        ranks, block = ranks[count:], block[count:]
    return np.concatenate(numbers), np.concatenate(rows)


def _records_in(tables: Tables, begin: int, end: int) -> Records:
    """Return the records of the blocks from one place to another."""
    index = np.arange(
        (begin + 1) * layout.GRANULES_PER_BLOCK, (end + 1) * layout.GRANULES_PER_BLOCK
    )
    first = tables.blocks[begin:end, None] << (layout.BLOCK_SHIFT - layout.GRANULE_SHIFT)
    granules = (first + np.arange(layout.GRANULES_PER_BLOCK)).reshape(-1)
    return Records(
        *decode(tables, index, granules),
        rank=int(
            tables.ranks[((begin + 1) * layout.GRANULES_PER_BLOCK) >> layout.RANK_GROUP_SHIFT]
        ),
    )


def decode(tables: Tables, index: Index, granules: Index) -> tuple[Words, Rows]:
    """Return the numbers and rows of all records of some granules.

    Args:
        tables: The tables.
        index: The places of the granules' entries, ascending.
        granules: Their numbers without the low 10 bits.
    """
    entry = tables.entries[index]
    used = entry & _CELLS
    # Bits as bytes of the size of a word, so that places divide into word and bit by shifts.
    places = _set_bits(used)
    of_cell, cell = places >> 6, places & 63
    cells = np.bitwise_count(used).astype(np.int64)
    place = ((entry >> _PLACE_SHIFT) & _PLACE).astype(np.int64)
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


def _set_bits(words: Words) -> Index:
    """Return the places of all set bits, ascending, counted over all words."""
    octets = words.astype("<u8", copy=False).view(np.uint8)
    return np.unpackbits(octets, bitorder="little").view(np.bool_).nonzero()[0]
