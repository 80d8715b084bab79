"""A Parquet file or an Arrow IPC file as blocks; only the needed columns are read."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from numroute.errors import InputError
from numroute_campaign.lists import Block, ListReader
from numroute_campaign.lists.cells import SAMPLE_ROWS, readable, sample_of, value_type
from numroute_campaign.lists.columns import shown_name
from numroute_campaign.lists.files import Form, ListFile, ReadOptions

BLOCK_ROWS: Final = 131_072


class ArrowFile(ListReader):
    """An open Parquet or Arrow file."""

    def __init__(self, file: ListFile, options: ReadOptions) -> None:
        """Open it and read the first rows."""
        super().__init__(file, options)
        self._parquet: pq.ParquetFile | None = None
        with self._undamaged():
            if file.form is Form.PARQUET:
                parquet = pq.ParquetFile(file.path, memory_map=True)
                self._parquet = self.resources.enter_context(parquet)
            schema = self._ipc()[0] if self._parquet is None else self._parquet.schema_arrow
            first = next(self.batches(rows=SAMPLE_ROWS), schema.empty_table().combine_chunks())
        self.columns = tuple(schema.names)
        self.types = tuple(map(value_type, schema.types))
        self.sample = [
            sample_of(first.column(place), shown_name(name), file.name)
            for place, name in enumerate(self.columns)
        ]

    def tasks(self) -> Iterator[Callable[[], Block]]:
        """Yield the blocks. Raises InputError also where a phone column holds fractions."""
        with self._undamaged():
            for batch in self.batches(self.needed):
                columns = dict(zip(self.needed, batch.columns, strict=True))
                block = self.block(columns, np.zeros(batch.num_rows, np.uint8))
                phones = (
                    readable(columns[place], shown_name(self.columns[place]), self.file.name)
                    for place in self.phones
                )
                # No cell repeats the header.
                headers = ("",) * len(self.phones)
                yield partial(replace, block, phones=tuple(phones), headers=headers)

    def batches(
        self, places: Sequence[int] | None = None, rows: int = BLOCK_ROWS
    ) -> Iterator[pa.RecordBatch]:
        """Yield some columns, or all of them, some rows at a time."""
        if self._parquet is not None:
            names = None
            if places is not None and len(set(self.columns)) == len(self.columns):
                names, places = [self.columns[place] for place in places], None
            groups = self._parquet.num_row_groups
            for group in range(groups):
                for batch in self._parquet.iter_batches(rows, [group], names):
                    yield batch if places is None else batch.select(places)
                self.bytes_done = self.file.size * (group + 1) // groups
            return
        for batch in self._ipc()[1]:
            columns = batch if places is None else batch.select(places)
            for begin in range(0, columns.num_rows, rows):
                yield columns.slice(begin, rows)
        self.bytes_done = self.file.size

    def _ipc(self) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
        """Return the schema and the batches of the Arrow file or stream."""
        source = pa.memory_map(str(self.file.path))
        if self.file.form is Form.ARROW_STREAM:
            stream = pa.ipc.open_stream(source)
            return stream.schema, iter(stream)
        file = pa.ipc.open_file(source)
        return file.schema, (file.get_batch(i) for i in range(file.num_record_batches))

    @contextlib.contextmanager
    def _undamaged(self) -> Iterator[None]:
        """Raise InputError in place of pyarrow's own errors, which may quote cells."""
        try:
            yield
        except (pa.ArrowException, OSError):
            raise InputError(
                self.file.name,
                f"the {self.file.form.value} file is damaged",
                hint="Write or copy the file again",
            ) from None
