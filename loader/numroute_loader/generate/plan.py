"""The shape of a plan inside the generator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

CODE_SIZE = 10_000_000
"""Numbers behind one three-digit code."""

UNNAMED_REGION = "-"
"""What the 2026 files write for a region that only the territory column names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldRanges:
    """Mobile ranges with their holders, ascending, not overlapping.

    ``first``, ``last``: int64[m], ten-digit national numbers, inclusive.
    ``operator``, ``region``: int64[m], indexes into the market.
    """

    first: NDArray[np.int64]
    last: NDArray[np.int64]
    operator: NDArray[np.int64]
    region: NDArray[np.int64]

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Numbers per range, int64[m]."""
        return self.last - self.first + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanText:
    """What an open-data plan file says of each range.

    ``first``, ``last``: int64[m], ten-digit national numbers, inclusive, ascending.
    ``holder``: int64[m], index into ``holders`` (name as spelled, tax number).
    ``place``: int64[m], index into ``places`` (region, territory).
    """

    first: NDArray[np.int64]
    last: NDArray[np.int64]
    holder: NDArray[np.int64]
    holders: Sequence[tuple[str, str]]
    place: NDArray[np.int64]
    places: Sequence[tuple[str, str]]

    def followed_by(self, other: PlanText) -> PlanText:
        """Return both plans as one; the numbers of ``other`` are higher."""
        return PlanText(
            first=np.concatenate([self.first, other.first]),
            last=np.concatenate([self.last, other.last]),
            holder=np.concatenate([self.holder, other.holder + len(self.holders)]),
            holders=(*self.holders, *other.holders),
            place=np.concatenate([self.place, other.place + len(self.places)]),
            places=(*self.places, *other.places),
        )


class Lexicon:
    """Distinct entries in the order of their first use, and their indexes."""

    def __init__(self) -> None:
        """Begin empty."""
        self._index: dict[tuple[str, str], int] = {}

    def index(self, entry: tuple[str, str]) -> int:
        """Return the index of an entry, which is added when it is new."""
        return self._index.setdefault(entry, len(self._index))

    @property
    def entries(self) -> tuple[tuple[str, str], ...]:
        """Every entry at its index."""
        return tuple(self._index)


def lay_out(
    sizes: NDArray[np.int64], gaps: NDArray[np.int64], *, start: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Place ranges one after another, ``gaps[i]`` free numbers before range i.

    Returns:
        First and last number of each range, int64[m] each.
    """
    last = start + np.cumsum(sizes + gaps) - 1
    return last - sizes + 1, last


def share_out(total: int, weights: NDArray[np.int64]) -> NDArray[np.int64]:
    """Split ``total`` by weight; the parts are rounded down, so some of it may be left."""
    weight_sum = int(weights.sum())
    return (weights.astype(np.float64) * (total / weight_sum)).astype(np.int64)
