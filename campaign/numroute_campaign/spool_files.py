"""Parquet and Arrow outputs: rows wait in a spool file and are written at the end.

A list may have thousands of output routes: their files cannot all be open, nor their row groups all
be in memory. A spool is an Arrow IPC stream to which whole batches are appended.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pyarrow as pa
import pyarrow.parquet as pq

from numroute_campaign.text_files import append_bytes, open_private, part_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

GROUP_ROWS: Final = 524_288
"""Rows of a Parquet row group or of an Arrow batch: enough for compression, bounded in memory."""

ENDINGS: Final = {"parquet": ".parquet", "arrow": ".arrow"}


class SpoolFiles:
    """The rows of one output route, and the files that are made of them."""

    def __init__(
        self, spool: Path, output: Path, stem: str, form: str, rows_per_file: int | None
    ) -> None:
        """Name them; nothing is made before the first row."""
        self._path = spool / f"{stem}.spool"
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
        """Write the files. ``complete`` makes an output batch of a spooled one."""
        with pa.memory_map(str(self._path)) as source:
            batches = map(complete, pa.ipc.open_stream(source))
            for table in self._tables(batches):
                self._write(table)

    def _tables(self, batches: Iterator[pa.RecordBatch]) -> Iterator[Iterator[pa.Table]]:
        """Yield the row groups of each file."""
        groups = _groups(batches, self._rows_per_file)
        for first in groups:
            if self._rows_per_file is None:
                yield _chained(first, groups)
                return
            yield iter(_cut(first, GROUP_ROWS))

    def _write(self, groups: Iterator[pa.Table]) -> None:
        part = len(self.names) + 1 if self._rows_per_file is not None else None
        self.names.append(part_name(self._stem, ENDINGS[self._form], part))
        first = next(groups)
        with open_private(self._output / self.names[-1]) as file:
            if self._form == "parquet":
                dictionaries = [
                    field.name for field in first.schema if pa.types.is_dictionary(field.type)
                ]
                with pq.ParquetWriter(file, first.schema, use_dictionary=dictionaries) as writer:
                    for group in _chained(first, groups):
                        writer.write_table(_own(group), row_group_size=GROUP_ROWS)
            else:
                with pa.ipc.new_file(file, first.schema) as writer:
                    for group in _chained(first, groups):
                        writer.write_table(_own(group), max_chunksize=GROUP_ROWS)


def _groups(batches: Iterator[pa.RecordBatch], rows_per_file: int | None) -> Iterator[pa.Table]:
    """Yield tables of ``rows_per_file`` rows, or of a row group where there is no such limit."""
    size = rows_per_file or GROUP_ROWS
    waiting: list[pa.RecordBatch] = []
    held = 0
    for batch in batches:
        waiting.append(batch)
        held += batch.num_rows
        while held >= size:
            table = pa.Table.from_batches(waiting)
            yield table.slice(0, size)
            rest = table.slice(size)
            waiting, held = rest.to_batches(), rest.num_rows
    if held:
        yield pa.Table.from_batches(waiting)


def _cut(table: pa.Table, rows: int) -> list[pa.Table]:
    return [table.slice(begin, rows) for begin in range(0, table.num_rows, rows)]


def _own(group: pa.Table) -> pa.Table:
    """Return the rows in memory of their own, a column in one piece.

    What is written then depends on the rows alone, not on the batches that they came in; and no
    text of the row behind a slice stands in the padding of an Arrow file.
    """
    columns = [
        pa.concat_arrays(column.chunks) if column.num_chunks == 1 else column
        for column in group.combine_chunks().columns
    ]
    return pa.Table.from_arrays(columns, schema=group.schema)


def _chained(first: pa.Table, others: Iterator[pa.Table]) -> Iterator[pa.Table]:
    yield first
    yield from others
