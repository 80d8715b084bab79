"""Output templates: what a supplier's files look like.

A template is a ``[template.NAME]`` table of a policy file. Outputs without one have a layout of the
same parts.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Annotated, Final, Literal

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from numroute_campaign.text_rows import Dialect, RowText, cells_text, header_text, lines_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from numroute.model import Route
    from numroute_campaign.decisions import Decision, Decisions
    from numroute_campaign.lists import Block
    from numroute_campaign.sorting import Leaving

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
