"""A column of human formats to whole numbers.

Most rows are digits and separators of some script: those are judged as whole-array operations.
What remains (letters, extensions, parameters) goes through ``parse``, each distinct text once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from numroute.e164.decision_table import decision_table
from numroute.e164.metadata import check_region
from numroute.e164.parse import parse_in_region
from numroute.e164.rows import ROW_BYTES_MAX, judge_rows, rows_at
from numroute.errors import SettingError
from numroute.model import InvalidReason

if TYPE_CHECKING:
    from numpy.typing import NDArray

PIECE_ROWS: Final = 16_384
"""Rows judged at once: their bytes and all temporaries stay within a core's cache."""

_TEXTS_KEPT_MAX: Final = 100_000
"""Distinct texts whose answers are kept during one call."""


@dataclass(frozen=True, slots=True, eq=False)
class ParsedColumn:
    """What a column says, row by row.

    ``numbers``: uint64[n], whole E.164 numbers; 0 where a row is invalid.
    ``reasons``: uint8[n] of InvalidReason values; UNSPECIFIED (0) where a row is valid.
    """

    numbers: NDArray[np.uint64]
    reasons: NDArray[np.uint8]


def parse_column(
    column: pa.Array | pa.ChunkedArray, default_region: str | None = None
) -> ParsedColumn:
    """Read a phone number from every row of a column.

    Row i of the answer equals ``parse`` of row i's text. An integer is read as the text of its
    digits; a null and a negative integer are NOT_A_NUMBER.

    Args:
        column: string, large_string, string_view or integers, or a dictionary of one of them;
            whole, sliced or in chunks.
        default_region: ISO 3166 code of the country whose national formats are understood, e.g.
            ``RU``; None or empty when there is none.

    Raises:
        SettingError: the default region is unknown, or the column is of another type.
    """
    region = check_region(default_region)
    answer = ParsedColumn(np.zeros(len(column), np.uint64), np.zeros(len(column), np.uint8))
    start = 0
    for chunk in column.chunks if isinstance(column, pa.ChunkedArray) else [column]:
        rows = slice(start, start + len(chunk))
        _parse_array(chunk, region, ParsedColumn(answer.numbers[rows], answer.reasons[rows]))
        start += len(chunk)
    return answer


def _parse_array(array: pa.Array, region: str | None, answer: ParsedColumn) -> None:
    """Fill the answer of one array."""
    kind = array.type
    if pa.types.is_dictionary(kind):
        words = parse_column(array.dictionary, region)
        places = pc.fill_null(array.indices, 0).to_numpy()
        if len(words.numbers):
            np.take(words.numbers, places, out=answer.numbers)
            np.take(words.reasons, places, out=answer.reasons)
    elif pa.types.is_integer(kind):
        _parse_texts(array.cast(pa.large_string()), region, answer)
        if pa.types.is_signed_integer(kind):
            negative = pc.fill_null(pc.less(array, 0), fill_value=False)
            _refuse(negative.to_numpy(zero_copy_only=False), answer)
    elif pa.types.is_string(kind) or pa.types.is_large_string(kind):
        _parse_texts(array, region, answer)
    elif pa.types.is_string_view(kind):
        _parse_texts(array.cast(pa.large_string()), region, answer)
    elif not pa.types.is_null(kind):
        raise SettingError(
            f"a column of type {kind} holds no phone numbers",
            hint="Give a column of strings or of integers",
        )
    if array.null_count:
        _refuse(array.is_null().to_numpy(zero_copy_only=False), answer)


def _refuse(rows: NDArray[np.bool_], answer: ParsedColumn) -> None:
    answer.numbers[rows] = 0
    answer.reasons[rows] = InvalidReason.NOT_A_NUMBER


def _parse_texts(array: pa.Array, region: str | None, answer: ParsedColumn) -> None:
    """Fill the answer of an array of string or large_string, nulls' rows with anything."""
    if len(array) == 0:
        return
    width = np.dtype(np.int64 if pa.types.is_large_string(array.type) else np.int32)
    _, offset_buffer, text_buffer = array.buffers()
    offsets = np.frombuffer(
        offset_buffer, width, count=len(array) + 1, offset=array.offset * width.itemsize
    )
    text = np.frombuffer(b"" if text_buffer is None else text_buffer, np.uint8)
    known: dict[bytes, tuple[int, InvalidReason]] = {}
    for first in range(0, len(array), PIECE_ROWS):
        rows = slice(first, min(first + PIECE_ROWS, len(array)))
        piece = ParsedColumn(answer.numbers[rows], answer.reasons[rows])
        _parse_piece(
            text, offsets[rows.start : rows.stop + 1].astype(np.int64), region, piece, known
        )


def _parse_piece(
    text: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    region: str | None,
    answer: ParsedColumn,
    known: dict[bytes, tuple[int, InvalidReason]],
) -> None:
    """Fill the answer of a piece. Rows too long to be read are not even copied."""
    rows: NDArray[np.int64] | None = None
    text = text[offsets[0] : offsets[-1]]
    offsets = offsets - offsets[0]
    is_long = np.diff(offsets) > ROW_BYTES_MAX
    if is_long.any():
        answer.reasons[is_long] = InvalidReason.TOO_LONG
        rows = np.flatnonzero(~is_long)
        text, offsets = rows_at(text, offsets, rows)
    judged = judge_rows(text, offsets, decision_table(region))
    for row in np.flatnonzero(judged.is_open).tolist():
        raw = text[offsets[row] : offsets[row + 1]].tobytes()
        found = known.get(raw)
        if found is None:
            parsed = parse_in_region(raw.decode(errors="replace"), region)
            found = (parsed.number, parsed.reason)
            if len(known) < _TEXTS_KEPT_MAX:
                known[raw] = found
        judged.numbers[row], judged.reasons[row] = found
    place = slice(None) if rows is None else rows
    answer.numbers[place] = judged.numbers
    answer.reasons[place] = judged.reasons
