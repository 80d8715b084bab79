"""Does a full dump agree with the state that increments made up to its time?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from numroute.index.compare import Kind, changed_numbers
from numroute.model import mask_number
from numroute_loader.gate import Drift
from numroute_loader.increments.position import ChainError, first_after, position_of
from numroute_loader.registries import CHAINS, KINDS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from numroute.index import Changes, Content, Snapshot, Source
    from numroute_loader.increments.position import Position

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
    changes: Changes,
    dumps: Sequence[Source],
    as_of: datetime,
) -> Drift | str:
    """Return how a dump's content differs from the current snapshot, or why that tells nothing.

    It tells something when the snapshot was made by increments and stands exactly where the dump
    does: the next window of both is the same. ``changes`` counts what differs, ``dumps`` are the
    dumps among the files that the content was built from, ``as_of`` is the time of the content.
    """
    try:
        position = position_of(current.metadata, CHAINS, KINDS)
    except ChainError:
        return "the current snapshot was not made by increments"
    reason = _why_not(position, dumps, as_of)
    if reason:
        return reason
    return Drift(
        against=current.metadata.snapshot_id,
        ported=changes.ported,
        returned=changes.returned,
        moved=changes.moved,
        updated=changes.updated,
        examples=_examples(current, content, changes),
    )


def _why_not(position: Position, dumps: Sequence[Source], as_of: datetime) -> str:
    if not position.applied:
        return "the current snapshot was not made by increments"
    chain = position.chain
    dump = next((dump for dump in dumps if dump.kind in chain.bases), None)
    following = first_after(chain, dump, KINDS, as_of) if dump is not None else None
    if following is None:
        return "there is no full dump that the increments lead to"
    if following == position.following:
        return ""
    windows = following - position.following
    if windows > 0:
        return f"{windows} windows of increments up to the dump have not been applied"
    return f"increments after the dump have been applied, {-windows} windows"


def _examples(current: Snapshot, content: Content, changes: Changes) -> tuple[str, ...]:
    """Name a few numbers of each kind, masked."""
    wanted = {
        Kind.PORTED: changes.ported,
        Kind.RETURNED: changes.returned,
        Kind.MOVED: changes.moved,
        Kind.UPDATED: changes.updated,
    }
    wanted = {kind: min(count, _EXAMPLES_PER_KIND) for kind, count in wanted.items()}
    examples: list[str] = []
    if not any(wanted.values()):
        return ()
    for piece in changed_numbers(current, content):
        for kind in Kind:
            numbers = piece.numbers[piece.kind == kind][: wanted[kind]].tolist()
            examples += [f"{mask_number(number)} ({_WORDS[kind]})" for number in numbers]
            wanted[kind] -= len(numbers)
        if not any(wanted.values()):
            break
    return tuple(examples)
