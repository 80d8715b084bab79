"""The time zone of a region, by its code or by its name as numbering plans spell it.

One table per country: ``region_code``, a pattern that begins a word of the region's name, the
offset from UTC, and the zone of the IANA database that it was taken from. A region that spans
several zones counts as its capital's. Regions without a table are unknown, not guessed.
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

COLUMNS: Final = ("region_code", "pattern", "utc_offset", "zone")

_OFFSET: Final = re.compile(r"([+-])(\d\d):([0-5]\d)")
_MINUTES_MAX: Final = 14 * 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Zone:
    """A row of a table; ``offset_minutes`` east of UTC."""

    region_code: str
    pattern: re.Pattern[str]
    offset_minutes: int
    name: str


def offset_of(region: Region) -> int | None:
    """Return a region's offset from UTC in minutes, None when it is not known.

    The name decides where it says something: the same code means another region elsewhere. A name
    that lists regions of different zones says nothing.
    """
    text = region.name.casefold().replace("ё", "е")
    found = {zone.offset_minutes for zone in zones() if zone.pattern.search(text)}
    if not found and not text:
        found = {zone.offset_minutes for zone in zones() if zone.region_code == region.code != ""}
    return found.pop() if len(found) == 1 else None


def parse_offset(text: str) -> int | None:
    """Return an offset like ``+03:00`` in minutes, None when it is none."""
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
    tables = (each for each in resources.files(__name__).iterdir() if each.name.endswith(".csv"))
    for table in sorted(tables, key=lambda each: each.name):
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
