"""An open list file of any form: its columns chosen, its blocks to come."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from numroute.errors import InputError, SettingError
from numroute_campaign.lists import ListReader, ReadOptions
from numroute_campaign.lists.arrow_list import ArrowFile
from numroute_campaign.lists.cells import read_phones
from numroute_campaign.lists.columns import (
    PhoneColumn,
    choose_phone_column,
    find_column,
    holds_numbers,
    phone_columns,
    printable_name,
    shown_name,
)
from numroute_campaign.lists.csv_list import CsvText
from numroute_campaign.lists.files import Form, ListFile
from numroute_campaign.lists.spreadsheet import Spreadsheet


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


class OpenList:
    """One file of a list.

    Attributes:
        reader: Reads the blocks.
        phone: The place of the phone column.
        why: Why it was taken.
        kept_numbers: The places of kept columns that hold phone numbers.
    """

    def __init__(
        self, file: ListFile, options: ReadOptions, *, all_phone_columns: bool = False
    ) -> None:
        """Open the file and choose its columns; with ``all_phone_columns`` all for phones.

        Raises:
            InputError: The file is damaged or empty, or which column has the numbers is unclear.
            SettingError: The encoding is unknown.
        """
        self.file, self._options, self._every = file, options, all_phone_columns
        self.reader: ListReader
        if file.form is Form.CSV:
            self.reader = CsvText(file, options)
        elif file.form is Form.SPREADSHEET:
            self.reader = Spreadsheet(file, options, self._count_numbers)
        else:
            self.reader = table = ArrowFile(file)
            if options.column is None:
                table.check_named(every=all_phone_columns)
        columns, samples = self.reader.columns, self.reader.sample
        chosen = self._choose(columns, samples, file.name)
        self.phone = chosen.place
        self.kept = [find_column(columns, name, file.name) for name in options.keep]
        if all_phone_columns:
            # Whether a row without a number is blank, all of its cells say.
            self.kept = [place for place, name in enumerate(columns) if columns.count(name) == 1]
        self.kept_numbers = [
            place
            for place in self.kept
            if place == self.phone or holds_numbers(columns[place], samples[place], options.region)
        ]
        self.segments = (
            find_column(columns, options.segments_column, file.name)
            if options.segments_column is not None
            else None
        )
        self.reader.choose(self.phones, self.kept, self.segments)
        self.columns, self.why, self.warnings = columns, chosen.why, self.reader.warnings
        self.tasks, self.check_lines = self.reader.tasks, self.reader.check_lines
        self.close = self.reader.close

    def summary(self, *, rows: int = 0, first_row_id: int = 1) -> FileSummary:
        """Return how the file was read."""
        return FileSummary(
            name=self.file.name,
            form=self.file.form.value,
            encoding=self.reader.encoding,
            delimiter=self.reader.delimiter,
            has_header=self.reader.has_header,
            # A first row that was said to be a header may hold a person's data.
            phone_column=printable_name(self.columns[self.phone], self.phone),
            phone_column_why=self.why,
            sheet=self.reader.sheet,
            rows=rows,
            first_row_id=first_row_id,
        )

    def dropped_columns(self) -> list[str]:
        """Return the columns that are neither the phone column nor kept, as they may be named."""
        used = {self.columns[place] for place in (self.phone, *self.kept)}
        return [
            printable_name(name, place)
            for place, name in enumerate(self.columns)
            if name not in used
        ]

    def _choose(
        self, columns: tuple[str, ...], samples: Sequence[pa.Array | None], where: str
    ) -> PhoneColumn:
        options = self._options
        if self._every and options.column is None:
            self.phones = phone_columns(columns, samples, options.region)
            if self.phones:
                return PhoneColumn(place=self.phones[0], why="every column with phone numbers")
        option = f"{options.option}column"
        chosen = choose_phone_column(
            columns, samples, options.region, where, named=options.column, option=option
        )
        self.phones = [chosen.place]
        return chosen

    def _count_numbers(
        self, columns: tuple[str, ...], samples: Sequence[pa.Array], where: str
    ) -> int:
        place = self._choose(columns, samples, where).place
        return int(np.count_nonzero(read_phones(samples[place], self._options.region).numbers))

    @property
    def kept_types(self) -> tuple[pa.DataType, ...]:
        """The types of the kept columns, dictionaries unpacked."""
        if not isinstance(self.reader, ArrowFile):
            return tuple(pa.string() for _ in self.kept)
        types = (self.reader.schema.types[i] for i in self.kept)
        return tuple(kind.value_type if pa.types.is_dictionary(kind) else kind for kind in types)


def check_kept(opened: Sequence[OpenList], names: Sequence[str], form: str) -> None:
    """Raise InputError if files disagree about a column's type where a form writes types."""
    if form not in {"parquet", "arrow"}:
        return
    first = opened[0]
    for each in opened:
        for name, kind, before in zip(names, each.kept_types, first.kept_types, strict=True):
            if kind != before:
                raise InputError(
                    each.file.name,
                    f"the column {shown_name(name)} is {kind}, in {first.file.name} it is {before}",
                    hint="Write --format csv, or give the files the same type",
                )


def check_pseudonymous(opened: Sequence[OpenList]) -> None:
    """Raise SettingError if a kept column holds phone numbers, by its name or its first values."""
    for each in opened:
        for place in each.kept_numbers:
            name = printable_name(each.columns[place], place)
            raise SettingError(
                f"{each.file.name}: --keep names {name!r}, which by its name or its content holds "
                "phone numbers: they would leave beside their pseudonyms",
                hint="Leave it out of --keep: row_id leads back to the list; rename it if only its "
                "name speaks of phones",
            )
