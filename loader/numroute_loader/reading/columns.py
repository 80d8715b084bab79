"""Arrow columns of one block as numpy arrays: numbers, times, and codes for texts.

Nothing here works on one row at a time. A function returns None where a cell is not what it should
be; which cell, ``diagnose`` finds.
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
"""What a column of times is parsed as; pyarrow then insists on an offset from UTC in each cell."""

TEXT_TYPE = pa.binary()
"""What a column of digits or codes is parsed as: bytes, whatever their encoding."""

CODE_BITS_MAX = 62
"""How many bits the codes of all columns together may take in one signed integer."""

_SECONDS_MAX = 2**32 - 1
_EIGHT = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Combined:
    """Which texts stand together in the rows of a block.

    ``index``: int32[n], for each row an index into ``texts``: one tuple of cells per distinct
    combination.
    """

    index: NDArray[np.int32]
    texts: list[tuple[bytes, ...]]


def numbers_of(column: pa.Array, number_format: NumberFormat) -> NDArray[np.uint64] | None:
    """Return whole E.164 numbers, uint64[n], of a column of ``TEXT_TYPE``; None if one is wrong."""
    written = _digits_of(column, number_format.digits)
    if written is None:
        return None
    if written.size and not (
        number_format.lowest <= int(written.min()) and int(written.max()) <= number_format.highest
    ):
        return None
    written += np.uint64(number_format.offset)
    return written


def seconds_of(column: pa.Array) -> NDArray[np.uint32] | None:
    """Return seconds since 1970 UTC, uint32[n], of a column of ``TIME_TYPE``; an empty cell is 0.

    None when a time lies before 1970 or after 2106.
    """
    seconds = column.cast(pa.int64())
    if seconds.null_count:
        seconds = seconds.fill_null(0)
    values: NDArray[np.int64] = seconds.to_numpy()
    if values.size and (int(values.min()) < 0 or int(values.max()) > _SECONDS_MAX):
        return None
    return values.astype(np.uint32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Codes:
    """A column as integers of ``bits`` bits; ``texts`` None when the integer is the text itself."""

    index: NDArray[Any]
    bits: int
    texts: list[bytes] | None
    width: int = 0


def codes_of(column: pa.Array) -> Codes:
    """Give each distinct text of a column of ``TEXT_TYPE`` an integer.

    Texts of exactly one or two bytes are their own integers: no hashing at all.
    """
    for width, dtype in ((2, "<u2"), (1, "u1")):
        fixed = _fixed_width(column, width)
        if fixed is not None:
            return Codes(index=fixed.view(dtype), bits=8 * width, texts=None, width=width)
    encoded = pc.dictionary_encode(column)
    texts: list[bytes] = encoded.dictionary.to_pylist()
    return Codes(index=encoded.indices.to_numpy(), bits=_bits_of(len(texts)), texts=texts)


def combined(columns: Sequence[Codes]) -> Combined:
    """Give each distinct combination of the columns' texts one index.

    The codes are put together as digits of one 64-bit integer, so that a row is hashed once.
    """
    if len(columns) == 1 and columns[0].texts is not None:
        only = columns[0]
        return Combined(index=only.index, texts=[(text,) for text in only.texts or ()])
    together = np.zeros(len(columns[0].index), np.int64)
    bits = 0
    for done, codes in enumerate(columns):
        bits += codes.bits
        if bits > CODE_BITS_MAX:
            # No dump has so many distinct texts. Number the combinations so far, and go on.
            return _in_two_steps(together, columns[:done], columns[done:])
        together <<= codes.bits
        together |= codes.index
    dense = _encoded(together)
    return Combined(index=dense.indices, texts=_texts_of(dense.values, columns))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Encoded:
    """Dictionary encoding: ``values[indices]`` is what was encoded."""

    indices: NDArray[np.int32]
    values: NDArray[np.int64]


def _encoded(values: NDArray[np.int64]) -> _Encoded:
    encoded = pc.dictionary_encode(pa.array(values))
    return _Encoded(indices=encoded.indices.to_numpy(), values=encoded.dictionary.to_numpy())


def _bits_of(count: int) -> int:
    """Return how many bits the integers below ``count`` need."""
    return max(1, (count - 1).bit_length())


def _in_two_steps(
    together: NDArray[np.int64], before: Sequence[Codes], after: Sequence[Codes]
) -> Combined:
    first = _encoded(together)
    first_texts = _texts_of(first.values, before)
    second = combined(after)
    bits = _bits_of(len(second.texts))
    both = _encoded((first.indices.astype(np.int64) << bits) | second.index)
    mask = (1 << bits) - 1
    return Combined(
        index=both.indices,
        texts=[first_texts[i >> bits] + second.texts[i & mask] for i in both.values.tolist()],
    )


def _texts_of(values: NDArray[np.int64], parts: Sequence[Codes]) -> list[tuple[bytes, ...]]:
    """Take the combined integers apart again: one tuple of texts for each."""
    texts: list[list[bytes]] = []
    for part in reversed(parts):
        digits = (values & ((1 << part.bits) - 1)).tolist()
        values = values >> part.bits
        if part.texts is None:
            texts.append([digit.to_bytes(part.width, "little") for digit in digits])
        else:
            texts.append([part.texts[digit] for digit in digits])
    return list(zip(*reversed(texts), strict=True))


def _digits_of(column: pa.Array, digits: int) -> NDArray[np.uint64] | None:
    """Return the integers that a column of exactly so many ASCII digits writes."""
    fixed = _fixed_width(column, digits)
    if fixed is None:
        return None
    cells = fixed.reshape(-1, digits)
    value = np.zeros(len(cells), np.uint64)
    at = 0
    while digits - at >= _EIGHT:
        eight = _eight_digits(np.ascontiguousarray(cells[:, at : at + _EIGHT]).view("<u8")[:, 0])
        if eight is None:
            return None
        value *= np.uint64(10**_EIGHT)
        value += eight
        at += _EIGHT
    for place in range(at, digits):
        digit = cells[:, place] - np.uint8(ord("0"))
        if digit.size and int(digit.max()) > 9:  # noqa: PLR2004 - the largest decimal digit
            return None
        value *= np.uint64(10)
        value += digit
    return value


def _eight_digits(word: NDArray[np.uint64]) -> NDArray[np.uint64] | None:
    """Return the integers that words of eight ASCII digits write, all eight at once.

    Neighbouring digits are joined into pairs, pairs into fours, fours into eights: each step is one
    multiplication of the whole word, where its parts cannot run into each other.
    """
    word ^= np.uint64(0x3030303030303030)
    # A byte above 9 shows in its top bit, either by itself or once 0x76 is added.
    above = (word + np.uint64(0x7676767676767676)) | word
    if word.size and int(np.bitwise_or.reduce(above)) & 0x8080808080808080:
        return None
    pairs = word * np.uint64(10)
    pairs += word >> np.uint64(8)
    mask = np.uint64(0x000000FF000000FF)
    upper = pairs & mask
    upper *= np.uint64(100 + (1_000_000 << 32))
    pairs >>= np.uint64(16)
    pairs &= mask
    pairs *= np.uint64(1 + (10_000 << 32))
    pairs += upper
    pairs >>= np.uint64(32)
    return pairs


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
