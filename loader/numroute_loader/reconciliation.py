"""When a full dump arrives: how does the state that was built from increments differ from it?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from numroute.index import compare
from numroute.model import mask_number
from numroute_loader.gate import Drift
from numroute_loader.registries import CHAINS

if TYPE_CHECKING:
    from datetime import datetime

    from numroute.index import Content, Snapshot

_EXAMPLES_PER_KIND = 2
"""How many differing numbers of each kind are named, masked."""


def drift_of(
    current: Snapshot | None, content: Content, as_of: datetime
) -> tuple[Drift | None, str]:
    """Compare a dump's content with the current snapshot; return the drift, or why there is none.

    The two can be held against each other when the current snapshot was built from increments up to
    the very time of the dump: then nothing may differ that the increments told rightly.
    """
    if current is None:
        return None, "there is no current snapshot"
    if not len(content.numbers):
        return None, "there is no dump of ported numbers"
    metadata = current.metadata
    increments = {name for chain in CHAINS for name in chain.kinds}
    if not any(source.kind in increments for source in metadata.sources):
        return None, "the current snapshot was not built from increments"
    if metadata.as_of != as_of:
        return None, (
            f"the increments reach to {metadata.as_of.isoformat()}, the dump to "
            f"{as_of.isoformat()}: what lies between is no drift"
        )
    found = compare(current, content)
    kinds = {
        "in the dump only": found.ported,
        "not in the dump": found.returned,
        "of another operator": found.moved,
        "with another route": found.updated,
    }
    return Drift(
        against=f"the state built from increments, {metadata.snapshot_id},",
        ported=found.changes.ported,
        returned=found.changes.returned,
        moved=found.changes.moved,
        updated=found.changes.updated,
        examples=[
            f"{mask_number(number)} {what}"
            for what, numbers in kinds.items()
            for number in numbers[:_EXAMPLES_PER_KIND].tolist()
        ],
    ), ""
