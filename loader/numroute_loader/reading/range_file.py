"""Reads a numbering plan whose ranges name their holders by code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from numroute.errors import InputError
from numroute.model import mask_number
from numroute_loader.reading import cells, diagnose
from numroute_loader.reading.archive import Source
from numroute_loader.reading.columns import TEXT_TYPE, Combined, codes_of, combined, numbers_of
from numroute_loader.reading.csv_stream import CsvFile, parsed_in_order, table_of
from numroute_loader.reading.dump_file import file_of, require_columns, stated_row_count
from numroute_loader.reading.key_table import KeyTable
from numroute_loader.reading.record_columns import Column
from numroute_loader.records import ParsedFile, Ranges, RouteKey

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from numroute_loader.reading.csv_stream import Block
    from numroute_loader.reading.description import FileKind, Progress, RangeLayout


def read_range_file(
    path: Path, kind: FileKind, progress: Progress | None, *, layout: RangeLayout
) -> ParsedFile:
    """Return the ranges of a plan, ascending; raises ``InputError`` for any defect."""
    with Source(path) as source:
        file = CsvFile(source)
        require_columns(file, layout.columns, kind)
        stated = stated_row_count(file, layout.row_count)
        parser = _Parser(file.header, layout)
        keys = KeyTable(path, parser.key_of)
        first, last, key = Column(np.uint64), Column(np.uint64), Column(np.uint32)
        for block, rows in parsed_in_order(file.blocks(progress), parser.parse):
            table = keys.indexes_of(rows.key.texts) if rows is not None else None
            if rows is None or table is None:
                raise diagnose.bad_row(path, block, parser.fault_of)
            first.append(rows.first)
            last.append(rows.last)
            key.append_taken(table, rows.key.index)
        if len(key.filled) != stated:
            raise diagnose.wrong_row_count(path, stated=stated, actual=len(key.filled))
        described = file_of(source, kind, rows=stated)
    order = np.argsort(first.filled, kind="stable")
    ranges = Ranges(
        first=first.filled[order],
        last=last.filled[order],
        key=key.filled[order],
        keys=keys.keys,
    )
    _refuse_overlap(path, ranges, order)
    return ParsedFile(
        source=described,
        ranges=ranges,
        stated_rows=stated,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rows:
    first: NDArray[np.uint64]
    last: NDArray[np.uint64]
    key: Combined


class _Parser:
    """Makes rows of blocks. Keeps nothing between blocks, so that threads can share it."""

    def __init__(self, header: tuple[str, ...], layout: RangeLayout) -> None:
        self._header = header
        self._layout = layout
        names = (layout.first, layout.last, *(column.name for column in layout.text_columns))
        self._types = dict.fromkeys(names, TEXT_TYPE)

    def parse(self, block: Block) -> _Rows | None:
        """Return the rows of a block, None when one of them is malformed."""
        layout = self._layout
        table = table_of(block, self._header, self._types)
        if table is None:
            return None
        first = numbers_of(table.column(layout.first), layout.number_format)
        last = numbers_of(table.column(layout.last), layout.number_format)
        if first is None or last is None or bool((first > last).any()):
            return None
        codes = [codes_of(table.column(column.name)) for column in layout.text_columns]
        return _Rows(first=first, last=last, key=combined(codes))

    def key_of(self, texts: tuple[bytes, ...]) -> RouteKey | None:
        """Return the key of a range, None when one of its codes is bad."""
        columns = self._layout.text_columns
        if any(not c.pattern.fullmatch(text) for c, text in zip(columns, texts, strict=True)):
            return None
        operator, region, mnc = (text.decode("ascii") for text in texts)
        return RouteKey(
            operator_code=operator,
            region_code=region,
            registry_mnc=mnc,
            line_type=self._layout.line_type,
        )

    def fault_of(self, line: bytes) -> str | None:
        """Tell what is wrong with a line; the slow twin of ``parse`` and ``key_of``."""
        layout = self._layout
        row, fault = cells.row_of(self._header, line)
        for name in (layout.first, layout.last):
            fault = fault or cells.number_fault(name, row[name], layout.number_format)
        for column in layout.text_columns:
            fault = fault or cells.text_fault(column, row[column.name])
        if fault is None and row[layout.first] > row[layout.last]:
            return f"{layout.first} is greater than {layout.last}"
        return fault


def _refuse_overlap(path: Path, ranges: Ranges, order: NDArray[np.intp]) -> None:
    """Raise ``InputError`` when two ranges, sorted by their first number, share a number."""
    reach = np.maximum.accumulate(ranges.last)
    overlapping = np.flatnonzero(ranges.first[1:] <= reach[:-1])
    if not overlapping.size:
        return
    later = int(overlapping[0]) + 1
    # The range that reaches furthest: of those before, the first whose last number is the reach.
    earlier = int(np.searchsorted(reach, reach[later - 1]))
    lines = diagnose.lines_of_rows(path, {int(order[earlier]), int(order[later])})
    same = (ranges.first[later], ranges.last[later]) == (
        ranges.first[earlier],
        ranges.last[earlier],
    )
    what = "stands in the file twice" if same else "overlaps another"
    raise InputError(
        path,
        f"a range that begins at {mask_number(int(ranges.first[later]))} {what} "
        f"(lines {' and '.join(map(str, lines))})",
        line=lines[-1],
        hint="The file is not a plan as the registry makes it: download it again",
    )
