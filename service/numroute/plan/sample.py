"""A made-up index of a chosen size, for measuring only."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np

from numroute.index import Content, SnapshotStore
from numroute.index.layout import CELLS_PER_CHUNK, CHUNK_SHIFT, GRANULES_PER_PAGE, PAGE_SHIFT
from numroute.model import LineType, Operator, Region, Route, Status

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

FIRST_NUMBER = 79_000_000_000 & ~((1 << CHUNK_SHIFT) - 1)
RECORDS_PER_CHUNK = 128
"""Enough that a number is ported at random, few enough that a sample is written in a second."""

_PORTED_ROUTES = 2_000
_RANGE_ROUTES = 14_000
_RANGE_ROUTES_MOBILE = 1_900
"""As many routes as the Russian registry has, and as many of them for mobile ranges. An answer
lists those that it uses, so that their number and popularity decide its length."""

_POPULARITY = 1.1
"""The k-th most popular route is k^-1.1 times as popular as the first. So a batch of 4,096 holds
about 890 routes, one of 200,000 about 3,500; with real mobile numbers these are 764 and 2,616."""

_RANGES = 17_000
_RANGE_NUMBERS = 1_000
"""Real ranges begin at whole thousands, the Russian mobile plan has about 17,000."""

_AS_OF = datetime(2026, 1, 1, tzinfo=UTC)
_SEED = 20_260


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A store with one snapshot, its ported numbers (uint64[n]) and what lookups may touch."""

    store: Path
    ported: NDArray[np.uint64]
    chunks: int
    touched_bytes: int

    def draw(self, count: int, share: float, rng: np.random.Generator) -> NDArray[np.uint64]:
        """Return ``count`` numbers in no order, this share of them ported, the rest at random."""
        numbers = rng.integers(
            FIRST_NUMBER, FIRST_NUMBER + (self.chunks << CHUNK_SHIFT), count, dtype=np.uint64
        )
        ported = round(count * share)
        numbers[:ported] = self.ported[rng.integers(0, len(self.ported), ported)]
        rng.shuffle(numbers)
        return numbers


def make_sample(store: Path, chunks: int) -> Sample:
    """Write an index whose ported numbers are spread over so many chunks, 128 in each."""
    rng = np.random.default_rng(_SEED + chunks)
    span = chunks << CHUNK_SHIFT
    within = rng.integers(0, 1 << CHUNK_SHIFT, (chunks, RECORDS_PER_CHUNK), dtype=np.uint64)
    of_chunk = np.arange(chunks, dtype=np.uint64)[:, None] << np.uint64(CHUNK_SHIFT)
    numbers = np.unique((within + of_chunk).ravel()) + np.uint64(FIRST_NUMBER)
    starts = FIRST_NUMBER + _RANGE_NUMBERS * np.unique(
        rng.integers(0, span // _RANGE_NUMBERS, min(_RANGES, chunks * 2))
    )
    range_start = np.concatenate(([0], starts, [FIRST_NUMBER + span])).astype(np.uint64)
    range_route = np.zeros(len(range_start), np.uint32)
    first_of_ranges = 2 + _PORTED_ROUTES
    range_route[1:-1] = first_of_ranges + _popular(_RANGE_ROUTES_MOBILE, len(starts), rng)
    content = Content(
        routes=_routes(),
        numbers=numbers,
        number_route=(2 + _popular(_PORTED_ROUTES, len(numbers), rng)).astype(np.uint32),
        range_start=range_start,
        range_route=range_route,
    )
    with SnapshotStore(store, create=True).writing() as writer:
        writer.publish(content, as_of=_AS_OF, sources=(), counts={"ported": len(numbers)})
    pages = ((FIRST_NUMBER + span) >> PAGE_SHIFT) - (FIRST_NUMBER >> PAGE_SHIFT) + 2
    return Sample(
        store=store,
        ported=numbers,
        chunks=chunks,
        touched_bytes=chunks * CELLS_PER_CHUNK * 8
        + 2 * len(numbers)
        + pages * 2 * GRANULES_PER_PAGE,
    )


def sample_disk_bytes(chunks: int) -> int:
    """Return about how much disk a sample of so many chunks takes."""
    return chunks * (CELLS_PER_CHUNK * 8 + RECORDS_PER_CHUNK * 2) + 20_000_000


def sample_memory_bytes(chunks: int) -> int:
    """Return about how much memory making and serving a sample takes."""
    return 2 * sample_disk_bytes(chunks) + chunks * RECORDS_PER_CHUNK * 100 + 300_000_000


def _popular(routes: int, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw ``count`` places below ``routes``, the first ones the more often."""
    ends = np.cumsum(np.arange(1, routes + 1) ** -_POPULARITY)
    places = ends.searchsorted(rng.random(count) * ends[-1], side="right")
    drawn: NDArray[np.int64] = np.minimum(places, routes - 1)
    return drawn


def _routes() -> list[Route]:
    routes = [Route(status=Status.UNALLOCATED), Route(status=Status.INVALID)]
    for status, count in ((Status.PORTED, _PORTED_ROUTES), (Status.NOT_PORTED, _RANGE_ROUTES)):
        routes += [
            Route(
                status=status,
                operator=Operator(
                    code=f"mSAMPLE{place % 90}",
                    name=f'"Оператор связи {place % 90}" ООО',
                    brand=f"Sample {place % 90}",
                    tax_number=f"{7_700_000_000 + place % 1_900}",
                ),
                mcc="250",
                mnc=f"{place % 100:02}",
                registry_mnc=f"{place % 100:02}",
                routing_number=f"D{place % 10_000:04}",
                region=Region(code=f"{place % 90:02}", name=f"Область {place}"),
                line_type=LineType.MOBILE,
            )
            for place in range(count)
        ]
    return routes
