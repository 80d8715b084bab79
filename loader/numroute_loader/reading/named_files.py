"""Reads files that name operators in free text: the simplified tier and the operator table."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from numroute.errors import InputError
from numroute_loader.reading.csv_stream import line_of_row, sound_lines
from numroute_loader.reading.description import ParsedFile
from numroute_loader.reading.record_files import KeyColumn, RecordOrder
from numroute_loader.reading.rows import (
    REMEDY,
    NamedParser,
    RowReader,
    duplicate_number,
    name_in,
)
from numroute_loader.records import IncrementRows, OperatorRow, PortedRecords, RouteKey

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numroute_loader.reading.description import (
        NamedLayout,
        OperatorLayout,
        Progress,
        RegistryFile,
        SourceFile,
        Tolerance,
    )

OPERATOR_ROWS_MAX = 100_000
"""How many rows an operator table may have. The largest seen has 130."""


class OneEncoding:
    """Decodes the texts of one file, all of which must be in the same of a few encodings."""

    def __init__(self, encodings: Sequence[str]) -> None:
        """Try the encodings in this order."""
        self._encodings = encodings
        self._settled: str | None = None

    def decode(self, raw: bytes) -> str:
        """Return the text; raises ValueError when it is not in the encoding of those before it.

        ASCII fits every encoding and settles nothing. Cyrillic in windows-1251 is hardly ever valid
        UTF-8; the other way round it is valid gibberish. So the first encoding that fits is right.
        """
        if raw.isascii():
            return raw.decode("ascii")
        for encoding in self._encodings:
            try:
                text = raw.decode(encoding)
            except UnicodeDecodeError:
                continue
            if self._settled in (None, encoding):
                self._settled = encoding
                return text
            break
        if self._settled is None:
            raise ValueError(f"the text is not {' or '.join(self._encodings)}")
        raise ValueError(
            f"the text is not {self._settled}, as the lines before it are: mixed encodings"
        )


def read_named_dump(
    file: RegistryFile, progress: Progress | None, _: Tolerance, *, layout: NamedLayout
) -> ParsedFile:
    """Return the ported numbers of a dump, ascending; raises InputError for any defect."""
    source, order, route = _read(file, progress, layout, may_be_empty=False)
    duplicate = order.sort(route)
    if duplicate is not None:
        raise duplicate_number(file, layout.number, layout.number_format, duplicate)
    ported = PortedRecords(numbers=order.numbers.filled, route=route.filled, keys=route.keys)
    return ParsedFile(source=source, ported=ported, stated_rows=source.rows)


def read_named_increment(
    file: RegistryFile,
    progress: Progress | None,
    _: Tolerance,
    *,
    layout: NamedLayout,
    returns: bool,
) -> ParsedFile:
    """Return the changes of an increment; raises InputError for any defect.

    ``returns``: every row is a return, otherwise a port to the operator that it names.
    """
    source, order, route = _read(file, progress, layout, may_be_empty=True)
    rows = IncrementRows(
        numbers=order.numbers.filled,
        returns=np.full(order.rows, returns),
        route=route.filled.astype(np.uint32),
        keys=route.keys,
    )
    return ParsedFile(source=source, increment=rows, stated_rows=source.rows)


def _read(
    file: RegistryFile, progress: Progress | None, layout: NamedLayout, *, may_be_empty: bool
) -> tuple[SourceFile, RecordOrder, KeyColumn[RouteKey]]:
    """Return the file's description, its numbers in the order of the file, and their keys."""
    encoding = OneEncoding(layout.encodings)

    def key_of(texts: tuple[bytes, ...]) -> RouteKey:
        name = encoding.decode(name_in(texts[0]))
        return RouteKey(operator_name=name, line_type=layout.line_type)

    reader = RowReader(file, layout, may_be_empty=may_be_empty)
    order, route = RecordOrder(), KeyColumn(file.path, key_of)
    for rows in reader.rows(NamedParser(layout), progress):
        if rows.route is None or rows.block is None:
            continue
        for place, (rest,) in enumerate(rows.route.texts):
            try:
                encoding.decode(name_in(rest))
            except ValueError as error:
                line = line_of_row(file.path, rows.block, int(np.argmax(rows.route.index == place)))
                raise InputError(file.path, str(error), line=line, hint=REMEDY) from None
        order.append(rows.numbers)
        route.append_texts(rows.route)
    return reader.source(order.rows), order, route


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
