"""Which column of a list holds the phone numbers: judged by names and by content."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa

from numroute.e164 import parse_column
from numroute.errors import InputError
from numroute_campaign.lists.column_names import (
    is_by_place,
    is_phone_name,
    printable_name,
    shown_name,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

_NUMERIC: Final = re.compile(r"[\d\s().,+-]+")
_SHOWN_MAX: Final = 20

VALID_SHARE: Final = 0.5
"""From this share of valid numbers among its cells on, a column's content is phone numbers."""


def choose_phone_column(
    columns: Sequence[str],
    sample: Sequence[pa.Array | None],
    region: str | None,
    where: object,
    *,
    wanted: str | None = None,
) -> int:
    """Return the place of the phone column.

    Args:
        columns: The columns' names.
        sample: Some values of each column; None for a type that cannot hold numbers.
        region: Country whose national formats are understood.
        where: The file, for messages.
        wanted: The name, or the place counted from 1, that the user gave.

    Raises:
        InputError: There is none, or more than one; names the columns.
    """
    if wanted is not None:
        return find_column(columns, wanted, where)
    named = [i for i, name in enumerate(columns) if is_phone_name(name) and sample[i] is not None]
    valid = [i for i, values in enumerate(sample) if values is not None and _valid(values, region)]
    both = [i for i in valid if i in named]
    for found in (both, valid, named):
        if len(found) == 1:
            return found[0]
        if found:
            raise InputError(
                str(where),
                f"more than one column may hold the phone numbers: {_list(columns, found, sample)}",
                hint="Name one with --column",
            )
    hint = "Name it with --column"
    if region is None:
        hint += ", or give --region CC when the numbers are written in a national format"
    raise InputError(
        str(where),
        "no column holds phone numbers; its columns are "
        f"{_list(columns, range(len(columns)), sample)}",
        hint=hint,
    )


def find_column(columns: Sequence[str], wanted: str, where: object) -> int:
    """Return the place of a column that the user named, or gave by its place counted from 1.

    Raises:
        InputError: There is none, or two have that name.
    """
    found = [i for i, name in enumerate(columns) if name == wanted]
    if not found:
        found = [
            i for i, name in enumerate(columns) if name.strip().casefold() == wanted.casefold()
        ]
    if len(found) == 1:
        return found[0]
    if not found and wanted.isdecimal() and 1 <= int(wanted) <= len(columns):
        return int(wanted) - 1
    what = "two columns are" if found else "no column is"
    raise InputError(
        str(where),
        f"{what} named {shown_name(wanted)}; its columns are {_list(columns, range(len(columns)))}",
        hint="Give a column by its name, or by its place counted from 1",
    )


def holds_numbers(name: str, values: pa.Array | None, region: str | None) -> bool:
    """Whether a column holds phone numbers, by its name or by some of its values."""
    return is_phone_name(name) or (values is not None and _valid(values, region))


def _valid(values: pa.Array, region: str | None) -> bool:
    texts = values.drop_null()
    if pa.types.is_string(texts.type) or pa.types.is_large_string(texts.type):
        texts = texts.filter(pa.compute.not_equal(pa.compute.utf8_trim_whitespace(texts), ""))
    if len(texts) == 0:
        return False
    numbers = parse_column(texts, region).numbers
    return int(np.count_nonzero(numbers)) >= VALID_SHARE * len(texts)


def _list(
    columns: Sequence[str],
    places: Sequence[int] | range,
    sample: Sequence[pa.Array | None] | None = None,
) -> str:
    """Return the columns for a message: by name, or by place and kind where a name may be data."""
    shown = []
    for place in list(places)[:_SHOWN_MAX]:
        name = printable_name(columns[place], place)
        if is_by_place(name):
            shown.append(name if sample is None else f"{name} ({_kind(sample[place])})")
        else:
            shown.append(repr(name))
    more = len(places) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")


def _kind(values: pa.Array | None) -> str:
    """Return what a column holds, in a word."""
    texts = [] if values is None else values.drop_null().to_pylist()
    texts = [text for text in map(str, texts) if text.strip()]
    if not texts:
        return "other" if values is None else "empty"
    return "numbers" if all(_NUMERIC.fullmatch(text) for text in texts) else "text"
