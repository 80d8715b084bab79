"""Random numbers that are the same on every machine and in every release of numpy.

Only two things of numpy are used whose streams are promised never to change: ``SeedSequence`` and
the raw words of ``PCG64``. Everything after them is integer arithmetic, or single floating-point
operations that IEEE 754 rounds one way only. Logarithms and exponentials differ in their last bit
between machines, so they appear only in small tables that are rounded to integers.
"""

from __future__ import annotations

import enum
import math
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

TABLE_SIZE = 4096
"""Entries of a quantile table: a power of two, so that low bits of a word choose one."""

_HALF_WORD_BITS = 32


class Purpose(enum.IntEnum):
    """What a stream is for; streams of one purpose differ by index."""

    MOBILE_PLAN = 1
    FIXED_PLAN = 2
    ALLOCATION = 3
    HOME = 4
    CHUNK = 5
    ORDER = 6
    CANDIDATES = 7
    CHANGES = 8


class Stream:
    """One independent stream of random words, named by the seed, a purpose and an index."""

    def __init__(self, seed: int, purpose: Purpose, index: int = 0) -> None:
        """Begin the stream; equal arguments give equal words."""
        key = (int(purpose), index)
        self._bits = np.random.PCG64(np.random.SeedSequence(seed, spawn_key=key))

    def words(self, count: int) -> NDArray[np.uint64]:
        """Return uint64[count], uniform over all 64 bits."""
        return np.asarray(self._bits.random_raw(count), dtype=np.uint64)

    def below(self, bound: int | NDArray[np.int64], count: int) -> NDArray[np.int64]:
        """Return int64[count], uniform in 0..bound-1; ``bound`` (at most 2^31) may be an array."""
        return scaled(self.words(count), bound)

    def pick(self, table: NDArray[np.int64], count: int) -> NDArray[np.int64]:
        """Return int64[count] entries of ``table``, each drawn with equal chance."""
        return table[self.below(len(table), count)]

    def order(self, count: int) -> NDArray[np.int64]:
        """Return int64[count], a permutation of 0..count-1."""
        return np.argsort(self.words(count), kind="stable")


def scaled(words: NDArray[np.uint64], bound: int | NDArray[np.int64]) -> NDArray[np.int64]:
    """Scale the high half of each word to 0..bound-1."""
    high = (words >> np.uint64(_HALF_WORD_BITS)).astype(np.int64)
    return (high * bound) >> _HALF_WORD_BITS


def log_normal_table(sigma: float, *, median: int = 1000) -> NDArray[np.int64]:
    """Quantiles of a log-normal distribution, int64[TABLE_SIZE], ascending, at least 1."""
    normal = NormalDist()
    quantiles = (normal.inv_cdf((i + 0.5) / TABLE_SIZE) for i in range(TABLE_SIZE))
    return np.array([max(1, round(median * math.exp(sigma * q))) for q in quantiles], np.int64)


def exponential_table(*, mean: int = 1000) -> NDArray[np.int64]:
    """Quantiles of an exponential distribution, int64[TABLE_SIZE], ascending."""
    tails = ((TABLE_SIZE - i - 0.5) / TABLE_SIZE for i in range(TABLE_SIZE))
    return np.array([round(-mean * math.log(tail)) for tail in tails], np.int64)


def power_law_table(*, exponent: float, low: int, high: int) -> NDArray[np.int64]:
    """Quantiles of a Pareto distribution cut off at ``high``, int64[TABLE_SIZE], ascending."""
    tails = ((TABLE_SIZE - i - 0.5) / TABLE_SIZE for i in range(TABLE_SIZE))
    return np.array([min(high, round(low * tail ** (-1 / exponent))) for tail in tails], np.int64)


def weighted_table(weights: Sequence[int] | NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Spread indexes over a table so that each takes a share of it by its weight.

    Args:
        weights: Not negative, at least one positive, sum below 2^40.
        size: Entries of the table.

    Returns:
        int64[size], indexes into ``weights``, ascending.
    """
    cumulative = np.cumsum(np.asarray(weights, np.int64))
    bounds = cumulative * size // cumulative[-1]
    return np.repeat(np.arange(len(bounds)), np.diff(bounds, prepend=0))
