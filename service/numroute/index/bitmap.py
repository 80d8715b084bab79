"""How the tables of a snapshot are built: a ranked bitmap of the records, granules of the ranges.

``cells`` holds one 64-bit cell per 32 numbers of a chunk in use: the low half says which of the 32
numbers have a record, the high half how many records lie before the cell. One access to memory
gives membership and rank. ``granules`` holds the route of each 1,024 numbers that lie in one piece
of the numbering plan. :mod:`numroute.index.kernel` reads both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from numroute.index.layout import (
    CELLS_PER_CHUNK,
    CHUNK_SHIFT,
    CHUNKS_PER_PAGE,
    GRANULE_SHIFT,
    GRANULES_PER_PAGE,
    PAGE_SHIFT,
    UNALLOCATED_ROW,
    mixed_marker,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

_CHUNKS_AT_ONCE = 64
"""Chunks built together: their flags, one byte per number, take 4 MiB and stay in cache."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RankedBitmap:
    """``chunks``: uint32[slots * 16,384]; ``cells``: uint64[blocks * 2,048]. Block 0 is zeros."""

    chunks: NDArray[np.uint32]
    cells: NDArray[np.uint64]


def build_pages(
    numbers: NDArray[np.uint64], held: NDArray[np.uint64]
) -> tuple[NDArray[np.uint32], int]:
    """Give a slot to each page that holds a record or a part of a held range.

    Args:
        numbers: uint64[n], ascending.
        held: uint64[k, 2], first and last number of each held piece.

    Returns:
        uint32[pages], the slot of each page (0 = none), dense up to the highest page in use, and
        the number of slots, slot 0 (always empty) included.
    """
    last_number = int(numbers[-1]) if len(numbers) else 0
    highest = max(last_number, int(held.max(initial=0))) >> PAGE_SHIFT
    # Numbers ascend: a page is in use where its end stands further on in them than its beginning.
    edges = np.arange(highest + 2, dtype=np.uint64) << np.uint64(PAGE_SHIFT)
    used = np.diff(numbers.searchsorted(edges)) > 0
    for first, last in np.unique(held >> np.uint64(PAGE_SHIFT), axis=0).tolist():
        used[first : last + 1] = True
    pages = np.zeros(highest + 1, np.uint32)
    slots = int(np.count_nonzero(used))
    pages[used] = np.arange(1, slots + 1, dtype=np.uint32)
    return pages, slots + 1


def build_bitmap(
    numbers: NDArray[np.uint64], pages: NDArray[np.uint32], slots: int
) -> RankedBitmap:
    """Build the chunk tables and the cells of ascending, unique numbers (uint64[n])."""
    chunk_of_number = numbers >> np.uint64(CHUNK_SHIFT)
    # Where a new chunk begins; numbers ascend, so equal chunks are neighbours.
    first = np.flatnonzero(chunk_of_number[1:] != chunk_of_number[:-1]) + 1
    first = np.concatenate([np.zeros(min(1, len(numbers)), np.intp), first])
    used = chunk_of_number[first]
    del chunk_of_number

    chunks = np.zeros(slots * CHUNKS_PER_PAGE, np.uint32)
    slot = pages[(used >> np.uint64(PAGE_SHIFT - CHUNK_SHIFT)).astype(np.intp)].astype(np.intp)
    within = (used & np.uint64(CHUNKS_PER_PAGE - 1)).astype(np.intp)
    chunks[slot * CHUNKS_PER_PAGE + within] = np.arange(1, len(used) + 1, dtype=np.uint32)

    cells = np.zeros((len(used) + 1) * CELLS_PER_CHUNK, np.uint64)
    bounds = np.append(first, len(numbers))
    low_mask = np.uint64((1 << CHUNK_SHIFT) - 1)
    for begin in range(0, len(used), _CHUNKS_AT_ONCE):
        end = min(begin + _CHUNKS_AT_ONCE, len(used))
        part = numbers[bounds[begin] : bounds[end]]
        sizes = np.diff(bounds[begin : end + 1])
        position = np.repeat(np.arange(end - begin) << CHUNK_SHIFT, sizes)
        position += (part & low_mask).view(np.int64)
        flags = np.zeros((end - begin) << CHUNK_SHIFT, np.uint8)
        flags[position] = 1
        bits = np.packbits(flags, bitorder="little").view("<u4")
        cells[(begin + 1) * CELLS_PER_CHUNK : (end + 1) * CELLS_PER_CHUNK] = bits
    _add_ranks(cells)
    return RankedBitmap(chunks=chunks, cells=cells)


def _add_ranks(cells: NDArray[np.uint64]) -> None:
    """Put the number of records before each cell into its high half, in place."""
    before = 0
    step = CELLS_PER_CHUNK * 1024
    for begin in range(0, len(cells), step):
        part = cells[begin : begin + step]
        count = np.bitwise_count(part).astype(np.uint64)
        rank = np.cumsum(count, dtype=np.uint64)
        total = int(rank[-1])
        rank -= count
        rank += np.uint64(before)
        part |= rank << np.uint64(32)
        before += total


def held_pieces(
    range_start: NDArray[np.uint64], range_route: NDArray[np.unsignedinteger], number_max: int
) -> NDArray[np.uint64]:
    """Return uint64[k, 2]: first and last number of each piece that somebody holds."""
    held = np.flatnonzero(range_route != UNALLOCATED_ROW)
    after = np.append(range_start[1:], np.uint64(number_max + 1))
    return np.stack([range_start[held], after[held] - np.uint64(1)], axis=1)


def build_granules(
    range_start: NDArray[np.uint64],
    range_route: NDArray[np.unsignedinteger],
    pages: NDArray[np.uint32],
    slots: int,
) -> NDArray[np.unsignedinteger]:
    """Return, per granule of 1,024 numbers of each slot, its route or the marker.

    The marker stands where the granule does not lie in one piece. The result has the type of
    ``range_route`` and slots * 2**20 entries; those of slot 0 are the unallocated row.
    """
    granules = np.full(slots * GRANULES_PER_PAGE, UNALLOCATED_ROW, range_route.dtype)
    marker = mixed_marker(range_route.dtype)
    inside = (1 << GRANULE_SHIFT) - 1
    for page in np.flatnonzero(pages).tolist():
        first_number = np.uint64(page << PAGE_SHIFT)
        # The piece that the page begins in, and the pieces that begin later within the page.
        entering = int(range_start.searchsorted(first_number, side="right")) - 1
        leaving = int(range_start.searchsorted(np.uint64((page + 1) << PAGE_SHIFT), side="left"))
        offsets = (range_start[entering + 1 : leaving] - first_number).astype(np.int64)
        # A piece decides from the first granule that begins at or after its own beginning.
        decides_from = np.concatenate([[0], (offsets + inside) >> GRANULE_SHIFT])
        lengths = np.diff(np.append(decides_from, GRANULES_PER_PAGE))
        slot = int(pages[page]) * GRANULES_PER_PAGE
        granules[slot : slot + GRANULES_PER_PAGE] = np.repeat(
            range_route[entering:leaving], lengths
        )
        granules[slot + (offsets[(offsets & inside) != 0] >> GRANULE_SHIFT)] = marker
    return granules
