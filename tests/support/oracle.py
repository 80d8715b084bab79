"""A small made-up registry, a snapshot of it, and plain Python that answers from the same facts."""

from __future__ import annotations

import bisect
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from numroute.index import Content, SnapshotStore, Source, writing
from numroute.model import NUMBER_MAX, LineType, Operator, Region, Route, Status

AS_OF = datetime(2024, 8, 1, tzinfo=UTC)
FIRST = 79_000_000_000
LAST = 79_000_999_999


@dataclass(frozen=True)
class Registry:
    """A snapshot's content, and a dict and a sorted list that answer from the same facts."""

    content: Content
    ported: dict[int, tuple[Route, int]]
    starts: list[int]
    holders: list[Route]

    def answer(self, number: int) -> tuple[Route, int, Operator]:
        """Return the route, the time of porting and the range holder of a number."""
        if not 0 < number <= NUMBER_MAX:
            return Route(status=Status.INVALID), 0, Operator()
        holder = self.holders[bisect.bisect_right(self.starts, number) - 1]
        route, ported_at = self.ported.get(number, (holder, 0))
        return route, ported_at, holder.operator


def make_registry(generation: int = 0, *, ported: int = 500, seed: int = 1) -> Registry:
    """Return a registry over a million numbers; ``generation`` is in every operator's code."""
    rng = np.random.default_rng(seed)
    operators = [
        Operator(
            code=f"m{generation}X{i}",
            name=f"Оператор {i}",
            brand=f"Brand {i}" if i % 2 else "",
            tax_number=f"{7700000000 + i}",
        )
        for i in range(5)
    ]
    regions = [Region(code=f"{i:02}", name=f"Область {i}") for i in range(3)]

    def route(status: Status, i: int) -> Route:
        return Route(
            status=status,
            operator=operators[i % 5],
            mcc="250",
            mnc=f"{i % 5:02}",
            registry_mnc=f"0{i % 7}",
            routing_number=f"D0{i % 3}0{i % 7}" if status is Status.PORTED else "",
            region=regions[i % 3],
            line_type=LineType.MOBILE,
        )

    routes = [Route(status=Status.UNALLOCATED), Route(status=Status.INVALID)]
    routes += [route(Status.PORTED, i) for i in range(20)]
    routes += [route(Status.NOT_PORTED, i) for i in range(15)]
    inner = np.sort(rng.choice(np.arange(FIRST + 1, LAST), 60, replace=False))
    starts = np.concatenate([[0, FIRST], inner, [LAST + 1]]).astype(np.uint64)
    held = rng.integers(22, len(routes), len(starts))
    held[rng.random(len(starts)) < 0.2] = 0
    held[[0, -1]] = 0
    numbers = np.sort(rng.choice(np.arange(FIRST, LAST + 1), ported, replace=False))
    number_route = rng.integers(2, 22, ported)
    ported_at = rng.integers(1_400_000_000, 1_780_000_000, ported)
    ported_at[::9] = 0
    content = Content(
        routes=routes,
        numbers=numbers.astype(np.uint64),
        number_route=number_route.astype(np.uint16),
        ported_at=ported_at.astype(np.uint32),
        range_start=starts,
        range_route=held.astype(np.uint16),
    )
    return Registry(
        content=content,
        ported={
            number: (routes[row], time)
            for number, row, time in zip(
                numbers.tolist(), number_route.tolist(), ported_at.tolist(), strict=True
            )
        },
        starts=starts.tolist(),
        holders=[routes[row] for row in held.tolist()],
    )


def publish(store: SnapshotStore, registry: Registry) -> str:
    """Publish a registry and return the id of its snapshot."""
    with writing(store) as writer:
        return writer.publish(
            registry.content,
            as_of=AS_OF,
            sources=[
                Source(
                    name="Port_All_202608010000_4637.zip",
                    registry="ru-bdpn",
                    kind="Port_All",
                    layer="ported",
                    sequence=4637,
                    rows=len(registry.ported),
                    sha256="ab" * 32,
                )
            ],
            counts={"ported": len(registry.ported), "ranges": len(registry.starts)},
        ).snapshot_id
