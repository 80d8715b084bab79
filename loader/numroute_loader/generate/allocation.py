"""How many numbers of each range are ported: exact in sum, uneven between ranges."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from numroute.errors import SettingError
from numroute_loader.generate.plan import CODE_SIZE
from numroute_loader.generate.randomness import log_normal_table

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from numroute_loader.generate.market import Market
    from numroute_loader.generate.plan import HeldRanges
    from numroute_loader.generate.randomness import Stream

SHARE_SIGMA = 0.9
"""Spread of the ported share between ranges."""
SHARE_MAX_PER_CENT = 45
"""No range loses more than this, unless the whole plan has to."""

OLD_CODE_PER_CENT = 130
NEW_CODE_PER_CENT = 70
CITY_PER_CENT = 140
_OLD_CODES = ((902, 929), (950, 953), (960, 968))
_CITY_AREAS = frozenset({"moscow", "piter"})


def portable_numbers(ranges: HeldRanges, market: Market) -> int:
    """Count the numbers that can be ported: those of operators whose subscribers leave at all."""
    return int(_portable_sizes(ranges, market).sum())


def allocate(total: int, ranges: HeldRanges, market: Market, stream: Stream) -> NDArray[np.int64]:
    """Choose how many numbers of each range leave their holder.

    Args:
        total: The exact sum wanted.
        ranges: The mobile plan.
        market: Whose operators and regions the ranges point to.
        stream: Random words.

    Returns:
        int64[m], at most the size of each range.

    Raises:
        SettingError: The plan does not hold so many numbers that can be ported.
    """
    sizes = _portable_sizes(ranges, market)
    weights = _weights(ranges, market, stream)
    holds = int(sizes.sum())
    if total > holds:
        raise SettingError(
            f"ported and returned numbers are {total}, the plan holds {holds} that can be ported",
            hint="Ask for fewer ported numbers, or give a plan with more mobile ranges",
        )
    caps = sizes * SHARE_MAX_PER_CENT // 100
    if total > int(caps.sum()):
        caps = sizes
    counts = np.zeros(len(sizes), np.int64)
    left = total
    while left:
        open_ = counts < caps
        room = np.where(open_, weights, 0)
        parts = (room.astype(np.float64) * (left / int(room.sum()))).astype(np.int64)
        if not parts.any():
            # Fewer are left than there are ranges: one each, in random order.
            candidates = np.flatnonzero(open_)
            parts[candidates[stream.order(len(candidates))[:left]]] = 1
        counts = np.minimum(counts + parts, caps)
        left = total - int(counts.sum())
    return counts


def _portable_sizes(ranges: HeldRanges, market: Market) -> NDArray[np.int64]:
    leaves = np.array([operator.loss > 0 for operator in market.operators])
    return np.where(leaves[ranges.operator], ranges.sizes, 0)


def _weights(ranges: HeldRanges, market: Market, stream: Stream) -> NDArray[np.int64]:
    loss = np.array([operator.loss for operator in market.operators], np.int64)
    city = np.array([region.area in _CITY_AREAS for region in market.regions])
    code = ranges.first // CODE_SIZE
    old = np.zeros(len(code), np.bool_)
    for low, high in _OLD_CODES:
        old |= (code >= low) & (code <= high)
    share = stream.pick(log_normal_table(SHARE_SIGMA, median=100), len(code))
    age_percent = np.where(old, OLD_CODE_PER_CENT, NEW_CODE_PER_CENT)
    city_percent = np.where(city[ranges.region], CITY_PER_CENT, 100)
    leaving = loss[ranges.operator] * age_percent * city_percent
    # Where anybody leaves the weight is positive, however small the range.
    return ranges.sizes * share * leaving // 1000
