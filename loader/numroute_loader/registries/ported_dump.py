"""Reads a full dump of ported numbers whose rows name operators by code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from numroute_loader.records import ParsedFile, PortedRecords, RouteKey
from numroute_loader.registries import cells, diagnose
from numroute_loader.registries.archive import Source
from numroute_loader.registries.columns import (
    TEXT_TYPE,
    TIME_TYPE,
    Combined,
    codes_of,
    combined,
    numbers_of,
    seconds_of,
)
from numroute_loader.registries.csv_stream import CsvFile, parsed_in_order, table_of
from numroute_loader.registries.dump_file import file_of, require_columns, stated_row_count
from numroute_loader.registries.key_table import KeyTable
from numroute_loader.registries.record_columns import BlockNumbers, RecordColumns

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from numroute_loader.registries.csv_stream import Block
    from numroute_loader.registries.description import FileKind, PortedLayout, Progress


def read_ported_dump(
    path: Path, kind: FileKind, progress: Progress | None, *, layout: PortedLayout
) -> ParsedFile:
    """Return the ported numbers of a dump, ascending; raises ``InputError`` for any defect."""
    with Source(path) as source:
        file = CsvFile(source)
        require_columns(file, layout.columns, kind)
        stated = stated_row_count(file, layout.row_count)
        parser = _Parser(file.header, layout)
        gathered = _Gathered(layout, stated)
        for block, rows in parsed_in_order(file.blocks(progress), parser.parse):
            if rows is None or not gathered.add(rows):
                raise diagnose.bad_row(path, block, parser.fault_of)
        if gathered.records.rows != stated:
            raise diagnose.wrong_row_count(path, stated=stated, actual=gathered.records.rows)
        described = file_of(source, kind, rows=stated)
    duplicate = gathered.records.sort()
    if duplicate is not None:
        written = str(duplicate - layout.number_format.offset)
        raise diagnose.duplicate_number(path, layout.number, written, duplicate)
    return ParsedFile(source=described, ported=gathered.ported(), warnings=gathered.warnings())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rows:
    """The rows of one block. ``kept`` is False for numbers that went home, None when none can."""

    numbers: BlockNumbers
    route: Combined
    ported_at: NDArray[np.uint32]
    donor: Combined | None
    kept: NDArray[np.bool_] | None


class _Parser:
    """Makes rows of blocks. Keeps nothing between blocks, so that threads can share it."""

    def __init__(self, header: tuple[str, ...], layout: PortedLayout) -> None:
        self._header = header
        self._layout = layout
        self._texts = layout.text_columns
        self._types = {
            layout.number: TEXT_TYPE,
            layout.ported_at: TIME_TYPE,
            **{column.name: TEXT_TYPE for column in self._texts},
        }

    def parse(self, block: Block) -> _Rows | None:
        """Return the rows of a block, None when one of them is malformed."""
        layout = self._layout
        table = table_of(block, self._header, self._types)
        if table is None:
            return None
        numbers = numbers_of(table.column(layout.number), layout.number_format)
        ported_at = seconds_of(table.column(layout.ported_at))
        if numbers is None or ported_at is None:
            return None
        codes = {column.name: codes_of(table.column(column.name)) for column in self._texts}
        operator = codes[layout.operator.name]
        kept = None
        if layout.range_holder is not None:
            pairs = combined([operator, codes[layout.range_holder.name]])
            ported = np.array([one != other for one, other in pairs.texts], np.bool_)
            kept = ported[pairs.index]
        return _Rows(
            numbers=BlockNumbers.of(numbers),
            route=combined([operator, *(codes[column.name] for column in layout.route_columns[1:])]),
            ported_at=ported_at,
            donor=combined([codes[layout.donor.name]]) if layout.donor is not None else None,
            kept=kept,
        )

    def fault_of(self, line: bytes) -> str | None:
        """Tell what is wrong with a line; the slow twin of ``parse``."""
        layout = self._layout
        found = line.split(b",")
        if len(found) != len(self._header):
            return f"the row has {len(found)} columns, the header has {len(self._header)}"
        row = dict(zip(self._header, found, strict=True))
        fault = cells.number_fault(layout.number, row[layout.number], layout.number_format)
        for column in self._texts:
            fault = fault or cells.text_fault(column, row[column.name])
        return fault or cells.time_fault(layout.ported_at, row[layout.ported_at])
