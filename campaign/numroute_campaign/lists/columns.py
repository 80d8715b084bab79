"""Where a table begins, what its columns are called, and which one holds the phone numbers.

Judged by the first records, as the reader of the whole list cuts them. Above the header there may
be titles, below it are people. A person lost as a header is worse than a header counted as a row:
only known names make one. A first row may hold a person's data: a name goes into messages only
where it can be nothing else.

The phone column is found by its name, then by its content. Numbers that are something else by their
name or by their check digits (tax numbers, insurance numbers, cards) are never taken for phone
numbers, and where two columns may be meant the user is asked.
"""

from __future__ import annotations

import re
import tomllib
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import resources
from itertools import accumulate, islice, pairwise
from statistics import mode
from typing import Final

import pyarrow as pa

from numroute.e164.metadata import country_codes, country_plan
from numroute.errors import InputError
from numroute_campaign.lists.cells import have_check_digits, read_phones
from numroute_campaign.lists.files import ReadOptions
from numroute_campaign.vocabulary import Phrase

_NAME_CHARS_MAX: Final = 40
_NAME_DIGITS_MAX: Final = 2
"""A column's name is not longer and holds at most two digits, as in ``phone2``."""

_NAMES: Final = {
    kind: frozenset(words.split())
    for kind, words in tomllib.loads(
        (resources.files("numroute_campaign") / "data" / "column_names.toml").read_text("utf-8")
    ).items()
}
_PHONE_STEMS: Final = tuple(_NAMES["phone_stems"])
_KNOWN_WORDS: Final = (
    _NAMES["phone"] | _NAMES["phone_alone"] | _NAMES["other_numbers"] | _NAMES["further"]
)

_SPLIT: Final = re.compile(r"[\W_]+|(?<=[a-zа-я])(?=[A-ZА-Я])")
_IDENTIFIER: Final = re.compile(r"[a-z]+(?:_[a-z]+)+")
_PLAIN: Final = re.compile(r"(?:[^\W\d]|№)[\w \-/.,()№]*")
_DIGITS: Final = re.compile(r"\d(?:[\s().-]*\d){2,}")
_SHOWN_MAX: Final = 20

_VALID_SHARE: Final = 0.5
"""From this share of valid numbers among its cells on, a column's content is phone numbers."""

_HEADER_RECORDS_MAX: Final = 30
"""A header is among the first records, or there is none."""

_TITLE_NUMBERS_MAX: Final = 3
_BARE_NUMBER: Final = re.compile(r"[\d\s()+.-]+")
_DATA: Final = re.compile(r"(?:\d\D*){5}")
"""A cell with this many digits is data, even where no number is understood."""

_KNOWN_SHARE: Final = 0.5
"""From this share of known names among its cells on, a row without phone names is a header."""

_TOTAL: Final = re.compile(
    r"\W*(?:итог[ои]?|всего|общий итог|сумма|количество|кол-во|записей|grand total|total|totals|"
    r"sum|count|rows)\b",
    re.IGNORECASE,
)
_TOTAL_ROWS_MAX: Final = 3
"""Rows of totals are among the last rows of a table."""


def is_phone_name(name: str) -> bool:
    """Whether a column's name says that it holds phone numbers."""
    return name.strip().casefold() in _NAMES["phone_alone"] or _has_phone_word(name)


def _has_phone_word(name: str) -> bool:
    return any(word in _NAMES["phone"] or word.startswith(_PHONE_STEMS) for word in _words(name))


def _may_be_name(text: str) -> bool:
    return len(text) <= _NAME_CHARS_MAX and sum(map(str.isdigit, text)) <= _NAME_DIGITS_MAX


def _is_known_name(text: str) -> bool:
    """Whether a text is what lists call their columns, and hardly a person's data."""
    words = [word for word in (each.rstrip("0123456789") for each in _words(text)) if word]
    return (
        bool(words)
        and _may_be_name(text)
        and (
            all(word in _KNOWN_WORDS or word.startswith(_PHONE_STEMS) for word in words)
            or text.strip().casefold() in _NAMES["other_names"]
            or _IDENTIFIER.fullmatch(text.strip()) is not None
        )
    )


def _words(name: str) -> list[str]:
    return [word.casefold() for word in _SPLIT.split(name) if word]


def by_place(place: int) -> str:
    """Return what a column without a name is called; places count from 0."""
    return f"column {place + 1}"


def printable_name(name: str, place: int) -> str:
    """Return a column's name where it can be nothing else, its place where it may be data."""
    return name if _may_be_name(name) and _PLAIN.fullmatch(name) else by_place(place)


def shown_name(name: str) -> str:
    """Return a name that the user gave, or one by place, quoted for a message."""
    return repr(_DIGITS.sub(lambda run: "*" * len(run[0]), name))


def _spelled_plainly(name: str) -> str:
    """Return a name as people type it: no-break spaces, line breaks and loose accents are gone."""
    return " ".join(unicodedata.normalize("NFC", name).split())


def choose_phone_column(
    columns: Sequence[str],
    sample: Sequence[pa.Array | InputError],
    region: str | None,
    where: str,
    *,
    named: str | None = None,
    option: str = "--column",
) -> tuple[int, str]:
    """Return the phone column's place and why it is taken: ``named``, or judged by a sample.

    The sample of a column is an error where its type cannot hold numbers. ``option`` is the one
    that names the column, for messages.

    Raises:
        InputError: There is none, or more than one: names the columns; or its type holds none.
    """
    if named is not None:
        return find_column(columns, named, where), f"named by {option}"
    phones = phone_columns(columns, sample, region)
    by_name = [i for i in phones if is_phone_name(columns[i])]
    if not by_name and (unable := unable_columns(columns, sample)):
        raise unable[0]
    by_content = [i for i in phones if i not in by_name]
    both = [i for i in by_name if holds_numbers(sample[i], region)]
    # "Номер" beside "Телефон" is a number of something else.
    clear = [i for i in both if _has_phone_word(columns[i])]
    # In doubt where one column is named for phones, and only another one holds some.
    filled = [i for i in by_name if _texts(sample[i])]
    found = clear if len(clear) == 1 else both or (by_content + filled if by_content else by_name)
    if len(found) == 1:
        return found[0], "by its name" if found[0] in by_name else "by its content"
    if found:
        raise InputError(
            where,
            f"more than one column may hold the phone numbers: {_list(columns, sorted(found))}",
            hint=f"Name one with {option}",
        )
    hint = f"Name it with {option}"
    if region is None:
        hint += ", or give --region CC when the numbers are written in a national format"
    every = _list(columns, range(len(columns)))
    raise InputError(where, f"no column holds phone numbers; its columns are {every}", hint=hint)


def phone_columns(
    columns: Sequence[str], sample: Sequence[pa.Array | InputError], region: str | None
) -> list[int]:
    """Return every column that holds phone numbers, by its name or its content."""
    return [
        place
        for place, (name, values) in enumerate(zip(columns, sample, strict=True))
        if not isinstance(values, InputError)
        and (is_phone_name(name) or _is_phone_content(name, values, region))
    ]


def unable_columns(
    columns: Sequence[str], sample: Sequence[pa.Array | InputError]
) -> list[InputError]:
    """Return why columns that are named for phone numbers cannot hold them."""
    pairs = zip(columns, sample, strict=True)
    return [why for name, why in pairs if isinstance(why, InputError) and is_phone_name(name)]


def find_column(columns: Sequence[str], wanted: str, where: str) -> int:
    """Return the place of a column that the user named, or gave by its place counted from 1.

    Raises:
        InputError: There is none, or two have that name.
    """
    found = [i for i, name in enumerate(columns) if name == wanted]
    if not found:
        plain = [_spelled_plainly(name).casefold() for name in columns]
        found = [i for i, name in enumerate(plain) if name == _spelled_plainly(wanted).casefold()]
    if len(found) == 1:
        return found[0]
    if not found and wanted.isdecimal() and 1 <= int(wanted) <= len(columns):
        return int(wanted) - 1
    what = "two columns are" if found else "no column is"
    raise InputError(
        where,
        f"{what} named {shown_name(wanted)}; its columns are {_list(columns, range(len(columns)))}",
        hint="Give a column by its name, or by its place counted from 1",
    )


def _list(columns: Sequence[str], places: Sequence[int]) -> str:
    """Return the columns for a message: by name, or by place where a name may be data."""
    names = (printable_name(columns[place], place) for place in places[:_SHOWN_MAX])
    shown = ", ".join(name if name.startswith("column ") else repr(name) for name in names)
    return shown + (", ..." if len(places) > _SHOWN_MAX else "")


def count_numbers(cells: Sequence[str], region: str | None) -> int:
    """Return how many cells hold a phone number."""
    return len(_numbers(cells, region))


def _numbers(cells: Sequence[str], region: str | None) -> list[int]:
    return list(filter(None, read_phones(pa.array(cells, pa.string()), region).numbers.tolist()))


def holds_numbers(values: pa.Array | InputError, region: str | None) -> bool:
    """Whether the content of a column is phone numbers."""
    texts = _texts(values)
    return bool(texts) and count_numbers(texts, region) >= _VALID_SHARE * len(texts)


def _is_phone_content(name: str, values: pa.Array, region: str | None) -> bool:
    """Whether the cells of a column that is not named for phones likely are phone numbers."""
    if (
        name.strip().casefold() in _NAMES["other_names"]
        or not _NAMES["other_numbers"].isdisjoint(_words(name))
        or not holds_numbers(values, region)
        or have_check_digits(_texts(values))
    ):
        return False
    numbers = _numbers(_texts(values), region)
    return 2 * sum(map(_is_plausible, numbers)) >= len(numbers)


def _is_plausible(number: int) -> bool:
    """Whether a number is of the general form of its country's numbers."""
    digits = str(number)
    for count in (1, 2, 3):
        if digits[:count] in country_codes():
            plan = country_plan(digits[:count])
            national = digits[count:]
            return plan.general.fullmatch(national, len(national))
    return False


def _texts(values: pa.Array | InputError) -> list[str]:
    if isinstance(values, InputError):
        return []
    return [text for text in map(str, values.drop_null().to_pylist()) if text.strip()]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How to read a table of texts.

    ``first`` is the place of the first record of data, ``width`` how many cells a record has.
    Columns at the end that have neither name nor content are left out; one without a name is
    ``column 1`` and so on. ``warnings``: what was guessed and may be wrong.
    """

    first: int
    has_header: bool
    width: int
    columns: tuple[str, ...]
    sample: tuple[pa.Array, ...]
    warnings: tuple[str, ...]


def read_layout(records: Sequence[Sequence[str]], options: ReadOptions) -> Layout:
    """Judge the first records of a table; what the options say is not judged."""
    rows = [[cell.strip() for cell in record] for record in records]
    header, is_sure = _find_header(rows, options)
    first = _first_filled(rows) if header is None else header + 1
    names = [] if header is None else list(map(_spelled_plainly, rows[header]))
    while names and not names[-1]:
        names.pop()
    filled = [row for row in rows[first:] if any(row)]
    width = max(mode(map(len, filled or [[]])), len(names), 1)
    cells = [[row[place] if place < len(row) else "" for row in filled] for place in range(width)]
    while len(cells) > max(len(names), 1) and not any(cells[-1]):
        cells.pop()
    names += [""] * (len(cells) - len(names))
    titles = sum(map(any, rows[:header])) if header is not None else 0
    warnings = []
    if not is_sure:
        option = options.option
        decides = f"{option}header" + (f" / --no-{option[2:]}header" if option[:2] == "--" else "")
        warnings.append(
            Phrase("the first row was taken for data; {} says which it is", decides)
            if header is None
            else Phrase("the first row was taken for a header; {} says which it is", decides)
        )
    if titles:
        skipped = Phrase("1 row was" if titles == 1 else "{} rows were", str(titles))
        warnings.append(Phrase("{} passed over above the header, as titles", skipped))
    return Layout(
        first=first,
        has_header=header is not None,
        width=width,
        columns=tuple(
            name if name and (is_sure or _is_known_name(name)) else by_place(place)
            for place, name in enumerate(names)
        ),
        sample=tuple(pa.array(column, pa.string()) for column in cells),
        warnings=tuple(warnings),
    )


def _find_header(rows: Sequence[Sequence[str]], options: ReadOptions) -> tuple[int | None, bool]:
    """Return the header's place, if there is one, and whether that is sure."""
    if options.has_header is False:
        return None, True
    region = options.region
    named = (options.column, options.segments_column, *options.keep)
    # A number is a place.
    folded = {_spelled_plainly(each).casefold() for each in named if each and not each.isdecimal()}
    numbered, typical = _numbered(rows, region), _typical(rows)
    pairs = list(zip(rows, numbered, strict=False))
    for place, (row, is_numbered) in enumerate(pairs):
        if is_numbered and _filled(row) >= min(2, typical):
            break  # data begin: a name below them is a cell
        if not folded.isdisjoint(_spelled_plainly(cell).casefold() for cell in row):
            return place, True
    if (place_of_phones := find_phone_header(rows, region)) is not None:
        return place_of_phones, True
    # A title is a lonely cell above a table of several columns, and no phone number.
    starts = (
        place
        for place, (row, is_numbered) in enumerate(pairs)
        if _filled(row) > (0 if is_numbered or typical == 1 else 1)
    )
    start = next(starts, _first_filled(rows))
    if options.has_header:
        return start, True
    is_header, is_sure = _judge_header(rows[start], rows[start + 1 :], region)
    return start if is_header else None, is_sure


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
            not is_below_data or all(map(_is_known_name, filled))
        ):
            return place
    return None


def _names_phones(rows: Sequence[Sequence[str]], place: int, region: str | None) -> bool:
    """Whether a record has the name of a phone column, with numbers below it."""
    row = rows[place]
    are_known = sum(map(_is_known_name, row)) >= _KNOWN_SHARE * _filled(row)
    return any(
        is_phone_name(cell)
        and _may_be_name(cell)
        and (are_known or _is_known_name(cell))
        and count_numbers([each[i] for each in rows[place + 1 :] if i < len(each)], region)
        for i, cell in enumerate(row)
    )


def _judge_header(
    first: Sequence[str], others: Sequence[Sequence[str]], region: str | None
) -> tuple[bool, bool]:
    """Return whether a record is a header, and whether that is sure."""
    if count_numbers(first, region) or any(map(_DATA.search, first)):
        return False, True
    below = [[row[i] for row in others if len(row) > i and row[i]] for i in range(len(first))]
    if len(first) == 1 and not any(map(str.isdigit, first[0])):
        # No number is lost with a cell that has no digit.
        values = below[0]
        if values and count_numbers(values, region) >= _VALID_SHARE * len(values):
            return True, _is_known_name(first[0])
    known = sum(_is_known_name(cell) and cell not in set(below[i]) for i, cell in enumerate(first))
    return bool(known) and known >= _KNOWN_SHARE * _filled(first), False


def _numbered(rows: Sequence[Sequence[str]], region: str | None) -> list[bool]:
    """Return which of the first records hold a phone number; all cells are read at once."""
    first = rows[:_HEADER_RECORDS_MAX]
    cells = pa.array([cell for row in first for cell in row], pa.string())
    found = read_phones(cells, region).numbers != 0
    ends = accumulate(map(len, first), initial=0)
    return [bool(found[begin:end].any()) for begin, end in pairwise(ends)]


def _first_filled(rows: Sequence[Sequence[str]]) -> int:
    return next((place for place, row in enumerate(rows) if any(row)), len(rows))


def _filled(row: Sequence[str]) -> int:
    return sum(map(bool, row))


def _typical(rows: Sequence[Sequence[str]]) -> int:
    """Return how many cells of a record are filled, mostly."""
    return mode(count for count in map(_filled, rows) if count)


def find_totals(backwards: Iterable[Sequence[str]], region: str | None) -> list[int]:
    """Return the places, counted from the end, of rows of totals: they hold no phone number.

    ``backwards``: the cells of the records, the last one first.
    """
    found: list[int] = []
    rows = ((place, list(filter(str.strip, record))) for place, record in enumerate(backwards))
    for place, cells in islice((row for row in rows if row[1]), _TOTAL_ROWS_MAX):
        if _TOTAL.match(cells[0].strip()) and not count_numbers(cells, region):
            found.append(place)
    return found
