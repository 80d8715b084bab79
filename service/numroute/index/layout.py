"""The byte layout of a snapshot file, version 4; docs/format.md specifies it.

A snapshot file is an LMDB environment (0.9 data format) followed by one page, the seal.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

FORMAT_VERSION: Final = 4
"""The only version that this program writes and reads."""

PAGE_SHIFT: Final = 30
"""A page covers 2**30 numbers."""
BLOCK_SHIFT: Final = 18
"""A block covers 2**18 numbers."""
GRANULE_SHIFT: Final = 10
"""A granule covers 2**10 numbers."""
STRIP_SHIFT: Final = 5
"""A strip of a mixed granule covers 2**5 numbers."""
CELL_NUMBERS: Final = 54
"""A cell covers 54 numbers of a granule."""
CELLS_PER_GRANULE: Final = 19

BLOCKS_PER_PAGE: Final = 1 << (PAGE_SHIFT - BLOCK_SHIFT)
GRANULES_PER_BLOCK: Final = 1 << (BLOCK_SHIFT - GRANULE_SHIFT)
STRIPS_PER_GRANULE: Final = 1 << (GRANULE_SHIFT - STRIP_SHIFT)
STRIP_WORDS: Final = STRIPS_PER_GRANULE * 2 // 8
"""Words of 8 bytes that the rows of a mixed granule take before its place in the heap."""

# An entry: which cells hold a record, the granule's place in the heap, the row of its range.
PLACE_SHIFT: Final = 19
ROW_SHIFT: Final = 48
CELL_MASK: Final = (1 << PLACE_SHIFT) - 1
PLACE_MASK: Final = (1 << (ROW_SHIFT - PLACE_SHIFT)) - 1
# A cell: which numbers hold a record, how many records of the granule lie before the cell.
RANK_SHIFT: Final = 54
# low // 54 for every low below 1,024, without a division.
CELL_FACTOR: Final = 1214
CELL_FACTOR_SHIFT: Final = 16

MIXED: Final = 0xFFFF
"""Stands for a row where a granule, or a strip of one, does not lie in one piece of the plan."""
ROWS_MAX: Final = MIXED
"""The most rows of a route table: a row has two bytes, and the marker is not a row."""
CODES: Final = 256
"""How many routes one dictionary holds: a code is one byte."""
RANK_GROUP_SHIFT: Final = 6
"""A rank is stored in full for each 2**6 granules: those within have at most 65,536 records."""
GROUP_SHIFT_MAX: Final = 6
"""The granules of at most 2**6, 65,536 numbers, share a dictionary start."""

# Keys of the arrays.
TOP: Final = "top"
SUB: Final = "sub"
ENTRIES: Final = "entries"
RANKS: Final = "ranks"
RANKS_WITHIN: Final = "ranks_within"
HEAP: Final = "heap"
DICTIONARY: Final = "dictionary"
DICTIONARY_START: Final = "dictionary_start"
PORTED_AT: Final = "ported_at"
DONOR: Final = "donor"
RANGE_START: Final = "range_start"
RANGE_ROUTE: Final = "range_route"
ROUTES_STATUS: Final = "routes.status"
ROUTES_OPERATOR: Final = "routes.operator"
ROUTES_NETWORK: Final = "routes.network"
ROUTES_REGION: Final = "routes.region"
ROUTES_RECORDS: Final = "routes.records"

# Keys of the tables (JSON) and of the metadata (JSON).
OPERATORS: Final = "operators"
NETWORKS: Final = "networks"
REGIONS: Final = "regions"
DONORS: Final = "donors"
CHANGED: Final = "changed"
OVERRIDES: Final = "overrides"
META: Final = "meta"

TABLES: Final = frozenset({OPERATORS, NETWORKS, REGIONS, DONORS})

DTYPES: Final[dict[str, tuple[str, ...]]] = {
    TOP: ("<u4",),
    SUB: ("<u4",),
    ENTRIES: ("<u8",),
    RANKS: ("<u4",),
    RANKS_WITHIN: ("<u2",),
    HEAP: ("<u8",),
    DICTIONARY: ("<u2",),
    DICTIONARY_START: ("<u4",),
    PORTED_AT: ("<u4",),
    DONOR: ("|u1", "<u2", "<u4"),
    RANGE_START: ("<u8",),
    RANGE_ROUTE: ("<u2",),
    ROUTES_STATUS: ("|u1",),
    ROUTES_OPERATOR: ("<u4",),
    ROUTES_NETWORK: ("<u4",),
    ROUTES_REGION: ("<u4",),
    ROUTES_RECORDS: ("<u4",),
}
"""The element types that are allowed for each array."""
RECORD_COLUMNS: Final = frozenset({PORTED_AT, DONOR})
OPTIONAL_ARRAYS: Final = RECORD_COLUMNS | {RANKS_WITHIN}
"""The ranks within groups serve lookups of record columns: without these they are not stored."""
REQUIRED_ARRAYS: Final = DTYPES.keys() - OPTIONAL_ARRAYS

VALUE_BYTES_MAX: Final = (1 << 32) - 1
"""LMDB keeps a value's size in 32 bits."""
RECORDS_MAX: Final = VALUE_BYTES_MAX // 4
"""A column of four bytes per record must fit into one value."""
BLOCKS_MAX: Final = VALUE_BYTES_MAX // (8 * GRANULES_PER_BLOCK) - 1
"""The entries must fit into one value."""

OUTSIDE_ROW: Final = 0
"""The row of the route table for a number that no piece of a plan holds."""
INVALID_ROW: Final = 1
"""The row of the route table for what is not a number."""

VALUE_BYTES_MIN: Final = 2048
"""A shorter value is padded with zeros: LMDB keeps what is shorter inside the root page."""
VALUE_OFFSET: Final = 16
"""Where a value begins in its first page."""

LMDB_PAGE: Final = 4096
"""The page size of the LMDB environment, and of the seal."""
HEAD_BYTES: Final = 3 * LMDB_PAGE
"""Both meta pages and the root, which is the only leaf: what steers every read of the file."""

SEAL_MAGIC: Final = b"numroute.seal\r\n\x00"
_SEAL = struct.Struct("<16sIIQ32s32s32s")
SEAL_BYTES: Final = LMDB_PAGE


class Seal(NamedTuple):
    """The last page of a snapshot file.

    ``environment_bytes`` is the length of the LMDB environment before it, so that a truncated file
    is detected without reading it. ``head_sha256`` covers the first three pages, ``meta_sha256``
    the metadata: both are checked at every opening, because they steer all reads.
    ``environment_sha256`` covers everything before the seal and is checked by ``verify``.
    """

    format_version: int
    environment_bytes: int
    head_sha256: bytes
    meta_sha256: bytes
    environment_sha256: bytes

    def pack(self) -> bytes:
        """Return the seal as one page; the rest of the page is zeros."""
        packed = _SEAL.pack(SEAL_MAGIC, self.format_version, 0, *self[1:])
        return packed.ljust(SEAL_BYTES, b"\0")

    @classmethod
    def unpack(cls, page: bytes) -> Seal | None:
        """Return the seal, or None when the page is not one."""
        if len(page) != SEAL_BYTES or any(page[_SEAL.size :]):
            return None
        magic, version, zero, *rest = _SEAL.unpack_from(page)
        return cls(version, *rest) if (magic, zero) == (SEAL_MAGIC, 0) else None
