"""The layout of a CSV text: delimiter, header and columns, judged by its first lines."""

from __future__ import annotations

import csv
import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pyarrow as pa

from numroute.e164 import parse_column
from numroute.errors import InputError
from numroute_campaign.lists.column_names import by_place, is_known_name, is_phone_name
from numroute_campaign.lists.text_encoding import UTF_8

if TYPE_CHECKING:
    from collections.abc import Sequence

DELIMITERS: Final = (",", ";", "\t", "|")
SAMPLE_RECORDS: Final = 1000
CELL_CHARS_MAX: Final = 2**31 - 1

_DIGIT: Final = re.compile(r"\d")
_NUMBER_DIGITS_MIN: Final = 5
"""A cell of a lonely row with so many digits is data, also where no number is understood."""

_KNOWN_SHARE: Final = 0.5
"""From this share of known names among its cells on, a row without phone names is a header."""

_ALIKE_SHARE: Final = 0.8
"""From this share of lines with the same number of cells on, a character is the delimiter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How to read a CSV text.

    Attributes:
        is_sure: Whether ``has_header`` was given or can hardly be wrong.
        columns: The header's names, or ``column 1`` and so on where there is none.
        sample: Up to a thousand records behind the header.
    """

    encoding: str
    delimiter: str
    has_header: bool
    is_sure: bool
    columns: tuple[str, ...]
    sample: tuple[tuple[str, ...], ...]


def read_layout(
    text: str,
    where: object,
    *,
    region: str | None,
    delimiter: str | None = None,
    has_header: bool | None = None,
    named: Sequence[str] = (),
    encoding: str = UTF_8,
) -> Layout:
    """Judge the first lines of a list; what is given is not judged.

    ``named`` are columns that the user named: a first row that has one is a header.

    Raises:
        InputError: There is no record at all.
    """
    text = text.replace("\0", "")
    if delimiter is None:
        delimiter = _delimiter(text)
    records = _records(text, delimiter)
    if not records:
        raise InputError(str(where), "the list is empty", hint="Export the list again")
    width = Counter(map(len, records)).most_common(1)[0][0]
    first = records[0]
    is_sure = True
    if has_header is None:
        has_header, is_sure = _judge_header(first, records[1:], region, named)
    if has_header:
        columns = tuple(
            name.strip() if is_sure or is_known_name(name) else by_place(place)
            for place, name in enumerate(first)
        )
        records = records[1:]
    else:
        columns = tuple(map(by_place, range(width)))
    return Layout(
        encoding=encoding,
        delimiter=delimiter,
        has_header=has_header,
        is_sure=is_sure,
        columns=columns,
        sample=tuple(tuple(record) for record in records),
    )


def _records(text: str, delimiter: str) -> list[list[str]]:
    """Return the first records, empty lines passed over, never failing on broken quotes."""
    csv.field_size_limit(CELL_CHARS_MAX)
    records = []
    for record in csv.reader(text.splitlines(keepends=True), delimiter=delimiter):
        if any(cell.strip() for cell in record):
            records.append(record)
        if len(records) > SAMPLE_RECORDS:
            break
    return records


def _delimiter(text: str) -> str:
    """Return the delimiter that cuts most lines into equally many cells, more than one."""
    best, best_score = DELIMITERS[0], (0.0, 0)
    for delimiter in DELIMITERS:
        widths = Counter(len(record) for record in _records(text, delimiter))
        if not widths:
            continue
        width, count = widths.most_common(1)[0]
        share = count / widths.total()
        if width > 1 and share >= _ALIKE_SHARE and (share, width) > best_score:
            best, best_score = delimiter, (share, width)
    return best


def _judge_header(
    first: list[str], others: list[list[str]], region: str | None, named: Sequence[str]
) -> tuple[bool, bool]:
    """Return whether the first record is a header, and whether that is sure.

    A person lost as a header is worse than a header counted as a row: only known names make one.
    """
    cells = [cell.strip() for cell in first]
    if _holds_number(first, region) or any(
        len(_DIGIT.findall(cell)) >= _NUMBER_DIGITS_MIN for cell in cells
    ):
        return False, True
    if not {name.casefold() for name in named}.isdisjoint(cell.casefold() for cell in cells):
        return True, True
    below = [
        [record[place] for record in others if len(record) == len(cells)]
        for place in range(len(cells))
    ]
    known = [
        place
        for place, cell in enumerate(cells)
        if is_known_name(cell) and cell not in {each.strip() for each in below[place]}
    ]
    if any(is_phone_name(cells[place]) and _holds_number(below[place], region) for place in known):
        return True, True
    filled = sum(bool(cell) for cell in cells)
    return bool(known) and len(known) >= _KNOWN_SHARE * filled, False


def _holds_number(cells: list[str], region: str | None) -> bool:
    return bool(parse_column(pa.array(cells, pa.string()), region).numbers.any())
