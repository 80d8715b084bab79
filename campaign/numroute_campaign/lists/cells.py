"""What cells say: phone numbers, also several in one cell, and counts of message segments.

Most cells are one number, read column by column. A cell that holds more than digits and separators
is read as people write: numbers side by side, notes and extensions behind them.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from operator import mul
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from numroute.e164 import parse
from numroute.e164.column import judge_column, texts_at
from numroute.e164.metadata import library
from numroute.e164.parse import to_ascii
from numroute.e164.rows import OPEN
from numroute.errors import InputError
from numroute.model import InvalidReason
from numroute_campaign.vocabulary import SEGMENTS_MAX, Reject

SAMPLE_ROWS: Final = 1000

_TEXTS_KEPT_MAX: Final = 100_000
_TEXT_CHARS_MAX: Final = 250

_PLAUSIBLE_END: Final = 10**12
"""Longer numbers are looked at again: they may be a number with something behind it."""

_DIGITS_MAX: Final = 12
"""More digits are not taken for one of several numbers of a cell."""

_NOTE_DIGITS_MAX: Final = 4
"""This many digits beside a number are a note: a house, an hour."""

_MESSENGER: Final = re.compile(r"(?<=\d)@(?:c\.us|s\.whatsapp\.net)\b")
"""What follows the number in the name of a WhatsApp account."""

_MAIL: Final = re.compile(r"[^\s;,|<>()]*@[^\s;,|<>()]*")
_PARAMETERS: Final = re.compile(r";(?:ext|phone-context|isub)=", re.IGNORECASE)
_SCIENTIFIC: Final = re.compile(r"\+?(\d)(?:[.,](\d+))?[eEеЕ]\+?(\d{1,2})")
_DECIMAL: Final = re.compile(r"(\+?\d{7,15})[.,]0+")
_GROUPED: Final = re.compile(r"\+?\d{1,3}(?:,\d{3}){2,4}")
_DATE: Final = re.compile(
    r"(?<![\d.-])(?:\d{1,2}[./]\d{1,2}[./](?:19|20)\d\d|(?:19|20)\d\d-\d\d-\d\d)(?![\d-])"
)
_EXTENSION: Final = re.compile(
    r"(?<![^\W\d_])(?:доб(?:авочный|ав)?|вн(?:утр(?:енний)?)?|ext(?:ension|n)?|д|x|х|#)"
    r"[\s.:№#]*\d{1,7}(?!\d)",
    re.IGNORECASE,
)
_ENUMERATOR: Final = re.compile(r"^\s*\d{1,2}(?:\)\s*|\.\s+)(?=[+\d(])")
_RUN: Final = re.compile(r"[+\d(\[][\d\s().\-/\[\]]*")
_NOT_DIGITS: Final = re.compile(r"\D+")
_OTHER_END: Final = re.compile(r"\d\s*/\s*\d{1,4}\s*$")
_INNER_LETTER: Final = re.compile(r"\d[\s.-]*[^\W\d_][\s.-]*\d")
"""A letter amid digits is a slip, such as O for 0: the library would leave it out."""

_BETWEEN: Final = re.compile(r"[\s,;/|]*")

_CHECKED_MIN: Final = 3
_CHECKED_SHARE: Final = 0.95
"""A column of three and more numbers is something else when nearly all have its check digit."""


@dataclass(frozen=True, slots=True, eq=False)
class Phones:
    """What the cells of a phone column say.

    Attributes:
        numbers: uint64[n], a whole number of each cell; 0 where it has none.
        reasons: uint8[n] of ``Reject``, why it has none.
        further_at: int64[k], the cells of further numbers, ascending, once for each.
        further: uint64[k], the further numbers.
        partly: int64[j], cells with a number, of which some digits were not understood.
    """

    numbers: NDArray[np.uint64]
    reasons: NDArray[np.uint8]
    further_at: NDArray[np.int64]
    further: NDArray[np.uint64]
    partly: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Cell:
    """What one cell says: numbers, a mobile number first; why there is none; whether all is read.

    ``is_whole`` is False where digits beside the numbers were not understood.
    """

    numbers: tuple[int, ...]
    reason: int = 0
    is_whole: bool = True


def read_phones(column: pa.Array, region: str | None) -> Phones:
    """Read the phone numbers of every cell of a column; ``region`` as ``check_region`` returned it.

    Raises SettingError when the column's type holds no phone numbers.
    """
    judged = judge_column(column, region)
    numbers, reasons = judged.numbers, judged.reasons
    again = np.isin(reasons, (OPEN, InvalidReason.TOO_LONG)) | (numbers >= _PLAUSIBLE_END)
    rows = np.flatnonzero(again)
    read = functools.lru_cache(_TEXTS_KEPT_MAX)(functools.partial(read_cell, region=region))
    cells = list(map(read, texts_at(column, rows)))
    numbers[rows] = np.array([cell.numbers[0] if cell.numbers else 0 for cell in cells], np.uint64)
    reasons[rows] = np.array([cell.reason for cell in cells], np.uint8)
    by_row = list(zip(rows.tolist(), cells, strict=True))
    further = [(row, number) for row, cell in by_row for number in cell.numbers[1:]]
    return Phones(
        numbers,
        reasons,
        further_at=np.array([row for row, _ in further], np.int64),
        further=np.array([number for _, number in further], np.uint64),
        partly=np.array(
            [row for row, cell in by_row if cell.numbers and not cell.is_whole], np.int64
        ),
    )


def read_cell(text: str, region: str | None) -> Cell:
    """Read the phone numbers of one cell."""
    plain = to_ascii(text).strip(" '\"`\t\r\n")
    if len(plain) > _TEXT_CHARS_MAX or _PARAMETERS.search(plain):
        return _read_one(plain, region)
    exponent = _SCIENTIFIC.fullmatch(plain)
    if exponent is not None:
        fraction, places = exponent[2] or "", int(exponent[3])
        if len(fraction.rstrip("0")) > places or len(fraction) < places:
            return Cell((), Reject.SHORTENED)
        return _read_one((exponent[1] + fraction)[: places + 1], region)
    if (whole := _DECIMAL.fullmatch(plain)) is not None:
        return _read_one(whole[1], region)
    if _GROUPED.fullmatch(plain):
        return _read_one(plain.replace(",", ""), region)
    plain = _MESSENGER.sub(" ", plain)
    for other in (_MAIL, _DATE, _EXTENSION):
        plain = other.sub(" @ ", plain)
    numbers, is_whole, reason = _read_runs(_ENUMERATOR.sub("", plain), region)
    if numbers:
        return Cell(_mobile_first(numbers), is_whole=is_whole)
    one = _read_one(text, region)
    if one.numbers and (";" in text or _INNER_LETTER.search(plain)):
        # The library takes what follows a semicolon for an extension.
        return Cell((), reason or InvalidReason.NOT_A_NUMBER, is_whole=False)
    return one if one.numbers or not reason else Cell((), reason)


def _read_one(text: str, region: str | None) -> Cell:
    parsed = parse(text, region)
    return Cell((parsed.number,) if parsed.number else (), int(parsed.reason))


def _read_runs(text: str, region: str | None) -> tuple[list[int], bool, int]:
    """Return a text's numbers, whether the rest is notes, why the longest run is no number."""
    numbers: list[int] = []
    is_whole, reason, longest = True, 0, 0
    end = 0
    for run in _RUN.finditer(text):
        digits = len(_NOT_DIGITS.sub("", run[0]))
        if not digits:
            continue
        if digits <= _NOTE_DIGITS_MAX:
            # Two digits right behind a number may be the end of another: 123-45-67, 68.
            if numbers and digits > 1 and _BETWEEN.fullmatch(text, end, run.start()):
                is_whole = False
        elif number := _number(run[0], region):
            numbers.append(number)
        else:
            found, left = _read_tokens(re.split(r"[\s/]+", run[0]), region)
            parsed = parse(run[0], region)
            if not found and digits > _DIGITS_MAX and parsed.number:
                found, left = [parsed.number], 0
            numbers += found
            # 123-45-67/68 are two numbers, the second of which only people understand.
            if not found or left or _OTHER_END.search(run[0]):
                is_whole = False
            if not found and digits > longest:
                longest, reason = digits, int(parsed.reason)
        end = run.end()
    return list(dict.fromkeys(numbers)), is_whole, reason


def _read_tokens(tokens: list[str], region: str | None) -> tuple[list[int], int]:
    """Return the numbers that tokens, joined in order, make up, and how many digits are left."""
    numbers: list[int] = []
    left = at = 0
    is_after_gap = False
    while at < len(tokens):
        best = taken = 0
        for end in range(at + 1, len(tokens) + 1):
            joined = " ".join(tokens[at:end])
            digits = len(_NOT_DIGITS.sub("", joined))
            # After digits that were not understood, only a token that is a whole number counts.
            if digits > _DIGITS_MAX or (is_after_gap and end > at + 1):
                break
            if number := _number(joined, region):
                best, taken = number, end
        if best:
            numbers.append(best)
            at = taken
            continue
        digits = len(_NOT_DIGITS.sub("", tokens[at]))
        is_after_gap = is_after_gap or digits > 0
        left += digits if digits > _NOTE_DIGITS_MAX or not numbers else 0
        at += 1
    return numbers, left


def _number(text: str, region: str | None) -> int:
    """Return a text as a number, 0 if it is not one or too long to be sure."""
    number = parse(text, region).number
    return number if number < _PLAUSIBLE_END else 0


def _mobile_first(numbers: list[int]) -> tuple[int, ...]:
    if len(numbers) > 1:
        phonenumbers = library()
        types = phonenumbers.PhoneNumberType
        mobile = {types.MOBILE, types.FIXED_LINE_OR_MOBILE}
        numbers = sorted(
            numbers,
            key=lambda n: phonenumbers.number_type(phonenumbers.parse(f"+{n}")) not in mobile,
        )
    return tuple(numbers)


def have_check_digits(texts: Sequence[str]) -> bool:
    """Whether nearly all of some numbers have the check digits of one kind of other number."""
    digits = {"".join(filter(str.isdecimal, text)) for text in texts}
    enough = max(_CHECKED_MIN, _CHECKED_SHARE * len(digits))
    kinds = (_is_tax_number, _is_insurance_number, _is_registration_number, _is_card_number)
    return any(sum(map(is_kind, digits)) >= enough for is_kind in kinds)


def _is_tax_number(digits: str) -> bool:
    """Whether it is an ИНН: of an organisation, or a person's with two check digits."""
    ends = {10: (9,), 12: (10, 11)}.get(len(digits), ())
    weights = (3, 7, 2, 4, 10, 3, 5, 9, 4, 6, 8)
    return bool(ends) and all(
        sum(map(mul, map(int, digits), weights[-end:])) % 11 % 10 == int(digits[end])
        for end in ends
    )


def _is_insurance_number(digits: str) -> bool:
    """Whether it is a СНИЛС: nine digits and a check sum of two."""
    total = sum(map(mul, map(int, digits), range(9, 0, -1)))
    return digits[9:] == f"{total % 101 % 100:02}"


def _is_registration_number(digits: str) -> bool:
    """Whether it is an ОГРН: of a company, or an entrepreneur's of 15 digits."""
    return len(digits) in {13, 15} and int(digits[:-1]) % (len(digits) - 2) % 10 == int(digits[-1])


def _is_card_number(digits: str) -> bool:
    """Whether it is a bank card's or a telephone set's number: Luhn's check digit."""
    doubled = "".join(str(2 * int(digit)) for digit in digits[-2::-2])
    total = sum(map(int, doubled + digits[::-2]))
    return len(digits) in {15, 16, 18, 19} and total % 10 == 0


def unpacked(column: pa.Array) -> pa.Array:
    """Return a column without its dictionary, if it has one."""
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column


def sample_of(column: pa.Array, shown: str, where: str) -> pa.Array | InputError:
    """Return some values of a column, or why its type cannot hold numbers.

    Fractions become null: ``readable`` refuses the column if it is for phones.
    """
    column = unpacked(column.slice(0, SAMPLE_ROWS))
    if pa.types.is_floating(column.type) or pa.types.is_decimal(column.type):
        return _whole_numbers(column)
    try:
        return readable(column, shown, where)
    except InputError as error:
        return error


def readable(column: pa.Array, shown: str, where: str) -> pa.Array:
    """Return a phone column in a type that numbers are read from.

    Raises:
        InputError: Its type cannot hold phone numbers: single precision, or fractions.
    """
    kind = value_type(column.type)
    if _is_text(kind):
        return column
    column = unpacked(column)
    if kind in {pa.int64(), pa.uint64()}:
        return column
    if pa.types.is_null(kind):
        return column.cast(pa.string())
    if kind in {pa.binary(), pa.large_binary()} or pa.types.is_fixed_size_binary(kind):
        return decoded(column, pa.large_string())
    if pa.types.is_float64(kind) or pa.types.is_decimal(kind):
        numbers = _whole_numbers(column)
        if numbers.null_count == pc.sum(column.is_null(nan_is_null=True), min_count=0).as_py():
            return numbers
        fault = "holds fractions or values too large for phone numbers"
    elif pa.types.is_floating(kind):
        fault = "is of single precision, which cannot hold a phone number: the last digits are lost"
    elif pa.types.is_integer(kind):
        fault = f"is of type {kind}, which cannot hold a phone number with its country code"
    else:
        fault = f"is of type {kind}, which holds no phone numbers"
    raise InputError(
        where,
        f"{shown} {fault}",
        hint="Name the phone column, or give the numbers as text or 64-bit integers",
    )


def decoded(column: pa.Array, kind: pa.DataType) -> pa.Array:
    """Return bytes as texts of a type; invalid UTF-8 becomes U+FFFD."""
    try:
        return column.cast(kind)
    except pa.ArrowInvalid:
        texts = [cell and cell.decode(errors="replace") for cell in column.to_pylist()]
        return pa.array(texts, kind)


def _whole_numbers(column: pa.Array) -> pa.Array:
    """Return int64[n], null where a value is not a whole number or too large for a phone number."""
    values = column.cast(pa.float64(), safe=False)
    whole = pc.and_(pc.equal(pc.floor(values), values), pc.less(pc.abs(values), 1e15))
    return pc.if_else(whole, values, None).cast(pa.int64())


def is_equal(values: pa.Array, text: str) -> NDArray[np.bool_]:
    """Whether each value is a text, apart from blanks around it; a null is empty."""
    if not _is_text(value_type(values.type)):
        return np.asarray(values.is_null().to_numpy(zero_copy_only=False)) & (text == "")
    texts = pc.ascii_trim_whitespace(unpacked(values).cast(pa.large_string()))
    return np.asarray(pc.equal(pc.fill_null(texts, ""), text).to_numpy(zero_copy_only=False))


def value_type(kind: pa.DataType) -> pa.DataType:
    """Return the type of a column's values, dictionary or not."""
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def may_hold_counts(kind: pa.DataType) -> bool:
    """Whether counts of segments may stand in a column of this type."""
    checks = (_is_text, pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal)
    return any(check(kind) for check in checks)


def segment_counts(column: pa.Array) -> NDArray[np.int64]:
    """Return int64[n], whole numbers from 1 to ``SEGMENTS_MAX``; -1 for fractions, 0 otherwise."""
    texts = pc.ascii_trim_whitespace(unpacked(column).cast(pa.string()))
    texts = pc.fill_null(pc.replace_substring_regex(texts, r"[.,]0+$", ""), "")
    is_count = pc.match_substring_regex(texts, "^[0-9]{1,4}$")
    is_fraction = pc.match_substring_regex(texts, "^[0-9]+[.,][0-9]+$")
    texts = pc.if_else(is_count, texts, pc.if_else(is_fraction, "-1", "0"))
    counts: NDArray[np.int64] = texts.cast(pa.int64()).to_numpy(zero_copy_only=False)
    return np.where(counts > SEGMENTS_MAX, 0, counts)


def _is_text(kind: pa.DataType) -> bool:
    return kind in {pa.string(), pa.large_string(), pa.string_view()}
