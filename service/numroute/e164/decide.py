"""What a run of digits means: which country, which digits are prefix, and whether it is possible.

The decision follows the parser of the library ``phonenumbers``, step by step, but is made for a
whole class at once: all numbers of one length that share their leading digits. One decision serves
thousands of rows of a column, and for most lists a few dozen decisions serve the whole list.

Without a default region, digits without ``+`` are read as a whole number only when

- they are 11 to 15: ten digits or fewer are how most countries write a national number, and
  ``9161234567`` would silently become an Indian number;
- they start with an assigned country code, and the rest looks like a number of that country (its
  general pattern, which is stricter than its possible lengths);
- no country whose trunk prefix is not a zero would read them as its national format:
  ``8 495 123-45-67`` would silently become a Vietnamese number.

Everything else is NO_DEFAULT_REGION. A bare national number of eleven digits (China, Brazil) is
still read as a whole number: nothing distinguishes the two, so these lists need a default region.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Final, NamedTuple, Self

from numroute.e164.metadata import (
    Plan,
    UnsettledError,
    country_codes,
    country_plan,
    misleading_trunk_plans,
    region_plan,
)
from numroute.model import E164_DIGITS_MAX, InvalidReason

DIGITS_MAX: Final = 24
"""More digits than this are TOO_LONG: 15 and every prefix that is dialled."""

KNOWN_DIGITS_MAX: Final = 5
"""How many leading digits a class of numbers shares, at most."""

_WHOLE_DIGITS_MIN: Final = 11
"""The fewest digits that are read as a whole number without ``+`` and without a default region."""

_NATIONAL_DIGITS_MIN: Final = 4
"""No country has shorter national numbers."""

_COUNTRY_CODE_DIGITS_MAX: Final = 3
_DIALLED_DIGITS_MIN: Final = 3
"""Fewer digits after ``+`` or an international prefix are no number at all."""

_PREFIXED_DIGITS_MAX: Final = 17
"""The library's limit for a national number, before it looks at the country."""

_CLASSES_KEPT: Final = 1 << 17


class Outcome(NamedTuple):
    """A decision. The number is ``prefix`` and the last ``kept`` digits of the text.

    ``prefix`` and ``kept`` mean nothing unless ``reason`` is UNSPECIFIED.
    """

    reason: InvalidReason
    prefix: str = ""
    kept: int = 0

    def number(self, digits: str) -> int:
        """Return the whole number of a text's digits; 0 when it is invalid."""
        if self.reason is not InvalidReason.UNSPECIFIED:
            return 0
        return int(self.prefix + digits[len(digits) - self.kept :])


_TOO_SHORT: Final = Outcome(InvalidReason.TOO_SHORT)
_TOO_LONG: Final = Outcome(InvalidReason.TOO_LONG)
_UNKNOWN_COUNTRY: Final = Outcome(InvalidReason.UNKNOWN_COUNTRY)
_NO_DEFAULT_REGION: Final = Outcome(InvalidReason.NO_DEFAULT_REGION)


@functools.lru_cache(maxsize=_CLASSES_KEPT)
def decide_class(known: str, length: int, region: str | None, *, plus: bool) -> Outcome | None:
    """Decide for every number of ``length`` digits that starts with ``known``.

    ``region`` must be one that ``check_region`` returned. None when the known digits do not decide.
    """
    try:
        return _decide(_Digits(known, length, length), region, plus=plus)
    except UnsettledError:
        return None


def decide(digits: str, region: str | None, *, plus: bool) -> Outcome | None:
    """Decide for one number, all of whose digits are known.

    None only when the metadata holds something that this package does not understand.
    """
    if len(digits) > DIGITS_MAX:
        return _TOO_LONG
    outcome = decide_class(digits[:KNOWN_DIGITS_MAX], len(digits), region, plus=plus)
    if outcome is not None or len(digits) <= KNOWN_DIGITS_MAX:
        return outcome
    try:
        return _decide(_Digits(digits, len(digits), len(digits)), region, plus=plus)
    except UnsettledError:
        return None


@dataclass(frozen=True, slots=True)
class _Digits:
    """A class of digit runs: the leading digits that are known and the length of the whole.

    The last ``kept`` digits are the last ones of the text; those before were put there by a
    transformation, and are always known.
    """

    known: str
    length: int
    kept: int

    def drop(self, count: int) -> Self:
        """Take digits off the front."""
        length = self.length - count
        return type(self)(self.known[count:], length, min(self.kept, length))

    def replace(self, count: int, literal: str) -> Self:
        """Put a literal in the place of the first digits."""
        rest = self.drop(count)
        return type(self)(literal + rest.known, len(literal) + rest.length, rest.kept)

    def starts_with(self, literal: str) -> bool:
        """Return whether the run starts with these digits."""
        if self.length < len(literal) or not literal.startswith(self.known[: len(literal)]):
            return False
        if len(self.known) < len(literal):
            raise UnsettledError
        return True

    def literal(self) -> str:
        """Return the digits that are not the text's own."""
        return self.known[: self.length - self.kept]


def _decide(digits: _Digits, region: str | None, *, plus: bool) -> Outcome:
    if digits.length > DIGITS_MAX:
        return _TOO_LONG
    if region is not None:
        return _decide_in_region(digits, _understood(region_plan(region)), plus=plus)
    return _decide_international(digits) if plus else _decide_whole(digits)


def _decide_in_region(digits: _Digits, plan: Plan, *, plus: bool) -> Outcome:
    """Decide for digits that are dialled in a region.

    A ``+`` that no country code follows counts as a slip of the pen when what follows is
    international without it.
    """
    if plus:
        outcome = _decide_international(digits)
        if outcome.reason is not InvalidReason.UNKNOWN_COUNTRY:
            return outcome
    dialled = _strip_international_prefix(digits, plan)
    if dialled is not None:
        return _decide_international(dialled)
    national = _strip_own_country_code(digits, plan)
    if national is not None:
        return _decide_national(national, plan.country_code)
    if plus:
        return _UNKNOWN_COUNTRY
    return _decide_national(digits, plan.country_code, plan)


def _decide_international(digits: _Digits) -> Outcome:
    """Decide for digits that start with a country code."""
    if digits.length < _DIALLED_DIGITS_MIN:
        return _TOO_SHORT
    code = _country_code(digits)
    if code is None:
        return _UNKNOWN_COUNTRY
    return _decide_national(digits.drop(len(code)), code)


def _decide_national(digits: _Digits, country_code: str, plan: Plan | None = None) -> Outcome:
    """Decide for a national number, trunk prefix and all, as it is dialled by a plan's rules.

    They are the country's own unless a region is given: Kazakhstan's number is dialled by its own
    rules and judged by those of its country code's main region.
    """
    country = _understood(country_plan(country_code))
    dialled_by = plan or country
    stripped = _strip_trunk(digits, dialled_by)
    number = stripped if dialled_by.may_lose_trunk(stripped.length) else digits
    if number.length > _PREFIXED_DIGITS_MAX:
        return _TOO_LONG
    reason = country.judge_length(number.length)
    if reason is not InvalidReason.UNSPECIFIED:
        return Outcome(reason)
    if len(country_code) + number.length > E164_DIGITS_MAX:
        return _TOO_LONG
    return Outcome(reason, country_code + number.literal(), number.kept)


def _decide_whole(digits: _Digits) -> Outcome:
    """Decide for digits without ``+`` where no region is given: see the module's docstring."""
    if digits.length < _NATIONAL_DIGITS_MIN:
        return _TOO_SHORT
    if digits.length > E164_DIGITS_MAX:
        return _TOO_LONG
    code = _country_code(digits) if digits.length >= _WHOLE_DIGITS_MIN else None
    if code is None:
        return _NO_DEFAULT_REGION
    national = digits.drop(len(code))
    country = _understood(country_plan(code))
    possible = country.judge_length(national.length) is InvalidReason.UNSPECIFIED
    if not (possible and country.general.fullmatch(national.known, national.length)):
        return _NO_DEFAULT_REGION
    for other in misleading_trunk_plans():
        if digits.starts_with(other.trunk_digits):
            rest = digits.drop(len(other.trunk_digits))
            if other.general.fullmatch(rest.known, rest.length):
                return _NO_DEFAULT_REGION
    return Outcome(InvalidReason.UNSPECIFIED, code, national.kept)


def _understood(plan: Plan | None) -> Plan:
    if plan is None:
        raise UnsettledError
    return plan


def _country_code(digits: _Digits) -> str | None:
    """Return the assigned country code that the digits start with. No code starts another."""
    for count in range(1, min(_COUNTRY_CODE_DIGITS_MAX, digits.length) + 1):
        if len(digits.known) < count:
            raise UnsettledError
        if digits.known[:count] in country_codes():
            return digits.known[:count]
    return None


def _strip_international_prefix(digits: _Digits, plan: Plan) -> _Digits | None:
    """Return what follows the region's international prefix; None when there is none.

    A zero after it shows that it was not one: no country code starts with a zero.
    """
    if plan.international is None:
        return None
    match = plan.international.match(digits.known, digits.length)
    if match is None:
        return None
    rest = digits.drop(match.end())
    return None if rest.starts_with("0") else rest


def _strip_own_country_code(digits: _Digits, plan: Plan) -> _Digits | None:
    """Return the national number when the digits start with the region's own country code.

    They do when they would be no number of the region as they stand, or would be too long.
    """
    if not digits.starts_with(plan.country_code):
        return None
    national = _strip_trunk(digits.drop(len(plan.country_code)), plan)
    if digits.length not in plan.local_lengths and digits.length > max(plan.lengths):
        return national
    as_they_stand = plan.general.fullmatch(digits.known, digits.length)
    if not as_they_stand and plan.general.fullmatch(national.known, national.length):
        return national
    return None


def _strip_trunk(digits: _Digits, plan: Plan) -> _Digits:
    """Take off a trunk prefix, unless that would spoil what is a number of the plan."""
    if plan.trunk is None or digits.length == 0:
        return digits
    match = plan.trunk.match(digits.known, digits.length)
    if match is None:
        return digits
    if plan.trunk_transform is None or match.group(match.re.groups) is None:
        stripped = digits.drop(match.end())
    else:
        literal, group = plan.trunk_transform
        start, end = match.span(group)
        if end == match.end():
            stripped = digits.replace(start, literal)
        elif end <= len(digits.known):
            # Argentina's 15 between the area code and the rest goes; the area code stays.
            stripped = digits.replace(match.end(), literal + digits.known[start:end])
        else:
            raise UnsettledError
    if stripped == digits:
        return digits
    if not plan.general.fullmatch(stripped.known, stripped.length) and plan.general.fullmatch(
        digits.known, digits.length
    ):
        return digits
    return stripped
