"""Reads a full dump or an increment whose rows name operators in free text.

The name may hold the delimiter and quotes, so a line is taken apart from both ends: the number from
the left, the row count from the right. What follows the number is one of a few texts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.compute as pc

from numroute_loader.reading import cells, diagnose
from numroute_loader.reading.archive import Source
from numroute_loader.reading.columns import TEXT_TYPE, Combined, codes_of, combined, numbers_of
from numroute_loader.reading.csv_stream import (
    LINE_BYTES_MAX,
    CsvFile,
    parsed_in_order,
    table_of,
)
from numroute_loader.reading.dump_file import (
    file_of,
    require_order,
    rows_expected,
    stated_row_count,
)
from numroute_loader.reading.key_table import KeyTable
from numroute_loader.reading.record_columns import BlockNumbers, RecordColumns
from numroute_loader.reading.text_encoding import OneEncoding
from numroute_loader.records import IncrementRows, ParsedFile, PortedRecords, RouteKey

if TYPE_CHECKING:
    from pathlib import Path

    from numroute_loader.reading.csv_stream import Block
    from numroute_loader.reading.description import FileKind, NamedLayout, Progress
    from numroute_loader.records import SourceFile

_NO_DELIMITER = "\x01"
"""Parts nothing, so that a line is one column: a control character, which no name holds."""

_LINE = "line"


def read_named_dump(
    path: Path, kind: FileKind, progress: Progress | None, *, layout: NamedLayout
) -> ParsedFile:
    """Return the ported numbers of a dump, ascending; raises ``InputError`` for any defect."""
    described, records, keys = _read(path, kind, progress, layout, may_be_empty=False)
    duplicate = records.sort()
    if duplicate is not None:
        raise diagnose.duplicate_number(path, layout.number, layout.number_format, duplicate)
    ported = PortedRecords(numbers=records.numbers.filled, route=records.route.filled, keys=keys)
    return ParsedFile(source=described, ported=ported, stated_rows=described.rows)


def read_named_increment(
    path: Path, kind: FileKind, progress: Progress | None, *, layout: NamedLayout, returns: bool
) -> ParsedFile:
    """Return the changes of an increment; raises ``InputError`` for any defect.

    ``returns`` says what every row is: a return, or a port to the operator that it names.
    """
    described, records, keys = _read(path, kind, progress, layout, may_be_empty=True)
    rows = IncrementRows(
        numbers=records.numbers.filled,
        returns=np.full(records.rows, returns),
        route=records.route.filled.astype(np.uint32),
        keys=keys,
    )
    return ParsedFile(source=described, increment=rows, stated_rows=described.rows)


def _read(
    path: Path,
    kind: FileKind,
    progress: Progress | None,
    layout: NamedLayout,
    *,
    may_be_empty: bool,
) -> tuple[SourceFile, RecordColumns, tuple[RouteKey, ...]]:
    """Return the file's description, its records in the order of the file, and their keys."""
    names = _Names(layout)
    keys = KeyTable(path, names.key_of)
    with Source(path) as source:
        file = CsvFile(source)
        require_order(file, layout.columns, kind)
        stated = stated_row_count(file, layout.row_count, may_be_empty=may_be_empty)
        parser = _Parser(layout)
        records = RecordColumns(rows_expected(file, stated), ported_at=False, donor=False)
        for block, rows in parsed_in_order(file.blocks(progress), parser.parse):
            settled = names.encoding.settled
            table = keys.indexes_of(rows.rest.texts) if rows is not None else None
            if rows is None or table is None:
                judge = _Names(layout, settled)
                raise diagnose.bad_row(path, block, judge.fault_of)
            records.append_numbers(rows.numbers, None)
            records.route.append_taken(table, rows.rest.index)
        if records.rows != stated:
            raise diagnose.wrong_row_count(path, stated=stated, actual=records.rows)
        return file_of(source, kind, rows=stated), records, keys.keys


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rows:
    """The rows of one block; ``rest`` is what follows the number in each line."""

    numbers: BlockNumbers
    rest: Combined


class _Parser:
    """Makes rows of blocks. Keeps nothing between blocks, so that threads can share it."""

    def __init__(self, layout: NamedLayout) -> None:
        self._format = layout.number_format

    def parse(self, block: Block) -> _Rows | None:
        """Return the rows of a block, None when one of them is malformed."""
        table = table_of(block, (_LINE,), {_LINE: TEXT_TYPE}, delimiter=_NO_DELIMITER)
        if table is None:
            return None
        lines = table.column(_LINE)
        digits = self._format.digits
        numbers = numbers_of(pc.binary_slice(lines, 0, digits), self._format)
        if numbers is None:
            return None
        rest = combined([codes_of(pc.binary_slice(lines, digits, digits + LINE_BYTES_MAX))])
        return _Rows(numbers=BlockNumbers.of(numbers), rest=rest)


class _Names:
    """Takes the rests of lines apart, and holds them to one encoding."""

    def __init__(self, layout: NamedLayout, settled: str | None = None) -> None:
        self._layout = layout
        self.encoding = OneEncoding(layout.encodings, settled)

    def key_of(self, texts: tuple[bytes, ...]) -> RouteKey | None:
        """Return the key of an operator named by the rest of a line, None when that is bad."""
        if self._rest_fault(texts[0]) is not None:
            return None
        name = self.encoding.decode(_name_in(texts[0]))
        return RouteKey(operator_name=name, line_type=self._layout.line_type) if name else None

    def fault_of(self, line: bytes) -> str | None:
        """Tell what is wrong with a line; the slow twin of the parser and of ``key_of``."""
        layout = self._layout
        number, delimiter, rest = line.partition(b",")
        fault = cells.number_fault(layout.number, number, layout.number_format)
        fault = fault or self._rest_fault(delimiter + rest)
        if fault is None and self.encoding.decode(_name_in(delimiter + rest)) is None:
            return self.encoding.fault()
        return fault

    def _rest_fault(self, rest: bytes) -> str | None:
        layout = self._layout
        if not rest.startswith(b",") or rest.count(b",") < len(layout.columns) - 1:
            return f"the row has fewer columns than {','.join(layout.columns)}"
        count = rest.rpartition(b",")[2]
        if count and not (count.isdigit() and count.isascii()):
            return f"{layout.row_count} is not a whole number"
        name = _name_in(rest)
        if not name:
            return f"{layout.operator_name} is empty"
        if min(name) < ord(" "):
            return f"{layout.operator_name} holds a control character"
        return None


def _name_in(rest: bytes) -> bytes:
    return rest[1:].rpartition(b",")[0].strip(b" ")
