"""Which characters stand for which in a phone number, whatever script they are of.

One table serves both ways of parsing: ``to_ascii`` for one text, ``ascii_of_code_points`` for
arrays of code points.
"""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SEPARATORS: Final = " -./()[]"
"""What may stand between the digits of a number and means nothing."""

DECIMAL_DIGITS_END: Final = 0x20000
"""All decimal digits of Unicode lie below this code point."""

_ALIKE: Final = {
    " ": "\t\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u202f\u205f\u3000",
    "-": "\u058a\u05be\u1806\u2010\u2011\u2012\u2013\u2014\u2015\u2043\u207b\u2212\u2e3a\u2e3b"
    "\u301c\u3030\u30a0\u30fc\ufe31\ufe32\ufe58\ufe63\uff0d",
    ".": "\u00b7\u2024\u2219\uff0e",
    "/": "\u2044\u2215\uff0f",
    "(": "\uff08\ufe59",
    ")": "\uff09\ufe5a",
    "[": "\uff3b",
    "]": "\uff3d",
    "+": "\uff0b\ufe62",
}
"""An ASCII character and what means the same in other scripts and in typeset text."""

_INVISIBLE: Final = (
    "\u00ad\u034f\u061c\u180e\u200b\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2060"
    "\u2061\u2062\u2063\u2064\u2066\u2067\u2068\u2069\ufe0e\ufe0f\ufeff"
)
"""Joiners, direction marks, variation selectors and the byte-order mark: they mean nothing."""


class _Replacements(dict[int, str]):
    """What ``str.translate`` puts in a character's place; decimal digits are added when met."""

    def __missing__(self, code_point: int) -> str:
        character = chr(code_point)
        digit = unicodedata.decimal(character, None)
        replacement = character if digit is None else str(digit)
        if digit is not None:
            self[code_point] = replacement
        return replacement


_REPLACEMENTS: Final = _Replacements(
    {ord(other): plain for plain, others in _ALIKE.items() for other in others}
    | {ord(mark): "" for mark in _INVISIBLE}
)


def to_ascii(text: str) -> str:
    """Return the text with every digit, separator and plus sign in ASCII, invisible marks gone.

    Other characters stay as they are.
    """
    if text.isascii() and "\t" not in text:
        return text
    return text.translate(_REPLACEMENTS)


def ascii_of_code_points(unknown: int) -> NDArray[np.uint8]:
    """Build the table of ``to_ascii``: uint8[0x110000], an ASCII byte for each code point.

    ASCII stands for itself, an invisible mark becomes a space (in a number neither means
    anything), and everything that ``to_ascii`` leaves as it is becomes ``unknown``.
    """
    import numpy as np  # noqa: PLC0415 - parsing one text needs no numpy

    table = np.full(0x110000, unknown, np.uint8)
    table[:128] = np.arange(128, dtype=np.uint8)
    for code_point in range(128, DECIMAL_DIGITS_END):
        digit = unicodedata.decimal(chr(code_point), None)
        if digit is not None:
            table[code_point] = ord("0") + digit
    for plain, others in _ALIKE.items():
        table[[ord(other) for other in others]] = ord(plain)
    table[[ord(mark) for mark in _INVISIBLE]] = ord(" ")
    return table
