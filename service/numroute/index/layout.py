"""The byte layout of a snapshot file, versions 1 and 2; docs/format.md specifies it.

A snapshot file is an LMDB environment (0.9 data format) followed by one page, the seal.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

import numpy as np

FORMAT_VERSION: Final = 2
"""The newest version; this program reads all from 1 on."""
PLAIN_VERSION: Final = 1
"""The version of a file without overrides."""
OVERRIDES_VERSION: Final = 2
"""The first version that may hold overrides."""

BIT_BITS: Final = 5
"""A cell covers 2**5 numbers."""
CHUNK_SHIFT: Final = 16
"""A chunk covers 2**16 numbers."""
PAGE_SHIFT: Final = 30
"""A page covers 2**30 numbers."""
GRANULE_SHIFT: Final = 10
"""A granule covers 2**10 numbers."""

CELLS_PER_CHUNK: Final = 1 << (CHUNK_SHIFT - BIT_BITS)
CHUNKS_PER_PAGE: Final = 1 << (PAGE_SHIFT - CHUNK_SHIFT)
GRANULES_PER_PAGE: Final = 1 << (PAGE_SHIFT - GRANULE_SHIFT)

# Keys of the arrays.
PAGES: Final = "pages"
CHUNKS: Final = "chunks"
CELLS: Final = "cells"
ROUTE: Final = "route"
PORTED_AT: Final = "ported_at"
DONOR: Final = "donor"
RANGE_START: Final = "range_start"
RANGE_ROUTE: Final = "range_route"
GRANULES: Final = "granules"
ROUTES_STATUS: Final = "routes.status"
ROUTES_OPERATOR: Final = "routes.operator"
ROUTES_NETWORK: Final = "routes.network"
ROUTES_REGION: Final = "routes.region"

# Keys of the tables (JSON) and of the metadata (JSON).
OPERATORS: Final = "operators"
NETWORKS: Final = "networks"
REGIONS: Final = "regions"
DONORS: Final = "donors"
CHANGED: Final = "changed"
OVERRIDES: Final = "overrides"
META: Final = "meta"

OPTIONAL_ARRAYS: Final = frozenset({PORTED_AT, DONOR})
REQUIRED_ARRAYS: Final = frozenset(
    {
        PAGES,
        CHUNKS,
        CELLS,
        ROUTE,
        RANGE_START,
        RANGE_ROUTE,
        GRANULES,
        ROUTES_STATUS,
        ROUTES_OPERATOR,
        ROUTES_NETWORK,
        ROUTES_REGION,
    }
)
TABLES: Final = frozenset({OPERATORS, NETWORKS, REGIONS, DONORS})

DTYPES: Final[dict[str, tuple[str, ...]]] = {
    PAGES: ("<u4",),
    CHUNKS: ("<u4",),
    CELLS: ("<u8",),
    ROUTE: ("|u1", "<u2", "<u4"),
    PORTED_AT: ("<u4",),
    DONOR: ("|u1", "<u2", "<u4"),
    RANGE_START: ("<u8",),
    RANGE_ROUTE: ("<u2", "<u4"),
    GRANULES: ("<u2", "<u4"),
    ROUTES_STATUS: ("|u1",),
    ROUTES_OPERATOR: ("<u4",),
    ROUTES_NETWORK: ("<u4",),
    ROUTES_REGION: ("<u4",),
}
"""The element types that are allowed for each array, in every version so far."""

VALUE_BYTES_MAX: Final = (1 << 32) - 1
"""LMDB keeps a value's size in 32 bits."""
RECORDS_MAX: Final = VALUE_BYTES_MAX // 4
"""A column of four bytes per record must fit into one value."""

UNALLOCATED_ROW: Final = 0
"""The row of the route table for a number that nobody holds."""
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


def mixed_marker(dtype: np.dtype[np.unsignedinteger]) -> int:
    """Return the value of a granule that no single piece covers: the largest of the type."""
    return int(np.iinfo(dtype).max)


def route_dtype(route_count: int) -> np.dtype[np.unsignedinteger]:
    """Return the type of ``granules`` and ``range_route`` for a route table of this many rows.

    The marker must not be a row: 65,535 rows are the most that two bytes hold.
    """
    return np.dtype("<u2") if route_count <= mixed_marker(np.dtype("<u2")) else np.dtype("<u4")


def smallest_unsigned(largest: int) -> np.dtype[np.unsignedinteger]:
    """Return the smallest little-endian unsigned type that holds ``largest``."""
    for name in ("|u1", "<u2", "<u4"):
        if largest <= np.iinfo(name).max:
            return np.dtype(name)
    raise ValueError(f"{largest} needs more than four bytes")


@dataclass(frozen=True, slots=True, kw_only=True)
class Seal:
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
        packed = _SEAL.pack(
            SEAL_MAGIC,
            self.format_version,
            0,
            self.environment_bytes,
            self.head_sha256,
            self.meta_sha256,
            self.environment_sha256,
        )
        return packed.ljust(SEAL_BYTES, b"\0")

    @classmethod
    def unpack(cls, page: bytes) -> Seal | None:
        """Return the seal, or None when the page is not one."""
        if len(page) != SEAL_BYTES or any(page[_SEAL.size :]):
            return None
        magic, version, zero, size, head, meta, whole = _SEAL.unpack_from(page)
        if magic != SEAL_MAGIC or zero != 0:
            return None
        return cls(
            format_version=version,
            environment_bytes=size,
            head_sha256=head,
            meta_sha256=meta,
            environment_sha256=whole,
        )
