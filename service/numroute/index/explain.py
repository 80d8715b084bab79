"""Why a number is answered as it is: what every layer of the snapshot says of it."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np

from numroute.index.snapshot import Snapshot
from numroute.model import Explanation, Layer, Route, Source, Status


def explain(snapshot: Snapshot, number: int) -> Explanation:
    """Explain the answer for a whole E.164 number (an integer below 2**64)."""
    row, seconds, range_row = snapshot.lookup_one(number, overrides=False)
    route, in_range = snapshot.route(row), snapshot.route(range_row)
    answered = snapshot.route(snapshot.lookup_one(number)[0])
    ported = route.status is Status.PORTED
    held = in_range.status.has_route
    source = snapshot.changed_by.find(number)
    layers = _overrides(snapshot, number, answered)
    layers.append(
        Layer(
            name="ported record",
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
        starts = snapshot.tables.range_start
        behind = int(starts.searchsorted(np.uint64(number), side="right"))
        layers.append(
            Layer(
                name="range",
                decides=held and not ported and not answered.overridden,
                route=in_range if held else None,
                sources=_of_layer(snapshot, "ranges"),
                first=int(starts[behind - 1]),
                last=int(starts[behind]) - 1 if behind < len(starts) else None,
            )
        )
    return Explanation(
        number=number,
        status=answered.status,
        decided_by=next((layer.name for layer in layers if layer.decides), "nothing"),
        route=answered if answered.status.has_route else None,
        layers=tuple(layers),
    )


def _overrides(snapshot: Snapshot, number: int, answered: Route) -> list[Layer]:
    """Return a layer for each override that holds the number, the narrowest first."""
    layers = []
    decided = not answered.overridden
    narrowest_first = reversed(snapshot.overrides)
    for each in (each for each in narrowest_first if each.first <= number <= each.last):
        decides = not decided and each.active(datetime.now(UTC))
        decided = decided or decides
        layers.append(
            Layer(
                name="override",
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
