"""Output templates, rows as delimited text, and the files that it is appended to.

A template is a ``[template.NAME]`` table of a policy file: what a supplier's files look like. Rows
become text a whole block at a time: an Arrow array of strings keeps its texts one after the other,
so an array of lines is the file's text.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Sequence
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from numroute.errors import SettingError
from numroute_campaign.lists.cells import unpacked
from numroute_campaign.routers import DefaultCountry

_FORMULA: Final = r"^[=+\-@\t\r\n]"
"""How a cell begins that a spreadsheet may run as a formula."""

_DELIMITERS: Final = (",", ";", "\t")
"""Where a spreadsheet may split a line, besides at the file's own delimiter."""


ROW_ID: Final = "row_id"
NUMBER: Final = "number"
ROUTE_COLUMNS: Final = ("route", "operator", "mcc", "mnc", "status")
WINDOW_COLUMNS: Final = ("send_from_utc", "send_until_utc")

LINE_ENDS: Final = {"lf": "\n", "crlf": "\r\n"}

_SOURCES: Final = (ROW_ID, NUMBER, *ROUTE_COLUMNS, *WINDOW_COLUMNS)
LIST_PREFIX: Final = "list:"
TEXT_PREFIX: Final = "text:"


class Template(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A ``[template.NAME]``.

    Attributes:
        columns: Column names in order, each with its source: ``row_id``, ``number``, a column of
            the route, ``list:NAME`` for a column of the list, or ``text:WORDS`` for a fixed text.
        quoting: ``none`` refuses cells that need quotes.
        header: Whether a line has the column names.
        header_block: Lines before it; ``{route}``, ``{send_from_utc}`` and ``{send_until_utc}`` are
            replaced.
        number: ``international`` (all digits) or ``national`` (without the country code, for
            numbers of the default country).
        number_prefix: Goes before international numbers, or before national ones: ``+``, ``8``.
        spreadsheet_safe: Whether an apostrophe goes before what a spreadsheet may run as a
            formula, at the start of a cell or where a spreadsheet may split it.
    """

    columns: dict[str, str]
    delimiter: Annotated[str, msgspec.Meta(pattern=r"""^[^"\r\n]\Z""")] = ";"
    encoding: Literal["utf-8", "utf-8-sig", "cp1251", "koi8-r", "cp866"] = "utf-8"
    quoting: Literal["needed", "all", "none"] = "needed"
    line_end: Literal["lf", "crlf"] = "lf"
    header: bool = True
    header_block: tuple[str, ...] = ()
    number: Literal["international", "national"] = "international"
    number_prefix: Annotated[str, msgspec.Meta(pattern=r"^[+0-9]{0,4}\Z")] = ""
    file_per_window: bool = False
    file_ending: Annotated[str, msgspec.Meta(pattern=r"^\.[a-z0-9]{1,8}\Z")] = ".csv"
    spreadsheet_safe: bool = True

    def __post_init__(self) -> None:
        if not self.columns:
            raise ValueError("columns: the template has no column")
        for name, source in self.columns.items():
            if not source.startswith((LIST_PREFIX, TEXT_PREFIX)) and source not in _SOURCES:
                raise ValueError(
                    f"columns: {name}: unknown source {source!r}. Write one of "
                    f'{", ".join(_SOURCES)}, "list:COLUMN" or "text:WORDS"'
                )
        try:
            for line in self.header_block:
                line.format(route="", send_from_utc="", send_until_utc="")
        except (LookupError, ValueError):
            raise ValueError(
                "header_block: unknown placeholder. Use {route}, {send_from_utc} or "
                "{send_until_utc}; write {{ for a brace"
            ) from None

    def begin(self, route: str, send_from: str, send_until: str) -> bytes:
        """Return what a file begins with, in UTF-8."""
        names = {"route": route, "send_from_utc": send_from, "send_until_utc": send_until}
        end = LINE_ENDS[self.line_end]
        lines = "".join(f"{line.format(**names)}{end}" for line in self.header_block)
        mark = "\N{BYTE ORDER MARK}" if self.encoding == "utf-8-sig" else ""
        columns = header_text(list(self.columns), self) if self.header else b""
        return f"{mark}{lines}".encode() + columns

    @property
    def special(self) -> str:
        """A regular expression for characters that need quotes."""
        if self.quoting == "none":
            return f"[{re.escape(self.delimiter)}\\r\\n]"
        return f'["{"".join(_DELIMITERS)}{re.escape(self.delimiter)}\\r\\n]'

    @property
    def inner_formula(self) -> str:
        """A regular expression for formulas where a spreadsheet may split a cell."""
        others = "".join(each for each in _DELIMITERS if each != self.delimiter)
        return f"([{others}\\r\\n])([=+\\-@])"


CSV: Final = Template(columns={ROW_ID: ROW_ID}, delimiter=",")
"""How everything is written that has no template; of ``columns`` it only needs some."""


def rows_text(columns: Sequence[pa.Array], template: Template = CSV) -> pa.Array:
    """Return string[n], the lines of columns of values."""
    return lines_text([cells_text(column, template) for column in columns], template)


def lines_text(cells: Sequence[pa.Array], template: Template = CSV) -> pa.Array:
    """Return string[n], the lines of columns of cells that are delimited text already."""
    last = pc.binary_join_element_wise(cells[-1], LINE_ENDS[template.line_end], "")
    return pc.binary_join_element_wise(*cells[:-1], last, template.delimiter)


def bytes_of(lines: pa.Array) -> memoryview:
    """Return the bytes of lines, without a copy."""
    _, offsets, data = lines.buffers()
    places = np.frombuffer(offsets, np.int32)
    return memoryview(data)[places[lines.offset] : places[lines.offset + len(lines)]]


def header_text(names: Sequence[str], template: Template = CSV) -> bytes:
    """Return the line of the column names."""
    return bytes(bytes_of(rows_text([pa.array([name], pa.string()) for name in names], template)))


def plain_texts(column: pa.Array) -> pa.Array:
    """Return a column of any type as string[n]; lists and structs as JSON, nulls stay."""
    column = unpacked(column)
    kind = column.type
    if pa.types.is_nested(kind):
        made: Callable[[Any], str] = partial(json.dumps, ensure_ascii=False, default=str)
    elif pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        made = partial(bytes.decode, errors="replace")
    else:
        return column.cast(pa.string())
    cells = [None if cell is None else made(cell) for cell in column.to_pylist()]
    return pa.array(cells, pa.string())


def cells_text(column: pa.Array, template: Template = CSV) -> pa.Array:
    """Return a column's values as cells, a null as an empty one.

    Raises SettingError if a cell needs quotes and the template has none.
    """
    is_text = not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type))
    texts = pc.fill_null(plain_texts(column), "")
    if not is_text and template.quoting != "all":
        return texts
    special = pc.match_substring_regex(texts, template.special)
    has_special = pc.any(special).as_py()
    if is_text and template.spreadsheet_safe:
        formula = pc.match_substring_regex(texts, _FORMULA)
        if pc.any(formula).as_py():
            texts = pc.if_else(formula, pc.binary_join_element_wise("'", texts, ""), texts)
        if has_special or template.quoting == "none":
            texts = pc.replace_substring_regex(texts, template.inner_formula, r"\1'\2")
    if has_special and template.quoting == "none":
        raise SettingError(
            'a cell holds the delimiter or a line break, which quoting = "none" cannot write',
            hint='Give the template quoting = "needed", or another delimiter',
        )
    if has_special or template.quoting == "all":
        escaped = pc.replace_substring(texts, '"', '""')
        quoted = pc.binary_join_element_wise('"', escaped, '"', "")
        texts = quoted if template.quoting == "all" else pc.if_else(special, quoted, texts)
    return texts


class LineMaker:
    """Makes rows into lines of text by a template.

    Rows are batches: the row id, the number or its pseudonym, the code, then the kept columns.
    """

    def __init__(self, template: Template, kept: Sequence[str], country: DefaultCountry) -> None:
        """``kept`` are the names of the kept columns, ``country`` is the list's default."""
        self.template, self._country = template, country
        self._places = {ROW_ID: 0, NUMBER: 1}
        self._places |= {LIST_PREFIX + name: place for place, name in enumerate(kept, 3)}
        # Neighbouring columns that depend on the route alone become one text per route.
        sources = enumerate(template.columns.values())
        parts = groupby(sources, lambda each: each[0] if each[1] in self._places else -1)
        self._parts = [[source for _, source in part] for _, part in parts]
        self._route_cells: list[pa.Array] = []

    def take_decisions(self, column: Callable[[str], pa.Array]) -> None:
        """Make the cells of the routes that are decided; ``column`` gives them by their source."""
        self._route_cells = [
            pa.nulls(0, pa.string())
            if sources[0] in self._places
            else pc.binary_join_element_wise(
                *(cells_text(column(each), self.template) for each in sources),
                self.template.delimiter,
            )
            for sources in self._parts
        ]

    def lines(self, rows: pa.RecordBatch) -> pa.Array:
        """Return the lines of rows."""
        cells = []
        for (source, *_), texts in zip(self._parts, self._route_cells, strict=True):
            if source not in self._places:
                cells.append(texts.take(rows.column(2)))
            elif source == NUMBER:
                cells.append(self._numbers(rows.column(1)))
            else:
                cells.append(cells_text(rows.column(self._places[source]), self.template))
        return lines_text(cells, self.template)

    def _numbers(self, numbers: pa.Array) -> pa.Array:
        """Return numbers or pseudonyms as cells; they never need quotes, nor are they formulas."""
        template, texts = self.template, pc.cast(numbers, pa.string())
        country_code = self._country.country_code
        if pa.types.is_string(numbers.type):
            pass  # pseudonyms
        elif template.number == "national" and country_code:
            national = pc.utf8_slice_codeunits(texts, len(country_code))
            prefixed = pc.binary_join_element_wise(template.number_prefix, national, "")
            texts = pc.if_else(self._country.are_foreign(texts), texts, prefixed)
        elif template.number == "international" and template.number_prefix:
            texts = pc.binary_join_element_wise(template.number_prefix, texts, "")
        if template.quoting == "all":
            texts = pc.binary_join_element_wise('"', texts, '"', "")
        return texts


class TextFiles:
    """The text files of one output route: one file, or parts of ``rows_per_file`` rows each.

    Attributes:
        rows: How many rows were written.
        names: The names of the files.
    """

    def __init__(
        self, path: Path, head: bytes, rows_per_file: int | None = None, template: Template = CSV
    ) -> None:
        """Name the files, ``path`` and an ending; the first row creates one. ``head`` is UTF-8."""
        self._path, self._ending = path, template.file_ending
        self._head, self._encoding = head, template.encoding.removesuffix("-sig")
        self._rows_per_file = rows_per_file
        self.rows = 0
        self.names: list[str] = []

    def append(self, lines: pa.Array) -> None:
        """Append string[n], lines of text."""
        size, begin = self._rows_per_file or sys.maxsize, 0
        while begin < len(lines):
            if self.rows == size * len(self.names):
                self.begin()
            count = min(len(lines) - begin, size * len(self.names) - self.rows)
            self._write(bytes_of(lines.slice(begin, count)))
            begin += count
            self.rows += count

    def begin(self) -> None:
        """Create the next file; the first one may stay without a row."""
        part = self._rows_per_file and len(self.names) + 1
        self.names.append(part_name(self._path.name, self._ending, part))
        self._write(memoryview(self._head))

    def _write(self, text: memoryview) -> None:
        data: memoryview | bytes = text
        if self._encoding != "utf-8":
            try:
                data = str(text, "utf-8").encode(self._encoding)
            except UnicodeEncodeError:
                # The error's own text quotes the cell.
                raise SettingError(
                    f"{self._path.name}: a cell has a character that {self._encoding} cannot write",
                    hint='Give the template encoding = "utf-8"',
                ) from None
        append_bytes(self._path.with_name(self.names[-1]), data)


def part_name(stem: str, ending: str, part: int | None) -> str:
    """Return the name of a whole file, or of a part counted from 1."""
    return f"{stem}{ending}" if part is None else f"{stem}-{part:05}{ending}"


def append_bytes(path: Path, data: memoryview | bytes) -> None:
    """Append bytes to a private file, creating it if missing, and close it."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, 0o600), "ab") as file:
        file.write(data)
