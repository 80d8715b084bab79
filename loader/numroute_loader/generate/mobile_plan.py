"""A synthetic mobile numbering plan: codes 900-999 with their home operators and guests.

``mobile_codes.csv`` gives per code the operator at home there, its share of the allocated numbers
(per cent), the allocated part of the code (per cent), the number of ranges, and the areas served.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from numroute_loader.generate.market import read_table
from numroute_loader.generate.plan import (
    CODE_SIZE,
    UNNAMED_REGION,
    HeldRanges,
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
    from collections.abc import Callable

    from numpy.typing import NDArray

    from numroute_loader.generate.market import Market

RANGE_SIGMA = 2.0
"""Spread of range sizes: from a hundred numbers to whole codes."""
GAP_SIGMA = 1.5
RANGES_PER_GAP = 6

MANY_RANGES = 400
"""A code with at least this many ranges holds some tiny ones."""
TINY_ONE_IN = 12
TINY_SIZES = np.array([1, 1, 1, 10, 10, 20, 50, 50], np.int64)
SHREDDED_RANGES = 1000
"""From this many ranges on, home operator and guests hold ranges of the same sizes."""

SPELLING_WEIGHTS = (7, 3)
UNNAMED_REGION_ONE_IN = 60

ROUND = 100
"""Ordinary ranges begin and end at a multiple of this."""
_STEPS = ((200_000, 10_000), (1000, 1000), (ROUND, ROUND))
"""Sizes from the first figure on are multiples of the second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Code:
    first: int
    home: int
    home_percent: int
    allocated: int
    ranges: int
    areas: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _CodeRanges:
    first: NDArray[np.int64]
    last: NDArray[np.int64]
    operator: NDArray[np.int64]
    region: NDArray[np.int64]


def synthetic_mobile_plan(market: Market, stream: Stream) -> tuple[HeldRanges, PlanText]:
    """Make the ranges of every mobile code, and the text of their DEF file."""
    spread = log_normal_table(RANGE_SIGMA)
    gap_spread = log_normal_table(GAP_SIGMA)
    region_tables = _RegionTables(market)
    guest_tables = _guest_tables(market)
    parts = []
    for code in _codes(market):
        sizes = _range_sizes(code, spread, stream)
        gaps = _range_gaps(CODE_SIZE - int(sizes.sum()), len(sizes), gap_spread, stream)
        first, last = lay_out(sizes, gaps, start=code.first)
        region = stream.pick(region_tables.of(code.areas), len(sizes))
        guests = guest_tables[region_tables.area_of[region], stream.below(TABLE_SIZE, len(sizes))]
        operator = np.where(_is_guest(code, sizes, spread, stream), guests, code.home)
        parts.append(_CodeRanges(first=first, last=last, operator=operator, region=region))
    ranges = HeldRanges(
        first=np.concatenate([part.first for part in parts]),
        last=np.concatenate([part.last for part in parts]),
        operator=np.concatenate([part.operator for part in parts]),
        region=np.concatenate([part.region for part in parts]),
    )
    return ranges, _text(ranges, market, stream)


def _codes(market: Market) -> list[_Code]:
    return [
        _Code(
            first=int(row["code"]) * CODE_SIZE,
            home=market.operator_index(row["owner"]),
            home_percent=int(row["share"]),
            allocated=int(row["fill"]) * CODE_SIZE // 100,
            ranges=int(row["ranges"]),
            areas=tuple(filter(None, row["areas"].split(","))),
        )
        for row in read_table("mobile_codes")
    ]


def _range_sizes(code: _Code, spread: NDArray[np.int64], stream: Stream) -> NDArray[np.int64]:
    sizes = share_out(code.allocated, stream.pick(spread, code.ranges))
    for least, step in _STEPS:
        # Each pass rounds the sizes that no earlier pass has taken.
        fits = sizes >= least
        sizes = np.where(fits, -(sizes // step * step), sizes)
    sizes = np.where(sizes < 0, -sizes, ROUND)
    if code.ranges >= MANY_RANGES:
        tiny = np.flatnonzero(stream.below(TINY_ONE_IN, code.ranges // 2) == 0) * 2
        sizes[tiny] = stream.pick(TINY_SIZES, len(tiny))
        # The neighbour fills up the hundred, so that the ranges after it stay aligned.
        sizes[tiny + 1] += ROUND - sizes[tiny]
    # What rounding took or gave is the largest range's.
    largest = int(np.argmax(sizes))
    sizes[largest] += code.allocated - int(sizes.sum())
    return sizes


def _range_gaps(
    free: int, ranges: int, spread: NDArray[np.int64], stream: Stream
) -> NDArray[np.int64]:
    """Spread the unallocated numbers over a few places; the rest stays at the code's end."""
    gaps = np.zeros(ranges, np.int64)
    count = ranges // RANGES_PER_GAP
    if free and count:
        # One weight more than gaps: its part is left at the end.
        parts = share_out(free, stream.pick(spread, count + 1))[:count]
        gaps[stream.order(ranges)[:count]] = parts // ROUND * ROUND
    return gaps


def _is_guest(
    code: _Code, sizes: NDArray[np.int64], spread: NDArray[np.int64], stream: Stream
) -> NDArray[np.bool_]:
    """Choose ranges of other holders up to their share, preferably the small ones."""
    preference = stream.pick(spread, len(sizes))
    if code.ranges < SHREDDED_RANGES:
        preference *= sizes
    order = np.argsort(preference, kind="stable")
    guest_numbers = code.allocated * (100 - code.home_percent) // 100
    guest = np.zeros(len(sizes), np.bool_)
    guest[order] = np.cumsum(sizes[order]) <= guest_numbers
    return guest


class _RegionTables:
    """For each list of areas a table of regions, weighted by people."""

    def __init__(self, market: Market) -> None:
        self._market = market
        areas = market.areas
        self.area_of = np.array([areas.index(region.area) for region in market.regions])

    def of(self, areas: tuple[str, ...]) -> NDArray[np.int64]:
        weights = [
            region.people if not areas or region.area in areas else 0
            for region in self._market.regions
        ]
        return weighted_table(weights, TABLE_SIZE)


def _guest_tables(market: Market) -> NDArray[np.int64]:
    """For each area the smaller holders, weighted: int64[areas, TABLE_SIZE]."""
    return np.stack(
        [
            weighted_table(
                [
                    operator.capacity if operator.works_in(area) else 0
                    for operator in market.operators
                ],
                TABLE_SIZE,
            )
            for area in market.areas
        ]
    )


def _text(ranges: HeldRanges, market: Market, stream: Stream) -> PlanText:
    count = len(ranges.first)
    holders, places = Lexicon(), Lexicon()

    def holder_entry(operator: int, spelling: int) -> int:
        spellings = market.operators[operator].spellings
        name = spellings[min(spelling, len(spellings) - 1)]
        return holders.index((name, market.operators[operator].tax_number))

    def place_entry(region: int, spelling: int) -> int:
        plan_names = market.regions[region].plan_names
        name = UNNAMED_REGION if spelling < 0 else plan_names[spelling % len(plan_names)]
        return places.index((name, market.regions[region].territory))

    spelling = stream.pick(weighted_table(SPELLING_WEIGHTS, TABLE_SIZE), count)
    region_spelling = stream.below(UNNAMED_REGION_ONE_IN, count) - 1
    return PlanText(
        first=ranges.first,
        last=ranges.last,
        holder=_per_row(holder_entry, ranges.operator, spelling),
        holders=holders.entries,
        place=_per_row(place_entry, ranges.region, region_spelling),
        places=places.entries,
    )


def _per_row(
    entry: Callable[[int, int], int], which: NDArray[np.int64], spelling: NDArray[np.int64]
) -> NDArray[np.int64]:
    pairs = zip(which.tolist(), spelling.tolist(), strict=True)
    return np.array([entry(index, variant) for index, variant in pairs], np.int64)
