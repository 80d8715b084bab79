"""Output templates, and rows as delimited text.

A template is a ``[template.NAME]`` table of a policy file: what a supplier's files look like.
Outputs without one have a layout of the same parts. Rows become text a whole block at a time: an
Arrow array of strings keeps its texts one after the other, so an array of lines is the file's text.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from numroute.errors import SettingError
from numroute_campaign.lists.cells import unpacked

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from numroute.model import Route
    from numroute_campaign.lists import Block
    from numroute_campaign.sorting import Decisions, Leaving
    from numroute_campaign.vocabulary import Decision

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


def cells_text(column: pa.Array, dialect: Dialect = CSV) -> pa.Array:
    """Return a column's values as cells, a null as an empty one.

    Raises:
        SettingError: A cell needs quotes, and the dialect has none.
    """
    is_text = not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type))
    texts = pc.fill_null(plain_texts(column), "")
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


ROW_ID: Final = "row_id"
NUMBER: Final = "number"
ROUTE_COLUMNS: Final = ("route", "operator", "mcc", "mnc", "status")
WINDOW_COLUMNS: Final = ("send_from_utc", "send_until_utc")

_SOURCES: Final = (ROW_ID, NUMBER, *ROUTE_COLUMNS, *WINDOW_COLUMNS)
LIST_PREFIX: Final = "list:"
_TEXT: Final = "text:"


class Template(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A ``[template.NAME]``.

    Attributes:
        columns: Column names in order, each with its source: ``row_id``, ``number``, a column of
            the route, ``list:NAME`` for a column of the list, or ``text:WORDS`` for a fixed text.
        delimiter: One character.
        encoding: Of the whole file.
        quoting: ``needed``, ``all`` or ``none``.
        line_end: ``lf`` or ``crlf``.
        header: Whether a line has the column names.
        header_block: Lines before it; ``{route}``, ``{send_from_utc}`` and ``{send_until_utc}`` are
            replaced.
        number: ``international`` (all digits) or ``national`` (without the country code, for
            numbers of the default country).
        number_prefix: Goes before international numbers, or before national ones: ``+``, ``8``.
        file_per_window: Whether to write one file per send window.
        file_ending: Of the file names.
        spreadsheet_safe: Whether cells that a spreadsheet may run get an apostrophe.
    """

    columns: dict[str, str]
    delimiter: Annotated[str, msgspec.Meta(min_length=1, max_length=1)] = ";"
    encoding: Literal["utf-8", "utf-8-sig", "cp1251", "koi8-r", "cp866"] = "utf-8"
    quoting: Literal["needed", "all", "none"] = "needed"
    line_end: Literal["lf", "crlf"] = "lf"
    header: bool = True
    header_block: tuple[str, ...] = ()
    number: Literal["international", "national"] = "international"
    number_prefix: Annotated[str, msgspec.Meta(pattern=r"^[+0-9]{0,4}$")] = ""
    file_per_window: bool = False
    file_ending: Annotated[str, msgspec.Meta(pattern=r"^\.[a-z0-9]{1,8}$")] = ".csv"
    spreadsheet_safe: bool = True

    def __post_init__(self) -> None:
        if not self.columns:
            raise ValueError("columns: the template has no column")
        if self.delimiter in {'"', "\r", "\n"}:
            raise ValueError("delimiter: a quote or a line break cannot delimit cells")
        for name, source in self.columns.items():
            if not source.startswith((LIST_PREFIX, _TEXT)) and source not in _SOURCES:
                raise ValueError(
                    f"columns: {name}: unknown source {source!r}. Write one of "
                    f'{", ".join(_SOURCES)}, "list:COLUMN" or "text:WORDS"'
                )
        for line in self.header_block:
            try:
                _filled(line, "", "", "")
            except (LookupError, ValueError):
                raise ValueError(
                    "header_block: unknown placeholder. Use {route}, {send_from_utc} or "
                    "{send_until_utc}; write {{ for a brace"
                ) from None

    @property
    def list_columns(self) -> tuple[str, ...]:
        """The columns of the list that the template writes."""
        sources = dict.fromkeys(self.columns.values())
        return tuple(
            each.removeprefix(LIST_PREFIX) for each in sources if each.startswith(LIST_PREFIX)
        )


class Layout:
    """Writes rows by a template.

    Attributes:
        columns: Names and sources.
    """

    def __init__(
        self,
        template: Template,
        columns: Sequence[tuple[str, str]],
        kept: Sequence[str],
        routes: Sequence[Route],
        decisions: Decisions,
        country_code: str,
    ) -> None:
        """Take the names of the block's kept columns, and the default country's code if any."""
        self.template, self.columns = template, columns
        self.dialect = Dialect(
            delimiter=template.delimiter,
            quoting=template.quoting,
            is_spreadsheet_safe=template.spreadsheet_safe,
            line_end={"lf": "\n", "crlf": "\r\n"}[template.line_end],
        )
        self._kept = {name: place for place, name in enumerate(kept)}
        self._routes, self._decisions, self._country_code = routes, decisions, country_code
        # Neighbouring columns that depend on the route alone become one text per route.
        self._parts = [
            tuple(sources)
            for _, sources in groupby(
                (source for _, source in columns), lambda each: _is_of_row(each) and each
            )
        ]
        self._header = header_text([name for name, _ in columns], self.dialect)
        self._cells: dict[str, str] = {}
        self._texts: list[list[str]] = [[] for _ in self._parts]
        self._arrays = [pa.array([], pa.string()) for _ in self._parts]
        self._known = 0

    def head(self, decision: Decision) -> bytes:
        """Return what a file begins with, in UTF-8."""
        lines = "".join(
            _filled(line, decision.destination, decision.send_from, decision.send_until)
            + self.dialect.line_end
            for line in self.template.header_block
        )
        return lines.encode() + (self._header if self.template.header else b"")

    def route_cells(self) -> tuple[pa.Array, ...]:
        """Return for each part string[codes], its text where it depends on the route alone."""
        decided = self._decisions.decided
        if self._known != len(decided):
            new = list(decided)[self._known :]
            for place, sources in enumerate(self._parts):
                if _is_of_row(sources[0]):
                    continue
                texts = self._texts[place]
                texts += [""] * (len(self._decisions.destination) - len(texts))
                for code in new:
                    route, decision = self._routes[code // 2], decided[code]
                    texts[code] = self.dialect.delimiter.join(
                        self._cell(cell_of(source, route, decision)) for source in sources
                    )
                self._arrays[place] = pa.array(texts, pa.string())
            self._known = len(decided)
        return tuple(self._arrays)

    def text(
        self,
        leaving: Leaving,
        begin: int,
        end: int,
        pseudonyms: pa.Array | None,
        route_cells: Sequence[pa.Array],
        block: Block,
    ) -> RowText:
        """Return the lines of some rows."""
        cells = []
        code, value = leaving.code[begin:end], pa.array(leaving.value[begin:end])
        for sources, texts in zip(self._parts, route_cells, strict=True):
            source = sources[0]
            if source == ROW_ID:
                cell = cells_text(pa.array(leaving.row_id[begin:end]), self.dialect)
            elif source == NUMBER and pseudonyms is not None:
                cell = self._quoted(pseudonyms.slice(begin, end - begin))
            elif source == NUMBER:
                cell = self._quoted(self._numbers(pa.array(leaving.number[begin:end]), code))
            elif source.startswith(LIST_PREFIX):
                column = block.kept[self._kept[source.removeprefix(LIST_PREFIX)]]
                cell = cells_text(column.take(value), self.dialect)
            else:
                cell = texts.take(pa.array(code))
            cells += [cell] * (len(sources) if _is_of_row(source) else 1)
        return lines_text(cells, self.dialect)

    def _cell(self, text: str) -> str:
        """Return a text as a cell; the texts of routes are few."""
        cell = self._cells.get(text)
        if cell is None:
            (cell,) = cells_text(pa.array([text], pa.string()), self.dialect).to_pylist()
            self._cells[text] = cell
        return cell

    def _quoted(self, texts: pa.Array) -> pa.Array:
        """Return numbers or pseudonyms as cells; they never need quotes, nor are they formulas."""
        if self.dialect.quoting != "all":
            return texts
        return pc.binary_join_element_wise('"', texts, '"', "")

    def _numbers(self, numbers: pa.Array, code: NDArray[np.int64]) -> pa.Array:
        template, texts = self.template, pc.cast(numbers, pa.string())
        if template.number == "international":
            if not template.number_prefix:
                return texts
            return pc.binary_join_element_wise(template.number_prefix, texts, "")
        if not self._country_code:
            return texts
        is_foreign = pa.array(self._decisions.is_foreign.take(code))
        is_home = pc.and_not(pc.starts_with(texts, self._country_code), is_foreign)
        national = pc.utf8_slice_codeunits(texts, len(self._country_code))
        prefixed = pc.binary_join_element_wise(template.number_prefix, national, "")
        return pc.if_else(is_home, prefixed, texts)


def _is_of_row(source: str) -> bool:
    return source in {ROW_ID, NUMBER} or source.startswith(LIST_PREFIX)


def cell_of(source: str, route: Route, decision: Decision) -> str:
    """Return a cell that depends on the route alone."""
    operator = route.operator
    match source:
        case "route":
            return decision.destination
        case "operator":
            return operator.brand or operator.name or operator.code
        case "mcc":
            return route.mcc
        case "mnc":
            return route.mnc
        case "status":
            return route.status.name
        case "send_from_utc":
            return decision.send_from
        case "send_until_utc":
            return decision.send_until
    return source.removeprefix(_TEXT)


def _filled(line: str, route: str, send_from: str, send_until: str) -> str:
    return line.format(route=route, send_from_utc=send_from, send_until_utc=send_until)
