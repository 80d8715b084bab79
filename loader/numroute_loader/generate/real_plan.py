"""Real plan files as the ground for ported numbers."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

import numpy as np

from numroute.errors import SettingError
from numroute_loader.generate.market import Market, Operator
from numroute_loader.generate.plan import CODE_SIZE, MobileRanges
from numroute_loader.registries import read

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numroute_loader.records import RouteKey

COUNTRY_BASE = 70_000_000_000
MOBILE_FIRST = 900 * CODE_SIZE
MOBILE_LAST = 1000 * CODE_SIZE - 1

REGION_UNKNOWN = "77"
"""Region code of ranges that name no region, or the whole country."""
GAIN_UNKNOWN = 2
LOSS_UNKNOWN = 50
SINCE_UNKNOWN = 2013


def read_real_plan(paths: Sequence[Path], market: Market) -> tuple[MobileRanges, Market]:
    """Read plan files and keep their mobile ranges.

    Args:
        paths: Plan files of any vintage; ranges other than 9xx are passed over, because only
            mobile numbers are ported.
        market: The known operators and regions.

    Returns:
        The ranges, and the market with the holders that it did not know.

    Raises:
        InputError: A file is not a plan.
        SettingError: There is no mobile range in the files, or a number is in two of them.
    """
    rows: list[tuple[int, int, int, int]] = []
    holders = _Holders(market)
    for path in paths:
        ranges = read(path).ranges
        if ranges is None:
            raise SettingError(f"{path} is not a numbering plan", hint="Give DEF or ABC files")
        first = ranges.first.astype(np.int64) - COUNTRY_BASE
        mobile = (first >= MOBILE_FIRST) & (first <= MOBILE_LAST)
        last, key = ranges.last[mobile].astype(np.int64) - COUNTRY_BASE, ranges.key[mobile]
        where = {
            index: (holders.index(ranges.keys[index]), _region(ranges.keys[index], market))
            for index in np.unique(key).tolist()
        }
        columns = (first[mobile].tolist(), last.tolist(), key.tolist())
        rows += [(first, last, *where[key]) for first, last, key in zip(*columns, strict=True)]
    if not rows:
        raise SettingError("the plan has no mobile range", hint="Give a DEF-9xx file as well")
    first, last, operator, region = np.array(sorted(rows), np.int64).T
    if (first[1:] <= last[:-1]).any():
        raise SettingError("two plan files hold the same range", hint="Give one vintage only")
    held = MobileRanges(first=first, last=last, operator=operator, region=region)
    return held, Market(operators=(*market.operators, *holders.unknown), regions=market.regions)


class _Holders:
    """Finds the operator of a range, and makes one where the market has none."""

    def __init__(self, market: Market) -> None:
        self._known = len(market.operators)
        self._index: dict[str, int] = {}
        for index, operator in enumerate(market.operators):
            self._remember((operator.code, operator.tax_number, *operator.spellings), index)
        self.unknown: list[Operator] = []

    def index(self, key: RouteKey) -> int:
        identities = (key.operator_code, key.tax_number, key.operator_name)
        known = (self._index.get(identity.casefold()) for identity in identities if identity)
        match = next((index for index in known if index is not None), None)
        if match is None:
            match = self._known + len(self.unknown)
            self.unknown.append(self._made_up(key))
        self._remember(identities, match)
        return match

    def _remember(self, identities: Sequence[str], index: int) -> None:
        for identity in filter(None, identities):
            self._index.setdefault(identity.casefold(), index)

    def _made_up(self, key: RouteKey) -> Operator:
        code = key.operator_code or f"mNEW{len(self.unknown) + 1}"
        return Operator(
            code=code,
            tax_number=key.tax_number,
            mncs=(key.registry_mnc or f"{zlib.crc32(code.encode()) % 100:02d}",),
            name=key.operator_name or code,
            spellings=(key.operator_name,),
            areas=frozenset(),
            gain=GAIN_UNKNOWN,
            loss=LOSS_UNKNOWN,
            since=SINCE_UNKNOWN,
            capacity=0,
        )


def _region(key: RouteKey, market: Market) -> int:
    codes = [region.code for region in market.regions]
    if key.region_code in codes:
        return codes.index(key.region_code)
    found = market.region_named(key.region_name)
    return codes.index(REGION_UNKNOWN) if found is None else found
