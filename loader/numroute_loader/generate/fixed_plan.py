"""A synthetic fixed numbering plan: ABC codes 3xx, 4xx and 8xx.

``fixed_codes.csv`` gives per code its region (none for 80x services), city, place text, thousands
of allocated numbers and the number of ranges. Codes of large cities consist mostly of shredded
blocks: a thousand numbers in ranges of one to a few, alternating between two operators.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from numroute_loader.generate.market import read_table
from numroute_loader.generate.plan import (
    CODE_SIZE,
    Lexicon,
    PlanText,
    lay_out,
    share_out,
)
from numroute_loader.generate.randomness import (
    TABLE_SIZE,
    Stream,
    log_normal_table,
    weighted_table,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from numroute_loader.generate.market import Market

LOCAL_FIRST = 2_000_000
"""Local numbers begin with 2 to 9; those behind a service code with 1 to 9."""
SERVICE_FIRST = 1_000_000

BLOCK = 1000
"""Numbers in a shredded block."""
DENSE_RANGES = 1500
"""A code with at least this many ranges is a large city's: most of its ranges are shreds."""
SHRED_PER_CENT_DENSE = 88
SHRED_PER_CENT_SPARSE = 40
SHRED_SIZES = np.repeat(
    np.array([1, 2, 3, 4, 5, 6, 8, 10, 20, 50], np.int64), [66, 13, 6, 4, 3, 2, 2, 2, 1, 1]
)
RANGES_PER_BLOCK = BLOCK * len(SHRED_SIZES) // int(SHRED_SIZES.sum())
"""About how many shreds fill a block."""

WHOLE_SIGMA = 1.8
GAP_SIGMA = 1.5
ITEMS_PER_GAP = 4
GAP_BEFORE_SIZE = 100
"""Free numbers lie before ranges of this size or more, which no shred has."""
LARGE_RANGE = 1000
"""Of the ranges from this size on, one in ``INCUMBENT_ONE_IN`` is the incumbent's besides."""
INCUMBENT_ONE_IN = 3
SHREDDER_WEIGHT_MAX = 90
"""Shredded blocks are the work of the smaller operators: no weight counts for more there."""

SECOND_SPELLING_ONE_IN = 3
LOCAL_SUFFIXES = ("телеком", "связь", "-Онлайн", "-Инфо", " Нет", "-Линк")
LOCAL_WEIGHT = 18
SERVICE_PLACES = (
    "Российская Федерация",
    "Российская Федерация",
    "Российская Федерация, кроме Чеченской Республики",
    "Уральский федеральный округ * Приволжский федеральный округ",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Code:
    first: int
    area: str
    city: str
    place: str
    territory: str
    allocated: int
    ranges: int

    @property
    def is_service(self) -> bool:
        return not self.area


@dataclass(frozen=True, slots=True, kw_only=True)
class _Holder:
    spellings: tuple[str, ...]
    tax_number: str
    weight: int


def synthetic_fixed_plan(market: Market, stream: Stream) -> PlanText:
    """Make the ranges of every fixed and service code, with their text."""
    holders, places = Lexicon(), Lexicon()
    parts = []
    for number, code in enumerate(_codes(market)):
        known = _holders(code, number)
        sizes, owner = _ranges(code, known, stream)
        free = CODE_SIZE - code.first % CODE_SIZE - int(sizes.sum())
        first, last = lay_out(sizes, _gaps(sizes, free, stream), start=code.first)
        second = stream.below(SECOND_SPELLING_ONE_IN, len(sizes)) == 0
        spelled = np.array(
            [
                [holders.index((h.spellings[i % len(h.spellings)], h.tax_number)) for i in (0, 1)]
                for h in known
            ]
        )
        names = SERVICE_PLACES if code.is_service else (code.place,)
        named = np.array([places.index((name, code.territory)) for name in names])
        parts.append(
            (first, last, spelled[owner, second.astype(np.int64)], stream.pick(named, len(sizes)))
        )
    first, last, holder, place = (np.concatenate(column) for column in zip(*parts, strict=True))
    return PlanText(
        first=first,
        last=last,
        holder=holder,
        holders=holders.entries,
        place=place,
        places=places.entries,
    )


def _codes(market: Market) -> list[_Code]:
    codes = []
    for row in read_table("fixed_codes"):
        region = market.regions[market.region_index(row["region"])] if row["region"] else None
        offset = LOCAL_FIRST if region else SERVICE_FIRST
        codes.append(
            _Code(
                first=int(row["code"]) * CODE_SIZE + offset,
                area=region.area if region else "",
                city=row["city"],
                place=row["place"],
                territory=region.territory if region else row["place"],
                allocated=int(row["thousands"]) * 1000,
                ranges=int(row["ranges"]),
            )
        )
    return codes


def _holders(code: _Code, number: int) -> list[_Holder]:
    """Who holds ranges of a code: the operators of its area, and some small local ones."""
    known = [
        _Holder(
            spellings=tuple(row["spellings"].split("|")),
            tax_number=row["tax_number"] or made_up_tax_number(index),
            weight=int(row["weight"]),
        )
        for index, row in enumerate(read_table("fixed_operators"))
        if not row["areas"] or code.area in row["areas"].split(",")
    ]
    local = [
        _Holder(
            spellings=(f'ООО "{code.city}{suffix}"',),
            tax_number=made_up_tax_number(1000 + number * len(LOCAL_SUFFIXES) + index),
            weight=LOCAL_WEIGHT,
        )
        for index, suffix in enumerate(LOCAL_SUFFIXES)
        if code.city
    ]
    return known + local


def made_up_tax_number(serial: int) -> str:
    """Return a tax number with a right check digit, of office 00, which does not exist."""
    digits = f"{serial:09d}"
    weights = (2, 4, 10, 3, 5, 9, 4, 6, 8)
    check = sum(int(digit) * weight for digit, weight in zip(digits, weights, strict=True))
    return f"{digits}{check % 11 % 10}"


def _ranges(
    code: _Code, holders: Sequence[_Holder], stream: Stream
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return size and holder of each range of a code in number order, int64[m] each."""
    percent = SHRED_PER_CENT_DENSE if code.ranges >= DENSE_RANGES else SHRED_PER_CENT_SPARSE
    shreds = code.ranges * percent // 100
    blocks = 0 if code.is_service else min(shreds // RANGES_PER_BLOCK, code.allocated // BLOCK // 2)
    weights = np.array([holder.weight for holder in holders], np.int64)
    table = weighted_table(weights, TABLE_SIZE)
    small_table = weighted_table(np.minimum(weights, SHREDDER_WEIGHT_MAX), TABLE_SIZE)

    whole_count = max(1, code.ranges - (shreds if blocks else 0))
    whole_sizes = _whole_sizes(code.allocated - blocks * BLOCK, whole_count, stream)
    whole_owners = stream.pick(table, whole_count)
    incumbent = int(np.argmax(weights))
    taken = (whole_sizes >= LARGE_RANGE) & (stream.below(INCUMBENT_ONE_IN, whole_count) == 0)
    whole_owners = np.where(taken, incumbent, whole_owners)

    items = [(whole_sizes[i : i + 1], whole_owners[i : i + 1]) for i in range(whole_count)]
    items += [_block(stream.pick(small_table, 2), stream) for _ in range(blocks)]
    ordered = [items[i] for i in stream.order(len(items))]
    return (
        np.concatenate([sizes for sizes, _ in ordered]),
        np.concatenate([owners for _, owners in ordered]),
    )


def _block(pair: NDArray[np.int64], stream: Stream) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Fill a block with shreds that alternate between two holders."""
    sizes = stream.pick(SHRED_SIZES, BLOCK)
    ends = np.minimum(np.cumsum(sizes), BLOCK)
    used = int(np.searchsorted(ends, BLOCK)) + 1
    sizes = np.diff(ends[:used], prepend=0)
    return sizes, pair[np.arange(used) % 2]


def _whole_sizes(numbers: int, count: int, stream: Stream) -> NDArray[np.int64]:
    sizes = share_out(numbers, stream.pick(log_normal_table(WHOLE_SIGMA), count))
    sizes = np.where(sizes >= BLOCK, sizes // 100 * 100, sizes // 10 * 10)
    return np.maximum(sizes, 1)


def _gaps(sizes: NDArray[np.int64], free: int, stream: Stream) -> NDArray[np.int64]:
    """Leave free numbers before some of the larger ranges; shreds stay contiguous."""
    gaps = np.zeros(len(sizes), np.int64)
    candidates = np.flatnonzero(sizes >= GAP_BEFORE_SIZE)
    count = len(candidates) // ITEMS_PER_GAP
    if count:
        parts = share_out(free, stream.pick(log_normal_table(GAP_SIGMA), count + 1))[:count]
        gaps[candidates[stream.order(len(candidates))[:count]]] = parts // 10 * 10
    return gaps
