"""Reads an increment whose rows name operators by code."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from numroute_loader.reading import cells, diagnose
from numroute_loader.reading.archive import Source
from numroute_loader.reading.columns import (
    TEXT_TYPE,
    TIME_TYPE,
    Combined,
    codes_of,
    combined,
    numbers_of,
    seconds_of,
)
from numroute_loader.reading.csv_stream import CsvFile, parsed_in_order, table_of
from numroute_loader.reading.dump_file import file_of, require_columns, stated_row_count
from numroute_loader.reading.key_table import KeyTable
from numroute_loader.reading.record_columns import Column
from numroute_loader.records import IncrementRows, ParsedFile, RouteKey

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from numroute_loader.reading.csv_stream import Block
    from numroute_loader.reading.description import FileKind, IncrementLayout, Progress

_ID_TYPE = pa.uint64()
_ID = re.compile(rb"[0-9]{0,19}")


def read_increment(
    path: Path, kind: FileKind, progress: Progress | None, *, layout: IncrementLayout
) -> ParsedFile:
    """Return the changes in the order of the file; raises ``InputError`` for any defect.

    A file that holds a header only tells that nothing has changed.
    """
    with Source(path) as source:
        file = CsvFile(source)
        require_columns(file, layout.columns, kind)
        stated = stated_row_count(file, layout.row_count, may_be_empty=True)
        parser = _Parser(file.header, layout)
        gathered = _Gathered(path, parser)
        for block, rows in parsed_in_order(file.blocks(progress), parser.parse):
            if rows is None or not gathered.add(rows):
                raise diagnose.bad_row(path, block, parser.fault_of)
        increment = gathered.increment()
        if len(increment.numbers) != stated:
            raise diagnose.wrong_row_count(path, stated=stated, actual=len(increment.numbers))
        described = file_of(source, kind, rows=stated)
    return ParsedFile(
        source=described,
        increment=increment,
        warnings=gathered.warnings(),
        stated_rows=stated,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rows:
    """The rows of one block; ``codes`` are the cells of every column of codes."""

    numbers: NDArray[np.uint64]
    changed_at: NDArray[np.uint32]
    order_id: NDArray[np.uint64]
    codes: Combined


class _Parser:
    """Makes rows of blocks. Keeps nothing between blocks, so that threads can share it."""

    def __init__(self, header: tuple[str, ...], layout: IncrementLayout) -> None:
        self.layout = layout
        self._header = header
        self._types = {
            layout.number: TEXT_TYPE,
            layout.changed_at: TIME_TYPE,
            layout.order_id: _ID_TYPE,
            **{column.name: TEXT_TYPE for column in layout.text_columns},
        }

    def parse(self, block: Block) -> _Rows | None:
        """Return the rows of a block, None when one of them is malformed."""
        layout = self.layout
        table = table_of(block, self._header, self._types)
        if table is None:
            return None
        numbers = numbers_of(table.column(layout.number), layout.number_format)
        changed_at = seconds_of(table.column(layout.changed_at))
        if numbers is None or changed_at is None:
            return None
        return _Rows(
            numbers=numbers,
            changed_at=changed_at,
            order_id=table.column(layout.order_id).fill_null(0).to_numpy(),
            codes=combined([codes_of(table.column(column.name)) for column in layout.text_columns]),
        )

    def fault_of(self, line: bytes) -> str | None:
        """Tell what is wrong with a line; the slow twin of ``parse``."""
        layout = self.layout
        row, fault = cells.row_of(self._header, line)
        fault = fault or cells.number_fault(layout.number, row[layout.number], layout.number_format)
        for column in layout.text_columns:
            fault = fault or cells.text_fault(column, row[column.name])
        if fault is None and not _ID.fullmatch(row[layout.order_id]):
            fault = f"{layout.order_id} is not a whole number"
        return fault or cells.time_fault(layout.changed_at, row[layout.changed_at])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Told:
    """What the codes of a row say: a key (None for a return) and a donor."""

    key: RouteKey | None
    donor: str


class _Gathered:
    """The increment so far."""

    def __init__(self, path: Path, parser: _Parser) -> None:
        self._layout = parser.layout
        self._told = KeyTable(path, self._told_by)
        self._numbers = Column(np.uint64)
        self._changed_at = Column(np.uint32)
        self._order_id = Column(np.uint64)
        self._index = Column(np.uint32)

    def add(self, rows: _Rows) -> bool:
        """Add the rows of a block; False, and nothing added, when a code in them is bad."""
        table = self._told.indexes_of(rows.codes.texts)
        if table is None:
            return False
        self._numbers.append(rows.numbers)
        self._changed_at.append(rows.changed_at)
        self._order_id.append(rows.order_id)
        self._index.append_taken(table, rows.codes.index)
        return True

    def increment(self) -> IncrementRows:
        """Return the rows."""
        told = self._told.keys
        place_of: dict[RouteKey, int] = {}
        donor_of: dict[str, int] = {}
        route = [
            place_of.setdefault(each.key, len(place_of)) if each.key is not None else 0
            for each in told
        ]
        donor = [donor_of.setdefault(each.donor, len(donor_of)) for each in told]
        index = self._index.filled
        return IncrementRows(
            numbers=self._numbers.filled,
            returns=np.array([each.key is None for each in told], np.bool_)[index],
            route=np.array(route, np.uint32)[index],
            keys=tuple(place_of),
            changed_at=self._changed_at.filled,
            order_id=self._order_id.filled,
            donor=np.array(donor, np.uint32)[index] if self._layout.donor is not None else None,
            donor_codes=tuple(donor_of) if self._layout.donor is not None else (),
        )

    def warnings(self) -> tuple[str, ...]:
        """Return what is odd about the increment, though no defect."""
        usual = self._layout.usual_routing_number
        if usual is None:
            return ()
        odd = [
            told.key is not None and told.key.routing_number != usual(told.key)
            for told in self._told.keys
        ]
        rows = int(np.count_nonzero(np.array(odd, np.bool_)[self._index.filled]))
        column = self._layout.route_columns[2].name
        total = len(self._index.filled)
        return (f"{rows} of {total} rows have a {column} of an unusual shape",) if rows else ()

    def _told_by(self, texts: tuple[bytes, ...]) -> _Told | None:
        layout = self._layout
        columns = layout.text_columns
        if any(not c.pattern.fullmatch(text) for c, text in zip(columns, texts, strict=True)):
            return None
        cell = {c.name: text.decode("ascii") for c, text in zip(columns, texts, strict=True)}
        donor = cell[layout.donor.name] if layout.donor is not None else ""
        if not layout.route_columns:
            return _Told(key=None, donor=donor)
        operator, mnc, routing_number, region = (cell[c.name] for c in layout.route_columns)
        if operator == cell[layout.range_holder.name]:
            return _Told(key=None, donor=donor)
        key = RouteKey(
            operator_code=operator,
            registry_mnc=mnc,
            routing_number=routing_number,
            region_code=region,
            line_type=layout.line_type,
        )
        return _Told(key=key, donor=donor)
