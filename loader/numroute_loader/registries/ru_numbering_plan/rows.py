"""The rows of a numbering-plan file, as columns.

A regular file is read in one pass by pyarrow. Whatever that pass finds irregular sends the whole
file line by line through ``plan_lines``, which repairs what a plan's description says how to
repair and refuses the rest with its line.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from numroute_loader.registries.ru_numbering_plan.columns import (
    CAPACITY,
    CODE,
    DELIMITER,
    END,
    OPERATOR,
    REGION,
    START,
    TAX_NUMBER,
    TERRITORY,
)
from numroute_loader.registries.ru_numbering_plan.lines import BLANKS, read_lines

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from numroute_loader.registries.ru_numbering_plan.columns import Layout
    from numroute_loader.registries.ru_numbering_plan.text import PlanText

_NUMERIC = {
    CODE: r"^[3489][0-9]{2}$",
    START: r"^[0-9]{1,7}$",
    END: r"^[0-9]{1,7}$",
    CAPACITY: r"^[0-9]{1,8}$",
}
_TEXTUAL = (OPERATOR, REGION, TERRITORY, TAX_NUMBER)


@dataclass(frozen=True, slots=True, kw_only=True)
class TextColumn:
    """A column of few distinct texts: ``index`` int32[m] into ``values``, as spelled."""

    index: NDArray[np.int32]
    values: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanRows:
    """The rows of a plan in the file's order; every capacity has been checked.

    ``code``, ``start``, ``end``: int64[m]; the last two are the seven digits after the code.
    ``line``: int64[m], the line that each row stands on, counted from 1.
    ``texts``: the columns ``OPERATOR``, ``REGION``, ``TERRITORY`` and ``TAX_NUMBER``; those that
    the file does not have are columns of "".
    """

    code: NDArray[np.int64]
    start: NDArray[np.int64]
    end: NDArray[np.int64]
    line: NDArray[np.int64]
    texts: Mapping[str, TextColumn]
    warnings: Sequence[str] = ()


def read_rows(text: PlanText, layout: Layout) -> PlanRows:
    """Read the rows of a plan.

    Raises:
        InputError: a row is not what its columns should hold.
    """
    regular = _read_regular(text, layout)
    return _read_irregular(text, layout) if regular is None else regular


def _read_regular(text: PlanText, layout: Layout) -> PlanRows | None:
    """Read a file whose every line is a regular row; None where one of them is not."""
    # A column that is not read still needs a name of its own.
    names = [column or f"unread {place}" for place, column in enumerate(layout.columns)]
    dictionary = pa.dictionary(pa.int32(), pa.string())
    types = {name: dictionary if name in _TEXTUAL else pa.string() for name in names}
    try:
        table = csv.read_csv(
            pa.BufferReader(text.data),
            # One block keeps one dictionary per column; the file is small.
            read_options=csv.ReadOptions(
                use_threads=False,
                block_size=len(text.data) + 1,
                skip_rows=int(layout.header),
                column_names=names,
            ),
            parse_options=csv.ParseOptions(
                delimiter=DELIMITER, quote_char=False, double_quote=False, escape_char=False
            ),
            convert_options=csv.ConvertOptions(
                column_types=types,
                include_columns=[column for column in layout.columns if column],
                strings_can_be_null=False,
                check_utf8=False,
            ),
        )
    except pa.ArrowInvalid:
        # Its text would hold cell values; the reading by lines finds the same defect.
        return None
    first_line = 1 + int(layout.header)
    if table.num_rows != text.line_count - int(layout.header):
        return None
    numbers = {}
    for name, pattern in _NUMERIC.items():
        column = pc.ascii_trim(table.column(name), characters=BLANKS)
        if not pc.all(pc.match_substring_regex(column, pattern)).as_py():
            return None
        numbers[name] = pc.cast(column, pa.int64()).to_numpy()
    if not (numbers[START] <= numbers[END]).all():
        return None
    if not (numbers[END] - numbers[START] + 1 == numbers[CAPACITY]).all():
        return None
    return PlanRows(
        code=numbers[CODE],
        start=numbers[START],
        end=numbers[END],
        line=np.arange(first_line, first_line + table.num_rows, dtype=np.int64),
        texts={
            name: _text_column(table.column(name) if name in names else None, table.num_rows)
            for name in _TEXTUAL
        },
    )


def _read_irregular(text: PlanText, layout: Layout) -> PlanRows:
    """Read line by line."""
    lines = read_lines(text, layout)
    return PlanRows(
        code=np.array(lines.code, dtype=np.int64),
        start=np.array(lines.start, dtype=np.int64),
        end=np.array(lines.end, dtype=np.int64),
        line=np.array(lines.line, dtype=np.int64),
        texts={
            name: _text_column(pa.chunked_array([pa.array(values, pa.string())]), len(values))
            for name, values in lines.texts.items()
        },
        warnings=lines.warnings,
    )


def _text_column(column: pa.ChunkedArray | None, rows: int) -> TextColumn:
    """Return a column as indexes into its distinct values."""
    if column is None:
        return TextColumn(index=np.zeros(rows, dtype=np.int32), values=("",))
    if not pa.types.is_dictionary(column.type):
        column = pc.dictionary_encode(column)
    combined = column.unify_dictionaries().combine_chunks()
    return TextColumn(index=combined.indices.to_numpy(), values=combined.dictionary.to_pylist())
