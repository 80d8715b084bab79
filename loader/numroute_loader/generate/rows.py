"""Rows of the full dumps as bytes, whole chunks at a time.

A row is put together from fixed-width pieces that are looked up in tables, padded with NUL; the
padding is then deleted from the whole chunk at once. No text of the registry holds a NUL.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from numroute_loader.generate.options import Tier
from numroute_loader.generate.port_dates import SECONDS_PER_DAY

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import date

    from numpy.typing import NDArray

    from numroute_loader.generate.market import Market
    from numroute_loader.generate.ports import PortedChunk

HEADERS = {
    Tier.PORT_ALL: b"Number,OwnerId,MNC,Route,RegionCode,PortDate,RowCount\r\n",
    Tier.PORT_ALL_FULL: (
        b"Number,OwnerId,MNC,Route,RegionCode,PortDate,RowCount,NPId,DonorId,RangeHolderId,"
        b"OldRoute,OldMNC,ProcessType\r\n"
    ),
    Tier.PORT_ALL_NEW: b"Number,OrgName,RowCount\r\n",
}

ROWS_PER_PIECE = 1 << 18
"""Rows that are put together at once: bounds the memory, whatever the size of a chunk."""

_OFFSET = b"+03:00"
"""The registry writes Moscow time."""
_PROCESS_TYPES = (b"ShortTimePort", b"LongTimePort")
_GROUP = 100_000
"""Digits of a number are looked up five at a time."""
_QUAD = 10_000


_Piece: TypeAlias = "tuple[NDArray[np.bytes_], NDArray[np.int64]]"
"""A table of pieces, and for each row the index of its piece."""


class RowFormatter:
    """Formats chunks for every tier."""

    def __init__(self, market: Market, days: Sequence[date]) -> None:
        """Prepare the tables of pieces."""
        self._regions = len(market.regions)
        self._five_digits = _pieces(f"{i:05d}" for i in range(_GROUP))
        self._four_digits = _pieces(f"{i:04d}" for i in range(_QUAD))
        self._day = _pieces(f"{day.isoformat()}T" for day in days)
        self._second = _pieces(
            f"{i // 3600:02d}:{i // 60 % 60:02d}:{i % 60:02d}" for i in range(SECONDS_PER_DAY)
        )
        served = [
            (operator.code, operator.mnc_in(index), region.code)
            for operator in market.operators
            for index, region in enumerate(market.regions)
        ]
        self._route = _pieces(f",{code},{mnc},D{reg}{mnc},{reg}," for code, mnc, reg in served)
        self._old_route = _pieces(
            [",,,", *(f",D{region}{mnc},{mnc}," for _, mnc, region in served)]
        )
        self._org_name = _pieces(f",{operator.name}," for operator in market.operators)
        self._code = _pieces(f",{operator.code}" for operator in market.operators)
        self._process_type = _pieces([kind.decode() for kind in _PROCESS_TYPES])

    def rows(self, tier: Tier, chunk: PortedChunk, order: NDArray[np.int64]) -> bytes:
        """Format rows of one chunk.

        Args:
            tier: The kind of dump.
            chunk: The rows as columns.
            order: int64[k], which of the chunk's rows, in the order of the file.

        Returns:
            k lines with CRLF, the RowCount of none of them filled in.
        """
        parts: list[_Piece | bytes] = [*self._number(chunk, order)]
        if tier is Tier.PORT_ALL_NEW:
            parts += [(self._org_name, chunk.owner[order])]
        else:
            parts += [*self._place_and_time(chunk, order), b","]
        if tier is Tier.PORT_ALL_FULL:
            parts += [b"0,", *self._process(chunk, order)]
        return _joined([*parts, b"\r\n"])

    def _number(self, chunk: PortedChunk, order: NDArray[np.int64]) -> list[_Piece]:
        high, low = np.divmod(chunk.number[order], _GROUP)
        return [(self._five_digits, high), (self._five_digits, low)]

    def _place_and_time(self, chunk: PortedChunk, order: NDArray[np.int64]) -> list[_Piece | bytes]:
        served = chunk.owner[order] * self._regions + chunk.region[order]
        return [
            (self._route, served),
            (self._day, chunk.day[order]),
            (self._second, chunk.second[order]),
            _OFFSET,
        ]

    def _process(self, chunk: PortedChunk, order: NDArray[np.int64]) -> list[_Piece]:
        high, low = np.divmod(chunk.npid[order], _QUAD * _QUAD)
        donor, holder = chunk.donor[order], chunk.holder[order]
        # The old route is written where it does not follow from the range holder.
        old = np.where(donor == holder, 0, 1 + donor * self._regions + chunk.region[order])
        return [
            (self._four_digits, high // _QUAD),
            (self._four_digits, high % _QUAD),
            (self._four_digits, low // _QUAD),
            (self._four_digits, low % _QUAD),
            (self._code, donor),
            (self._code, holder),
            (self._old_route, old),
            (self._process_type, chunk.corporate[order].astype(np.int64)),
        ]


def with_row_count(rows: bytes, tier: Tier, row_count: int) -> bytes:
    """Write the row count into the first of these rows, which begin the file."""
    first, rest = rows.split(b"\r\n", 1)
    if tier is Tier.PORT_ALL_FULL:
        first = first.replace(_OFFSET + b",0,", b"%s,%d," % (_OFFSET, row_count))
    else:
        first += b"%d" % row_count
    return first + b"\r\n" + rest


def _pieces(texts: Iterable[str]) -> NDArray[np.bytes_]:
    return np.array([text.encode() for text in texts], np.bytes_)


def _joined(parts: Sequence[_Piece | bytes]) -> bytes:
    """Put the pieces of every row side by side and delete the padding."""
    count = next(len(part[1]) for part in parts if not isinstance(part, bytes))
    widths = [len(part) if isinstance(part, bytes) else part[0].itemsize for part in parts]
    rows = np.empty(count, [(f"p{i}", f"S{width}") for i, width in enumerate(widths)])
    for i, part in enumerate(parts):
        rows[f"p{i}"] = part if isinstance(part, bytes) else part[0][part[1]]
    return rows.tobytes().translate(None, b"\0")
