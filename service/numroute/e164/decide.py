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
import re
from dataclasses import dataclass
from typing import Final, NamedTuple

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

_TRANSFORM: Final = re.compile(r"(\d*)\\(\d)")
"""How the metadata writes what replaces a trunk prefix."""

KNOWN_DIGITS_MAX: Final = 5
"""How many leading digits a class of numbers shares, at most."""

_WHOLE_DIGITS_MIN: Final = 11
"""The fewest digits that are read as a whole number without ``+`` and without a default region."""

_NATIONAL_DIGITS_MIN: Final = 4
"""No country has shorter national numbers."""

_COUNTRY_CODE_DIGITS_MAX: Final = 3
_DIALLED_DIGITS_MIN: Final = 3
"""Fewer digits after ``+`` or an international prefix are no number at all."""

_CLASSES_KEPT: Final = 1 << 17


class Outcome(NamedTuple):
    """A decision: the number is ``base`` and the text's digits modulo ``modulus``; 0 if invalid."""

    reason: InvalidReason
    base: int = 0
    modulus: int = 1

    def number(self, digits: str) -> int:
        """Return the whole number of a text's digits; 0 when it is invalid."""
        return self.base + int("0" + digits) % self.modulus


_TOO_SHORT: Final = Outcome(InvalidReason.TOO_SHORT)
_TOO_LONG: Final = Outcome(InvalidReason.TOO_LONG)
_UNKNOWN_COUNTRY: Final = Outcome(InvalidReason.UNKNOWN_COUNTRY)
_NO_DEFAULT_REGION: Final = Outcome(InvalidReason.NO_DEFAULT_REGION)


@functools.lru_cache(maxsize=_CLASSES_KEPT)
def decide_class(known: str, length: int, region: str | None, *, plus: bool) -> Outcome | None:
    """Decide for every number of ``length`` digits that starts with ``known``.

    ``region`` must be one that ``check_region`` returned. None when the known digits do not decide.
    """
    if length > DIGITS_MAX:
        return _TOO_LONG
    digits = _Digits(known, length, length)
    try:
        if region is not None:
            return _decide_in_region(digits, region_plan(region), plus=plus)
        return _decide_international(digits) if plus else _decide_whole(digits)
    except UnsettledError:
        return None


def decide(digits: str, region: str | None, *, plus: bool) -> Outcome | None:
    """Decide for one number, all of whose digits are known.

    None only when the metadata holds something that this package does not understand.
    """
    outcome = decide_class(digits[:KNOWN_DIGITS_MAX], len(digits), region, plus=plus)
    if outcome is not None:
        return outcome
    return decide_class.__wrapped__(digits, len(digits), region, plus=plus)


@dataclass(frozen=True, slots=True)
class _Digits:
    """A class of digit runs: the leading digits that are known and the length of the whole.

    The last ``kept`` digits are the last ones of the text; those before were put there by a
    transformation, and are always known.
    """

    known: str
    length: int
    kept: int

    def drop(self, count: int) -> _Digits:
        """Take digits off the front."""
        length = self.length - count
        return _Digits(self.known[count:], length, min(self.kept, length))

    def replace(self, count: int, literal: str) -> _Digits:
        """Put a literal in the place of the first digits."""
        rest = self.drop(count)
        return _Digits(literal + rest.known, len(literal) + rest.length, rest.kept)

    def starts_with(self, literal: str) -> bool:
        """Return whether the run starts with these digits."""
        if self.length < len(literal) or not literal.startswith(self.known[: len(literal)]):
            return False
        if len(self.known) < len(literal):
            raise UnsettledError
        return True

    def fits(self, plan: Plan) -> bool:
        """Return whether the run looks like a national number of a plan."""
        return plan.general.fullmatch(self.known, self.length)

    def after(self, country_code: str) -> Outcome:
        """Return the decision that the run is a valid number behind a country code."""
        modulus = 10**self.kept
        prefix = int(country_code + self.known[: self.length - self.kept])
        return Outcome(InvalidReason.UNSPECIFIED, prefix * modulus, modulus)


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
        return _decide_national(national, country_plan(plan.country_code))
    return _UNKNOWN_COUNTRY if plus else _decide_national(digits, plan)


def _decide_international(digits: _Digits) -> Outcome:
    """Decide for digits that start with a country code."""
    if digits.length < _DIALLED_DIGITS_MIN:
        return _TOO_SHORT
    code = _country_code(digits)
    if code is None:
        return _UNKNOWN_COUNTRY
    return _decide_national(digits.drop(len(code)), country_plan(code))


def _decide_national(digits: _Digits, dialled_by: Plan) -> Outcome:
    """Decide for a national number, trunk prefix and all, as it is dialled by a plan's rules.

    Kazakhstan's number is dialled by its own rules and judged by those of its country code.
    """
    country = country_plan(dialled_by.country_code)
    stripped, lengths = _strip_trunk(digits, dialled_by), dialled_by.lengths
    # Where the rest would be too short it was no trunk prefix; what is longer than everything is
    # too long with or without it.
    is_trunk = stripped.length not in dialled_by.local_lengths and (
        stripped.length in lengths or stripped.length > max(lengths)
    )
    number = stripped if is_trunk else digits
    if number.length not in country.lengths:
        # Between two possible lengths it is more than the shorter number takes.
        is_short = number.length in country.local_lengths or number.length < min(country.lengths)
        return _TOO_SHORT if is_short else _TOO_LONG
    if len(country.country_code) + number.length > E164_DIGITS_MAX:
        return _TOO_LONG
    return number.after(country.country_code)


def _decide_whole(digits: _Digits) -> Outcome:
    """Decide for digits without ``+`` where no region is given: see the module's docstring."""
    if digits.length < _NATIONAL_DIGITS_MIN:
        return _TOO_SHORT
    if digits.length > E164_DIGITS_MAX:
        return _TOO_LONG
    code = _country_code(digits) if digits.length >= _WHOLE_DIGITS_MIN else None
    if code is None:
        return _NO_DEFAULT_REGION
    national, country = digits.drop(len(code)), country_plan(code)
    if national.length not in country.lengths or not national.fits(country):
        return _NO_DEFAULT_REGION
    for other in misleading_trunk_plans():
        trunk = other.trunk_digits
        if digits.starts_with(trunk) and digits.drop(len(trunk)).fits(other):
            return _NO_DEFAULT_REGION
    return national.after(code)


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
    match = plan.international.match(digits.known, digits.length)
    if not match or not match.end():
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
    return national if not digits.fits(plan) and national.fits(plan) else None


def _strip_trunk(digits: _Digits, plan: Plan) -> _Digits:
    """Take off a trunk prefix, unless that would spoil what is a number of the plan."""
    match = plan.trunk.match(digits.known, digits.length)
    if not match or not digits.length:
        return digits
    if not plan.trunk_transform or match.group(match.re.groups) is None:
        stripped = digits.drop(match.end())
    else:
        rule = _TRANSFORM.fullmatch(plan.trunk_transform)
        if rule is None:
            raise UnsettledError
        start, end = match.span(int(rule[2]))
        if end == match.end():
            stripped = digits.replace(start, rule[1])
        elif end <= len(digits.known):
            # Argentina's 15 between the area code and the rest goes; the area code stays.
            stripped = digits.replace(match.end(), rule[1] + digits.known[start:end])
        else:
            raise UnsettledError
    if stripped != digits and not stripped.fits(plan) and digits.fits(plan):
        return digits
    return stripped
