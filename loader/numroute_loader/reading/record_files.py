"""Reads full dumps, increments and numbering plans whose rows name operators by code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np

from numroute.errors import InputError
from numroute.model import mask_number
from numroute_loader.reading.csv_stream import lines_with
from numroute_loader.reading.description import ParsedFile
from numroute_loader.reading.rows import RecordParser, RowReader, duplicate_number
from numroute_loader.records import IncrementRows, PortedRecords, Ranges, RouteKey

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable
    from pathlib import Path

    from numpy.typing import DTypeLike, NDArray

    from numroute_loader.reading.columns import Codes
    from numroute_loader.reading.description import (
        Progress,
        RecordLayout,
        RegistryFile,
        Tolerance,
    )


def read_ported_dump(
    file: RegistryFile, progress: Progress | None, tolerance: Tolerance, *, layout: RecordLayout
) -> ParsedFile:
    """Return the ported numbers of a dump, ascending; InputError for a defect not tolerated."""
    reader = RowReader(file, layout, tolerance)
    order, time = RecordOrder(), Column(np.uint32)
    route, donor = KeyColumn(file.path, _key_maker(layout)), KeyColumn(file.path, _code)
    for rows in reader.rows(RecordParser(reader.csv.header, layout), progress):
        kept = None if rows.home is None else ~rows.home
        order.append(rows.numbers, kept)
        if rows.route is not None:
            route.append_texts(rows.route, kept)
        if rows.donor is not None:
            donor.append_texts(rows.donor, kept)
        if rows.time is not None:
            time.append(rows.time, kept)
    source = reader.source(order.rows)
    others = [route, time, *([donor] if layout.donor else [])]
    duplicates = order.drop_earlier(time.filled, *others) if tolerance.duplicates else 0
    duplicate = order.sort(*others)
    if duplicate is not None:
        raise duplicate_number(file, layout.number, layout.number_format, duplicate)
    ported = PortedRecords(
        numbers=order.numbers.filled,
        route=route.filled,
        keys=route.keys,
        ported_at=time.filled,
        donor=donor.filled if layout.donor else None,
        donor_codes=donor.keys,
        returned_home=len(order.home.filled),
    )
    return ParsedFile(
        source=source,
        ported=ported,
        warnings=_unusual_routes(layout, route, order.rows),
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
    numbers, time, order_id = Column(np.uint64), Column(np.uint32), Column(np.uint64)
    returns = Column(np.bool_)
    # Routes are those of the ports alone: a return has none.
    route = KeyColumn(file.path, _key_maker(layout))
    donor = KeyColumn(file.path, _code)
    for rows in reader.rows(RecordParser(reader.csv.header, layout), progress):
        home = np.ones(len(rows.numbers), np.bool_) if rows.home is None else rows.home
        numbers.append(rows.numbers)
        returns.append(home)
        if rows.time is not None:
            time.append(rows.time)
        if rows.order_id is not None:
            order_id.append(rows.order_id)
        if rows.route is not None:
            route.append_texts(rows.route.where(~home))
        if rows.donor is not None:
            donor.append_texts(rows.donor)
    source = reader.source(len(numbers.filled))
    ported = ~returns.filled
    row_route = np.zeros(len(ported), np.uint32)
    row_route[ported] = route.filled
    return ParsedFile(
        source=source,
        increment=IncrementRows(
            numbers=numbers.filled,
            returns=returns.filled,
            route=row_route,
            keys=route.keys,
            changed_at=time.filled,
            order_id=order_id.filled,
            donor=donor.filled.astype(np.uint32) if layout.donor else None,
            donor_codes=donor.keys,
        ),
        warnings=_unusual_routes(layout, route, len(ported)),
        stated_rows=reader.stated,
    )


def read_range_file(
    file: RegistryFile, progress: Progress | None, _: Tolerance, *, layout: RecordLayout
) -> ParsedFile:
    """Return the ranges of a plan, ascending; raises InputError for any defect."""
    reader = RowReader(file, layout)
    first, last = Column(np.uint64), Column(np.uint64)
    key = KeyColumn(file.path, _key_maker(layout))
    for rows in reader.rows(RecordParser(reader.csv.header, layout), progress):
        if rows.last is not None and rows.route is not None:
            first.append(rows.numbers)
            last.append(rows.last)
            key.append_texts(rows.route)
    source = reader.source(len(first.filled))
    order = np.argsort(first.filled, kind="stable")
    for column in (first, last, key):
        column.reorder(order)
    _refuse_overlap(file, layout, first.filled, last.filled)
    ranges = Ranges(
        first=first.filled, last=last.filled, key=key.filled.astype(np.uint32), keys=key.keys
    )
    return ParsedFile(source=source, ranges=ranges, stated_rows=reader.stated)


def _key_maker(layout: RecordLayout) -> Callable[[tuple[bytes, ...]], RouteKey]:
    fields = [column.field for column in layout.routes]

    def make(texts: tuple[bytes, ...]) -> RouteKey:
        cells = dict(zip(fields, (text.decode("ascii") for text in texts), strict=True))
        return RouteKey(**cells, line_type=layout.line_type)

    return make


def _code(texts: tuple[bytes, ...]) -> str:
    return texts[0].decode("ascii")


def _unusual_routes(layout: RecordLayout, route: KeyColumn[RouteKey], rows: int) -> tuple[str, ...]:
    """Return the warning about routing numbers of an unusual shape, which are no defect."""
    usual = layout.usual_routing_number
    odd = [usual is not None and key.routing_number != usual(key) for key in route.keys]
    count = int(np.count_nonzero(np.array(odd, np.bool_)[route.filled])) if any(odd) else 0
    if not count:
        return ()
    column = next(text.name for text in layout.routes if text.field == "routing_number")
    return (f"{count} of {rows} rows have a {column} of an unusual shape",)


def _refuse_overlap(
    file: RegistryFile,
    layout: RecordLayout,
    first: NDArray[np.uint64],
    last: NDArray[np.uint64],
) -> None:
    """Raise InputError when two ranges, sorted by their first number, share a number."""
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


KEYS_MAX = 2**20
"""How many distinct routes, names or codes one file may have. Real dumps have a few thousand."""

_WIDE = 2**16

_Key = TypeVar("_Key", bound="Hashable")


class Column:
    """An array that is put together from the pieces of blocks."""

    def __init__(self, dtype: DTypeLike) -> None:
        """Start without entries."""
        self._pieces: list[NDArray[Any]] = [np.empty(0, dtype)]

    def append(self, values: NDArray[Any], kept: NDArray[np.bool_] | None = None) -> None:
        """Add the values, or those that are ``kept``, at the end."""
        self._pieces.append(values if kept is None else values[kept])

    def reorder(self, order: NDArray[np.intp]) -> None:
        """Keep the entries at these places only, in this order."""
        self._pieces = [self.filled[order]]

    @property
    def filled(self) -> NDArray[Any]:
        """The entries so far."""
        if len(self._pieces) > 1:
            self._pieces = [np.concatenate(self._pieces)]
        return self._pieces[0]


class KeyColumn(Column, Generic[_Key]):
    """A column of indexes into ``keys``: the distinct keys that the texts of the rows stand for.

    ``make`` turns texts into a key, once for each distinct combination.
    """

    def __init__(self, path: Path, make: Callable[[tuple[bytes, ...]], _Key]) -> None:
        """Start without entries."""
        super().__init__(np.uint16)
        self._path = path
        self._make = make
        self._index_of_texts: dict[tuple[bytes, ...], int] = {}
        self._index_of_key: dict[_Key, int] = {}

    @property
    def keys(self) -> tuple[_Key, ...]:
        """The keys so far, in the order in which they were first seen."""
        return tuple(self._index_of_key)

    def append_texts(self, texts: Codes, kept: NDArray[np.bool_] | None = None) -> None:
        """Add the rows of a block; raises InputError for more combinations than any dump has."""
        known = self._index_of_texts
        indexes = [known.get(cells, -1) for cells in texts.texts]
        for place, index in enumerate(indexes):
            if index < 0:
                key = self._make(texts.texts[place])
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
        self.append(np.array(indexes, dtype).take(texts.index), kept)


class RecordOrder:
    """Numbers in the order of the file, those that went home apart, and whether they ascend."""

    def __init__(self) -> None:
        """Start without rows."""
        self.numbers = Column(np.uint64)
        self.home = Column(np.uint64)
        self._ascending = True
        self._last = -1

    @property
    def rows(self) -> int:
        """How many rows there are, those that went home among them."""
        return len(self.numbers.filled) + len(self.home.filled)

    def append(self, numbers: NDArray[np.uint64], kept: NDArray[np.bool_] | None = None) -> None:
        """Add the numbers of a block's rows; those not ``kept`` are only remembered as seen."""
        if not numbers.size:
            return
        self._ascending &= int(numbers[0]) > self._last and bool((numbers[1:] > numbers[:-1]).all())
        self._last = int(numbers[-1])
        self.numbers.append(numbers, kept)
        if kept is not None:
            self.home.append(numbers, ~kept)

    def drop_earlier(self, time: NDArray[np.uint32] | None, *columns: Column) -> int:
        """Keep of each number the record with the latest time, and sort; return how many went.

        Where two have the same time, or none, the one that comes later in the file is kept.
        """
        if self._ascending:
            return 0
        numbers = self.numbers.filled
        order = np.lexsort((np.zeros_like(numbers) if time is None else time, numbers))
        ordered = numbers[order]
        last = np.append(ordered[1:] != ordered[:-1], np.ones(min(1, len(ordered)), np.bool_))
        dropped = len(numbers) - int(np.count_nonzero(last))
        for column in (self.numbers, *columns):
            column.reorder(order[last])
        return dropped

    def sort(self, *columns: Column) -> int | None:
        """Put the numbers and the columns in ascending order; return a duplicate number, if any.

        A dump that ascends already is left as it is, and holds no duplicate.
        """
        if self._ascending:
            return None
        order = np.argsort(self.numbers.filled)
        for column in (self.numbers, *columns):
            column.reorder(order)
        del order
        numbers, home = self.numbers.filled, np.sort(self.home.filled)
        for ordered in (numbers, home):
            same = np.flatnonzero(ordered[1:] == ordered[:-1])
            if same.size:
                return int(ordered[same[0]])
        both = np.intersect1d(numbers, home, assume_unique=True) if home.size else home
        return int(both[0]) if both.size else None
