"""What is wrong with one cell, in words that never quote it: cells hold subscribers' numbers."""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from numroute_loader.reading.description import NumberFormat, TextColumn

_TIME = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:Z|[+-]\d\d:\d\d)")
_SECONDS_MAX = 2**32 - 1


def row_of(header: tuple[str, ...], line: bytes) -> tuple[dict[str, bytes], str | None]:
    """Return the cells of a line by their columns' names, and what is wrong with their count.

    Where the count is wrong, the missing cells are there and empty.
    """
    found = line.split(b",")
    if len(found) == len(header):
        return dict(zip(header, found, strict=True)), None
    fault = f"the row has {len(found)} columns, the header has {len(header)}"
    return dict.fromkeys(header, b""), fault


def number_fault(column: str, cell: bytes, number_format: NumberFormat) -> str | None:
    """Tell why a cell is not a number as the registry writes one, None when it is."""
    # bytes.isdigit is true of ASCII digits only.
    if len(cell) == number_format.digits and cell.isdigit():
        if number_format.lowest <= int(cell) <= number_format.highest:
            return None
        return f"{column} is not {number_format.shape}"
    if not cell:
        return f"{column} is empty"
    return f"{column} is not {number_format.shape} (it has {len(cell)} characters)"


def text_fault(column: TextColumn, cell: bytes) -> str | None:
    """Tell why a cell is not a code as its column wants it, None when it is."""
    if column.pattern.fullmatch(cell):
        return None
    if not cell:
        return f"{column.name} is empty"
    return f"{column.name} is not {column.shape}"


def time_fault(column: str, cell: bytes) -> str | None:
    """Tell why a cell is not a time with an offset from UTC, None when it is; empty is not known.

    The year has four digits, the month two, and so on to the second: ISO 8601 as the registry
    writes it.
    """
    if not cell:
        return None
    if _TIME.fullmatch(cell):
        try:
            seconds = datetime.fromisoformat(cell.decode("ascii")).timestamp()
        except ValueError:
            return f"{column} is a time that does not exist"
        if 0 <= seconds <= _SECONDS_MAX:
            return None
        return f"{column} lies before 1970 or after 2106"
    return f"{column} is not a time like 2016-09-07T12:00:17+03:00"
