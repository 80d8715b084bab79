"""From numbers to rows, and from rows to distinct ones, by the fastest way for their count.

A few numbers are looked up one by one, in plain Python: numpy's cost per call is twenty times that
of one lookup. Batches go to numpy or, once it is ready, to the compiled function.
"""

from __future__ import annotations

import contextlib
import importlib.util
import threading
from bisect import bisect_right
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from numroute.index.layout import (
    BLOCK_SHIFT,
    BLOCKS_PER_PAGE,
    CELL_MASK,
    CELL_NUMBERS,
    GRANULE_SHIFT,
    GRANULES_PER_BLOCK,
    INVALID_ROW,
    MIXED,
    PAGE_SHIFT,
    PLACE_MASK,
    PLACE_SHIFT,
    RANK_GROUP_SHIFT,
    RANK_SHIFT,
    ROW_SHIFT,
    STRIP_SHIFT,
    STRIP_WORDS,
)
from numroute.index.numpy_kernel import (
    Index,
    Rows,
    Tables,
    Words,
    cell_hits,
    entries_of,
    lookup_batch,
    refuse_impossible,
)
from numroute.model import NUMBER_MAX

if TYPE_CHECKING:
    from numroute.index.compiled import Compiled  # an extra

Find = Callable[[int], tuple[int, int, int]]

FEW_NUMBERS = 32
"""Up to this many numbers are looked up one by one: with more, numpy is faster. The compiled
function is faster from two on."""

FIELDS_NUMBERS, FIELDS_REST = 256, 64
"""Up to how many numbers all fields are found at once, if no more than the second have records."""

FEW_ROWS = 4
"""Up to how many rows Python finds the distinct ones fastest."""

MARKED_MAX = 4_096
"""Up to how many numbers marks find the distinct rows faster than a histogram."""

COMPILE_AFTER_NUMBERS = 20_000_000
"""So many numbers looked up in batches say that there will be more, and compiling pays."""

BLOCK_MASK, GRANULE_MASK = BLOCKS_PER_PAGE - 1, GRANULES_PER_BLOCK - 1
PAGE_GRANULES_SHIFT, BLOCK_GRANULES_SHIFT = PAGE_SHIFT - GRANULE_SHIFT, BLOCK_SHIFT - GRANULE_SHIFT
LOW_MASK = (1 << GRANULE_SHIFT) - 1

_compiled: Compiled | None = None
_compiling = threading.Lock()
_looked_up = 0


def use_compiled(functions: Compiled | None) -> None:
    """Look batches up by compiled functions from now on, None = by numpy, also if they are many."""
    global _compiled  # noqa: PLW0603 - one switch for all snapshots of the process
    _compiling.acquire(blocking=False)
    _compiled = functions


def _count(numbers: int) -> None:
    """Compile in the background when many numbers have been looked up and numba is installed.

    Until the compiled function is ready, and where the compiler fails, numpy answers.
    """
    global _looked_up  # noqa: PLW0603 - that threads overwrite each other's count does not matter
    _looked_up += numbers
    if (
        _looked_up >= COMPILE_AFTER_NUMBERS
        and importlib.util.find_spec("numba")
        and _compiling.acquire(blocking=False)
    ):
        threading.Thread(target=_compile, name="compile-kernel", daemon=True).start()


def _compile() -> None:
    # Not released again: what failed once on this machine fails again.
    with contextlib.suppress(Exception):
        from numroute.index import compiled  # noqa: PLC0415 - its import takes seconds

        use_compiled(compiled.compile_all())


def lookup(tables: Tables, numbers: Words) -> Rows:
    """Return the row of the route table for each number, which need not be aligned."""
    rows = np.empty(len(numbers), np.uint16)
    if _compiled is not None:
        _compiled.lookup(tables.addresses, np.ascontiguousarray(numbers), rows)
    else:
        _count(len(numbers))
        lookup_batch(tables, numbers, rows)
    return rows


def finder(tables: Tables) -> Find:
    """Return a function that looks one number (below 2**64) up in plain Python.

    It returns the row, the ranges' row, and the record's rank, -1 for a number without a record;
    where no columns of records are stored, a rank says no more than that there is a record.
    """
    top, sub, entries, heap, strips, codes, dictionary, starts, ranks, start, route = (
        array.data
        for array in (
            *(tables.top, tables.sub, tables.entries, tables.heap, tables.strips, tables.codes),
            *(tables.dictionary, tables.dictionary_start, tables.ranks),
            *(tables.range_start, tables.range_route),
        )
    )
    within = None if tables.ranks_within is None else tables.ranks_within.data
    pages, code_shift, group_shift = len(top), tables.code_shift, tables.group_shift

    def find(number: int) -> tuple[int, int, int]:
        if not 0 < number <= NUMBER_MAX:
            return INVALID_ROW, INVALID_ROW, -1
        granule = number >> GRANULE_SHIFT
        page = granule >> PAGE_GRANULES_SHIFT
        block = top[page] if page < pages else 0
        index = sub[block + (granule >> BLOCK_GRANULES_SHIFT & BLOCK_MASK)]
        index += granule & GRANULE_MASK
        entry = entries[index]
        low = number & LOW_MASK
        range_row = entry >> ROW_SHIFT
        if range_row == MIXED:
            place = entry >> PLACE_SHIFT & PLACE_MASK
            range_row = strips[(place - STRIP_WORDS) * 4 + (low >> STRIP_SHIFT)]
            if range_row == MIXED:
                range_row = route[bisect_right(start, number) - 1]
        cell = low // CELL_NUMBERS
        if entry >> cell & 1:
            place = entry >> PLACE_SHIFT & PLACE_MASK
            used = entry & CELL_MASK
            word = heap[place + (used & ((1 << cell) - 1)).bit_count()]
            bit = low - cell * CELL_NUMBERS
            if word >> bit & 1:
                rank = (word >> RANK_SHIFT) + (word & ((1 << bit) - 1)).bit_count()
                code = codes[(place + used.bit_count() << code_shift) + rank]
                row = dictionary[starts[index >> group_shift] + code]
                if within is not None:
                    rank += ranks[index >> RANK_GROUP_SHIFT] + within[index]
                return row, range_row, rank
        return range_row, range_row, -1

    return find


def find_fields(
    tables: Tables, find: Find, numbers: Words, *, rows_only: bool
) -> tuple[Rows, Rows, Index] | None:
    """Return rows, rows of the ranges and ranks (-1 for none) of a small batch.

    None where finding them one field after the other is faster; with ``rows_only``, nobody needs
    the last two. The entries of most numbers say all three; the rest are looked up one by one.
    """
    if len(numbers) <= (0 if rows_only and _compiled else FEW_NUMBERS):
        each = np.array([find(number) for number in numbers.tolist()], np.int64).reshape(-1, 3)
        return each[:, 0].astype(np.uint16), each[:, 1].astype(np.uint16), each[:, 2]
    if rows_only or len(numbers) > FIELDS_NUMBERS:
        return None
    entry = tables.entries.take(entries_of(tables, numbers), mode="clip")
    rows = (entry >> np.uint64(ROW_SHIFT)).astype(np.uint16)
    more = (
        cell_hits(entry, numbers & np.uint64((1 << GRANULE_SHIFT) - 1)) | (rows == MIXED)
    ).nonzero()[0]
    if len(more) > FIELDS_REST:
        return None
    refuse_impossible(numbers, rows)
    range_rows, ranks = rows.copy(), np.full(len(rows), -1)
    if len(more):
        found = [find(number) for number in numbers.take(more).tolist()]
        rows[more], range_rows[more], ranks[more] = zip(*found, strict=True)
    return rows, range_rows, ranks


def distinct_rows(rows: NDArray[Any], row_count: int) -> tuple[Index, Index, NDArray[np.uint32]]:
    """Return the distinct rows, ascending, how often each occurs, and each number's place in them.

    Marks or counts for all rows that there can be find them in time linear in n; to sort the rows,
    as ``numpy.unique`` does, takes twenty times as long for 65,536 of them.

    ``rows``: unsigned[n], each less than ``row_count``. Returns the distinct rows, intp[d], their
    counts, intp[d], and uint32[n] places.
    """
    if len(rows) <= FEW_ROWS:
        few: list[int] = rows.tolist()
        found = sorted(set(few))
        places = np.array([found.index(row) for row in few], np.uint32)
        return np.array(found, np.int64), np.array([few.count(row) for row in found]), places
    place_of = np.empty(row_count, np.uint32)
    if _compiled is not None:
        marks, places = np.zeros(-(-row_count // 8), np.uint64), np.empty(len(rows), np.uint32)
        distinct, times = np.empty((2, min(len(rows), row_count)), np.int64)
        count = _compiled.distinct(rows, marks, place_of, distinct, times, places)
        return distinct[:count], times[:count], places
    positions = rows.astype(np.int64)
    if len(rows) > MARKED_MAX:
        counts = np.bincount(positions, minlength=row_count)
        distinct = counts.nonzero()[0]
        place_of[distinct] = np.arange(len(distinct), dtype=np.uint32)
        return distinct, counts.take(distinct), place_of.take(positions)
    marked = np.zeros(row_count, np.bool_)
    marked[positions] = True
    distinct = marked.nonzero()[0]
    place_of[distinct] = np.arange(len(distinct), dtype=np.uint32)
    places = place_of.take(positions)
    return distinct, np.bincount(places, minlength=len(distinct)), places
