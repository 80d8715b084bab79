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
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from numroute.e164.decide import DIGITS_MAX, KNOWN_DIGITS_MAX, Outcome, decide_class
from numroute.e164.metadata import check_region
from numroute.e164.parse import SEPARATORS, TEXT_CHARS_MAX, parse, to_ascii
from numroute.model import InvalidReason

PIECE_ROWS: Final = 16_384
"""Rows judged at once: their bytes and all temporaries stay within a core's cache."""

OPEN: Final = 255
"""The reason of a row that is more than digits and separators, until it is read as a text."""

_ROW_BYTES_MAX: Final = 4 * TEXT_CHARS_MAX
"""A longer row has more than TEXT_CHARS_MAX characters, for UTF-8 takes at most four bytes each."""

_COUNT_BITS: Final = 10
"""One field of the running sum: a row of _ROW_BYTES_MAX bytes cannot overflow it."""

_COUNT_MASK: Final = (1 << _COUNT_BITS) - 1
_ODD: Final = 1 << 2 * _COUNT_BITS
"""The weight of a character that is neither digit, plus sign nor separator."""

_WEIGHTS: Final = np.full(256, _ODD, np.uint32)
"""What a byte adds to the fields of the running sum: digits, plus signs, odd characters."""
_WEIGHTS[[ord(separator) for separator in SEPARATORS + "\t"]] = 0
_WEIGHTS[ord("+")] = 1 << _COUNT_BITS
_WEIGHTS[ord("0") : ord("9") + 1] = 1
# A row with one of these is judged by its characters instead; its bytes say nothing.
_WEIGHTS[0x80:] = 0

_DECIMAL_DIGITS_END: Final = 0x20000
"""All decimal digits of Unicode lie below this code point."""

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

_HEADS: Final = 10**KNOWN_DIGITS_MAX
_LENGTHS: Final = DIGITS_MAX + 2
"""No digits, 1 to DIGITS_MAX digits, and more than that."""

_NOT_MET: Final = 0
UNSETTLED: Final = 1
"""The code of a class whose leading digits do not decide."""

_OUTCOMES_MAX: Final = 1 << 15
"""More than all country codes times all lengths; a code is a signed 16-bit integer."""

_DIGIT_VALUES: Final = bytes(byte - ord("0") & 0xFF for byte in range(256))
_NOT_DIGITS: Final = bytes(byte for byte in range(256) if chr(byte) not in "0123456789")
_EIGHT_DIGITS: Final = np.uint64(10**8)


class DecisionTable:
    """The decisions of one region, or of no region, looked up for many numbers at once.

    A class of numbers (plus sign or none, how many digits, the first five) has one code; a code has
    one outcome. Both are filled when a class is first met: a list of a country's numbers meets a
    few dozen classes, and one decision settles as many as share its deciding digits.
    """

    def __init__(self, region: str | None) -> None:
        """Start with nothing decided. ``region`` is one that ``check_region`` returned."""
        self._region = region
        # Fresh zero pages take no memory until they are written.
        self._codes = np.zeros(2 * _LENGTHS * _HEADS, np.int16)
        self._code_of: dict[Outcome, int] = {}
        self._lock = threading.Lock()
        self._base = np.zeros(_OUTCOMES_MAX, np.uint64)
        self._modulus = np.ones(_OUTCOMES_MAX, np.uint64)
        self._reason = np.zeros(_OUTCOMES_MAX, np.uint8)

    def codes(
        self, plus: NDArray[np.bool_], lengths: NDArray[np.int64], heads: NDArray[np.uint32]
    ) -> NDArray[np.int16]:
        """Return the code of every number's class, deciding those not met before.

        A number's class is whether a ``+`` stands before its digits, how many digits there are, and
        the first five as an integer, with zeros for missing ones.
        """
        at = (plus * _LENGTHS + np.minimum(lengths, _LENGTHS - 1)) * _HEADS + heads
        codes = self._codes.take(at)
        not_met = codes == _NOT_MET
        if not_met.any():
            with self._lock:
                for place in np.unique(at[not_met]).tolist():
                    self._settle(place)
            codes = self._codes.take(at)
        return codes

    def outcomes(
        self, codes: NDArray[np.int16], tails: NDArray[np.uint64]
    ) -> tuple[NDArray[np.uint64], NDArray[np.uint8]]:
        """Return the numbers and the reasons of codes and of the last 16 digits of each text."""
        numbers = tails % self._modulus.take(codes)
        numbers += self._base.take(codes)
        return numbers, self._reason.take(codes)

    def _settle(self, place: int) -> None:
        """Decide one class, and with it all that share the digits that decided."""
        if self._codes[place] != _NOT_MET:
            return
        plus, length = divmod(place // _HEADS, _LENGTHS)
        digits = f"{place % _HEADS:0{KNOWN_DIGITS_MAX}}"[:length]
        for count in range(len(digits) + 1):
            outcome = decide_class(digits[:count], length, self._region, plus=bool(plus))
            if outcome is not None:
                code = self._code_of.setdefault(outcome, UNSETTLED + 1 + len(self._code_of))
                self._reason[code], self._base[code], self._modulus[code] = outcome
                alike = 10 ** (KNOWN_DIGITS_MAX - count)
                first = place - place % alike
                self._codes[first : first + alike] = code
                return
        self._codes[place] = UNSETTLED


decision_table = functools.cache(DecisionTable)
"""Returns the table of a region; one is kept for each."""


@dataclass(frozen=True, slots=True, eq=False)
class ParsedColumn:
    """What a column says, row by row.

    ``numbers``: uint64[n], whole E.164 numbers; 0 where a row is invalid.
    ``reasons``: uint8[n] of InvalidReason values; UNSPECIFIED (0) where a row is valid.
    """

    numbers: NDArray[np.uint64]
    reasons: NDArray[np.uint8]

    @classmethod
    def refused(cls, n: int, reason: int) -> ParsedColumn:
        """Return n rows without a number."""
        return cls(np.zeros(n, np.uint64), np.full(n, reason, np.uint8))

    @classmethod
    def joined(cls, parts: Sequence[ParsedColumn]) -> ParsedColumn:
        """Return the rows of all parts, one after the other."""
        if len(parts) == 1:
            return parts[0]
        return cls(
            np.concatenate([np.empty(0, np.uint64), *(part.numbers for part in parts)]),
            np.concatenate([np.empty(0, np.uint8), *(part.reasons for part in parts)]),
        )

    def put(self, rows: NDArray[np.int64] | NDArray[np.bool_], answers: ParsedColumn) -> None:
        """Replace the answers of some rows."""
        self.numbers[rows], self.reasons[rows] = answers.numbers, answers.reasons

    def refuse(self, rows: NDArray[np.bool_], reason: int) -> None:
        """Take the numbers of some rows away."""
        if rows.any():
            self.numbers[rows], self.reasons[rows] = 0, reason


def parse_rows(rows: Sequence[bytes], default_region: str | None = None) -> ParsedColumn:
    """Read a phone number from every row; row i of the answer equals ``parse`` of its text.

    The rows are texts in UTF-8, what is not is replaced; the region is as ``parse`` takes it.
    """
    offsets = _running_sum(np.fromiter(map(len, rows), np.int64, len(rows)), np.int64)
    answer = judge_texts(np.frombuffer(b"".join(rows), np.uint8), offsets, default_region)
    return read_open(
        answer,
        lambda at: [rows[row].decode(errors="replace") for row in at.tolist()],
        default_region,
    )


def parse_texts(texts: Sequence[str], default_region: str | None = None) -> ParsedColumn:
    """Read a few hundred texts as ``parse_rows`` does, in a third of the time where all are digits.

    So software writes numbers, and Python's own integers are faster than rows of bytes.
    """
    table = decision_table(check_region(default_region))
    plus = "".join(texts).count("+") == len(texts)
    bare = [text[1:] for text in texts] if plus else texts
    joined, sizes = "".join(bare), set(map(len, bare))
    is_short = texts and min(sizes) >= KNOWN_DIGITS_MAX and max(sizes) <= _TAIL_DIGITS
    if is_short and joined.isascii() and joined.isdecimal():
        numbers = np.array(list(map(int, bare)), np.uint64)
        # Most often all are of one length.
        lengths = np.array(sizes.pop() if len(sizes) == 1 else list(map(len, bare)))
        heads = (numbers // _POWERS.take(lengths - KNOWN_DIGITS_MAX)).astype(np.uint32)
        codes = table.codes(np.array(plus), lengths, heads)
        if UNSETTLED not in codes:
            return ParsedColumn(*table.outcomes(codes, numbers))
    return parse_rows([text.encode("utf-8", "replace") for text in texts], default_region)


def read_open(
    answer: ParsedColumn,
    texts_at: Callable[[NDArray[np.int64]], Sequence[str]],
    region: str | None,
) -> ParsedColumn:
    """Fill the answers of the open rows from their texts, each distinct text parsed once."""
    rows = np.flatnonzero(answer.reasons == OPEN)
    texts = texts_at(rows)
    read = {text: parse(text, region) for text in set(texts)}
    for row, text in zip(rows.tolist(), texts, strict=True):
        answer.numbers[row], answer.reasons[row] = read[text]
    return answer


def judge_texts(
    text: NDArray[np.uint8], offsets: NDArray[np.int64], region: str | None
) -> ParsedColumn:
    """Return what rows of any length say; those that are to be read as texts are OPEN."""
    table = decision_table(check_region(region))
    pieces = [offsets[at : at + PIECE_ROWS + 1] for at in range(0, len(offsets) - 1, PIECE_ROWS)]
    return ParsedColumn.joined(
        [_judge_piece(text[piece[0] : piece[-1]], piece - piece[0], table) for piece in pieces]
    )


def _judge_piece(
    text: NDArray[np.uint8], offsets: NDArray[np.int64], table: DecisionTable
) -> ParsedColumn:
    is_long = np.diff(offsets) > _ROW_BYTES_MAX
    if is_long.any():
        # Rows too long to be read are not even copied.
        judged = ParsedColumn.refused(len(is_long), InvalidReason.TOO_LONG)
        rows = np.flatnonzero(~is_long)
        judged.put(rows, _judge_piece(*_rows_at(text, offsets, rows), table))
        return judged
    judged = _judge_ascii(text, offsets, table)
    is_foreign_byte = text >= 0x80  # noqa: PLR2004 - the end of ASCII
    if is_foreign_byte.any():
        rows = np.flatnonzero(np.diff(_running_sum(is_foreign_byte).take(offsets)))
        judged.put(rows, _judge_foreign(*_rows_at(text, offsets, rows), table))
    return judged


def _rows_at(
    text: NDArray[np.uint8], offsets: NDArray[np.int64], rows: NDArray[np.int64]
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return the bytes and the offsets of some of the rows, closed up."""
    starts = offsets.take(rows)
    lengths = offsets.take(rows + 1) - starts
    ends = _running_sum(lengths, np.int64)
    places = np.repeat(starts - ends[:-1], lengths) + np.arange(ends[-1])
    return text.take(places), ends


def _judge_foreign(
    text: NDArray[np.uint8], offsets: NDArray[np.int64], table: DecisionTable
) -> ParsedColumn:
    """Judge rows with characters beyond ASCII: one byte per character, then as ASCII."""
    try:
        code_points = np.frombuffer(text.tobytes().decode().encode("utf-32-le"), "<u4")
    except UnicodeDecodeError:
        return ParsedColumn.refused(len(offsets) - 1, OPEN)
    starts_character = text & 0xC0 != 0x80  # noqa: PLR2004 - UTF-8's mark of a continuation
    character_offsets = _running_sum(starts_character).take(offsets).astype(np.int64)
    return _judge_ascii(_ascii_of_code_points().take(code_points), character_offsets, table)


def _judge_ascii(
    text: NDArray[np.uint8], offsets: NDArray[np.int64], table: DecisionTable
) -> ParsedColumn:
    """Judge rows one byte per character; those with odd characters among the digits stay open."""
    weights = _WEIGHTS.take(text)
    counted = _running_sum(weights)
    per_row = np.diff(counted.take(offsets))
    digit_counts = (per_row & _COUNT_MASK).astype(np.int64)
    plus, is_open = _leading_plus(text, offsets, counted, per_row >> _COUNT_BITS & _COUNT_MASK)
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
    judged = ParsedColumn(*table.outcomes(codes, last_sixteen))
    judged.refuse(is_open, OPEN)
    # A text without digits is not a number; a very long one is not read.
    judged.refuse(digit_counts == 0, InvalidReason.NOT_A_NUMBER)
    judged.refuse(np.diff(offsets) > TEXT_CHARS_MAX, InvalidReason.TOO_LONG)
    return judged


def _leading_plus(
    text: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    counted: NDArray[np.uint32],
    plus_counts: NDArray[np.integer],
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which rows have one plus sign before their digits, and which have others.

    ``counted``: the running sum of ``_WEIGHTS`` over the text.
    """
    one, has_plus = plus_counts == 1, plus_counts != 0
    if not has_plus.any():
        return has_plus, one
    leads = one & (text.take(offsets[:-1], mode="clip") == ord("+"))
    if not np.array_equal(leads, has_plus):
        places = np.flatnonzero(text == ord("+"))
        rows = np.searchsorted(offsets, places, side="right") - 1
        before = (counted.take(places) - counted.take(offsets.take(rows))) & _COUNT_MASK
        leads[rows[before == 0]] = True
        leads &= one
    return leads, has_plus & ~leads


def _rows_with_odd_inside(
    text: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    counted: NDArray[np.uint32],
    digit_counts: NDArray[np.int64],
    odd: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Return the rows whose odd characters cannot just be cut off.

    Anything before a number is cut off, and punctuation behind it: ``tel:``, quotes, line ends.

    ``counted``: the running sum of ``_WEIGHTS`` over the text; ``odd``: where the odd ones are.
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


def _running_sum(values: NDArray[Any], dtype: type[Any] = np.uint32) -> NDArray[Any]:
    """Return dtype[m + 1]: the sum of all values before each place, modulo the type's size."""
    sums = np.zeros(len(values) + 1, dtype)
    np.cumsum(values, dtype=dtype, out=sums[1:])
    return sums


@functools.cache
def _ascii_of_code_points() -> NDArray[np.uint8]:
    """Build the table of ``to_ascii``: uint8[0x110000], an ASCII byte for each code point.

    Every character that has no ASCII counterpart becomes a letter, for it may be one.
    """
    table = np.full(0x110000, ord("a"), np.uint8)
    plain = to_ascii("".join(map(chr, range(_DECIMAL_DIGITS_END))))
    points = np.frombuffer(plain.encode("utf-32-le", "surrogatepass"), "<u4")
    is_ascii = points < 0x80  # noqa: PLR2004 - the end of ASCII
    table[:_DECIMAL_DIGITS_END][is_ascii] = points[is_ascii]
    return table
