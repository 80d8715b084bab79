"""A column of human formats to whole numbers: Arrow arrays of any kind, read as rows of text."""

from __future__ import annotations

import functools

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
    """Read a phone number from every row of a column of strings or integers.

    Row i of the answer equals ``parse`` of row i's text. An integer is read as the text of its
    digits; a null and a negative integer are NOT_A_NUMBER. Raises SettingError when the column is
    of another type, or the region unknown.
    """
    answer = judge_column(column, default_region)
    return read_open(answer, functools.partial(texts_at, column), default_region)


def judge_column(column: pa.Array | pa.ChunkedArray, region: str | None) -> ParsedColumn:
    """Do what ``parse_column`` does, but leave OPEN what is to be read as a text."""
    check_region(region)
    if isinstance(column, pa.ChunkedArray):
        return ParsedColumn.joined([_judge_array(chunk, region) for chunk in column.chunks])
    return _judge_array(column, region)


def texts_at(column: pa.Array | pa.ChunkedArray, rows: NDArray[np.int64]) -> list[str]:
    """Return the texts of some rows, invalid UTF-8 replaced; an empty text for a null."""
    if pa.types.is_string_view(column.type):
        column = column.cast(pa.large_string())  # there is no taking of some of its rows
    cells = column.take(pa.array(rows))
    if pa.types.is_dictionary(cells.type):
        cells = cells.cast(cells.type.value_type)
    words = cells.cast(pa.large_string()).cast(pa.large_binary()).to_pylist()
    return [(word or b"").decode(errors="replace") for word in words]


def _judge_array(array: pa.Array, region: str | None) -> ParsedColumn:
    kind = array.type
    if array.null_count == len(array):
        return ParsedColumn.refused(len(array), InvalidReason.NOT_A_NUMBER)
    if pa.types.is_dictionary(kind):
        words = _judge_array(array.dictionary, region)
        places = pc.fill_null(array.indices, 0).to_numpy()
        answer = ParsedColumn(words.numbers.take(places), words.reasons.take(places))
    elif pa.types.is_integer(kind) or kind in _TEXTS:
        # The rows of nulls are judged as anything.
        strings = array.cast(pa.large_string())
        _, offset_buffer, text_buffer = strings.buffers()
        first = strings.offset * np.dtype(np.int64).itemsize
        offsets = np.frombuffer(offset_buffer, np.int64, count=len(strings) + 1, offset=first)
        text = np.frombuffer(b"" if text_buffer is None else text_buffer, np.uint8)
        answer = judge_texts(text, offsets, region)
        if pa.types.is_signed_integer(kind):
            negative = pc.fill_null(pc.less(array, 0), fill_value=False)
            answer.refuse(negative.to_numpy(zero_copy_only=False), InvalidReason.NOT_A_NUMBER)
    else:
        raise SettingError(
            f"a column of type {kind} holds no phone numbers",
            hint="Give a column of strings or of integers",
        )
    if array.null_count:
        missing = array.is_null().to_numpy(zero_copy_only=False)
        answer.refuse(missing, InvalidReason.NOT_A_NUMBER)
    return answer
