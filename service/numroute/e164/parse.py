"""One text in a human format, of any script, to one whole number."""

from __future__ import annotations

import re
import unicodedata
from typing import Final, NamedTuple

from numroute.e164.decide import decide
from numroute.e164.metadata import check_region, library
from numroute.model import NUMBER_MAX, InvalidReason

TEXT_CHARS_MAX: Final = 250
"""A longer text is TOO_LONG without being read (the library's own limit)."""

SEPARATORS: Final = " -./()[]"
"""What may stand between the digits of a number and means nothing."""

_INVISIBLE: Final = (
    "\u00ad\u034f\u061c\u180e\u200b\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2060"
    "\u2061\u2062\u2063\u2064\u2066\u2067\u2068\u2069\ufe0e\ufe0f\ufeff"
)
"""Joiners, direction marks, variation selectors and the byte-order mark: they mean nothing."""

_ALIKE: Final = {
    " ": _INVISIBLE
    + "\t\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
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

_START: Final = re.compile(r"[+0-9]")
_PLAIN: Final = re.compile(rf"(\+?)((?:[{re.escape(SEPARATORS)}]*[0-9])+)(?:_|[^#\w])*")
"""A number without letters, and behind it what the library cuts off too: no letter, digit or #."""

_NOT_DIGITS: Final = re.compile(r"[^0-9]+")


class Parsed(NamedTuple):
    """What a text says: a whole E.164 number, or 0 and the reason why it is invalid."""

    number: int
    reason: InvalidReason


def parse(text: str, default_region: str | None = None) -> Parsed:
    """Read one phone number in any human format, such as ``8 (916) 123-45-67``.

    What stands before the number and an extension after it are left out, as the library
    ``phonenumbers`` does. ``default_region`` is the ISO 3166 code of the country whose national
    formats are understood, None or empty when there is none; SettingError when it is unknown.
    """
    region = check_region(default_region)
    if len(text) > TEXT_CHARS_MAX:
        return Parsed(0, InvalidReason.TOO_LONG)
    plain = to_ascii(text)
    start = _START.search(plain)
    if start is None:
        return Parsed(0, InvalidReason.NOT_A_NUMBER)
    match = _PLAIN.fullmatch(plain, start.start())
    if match is not None and ";phone-context=" not in plain:
        digits = _NOT_DIGITS.sub("", match[2])
        outcome = decide(digits, region, plus=bool(match[1]))
        if outcome is not None:
            return Parsed(outcome.number(digits), outcome.reason)
    return _ask_library(plain, region, plus=plain[start.start()] == "+")


def _ask_library(text: str, region: str | None, *, plus: bool) -> Parsed:
    """Read a text that is more than digits and separators: letters, an extension, parameters."""
    phonenumbers = library()
    failures, checks = phonenumbers.NumberParseException, phonenumbers.ValidationResult
    try:
        found = phonenumbers.parse(text, region)
    except failures as failure:
        if failure.error_type != failures.INVALID_COUNTRY_CODE:
            reasons = {
                failures.TOO_SHORT_AFTER_IDD: InvalidReason.TOO_SHORT,
                failures.TOO_SHORT_NSN: InvalidReason.TOO_SHORT,
                failures.TOO_LONG: InvalidReason.TOO_LONG,
            }
            return Parsed(0, reasons.get(failure.error_type, InvalidReason.NOT_A_NUMBER))
        is_national = region is None and not plus
        reason = InvalidReason.NO_DEFAULT_REGION if is_national else InvalidReason.UNKNOWN_COUNTRY
        return Parsed(0, reason)
    reason = {
        checks.IS_POSSIBLE: InvalidReason.UNSPECIFIED,
        checks.IS_POSSIBLE_LOCAL_ONLY: InvalidReason.TOO_SHORT,
        checks.TOO_SHORT: InvalidReason.TOO_SHORT,
        checks.INVALID_COUNTRY_CODE: InvalidReason.UNKNOWN_COUNTRY,
    }.get(phonenumbers.is_possible_number_with_reason(found), InvalidReason.TOO_LONG)
    number = int(f"{found.country_code}{phonenumbers.national_significant_number(found)}")
    if reason is InvalidReason.UNSPECIFIED and number > NUMBER_MAX:
        reason = InvalidReason.TOO_LONG
    return Parsed(number if reason is InvalidReason.UNSPECIFIED else 0, reason)


class _Replacements(dict[int, str]):
    """What ``str.translate`` puts in a character's place; a decimal digit of any script too."""

    def __missing__(self, code_point: int) -> str:
        character = chr(code_point)
        return str(unicodedata.decimal(character, character))


_REPLACEMENTS: Final = _Replacements(
    {ord(other): plain for plain, others in _ALIKE.items() for other in others}
)


def to_ascii(text: str) -> str:
    """Return the text with every digit, separator and plus sign in ASCII, a space for a mark.

    Other characters stay as they are.
    """
    if text.isascii() and "\t" not in text:
        return text
    return text.translate(_REPLACEMENTS)
