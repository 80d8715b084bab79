"""A piece of a list, as every reader hands it over."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Block:
    """Some records of a list, in order.

    Attributes:
        records: How many records of the list they are, damaged ones included.
        phone: The phone column of the whole records, one value each.
        kept: The columns that were asked for, in that order, as long as ``phone``.
        segments: int64[n], parts of each record's message, 0 where its cell is no such number;
            None when no column says so.
        record: int64[n], the place in the block of each whole record; None when none is damaged.
        damaged: int64[k], the places of the damaged records.
        damage: uint8[k], ``Reject`` values.
    """

    records: int
    phone: pa.Array
    kept: tuple[pa.Array, ...] = ()
    segments: NDArray[np.int64] | None = None
    record: NDArray[np.int64] | None = None
    damaged: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    damage: NDArray[np.uint8] = field(default_factory=lambda: np.empty(0, np.uint8))
