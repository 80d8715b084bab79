"""Reads full dumps, increments, numbering plans and operator tables, each in one pass."""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

from numroute.errors import InputError
from numroute.model import mask_number
from numroute.threads import in_order
from numroute_loader.reading.archive import DOWNLOAD_AGAIN
from numroute_loader.reading.columns import Codes, RecordParser, Rows
from numroute_loader.reading.csv_stream import Block, CsvFile, line_at, lines_with
from numroute_loader.reading.description import (
    STRICT,
    IncrementRows,
    ParsedFile,
    PortedRecords,
    Ranges,
    RecordLayout,
    RegistryFile,
    RouteKey,
    Tolerance,
)

ROWS_MAX = 2**30
"""How many rows a dump may have: as many records as an index holds."""

KEYS_MAX = 2**20
"""How many distinct routes, names or codes one file may have. Real dumps have a few thousand."""

PARSER_THREADS_MAX = 8
"""More threads than this wait for the one that reads and digests the file."""

REMEDY = "The file is damaged or cut short: download it again"

_WIDE = 2**16
_PLACES_MAX = 5
"""How many skipped rows are named."""

_Key = TypeVar("_Key", bound=Hashable)


def read_ported_dump(
    file: RegistryFile, tolerance: Tolerance, *, layout: RecordLayout
) -> ParsedFile:
    """Return the ported numbers of a dump, ascending; InputError for a defect not tolerated.

    No defect is tolerated where operators are named in free text.
    """
    tolerance = STRICT if layout.free_text else tolerance
    table = _Table(file, layout, tolerance)
    duplicates = table.sort(keep_latest=tolerance.duplicates)
    home = table.column("home", np.bool_)
    if home.any():
        table.select(~home)
    ported = PortedRecords(
        numbers=table.column("number", np.uint64),
        route=table.column("route", np.uint16),
        keys=table.routes.keys,
        ported_at=table.column("time", np.uint32) if layout.time else None,
        donor=table.column("donor", np.uint16) if layout.donor else None,
        donor_codes=table.donors.keys,
        returned_home=int(np.count_nonzero(home)),
    )
    return table.parsed(ported=ported, duplicates=duplicates)


def read_increment(file: RegistryFile, _: Tolerance, *, layout: RecordLayout) -> ParsedFile:
    """Return the changes in the order of the file; raises InputError for any defect.

    A file with only a header says that nothing has changed.
    """
    table = _Table(file, layout, STRICT)
    numbers = table.column("number", np.uint64)
    returns = table.column("home", np.bool_) if layout.routes else np.ones(len(numbers), np.bool_)
    # A number that goes home has no route, so the keys are those of the ports alone.
    route = np.zeros(len(numbers), np.uint32)
    ports = table.column("route", np.uint16)[~returns]
    used, route[~returns] = np.unique(ports, return_inverse=True)
    changes = IncrementRows(
        numbers=numbers,
        returns=returns,
        route=route,
        keys=tuple(table.routes.keys[at] for at in used.astype(int).tolist()),
        changed_at=table.column("time", np.uint32),
        order_id=table.column("order_id", np.uint64),
        donor=table.column("donor", np.uint16).astype(np.uint32),
        donor_codes=table.donors.keys or ("",),
    )
    return table.parsed(increment=changes)


def read_range_file(file: RegistryFile, _: Tolerance, *, layout: RecordLayout) -> ParsedFile:
    """Return the ranges of a plan, ascending; raises InputError for any defect."""
    table = _Table(file, layout, STRICT)
    table.select(np.argsort(table.column("number", np.uint64), kind="stable"))
    ranges = Ranges(
        first=table.column("number", np.uint64),
        last=table.column("last", np.uint64),
        key=table.column("route", np.uint16).astype(np.uint32),
        keys=table.routes.keys,
    )
    overlapping = np.flatnonzero(ranges.first[1:] <= ranges.last[:-1])
    if overlapping.size:
        # The first two that overlap are neighbours.
        numbers = np.unique(ranges.first[overlapping[0] :][:2]).tolist()
        table.refuse_twice(numbers, "begins a range that overlaps another")
    return table.parsed(ranges=ranges)


def read_operator_table(file: RegistryFile, _: Tolerance, *, layout: RecordLayout) -> ParsedFile:
    """Return the rows of an operator table, some hundred; raises InputError for any defect.

    A tax number of another shape is left empty: it could not join anything.
    """
    table = _Table(file, layout, STRICT)
    rows = [table.routes.keys[at] for at in table.column("route", np.uint16).tolist()]
    ((key, count),) = Counter((row.operator_code, row.registry_mnc) for row in rows).most_common(1)
    if count > 1:
        name = layout.routes[0].name
        first, line = lines_with(file.path, name, ",".join(key), lines_max=2)
        reason = f"{name} and {layout.routes[1].name} are those of line {first}"
        raise InputError(file.path, reason, line=line, hint=REMEDY)
    shape = re.compile(layout.tax_number_shape)
    odd = [row for row in rows if row.tax_number and not shape.fullmatch(row.tax_number)]
    operators = tuple(replace(row, tax_number="") if row in odd else row for row in rows)
    warning = f"{len(odd)} rows have a tax number that is not one"
    return table.parsed(operators=operators, warnings=(warning,) if odd else ())


class _Keys(Generic[_Key]):
    """The distinct keys that the texts of a column's rows stand for, as first seen.

    ``make`` turns texts into a key, once for each distinct combination, or raises ValueError.
    """

    def __init__(self, path: Path, make: Callable[[tuple[bytes, ...]], _Key]) -> None:
        self._path, self._make = path, make
        self._index_of_texts: dict[tuple[bytes, ...], int] = {}
        self._index_of_key: dict[_Key, int] = {}

    @property
    def keys(self) -> tuple[_Key, ...]:
        """The keys by index."""
        return tuple(self._index_of_key)

    def indexes(self, texts: Codes, block: Block) -> NDArray[Any]:
        """Return the index of each row's key; InputError for more keys than any dump has."""
        known = self._index_of_texts
        indexes = [known.get(cells, -1) for cells in texts.texts]
        for place, index in enumerate(indexes):
            if index < 0:
                try:
                    key = self._make(texts.texts[place])
                except ValueError as error:
                    lines = bytes(block.data).split(b"\n")
                    filled = [at for at, text in enumerate(lines) if text.strip(b"\r")]
                    line = filled[int(np.argmax(texts.index == place))]
                    line += line_at(self._path, block.offset)
                    raise InputError(self._path, str(error), line=line, hint=REMEDY) from None
                indexes[place] = self._index_of_key.setdefault(key, len(self._index_of_key))
                known[texts.texts[place]] = indexes[place]
        if len(known) > KEYS_MAX:
            reason = f"the rows have more than {KEYS_MAX} distinct combinations of codes or names"
            raise InputError(self._path, reason, hint="This is not a registry's dump")
        # Pieces of four bytes, where two do not suffice, widen the whole column.
        dtype = np.uint32 if max(indexes, default=0) >= _WIDE else np.uint16
        return np.array(indexes, dtype).take(texts.index)


class _Table:
    """The rows of a whole file by column, in its order.

    Bad rows are counted as far as they are tolerated, and the first of them named.
    """

    def __init__(self, file: RegistryFile, layout: RecordLayout, tolerance: Tolerance) -> None:
        """Read the file to its end.

        Raises InputError for a row that is not tolerated, and when rows are missing.
        """
        self._file, self._layout, self._tolerance = file, layout, tolerance
        self._csv = CsvFile(file.archive)
        self._rejected_rows = 0
        self._rejected: list[str] = []
        self._stated = self._stated_rows()
        self.routes = _Keys(file.path, _route_maker(layout))
        self.donors = _Keys(file.path, lambda texts: texts[0].decode("ascii"))
        pieces: dict[str, list[NDArray[Any]]] = defaultdict(list)
        parser = RecordParser(self._csv.header, layout)
        # As many blocks are parsed at once as the process has cores.
        threads = min(PARSER_THREADS_MAX, os.cpu_count() or 1)
        with ThreadPoolExecutor(threads, thread_name_prefix="parse") as pool:
            steps = (partial(parser.parse, block) for block in self._csv.blocks(file.progress))
            for rows in in_order(pool, steps, threads):
                if rows.faults:
                    self._reject(rows)
                for name, values in rows.columns.items():
                    pieces[name].append(values)
                for name, keys in (("route", self.routes), ("donor", self.donors)):
                    if name in rows.codes:
                        pieces[name].append(keys.indexes(rows.codes[name], rows.block))
        self._columns = {name: np.concatenate(pieces.pop(name)) for name in list(pieces)}
        rows_read = self._rejected_rows + len(next(iter(self._columns.values()), ()))
        if rows_read != self._stated and not tolerance.row_count:
            what = "cut short" if rows_read < self._stated else "damaged"
            raise InputError(
                file.path,
                f"{layout.row_count} says {self._stated}, the file holds {rows_read} rows: the "
                f"file is {what}",
                hint=DOWNLOAD_AGAIN,
            )
        self._source = file.source(rows_read)

    def column(self, name: str, dtype: DTypeLike) -> NDArray[Any]:
        """Return a column, zeros where the file lacks it."""
        rows = len(self._columns.get("number", ()))
        return self._columns.get(name, np.zeros(rows, dtype))

    def select(self, rows: NDArray[Any]) -> None:
        """Keep the rows at these places, in this order, or those of a mask."""
        for name in self._columns:
            self._columns[name] = self._columns[name][rows]

    def sort(self, *, keep_latest: bool) -> int:
        """Put a dump's rows in ascending order; return how many rows repeated a number.

        With ``keep_latest`` the row with the latest time stays, in a tie the last one in the file;
        otherwise a repeated number raises InputError. Rows that ascend already are left alone.
        """
        numbers = self.column("number", np.uint64)
        if (numbers[1:] > numbers[:-1]).all():
            return 0
        time = self.column("time", np.uint32)
        self.select(np.lexsort((time, numbers)) if keep_latest else np.argsort(numbers))
        numbers = self.column("number", np.uint64)
        repeated = np.append(numbers[1:] == numbers[:-1], [False])
        count = int(np.count_nonzero(repeated))
        if count and not keep_latest:
            self.refuse_twice([int(numbers[repeated.argmax()])], "occurs in more than one row")
        if count:
            self.select(~repeated)
        return count

    def refuse_twice(self, numbers: Sequence[int], what: str) -> None:
        """Raise InputError that names the lines of numbers, of which the last is at fault."""
        path, column = self._file.path, self._layout.number
        written = map(self._layout.number_format.written, numbers)
        lines = sorted(
            {line for each in written for line in lines_with(path, column, each, lines_max=2)}
        )
        where = " and ".join(map(str, lines))
        raise InputError(
            path,
            f"the number {mask_number(numbers[-1])} {what} (lines {where})",
            line=max(lines, default=None),
            hint="The file is not whole as the registry makes it: download it again",
        )

    def parsed(self, **content: Any) -> ParsedFile:  # noqa: ANN401 - the fields of a ParsedFile
        """Return the file with what was read from it."""
        return ParsedFile(
            source=self._source,
            stated_rows=self._stated,
            rejected_rows=self._rejected_rows,
            rejected=tuple(self._rejected),
            **content,
        )

    def _reject(self, rows: Rows) -> None:
        path, limit = self._file.path, self._tolerance.rejected_rows
        first = line_at(path, rows.block.offset)
        for fault in rows.faults:
            self._rejected_rows += 1
            line, reason = first + fault.line, fault.reason
            if self._rejected_rows <= _PLACES_MAX:
                self._rejected.append(f"{path}:{line}: {reason}")
            if self._rejected_rows > limit:
                if limit:
                    reason = f"more than {limit} rows are malformed; here {reason}"
                raise InputError(path, reason, line=line, hint=REMEDY)

    def _stated_rows(self) -> int:
        """Return how many data rows the file states, in its first data row.

        It is the only integrity figure that a registry gives, so a file without it is refused. The
        column is counted from the right: a name in free text may hold the delimiter.
        """
        header, path, column = self._csv.header, self._file.path, self._layout.row_count
        twice = sorted({name for name in header if header.count(name) > 1})
        if twice:
            reason = f"the header names {', '.join(twice)} twice"
            hint = f"A file of kind {self._file.kind.name} begins with {self._file.kind.expects}"
            raise InputError(path, reason, line=1, hint=hint)
        if not self._csv.first_row:
            if self._file.kind.layer == "increments":
                return 0
            reason = "the file holds no rows, only a header"
            raise InputError(path, reason, line=1, hint=DOWNLOAD_AGAIN)
        cells = self._csv.first_row.split(b",")
        place = header.index(column) - len(header)
        cell = cells[place].strip() if len(cells) >= -place else b""
        if not re.fullmatch(rb"[0-9]{1,20}", cell) or int(cell) > ROWS_MAX:
            # Not quoted: in a damaged row it may be a subscriber's number.
            reason = f"the first data row has no {column} that is a whole number up to {ROWS_MAX}"
            raise InputError(path, reason, line=2, hint=REMEDY)
        return int(cell)


def _route_maker(layout: RecordLayout) -> Callable[[tuple[bytes, ...]], RouteKey]:
    """Return what makes a key of a row's texts; those of a file must all be in one encoding."""
    fields = [column.field for column in layout.routes]
    settled = ""

    def decoded(raw: bytes) -> str:
        # ASCII fits every encoding and settles nothing. Cyrillic in windows-1251 is hardly ever
        # valid UTF-8; the other way round it is valid gibberish. So the first that fits is right.
        nonlocal settled
        if raw.isascii():
            return raw.decode("ascii")
        for encoding in layout.encodings:
            try:
                text = raw.decode(encoding)
            except UnicodeDecodeError:
                continue
            settled = settled or encoding
            if settled == encoding:
                return text
            break
        reason = f"the text is not {settled or ' or '.join(layout.encodings)}"
        mixed = ", as the lines before it are: mixed encodings"
        raise ValueError(reason + (mixed if settled else ""))

    def make(texts: tuple[bytes, ...]) -> RouteKey:
        cells = (decoded(text).strip() for text in texts)
        return RouteKey(**dict(zip(fields, cells, strict=True)), line_type=layout.line_type)

    return make
