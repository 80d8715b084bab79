"""A Parquet file or an Arrow IPC file as blocks; only the needed columns are read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from numroute.errors import InputError
from numroute_campaign.lists import Block, ListReader
from numroute_campaign.lists.cells import (
    check_segments,
    may_hold_numbers,
    readable,
    sample_of,
)
from numroute_campaign.lists.columns import is_phone_name, shown_name
from numroute_campaign.lists.files import Form, ListFile

BLOCK_ROWS: Final = 131_072
SAMPLE_ROWS: Final = 1000


class ArrowFile(ListReader):
    """An open Parquet or Arrow file."""

    def __init__(self, file: ListFile) -> None:
        """Open it. Raises InputError when it is damaged."""
        self.file = file
        self.bytes_done = 0
        self._parquet: pq.ParquetFile | None = None
        try:
            if file.form is Form.PARQUET:
                self._parquet = pq.ParquetFile(file.path, memory_map=True)
                self.schema: pa.Schema = self._parquet.schema_arrow
            elif file.form is Form.ARROW_FILE:
                self._reader = pa.ipc.open_file(pa.memory_map(str(file.path)))
                self.schema = self._reader.schema
            else:
                self._reader = pa.ipc.open_stream(pa.memory_map(str(file.path)))
                self.schema = self._reader.schema
        except (pa.ArrowException, OSError):
            raise self._damaged() from None
        self.columns = tuple(self.schema.names)
        self.sample = self._sample()

    def _sample(self) -> list[pa.Array | None]:
        """Return some values of each column, None for a type that cannot hold phone numbers."""
        able = [
            i
            for i, field in enumerate(self.schema)
            if may_hold_numbers(field.type) and self.schema.names.count(field.name) == 1
        ]
        names = [self.schema.names[i] for i in able]
        try:
            first = next(self.batches(names, SAMPLE_ROWS), None)
            if self.file.form is Form.ARROW_STREAM:
                self._reader = pa.ipc.open_stream(pa.memory_map(str(self.file.path)))
        except (pa.ArrowException, OSError):
            raise self._damaged() from None
        if first is None:
            first = pa.RecordBatch.from_pylist([], pa.schema([self.schema.field(i) for i in able]))
        values: list[pa.Array | None] = [None] * len(self.schema)
        for column, i in zip(first.columns, able, strict=True):
            values[i] = sample_of(column.slice(0, SAMPLE_ROWS))
        return values

    def check_named(self, *, every: bool) -> None:
        """Check that the columns named for phone numbers can hold them; every one, or one.

        Raises:
            InputError: They cannot, by their type, or share a name.
        """
        named = [place for place, name in enumerate(self.columns) if is_phone_name(name)]
        unable = [place for place in named if self.sample[place] is None]
        if unable and (every or unable == named):
            self.choose(unable[:1], (), None)

    def choose(self, phones: Sequence[int], kept: Sequence[int], segments: int | None) -> None:
        """Say by place which columns are needed; their names must differ."""
        super().choose(phones, kept, segments)
        names, types = self.columns, self.schema.types
        for place in self.needed:
            if names.count(names[place]) > 1:
                raise InputError(
                    self.file.name,
                    f"two columns are named {shown_name(names[place])}",
                    hint="Rename one of them",
                )
        for place in phones:
            readable(pa.array([], types[place]), shown_name(names[place]), self.file.name)
        if segments is not None:
            check_segments(types[segments], shown_name(names[segments]), self.file.name)

    @property
    def headers(self) -> tuple[str, ...]:
        """Empty texts: no row repeats the header."""
        return ("",) * len(self.phones)

    def tasks(self) -> Iterator[Callable[[], Block]]:
        """Yield the blocks. Raises InputError also where a phone column holds fractions."""
        names = self.columns
        try:
            for batch in self.batches([names[i] for i in self.needed], BLOCK_ROWS):
                block = self.block(
                    dict(zip(self.needed, batch.columns, strict=True)),
                    np.zeros(batch.num_rows, np.uint8),
                )
                phones = (
                    readable(column, shown_name(names[place]), self.file.name)
                    for place, column in zip(self.phones, block.phones, strict=True)
                )
                block = replace(block, phones=tuple(phones))
                yield lambda block=block: block  # type: ignore[misc] # a default binds it
        except (pa.ArrowException, OSError):
            raise self._damaged() from None

    def close(self) -> None:
        """Close the file."""
        if self._parquet is not None:
            self._parquet.close()

    def _damaged(self) -> InputError:
        # pyarrow's own message may quote what is in the file.
        return InputError(
            self.file.name,
            f"the {self.file.form.value} file is damaged",
            hint="Write or copy the file again",
        )

    def batches(self, names: list[str] | None, rows: int) -> Iterator[pa.RecordBatch]:
        """Yield columns by name, or all of them, some rows at a time."""
        if self._parquet is not None:
            groups = self._parquet.metadata.num_row_groups
            for group in range(groups):
                yield from self._parquet.iter_batches(rows, [group], names)
                self.bytes_done = self.file.size * (group + 1) // groups
            return
        pieces = (
            (self._reader.get_batch(i) for i in range(self._reader.num_record_batches))
            if self.file.form is Form.ARROW_FILE
            else iter(self._reader)
        )
        for piece in pieces:
            columns = piece if names is None else piece.select(names)
            for begin in range(0, columns.num_rows, rows):
                yield columns.slice(begin, rows)
        self.bytes_done = self.file.size
