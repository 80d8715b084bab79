"""Which numbers of the numbering plan have another range holder than before."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from numroute.index.compare import operator_name
from numroute.index.content import Content
from numroute.model import NUMBER_MAX
from numroute_loader.gate.evidence import RangeHolders

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from numroute.index import Snapshot
    from numroute.model import Operator, Route

_FLOWS = 5
"""How many changes are named."""


def range_holders(old: Snapshot, new: Snapshot | Content) -> RangeHolders:
    """Compare the range holders of the numbers that two plans have in common.

    Holders are the same by code or tax number, by name where one side has neither.
    """
    sides = [_Plan(old), _Plan(new)]
    starts = np.concatenate([side.start for side in sides])
    starts.sort(kind="stable")  # it merges two sorted runs
    starts = starts[np.append(True, starts[1:] != starts[:-1])]
    lengths = np.diff(np.append(starts, np.uint64(NUMBER_MAX + 1))).astype(np.float64)
    rows = [side.rows(starts) for side in sides]
    both = sides[0].is_held(rows[0]) & sides[1].is_held(rows[1])
    lengths = lengths[both]
    operators: dict[Operator, int] = {}
    before, after = (
        side.holders(operators).take(of_side[both])
        for side, of_side in zip(sides, rows, strict=True)
    )
    changed = (before != after).nonzero()[0]
    changed = changed[~_same(list(operators), before[changed], after[changed])]
    names: dict[str, int] = {}
    name_of = np.array(
        [names.setdefault(operator_name(each), len(names)) for each in operators], np.int64
    )
    # Operators of one name are counted together. Sums of whole numbers below 2**53 are exact.
    giver, taker = name_of.take(before[changed]), name_of.take(after[changed])
    size = len(names)
    had = np.bincount(name_of.take(before), lengths, minlength=size)
    lost = np.bincount(giver, lengths[changed], minlength=size)
    flows, place = np.unique(giver * size + taker, return_inverse=True)
    flow_lengths = np.bincount(place, lengths[changed], minlength=len(flows))
    name = list(names)
    losers = sorted(lost.nonzero()[0].tolist(), key=lambda n: (-lost[n], name[n]))
    return RangeHolders(
        numbers=int(lengths.sum()),
        changed=int(lost.sum()),
        lost={name[n]: (int(lost[n]), int(had[n])) for n in losers},
        flows=[
            f"{name[flows[at] // size]} to {name[flows[at] % size]} {int(flow_lengths[at]):,}"
            for at in np.argsort(-flow_lengths, kind="stable")[:_FLOWS].tolist()
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

    def is_held(self, rows: NDArray[np.intp]) -> NDArray[np.bool_]:
        return np.array([route.status.has_route for route in self._routes], np.bool_).take(rows)

    def holders(self, operators: dict[Operator, int]) -> NDArray[np.int64]:
        """Return for each route the index of its operator in ``operators``, adding new ones."""
        return np.array(
            [operators.setdefault(route.operator, len(operators)) for route in self._routes],
            np.int64,
        )


def _same(
    operators: Sequence[Operator], one: NDArray[np.int64], other: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Compare operators pairwise: by code and tax number, by name where one has neither."""
    same = np.zeros(len(one), np.bool_)
    undecided = np.ones(len(one), np.bool_)
    for attribute in ("code", "tax_number", "name"):
        values: dict[str, int] = {"": 0}
        ids = np.array(
            [values.setdefault(getattr(each, attribute), len(values)) for each in operators],
            np.int64,
        )
        first, second = ids.take(one), ids.take(other)
        known = (first > 0) & (second > 0)
        if attribute == "name":
            known &= undecided
        same |= known & (first == second)
        undecided &= ~known
    return same
