"""Arrow columns of one block as numpy arrays: numbers, times, and codes for texts.

Nothing here works on one row at a time. A check returns the mask of the rows whose cell is bad;
their values mean nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from numroute_loader.reading.description import NumberFormat

TIME_TYPE = pa.timestamp("s", tz="UTC")
"""The type of a column of times; pyarrow then requires an offset from UTC in each cell."""

ID_TYPE = pa.uint64()
"""The type of a column of order ids."""

TEXT_TYPE = pa.binary()
"""The type of a column of digits or codes: bytes, whatever their encoding."""

CODE_BITS_MAX = 62
"""How many bits the codes of all columns together may take in one signed integer."""

SECONDS_MAX = 2**32 - 1
_EIGHT = 8
_HIGH_BITS = np.uint64(0x8080808080808080)
_WIDTH_DTYPES = {1: "u1", 2: "<u2"}


def numbers_of(
    column: pa.Array, number_format: NumberFormat
) -> tuple[NDArray[np.uint64], NDArray[np.bool_]]:
    """Return the whole E.164 numbers of a column of ``TEXT_TYPE``, and the mask of bad cells."""
    digits = number_format.digits
    fixed, misfits = _fixed_width(column, digits), None
    if fixed is None:
        misfits = pc.not_equal(pc.binary_length(column), digits)
        zeros = pa.scalar(b"0" * digits, TEXT_TYPE)
        fixed = _fixed_width(pc.if_else(misfits, zeros, column), digits)
    if fixed is None:
        raise AssertionError("every cell has been given the width of a number")
    written, bad = _digits(fixed.reshape(-1, digits))
    bad |= (written < number_format.lowest) | (written > number_format.highest)
    if misfits is not None:
        bad |= misfits.to_numpy(zero_copy_only=False)
    written += np.uint64(number_format.offset)
    return written, bad


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
    """A column as integers of ``bits`` bits.

    ``texts`` is what they stand for, None where the integer is itself the text of ``width`` bytes.
    """

    index: NDArray[Any]
    bits: int
    texts: list[bytes] | None
    width: int = 0

    def of(self, values: NDArray[np.integer]) -> list[bytes]:
        """Return the texts that integers stand for."""
        if self.texts is None:
            return [value.to_bytes(self.width, "little") for value in values.tolist()]
        return [self.texts[value] for value in values.tolist()]

    def distinct(self) -> NDArray[np.integer]:
        """Return the integers that occur."""
        if self.texts is not None:
            return np.arange(len(self.texts))
        return np.bincount(self.index, minlength=1).nonzero()[0]


def codes_of(column: pa.Array) -> Codes:
    """Give each distinct text of a column of ``TEXT_TYPE`` an integer.

    Texts of exactly one or two bytes are their own integers: no hashing at all.
    """
    for width, dtype in _WIDTH_DTYPES.items():
        fixed = _fixed_width(column, width)
        if fixed is not None:
            return Codes(index=fixed.view(dtype), bits=8 * width, texts=None, width=width)
    encoded = pc.dictionary_encode(column)
    texts: list[bytes] = encoded.dictionary.to_pylist()
    return Codes(index=encoded.indices.to_numpy(), bits=_bits_of(len(texts)), texts=texts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Combined:
    """The distinct combinations of texts in a block.

    ``index``: int32[n], for each row an index into ``texts``: one tuple of cells per combination.
    """

    index: NDArray[np.int32]
    texts: list[tuple[bytes, ...]]

    def where(self, kept: NDArray[np.bool_]) -> Combined:
        """Return the combinations of some rows only."""
        places, index = np.unique(self.index[kept], return_inverse=True)
        return Combined(
            index=index.astype(np.int32), texts=[self.texts[at] for at in places.tolist()]
        )


def combined(columns: Sequence[Codes]) -> Combined:
    """Give each distinct combination of the columns' texts one index.

    The codes are put together as digits of one 64-bit integer, so that a row is hashed once.
    """
    if len(columns) == 1 and columns[0].texts is not None:
        return Combined(index=columns[0].index, texts=[(text,) for text in columns[0].texts])
    together = np.zeros(len(columns[0].index), np.int64)
    bits = 0
    for done, codes in enumerate(columns):
        bits += codes.bits
        if bits > CODE_BITS_MAX:
            # Only a hostile file has this many distinct texts. Number the combinations so far.
            first, second = combined(columns[:done]), combined(columns[done:])
            wide = (first.index.astype(np.int64) << _bits_of(len(second.texts))) | second.index
            both = pc.dictionary_encode(pa.array(wide))
            mask = (1 << _bits_of(len(second.texts))) - 1
            pairs = [divmod(pair, mask + 1) for pair in both.dictionary.to_pylist()]
            texts = [first.texts[one] + second.texts[other] for one, other in pairs]
            return Combined(index=both.indices.to_numpy(), texts=texts)
        together <<= codes.bits
        together |= codes.index
    encoded = pc.dictionary_encode(pa.array(together))
    values = encoded.dictionary.to_numpy()
    cells: list[list[bytes]] = []
    for codes in reversed(columns):
        cells.append(codes.of(values & ((1 << codes.bits) - 1)))
        values = values >> codes.bits
    return Combined(
        index=encoded.indices.to_numpy(), texts=list(zip(*reversed(cells), strict=True))
    )


def _bits_of(count: int) -> int:
    """Return how many bits the integers below ``count`` need."""
    return max(1, (count - 1).bit_length())


def _digits(cells: NDArray[np.uint8]) -> tuple[NDArray[np.uint64], NDArray[np.bool_]]:
    """Return the integers that rows of ASCII digits write, and the mask of other rows."""
    rows, digits = cells.shape
    value = np.zeros(rows, np.uint64)
    bad = np.zeros(rows, np.bool_)
    at = 0
    while digits - at >= _EIGHT:
        word = cells[:, at : at + _EIGHT].copy().view("<u8")[:, 0]
        bad |= _join_eight_digits(word)
        value *= np.uint64(10**_EIGHT)
        value += word
        at += _EIGHT
    for place in range(at, digits):
        digit = cells[:, place] - np.uint8(ord("0"))
        bad |= digit > 9  # noqa: PLR2004 - the largest decimal digit
        value *= np.uint64(10)
        value += digit
    return value, bad


def _join_eight_digits(word: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Turn words of eight ASCII digits into integers in place; return the mask of other words.

    Neighbouring digits are joined into pairs, pairs into fours, fours into eights: each step is one
    multiplication of the whole word, where its parts cannot run into each other.
    """
    word ^= np.uint64(0x3030303030303030)
    # A byte above 9 shows in its top bit, either at once or after 0x76 is added.
    above = word + np.uint64(0x7676767676767676)
    above |= word
    above &= _HIGH_BITS
    mask = np.uint64(0x000000FF000000FF)
    pairs = word >> np.uint64(8)
    word *= np.uint64(10)
    pairs += word
    np.bitwise_and(pairs, mask, out=word)
    word *= np.uint64(100 + (1_000_000 << 32))
    pairs >>= np.uint64(16)
    pairs &= mask
    pairs *= np.uint64(1 + (10_000 << 32))
    word += pairs
    word >>= np.uint64(32)
    bad: NDArray[np.bool_] = above != 0
    return bad


def _fixed_width(column: pa.Array, width: int) -> NDArray[np.uint8] | None:
    """Return the bytes of a binary column whose every cell is ``width`` bytes long, else None.

    Arrow keeps the cells one after another, with int32 offsets between them.
    """
    rows = len(column)
    if rows == 0:
        return np.zeros(0, np.uint8)
    _, offset_buffer, data = column.buffers()
    offsets = np.frombuffer(offset_buffer, np.int32)[column.offset : column.offset + rows + 1]
    if int(offsets[-1]) - int(offsets[0]) != rows * width:
        return None
    if not bool((np.diff(offsets) == width).all()):
        return None
    return np.frombuffer(data, np.uint8)[int(offsets[0]) : int(offsets[-1])]
