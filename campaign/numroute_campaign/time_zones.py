"""Time zones of regions, by the region's code or its name as numbering plans spell it.

``data/time_zones_*.csv`` has one table per country: the region's code, a pattern that starts a word
of its name, the offset from UTC, and the IANA zone that the offset was taken from. A region that
spans several zones has its capital's. A region in no table is unknown; nothing is guessed.
"""

from __future__ import annotations

import csv
import functools
import re
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from numroute.model import Region

_OFFSET: Final = re.compile(r"([+-])(\d\d):([0-5]\d)")
_MINUTES_MAX: Final = 14 * 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Zone:
    """A row of a table; ``offset_minutes`` counts east of UTC."""

    region_code: str
    pattern: re.Pattern[str]
    offset_minutes: int
    name: str


def offset_of(region: Region) -> int | None:
    """Return a region's offset from UTC in minutes, None if it is unknown.

    The name comes first, as the same code means different regions in different countries. A name
    that lists regions of several zones has no offset.
    """
    text = region.name.casefold().replace("ё", "е")
    found = {zone.offset_minutes for zone in zones() if zone.pattern.search(text)}
    if not found and not text:
        found = {zone.offset_minutes for zone in zones() if zone.region_code == region.code != ""}
    return found.pop() if len(found) == 1 else None


def parse_offset(text: str) -> int | None:
    """Return an offset like ``+03:00`` in minutes, None if it is malformed."""
    match = _OFFSET.fullmatch(text)
    if match is None:
        return None
    minutes = int(match[2]) * 60 + int(match[3])
    if minutes > _MINUTES_MAX:
        return None
    return -minutes if match[1] == "-" else minutes


@functools.cache
def zones() -> tuple[Zone, ...]:
    """Return the rows of all tables."""
    found = []
    tables = (resources.files("numroute_campaign") / "data").iterdir()
    for table in sorted(tables, key=lambda each: each.name):
        if not table.name.startswith("time_zones_"):
            continue
        for row in csv.DictReader(table.read_text("utf-8").splitlines()):
            offset = parse_offset(row["utc_offset"])
            if offset is None:
                raise AssertionError(f"{table.name}: {row['utc_offset']}")
            found.append(
                Zone(
                    region_code=row["region_code"],
                    pattern=re.compile(rf"\b{row['pattern']}"),
                    offset_minutes=offset,
                    name=row["zone"],
                )
            )
    return tuple(found)
