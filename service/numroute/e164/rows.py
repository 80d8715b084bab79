"""Rows of text to whole numbers, as whole-array operations.

Most rows are digits and separators of some script. The bytes of many rows lie one after the other.
Counting digits and plus signs per row is one running sum; the digits, closed up, become one array
in which the eight digits from any place are one integer: a row's number costs a few gathers in any
format.

What remains (letters, extensions, parameters) stays open: it goes through ``parse``, each distinct
text once.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from numroute.e164.decide import KNOWN_DIGITS_MAX
from numroute.e164.decision_table import UNSETTLED, DecisionTable, decision_table
from numroute.e164.metadata import check_region
from numroute.e164.parse import SEPARATORS, TEXT_CHARS_MAX, ascii_of_code_points, parse_in_region
from numroute.model import InvalidReason

PIECE_ROWS: Final = 16_384
"""Rows judged at once: their bytes and all temporaries stay within a core's cache."""

_TEXTS_KEPT_MAX: Final = 100_000
"""Distinct texts whose answers are kept during one call."""

_ROW_BYTES_MAX: Final = 4 * TEXT_CHARS_MAX
"""A longer row has more than TEXT_CHARS_MAX characters, for UTF-8 takes at most four bytes each."""

_COUNT_BITS: Final = 10
"""One field of the running sum: a row of _ROW_BYTES_MAX bytes cannot overflow it."""

_COUNT_MASK: Final = (1 << _COUNT_BITS) - 1
_ODD: Final = 1 << 2 * _COUNT_BITS
"""The weight of a character that is neither digit, plus sign nor separator."""

_SOME_LETTER: Final = ord("a")
"""Stands for every character of another script that has no ASCII counterpart: it may be one."""

_CUT_OFF_BEFORE: Final = np.array([byte != ord(";") for byte in range(256)])
_CUT_OFF_BEHIND: Final = np.array(
    [not chr(byte).isalnum() and byte != ord("#") for byte in range(128)]
)
"""Odd characters that change nothing before a number, and behind it.

A semicolon begins a parameter, letters and # behind the digits may begin an extension.
"""

_PAD: Final = 16
"""Zeros before and behind the digits, so that sixteen digits can be read from any place."""

_TAIL_DIGITS: Final = 16
"""From how many last digits the decision table makes a number."""

_POWERS: Final = np.uint64(10) ** np.arange(_TAIL_DIGITS, dtype=np.uint64)

_DIGIT_VALUES: Final = bytes(byte - ord("0") & 0xFF for byte in range(256))
_NOT_DIGITS: Final = bytes(byte for byte in range(256) if chr(byte) not in "0123456789")
_EIGHT_DIGITS: Final = np.uint64(10**8)


@dataclass(frozen=True, slots=True, eq=False)
class ParsedColumn:
    """What a column says, row by row.

    ``numbers``: uint64[n], whole E.164 numbers; 0 where a row is invalid.
    ``reasons``: uint8[n] of InvalidReason values; UNSPECIFIED (0) where a row is valid.
    ``is_open``: bool[n], the rows that are more than digits and separators.
    """

    numbers: NDArray[np.uint64]
    reasons: NDArray[np.uint8]
    is_open: NDArray[np.bool_]

    @classmethod
    def of(cls, n: int) -> Self:
        """Return an answer of n rows that is still to be filled."""
        return cls(np.zeros(n, np.uint64), np.zeros(n, np.uint8), np.zeros(n, np.bool_))

    def piece(self, start: int, stop: int) -> ParsedColumn:
        """Return a view of some rows."""
        rows = slice(start, stop)
        return ParsedColumn(self.numbers[rows], self.reasons[rows], self.is_open[rows])


def parse_rows(rows: Sequence[bytes], default_region: str | None = None) -> ParsedColumn:
    """Read a phone number from every row; row i of the answer equals ``parse`` of its text.

    Args:
        rows: Texts in UTF-8; what is not is replaced.
        default_region: As ``parse`` takes it.

    Raises:
        SettingError: The default region is unknown.
    """
    region = check_region(default_region)
    answer = ParsedColumn.of(len(rows))
    offsets = np.zeros(len(rows) + 1, np.int64)
    np.cumsum(np.fromiter(map(len, rows), np.int64, len(rows)), out=offsets[1:])
    judge_texts(np.frombuffer(b"".join(rows), np.uint8), offsets, region, answer)
    still_open = np.flatnonzero(answer.is_open)
    texts = (rows[row].decode(errors="replace") for row in still_open.tolist())
    read_open(answer, still_open, texts, region)
    return answer


def parse_texts(
    texts: Sequence[str], default_region: str | None = None
) -> tuple[NDArray[np.uint64], NDArray[np.uint8]]:
    """Return the numbers and reasons of ``parse_rows`` for a few hundred texts.

    Raises:
        SettingError: the default region is unknown.
    """
    region = check_region(default_region)
    found = _parse_digits(texts, decision_table(region))
    if found is not None:
        return found
    rows = parse_rows([text.encode("utf-8", "replace") for text in texts], region)
    return rows.numbers, rows.reasons


def _parse_digits(
    texts: Sequence[str], table: DecisionTable
) -> tuple[NDArray[np.uint64], NDArray[np.uint8]] | None:
    """Read texts that are digits, all with or all without a plus sign before them; None for others.

    So software writes numbers: Python's own integers are several times as fast as rows of bytes.
    """
    joined = "".join(texts)
    signs = joined.count("+")
    sizes = set(map(len, texts))
    if not (joined.isascii() and joined.replace("+", "").isdecimal() and signs in {0, len(texts)}):
        return None
    plus = signs > 0
    if min(sizes) - plus < KNOWN_DIGITS_MAX or max(sizes) - plus > _TAIL_DIGITS:
        return None
    try:
        numbers = np.array(list(map(int, texts)), np.uint64)
    except ValueError:
        # A plus sign amid the digits.
        return None
    # Most often all are of one length.
    lengths = np.array(sizes.pop() if len(sizes) == 1 else list(map(len, texts))) - plus
    heads = numbers // _POWERS.take(lengths - KNOWN_DIGITS_MAX)
    codes = table.codes(np.array(plus), lengths, heads.astype(np.uint32))
    if UNSETTLED in codes:
        return None
    numbers %= table.modulus.take(codes)
    numbers += table.base.take(codes)
    return numbers, table.reason.take(codes)


def read_open(
    answer: ParsedColumn, rows: NDArray[np.int64], texts: Iterable[str], region: str | None
) -> None:
    """Fill the answers of the open rows from their texts, each distinct text parsed once."""
    known: dict[str, tuple[int, InvalidReason]] = {}
    for row, text in zip(rows.tolist(), texts, strict=True):
        found = known.get(text)
        if found is None:
            parsed = parse_in_region(text, region)
            found = (parsed.number, parsed.reason)
            if len(known) < _TEXTS_KEPT_MAX:
                known[text] = found
        answer.numbers[row], answer.reasons[row] = found


def judge_texts(
    text: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    region: str | None,
    answer: ParsedColumn,
) -> None:
    """Fill the answer of rows of any length; open rows keep number 0 and no reason.

    ``region`` is one that ``check_region`` returned.
    """
    n = len(offsets) - 1
    for first in range(0, n, PIECE_ROWS):
        stop = min(first + PIECE_ROWS, n)
        _judge_piece(text, offsets[first : stop + 1], region, answer.piece(first, stop))


def _judge_piece(
    text: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    region: str | None,
    answer: ParsedColumn,
) -> None:
    """Fill the answer of a piece. Rows too long to be read are not even copied."""
    place: NDArray[np.int64] | slice = slice(None)
    text = text[offsets[0] : offsets[-1]]
    offsets = offsets - offsets[0]
    is_long = np.diff(offsets) > _ROW_BYTES_MAX
    if is_long.any():
        answer.reasons[is_long] = InvalidReason.TOO_LONG
        place = np.flatnonzero(~is_long)
        text, offsets = _rows_at(text, offsets, place)
    table = decision_table(region)
    judged = _judge_ascii(text, offsets, table)
    is_foreign_byte = text >= 0x80  # noqa: PLR2004 - the end of ASCII
    if is_foreign_byte.any():
        foreign = np.flatnonzero(np.diff(_running_sum(is_foreign_byte).take(offsets)))
        _judge_foreign(*_rows_at(text, offsets, foreign), table, foreign, judged)
    answer.numbers[place] = judged.numbers
    answer.reasons[place] = judged.reasons
    answer.is_open[place] = judged.is_open


def _rows_at(
    text: NDArray[np.uint8], offsets: NDArray[np.int64], rows: NDArray[np.int64]
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return the bytes and the offsets of some of the rows, closed up."""
    starts = offsets.take(rows)
    lengths = offsets.take(rows + 1) - starts
    new_offsets = np.zeros(len(rows) + 1, np.int64)
    np.cumsum(lengths, out=new_offsets[1:])
    places = np.repeat(starts - new_offsets[:-1], lengths) + np.arange(new_offsets[-1])
    return text.take(places), new_offsets


def _judge_ascii(
    text: NDArray[np.uint8], offsets: NDArray[np.int64], table: DecisionTable
) -> ParsedColumn:
    """Judge rows one byte per character; those with odd characters among the digits stay open."""
    weights = _weights().take(text)
    counted = _running_sum(weights)
    per_row = np.diff(counted.take(offsets))
    digit_counts = (per_row & _COUNT_MASK).astype(np.int64)
    plus_counts = per_row >> _COUNT_BITS & _COUNT_MASK
    plus, is_open = _leading_plus(text, offsets, counted, plus_counts)
    if (per_row >= _ODD).any():
        odd = np.flatnonzero(weights >= _ODD)
        is_open[_rows_with_odd_inside(text, offsets, counted, digit_counts, odd)] = True

    eights = _eights(text)
    ends = np.cumsum(digit_counts) + _PAD
    heads = eights.take(ends - digit_counts) // np.uint32(10 ** (8 - KNOWN_DIGITS_MAX))
    short = np.flatnonzero(digit_counts < KNOWN_DIGITS_MAX)
    if len(short):
        missing = np.power(10, KNOWN_DIGITS_MAX - digit_counts[short]).astype(np.uint32)
        heads[short] -= heads[short] % missing
    codes = table.codes(plus, digit_counts, heads)
    is_open |= codes == UNSETTLED
    # A digit behind a last dot may be a fraction: 79161234567.0 in a list that was a spreadsheet.
    if len(text):
        is_open |= text.take(np.maximum(offsets[1:] - 2, 0)) == ord(".")

    last_sixteen = eights.take(ends - 16).astype(np.uint64) * _EIGHT_DIGITS
    last_sixteen += eights.take(ends - 8)
    numbers = table.base.take(codes) + last_sixteen % table.modulus.take(codes)
    reasons = table.reason.take(codes)

    # A text without digits is not a number; a very long one is not read.
    for rows, reason in (
        (digit_counts == 0, InvalidReason.NOT_A_NUMBER),
        (np.diff(offsets) > TEXT_CHARS_MAX, InvalidReason.TOO_LONG),
    ):
        reasons[rows] = reason
        numbers[rows] = 0
        is_open &= ~rows
    numbers[is_open] = 0
    reasons[is_open] = InvalidReason.UNSPECIFIED
    return ParsedColumn(numbers, reasons, is_open)


def _leading_plus(
    text: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    counted: NDArray[np.uint32],
    plus_counts: NDArray[np.integer],
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which rows have one plus sign before their digits, and which have others.

    ``counted``: the running sum of ``_weights`` over the text.
    """
    has_plus = plus_counts != 0
    if not has_plus.any():
        return has_plus, np.zeros_like(has_plus)
    first = text.take(offsets[:-1], mode="clip")
    if not np.array_equal(has_plus & (first == ord("+")), has_plus):
        places = np.flatnonzero(text == ord("+"))
        rows = np.searchsorted(offsets, places, side="right") - 1
        before = (counted.take(places) - counted.take(offsets.take(rows))) & _COUNT_MASK
        leads = np.zeros_like(has_plus)
        leads[rows[before == 0]] = True
    else:
        leads = has_plus
    one = plus_counts == 1
    return leads & one, has_plus & ~(leads & one)


def _rows_with_odd_inside(
    text: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    counted: NDArray[np.uint32],
    digit_counts: NDArray[np.int64],
    odd: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Return the rows whose odd characters cannot just be cut off.

    Anything before a number is cut off, and punctuation behind it: ``tel:``, quotes, line ends.

    ``counted``: the running sum of ``_weights`` over the text; ``odd``: where the odd ones are.
    """
    rows = np.searchsorted(offsets, odd, side="right") - 1
    before = (counted.take(odd) - counted.take(offsets.take(rows))) & (_ODD - 1)
    is_behind = (before & _COUNT_MASK) == digit_counts.take(rows)
    character = text.take(odd)
    cut_off = np.where(
        before == 0,
        _CUT_OFF_BEFORE.take(character),
        is_behind & _CUT_OFF_BEHIND.take(character, mode="clip"),
    )
    return rows[~cut_off]


def _eights(text: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """Close up the digits of a text and return, for each place, the eight digits from there on.

    Place p is the digit p - _PAD of the text; before and behind the digits there are zeros.
    """
    pad = bytes(_PAD)
    digits = text.tobytes().translate(_DIGIT_VALUES, _NOT_DIGITS)
    ones = np.frombuffer(pad + digits + pad, np.uint8)
    twos = ones[:-1] * np.uint8(10) + ones[1:]
    fours = twos[:-2] * np.uint16(100) + twos[2:]
    return fours[:-4] * np.uint32(10_000) + fours[4:]


def _judge_foreign(
    text: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    table: DecisionTable,
    rows: NDArray[np.int64],
    judged: ParsedColumn,
) -> None:
    """Judge rows with characters beyond ASCII: one byte per character, then as ASCII.

    ``rows``: int64[k], the places in ``judged`` that the k rows of the text belong to. Rows whose
    bytes are not UTF-8 make them all stay open.
    """
    judged.numbers[rows] = 0
    judged.reasons[rows] = InvalidReason.UNSPECIFIED
    judged.is_open[rows] = True
    try:
        code_points = np.frombuffer(text.tobytes().decode().encode("utf-32-le"), "<u4")
    except UnicodeDecodeError:
        return
    starts_character = text & 0xC0 != 0x80  # noqa: PLR2004 - UTF-8's mark of a continuation
    character_offsets = _running_sum(starts_character).take(offsets).astype(np.int64)
    plain = _judge_ascii(
        ascii_of_code_points(_SOME_LETTER).take(code_points), character_offsets, table
    )
    judged.numbers[rows] = plain.numbers
    judged.reasons[rows] = plain.reasons
    judged.is_open[rows] = plain.is_open


def _running_sum(values: NDArray[np.uint32] | NDArray[np.bool_]) -> NDArray[np.uint32]:
    """Return uint32[m + 1]: the sum of all values before each place, modulo 2^32."""
    sums = np.empty(len(values) + 1, np.uint32)
    sums[0] = 0
    np.cumsum(values, dtype=np.uint32, out=sums[1:])
    return sums


@functools.cache
def _weights() -> NDArray[np.uint32]:
    """Build uint32[256]: what a byte adds to the fields of the running sum.

    From the lowest field up: digits, plus signs, odd characters.
    """
    weights = np.full(256, _ODD, np.uint32)
    weights[[ord(separator) for separator in SEPARATORS + "\t"]] = 0
    weights[ord("+")] = 1 << _COUNT_BITS
    weights[ord("0") : ord("9") + 1] = 1
    # A row with one of these is judged by its characters instead; its bytes say nothing.
    weights[0x80:] = 0
    return weights
