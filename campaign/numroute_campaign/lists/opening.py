"""Opening a file of a list: its reader, and the columns that are meant."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from numroute.errors import InputError, SettingError
from numroute_campaign.lists import ListReader
from numroute_campaign.lists.arrow_list import ArrowFile
from numroute_campaign.lists.cells import may_hold_counts
from numroute_campaign.lists.columns import (
    choose_phone_column,
    find_column,
    holds_numbers,
    is_phone_name,
    phone_columns,
    shown_name,
    unable_columns,
)
from numroute_campaign.lists.csv_list import CsvText
from numroute_campaign.lists.files import Form, ListFile, ReadOptions
from numroute_campaign.lists.spreadsheet import Spreadsheet

_READERS: Final[dict[Form, type[ListReader]]] = {Form.CSV: CsvText, Form.SPREADSHEET: Spreadsheet}
"""The readers of forms other than Parquet and Arrow."""


def open_list(
    file: ListFile, options: ReadOptions, *, all_phone_columns: bool = False
) -> ListReader:
    """Open a file and choose its columns; with ``all_phone_columns`` all for phones, and the rest.

    Raises:
        InputError: The file is damaged or empty, or which column has the numbers is unclear.
        SettingError: The encoding is unknown.
    """
    reader = _READERS.get(file.form, ArrowFile)(file, options)
    columns, samples, region = reader.columns, reader.sample, options.region
    if all_phone_columns and options.column is None:
        if unable := unable_columns(columns, samples):
            raise unable[0]
        reader.phones = tuple(phone_columns(columns, samples, region))
        reader.why = "every column with phone numbers"
    if not reader.phones:
        option = f"{options.option}column"
        place, reader.why = choose_phone_column(
            columns, samples, region, file.name, named=options.column, option=option
        )
        reader.phones = (place,)
    # Whether a row of a do-not-send list is blank, all of its cells say.
    reader.kept = (
        tuple(place for place in range(len(columns)) if place not in reader.phones)
        if all_phone_columns
        else tuple(find_column(columns, name, file.name) for name in options.keep)
    )
    if options.segments_column is not None:
        reader.segments = find_column(columns, options.segments_column, file.name)
        kind = reader.types[reader.segments]
        if not may_hold_counts(kind):
            shown = shown_name(columns[reader.segments])
            raise InputError(
                file.name,
                f"the column {shown} holds no segments, its type is {kind}",
                hint="Give --segments-column a column of whole numbers",
            )
    for place in reader.phones:
        if isinstance(samples[place], InputError):
            raise samples[place]
    return reader


def check_kept(opened: Sequence[ListReader], names: Sequence[str], form: str) -> None:
    """Raise InputError if files disagree about a column's type where a form writes types."""
    if form not in {"parquet", "arrow"}:
        return
    first = opened[0]
    for each in opened:
        for name, place, other in zip(names, each.kept, first.kept, strict=True):
            kind, before = each.types[place], first.types[other]
            if kind != before:
                raise InputError(
                    each.file.name,
                    f"the column {shown_name(name)} is {kind}, in {first.file.name} it is {before}",
                    hint="Write --format csv, or give the files the same type",
                )


def check_pseudonymous(opened: Sequence[ListReader]) -> None:
    """Raise SettingError if a kept column holds phone numbers, by its name or its first values."""
    for each in opened:
        for place in each.kept:
            if (
                place in each.phones
                or is_phone_name(each.columns[place])
                or holds_numbers(each.sample[place], each.options.region)
            ):
                raise SettingError(
                    f"{each.file.name}: --keep names {each.shown_column(place)!r}, which by its "
                    "name or its content holds phone numbers: they would leave beside their "
                    "pseudonyms",
                    hint="Leave it out of --keep: row_id leads back to the list; rename it if "
                    "only its name speaks of phones",
                )
