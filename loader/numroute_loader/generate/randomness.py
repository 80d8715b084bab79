"""Random numbers that are the same on every machine and in every release of numpy.

Only two things of numpy are used whose streams are promised never to change: ``SeedSequence`` and
the raw words of ``PCG64``. Everything after them is integer arithmetic, or single floating-point
operations that IEEE 754 rounds one way only. Logarithms and exponentials differ in their last bit
between machines, so they appear only in small tables that are rounded to integers.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

TABLE_SIZE = 4096
"""Entries of a table of quantiles or weights: a power of two, so that low bits choose one."""


class Stream:
    """One independent stream of random words, named by the seed, a purpose and an index."""

    def __init__(self, seed: int, purpose: str, index: int = 0) -> None:
        """Open the stream; equal arguments give equal words."""
        key = (zlib.crc32(purpose.encode()), index)
        self._bits = np.random.PCG64(np.random.SeedSequence(seed, spawn_key=key))

    def words(self, count: int) -> NDArray[np.uint64]:
        """Return uint64[count], uniform over all 64 bits."""
        return np.asarray(self._bits.random_raw(count), dtype=np.uint64)

    def pick(self, table: NDArray[np.int64], count: int) -> NDArray[np.int64]:
        """Return int64[count] entries of ``table``, each drawn with equal chance."""
        return table[scaled(self.words(count), len(table))]

    def order(self, count: int) -> NDArray[np.int64]:
        """Return int64[count], a permutation of 0..count-1."""
        return np.argsort(self.words(count), kind="stable")


def scaled(words: NDArray[np.uint64], bound: int | NDArray[np.int64]) -> NDArray[np.int64]:
    """Scale the high half of each word to 0..bound-1; ``bound`` is at most 2^31."""
    return ((words >> np.uint64(32)).astype(np.int64) * bound) >> 32


def quantiles(inverse: Callable[[float], float]) -> NDArray[np.int64]:
    """Tabulate a distribution by its inverse: int64[TABLE_SIZE], ascending, rounded."""
    shares = ((i + 0.5) / TABLE_SIZE for i in range(TABLE_SIZE))
    return np.array([round(inverse(share)) for share in shares], np.int64)


def log_normal(sigma: float, median: int) -> NDArray[np.int64]:
    """Tabulate a log-normal distribution of positive integers."""
    normal = NormalDist()
    return quantiles(lambda share: max(1, median * math.exp(sigma * normal.inv_cdf(share))))


def weighted_table(
    weights: Sequence[int] | NDArray[np.int64], size: int = TABLE_SIZE
) -> NDArray[np.int64]:
    """Return int64[size], ascending indexes into ``weights``, each as often as by its weight."""
    cumulative = np.cumsum(np.asarray(weights, np.int64))
    limits = cumulative * size // cumulative[-1]
    return np.repeat(np.arange(len(limits)), np.diff(limits, prepend=0))


def share_out(total: int, weights: NDArray[np.int64]) -> NDArray[np.int64]:
    """Split ``total`` by weight; parts are rounded down, so some of the total may be left."""
    return (weights.astype(np.float64) * (total / int(weights.sum()))).astype(np.int64)
