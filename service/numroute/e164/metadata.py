"""What the library's metadata says about a country's and a region's way of dialling.

Nothing here is written by hand for a country: every rule is derived from ``phonenumbers`` when it
is first needed, and kept. The library is imported here and nowhere earlier: it costs tens of
milliseconds, which a program that never parses should not pay.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from numroute.e164.patterns import DigitPattern
from numroute.errors import SettingError
from numroute.model import InvalidReason, mask_number

if TYPE_CHECKING:
    from phonenumbers import PhoneMetadata

_TRANSFORM: Final = re.compile(r"(\d*)\\(\d)")
_REGION_CHARS_SHOWN: Final = 12
_REGIONS_KEPT: Final = 1024


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
        """Say what is wrong with the length of a national significant number.

        UNSPECIFIED when nothing is. A length between two possible ones counts as too long: it is
        more than the shorter number takes.
        """
        if length in self.lengths:
            return InvalidReason.UNSPECIFIED
        if length in self.local_lengths or length < min(self.lengths):
            return InvalidReason.TOO_SHORT
        return InvalidReason.TOO_LONG

    def may_lose_trunk(self, length: int) -> bool:
        """Say whether a trunk prefix is taken off when this length would remain.

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
    # Somebody may have put a number where the region belongs.
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
