"""How large an index is, and what building it takes: the formulas of docs/FORMAT.md."""

from __future__ import annotations

import math
from dataclasses import dataclass

from numroute.errors import SettingError
from numroute.index.layout import (
    CELLS_PER_CHUNK,
    CHUNK_SHIFT,
    CHUNKS_PER_PAGE,
    GRANULES_PER_PAGE,
    PAGE_SHIFT,
    RECORDS_MAX,
)

RU_PLAN_NUMBERS = 706_600_000
"""Numbers in the ranges of the Russian mobile plan, 2026."""

RANGE_PIECES = 423_000
"""Pieces of the Russian plan of 2026, mobile and fixed. Other plans are smaller or alike."""

TABLES_BYTES = 3_000_000
"""Route table, operators and regions as JSON: what real snapshots of 16,000 routes take."""

_EXTRA_PAGES = 6
"""A country's plan is spread over a few pages of 2^30 numbers more than it would fill; Russia's 0.8
thousand million numbers lie in 6 and a seventh, slot 0, is always there."""

_CHUNK_BYTES = 8 * CELLS_PER_CHUNK
_PAGE_BYTES = 2 * GRANULES_PER_PAGE + 4 * CHUNKS_PER_PAGE
_PIECE_BYTES = 8 + 2
_ROUTE_BYTES = 2
_PORTED_AT_BYTES = 4

SNAPSHOTS_ON_DISK = 3
"""The one before, the current one, and the next while it is written."""

BUILD_BYTES_PER_NUMBER = 14
BUILD_BYTES_PER_UNSORTED_NUMBER = 30
BUILD_BYTES = 300_000_000
"""Memory of a build, as docs/OPERATIONS.md gives it."""

DUMP_BYTES_PER_NUMBER = 108
"""A row of Port_All_Full, unpacked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexSize:
    """Bytes of an index: ``cells``, ``columns`` and ``file`` in all; ``touched`` by lookups."""

    cells: int
    columns: int
    touched: int
    file: int


def index_size(ported: int, plan_numbers: int, *, ported_at: bool = True) -> IndexSize:
    """Return the size of an index of ``ported`` numbers spread evenly over a numbering plan.

    A chunk of 65,536 numbers takes its 16 KiB as soon as one of them is ported: with 30 million of
    706 million ported all chunks are in use, with a few thousand each number takes a chunk.

    Raises SettingError when there are more numbers than the plan or the format has.
    """
    if ported > plan_numbers:
        raise SettingError(
            f"{ported:,} ported numbers are more than the {plan_numbers:,} of the numbering plan",
            hint="Give the plan's size with --plan-numbers",
        )
    if ported > RECORDS_MAX:
        raise SettingError(
            f"{ported:,} ported numbers are more than one snapshot holds, {RECORDS_MAX:,}",
            hint="Divide the numbers by country into several services",
        )
    all_chunks = math.ceil(plan_numbers / (1 << CHUNK_SHIFT))
    # The chance that a chunk has none of the ported numbers is (1 - 1/chunks)^ported.
    in_use = all_chunks * -math.expm1(ported * math.log1p(-1 / (all_chunks + 1)))
    cells = math.ceil(in_use + 1) * _CHUNK_BYTES
    pages = (plan_numbers >> PAGE_SHIFT) + 1 + _EXTRA_PAGES
    granules = pages * 2 * GRANULES_PER_PAGE
    columns = ported * (_ROUTE_BYTES + (_PORTED_AT_BYTES if ported_at else 0))
    return IndexSize(
        cells=cells,
        columns=columns,
        touched=cells + ported * _ROUTE_BYTES + granules,
        file=cells + columns + pages * _PAGE_BYTES + RANGE_PIECES * _PIECE_BYTES + TABLES_BYTES,
    )


def build_memory(ported: int, *, sorted_dump: bool = True) -> int:
    """Return the bytes of memory that ``numroute-load build`` takes."""
    per_number = BUILD_BYTES_PER_NUMBER if sorted_dump else BUILD_BYTES_PER_UNSORTED_NUMBER
    return BUILD_BYTES + ported * per_number


def store_disk(size: IndexSize, ported: int) -> int:
    """Return the bytes of disk for a store that is rebuilt in place, the unpacked dump included."""
    return SNAPSHOTS_ON_DISK * size.file + ported * DUMP_BYTES_PER_NUMBER
