"""How a full dump differs from the state that increments made up to its time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from numroute.index.compare import Kind, changed_numbers
from numroute.model import mask_number
from numroute_loader.gate.evidence import Drift
from numroute_loader.increments.windows import ChainError, first_after, position_of
from numroute_loader.registries import CHAINS, KINDS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from numpy.typing import NDArray

    from numroute.index import Content, Snapshot, Source
    from numroute.index.compare import Difference
    from numroute_loader.increments.windows import Position

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
        position = position_of(current.metadata, CHAINS, KINDS)
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
    return first_after(position.chain, dump, KINDS, as_of) if dump is not None else None


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
