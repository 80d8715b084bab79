"""Real plan files as the ground for ported numbers."""

from __future__ import annotations

import re
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
CODE_LETTERS_MAX = 20

_QUOTED = re.compile(r'["«](.+)["»]')
_LETTERS = (
    "аA бB вV гG дD еE ёE жZH зZ иI йY кK лL мM нN оO пP рR сS тT уU фF хKH цTS чCH шSH щSCH "
    "ъ ыY ь эE юYU яYA"
)
_LATIN = {pair[0]: pair[1:] for pair in _LETTERS.split()}


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
    firsts, lasts, operators, regions = [], [], [], []
    holders = _Holders(market)
    for path in paths:
        ranges = read(path).ranges
        if ranges is None:
            raise SettingError(f"{path} is not a numbering plan", hint="Give DEF or ABC files")
        first = ranges.first.astype(np.int64) - COUNTRY_BASE
        mobile = (first >= MOBILE_FIRST) & (first <= MOBILE_LAST)
        key = ranges.key[mobile]
        used = np.unique(key)
        operator_of = np.zeros(len(ranges.keys), np.int64)
        region_of = np.zeros(len(ranges.keys), np.int64)
        for index in used.tolist():
            operator_of[index] = holders.index(ranges.keys[index])
            region_of[index] = _region(ranges.keys[index], market)
        firsts.append(first[mobile])
        lasts.append(ranges.last[mobile].astype(np.int64) - COUNTRY_BASE)
        operators.append(operator_of[key])
        regions.append(region_of[key])
    first = np.concatenate(firsts) if firsts else np.zeros(0, np.int64)
    if not len(first):
        raise SettingError("the plan has no mobile range", hint="Give a DEF-9xx file as well")
    order = np.argsort(first, kind="stable")
    held = MobileRanges(
        first=first[order],
        last=np.concatenate(lasts)[order],
        operator=np.concatenate(operators)[order],
        region=np.concatenate(regions)[order],
    )
    if (held.first[1:] <= held.last[:-1]).any():
        raise SettingError("two plan files hold the same range", hint="Give one vintage only")
    return held, Market(operators=(*market.operators, *holders.unknown), regions=market.regions)


class _Holders:
    """Finds the operator of a range, and makes one where the market has none."""

    def __init__(self, market: Market) -> None:
        self._known = len(market.operators)
        self._codes = {operator.code for operator in market.operators}
        self._index: dict[str, int] = {}
        for index, operator in enumerate(market.operators):
            for identity in (operator.code, operator.tax_number, *operator.spellings):
                if identity:
                    self._index.setdefault(identity.casefold(), index)
        self.unknown: list[Operator] = []

    def index(self, key: RouteKey) -> int:
        identities = [
            identity.casefold()
            for identity in (key.operator_code, key.tax_number, key.operator_name)
            if identity
        ]
        found = next((self._index[i] for i in identities if i in self._index), None)
        if found is None:
            found = self._known + len(self.unknown)
            self.unknown.append(self._made_up(key))
        for identity in identities:
            self._index.setdefault(identity, found)
        return found

    def _made_up(self, key: RouteKey) -> Operator:
        code = key.operator_code or self._free_code(key.operator_name)
        self._codes.add(code)
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

    def _free_code(self, name: str) -> str:
        """Spell a name in Latin letters, as the registry's codes do."""
        quoted = _QUOTED.search(name)
        text = quoted[1] if quoted else name
        letters = "".join(_LATIN.get(letter, letter.upper()) for letter in text.lower())
        stem = "m" + re.sub(r"[^A-Z0-9]", "", letters)[:CODE_LETTERS_MAX]
        code, serial = stem, 1
        while code in self._codes or code == "m":
            serial += 1
            code = f"{stem}{serial}"
        return code


def _region(key: RouteKey, market: Market) -> int:
    codes = [region.code for region in market.regions]
    if key.region_code in codes:
        return codes.index(key.region_code)
    found = market.region_named(key.region_name)
    return codes.index(REGION_UNKNOWN) if found is None else found
