"""Records in the order of their numbers: all of them, those between two numbers, those of granules.

Comparing snapshots and applying increments read the tables this way; lookups never do.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from numroute.index import layout
from numroute.index.numpy_kernel import Index, Rows, Tables, Words
from numroute.model import NUMBER_MAX

_BLOCKS_AT_ONCE = 256
"""Blocks whose records are listed together."""

_CELLS, _MEMBERS = np.uint64(layout.CELL_MASK), np.uint64((1 << layout.RANK_SHIFT) - 1)
_PLACE_SHIFT, _PLACE = np.uint64(layout.PLACE_SHIFT), np.uint64(layout.PLACE_MASK)
_BLOCK_SHIFT = np.uint64(layout.BLOCK_SHIFT)


def all_records(tables: Tables) -> Iterator[tuple[Words, Rows]]:
    """Yield all records, numbers and rows, in pieces of some blocks; there is always one piece."""
    for first, end in pairwise([0, *edges(tables).tolist(), NUMBER_MAX + 1]):
        yield records_between(tables, first, end)


def edges(tables: Tables) -> Words:
    """Return numbers between which lie so many blocks as are listed together."""
    return tables.blocks[_BLOCKS_AT_ONCE::_BLOCKS_AT_ONCE].astype(np.uint64) << _BLOCK_SHIFT


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
