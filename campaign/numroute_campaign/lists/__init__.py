"""Reading campaign lists of any common form as blocks of Arrow columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from numroute.errors import InputError
from numroute_campaign.lists.cells import segment_counts
from numroute_campaign.lists.columns import Layout, printable_name
from numroute_campaign.lists.files import ListFile, ReadOptions


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Block:
    """Some records of a list, in order, as every reader hands them over.

    Attributes:
        records: How many records of the list they are, damaged ones included.
        lines: How many lines of text the records have; 0 where the list is no text.
        phones: The phone columns; a campaign list has one.
        headers: Their names in the header; empty without a header.
        kept: The columns that are needed besides.
        segments: int64[n], segments of each record's message, -1 where its cell is a fraction, 0
            where it is no such number; None when no column says so.
        damage: uint8[n], ``Reject`` values of records that are damaged, a row of totals, or (where
            that is known) without content: no number is read from them. 0 for the others.
    """

    records: int
    lines: int
    phones: tuple[pa.Array, ...]
    headers: tuple[str, ...]
    kept: tuple[pa.Array, ...]
    segments: NDArray[np.int64] | None
    damage: NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSummary:
    """How one file of the list was read. ``first_row_id`` counts from 1 over all files."""

    name: str
    form: str
    encoding: str
    delimiter: str
    has_header: bool
    phone_column: str
    phone_column_why: str = ""
    sheet: str = ""
    rows: int
    first_row_id: int


class ListReader:
    """An open file of a list: its columns chosen, its blocks to come.

    Attributes:
        columns: The names of all columns.
        types: The type of each, dictionaries unpacked.
        sample: Some values of each column; an error for one that cannot hold phone numbers.
        warnings: What was guessed about the file and may be wrong.
        bytes_done: How many bytes of the file have been read.
        resources: What ``close`` closes.
        phones: The places of the phone columns, one or more.
        why: Why the first was taken.
        kept: The places of the columns that are needed besides.
        segments: The place of the column of segments.
    """

    encoding = delimiter = sheet = why = ""
    columns: tuple[str, ...]
    types: tuple[pa.DataType, ...]
    sample: Sequence[pa.Array | InputError]
    has_header = True
    warnings: tuple[str, ...] = ()
    bytes_done = 0
    phones: tuple[int, ...] = ()
    kept: tuple[int, ...] = ()
    segments: int | None = None

    def __init__(self, file: ListFile, options: ReadOptions) -> None:
        """Open the file and judge its columns."""
        self.file, self.options = file, options
        self.resources = ExitStack()

    @property
    def needed(self) -> tuple[int, ...]:
        """The places of all columns to read."""
        places = [*self.phones, *self.kept, *([] if self.segments is None else [self.segments])]
        return tuple(dict.fromkeys(places))

    def take_layout(self, layout: Layout) -> None:
        """Take what was judged about a table of texts."""
        self.columns, self.sample = layout.columns, layout.sample
        self.types = (pa.string(),) * len(layout.columns)
        self.has_header, self.warnings = layout.has_header, layout.warnings

    def tasks(self) -> Iterator[Callable[[], Block]]:
        """Yield functions to be called, on any thread, for a block each."""
        raise NotImplementedError

    def check_lines(self, parsed: int) -> None:
        """Raise InputError if the blocks' lines are not all that the file has: rows are lost."""

    def close(self) -> None:
        """Close the file."""
        self.resources.close()

    def block(
        self, columns: dict[int, pa.Array], damage: NDArray[np.uint8], lines: int = 0
    ) -> Block:
        """Return the needed columns of some records, by their places, as a block."""
        return Block(
            records=len(damage),
            lines=lines,
            phones=tuple(columns[place] for place in self.phones),
            headers=tuple(self.columns[place] if self.has_header else "" for place in self.phones),
            kept=tuple(columns[place] for place in self.kept),
            segments=None if self.segments is None else segment_counts(columns[self.segments]),
            damage=damage,
        )

    def shown_column(self, place: int) -> str:
        """Return a column's name as it may be shown: one that may be data gives way to its place.

        A first row that was said to be a header may hold a person's data.
        """
        return printable_name(self.columns[place], place)

    def summary(self, *, rows: int = 0, first_row_id: int = 1) -> FileSummary:
        """Return how the file was read."""
        return FileSummary(
            name=self.file.name,
            form=self.file.form.value,
            encoding=self.encoding,
            delimiter=self.delimiter,
            has_header=self.has_header,
            phone_column=self.shown_column(self.phones[0]),
            phone_column_why=self.why,
            sheet=self.sheet,
            rows=rows,
            first_row_id=first_row_id,
        )

    def dropped_columns(self) -> list[str]:
        """Return the columns that are neither the phone column nor kept, as they may be named."""
        used = {self.columns[place] for place in (*self.phones, *self.kept)}
        names = enumerate(self.columns)
        return [self.shown_column(place) for place, name in names if name not in used]
