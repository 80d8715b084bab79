r"""What the library's metadata says about a country's and a region's way of dialling.

Nothing here is written by hand for a country: every rule is derived from ``phonenumbers`` when it
is first needed, and kept.

The metadata describes prefixes and national numbers by small regular expressions over digits:
literals, ``[...]``, ``\d``, groups, ``|``, ``?``, ``{m}``, ``{m,n}`` and a final ``$``. Such an
expression matches finitely many shapes, and a shape is one set of allowed digits per position.
Written out as shapes, a pattern is matched at once against all numbers of one length that share
their leading digits: either all match, or none does, or more digits are needed.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Container
from dataclasses import dataclass
from typing import Any, Final

from numroute.errors import SettingError
from numroute.model import mask_number

_REGION_CHARS_SHOWN: Final = 12

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
        rests = self._rests(known, {length})
        if rests and not any(all(digits == _ANY for digits in rest) for rest in rests):
            raise UnsettledError
        return bool(rests)

    def match(self, known: str, length: int) -> re.Match[str] | None:
        """Match the expression at the number's start; unknown digits read as zeros.

        The spans of the match hold for every number of the class.
        """
        if len(known) < length:
            # A shape that the known digits exclude cannot match, whatever the others are; one that
            # asks nothing of the unknown digits matches all or none.
            rests = self._rests(known, range(length + 1))
            if not rests:
                return None
            if any(digits != _ANY for rest in rests for digits in rest):
                raise UnsettledError
        return self._regex.match(known.ljust(length, "0"))

    def _rests(self, known: str, lengths: Container[int]) -> list[_Shape]:
        """Return what the shapes that agree with the known digits ask of the others."""
        if self._shapes is None:
            raise UnsettledError
        return [
            shape[len(known) :]
            for shape in self._shapes
            if len(shape) in lengths
            and all(digits >> int(digit) & 1 for digits, digit in zip(shape, known, strict=False))
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    r"""The dialling rules of one region or of one country code.

    ``country_code``: the digits, without ``+``.
    ``lengths``: possible lengths of a national significant number.
    ``local_lengths``: lengths of a subscriber number that is dialled within its area.
    ``general``: what every national significant number of the region matches.
    ``trunk``: what is dialled before a national number (``8``, ``0``, a carrier's code), if any.
    ``trunk_transform``: what replaces a matched trunk prefix that captured a group, ``9\1``: some
    digits and the group whose start the number continues from; may be empty.
    ``trunk_digits``: the ordinary trunk prefix as written in a phone book; may be empty.
    ``international``: what is dialled before a country code, if anything is.
    """

    country_code: str
    lengths: frozenset[int]
    local_lengths: frozenset[int]
    general: DigitPattern
    trunk: DigitPattern
    trunk_transform: str
    trunk_digits: str
    international: DigitPattern


@functools.cache
def library() -> Any:  # noqa: ANN401 - a module
    """Import the library: its 60 ms are spared where nothing is ever parsed."""
    import phonenumbers  # noqa: PLC0415 - that is the purpose

    return phonenumbers


def check_region(region: str | None) -> str | None:
    """Return a region in the library's spelling (``RU``), None for None and for an empty text.

    Raises SettingError when the library knows no such region.
    """
    if not region:
        return None
    upper = region.upper()
    if upper in library().SUPPORTED_REGIONS:
        return upper
    # A caller may have put a number where the region belongs.
    shown = (region if region.isalpha() else mask_number(region))[:_REGION_CHARS_SHOWN]
    raise SettingError(
        f"default region {shown!r} is unknown",
        hint="Give the two letters of ISO 3166, such as RU",
    )


@functools.cache
def region_plan(region: str) -> Plan:
    """Return the rules of a region."""
    return _plan(library().PhoneMetadata.metadata_for_region(region, None))


@functools.cache
def country_plan(country_code: str) -> Plan:
    """Return the rules of a country code: those of its main region."""
    code = int(country_code)
    region = library().region_code_for_country_code(code)
    return _plan(library().PhoneMetadata.metadata_for_region_or_calling_code(code, region))


@functools.cache
def country_codes() -> frozenset[str]:
    """Return every country code that is assigned, as digits."""
    return frozenset(map(str, library().COUNTRY_CODE_TO_REGION_CODE))


@functools.cache
def misleading_trunk_plans() -> tuple[Plan, ...]:
    """Return the plans whose national format can look like another country's whole number.

    A trunk prefix that starts with 0 cannot (no country code does), nor can one that is the
    country code itself (``1`` in North America): both readings give the same number.
    """
    plans = map(region_plan, sorted(library().SUPPORTED_REGIONS))
    return tuple(
        plan
        for plan in plans
        if plan.trunk_digits
        and not plan.trunk_digits.startswith("0")
        and plan.trunk_digits != plan.country_code
    )


def _plan(metadata: Any) -> Plan:  # noqa: ANN401 - the library is not imported yet
    """Take from the library's record what deciding needs."""
    general = metadata.general_desc
    return Plan(
        country_code=str(metadata.country_code),
        lengths=frozenset(general.possible_length),
        local_lengths=frozenset(general.possible_length_local_only),
        general=DigitPattern(general.national_number_pattern or ""),
        trunk=DigitPattern(metadata.national_prefix_for_parsing or ""),
        trunk_transform=metadata.national_prefix_transform_rule or "",
        trunk_digits=metadata.national_prefix or "",
        international=DigitPattern(metadata.international_prefix or ""),
    )


def expand(source: str) -> tuple[_Shape, ...] | None:
    """Return every shape that an expression matches, or None for what is not understood."""
    tokens = _TOKEN.findall(source)
    if "".join(tokens) != source:
        return None
    # Of each open bracket: its alternatives that have ended, the one being read, its last item.
    groups: list[tuple[list[_Shape], list[_Shape], list[_Shape]]] = [([], [()], [()])]
    try:
        for token in tokens:
            ended, before, item = groups.pop()
            if token[0] in "?{":
                # ``?``, ``{m}`` or ``{m,n}``
                bounds = re.findall(r"\d+", token) or [0, 1]
                groups.append((ended, before, _repeated(item, int(bounds[0]), int(bounds[-1]))))
                continue
            before = _joined(before, item)
            if token == "|":  # noqa: S105 - no password, here and below
                groups.append((ended + before, [()], [()]))
            elif token[0] == "(":
                groups += [(ended, before, []), ([], [()], [()])]
            elif token == ")":  # noqa: S105
                groups.append((*groups.pop()[:2], ended + before))
            else:
                last = () if token == "$" else (_digits(token),)  # noqa: S105
                groups.append((ended, before, [last]))
        ((ended, before, item),) = groups
        return tuple(dict.fromkeys(ended + _joined(before, item)))
    except (IndexError, UnsettledError, ValueError):
        return None  # a bracket too many, too many shapes, or a bracket too few


def _digits(token: str) -> int:
    r"""Return the set of digits that one digit, ``\d`` or ``[...]`` matches."""
    return sum(1 << digit for digit in range(10) if re.match(token, str(digit)))


def _repeated(item: list[_Shape], low: int, high: int) -> list[_Shape]:
    """Return the shapes of an item that stands there from ``low`` to ``high`` times."""
    repeated: list[_Shape] = [()]
    choices = [*repeated] if low == 0 else []
    for count in range(1, high + 1):
        repeated = _joined(repeated, item)
        if count >= low:
            choices += repeated
    return choices


def _joined(heads: list[_Shape], tails: list[_Shape]) -> list[_Shape]:
    """Return every head followed by every tail."""
    if len(heads) * len(tails) > _SHAPES_MAX:
        raise UnsettledError
    return list(dict.fromkeys(head + tail for head in heads for tail in tails))
