"""Reads a registry's operator table: some hundred rows, taken apart one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from numroute.errors import InputError
from numroute_loader.reading import cells, diagnose
from numroute_loader.reading.archive import Source
from numroute_loader.reading.csv_stream import CsvFile
from numroute_loader.reading.dump_file import file_of, require_order, stated_row_count
from numroute_loader.reading.text_encoding import OneEncoding
from numroute_loader.records import OperatorRow, ParsedFile

if TYPE_CHECKING:
    from pathlib import Path

    from numroute_loader.reading.description import FileKind, OperatorLayout, Progress

OPERATOR_ROWS_MAX = 100_000
"""How many rows an operator table may have. The largest seen has 130."""


def read_operator_table(
    path: Path, kind: FileKind, progress: Progress | None, *, layout: OperatorLayout
) -> ParsedFile:
    """Return the rows of an operator table; raises ``InputError`` for any defect.

    A tax number that is none is kept as empty: it could not join anything.
    """
    with Source(path) as source:
        file = CsvFile(source)
        require_order(file, layout.columns, kind)
        stated = stated_row_count(file, layout.row_count)
        reader = _Reader(path, layout)
        rows: list[OperatorRow] = []
        line = 1
        for block in file.blocks(progress):
            for text in bytes(block.data).splitlines():
                line += 1
                if text:
                    rows.append(reader.row_of(line, text))
                if len(rows) > OPERATOR_ROWS_MAX:
                    raise InputError(
                        path,
                        f"the file has more than {OPERATOR_ROWS_MAX} rows",
                        line=line,
                        hint="This is not an operator table",
                    )
        if len(rows) != stated:
            raise diagnose.wrong_row_count(path, stated=stated, actual=len(rows))
        described = file_of(source, kind, rows=stated)
    return ParsedFile(
        source=described,
        operators=tuple(rows),
        warnings=reader.warnings(),
        stated_rows=stated,
    )


class _Reader:
    """Makes rows of lines; knows the encoding and the keys of the lines before."""

    def __init__(self, path: Path, layout: OperatorLayout) -> None:
        self._path = path
        self._layout = layout
        self._encoding = OneEncoding(layout.encodings)
        self._lines: dict[tuple[bytes, bytes], int] = {}
        self._odd_tax_numbers = 0

    def row_of(self, line: int, text: bytes) -> OperatorRow:
        """Take code, MNC and tax number from the left, the row count from the right."""
        layout = self._layout
        found = text.split(b",", 3)
        fault = diagnose.unfit(text)
        if fault is None and (len(found) <= 3 or b"," not in found[3]):  # noqa: PLR2004 - of five
            fault = f"the row has fewer than {len(layout.columns)} columns"
        if fault is not None:
            raise self._error(line, fault)
        code, mnc, tax_number, rest = found
        name, _, count = rest.rpartition(b",")
        fault = cells.text_fault(layout.code, code) or cells.text_fault(layout.mnc, mnc)
        if fault is None and count and not count.isdigit():
            fault = f"{layout.row_count} is not a whole number"
        if fault is None and (code, mnc) in self._lines:
            fault = (
                f"{layout.code.name} and {layout.mnc.name} are those of line "
                f"{self._lines[code, mnc]}"
            )
        decoded = self._encoding.decode(name) if fault is None else ""
        if decoded is None:
            fault = self._encoding.fault()
        if fault is not None:
            raise self._error(line, fault)
        self._lines[code, mnc] = line
        return OperatorRow(
            code=code.decode("ascii"),
            mnc=mnc.decode("ascii"),
            tax_number=self._tax_number(tax_number),
            name=(decoded or "").strip(),
            line=line,
        )

    def warnings(self) -> tuple[str, ...]:
        """Return what is odd about the table, though no defect."""
        if not self._odd_tax_numbers:
            return ()
        return (f"{self._odd_tax_numbers} rows have a {self._layout.tax_number} that is none",)

    def _tax_number(self, raw: bytes) -> str:
        text = raw.decode("ascii", "replace").strip()
        if not text or self._layout.tax_number_shape.fullmatch(text):
            return text
        self._odd_tax_numbers += 1
        return ""

    def _error(self, line: int, fault: str) -> InputError:
        return InputError(self._path, fault, line=line, hint=diagnose.REMEDY)
