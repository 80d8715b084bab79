"""Arrow columns of one block as numpy arrays: numbers, times, and codes for texts.

Nothing here works on one row at a time. A check returns the mask of the rows whose cell is bad;
their values mean nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from numroute_loader.reading.description import NumberFormat

TIME_TYPE = pa.timestamp("s", tz="UTC")
"""The type of a column of times; pyarrow then requires an offset from UTC in each cell."""

ID_TYPE = pa.uint64()
"""The type of a column of order ids."""

TEXT_TYPE = pa.binary()
"""The type of a column of digits or codes: bytes, whatever their encoding."""

COMBINATIONS_MAX = 2**62
"""How many combinations of texts are numbered at once: in one signed integer."""

SECONDS_MAX = 2**32 - 1


def numbers_of(
    column: pa.Array, number_format: NumberFormat
) -> tuple[NDArray[np.uint64], NDArray[np.bool_]]:
    """Return the whole E.164 numbers of a column of ``TEXT_TYPE``, and the mask of bad cells."""
    cells = column.view(pa.string())
    has_width = pc.equal(pc.binary_length(column), number_format.digits)
    good = pc.and_(pc.ascii_is_decimal(cells), has_width)
    if not pc.all(good).as_py():
        cells = pc.if_else(good, cells, "0")
    written = cells.cast(pa.uint64()).to_numpy()
    bad = ~good.to_numpy(zero_copy_only=False)
    bad |= (written < number_format.lowest) | (written > number_format.highest)
    return written + np.uint64(number_format.offset), bad


def seconds_of(column: pa.Array) -> tuple[NDArray[np.uint32], NDArray[np.bool_]]:
    """Return seconds since 1970 UTC, 0 for an empty cell, and the mask of bad cells.

    A cell is bad unless it is a time with an offset, from 1970 to 2106.
    """
    times, bad = _cast(column, TIME_TYPE)
    seconds: NDArray[np.int64] = times.cast(pa.int64()).fill_null(0).to_numpy()
    bad |= (seconds < 0) | (seconds > SECONDS_MAX)
    return seconds.astype(np.uint32), bad


def ids_of(column: pa.Array) -> tuple[NDArray[np.uint64], NDArray[np.bool_]]:
    """Return whole numbers below 2**64, 0 for an empty cell, and the mask of bad cells."""
    ids, bad = _cast(column, ID_TYPE)
    return ids.fill_null(0).to_numpy(), bad


def _cast(column: pa.Array, kind: pa.DataType) -> tuple[pa.Array, NDArray[np.bool_]]:
    """Return the column in another type, null where a cell is empty or bad, and the mask.

    pyarrow does not say which cell it cannot parse, so the column is halved until it shows.
    """
    good = np.zeros(len(column), np.bool_)
    if column.type == kind:
        return column, good
    try:
        filled = pc.if_else(pc.equal(column, b""), pa.scalar(None, TEXT_TYPE), column)
        return filled.cast(pa.string()).cast(kind), good
    except pa.ArrowInvalid:
        if len(column) == 1:
            return pa.nulls(1, kind), ~good
    half = len(column) // 2
    first, first_bad = _cast(column[:half], kind)
    second, second_bad = _cast(column[half:], kind)
    return pa.concat_arrays([first, second]), np.concatenate([first_bad, second_bad])


@dataclass(frozen=True, slots=True, kw_only=True)
class Codes:
    """The distinct texts of a column, or combinations of texts of several columns, in a block.

    ``index``: for each row an index into ``texts``: one tuple of cells per combination.
    """

    index: NDArray[np.int32]
    texts: list[tuple[bytes, ...]]


def codes_of(column: pa.Array) -> Codes:
    """Give each distinct text of a column of ``TEXT_TYPE`` an index."""
    encoded = pc.dictionary_encode(column)
    texts: list[tuple[bytes, ...]] = [(text,) for text in encoded.dictionary.to_pylist()]
    return Codes(index=encoded.indices.to_numpy(), texts=texts)


def combined(columns: Sequence[Codes]) -> Codes:
    """Give each distinct combination of the columns' texts one index.

    The indexes are put together as digits of one integer, so that a row is hashed once.
    """
    sizes = [len(codes.texts) for codes in columns]
    if len(columns) == 1:
        return columns[0]
    if len(columns) > 2 and prod(sizes) > COMBINATIONS_MAX:  # noqa: PLR2004 - two always fit
        return combined([combined(columns[:2]), *columns[2:]])
    together = columns[0].index.astype(np.int64)
    for codes, size in zip(columns[1:], sizes[1:], strict=True):
        together *= size
        together += codes.index
    encoded = pc.dictionary_encode(pa.array(together))
    places = np.unravel_index(encoded.dictionary.to_numpy(), sizes)
    cells = zip(*(place.tolist() for place in places), strict=True)
    texts = [
        tuple(text for codes, at in zip(columns, each, strict=True) for text in codes.texts[at])
        for each in cells
    ]
    return Codes(index=encoded.indices.to_numpy(), texts=texts)
