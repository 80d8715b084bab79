"""Which numbers of the numbering plan have another range holder than before."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from numroute.index.content import Content
from numroute.index.layout import INVALID_ROW
from numroute.model import NUMBER_MAX
from numroute_loader.gate import RangeHolders

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from numroute.index import Snapshot
    from numroute.model import Operator, Route

_FLOWS = 5
"""How many changes are named."""


def range_holders(old: Snapshot, new: Snapshot | Content) -> RangeHolders:
    """Compare the ranges of two plans, number by number, in the numbers that both have.

    Holders are the same by code or tax number, by name where one side has neither.
    """
    sides = [_Plan(old), _Plan(new)]
    starts = np.union1d(sides[0].start, sides[1].start)
    lengths = np.diff(np.append(starts, np.uint64(NUMBER_MAX + 1))).astype(np.int64)
    rows = [side.rows(starts) for side in sides]
    both = (rows[0] > INVALID_ROW) & (rows[1] > INVALID_ROW)
    lengths = lengths[both]
    holders: dict[Operator, int] = {}
    before, after = (
        side.holders(holders).take(of_side[both]) for side, of_side in zip(sides, rows, strict=True)
    )
    size = max(len(holders), 1)
    pairs, place = np.unique(before * size + after, return_inverse=True)
    counts = np.bincount(place, weights=lengths, minlength=len(pairs)).astype(np.int64)
    operators = list(holders)
    had: dict[str, int] = {}
    lost: dict[str, int] = {}
    flows: dict[tuple[str, str], int] = {}
    for pair, count in zip(pairs.tolist(), counts.tolist(), strict=True):
        giver, taker = operators[pair // size], operators[pair % size]
        name = _name(giver)
        had[name] = had.get(name, 0) + count
        if not _same(giver, taker):
            lost[name] = lost.get(name, 0) + count
            flow = name, _name(taker)
            flows[flow] = flows.get(flow, 0) + count
    return RangeHolders(
        numbers=int(lengths.sum()),
        changed=sum(lost.values()),
        lost={name: (lost[name], had[name]) for name in sorted(lost, key=lambda n: (-lost[n], n))},
        flows=[
            f"{giver} to {taker} {flows[giver, taker]:,}"
            for giver, taker in sorted(flows, key=lambda flow: (-flows[flow], flow))[:_FLOWS]
        ],
    )


class _Plan:
    """The ranges of a snapshot, or of content that is not written yet."""

    def __init__(self, whole: Snapshot | Content) -> None:
        tables = whole if isinstance(whole, Content) else whole.tables
        self.start: NDArray[np.uint64] = tables.range_start
        self._route = tables.range_route
        self._routes: Sequence[Route] = (
            whole.routes
            if isinstance(whole, Content)
            else [whole.routes[row] for row in range(len(whole.routes))]
        )

    def rows(self, starts: NDArray[np.uint64]) -> NDArray[np.intp]:
        return self._route[self.start.searchsorted(starts, side="right") - 1].astype(np.intp)

    def holders(self, known: dict[Operator, int]) -> NDArray[np.int64]:
        """Return for each route the index of its operator in ``known``."""
        return np.array(
            [known.setdefault(route.operator, len(known)) for route in self._routes], np.int64
        )


def _name(operator: Operator) -> str:
    return operator.code or operator.name


def _same(one: Operator, other: Operator) -> bool:
    if one.code and other.code and one.code == other.code:
        return True
    if one.tax_number and other.tax_number:
        return one.tax_number == other.tax_number
    return not (one.code and other.code) and one.name == other.name
