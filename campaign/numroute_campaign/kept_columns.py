"""The columns of the list that leave as they are: their types, over all files of a list."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from numroute.errors import InputError, SettingError
from numroute_campaign.lists.column_names import printable_name, shown_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numroute_campaign.lists.opening import OpenList


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
            if form != "csv" and kind != before:
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
    """Make sure that no kept column holds phone numbers, where pseudonyms stand for them.

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


def unpacked(column: pa.Array) -> pa.Array:
    """Return a column without a dictionary, which a spool of batches would lose."""
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column


def _is_writable(kind: pa.DataType, form: str) -> bool:
    """Whether a form knows a type: the one that is asked is the writer itself."""
    try:
        if form == "csv":
            pa.array([], kind).cast(pa.string())
        elif form == "parquet":
            pq.ParquetWriter(pa.BufferOutputStream(), pa.schema([("column", kind)])).close()
    except pa.ArrowException:
        return False
    return True
