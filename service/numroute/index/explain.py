"""Why a number is answered as it is: what every layer of the snapshot says of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np

from numroute.index.content import UNALLOCATED_ROW
from numroute.model import Status

if TYPE_CHECKING:
    from numroute.index.content import Source
    from numroute.index.snapshot import Snapshot
    from numroute.model import Operator, Route

OVERRIDE = "override"
PORTED_RECORD = "ported record"
RANGE = "range"
NOTHING = "nothing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """What one layer says of a number; ``route`` is None when it says nothing.

    ``first`` and ``last`` bound the range, ``ported_at`` and ``donor`` belong to a ported record.
    ``sources`` are the files that the layer was built from. ``reason``, ``author`` and ``expires``
    belong to an override, which decides unless it has expired.
    """

    name: str
    decides: bool
    route: Route | None
    sources: tuple[Source, ...]
    first: int | None = None
    last: int | None = None
    ported_at: datetime | None = None
    donor: Operator | None = None
    reason: str = ""
    author: str = ""
    expires: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Which layer decided, what it answered, and what every layer says, in the order asked."""

    number: int
    decided_by: str
    route: Route
    layers: tuple[Layer, ...]


def explain(snapshot: Snapshot, number: int) -> Explanation:
    """Explain the answer for a whole E.164 number (an integer below 2**64)."""
    asked = np.array([number], np.uint64)
    answers = snapshot.lookup(asked, ported_at=True, range_route=True, overrides=False)
    answered = snapshot.route(int(snapshot.lookup(asked).route[0]))
    route = snapshot.route(int(answers.route[0]))
    if answers.ported_at is None or answers.range_route is None:
        raise AssertionError("both columns were asked for")
    ported = route.status is Status.PORTED
    range_row = int(answers.range_route[0])
    held = snapshot.route(range_row).status is Status.NOT_PORTED
    seconds = int(answers.ported_at[0])
    told = snapshot.changed_by().find(number)
    layers = _overrides(snapshot, number, answered)
    layers.append(
        Layer(
            name=PORTED_RECORD,
            decides=ported and not answered.overridden,
            route=route if ported else None,
            # An increment has the last word on what it changed, be it that the number went home.
            sources=_of_layer(snapshot, "ported")
            if told is None
            else (snapshot.metadata.sources[told],),
            ported_at=datetime.fromtimestamp(seconds, UTC) if seconds else None,
            donor=snapshot.donor(number) if ported else None,
        )
    )
    if route.status is not Status.INVALID:
        first, last = snapshot.piece(number)
        layers.append(
            Layer(
                name=RANGE,
                decides=held and not ported and not answered.overridden,
                route=snapshot.route(range_row) if range_row != UNALLOCATED_ROW else None,
                sources=_of_layer(snapshot, "ranges"),
                first=first,
                last=last,
            )
        )
    decided = next((layer.name for layer in layers if layer.decides), NOTHING)
    return Explanation(number=number, decided_by=decided, route=answered, layers=tuple(layers))


def _overrides(snapshot: Snapshot, number: int, answered: Route) -> list[Layer]:
    """Return a layer for each override that holds the number, the narrowest first."""
    layers = []
    decided = not answered.overridden
    for each in snapshot.overrides_of(number):
        decides = not decided and each.active(datetime.now(UTC))
        decided = decided or decides
        layers.append(
            Layer(
                name=OVERRIDE,
                decides=decides,
                route=each.route(answered.status if decides else Status.NOT_PORTED),
                sources=(),
                first=each.first,
                last=each.last,
                reason=each.reason,
                author=each.author,
                expires=each.expires,
            )
        )
    return layers


def _of_layer(snapshot: Snapshot, layer: str) -> tuple[Source, ...]:
    return tuple(source for source in snapshot.metadata.sources if source.layer == layer)
