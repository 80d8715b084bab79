r"""What the library's metadata says about a country's and a region's way of dialling.

Nothing here is written by hand for a country: every rule is derived from ``phonenumbers`` when it
is first needed, and kept. The library is imported here and nowhere earlier: it costs tens of
milliseconds, which a program that never parses should not pay.

The metadata describes prefixes and national numbers by small regular expressions over digits:
literals, ``[...]``, ``\d``, groups, ``|``, ``?``, ``{m}``, ``{m,n}`` and a final ``$``. Such an
expression matches finitely many shapes, and a shape is one set of allowed digits per position.
Written out as shapes, a pattern is matched at once against all numbers of one length that share
their leading digits: either all match, or none does, or more digits are needed.
"""

from __future__ import annotations

import functools
import re
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from numroute.errors import SettingError
from numroute.model import InvalidReason, mask_number

if TYPE_CHECKING:
    from phonenumbers import PhoneMetadata

_TRANSFORM: Final = re.compile(r"(\d*)\\(\d)")
_REGION_CHARS_SHOWN: Final = 12
_REGIONS_KEPT: Final = 1024

_TOKEN: Final = re.compile(r"\(\?:|[()|$?]|\\d|\d|\[(?:\d(?:-\d)?)+\]|\{\d+(?:,\d+)?\}")
"""What the expressions are made of."""

_ANY: Final = (1 << 10) - 1
"""The set of all ten digits, one bit per digit."""

_SHAPES_MAX: Final = 20_000
"""A pattern with more shapes than this is matched against whole numbers only."""

_Shape = tuple[int, ...]


class UnsettledError(Exception):
    """The known digits do not decide the answer. Never leaves this package."""


class DigitPattern:
    """One regular expression of the metadata.

    Every query takes the leading digits that are known and the length of the whole number, and
    answers for all numbers of that length with those leading digits, or raises UnsettledError.
    """

    def __init__(self, source: str) -> None:
        """Compile the expression and write its shapes out."""
        self._regex = re.compile(source)
        self._shapes = expand(source)

    def fullmatch(self, known: str, length: int) -> bool:
        """Return whether the whole number matches the whole expression."""
        if len(known) == length:
            return self._regex.fullmatch(known) is not None
        if self._shapes is None:
            raise UnsettledError
        open_shapes = [s for s in self._shapes if len(s) == length and _admits(s, known)]
        if not open_shapes:
            return False
        if any(all(digits == _ANY for digits in s[len(known) :]) for s in open_shapes):
            return True
        raise UnsettledError

    def match(self, known: str, length: int) -> re.Match[str] | None:
        """Match the expression at the number's start; unknown digits read as zeros.

        The spans of the match hold for every number of the class.
        """
        if len(known) < length:
            if self._shapes is None:
                raise UnsettledError
            # A shape that the known digits exclude cannot match, whatever the others are; one that
            # asks nothing of the unknown digits matches all or none.
            open_shapes = [s for s in self._shapes if len(s) <= length and _admits(s, known)]
            if not open_shapes:
                return None
            if any(digits != _ANY for s in open_shapes for digits in s[len(known) :]):
                raise UnsettledError
        return self._regex.match(known.ljust(length, "0"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The dialling rules of one region or of one country code.

    ``country_code``: the digits, without ``+``.
    ``lengths``: possible lengths of a national significant number.
    ``local_lengths``: lengths of a subscriber number that is dialled within its area.
    ``general``: what every national significant number of the region matches.
    ``trunk``: what is dialled before a national number (``8``, ``0``, a carrier's code); None when
    nothing is.
    ``trunk_transform``: what replaces a matched trunk prefix that captured a group: some digits
    and the number of the group whose start the number continues from; None when nothing does.
    ``trunk_digits``: the ordinary trunk prefix as written in a phone book; may be empty.
    ``international``: what is dialled before a country code; None when nothing is.
    """

    country_code: str
    lengths: frozenset[int]
    local_lengths: frozenset[int]
    general: DigitPattern
    trunk: DigitPattern | None
    trunk_transform: tuple[str, int] | None
    trunk_digits: str
    international: DigitPattern | None

    def judge_length(self, length: int) -> InvalidReason:
        """Return what is wrong with the length of a national significant number.

        UNSPECIFIED when nothing is. A length between two possible ones counts as too long: it is
        more than the shorter number takes.
        """
        if length in self.lengths:
            return InvalidReason.UNSPECIFIED
        if length in self.local_lengths or length < min(self.lengths):
            return InvalidReason.TOO_SHORT
        return InvalidReason.TOO_LONG

    def may_lose_trunk(self, length: int) -> bool:
        """Return whether a trunk prefix is taken off when this length would remain.

        It stays on when the rest would be too short, for then it was no prefix; what is longer
        than everything is too long with or without it.
        """
        if length in self.local_lengths:
            return False
        return length in self.lengths or length > max(self.lengths)


@functools.lru_cache(maxsize=_REGIONS_KEPT)
def check_region(region: str | None) -> str | None:
    """Return a region in the library's spelling (``RU``), None for None and for an empty text.

    Raises:
        SettingError: the library knows no such region.
    """
    if not region:
        return None
    from phonenumbers import SUPPORTED_REGIONS  # noqa: PLC0415 - see the module's docstring

    upper = region.upper()
    if upper in SUPPORTED_REGIONS:
        return upper
    # A caller may have put a number where the region belongs.
    shown = region[:_REGION_CHARS_SHOWN]
    if not shown.isalpha():
        shown = mask_number(shown)
    raise SettingError(
        f"default region {shown!r} is unknown",
        hint="Give the two letters of ISO 3166, such as RU",
    )


@functools.cache
def region_plan(region: str) -> Plan | None:
    """Return the rules of a region, None when they are of a kind that is not understood here."""
    from phonenumbers import PhoneMetadata  # noqa: PLC0415 - see the module's docstring

    return _plan(PhoneMetadata.metadata_for_region(region, None))


@functools.cache
def country_plan(country_code: str) -> Plan | None:
    """Return the rules of a country code: those of its main region."""
    from phonenumbers import (  # noqa: PLC0415 - see the module's docstring
        PhoneMetadata,
        region_code_for_country_code,
    )

    code = int(country_code)
    region = region_code_for_country_code(code)
    return _plan(PhoneMetadata.metadata_for_region_or_calling_code(code, region))


@functools.cache
def country_codes() -> frozenset[str]:
    """Return every country code that is assigned, as digits."""
    from phonenumbers import COUNTRY_CODE_TO_REGION_CODE  # noqa: PLC0415 - as above

    return frozenset(map(str, COUNTRY_CODE_TO_REGION_CODE))


@functools.cache
def misleading_trunk_plans() -> tuple[Plan, ...]:
    """Return the plans whose national format can look like another country's whole number.

    A trunk prefix that starts with 0 cannot (no country code does), nor can one that is the
    country code itself (``1`` in North America): both readings give the same number.
    """
    from phonenumbers import (  # noqa: PLC0415 - see the module's docstring
        SUPPORTED_REGIONS,
        PhoneMetadata,
    )

    plans = []
    for region in sorted(SUPPORTED_REGIONS):
        metadata = PhoneMetadata.metadata_for_region(region, None)
        trunk = metadata.national_prefix if metadata is not None else None
        if metadata is None or not trunk or trunk.startswith("0"):
            continue
        plan = region_plan(region) if trunk != str(metadata.country_code) else None
        if plan is not None:
            plans.append(plan)
    return tuple(plans)


def _plan(metadata: PhoneMetadata | None) -> Plan | None:
    """Take from the library's record what deciding needs."""
    if metadata is None or metadata.general_desc is None:
        return None
    general = metadata.general_desc
    transform = None
    if metadata.national_prefix_transform_rule:
        rule = _TRANSFORM.fullmatch(metadata.national_prefix_transform_rule)
        if rule is None:
            return None
        transform = (rule[1], int(rule[2]))
    return Plan(
        country_code=str(metadata.country_code),
        lengths=frozenset(general.possible_length),
        local_lengths=frozenset(general.possible_length_local_only),
        general=DigitPattern(general.national_number_pattern or ""),
        trunk=_pattern(metadata.national_prefix_for_parsing),
        trunk_transform=transform,
        trunk_digits=metadata.national_prefix or "",
        international=_pattern(metadata.international_prefix),
    )


def _pattern(source: str | None) -> DigitPattern | None:
    return DigitPattern(source) if source else None


def _admits(shape: _Shape, known: str) -> bool:
    """Return whether a shape agrees with the known digits as far as both go."""
    return all(digits >> int(digit) & 1 for digits, digit in zip(shape, known, strict=False))


def expand(source: str) -> tuple[_Shape, ...] | None:
    """Return every shape that an expression matches, or None for what is not understood."""
    tokens = deque(_TOKEN.findall(source))
    if "".join(tokens) != source:
        return None
    try:
        shapes = _alternatives(tokens)
    except _NotUnderstoodError:
        return None
    return None if tokens else tuple(shapes)


class _NotUnderstoodError(Exception):
    """The expression uses something that the metadata did not use when this was written."""


def _alternatives(tokens: deque[str]) -> list[_Shape]:
    """Read ``a|b|c`` up to a closing bracket or the end."""
    shapes = _sequence(tokens)
    while tokens and tokens[0] == "|":
        tokens.popleft()
        shapes += _sequence(tokens)
    return list(dict.fromkeys(shapes))


def _sequence(tokens: deque[str]) -> list[_Shape]:
    """Read items one after the other, each with its repetition."""
    shapes: list[_Shape] = [()]
    while tokens and tokens[0] not in {"|", ")"}:
        item = _item(tokens)
        low = high = 1
        if tokens and tokens[0][0] in "?{":
            # ``?``, ``{m}`` or ``{m,n}``
            bounds = re.findall(r"\d+", tokens.popleft()) or [0, 1]
            low, high = int(bounds[0]), int(bounds[-1])
        repeated: list[_Shape] = [()]
        choices: list[_Shape] = [()] if low == 0 else []
        for count in range(1, high + 1):
            repeated = _joined(repeated, item)
            if count >= low:
                choices += repeated
        shapes = _joined(shapes, choices)
    return shapes


def _joined(heads: list[_Shape], tails: list[_Shape]) -> list[_Shape]:
    """Return every head followed by every tail."""
    if len(heads) * len(tails) > _SHAPES_MAX:
        raise _NotUnderstoodError
    return list(dict.fromkeys(head + tail for head in heads for tail in tails))


def _item(tokens: deque[str]) -> list[_Shape]:
    r"""Read one digit, ``\d``, ``[...]``, ``(...)`` or ``$``."""
    token = tokens.popleft()
    if token in {"(", "(?:"}:
        shapes = _alternatives(tokens)
        if not tokens:
            raise _NotUnderstoodError
        tokens.popleft()
        return shapes
    if token == "$":  # noqa: S105 - no password
        return [()]
    if token == r"\d":  # noqa: S105 - likewise
        return [(_ANY,)]
    digits = 0
    for first, last in re.findall(r"(\d)(?:-(\d))?", token):
        for digit in range(int(first), int(last or first) + 1):
            digits |= 1 << digit
    return [(digits,)]
