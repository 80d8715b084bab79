"""Reads full dumps, increments and numbering plans: rows of numbers with operators and routes."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

from numroute.errors import InputError
from numroute.model import mask_number
from numroute_loader.reading.columns import Codes
from numroute_loader.reading.csv_stream import Block, line_of_row, lines_with
from numroute_loader.reading.description import (
    STRICT,
    NamedLayout,
    ParsedFile,
    Progress,
    RecordLayout,
    RegistryFile,
    Tolerance,
)
from numroute_loader.reading.rows import (
    REMEDY,
    NamedParser,
    OneEncoding,
    RecordParser,
    RowReader,
    name_in,
)
from numroute_loader.records import IncrementRows, PortedRecords, Ranges, RouteKey

KEYS_MAX = 2**20
"""How many distinct routes, names or codes one file may have. Real dumps have a few thousand."""

_WIDE = 2**16

_Key = TypeVar("_Key", bound="Hashable")


def read_ported_dump(
    file: RegistryFile,
    progress: Progress | None,
    tolerance: Tolerance,
    *,
    layout: RecordLayout | NamedLayout,
) -> ParsedFile:
    """Return the ported numbers of a dump, ascending; InputError for a defect not tolerated.

    No defect is tolerated where operators are named in free text.
    """
    named = isinstance(layout, NamedLayout)
    reader = RowReader(file, layout, STRICT if named else tolerance)
    table = _Table(reader, layout, progress)
    source = reader.source(table.rows)
    duplicates = _sort(table, file, layout, keep_latest=tolerance.duplicates and not named)
    home = table.home.filled
    if home.any():
        table.select(~home)
    ported = PortedRecords(
        numbers=table.numbers.filled,
        route=table.route.filled,
        keys=table.route.keys,
        ported_at=None if named else table.time.filled,
        donor=table.donor.filled if table.donor.keys else None,
        donor_codes=table.donor.keys,
        returned_home=int(np.count_nonzero(home)),
    )
    return ParsedFile(
        source=source,
        ported=ported,
        stated_rows=reader.stated,
        rejected_rows=reader.rejected_rows,
        rejected=tuple(reader.rejected),
        duplicates=duplicates,
    )


def read_increment(
    file: RegistryFile, progress: Progress | None, _: Tolerance, *, layout: RecordLayout
) -> ParsedFile:
    """Return the changes in the order of the file; raises InputError for any defect.

    A file with only a header says that nothing has changed.
    """
    reader = RowReader(file, layout, may_be_empty=True)
    table = _Table(reader, layout, progress)
    source = reader.source(table.rows)
    returns = table.home.filled if layout.routes else np.ones(table.rows, np.bool_)
    # A number that goes home has no route, so the keys are those of the ports alone.
    route = np.zeros(table.rows, np.uint32)
    used, route[~returns] = np.unique(
        table.route.filled[~returns] if layout.routes else [], return_inverse=True
    )
    changes = IncrementRows(
        numbers=table.numbers.filled,
        returns=returns,
        route=route,
        keys=tuple(table.route.keys[at] for at in used.astype(int).tolist()),
        changed_at=table.time.filled,
        order_id=table.order_id.filled,
        donor=table.donor.filled.astype(np.uint32) if layout.donor else None,
        donor_codes=table.donor.keys,
    )
    return ParsedFile(source=source, increment=changes, stated_rows=reader.stated)


def read_range_file(
    file: RegistryFile, progress: Progress | None, _: Tolerance, *, layout: RecordLayout
) -> ParsedFile:
    """Return the ranges of a plan, ascending; raises InputError for any defect."""
    reader = RowReader(file, layout)
    table = _Table(reader, layout, progress)
    source = reader.source(table.rows)
    table.select(np.argsort(table.numbers.filled, kind="stable"))
    ranges = Ranges(
        first=table.numbers.filled,
        last=table.last.filled,
        key=table.route.filled.astype(np.uint32),
        keys=table.route.keys,
    )
    _refuse_overlap(file, layout, ranges)
    return ParsedFile(source=source, ranges=ranges, stated_rows=reader.stated)


def _sort(
    table: _Table, file: RegistryFile, layout: RecordLayout | NamedLayout, *, keep_latest: bool
) -> int:
    """Put a dump's rows in ascending order; return how many rows repeated a number.

    With ``keep_latest`` the row with the latest time stays, in a tie the last one in the file;
    otherwise a repeated number raises InputError. A dump that ascends already is left as it is.
    """
    numbers = table.numbers.filled
    if (numbers[1:] > numbers[:-1]).all():
        return 0
    table.select(np.lexsort((table.time.filled, numbers)) if keep_latest else np.argsort(numbers))
    numbers = table.numbers.filled
    repeated = np.append(numbers[1:] == numbers[:-1], [False])
    count = int(np.count_nonzero(repeated))
    if not count:
        return 0
    if keep_latest:
        table.select(~repeated)
        return count
    number = int(numbers[repeated.argmax()])
    lines = lines_with(file.path, layout.number, layout.number_format.written(number), lines_max=2)
    raise InputError(
        file.path,
        f"the number {mask_number(number)} occurs in more than one row "
        f"(lines {' and '.join(map(str, lines))})",
        line=lines[-1] if lines else None,
        hint="The file is not a whole dump as the registry makes it: download it again",
    )


def _refuse_overlap(file: RegistryFile, layout: RecordLayout, ranges: Ranges) -> None:
    """Raise InputError when two ranges, sorted by their first number, share a number."""
    first, last = ranges.first, ranges.last
    reach = np.maximum.accumulate(last)
    overlapping = np.flatnonzero(first[1:] <= reach[:-1])
    if not overlapping.size:
        return
    later = int(overlapping[0]) + 1
    # The range that reaches furthest: of those before, the first whose last number is the reach.
    earlier = int(np.searchsorted(reach, reach[later - 1]))
    same = (first[later], last[later]) == (first[earlier], last[earlier])
    lines: set[int] = set()
    for number in {int(first[earlier]), int(first[later])}:
        written = layout.number_format.written(number)
        lines.update(lines_with(file.path, layout.number, written, lines_max=2))
    where = sorted(lines)
    what = "occurs in the file twice" if same else "overlaps another"
    raise InputError(
        file.path,
        f"a range that begins at {mask_number(int(first[later]))} {what} "
        f"(lines {' and '.join(map(str, where))})",
        line=where[-1],
        hint="The file is not a plan as the registry makes it: download it again",
    )


class _Column:
    """An array that is put together from the pieces of blocks; empty where a file lacks it."""

    def __init__(self, dtype: DTypeLike) -> None:
        self._pieces: list[NDArray[Any]] = [np.empty(0, dtype)]

    def append(self, values: NDArray[Any]) -> None:
        """Add the values at the end."""
        self._pieces.append(values)

    def select(self, rows: NDArray[Any]) -> None:
        """Keep the entries at these places, in this order, or those of a mask."""
        if self.filled.size:
            self._pieces = [self.filled[rows]]

    @property
    def filled(self) -> NDArray[Any]:
        """The entries so far."""
        if len(self._pieces) > 1:
            self._pieces = [np.concatenate(self._pieces)]
        return self._pieces[0]


class _KeyColumn(_Column, Generic[_Key]):
    """A column of indexes into ``keys``: the distinct keys that the texts of the rows stand for.

    ``make`` turns texts into a key, once for each distinct combination, or raises ValueError.
    """

    def __init__(self, path: Path, make: Callable[[tuple[bytes, ...]], _Key]) -> None:
        super().__init__(np.uint16)
        self._path = path
        self._make = make
        self._index_of_texts: dict[tuple[bytes, ...], int] = {}
        self._index_of_key: dict[_Key, int] = {}

    @property
    def keys(self) -> tuple[_Key, ...]:
        """The keys so far, in the order in which they were first seen."""
        return tuple(self._index_of_key)

    def append_texts(self, texts: Codes, block: Block) -> None:
        """Add the rows of a block; raises InputError for more combinations than any dump has."""
        known = self._index_of_texts
        indexes = [known.get(cells, -1) for cells in texts.texts]
        for place, index in enumerate(indexes):
            if index < 0:
                try:
                    key = self._make(texts.texts[place])
                except ValueError as error:
                    line = line_of_row(self._path, block, int(np.argmax(texts.index == place)))
                    raise InputError(self._path, str(error), line=line, hint=REMEDY) from None
                indexes[place] = self._index_of_key.setdefault(key, len(self._index_of_key))
                known[texts.texts[place]] = indexes[place]
        if len(known) > KEYS_MAX:
            raise InputError(
                self._path,
                f"the rows have more than {KEYS_MAX} distinct combinations of codes or names",
                hint="This is not a registry's dump",
            )
        # Pieces of four bytes, where two do not suffice, widen the whole column.
        dtype = np.uint32 if max(indexes, default=0) >= _WIDE else np.uint16
        self.append(np.array(indexes, dtype).take(texts.index))


class _Table:
    """The rows of a whole file, in its order: what ``Rows`` are for a block."""

    def __init__(
        self, reader: RowReader, layout: RecordLayout | NamedLayout, progress: Progress | None
    ) -> None:
        """Read all rows; raises InputError for one that is not tolerated."""
        path = reader.csv.archive.path
        self.numbers, self.last = _Column(np.uint64), _Column(np.uint64)
        self.time, self.order_id = _Column(np.uint32), _Column(np.uint64)
        self.home = _Column(np.bool_)
        self.route = _KeyColumn(path, _key_maker(layout))
        self.donor = _KeyColumn(path, lambda texts: texts[0].decode("ascii"))
        parser = (
            NamedParser(layout)
            if isinstance(layout, NamedLayout)
            else RecordParser(reader.csv.header, layout)
        )
        for rows in reader.rows(parser, progress):
            self.numbers.append(rows.numbers)
            for column, values in (
                (self.last, rows.last),
                (self.time, rows.time),
                (self.order_id, rows.order_id),
                (self.home, rows.home),
            ):
                if values is not None:
                    column.append(values)
            for keys, texts in ((self.route, rows.route), (self.donor, rows.donor)):
                if texts is not None:
                    keys.append_texts(texts, rows.block)

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return len(self.numbers.filled)

    def select(self, rows: NDArray[Any]) -> None:
        """Keep the rows at these places, in this order, or those of a mask."""
        for column in (
            self.numbers, self.last, self.time, self.order_id, self.home, self.route, self.donor
        ):  # fmt: skip
            column.select(rows)


def _key_maker(layout: RecordLayout | NamedLayout) -> Callable[[tuple[bytes, ...]], RouteKey]:
    """Return what makes a key of a row's texts: its codes, or the rest of its line."""
    if isinstance(layout, NamedLayout):
        encoding, line_type = OneEncoding(layout.encodings), layout.line_type
        return lambda texts: RouteKey(
            operator_name=encoding.decode(name_in(texts[0])), line_type=line_type
        )
    fields = [column.field for column in layout.routes]

    def make(texts: tuple[bytes, ...]) -> RouteKey:
        cells = dict(zip(fields, (text.decode("ascii") for text in texts), strict=True))
        return RouteKey(**cells, line_type=layout.line_type)

    return make
