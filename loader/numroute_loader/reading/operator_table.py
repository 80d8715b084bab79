"""Reads operator tables, which are small and name operators in free text."""

from __future__ import annotations

from dataclasses import replace

from numroute.errors import InputError
from numroute_loader.reading.csv_stream import sound_lines
from numroute_loader.reading.description import (
    OperatorLayout,
    ParsedFile,
    Progress,
    RegistryFile,
    Tolerance,
)
from numroute_loader.reading.rows import REMEDY, OneEncoding, RowReader
from numroute_loader.records import OperatorRow

OPERATOR_ROWS_MAX = 100_000
"""How many rows an operator table may have. The largest seen has 130."""


def read_operator_table(
    file: RegistryFile, progress: Progress | None, _: Tolerance, *, layout: OperatorLayout
) -> ParsedFile:
    """Return the rows of an operator table, some hundred; raises InputError for any defect.

    A tax number of another shape is left empty: it could not join anything.
    """
    reader = RowReader(file, layout)
    encoding = OneEncoding(layout.encodings)
    rows: list[OperatorRow] = []
    line_of: dict[tuple[str, str], int] = {}
    odd_tax_numbers = 0
    before = 1
    for block in reader.csv.blocks(progress):
        lines = bytes(block.data).splitlines()
        for line, text in enumerate(lines, before + 1):
            if not text:
                continue
            row, fault = _operator_row(text, line, layout, encoding)
            if row is not None and line_of.setdefault((row.code, row.mnc), line) != line:
                same = f"{layout.code.name} and {layout.mnc.name}"
                fault = f"{same} are those of line {line_of[row.code, row.mnc]}"
            if len(rows) == OPERATOR_ROWS_MAX:
                fault = f"the file has more than {OPERATOR_ROWS_MAX} rows"
            if row is None or fault:
                raise InputError(file.path, fault, line=line, hint=REMEDY)
            if row.tax_number and not layout.tax_number_shape.fullmatch(row.tax_number):
                odd_tax_numbers += 1
                row = replace(row, tax_number="")
            rows.append(row)
        before += len(lines)
    warning = f"{odd_tax_numbers} rows have a {layout.tax_number} that is not a tax number"
    return ParsedFile(
        source=reader.source(len(rows)),
        operators=tuple(rows),
        warnings=(warning,) if odd_tax_numbers else (),
        stated_rows=reader.stated,
    )


def _operator_row(
    text: bytes, line: int, layout: OperatorLayout, encoding: OneEncoding
) -> tuple[OperatorRow | None, str]:
    """Return the row that a line holds, or None and what is wrong with the line.

    Code, MNC and tax number are taken from the left, the row count from the right.
    """
    faults = sound_lines(text, delimiter=",", columns=text.count(b",") + 1, reason="").faults
    if faults:
        return None, faults[0].reason
    cells = text.split(b",", 3)
    if len(cells) < len(layout.columns) - 1 or b"," not in cells[-1]:
        return None, f"the row has fewer than {len(layout.columns)} columns"
    code, mnc, tax_number, rest = cells
    name, _, count = rest.rpartition(b",")
    for column, cell in ((layout.code, code), (layout.mnc, mnc)):
        if not column.pattern.fullmatch(cell):
            return None, f"{column.name} is not {column.shape}"
    if count and not count.isdigit():
        return None, f"{layout.row_count} is not a whole number"
    try:
        decoded = encoding.decode(name).strip()
    except ValueError as error:
        return None, str(error)
    row = OperatorRow(
        code=code.decode("ascii"),
        mnc=mnc.decode("ascii"),
        tax_number=tax_number.decode("ascii", "replace").strip(),
        name=decoded,
        line=line,
    )
    return row, ""
