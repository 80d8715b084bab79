"""An open list file, whatever its form: its columns chosen, its blocks to come."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from numroute.errors import SettingError
from numroute_campaign.lists.arrow_list import ArrowFile
from numroute_campaign.lists.column_names import printable_name
from numroute_campaign.lists.csv_list import CsvParser, CsvText, layout_of
from numroute_campaign.lists.phone_column import choose_phone_column, find_column, holds_numbers
from numroute_campaign.lists.segments import check_segments
from numroute_campaign.lists.sources import Form

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numroute_campaign.lists.block import Block
    from numroute_campaign.lists.sources import ListFile


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What to read of every file, and how; None is judged from the file."""

    region: str | None = None
    column: str | None = None
    keep: tuple[str, ...] = ()
    segments_column: str | None = None
    delimiter: str | None = None
    encoding: str | None = None
    has_header: bool | None = None

    @property
    def named(self) -> tuple[str, ...]:
        """The columns that the user named; a number is a place."""
        names = (self.column, self.segments_column, *self.keep)
        return tuple(name for name in names if name is not None and not name.isdecimal())


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """How a file was read: its layout, and which of its columns are used."""

    form: str
    encoding: str = ""
    delimiter: str = ""
    has_header: bool = True
    columns: tuple[str, ...] = ()
    phone: str = ""
    is_sure: bool = True

    @property
    def shown_phone(self) -> str:
        """The phone column's name, or its place where the name may be a person's data."""
        return printable_name(self.phone, self.columns.index(self.phone))

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was guessed and may be wrong."""
        if self.is_sure:
            return ()
        taken = "a header" if self.has_header else "data"
        return (f"the first row was taken for {taken}; --header / --no-header says which it is",)


class OpenList:
    """One file of a list.

    ``tasks`` yields functions to be called, on any thread, for a block each. ``kept_numbers`` are
    the places of the kept columns that hold phone numbers, by name or by content.
    """

    def __init__(self, file: ListFile, wanted: Wanted) -> None:
        """Open the file and choose its columns.

        Raises:
            InputError: The file is damaged or empty, or its phone column cannot be told.
            SettingError: The encoding is unknown.
        """
        self.file = file
        self._text: CsvText | None = None
        self._arrow: ArrowFile | None = None
        samples: list[pa.Array | None]
        if file.form is Form.CSV:
            if wanted.delimiter is not None and len(wanted.delimiter.encode()) != 1:
                raise SettingError(
                    f"the delimiter {wanted.delimiter!r} is not one ASCII character",
                    hint="Give e.g. --delimiter ';' or --delimiter tab",
                )
            self._text = text = CsvText(file, wanted.encoding)
            layout = layout_of(
                text,
                region=wanted.region,
                delimiter=wanted.delimiter,
                has_header=wanted.has_header,
                named=wanted.named,
            )
            columns = layout.columns
            samples = [
                pa.array([row[i] for row in layout.sample if len(row) == len(columns)], pa.string())
                for i in range(len(columns))
            ]
        else:
            self._arrow = ArrowFile(file)
            columns = tuple(self._arrow.schema.names)
            samples = self._arrow.sample()
        self.phone = choose_phone_column(
            columns, samples, wanted.region, file.name, wanted=wanted.column
        )
        self.kept = [find_column(columns, name, file.name) for name in wanted.keep]
        self.kept_numbers = [
            place
            for place in self.kept
            if holds_numbers(columns[place], samples[place], wanted.region)
        ]
        self.segments = (
            find_column(columns, wanted.segments_column, file.name)
            if wanted.segments_column is not None
            else None
        )
        if self._arrow is not None and self.segments is not None:
            check_segments(
                self._arrow.schema.types[self.segments], columns[self.segments], file.name
            )
        if self._text is not None:
            self._parser = CsvParser(file.name, layout, self.phone, self.kept, self.segments)
            self._has_header = layout.has_header
            self.found = Found(
                form="csv",
                encoding=layout.encoding,
                delimiter=layout.delimiter,
                has_header=layout.has_header,
                columns=columns,
                phone=columns[self.phone],
                is_sure=layout.is_sure,
            )
        else:
            self.found = Found(form=file.form.value, columns=columns, phone=columns[self.phone])

    @property
    def kept_types(self) -> tuple[pa.DataType, ...]:
        """The types of the kept columns, dictionaries unpacked."""
        if self._arrow is None:
            return tuple(pa.string() for _ in self.kept)
        types = (self._arrow.schema.types[i] for i in self.kept)
        return tuple(kind.value_type if pa.types.is_dictionary(kind) else kind for kind in types)

    @property
    def bytes_done(self) -> int:
        """How many bytes of the file have been read."""
        part = self._text or self._arrow
        return part.bytes_done if part is not None else 0

    def tasks(self) -> Iterator[Callable[[], Block]]:
        """Yield a task per block."""
        if self._text is not None:
            if self._has_header:
                self._text.skip_record()
            for lines in self._text.blocks():
                yield lambda lines=lines: self._parser.parse(lines)  # type: ignore[misc]
        elif self._arrow is not None:
            for block in self._arrow.blocks(self.phone, self.kept, self.segments):
                yield lambda block=block: block  # type: ignore[misc]

    def close(self) -> None:
        """Close the file."""
        for part in (self._text, self._arrow):
            if part is not None:
                part.close()
