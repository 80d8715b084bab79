"""Rows of bytes to whole numbers, as whole-array operations.

The bytes of many rows lie one after the other, as Arrow keeps strings. Counting digits and plus
signs per row is one running sum; the digits themselves, closed up, become one array in which the
eight digits from any place are one integer. So a row's number costs a few gathers, whatever its
format is.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from numroute.e164.characters import SEPARATORS, ascii_of_code_points
from numroute.e164.decide import KNOWN_DIGITS_MAX
from numroute.e164.decision_table import UNSETTLED
from numroute.e164.parse import TEXT_CHARS_MAX
from numroute.model import InvalidReason

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from numroute.e164.decision_table import DecisionTable

ROW_BYTES_MAX: Final = 4 * TEXT_CHARS_MAX
"""A longer row has more than TEXT_CHARS_MAX characters, for UTF-8 takes at most four bytes each."""

_COUNT_BITS: Final = 10
"""One field of the running sum: a row of ROW_BYTES_MAX bytes cannot overflow it."""

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

_DIGIT_VALUES: Final = bytes(byte - ord("0") & 0xFF for byte in range(256))
_NOT_DIGITS: Final = bytes(byte for byte in range(256) if chr(byte) not in "0123456789")
_EIGHT_DIGITS: Final = np.uint64(10**8)


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """What became of some rows.

    ``numbers``: uint64[n], 0 where invalid or open.
    ``reasons``: uint8[n] of InvalidReason, UNSPECIFIED where valid or open.
    ``is_open``: bool[n], the rows that are more than digits and separators.
    """

    numbers: NDArray[np.uint64]
    reasons: NDArray[np.uint8]
    is_open: NDArray[np.bool_]


def judge_rows(text: NDArray[np.uint8], offsets: NDArray[np.int64], table: DecisionTable) -> Judged:
    """Judge rows of UTF-8, none longer than ROW_BYTES_MAX.

    Args:
        text: uint8[m], the bytes of all rows, one row after the other.
        offsets: int64[n + 1], where each row starts, and the end; the first is 0.
        table: the decisions of the region.
    """
    judged = _judge_ascii(text, offsets, table)
    is_foreign_byte = text >= 0x80  # noqa: PLR2004 - the end of ASCII
    if is_foreign_byte.any():
        foreign = np.flatnonzero(np.diff(_running_sum(is_foreign_byte).take(offsets)))
        _judge_foreign(*rows_at(text, offsets, foreign), table, foreign, judged)
    return judged


def rows_at(
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
) -> Judged:
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

    last_sixteen = eights.take(ends - 16).astype(np.uint64) * _EIGHT_DIGITS
    last_sixteen += eights.take(ends - 8)
    numbers = table.base.take(codes) + last_sixteen % table.modulus.take(codes)
    reasons = table.reason.take(codes)

    # A text without digits is not a number whatever else it holds; nor is a very long one read.
    for rows, reason in (
        (digit_counts == 0, InvalidReason.NOT_A_NUMBER),
        (np.diff(offsets) > TEXT_CHARS_MAX, InvalidReason.TOO_LONG),
    ):
        reasons[rows] = reason
        numbers[rows] = 0
        is_open &= ~rows
    numbers[is_open] = 0
    reasons[is_open] = InvalidReason.UNSPECIFIED
    return Judged(numbers, reasons, is_open)


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

    What stands before a number is cut off, and punctuation behind it: ``tel:``, quotes, line ends.

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
    judged: Judged,
) -> None:
    """Judge rows with other than ASCII characters: one byte per character, then as ASCII.

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
    plain = _judge_ascii(_ascii_table().take(code_points), character_offsets, table)
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


@functools.cache
def _ascii_table() -> NDArray[np.uint8]:
    return ascii_of_code_points(_SOME_LETTER)
