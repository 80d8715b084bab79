"""Small content for snapshots."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np

from numroute.index import Content, Metadata, Source
from numroute.index.layout import FORMAT_VERSION
from numroute.model import LineType, Operator, Region, Route, Status

AS_OF = datetime(2026, 8, 23, tzinfo=UTC)


def make_routes(ported: int, ranges: int) -> list[Route]:
    """Return a route table with so many rows of each kind."""
    routes = [Route(status=Status.UNALLOCATED), Route(status=Status.INVALID)]
    for status, count in ((Status.PORTED, ported), (Status.NOT_PORTED, ranges)):
        routes += [
            Route(
                status=status,
                operator=Operator(code=f"m{status.name}{i % 7}", name=f'"Оператор" {i % 7}'),
                mcc="250",
                mnc=f"{i % 100:02}",
                registry_mnc=f"{i % 10:02}",
                routing_number=f"D77{i:02}",
                region=Region(code="77", name=f"г. Москва {i}"),
                line_type=LineType.MOBILE,
            )
            for i in range(count)
        ]
    return routes


def make_content(
    records: dict[int, int],
    pieces: dict[int, int],
    routes: list[Route],
    *,
    times: dict[int, int] | None = None,
) -> Content:
    """Return content from number -> row, first number -> row, and number -> time."""
    numbers = sorted(records)
    pieces = {0: 0} | pieces
    starts = sorted(pieces)
    return Content(
        routes=routes,
        numbers=np.array(numbers, np.uint64),
        number_route=np.array([records[n] for n in numbers], np.uint32),
        ported_at=None
        if times is None
        else np.array([times.get(n, 0) for n in numbers], np.uint32),
        range_start=np.array(starts, np.uint64),
        range_route=np.array([pieces[s] for s in starts], np.uint32),
    )


def make_metadata(snapshot_id: str = "20260823T000000Z-abcdef") -> Metadata:
    """Return metadata that never change."""
    return Metadata(
        format_version=FORMAT_VERSION,
        snapshot_id=snapshot_id,
        as_of=AS_OF,
        built_at=AS_OF,
        sources=(
            Source(name="a.zip", registry="ru-bdpn", kind="port-all", layer="ported", sequence=7),
            Source(name="b.csv", registry="ru-numbering-plan", kind="def", layer="ranges"),
        ),
        counts={"ported": 0},
    )
