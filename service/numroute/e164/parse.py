"""One text in a human format to one whole number."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from numroute.e164.characters import SEPARATORS, to_ascii
from numroute.e164.decide import decide
from numroute.e164.metadata import check_region
from numroute.model import NUMBER_MAX, InvalidReason

TEXT_CHARS_MAX: Final = 250
"""A longer text is TOO_LONG without being read (the library's own limit)."""

_START: Final = re.compile(r"[+0-9]")
_SEPARATOR: Final = "[" + re.escape(SEPARATORS) + "]"
_PLAIN: Final = re.compile(rf"(\+?)((?:{_SEPARATOR}*[0-9])+)(?:_|[^#\w])*")
"""A number without letters, and behind it what the library cuts off too: no letter, digit or #."""

_NOT_DIGITS: Final = re.compile(r"[^0-9]+")
_WITH_CONTEXT: Final = ";phone-context="


@dataclass(frozen=True, slots=True)
class Parsed:
    """What a text says.

    ``number``: the whole E.164 number, without ``+``; 0 when the text is invalid.
    ``reason``: why it is invalid; UNSPECIFIED when it is valid.
    """

    number: int
    reason: InvalidReason


def parse(text: str, default_region: str | None = None) -> Parsed:
    """Read one phone number in any human format.

    Args:
        text: the number, e.g. ``8 (916) 123-45-67``, ``+7 916 1234567``, ``79161234567``. What
            stands before the number and an extension after it are left out, as the library
            ``phonenumbers`` does.
        default_region: ISO 3166 code of the country whose national formats are understood, e.g.
            ``RU``; None or empty when there is none.

    Raises:
        SettingError: the default region is unknown.
    """
    return parse_in_region(text, check_region(default_region))


def parse_in_region(text: str, region: str | None) -> Parsed:
    """Do what ``parse`` does, with a region that ``check_region`` has returned."""
    if len(text) > TEXT_CHARS_MAX:
        return Parsed(0, InvalidReason.TOO_LONG)
    plain = to_ascii(text)
    start = _START.search(plain)
    if start is None:
        return Parsed(0, InvalidReason.NOT_A_NUMBER)
    match = _PLAIN.fullmatch(plain, start.start())
    if match is not None and _WITH_CONTEXT not in plain:
        digits = _NOT_DIGITS.sub("", match[2])
        outcome = decide(digits, region, plus=bool(match[1]))
        if outcome is not None:
            return Parsed(outcome.number(digits), outcome.reason)
    return _ask_library(plain, region, plus=plain[start.start()] == "+")


def _ask_library(text: str, region: str | None, *, plus: bool) -> Parsed:
    """Read a text that is more than digits and separators: letters, an extension, parameters."""
    import phonenumbers  # noqa: PLC0415 - most lists never need it

    failures = phonenumbers.NumberParseException
    try:
        found = phonenumbers.parse(text, region)
    except failures as failure:
        if failure.error_type == failures.INVALID_COUNTRY_CODE:
            if plus or region is not None:
                return Parsed(0, InvalidReason.UNKNOWN_COUNTRY)
            return _ask_library_whole(text)
        reasons = {
            failures.TOO_SHORT_AFTER_IDD: InvalidReason.TOO_SHORT,
            failures.TOO_SHORT_NSN: InvalidReason.TOO_SHORT,
            failures.TOO_LONG: InvalidReason.TOO_LONG,
        }
        return Parsed(0, reasons.get(failure.error_type, InvalidReason.NOT_A_NUMBER))
    checks = phonenumbers.ValidationResult
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


def _ask_library_whole(text: str) -> Parsed:
    """Read a text without ``+`` where no region is given: a whole number and an extension, say.

    The library reads it with a ``+`` put before; what it finds must be what is written, and must
    hold without the ``+`` too.
    """
    start = _START.search(text)
    written = text[start.start() :] if start is not None else text
    found = _ask_library("+" + written, None, plus=True)
    digits = str(found.number)
    if found.reason is InvalidReason.UNSPECIFIED and _NOT_DIGITS.sub("", written).startswith(
        digits
    ):
        outcome = decide(digits, None, plus=False)
        if outcome is not None:
            return Parsed(outcome.number(digits), outcome.reason)
    return Parsed(0, InvalidReason.NO_DEFAULT_REGION)
