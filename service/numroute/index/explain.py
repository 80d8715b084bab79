"""Why a number is answered as it is: what every layer of the snapshot says of it."""

from __future__ import annotations

from datetime import UTC, datetime

from numroute.index.snapshot import Snapshot
from numroute.model import Explanation, Layer, Route, Source, Status

OVERRIDE = "override"
PORTED_RECORD = "ported record"
RANGE = "range"
NOTHING = "nothing"


def explain(snapshot: Snapshot, number: int) -> Explanation:
    """Explain the answer for a whole E.164 number (an integer below 2**64)."""
    row, seconds, range_row = snapshot.lookup_one(number, overrides=False)
    route, in_range = snapshot.route(row), snapshot.route(range_row)
    answered = snapshot.route(snapshot.lookup_one(number)[0])
    ported = route.status is Status.PORTED
    held = in_range.status.has_route
    source = snapshot.changed_by().find(number)
    layers = _overrides(snapshot, number, answered)
    layers.append(
        Layer(
            name=PORTED_RECORD,
            decides=ported and not answered.overridden,
            route=route if ported else None,
            # An increment has the last word on what it changed, be it that the number went home.
            sources=_of_layer(snapshot, "ported")
            if source is None
            else (snapshot.metadata.sources[source],),
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
                route=in_range if held else None,
                sources=_of_layer(snapshot, "ranges"),
                first=first,
                last=last,
            )
        )
    decided = next((layer.name for layer in layers if layer.decides), NOTHING)
    return Explanation(
        number=number,
        status=answered.status,
        decided_by=decided,
        route=answered if answered.status.has_route else None,
        layers=tuple(layers),
    )


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
