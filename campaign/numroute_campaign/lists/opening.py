"""An open list file of any form: its columns chosen, its blocks to come."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from numroute.errors import InputError, SettingError
from numroute_campaign.lists.arrow_list import ArrowFile
from numroute_campaign.lists.cells import read_phones
from numroute_campaign.lists.columns import (
    PhoneColumn,
    choose_phone_column,
    find_column,
    holds_numbers,
    is_phone_name,
    phone_columns,
    printable_name,
    shown_name,
)
from numroute_campaign.lists.csv_list import CsvText
from numroute_campaign.lists.files import Form, find_files
from numroute_campaign.lists.spreadsheet import Spreadsheet

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numroute_campaign.lists import ListReader, ReadOptions
    from numroute_campaign.lists.files import ListFile


def find_list(lists: Sequence[str], options: ReadOptions) -> tuple[ListFile, ...]:
    """Return the files that the arguments stand for, as ``find_files`` does.

    Raises:
        InputError: As ``find_files``.
        SettingError: An option is for files of a form that none of them has.
    """
    files = find_files(lists)
    forms = {file.form for file in files}
    for name, value, able in (
        ("delimiter", options.delimiter, {Form.CSV}),
        ("encoding", options.encoding, {Form.CSV}),
        ("header", options.has_header, {Form.CSV, Form.SPREADSHEET}),
        ("sheet", options.sheet, {Form.SPREADSHEET}),
    ):
        if value is not None and forms.isdisjoint(able):
            raise SettingError(
                f"{options.option}{name} says how to read "
                f"{' or '.join(sorted(form.title for form in able))}, but "
                f"{files[0].name} is {files[0].form.title}",
                hint="Leave it out",
            )
    return files


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """How a file was read: its layout, and which of its columns are used.

    ``why`` says why the phone column was taken. ``warnings`` are what was guessed and may be wrong.
    """

    form: str
    encoding: str = ""
    delimiter: str = ""
    sheet: str = ""
    has_header: bool = True
    columns: tuple[str, ...] = ()
    phone: str = ""
    phone_place: int = 0
    why: str = ""
    warnings: tuple[str, ...] = ()

    @property
    def shown_phone(self) -> str:
        """The phone column's name, or its place where the name may be a person's data."""
        return printable_name(self.phone, self.phone_place)


class OpenList:
    """One file of a list.

    ``tasks`` yields functions to be called, on any thread, for a block each. ``kept_numbers`` are
    the places of the kept columns that hold phone numbers, by name or by content.
    """

    def __init__(
        self, file: ListFile, options: ReadOptions, *, all_phone_columns: bool = False
    ) -> None:
        """Open the file and choose its columns.

        Args:
            file: The file.
            options: How to read it.
            all_phone_columns: Read every column that holds phone numbers, not one.

        Raises:
            InputError: The file is damaged or empty, or its phone column cannot be told.
            SettingError: The encoding is unknown.
        """
        self.file, self._options, self._every = file, options, all_phone_columns
        self._reader: ListReader
        if file.form is Form.CSV:
            self._reader = CsvText(file, options)
        elif file.form is Form.SPREADSHEET:
            self._reader = Spreadsheet(file, options, self._weigh)
        else:
            self._reader = table = ArrowFile(file)
            if options.column is None:
                table.check_named(every=all_phone_columns)
        columns, samples = self._reader.columns, self._reader.sample
        chosen = self._choose(columns, samples, file.name)
        self.phone = chosen.place
        self.kept = [find_column(columns, name, file.name) for name in options.keep]
        if all_phone_columns:
            # Whether a row without a number is blank, all of its cells say.
            self.kept = [place for place, name in enumerate(columns) if columns.count(name) == 1]
        self.kept_numbers = [
            place
            for place in self.kept
            if holds_numbers(columns[place], samples[place], options.region)
        ]
        self.segments = (
            find_column(columns, options.segments_column, file.name)
            if options.segments_column is not None
            else None
        )
        self._reader.choose(self.phones, self.kept, self.segments)
        self.found = Found(
            form=file.form.value,
            encoding=self._reader.encoding,
            delimiter=self._reader.delimiter,
            sheet=self._reader.sheet,
            has_header=self._reader.has_header,
            columns=columns,
            phone=columns[chosen.place],
            phone_place=chosen.place,
            why=chosen.why,
            warnings=self._reader.warnings,
        )
        self.tasks, self.check_lines = self._reader.tasks, self._reader.check_lines
        self.close = self._reader.close

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

    def _weigh(
        self, columns: tuple[str, ...], samples: Sequence[pa.Array], where: str
    ) -> tuple[int, bool]:
        place = self._choose(columns, samples, where).place
        numbers = read_phones(samples[place], self._options.region).numbers
        return int((numbers != 0).sum()), is_phone_name(columns[place])

    @property
    def kept_types(self) -> tuple[pa.DataType, ...]:
        """The types of the kept columns, dictionaries unpacked."""
        if not isinstance(self._reader, ArrowFile):
            return tuple(pa.string() for _ in self.kept)
        types = (self._reader.schema.types[i] for i in self.kept)
        return tuple(kind.value_type if pa.types.is_dictionary(kind) else kind for kind in types)

    @property
    def bytes_done(self) -> int:
        """How many bytes of the file have been read."""
        return int(self._reader.bytes_done)


def check_kept(opened: Sequence[OpenList], names: Sequence[str], form: str) -> None:
    """Make sure that the kept columns can be written in a form.

    Raises:
        InputError: The form does not know a column's type, or files disagree about it where a
            column has one type.
    """
    first = opened[0]
    for each in opened:
        for i, name in enumerate(names):
            kind, before = each.kept_types[i], first.kept_types[i]
            if form not in {"csv", "xlsx"} and kind != before:
                raise InputError(
                    each.file.name,
                    f"the column {shown_name(name)} is {kind}, in {first.file.name} it is {before}",
                    hint="Write --format csv, or give the files the same type",
                )
            if not _is_writable(kind, form):
                raise InputError(
                    each.file.name,
                    f"the column {shown_name(name)} of type {kind} cannot be written as {form}",
                    hint="Leave it out of --keep, or give another --format",
                )


def check_pseudonymous(opened: Sequence[OpenList]) -> None:
    """Make sure that no kept column holds phone numbers when pseudonyms are written.

    Raises:
        SettingError: One does: the phone column, or another by its name or its first values.
    """
    for each in opened:
        if each.phone in each.kept:
            raise SettingError(
                f"{each.file.name}: --keep names the phone column: the numbers would leave beside "
                "their pseudonyms",
                hint="Leave it out of --keep, or do not give --pseudonymize",
            )
        if each.kept_numbers:
            place = each.kept_numbers[0]
            name = printable_name(each.found.columns[place], place)
            raise SettingError(
                f"{each.file.name}: --keep names {name!r}, which by its name or its content holds "
                "phone numbers: they would leave beside their pseudonyms",
                hint="Leave it out of --keep: row_id leads back to the list; rename it if only its "
                "name speaks of phones",
            )


def _is_writable(kind: pa.DataType, form: str) -> bool:
    """Whether a form knows a type: the one that is asked is the writer itself."""
    try:
        if form in {"csv", "xlsx"}:
            pa.array([], kind).cast(pa.string())
        elif form == "parquet":
            pq.ParquetWriter(pa.BufferOutputStream(), pa.schema([("column", kind)])).close()
    except pa.ArrowException:
        return False
    return True
