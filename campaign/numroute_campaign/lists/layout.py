"""Where a table's data begins, and what its columns are called: judged by its first records.

The records come from the reader that reads the whole list: of CSV text, or of a spreadsheet. Above
the header there may be titles, below it are people. A person lost as a header is worse than a
header counted as a row: only known names make one.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Final

import numpy as np
import pyarrow as pa

from numroute_campaign.lists import ReadOptions
from numroute_campaign.lists.cells import read_phones
from numroute_campaign.lists.columns import (
    by_place,
    is_known_name,
    is_phone_name,
    may_be_name,
    spelled_plainly,
)
from numroute_campaign.vocabulary import Phrase

SAMPLE_RECORDS: Final = 1000

_HEADER_RECORDS_MAX: Final = 30
"""A header is among the first records, or there is none."""

_TITLE_NUMBERS_MAX: Final = 3
_BARE_NUMBER: Final = re.compile(r"[\d\s()+.-]+")
_DIGIT: Final = re.compile(r"\d")
_NUMBER_DIGITS_MIN: Final = 5
"""A cell with this many digits is data, even where no number is understood."""

_KNOWN_SHARE: Final = 0.5
"""From this share of known names among its cells on, a row without phone names is a header."""

_TOTAL: Final = re.compile(
    r"\W*(?:итог[ои]?|всего|общий итог|сумма|количество|кол-во|записей|grand total|total|totals|"
    r"sum|count|rows)\b",
    re.IGNORECASE,
)
TOTAL_ROWS_MAX: Final = 3
"""Rows of totals are among the last rows of a table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How to read a table.

    Attributes:
        first: The place of the first record of data among the sample's records.
        has_header: Whether the record before ``first`` is a header.
        width: How many cells a record has.
        columns: The header's names, or ``column 1`` and so on; columns at the end
            that have neither name nor content are left out.
        sample: For each column, cells of the first records of data.
        warnings: What was guessed and may be wrong.
    """

    first: int
    has_header: bool
    width: int
    columns: tuple[str, ...]
    sample: tuple[pa.Array, ...]
    warnings: tuple[str, ...]


def read_layout(records: Sequence[Sequence[str]], options: ReadOptions) -> Layout:
    """Judge the first records of a table; what the options say is not judged.

    A record that has a column which the user named is a header.
    """
    rows = [[cell.strip() for cell in record] for record in records]
    header, start, is_sure = _find_header(rows, options)
    first = start if header is None else header + 1
    data = rows[first:]
    filled = [row for row in data if any(row)]
    names = list(map(spelled_plainly, rows[header])) if header is not None else []
    while names and not names[-1]:
        names = names[:-1]
    widths = Counter(len(row) for row in filled)
    width = max(widths.most_common(1)[0][0] if widths else 0, len(names), 1)
    cells = [[row[place] if place < len(row) else "" for row in filled] for place in range(width)]
    used = width
    while used > max(len(names), 1) and not any(cells[used - 1]):
        used -= 1
    return Layout(
        first=first,
        has_header=header is not None,
        width=width,
        columns=tuple(
            names[place]
            if place < len(names) and names[place] and (is_sure or is_known_name(names[place]))
            else by_place(place)
            for place in range(used)
        ),
        sample=tuple(pa.array(cells[place], pa.string()) for place in range(used)),
        warnings=(
            *(() if is_sure else (_guess(options.option, is_header=header is not None),)),
            *_titles_skipped(rows[: first if header is None else header]),
        ),
    )


def _guess(option: str, *, is_header: bool) -> Phrase:
    """Return the warning about a first row; ``option`` begins the option that decides."""
    options = f"{option}header"
    if option.startswith("--"):
        options += f" / --no-{option[2:]}header"
    if is_header:
        return Phrase("the first row was taken for a header; {} says which it is", options)
    return Phrase("the first row was taken for data; {} says which it is", options)


def _titles_skipped(above: Sequence[Sequence[str]]) -> tuple[Phrase, ...]:
    """Return the warning about rows above the header, if any is not blank."""
    count = sum(map(any, above))
    if not count:
        return ()
    rows = Phrase("1 row was" if count == 1 else "{} rows were", str(count))
    return (Phrase("{} passed over above the header, as titles", rows),)


def is_total(text: str) -> bool:
    """Whether a record, as text, is a row of totals rather than a person."""
    return _TOTAL.match(text) is not None


def find_totals(backwards: Iterable[Sequence[str]], region: str | None) -> list[int]:
    """Return the places, counted from the end, of rows of totals: they hold no phone number.

    ``backwards``: the cells of the records, the last one first.
    """
    found: list[int] = []
    filled = 0
    for place, record in enumerate(backwards):
        cells = [cell.strip() for cell in record if cell.strip()]
        filled += bool(cells)
        if filled > TOTAL_ROWS_MAX:
            break
        if cells and is_total(cells[0]) and not _holds_number(cells, region):
            found.append(place)
    return found


def find_phone_header(rows: Sequence[Sequence[str]], region: str | None) -> int | None:
    """Return the place of a record that names a phone column, with numbers below the name.

    Titles above it may hold a few phone numbers, to call with questions. Below a row that looks
    like data, every cell of the header must be a known name.
    """
    numbered, typical = _numbered(rows, region), _typical(rows)
    numbers, is_below_data = 0, False
    for place, row in enumerate(rows[:_HEADER_RECORDS_MAX]):
        filled = [cell for cell in row if cell]
        if numbered[place]:
            numbers += 1
            is_below_data = is_below_data or len(filled) >= min(2, typical)
            is_alone = len(row) == 1 and typical == 1
            if numbers > _TITLE_NUMBERS_MAX or (is_alone and _BARE_NUMBER.fullmatch(row[0])):
                return None
        elif _names_phones(rows, place, region) and (
            not is_below_data or all(map(is_known_name, filled))
        ):
            return place
    return None


def _names_phones(rows: Sequence[Sequence[str]], place: int, region: str | None) -> bool:
    """Whether a record has the name of a phone column, with numbers below it."""
    for column, cell in enumerate(rows[place]):
        below = [row[column] for row in rows[place + 1 :] if column < len(row)]
        if _may_be_phone_name(cell, rows[place]) and _holds_number(below, region):
            return True
    return False


def _find_header(
    rows: Sequence[Sequence[str]], options: ReadOptions
) -> tuple[int | None, int, bool]:
    """Return the header's place, where the data begins without one, and whether that is sure."""
    region = options.region
    if options.has_header is False:
        return None, _skip_blank(rows), True
    folded = {spelled_plainly(name).casefold() for name in options.named}
    numbered, typical = _numbered(rows, region), _typical(rows)
    for place, row in enumerate(rows[:_HEADER_RECORDS_MAX]):
        if numbered[place] and sum(map(bool, row)) >= min(2, typical):
            break  # data begin: a name below them is a cell
        if not folded.isdisjoint(spelled_plainly(cell).casefold() for cell in row):
            return place, place, True
    named, start = find_phone_header(rows, region), _skip_titles(rows, numbered)
    if named is not None or start >= len(rows):
        return named, start, True
    if options.has_header:
        return start, start, True
    is_header, is_sure = _judge_header(rows[start], rows[start + 1 :], region)
    # Without a header below it, a lonely cell may be a person's.
    return (start, start, is_sure) if is_header else (None, _skip_blank(rows), is_sure)


def _numbered(rows: Sequence[Sequence[str]], region: str | None) -> list[bool]:
    """Return which of the first records hold a phone number; all cells are read at once."""
    first = rows[:_HEADER_RECORDS_MAX]
    numbers = read_phones(pa.array([cell for row in first for cell in row], pa.string()), region)
    ends = [0, *accumulate(map(len, first))]
    found = numbers.numbers != 0
    return [bool(found[begin:end].any()) for begin, end in pairwise(ends)]


def _skip_blank(rows: Sequence[Sequence[str]]) -> int:
    return next((place for place, row in enumerate(rows) if any(row)), len(rows))


def _skip_titles(rows: Sequence[Sequence[str]], numbered: Sequence[bool]) -> int:
    """Return the place of the first record that is neither blank nor a title.

    A title is a lonely cell above a table of several columns, and no phone number.
    """
    typical = _typical(rows)
    for place, row in enumerate(rows[:_HEADER_RECORDS_MAX]):
        filled = sum(map(bool, row))
        if filled > 1 or (filled == 1 and (typical == 1 or numbered[place])):
            return place
    return _skip_blank(rows)


def _typical(rows: Sequence[Sequence[str]]) -> int:
    """Return how many cells of a record are filled, mostly."""
    counts = Counter(sum(map(bool, row)) for row in rows if any(row))
    return counts.most_common(1)[0][0] if counts else 0


def _judge_header(
    first: Sequence[str], others: Sequence[Sequence[str]], region: str | None
) -> tuple[bool, bool]:
    """Return whether a record is a header, and whether that is sure."""
    if _holds_number(first, region) or any(
        len(_DIGIT.findall(cell)) >= _NUMBER_DIGITS_MIN for cell in first
    ):
        return False, True
    below = [
        [row[place] for row in others if len(row) > place and row[place]]
        for place in range(len(first))
    ]
    if len(first) == 1 and not _DIGIT.search(first[0]):
        # No number is lost with a cell that has no digit.
        values = below[0]
        numbers = read_phones(pa.array(values, pa.string()), region).numbers
        if len(values) and 2 * np.count_nonzero(numbers) >= len(values):
            return True, is_known_name(first[0])
    known = [
        place
        for place, cell in enumerate(first)
        if is_known_name(cell) and cell not in set(below[place])
    ]
    filled = sum(map(bool, first))
    return bool(known) and len(known) >= _KNOWN_SHARE * filled, False


def _may_be_phone_name(cell: str, row: Sequence[str]) -> bool:
    """Whether a cell names a phone column: by known words, or among other known names."""
    if not is_phone_name(cell) or not may_be_name(cell):
        return False
    known = sum(map(is_known_name, row))
    return is_known_name(cell) or known >= _KNOWN_SHARE * sum(map(bool, row))


def _holds_number(cells: Sequence[str], region: str | None) -> bool:
    return bool(read_phones(pa.array(cells, pa.string()), region).numbers.any())
