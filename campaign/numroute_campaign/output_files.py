"""The files of an output route: text that only grows, or a spool that other forms are made of.

A list may have thousands of output routes: their files cannot all be open, nor their Parquet row
groups and worksheets all be in memory. Text is appended and closed; for the other forms the rows
wait in a spool, an Arrow IPC stream, and the file is written from it at the end.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, BinaryIO, Final

import pyarrow as pa
import pyarrow.parquet as pq

from numroute.errors import InputError, SettingError
from numroute.files import create_private

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numroute_campaign.text_rows import RowText

GROUP_ROWS: Final = 524_288
"""Rows of a Parquet row group or of an Arrow batch: enough for compression, bounded in memory."""

SHEET_ROWS_MAX: Final = 1_048_576
"""Rows of a worksheet, its header included."""

SHEET_CELL_CHARS_MAX: Final = 32_767

ENDINGS: Final = {"parquet": ".parquet", "arrow": ".arrow", "xlsx": ".xlsx"}


class TextFiles:
    """The text files of one output route: one file, or parts of ``rows_per_file`` rows each."""

    def __init__(
        self,
        folder: Path,
        stem: str,
        head: bytes,
        rows_per_file: int | None = None,
        *,
        ending: str = ".csv",
        encoding: str = "utf-8",
    ) -> None:
        """Name the files; the first is created with the first row. ``head`` is UTF-8."""
        self._folder, self._stem, self._ending = folder, stem, ending
        self._head, self._encoding = head, encoding
        self._rows_per_file = rows_per_file
        self._part_rows = 0
        self.rows = 0
        self.names: list[str] = []

    def append(self, text: RowText, begin: int, end: int) -> None:
        """Append some lines of a text."""
        while begin < end:
            room = end - begin
            if self._rows_per_file is not None:
                room = self._rows_per_file - self._part_rows
            if not self.names or room == 0:
                self._next_part()
                continue
            count = min(room, end - begin)
            self._write(text.lines(begin, begin + count))
            begin += count
            self._part_rows += count
            self.rows += count

    def begin(self) -> None:
        """Create the first file even if no row follows."""
        if not self.names:
            self._next_part()

    def _next_part(self) -> None:
        part = None if self._rows_per_file is None else len(self.names) + 1
        self.names.append(part_name(self._stem, self._ending, part))
        self._part_rows = 0
        create_private(self._folder / self.names[-1]).close()
        if self._encoding == "utf-8-sig":
            append_bytes(self._folder / self.names[-1], b"\xef\xbb\xbf")
        self._write(memoryview(self._head))

    def _write(self, data: memoryview) -> None:
        if self._encoding.startswith("utf-8"):
            append_bytes(self._folder / self.names[-1], data)
            return
        try:
            encoded = str(data, "utf-8").encode(self._encoding)
        except UnicodeEncodeError:
            # The error's own text quotes the cell.
            raise SettingError(
                f"{self._stem}: a cell has a character that {self._encoding} cannot write",
                hint='Give the template encoding = "utf-8"',
            ) from None
        append_bytes(self._folder / self.names[-1], encoded)


class SpoolFiles:
    """The rows of one output route, and the Parquet, Arrow or .xlsx files made of them."""

    def __init__(
        self, spool: Path, output: Path, stem: str, form: str, rows_per_file: int | None
    ) -> None:
        """Name the files; nothing is created before the first row."""
        self._spool, self._path = spool, spool / f"{stem}.spool"
        self._output, self._stem, self._form = output, stem, form
        self._rows_per_file = rows_per_file
        self.rows = 0
        self.names: list[str] = []

    def append(self, batch: pa.RecordBatch) -> None:
        """Append a batch; all have the same columns."""
        if not self.rows:
            append_bytes(self._path, memoryview(batch.schema.serialize()))
        append_bytes(self._path, memoryview(batch.serialize()))
        self.rows += batch.num_rows

    def finish(self, complete: Callable[[pa.RecordBatch], pa.RecordBatch]) -> None:
        """Write the files. ``complete`` makes an output batch of a spooled one.

        Raises:
            InputError: A worksheet cannot hold a cell.
        """
        room = SHEET_ROWS_MAX - 1
        if self._form == "xlsx" and min(self.rows, self._rows_per_file or self.rows) > room:
            self._rows_per_file = room
        with pa.memory_map(str(self._path)) as source:
            batches = map(complete, pa.ipc.open_stream(source))
            for groups in self._files(batches):
                self._write(groups)

    def _files(self, batches: Iterator[pa.RecordBatch]) -> Iterator[Iterator[pa.Table]]:
        """Yield the row groups of each file."""
        tables = _tables(batches, self._rows_per_file or GROUP_ROWS)
        for first in tables:
            if self._rows_per_file is None:
                yield _chained(first, tables)
                return
            yield iter([first.slice(at, GROUP_ROWS) for at in range(0, first.num_rows, GROUP_ROWS)])

    def _write(self, groups: Iterator[pa.Table]) -> None:
        part = None if self._rows_per_file is None else len(self.names) + 1
        self.names.append(part_name(self._stem, ENDINGS[self._form], part))
        first = next(groups)
        with create_private(self._output / self.names[-1]) as file:
            if self._form == "xlsx":
                self._write_sheet(file, _chained(first, groups))
            elif self._form == "parquet":
                dictionaries = [
                    field.name for field in first.schema if pa.types.is_dictionary(field.type)
                ]
                with pq.ParquetWriter(file, first.schema, use_dictionary=dictionaries) as writer:
                    for group in _chained(first, groups):
                        writer.write_table(_copied(group), row_group_size=GROUP_ROWS)
            else:
                with pa.ipc.new_file(file, first.schema) as writer:
                    for group in _chained(first, groups):
                        writer.write_table(_copied(group), max_chunksize=GROUP_ROWS)

    def _write_sheet(self, file: BinaryIO, groups: Iterator[pa.Table]) -> None:
        """Write a workbook of one sheet; every cell is text, so no number loses a digit."""
        import xlsxwriter  # noqa: PLC0415 - slow to load

        # Constant memory needs temporary files: they belong in the private spool folder.
        options = {"constant_memory": True, "tmpdir": str(self._spool), "use_zip64": True}
        with xlsxwriter.Workbook(file, options) as workbook:
            sheet = workbook.add_worksheet("list")
            write, row = sheet.write_string, 0
            for group in groups:
                if row == 0:
                    for place, name in enumerate(group.column_names):
                        write(0, place, name)
                columns = [_cells(column) for column in group.columns]
                for cells in zip(*columns, strict=True):
                    row += 1
                    for place, cell in enumerate(cells):
                        if cell and write(row, place, cell):
                            raise InputError(
                                self.names[-1],
                                f"a cell of the column {group.column_names[place]!r} is longer "
                                f"than the {SHEET_CELL_CHARS_MAX:,} characters of a worksheet",
                                hint="Leave the column out of --keep, or give --format csv",
                            )


def _cells(column: pa.ChunkedArray) -> list[str | None]:
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    cells: list[str | None] = column.cast(pa.string()).to_pylist()
    return cells


def _tables(batches: Iterator[pa.RecordBatch], rows: int) -> Iterator[pa.Table]:
    """Yield tables of ``rows`` rows; the last may have fewer."""
    waiting: list[pa.RecordBatch] = []
    held = 0
    for batch in batches:
        waiting.append(batch)
        held += batch.num_rows
        while held >= rows:
            table = pa.Table.from_batches(waiting)
            yield table.slice(0, rows)
            rest = table.slice(rows)
            waiting, held = rest.to_batches(), rest.num_rows
    if held:
        yield pa.Table.from_batches(waiting)


def _copied(group: pa.Table) -> pa.Table:
    """Return a copy of the rows, each column in one piece.

    What is written then depends on the rows alone, not on the batches that they came in; and no
    text of the row behind a slice ends up in the padding of an Arrow file.
    """
    columns = [
        pa.concat_arrays(column.chunks) if column.num_chunks == 1 else column
        for column in group.combine_chunks().columns
    ]
    return pa.Table.from_arrays(columns, schema=group.schema)


def _chained(first: pa.Table, others: Iterator[pa.Table]) -> Iterator[pa.Table]:
    yield first
    yield from others


def part_name(stem: str, ending: str, part: int | None) -> str:
    """Return the name of a whole file, or of a part counted from 1."""
    return f"{stem}{ending}" if part is None else f"{stem}-{part:05}{ending}"


def append_bytes(path: Path, data: memoryview | bytes) -> None:
    """Append bytes to a private file, which is created if it is missing; it does not stay open."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        rest = memoryview(data)
        while rest.nbytes:
            rest = rest[os.write(descriptor, rest) :]
    finally:
        os.close(descriptor)
