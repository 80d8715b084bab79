"""A synthetic numbering plan: mobile codes 9xx, and the fixed and service codes 3xx, 4xx and 8xx.

``codes.csv`` gives per code the allocated numbers in thousands, the number of ranges, how many of
these are shreds (per cent), the owner and its share of the allocated numbers (per cent), the areas
of a mobile code, and region, city and place of a fixed one. Without an owner it is the incumbent's.
Shreds are blocks of ranges of one to a few numbers that alternate between two holders.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from numroute.errors import SettingError
from numroute_loader.generate.market import Market, Operator, load_market, names, read_table
from numroute_loader.generate.randomness import (
    TABLE_SIZE,
    Stream,
    log_normal,
    share_out,
    weighted_table,
)
from numroute_loader.records import RouteKey
from numroute_loader.registries import read

CODE_SIZE = 10_000_000
"""Numbers behind one three-digit code."""
FILES = (("ABC-3xx.csv", 3), ("ABC-4xx.csv", 4), ("ABC-8xx.csv", 8), ("DEF-9xx.csv", 9))
"""The open-data files of a plan, and the leading digit of the numbers in each."""

_UNNAMED_REGION = "-"
"""What the 2026 files write for a region that only the territory column names."""
_UNNAMED_ONE_IN = 60

_LOCAL_FIRST, _SERVICE_FIRST = 2_000_000, 1_000_000
"""Local numbers begin with 2 to 9; those behind a service code with 1 to 9."""

_SIZE_SIGMA = 2.0
_LARGE, _LARGE_STEP, _STEP = 200_000, 10_000, 10
"""Large ranges are multiples of the large step, the others of the step."""
_ONE_GAP_IN = 6
"""Free numbers lie before one range of six that are not shreds."""
_SHRED_SIZES = np.repeat(
    np.array([1, 2, 3, 4, 5, 6, 8, 10, 20, 50], np.int64), [66, 13, 6, 4, 3, 2, 2, 2, 1, 1]
)
_BLOCK = 100
"""Numbers in a block of shreds."""
_EVEN_RANGES = 1000
"""From this many ranges on, owner and guests hold ranges of the same sizes."""
_LOCAL_NAMES = ("телеком", "связь", "-Онлайн", "-Инфо", " Нет", "-Линк")
_LOCAL_WEIGHT = 18

# The first column's "АВС" is Cyrillic, in the real files too.
_HEADER = "АВС/ DEF;От;До;Емкость;Оператор;Регион;Территория ГАР;ИНН"


class PlanRow(NamedTuple):
    """A row of an open-data plan file; ``first`` and ``last`` are ten-digit national numbers."""

    first: int
    last: int
    holder: str
    region: str
    territory: str
    tax_number: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MobileRanges:
    """Mobile ranges with their holders, ascending, not overlapping; all columns are int64[m].

    ``first``, ``last``: ten-digit national numbers, inclusive. ``operator``, ``region``: indexes
    into the market.
    """

    first: NDArray[np.int64]
    last: NDArray[np.int64]
    operator: NDArray[np.int64]
    region: NDArray[np.int64]

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Numbers per range."""
        return self.last - self.first + 1


class _Holder(NamedTuple):
    """A holder of ranges as the plan spells it; ``areas`` empty: it works everywhere."""

    spellings: Sequence[str]
    tax_number: str
    areas: frozenset[str]
    weight: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Code:
    """A three-digit code: who is at home there, and how it is cut into ranges."""

    first: int
    allocated: int
    ranges: int
    shreds: int
    owner: int
    owner_percent: int
    regions: Sequence[int]
    city: str
    place: str
    territory: str


def synthetic_plan(market: Market, seed: int) -> tuple[MobileRanges, list[PlanRow]]:
    """Return the mobile ranges, and the rows of all plan files, ascending."""
    mobile_holders = [
        _Holder(o.spellings, o.tax_number, o.areas, o.capacity) for o in market.operators
    ]
    fixed = _Cutter(market, _fixed_holders(), Stream(seed, "fixed plan"))
    mobile = _Cutter(market, mobile_holders, Stream(seed, "mobile plan"))
    rows: list[PlanRow] = []
    for row in read_table("codes"):
        cutter = mobile if row["owner"] else fixed
        rows += cutter.rows(_code(row, market))
    first, last, operator, region = (
        np.concatenate(column) for column in zip(*mobile.columns, strict=True)
    )
    return MobileRanges(first=first, last=last, operator=operator, region=region), rows


class _Cutter:
    """Cuts codes into ranges and gives each a holder and a region."""

    def __init__(self, market: Market, holders: Sequence[_Holder], stream: Stream) -> None:
        self._market, self._holders, self._stream = market, holders, stream
        self._sizes = log_normal(_SIZE_SIGMA, 1000)
        # For each area the holders that work there, weighted; the last row is for no area.
        self._guests = np.stack(
            [
                weighted_table([h.weight if not h.areas or area in h.areas else 0 for h in holders])
                for area in (*market.areas, "")
            ]
        )
        self._area_of = np.append(market.area_of, len(market.areas))
        self._people = np.array([region.people for region in market.regions])
        self.columns: list[tuple[NDArray[np.int64], ...]] = []

    def rows(self, code: _Code) -> list[PlanRow]:
        """Cut a code and return its rows; its columns are kept in ``columns``."""
        stream = self._stream
        sizes, block = self._cut(code)
        last = code.first + np.cumsum(sizes + self._gaps(code, block)) - 1
        first = last - sizes + 1
        region = self._regions(code, len(sizes))
        # A block of shreds lies in one region and alternates between two guests.
        shred = block >= 0
        region[shred] = region[0]
        guest = self._guests[self._area_of[region], stream.below(TABLE_SIZE, len(sizes))]
        holder = np.where(self._is_guest(code, sizes), guest, code.owner)
        pairs = stream.pick(self._guests[self._area_of[region[0]]], 2 * (int(block.max()) + 1))
        holder[shred] = pairs[2 * block[shred] + np.flatnonzero(shred) % 2]
        self.columns.append((first, last, holder, region))
        words = stream.words(len(sizes)).tolist()
        columns = (first.tolist(), last.tolist(), holder.tolist(), region.tolist())
        return [
            self._row(code, *values, word=word)
            for *values, word in zip(*columns, words, strict=True)
        ]

    def _cut(self, code: _Code) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return each range's size and its block of shreds (-1: none), in number order."""
        stream = self._stream
        per_block = _BLOCK * len(_SHRED_SIZES) // int(_SHRED_SIZES.sum())
        blocks = min(code.shreds // per_block, code.allocated // _BLOCK // 2)
        numbers = code.allocated - blocks * _BLOCK
        count = max(1, code.ranges - (code.shreds if blocks else 0))
        whole = share_out(numbers, stream.pick(self._sizes, count))
        step = np.where(whole >= _LARGE, _LARGE_STEP, _STEP)
        whole = np.maximum(whole // step * step, _STEP)
        # What rounding took or gave is the largest range's.
        whole[int(np.argmax(whole))] += numbers - int(whole.sum())
        items = [(whole[i : i + 1], -1) for i in range(count)]
        items += [(self._shreds(), i) for i in range(blocks)]
        items = [items[i] for i in stream.order(len(items))]
        sizes = np.concatenate([sizes for sizes, _ in items])
        return sizes, np.repeat([block for _, block in items], [len(sizes) for sizes, _ in items])

    def _shreds(self) -> NDArray[np.int64]:
        ends = np.minimum(np.cumsum(self._stream.pick(_SHRED_SIZES, _BLOCK)), _BLOCK)
        return np.diff(ends[: int(np.searchsorted(ends, _BLOCK)) + 1], prepend=0)

    def _gaps(self, code: _Code, block: NDArray[np.int64]) -> NDArray[np.int64]:
        """Spread the free numbers before some ranges; a part of the same size ends the code."""
        gaps = np.zeros(len(block), np.int64)
        free = CODE_SIZE - code.first % CODE_SIZE - code.allocated
        candidates = np.flatnonzero(block < 0)
        chosen = self._stream.order(len(candidates))[: len(candidates) // _ONE_GAP_IN]
        gaps[candidates[chosen]] = free // (len(chosen) + 1) // _STEP * _STEP
        return gaps

    def _regions(self, code: _Code, count: int) -> NDArray[np.int64]:
        if not code.regions:
            return np.full(count, -1)
        table = weighted_table(self._people[list(code.regions)])
        return np.array(code.regions)[self._stream.pick(table, count)]

    def _is_guest(self, code: _Code, sizes: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Choose ranges of other holders up to their share, preferably the small ones."""
        preference = self._stream.pick(self._sizes, len(sizes))
        if code.ranges < _EVEN_RANGES:
            preference *= sizes
        order = np.argsort(preference, kind="stable")
        guest = np.zeros(len(sizes), np.bool_)
        share = code.allocated * (100 - code.owner_percent) // 100
        guest[order] = np.cumsum(sizes[order]) <= share
        return guest

    def _row(
        self, code: _Code, first: int, last: int, holder: int, region: int, *, word: int
    ) -> PlanRow:
        spellings, tax_number, _, _ = self._holders[holder]
        # The usual spelling in two rows of three.
        name = spellings[word % 3 // 2 % len(spellings)].format(city=code.city)
        tax_number = tax_number or made_up_tax_number(f"{code.first}{name}")
        word >>= 8
        if code.place:
            place, territory = code.place, code.territory
        else:
            plan_names = self._market.regions[region].plan_names
            territory = self._market.regions[region].territory
            place = plan_names[word // _UNNAMED_ONE_IN % len(plan_names)]
            place = place if word % _UNNAMED_ONE_IN else _UNNAMED_REGION
        return PlanRow(first, last, name, place, territory, tax_number)


def made_up_tax_number(name: str) -> str:
    """Return a tax number of office 00, which does not exist."""
    return f"00{zlib.crc32(name.encode()) % 10**8:08d}"


def plan_file(rows: Sequence[PlanRow], leading_digit: int) -> bytes:
    """Return the plan file of all codes with this leading digit, as its publisher writes it.

    UTF-8 with BOM; lines end in LF, the last one in nothing (registries.md, 2).
    """
    lines = [_HEADER]
    for first, last, *texts in rows:
        code, low = divmod(first, CODE_SIZE)
        if code // 100 == leading_digit:
            cells = (code, f"{low:07d}", f"{last % CODE_SIZE:07d}", last - first + 1, *texts)
            lines.append(";".join(map(str, cells)))
    return "\n".join(lines).encode("utf-8-sig")


def _fixed_holders() -> list[_Holder]:
    """Return the operators of fixed networks, the incumbent first, and small ones of each city."""
    known = [
        _Holder(
            row["spellings"].split("|"), row["tax_number"], names(row["areas"]), int(row["weight"])
        )
        for row in read_table("fixed_operators")
    ]
    local = [
        _Holder([f'ООО "{{city}}{name}"'], "", frozenset(), _LOCAL_WEIGHT) for name in _LOCAL_NAMES
    ]
    # The incumbent owns every code, so it is never a guest.
    return [known[0]._replace(weight=0), *known[1:], *local]


def _code(row: Mapping[str, str], market: Market) -> _Code:
    """Return a row of ``codes.csv``: a mobile, a local or, without owner and region, a service."""
    mobile, areas = bool(row["owner"]), names(row["areas"])
    regions = [
        i
        for i, region in enumerate(market.regions)
        if region.code == row["region"] or (mobile and (not areas or region.area in areas))
    ]
    begin = 0 if mobile else _LOCAL_FIRST if regions else _SERVICE_FIRST
    codes = [operator.code for operator in market.operators]
    return _Code(
        first=int(row["code"]) * CODE_SIZE + begin,
        allocated=int(row["thousands"]) * 1000,
        ranges=int(row["ranges"]),
        shreds=int(row["ranges"]) * int(row["shreds"]) // 100,
        owner=codes.index(row["owner"]) if mobile else 0,
        owner_percent=int(row["share"]),
        regions=regions,
        city=row["city"] or row["place"],
        place=row["place"],
        territory=market.regions[regions[0]].territory if regions else row["place"],
    )


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
    """Return the region that a plan names by code or by its usual name."""
    codes = [region.code for region in market.regions]
    name = key.region_name.rpartition("|")[2]
    known = (
        index
        for index, region in enumerate(market.regions)
        if key.region_code == region.code or name in (region.territory, *region.plan_names)
    )
    return next(known, codes.index(_REGION_UNKNOWN))
