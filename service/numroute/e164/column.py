"""A column of human formats to whole numbers: Arrow arrays of any kind, read as rows of text."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from numroute.e164.metadata import check_region
from numroute.e164.rows import ParsedColumn, judge_texts, read_open
from numroute.errors import SettingError
from numroute.model import InvalidReason

_TEXTS = (pa.string(), pa.large_string(), pa.string_view())


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
    answer = judge_column(column, region)
    rows = np.flatnonzero(answer.is_open)
    read_open(answer, rows, texts_at(column, rows), region)
    return answer


def judge_column(column: pa.Array | pa.ChunkedArray, region: str | None) -> ParsedColumn:
    """Do what ``parse_column`` does, but leave open rows unread: number 0, no reason.

    ``region`` is one that ``check_region`` returned.
    """
    answer = ParsedColumn.of(len(column))
    start = 0
    for chunk in column.chunks if isinstance(column, pa.ChunkedArray) else [column]:
        _judge_array(chunk, region, answer.piece(start, start + len(chunk)))
        start += len(chunk)
    return answer


def texts_at(column: pa.Array | pa.ChunkedArray, rows: NDArray[np.int64]) -> list[str]:
    """Return the texts of some rows, invalid UTF-8 replaced; an empty text for a null."""
    if pa.types.is_string_view(column.type):
        column = column.cast(pa.large_string())  # there is no taking of some of its rows
    cells = column.take(pa.array(rows))
    if pa.types.is_dictionary(cells.type):
        cells = cells.cast(cells.type.value_type)
    words = cells.cast(pa.large_string()).cast(pa.large_binary()).to_pylist()
    return [(word or b"").decode(errors="replace") for word in words]


def _judge_array(array: pa.Array, region: str | None, answer: ParsedColumn) -> None:
    """Fill the answer of one array."""
    kind = array.type
    if pa.types.is_dictionary(kind):
        words = judge_column(array.dictionary, region)
        places = pc.fill_null(array.indices, 0).to_numpy()
        if len(words.numbers):
            np.take(words.numbers, places, out=answer.numbers)
            np.take(words.reasons, places, out=answer.reasons)
            np.take(words.is_open, places, out=answer.is_open)
    elif pa.types.is_integer(kind) or kind in _TEXTS:
        _judge_texts(array.cast(pa.large_string()), region, answer)
        if pa.types.is_signed_integer(kind):
            negative = pc.fill_null(pc.less(array, 0), fill_value=False)
            _refuse(negative.to_numpy(zero_copy_only=False), answer)
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
    answer.is_open[rows] = False


def _judge_texts(array: pa.Array, region: str | None, answer: ParsedColumn) -> None:
    """Fill the answer of an array of large_string, nulls' rows with anything."""
    if len(array) == 0:
        return
    _, offset_buffer, text_buffer = array.buffers()
    first = array.offset * np.dtype(np.int64).itemsize
    offsets = np.frombuffer(offset_buffer, np.int64, count=len(array) + 1, offset=first)
    text = np.frombuffer(b"" if text_buffer is None else text_buffer, np.uint8)
    judge_texts(text, offsets, region, answer)
