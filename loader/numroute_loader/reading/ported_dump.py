"""Reads a full dump of ported numbers whose rows name operators by code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np

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
from numroute_loader.reading.description import STRICT
from numroute_loader.reading.dump_file import (
    file_of,
    require_columns,
    rows_expected,
    stated_row_count,
)
from numroute_loader.reading.key_table import KeyTable
from numroute_loader.reading.record_columns import BlockNumbers, RecordColumns
from numroute_loader.records import ParsedFile, PortedRecords, RouteKey

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from numroute_loader.reading.csv_stream import Block
    from numroute_loader.reading.description import FileKind, PortedLayout, Progress, Tolerance

_Scalar = TypeVar("_Scalar", bound=np.generic)


def read_ported_dump(
    path: Path,
    kind: FileKind,
    progress: Progress | None,
    tolerance: Tolerance = STRICT,
    *,
    layout: PortedLayout,
) -> ParsedFile:
    """Return the ported numbers of a dump, ascending.

    Raises ``InputError`` for any defect that is not tolerated.
    """
    rejects = diagnose.Rejects(path, tolerance.rejected_rows)
    with Source(path) as source:
        file = CsvFile(source)
        require_columns(file, layout.columns, kind)
        stated = stated_row_count(file, layout.row_count)
        parser = _Parser(file.header, layout)
        gathered = _Gathered(path, layout, rows_expected(file, stated))
        for block, rows in parsed_in_order(file.blocks(progress), parser.parse):
            if rows is None or not gathered.add(rows):
                good = parser.parse(rejects.without_bad_rows(block, parser.fault_of))
                if good is None or not gathered.add(good):
                    raise diagnose.bad_row(path, block, parser.fault_of)
        found = gathered.records.rows + rejects.rows
        if found != stated and not tolerance.row_count:
            raise diagnose.wrong_row_count(path, stated=stated, actual=found)
        described = file_of(source, kind, rows=found)
    duplicates = gathered.records.drop_earlier() if tolerance.duplicates else 0
    duplicate = gathered.records.sort()
    if duplicate is not None:
        raise diagnose.duplicate_number(path, layout.number, layout.number_format, duplicate)
    return ParsedFile(
        source=described,
        ported=gathered.ported(),
        warnings=gathered.warnings(),
        stated_rows=stated,
        rejected_rows=rejects.rows,
        rejected=tuple(rejects.places),
        duplicates=duplicates,
    )


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
            holder = layout.range_holder
            pairs = combined([operator, codes[holder.name]])
            if any(not holder.pattern.fullmatch(text) for _, text in pairs.texts):
                return None
            ported = np.array([one != other for one, other in pairs.texts], np.bool_)
            kept = ported[pairs.index]
        return _Rows(
            numbers=BlockNumbers.of(numbers),
            route=combined([codes[column.name] for column in layout.route_columns]),
            ported_at=ported_at,
            donor=combined([codes[layout.donor.name]]) if layout.donor is not None else None,
            kept=kept,
        )

    def fault_of(self, line: bytes) -> str | None:
        """Tell what is wrong with a line; the slow twin of ``parse``."""
        layout = self._layout
        row, fault = cells.row_of(self._header, line)
        fault = fault or cells.number_fault(layout.number, row[layout.number], layout.number_format)
        for column in self._texts:
            fault = fault or cells.text_fault(column, row[column.name])
        return fault or cells.time_fault(layout.ported_at, row[layout.ported_at])


class _Gathered:
    """The dump so far: its columns of records and its tables of keys and donors."""

    def __init__(self, path: Path, layout: PortedLayout, rows: int) -> None:
        self._layout = layout
        self._keys = KeyTable(path, self._key)
        self._donors = KeyTable(path, self._donor)
        self._odd_routes = 0
        self._is_odd = np.zeros(0, np.bool_)
        self.records = RecordColumns(rows, ported_at=True, donor=layout.donor is not None)

    def add(self, rows: _Rows) -> bool:
        """Add the rows of a block; False, and nothing added, when a code in them is bad."""
        keys = self._keys.indexes_of(rows.route.texts)
        donors = self._donors.indexes_of(rows.donor.texts) if rows.donor is not None else None
        if keys is None or (rows.donor is not None and donors is None):
            return False
        self._count_odd_routes(rows.route, keys)
        kept = rows.kept
        self.records.append_numbers(rows.numbers, kept)
        self.records.route.append_taken(keys, _those(rows.route.index, kept))
        if self.records.ported_at is not None:
            self.records.ported_at.append(_those(rows.ported_at, kept))
        if rows.donor is not None and donors is not None and self.records.donor is not None:
            self.records.donor.append_taken(donors, _those(rows.donor.index, kept))
        return True

    def ported(self) -> PortedRecords:
        """Return the records; their order is that of ``records``."""
        records = self.records
        return PortedRecords(
            numbers=records.numbers.filled,
            route=records.route.filled,
            keys=self._keys.keys,
            ported_at=records.ported_at.filled if records.ported_at is not None else None,
            donor=records.donor.filled if records.donor is not None else None,
            donor_codes=self._donors.keys,
            returned_home=records.returned_home,
        )

    def warnings(self) -> tuple[str, ...]:
        """Return what is odd about the dump, though no defect."""
        if not self._odd_routes:
            return ()
        column = self._layout.routing_number.name
        return (
            f"{self._odd_routes} of {self.records.rows} rows have a {column} of an unusual shape",
        )

    def _key(self, texts: tuple[bytes, ...]) -> RouteKey | None:
        columns = self._layout.route_columns
        if any(not c.pattern.fullmatch(text) for c, text in zip(columns, texts, strict=True)):
            return None
        operator, mnc, routing_number, region = (text.decode("ascii") for text in texts)
        return RouteKey(
            operator_code=operator,
            registry_mnc=mnc,
            routing_number=routing_number,
            region_code=region,
            line_type=self._layout.line_type,
        )

    def _donor(self, texts: tuple[bytes, ...]) -> str | None:
        column = self._layout.donor
        if column is None or not column.pattern.fullmatch(texts[0]):
            return None
        return texts[0].decode("ascii")

    def _count_odd_routes(self, route: Combined, keys: NDArray[np.uint32]) -> None:
        new = self._keys.keys[len(self._is_odd) :]
        usual = self._layout.usual_routing_number
        odd = [key.routing_number != usual(key) for key in new]
        self._is_odd = np.concatenate((self._is_odd, np.array(odd, np.bool_)))
        odd_here = self._is_odd[keys]
        if odd_here.any():
            rows = np.bincount(route.index, minlength=len(keys))
            self._odd_routes += int(rows[odd_here].sum())


def _those(values: NDArray[_Scalar], kept: NDArray[np.bool_] | None) -> NDArray[_Scalar]:
    return values if kept is None else values[kept]
