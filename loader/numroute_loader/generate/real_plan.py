"""Real plan files as the ground for ported numbers."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

import numpy as np

from numroute.errors import SettingError
from numroute_loader.generate.market import Market, Operator, load_market
from numroute_loader.generate.plan import CODE_SIZE, MobileRanges
from numroute_loader.registries import read

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numroute_loader.records import RouteKey

_COUNTRY_BASE = 70_000_000_000
_MOBILE_FIRST = 900 * CODE_SIZE

_REGION_UNKNOWN = "77"
"""Region code of ranges that name no region, or the whole country."""
_GAIN_UNKNOWN, _LOSS_UNKNOWN, _SINCE_UNKNOWN = 2, 50, 2013


def read_real_plan(paths: Sequence[Path], market: Market) -> tuple[MobileRanges, Market]:
    """Return the mobile ranges of plan files, and the market with the holders that it lacked.

    Files may be of any vintage; other ranges are passed over, because only mobile numbers are
    ported. Raises InputError when a file cannot be read as a plan, SettingError when there is no
    mobile range in the files, or a number is in two of them.
    """
    rows: list[tuple[int, int, int, int]] = []
    holders = _Holders(market)
    for path in paths:
        ranges = read(path).ranges
        if ranges is None:
            raise SettingError(f"{path} is not a numbering plan", hint="Give DEF or ABC files")
        first, last = (
            each.astype(np.int64) - _COUNTRY_BASE for each in (ranges.first, ranges.last)
        )
        mobile = first >= _MOBILE_FIRST
        where = {
            index: (holders.index(ranges.keys[index]), _region(ranges.keys[index], market))
            for index in np.unique(ranges.key[mobile]).tolist()
        }
        columns = (column[mobile].tolist() for column in (first, last, ranges.key))
        rows += [(begin, end, *where[key]) for begin, end, key in zip(*columns, strict=True)]
    if not rows:
        raise SettingError("the plan has no mobile range", hint="Give a DEF-9xx file as well")
    first, last, operator, region = np.array(sorted(rows), np.int64).T
    if (first[1:] <= last[:-1]).any():
        raise SettingError("two plan files hold the same range", hint="Give one vintage only")
    held = MobileRanges(first=first, last=last, operator=operator, region=region)
    return held, Market(operators=tuple(holders.operators), regions=market.regions)


class _Holders:
    """Finds the operator of a range, and makes one where the market has none."""

    def __init__(self, market: Market) -> None:
        self.operators = list(market.operators)
        self._index: dict[str, int] = {}
        for index, operator in enumerate(market.operators):
            self._remember((operator.code, operator.tax_number, *operator.spellings), index)

    def index(self, key: RouteKey) -> int:
        identities = (key.operator_code, key.tax_number, key.operator_name)
        known = (self._index.get(identity.casefold()) for identity in identities if identity)
        match = next((index for index in known if index is not None), len(self.operators))
        if match == len(self.operators):
            new = match - len(load_market().operators) + 1
            self.operators.append(_made_up(key, key.operator_code or f"mNEW{new}"))
        self._remember(identities, match)
        return match

    def _remember(self, identities: Sequence[str], index: int) -> None:
        for identity in filter(None, identities):
            self._index.setdefault(identity.casefold(), index)


def _made_up(key: RouteKey, code: str) -> Operator:
    return Operator(
        code=code,
        tax_number=key.tax_number,
        mncs=(key.registry_mnc or f"{zlib.crc32(code.encode()) % 100:02d}",),
        name=key.operator_name or code,
        spellings=(key.operator_name,),
        gain=_GAIN_UNKNOWN,
        loss=_LOSS_UNKNOWN,
        since=_SINCE_UNKNOWN,
    )


def _region(key: RouteKey, market: Market) -> int:
    codes = [region.code for region in market.regions]
    if key.region_code in codes:
        return codes.index(key.region_code)
    match = market.region_named(key.region_name)
    return codes.index(_REGION_UNKNOWN) if match is None else match
