"""Rows of output as delimited text, a whole block at a time.

An Arrow array of strings keeps its texts one after the other, so an array of whole lines is the
text of the file.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from numroute.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_FORMULA: Final = r"^[=+\-@\t\r\n]"
"""How a cell begins that a spreadsheet may run as a formula."""

_DELIMITERS: Final = (",", ";", "\t")
"""Where a spreadsheet may split a line, besides at the file's own delimiter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """How cells become text.

    Attributes:
        delimiter: One character.
        quoting: ``needed``, ``all``, or ``none``, which refuses cells that need quotes.
        is_spreadsheet_safe: Whether an apostrophe goes before what a spreadsheet may run as a
            formula, at the start of a cell or behind a place where a spreadsheet may split it.
        line_end: The end of each line.
    """

    delimiter: str = ","
    quoting: str = "needed"
    is_spreadsheet_safe: bool = True
    line_end: str = "\n"

    @property
    def special(self) -> str:
        """A regular expression for characters that need quotes."""
        quote = "" if self.quoting == "none" else '"'
        others = "" if self.quoting == "none" else "".join(_DELIMITERS)
        return f"[{quote}{others}{re.escape(self.delimiter)}\\r\\n]"

    @property
    def inner_formula(self) -> str:
        """A regular expression for formulas where a spreadsheet may split a cell."""
        others = "".join(each for each in _DELIMITERS if each != self.delimiter)
        return f"([{others}\\r\\n])([=+\\-@])"


CSV: Final = Dialect()


@dataclass(frozen=True, slots=True, kw_only=True)
class RowText:
    """Lines of text. ``data``: their bytes; ``offsets``: int[n + 1], where each line begins."""

    data: memoryview
    offsets: NDArray[np.int32]

    def lines(self, begin: int, end: int) -> memoryview:
        """Return the bytes of some lines."""
        return self.data[int(self.offsets[begin]) : int(self.offsets[end])]


def rows_text(columns: Sequence[pa.Array], dialect: Dialect = CSV) -> RowText:
    """Return the lines of columns of values."""
    return lines_text([cells_text(column, dialect) for column in columns], dialect)


def lines_text(cells: Sequence[pa.Array], dialect: Dialect = CSV) -> RowText:
    """Return the lines of cells that are delimited text already, one array per column."""
    last = pc.binary_join_element_wise(cells[-1], dialect.line_end, "")
    lines = pc.binary_join_element_wise(*cells[:-1], last, dialect.delimiter)
    _, offsets, data = lines.buffers()
    return RowText(
        data=memoryview(data if data is not None else b""),
        offsets=np.frombuffer(offsets, np.int32, count=len(lines) + 1, offset=lines.offset * 4),
    )


def header_text(names: Sequence[str], dialect: Dialect = CSV) -> bytes:
    """Return the line of the column names."""
    text = rows_text([pa.array([name], pa.string()) for name in names], dialect)
    return bytes(text.lines(0, 1))


def plain_texts(column: pa.Array) -> pa.Array:
    """Return a column of any type as string[n]; lists and structs as JSON, nulls stay."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_nested(column.type):
        values = column.to_pylist()
        texts = [
            None if each is None else json.dumps(each, ensure_ascii=False, default=str)
            for each in values
        ]
        return pa.array(texts, pa.string())
    if pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type):
        values = column.to_pylist()
        return pa.array(
            [None if each is None else each.decode(errors="replace") for each in values],
            pa.string(),
        )
    return column.cast(pa.string())


def cells_text(column: pa.Array, dialect: Dialect = CSV) -> pa.Array:
    """Return a column's values as cells, a null as an empty one.

    Raises:
        SettingError: A cell needs quotes, and the dialect has none.
    """
    is_text = not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type))
    texts = pc.fill_null(pc.cast(column, pa.string()), "")
    if not is_text and dialect.quoting != "all":
        return texts
    special = pc.match_substring_regex(texts, dialect.special)
    has_special = pc.any(special).as_py()
    if is_text and dialect.is_spreadsheet_safe:
        formula = pc.match_substring_regex(texts, _FORMULA)
        if pc.any(formula).as_py():
            texts = pc.if_else(formula, pc.binary_join_element_wise("'", texts, ""), texts)
        if has_special or dialect.quoting == "none":
            texts = pc.replace_substring_regex(texts, dialect.inner_formula, r"\1'\2")
    if has_special and dialect.quoting == "none":
        raise SettingError(
            'a cell holds the delimiter or a line break, which quoting = "none" cannot write',
            hint='Give the template quoting = "needed", or another delimiter',
        )
    if has_special or dialect.quoting == "all":
        escaped = pc.replace_substring(texts, '"', '""')
        quoted = pc.binary_join_element_wise('"', escaped, '"', "")
        texts = quoted if dialect.quoting == "all" else pc.if_else(special, quoted, texts)
    return texts
