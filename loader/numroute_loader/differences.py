"""What differs from the current snapshot: range holders, and drift of the increments."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from numroute.index.compare import Kind, changed_numbers, operator_name
from numroute.index.content import Content
from numroute.model import NUMBER_MAX, mask_number
from numroute_loader.gate.evidence import Drift, RangeHolders
from numroute_loader.increments.windows import ChainError, first_after, position_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from numpy.typing import NDArray

    from numroute.index import Snapshot, Source
    from numroute.index.compare import Difference
    from numroute.model import Operator, Route
    from numroute_loader.increments.windows import Position


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


_EXAMPLES_PER_KIND = 2

_WORDS = {
    Kind.PORTED: "only in the dump",
    Kind.RETURNED: "not in the dump",
    Kind.MOVED: "another operator",
    Kind.UPDATED: "another route",
}


def drift_of(
    current: Snapshot,
    content: Content,
    changed: Difference,
    dumps: Sequence[Source],
    as_of: datetime,
) -> Drift | str:
    """Return how a dump's content differs from the current snapshot, or why it cannot be compared.

    It can when increments led to the snapshot and past the dump's time. Numbers that windows after
    the dump changed last are left out, since their state at its time is no longer known. So is what
    the brand table adds, which may have changed since. ``changed`` counts all that differs,
    ``dumps`` are the dumps that the content was built from, ``as_of`` is the time of the content.
    """
    try:
        position = position_of(current.metadata)
    except ChainError:
        return "the current snapshot was not made by increments"
    following = _following(position, dumps, as_of)
    reason = _why_not(position, following)
    if reason or following is None:
        return reason
    counts = {
        Kind.PORTED: changed.changes.ported,
        Kind.RETURNED: changed.changes.returned,
        Kind.MOVED: changed.changes.moved,
        Kind.UPDATED: changed.updated_by_registry,
    }
    later = _changed_since(current, position, following)
    if len(later):
        counts = dict.fromkeys(counts, 0)
        for piece in changed_numbers(current, content, as_registry=True):
            kinds = piece.kind[~np.isin(piece.numbers, later)]
            for kind in Kind:
                counts[kind] += int(np.count_nonzero(kinds == kind))
    return Drift(
        against=current.metadata.snapshot_id,
        ported=counts[Kind.PORTED],
        returned=counts[Kind.RETURNED],
        moved=counts[Kind.MOVED],
        updated=counts[Kind.UPDATED],
        changed_since=len(later),
        examples=_examples(current, content, counts, later),
    )


def _following(position: Position, dumps: Sequence[Source], as_of: datetime) -> int | None:
    """Return the sequence of the first window on top of the dump."""
    dump = next((dump for dump in dumps if dump.kind in position.chain.bases), None)
    return first_after(position.chain, dump, as_of) if dump is not None else None


def _why_not(position: Position, following: int | None) -> str:
    if not position.applied:
        return "the current snapshot was not made by increments"
    if following is None:
        return "there is no full dump that the increments lead to"
    if following > position.following:
        windows = following - position.following
        return f"{windows} windows of increments up to the dump have not been applied"
    if following <= position.first:
        return f"the current snapshot was built from {position.base.name}, which is no older"
    return ""


def _changed_since(current: Snapshot, position: Position, following: int) -> NDArray[np.uint64]:
    """Return the numbers that windows from this sequence on changed last, ascending."""
    if following == position.following:
        return np.empty(0, np.uint64)
    later = [
        source.kind in position.chain.kinds
        and source.sequence is not None
        and source.sequence >= following
        for source in current.metadata.sources
    ]
    changed = current.changed_by()
    return changed.numbers[np.array(later, np.bool_)[changed.source]]


def _examples(
    current: Snapshot, content: Content, counts: Mapping[Kind, int], later: NDArray[np.uint64]
) -> tuple[str, ...]:
    """Name a few numbers of each kind, masked."""
    missing = {kind: min(count, _EXAMPLES_PER_KIND) for kind, count in counts.items()}
    examples: list[str] = []
    if not any(missing.values()):
        return ()
    for piece in changed_numbers(current, content, as_registry=True):
        compared = ~np.isin(piece.numbers, later)
        for kind in Kind:
            numbers = piece.numbers[compared & (piece.kind == kind)][: missing[kind]].tolist()
            examples += [f"{mask_number(number)} ({_WORDS[kind]})" for number in numbers]
            missing[kind] -= len(numbers)
        if not any(missing.values()):
            break
    return tuple(examples)
