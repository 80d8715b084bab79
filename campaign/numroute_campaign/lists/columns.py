"""Which columns of a list are meant, and which may be named in messages.

The phone column is found by its name, then by its content. Numbers that are something else by their
name or by their check digits (tax numbers, insurance numbers, cards) are never taken for phone
numbers, and where two columns may be meant the user is asked.

A first row may hold a person's data: names are recognised by the words that lists use for columns.
"""

from __future__ import annotations

import re
import tomllib
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Final

import numpy as np
import pyarrow as pa

from numroute.e164.metadata import country_codes, country_plan
from numroute.errors import InputError
from numroute_campaign.lists.cells import read_phones

_NAME_CHARS_MAX: Final = 40
"""A column's name is not longer."""

_DIGITS_MAX: Final = 2
"""A column's name holds at most two digits, as in ``phone2``."""

_NAMES: Final = {
    kind: frozenset(words.split())
    for kind, words in tomllib.loads(
        (resources.files("numroute_campaign") / "data" / "column_names.toml").read_text("utf-8")
    ).items()
}
_PHONE_STEMS: Final = tuple(_NAMES["phone_stems"])
_WORDS: Final = _NAMES["phone"] | _NAMES["other_numbers"] | _NAMES["further"]
"""Words that a column's known name consists of."""

_SPLIT: Final = re.compile(r"[\W_]+|(?<=[a-zа-я])(?=[A-ZА-Я])")
_IDENTIFIER: Final = re.compile(r"[a-z]+(?:_[a-z]+)+")
_PLAIN: Final = re.compile(r"(?:[^\W\d]|№)[\w \-/.,()№]*")
_BY_PLACE: Final = re.compile(r"column [0-9]+")
_DIGITS: Final = re.compile(r"\d(?:[\s().-]*\d){2,}")
_NUMERIC: Final = re.compile(r"[\d\s().,+-]+")
_SHOWN_MAX: Final = 20

VALID_SHARE: Final = 0.5
"""From this share of valid numbers among its cells on, a column's content is phone numbers."""

_CHECKED_MIN: Final = 3
_CHECKED_SHARE: Final = 0.95
"""A column of three and more numbers is something else when nearly all have its check digit."""


def is_phone_name(name: str) -> bool:
    """Whether a column's name says that it holds phone numbers."""
    return name.strip().casefold() in _NAMES["phone_alone"] or _has_phone_word(name)


def _has_phone_word(name: str) -> bool:
    return any(word in _NAMES["phone"] or word.startswith(_PHONE_STEMS) for word in _words(name))


def is_other_name(name: str) -> bool:
    """Whether a column's name says that it holds other numbers."""
    return not is_phone_name(name) and (
        name.strip().casefold() in _NAMES["other_names"]
        or not _NAMES["other_numbers"].isdisjoint(_words(name))
    )


def may_be_name(text: str) -> bool:
    """Whether a text is short and has few digits, as names of columns are."""
    return len(text) <= _NAME_CHARS_MAX and sum(map(str.isdigit, text)) <= _DIGITS_MAX


def is_known_name(text: str) -> bool:
    """Whether a text is what lists call their columns, and hardly a person's data."""
    if not may_be_name(text):
        return False
    words = [word.rstrip("0123456789") for word in _words(text)]
    words = [word for word in words if word]
    return bool(words) and (
        all(
            word in _WORDS or word in _NAMES["phone_alone"] or word.startswith(_PHONE_STEMS)
            for word in words
        )
        or text.strip().casefold() in _NAMES["other_names"]
        or _IDENTIFIER.fullmatch(text.strip()) is not None
    )


def by_place(place: int) -> str:
    """Return what a column without a name is called; places count from 0."""
    return f"column {place + 1}"


def printable_name(name: str, place: int) -> str:
    """Return a column's name where it can be nothing else, its place where it may be data.

    The first row of a list that was said to have a header may be a person's.
    """
    return name if may_be_name(name) and _PLAIN.fullmatch(name) else by_place(place)


def shown_name(name: str) -> str:
    """Return a name that the user gave, or one by place, quoted for a message."""
    return repr(_DIGITS.sub(lambda run: "*" * len(run[0]), name))


@dataclass(frozen=True, slots=True, kw_only=True)
class PhoneColumn:
    """The phone column's place, and why it was taken."""

    place: int
    why: str


def choose_phone_column(
    columns: Sequence[str],
    sample: Sequence[pa.Array | None],
    region: str | None,
    where: object,
    *,
    named: str | None = None,
    option: str = "--column",
) -> PhoneColumn:
    """Return the phone column: ``named`` by the user, or judged by names and a sample.

    The sample of a column is None where its type cannot hold numbers. ``option`` is the one that
    names the column, for messages.

    Raises:
        InputError: There is none, or more than one; names the columns.
    """
    if named is not None:
        return PhoneColumn(place=find_column(columns, named, where), why=f"named by {option}")
    phones = phone_columns(columns, sample, region)
    by_name = [i for i in phones if is_phone_name(columns[i])]
    both = [i for i in by_name if _holds_numbers(sample[i], region)]
    by_content = [i for i in phones if i not in by_name]
    filled = [i for i in by_name if _texts(sample[i])]
    # In doubt where one column is named for phones, and only another one holds some.
    found = both or (by_content + filled if by_content else by_name)
    if len(found) > 1:
        # "Номер" beside "Телефон" is a number of something else.
        clear = [i for i in found if _has_phone_word(columns[i])]
        found = clear if len(clear) == 1 and not by_content else found
    if len(found) == 1:
        why = "by its name" if found[0] in by_name else "by its content"
        return PhoneColumn(place=found[0], why=why)
    if found:
        raise InputError(
            str(where),
            "more than one column may hold the phone numbers: "
            f"{_list(columns, sorted(found), sample)}",
            hint=f"Name one with {option}",
        )
    hint = f"Name it with {option}"
    if region is None:
        hint += ", or give --region CC when the numbers are written in a national format"
    raise InputError(
        str(where),
        "no column holds phone numbers; its columns are "
        f"{_list(columns, range(len(columns)), sample)}",
        hint=hint,
    )


def phone_columns(
    columns: Sequence[str], sample: Sequence[pa.Array | None], region: str | None
) -> list[int]:
    """Return every column that holds phone numbers, by its name or its content."""
    return [
        place
        for place, (name, values) in enumerate(zip(columns, sample, strict=True))
        if values is not None and (is_phone_name(name) or _is_phone_content(name, values, region))
    ]


def spelled_plainly(name: str) -> str:
    """Return a name as people type it: no-break spaces, line breaks and loose accents are gone."""
    return " ".join(unicodedata.normalize("NFC", name).split())


def find_column(columns: Sequence[str], wanted: str, where: object) -> int:
    """Return the place of a column that the user named, or gave by its place counted from 1.

    Raises:
        InputError: There is none, or two have that name.
    """
    found = [i for i, name in enumerate(columns) if name == wanted]
    if not found:
        folded = spelled_plainly(wanted).casefold()
        found = [i for i, name in enumerate(columns) if spelled_plainly(name).casefold() == folded]
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
    return is_phone_name(name) or _holds_numbers(values, region)


def _holds_numbers(values: pa.Array | None, region: str | None) -> bool:
    """Whether at least half of the cells that are not blank are phone numbers."""
    texts = _texts(values)
    numbers = read_phones(pa.array(texts, pa.string()), region).numbers
    return bool(texts) and int(np.count_nonzero(numbers)) >= VALID_SHARE * len(texts)


def _is_phone_content(name: str, values: pa.Array | None, region: str | None) -> bool:
    """Whether the cells of a column that is not named for phones are likely phone numbers."""
    texts = _texts(values)
    if is_other_name(name) or not _holds_numbers(values, region) or _has_check_digits(texts):
        return False
    numbers = read_phones(pa.array(texts, pa.string()), region).numbers
    plausible = sum(map(_is_plausible, numbers.tolist()))
    return 2 * plausible >= int(np.count_nonzero(numbers))


def _is_plausible(number: int) -> bool:
    """Whether a number is of the general form of its country's numbers."""
    digits = str(number)
    for count in (1, 2, 3):
        if digits[:count] in country_codes():
            plan = country_plan(digits[:count])
            national = digits[count:]
            return plan.general.fullmatch(national, len(national))
    return False


def _has_check_digits(texts: Sequence[str]) -> bool:
    """Whether nearly all of some numbers have the check digit of one kind of other number."""
    digits = {"".join(filter(str.isdigit, text)) for text in texts}
    if len(digits) < _CHECKED_MIN:
        return False
    return any(
        sum(len(each) in lengths and check(each) for each in digits) >= _CHECKED_SHARE * len(digits)
        for lengths, check in _CHECKS
    )


def _weighted(digits: str, weights: Sequence[int]) -> int:
    return sum(int(digit) * weight for digit, weight in zip(digits, weights, strict=False))


def _is_inn(digits: str) -> bool:
    """Whether it is a Russian tax number."""
    weights = (3, 7, 2, 4, 10, 3, 5, 9, 4, 6, 8)
    if len(digits) == 10:  # noqa: PLR2004 - of an organisation; the other form is a person's
        return _weighted(digits[:9], weights[2:]) % 11 % 10 == int(digits[9])
    return _weighted(digits[:10], weights[1:]) % 11 % 10 == int(digits[10]) and _weighted(
        digits[:11], weights
    ) % 11 % 10 == int(digits[11])


def _is_snils(digits: str) -> bool:
    """Whether it is a Russian insurance number."""
    return _weighted(digits[:9], range(9, 0, -1)) % 101 % 100 == int(digits[9:])


def _is_ogrn(digits: str) -> bool:
    """Whether it is a Russian registration number of a company or of an entrepreneur."""
    return int(digits[:-1]) % (len(digits) - 2) % 10 == int(digits[-1])


def _is_luhn(digits: str) -> bool:
    """Whether it is a card's or a telephone set's number."""
    return (
        sum(sum(divmod(int(d) * (1 + i % 2), 10)) for i, d in enumerate(reversed(digits))) % 10 == 0
    )


_CHECKS: Final[tuple[tuple[tuple[int, ...], Callable[[str], bool]], ...]] = (
    ((10, 12), _is_inn),
    ((11,), _is_snils),
    ((13, 15), _is_ogrn),
    ((15, 16, 18, 19), _is_luhn),
)


def _texts(values: pa.Array | None) -> list[str]:
    """Return the cells that are not blank."""
    if values is None:
        return []
    return [text for text in map(str, values.drop_null().to_pylist()) if text.strip()]


def _list(
    columns: Sequence[str],
    places: Sequence[int] | range,
    sample: Sequence[pa.Array | None] | None = None,
) -> str:
    """Return the columns for a message: by name, or by place and kind where a name may be data."""
    shown = []
    for place in list(places)[:_SHOWN_MAX]:
        name = printable_name(columns[place], place)
        if _BY_PLACE.fullmatch(name):
            shown.append(name if sample is None else f"{name} ({_kind(sample[place])})")
        else:
            shown.append(repr(name))
    more = len(places) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")


def _kind(values: pa.Array | None) -> str:
    """Return what a column holds, in a word."""
    texts = _texts(values)
    if not texts:
        return "other" if values is None else "empty"
    return "numbers" if all(_NUMERIC.fullmatch(text) for text in texts) else "text"


def _words(name: str) -> list[str]:
    return [word.casefold() for word in _SPLIT.split(name) if word]
