"""Send windows, and the time zones of regions by code or by name as numbering plans spell it.

``data/time_zones_*.csv`` has one table per country: the region's code, a pattern that starts a word
of its name, the offset from UTC, and the IANA zone that the offset was taken from. A region that
spans several zones has its capital's. A region in no table is unknown; nothing is guessed.
"""

from __future__ import annotations

import csv
import functools
import re
from importlib import resources
from typing import Annotated, Final

import msgspec

from numroute.model import Region

_DAY_MINUTES: Final = 24 * 60

Time = Annotated[str, msgspec.Meta(pattern=r"^(([01]\d|2[0-3]):[0-5]\d|24:00)\Z")]
Offset = Annotated[str, msgspec.Meta(pattern=r"^[+-](0\d|1[0-4]):[0-5]\d\Z")]


class Window(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[window.NAME]``: when messages may arrive, in the receiver's local time.

    ``unknown_time_zone`` is the offset from UTC for regions whose time zone is unknown; None
    rejects their numbers.
    """

    begin: Time = msgspec.field(name="from")
    until: Time
    unknown_time_zone: Offset | None = None

    def __post_init__(self) -> None:
        if self.begin == self.until:
            raise ValueError("the window has no length: from and until are equal")

    def utc(self, region: Region) -> tuple[str, str] | None:
        """Return begin and end in UTC for a region, None if its time zone is unknown."""
        offset = offset_of(region)
        if offset is None and self.unknown_time_zone:
            offset = _minutes(self.unknown_time_zone)
        return None if offset is None else (_clock(self.begin, offset), _clock(self.until, offset))


@functools.cache
def offset_of(region: Region) -> int | None:
    """Return a region's offset from UTC in minutes, None if it is unknown.

    The name comes first, as the same code means different regions in different countries. A name
    that lists regions of several zones has no offset.
    """
    text = region.name.casefold().replace("ё", "е")
    found = {offset for _, pattern, offset in zones() if pattern.search(text)}
    if not found and not text:
        found = {offset for code, _, offset in zones() if code == region.code != ""}
    return found.pop() if len(found) == 1 else None


@functools.cache
def zones() -> tuple[tuple[str, re.Pattern[str], int], ...]:
    """Return the rows of all tables: region code, pattern of the name, minutes east of UTC."""
    data = (resources.files("numroute_campaign") / "data").iterdir()
    tables = sorted((each for each in data if each.name.startswith("time_zones_")), key=str)
    return tuple(
        (
            row["region_code"],
            re.compile(rf"\b{row['pattern']}"),
            _minutes(row["utc_offset"]),
        )
        for table in tables
        for row in csv.DictReader(table.read_text("utf-8").splitlines())
    )


def _minutes(text: str) -> int:
    """Return a time of day or an offset from UTC in minutes."""
    hours, minutes = text.lstrip("+-").split(":")
    total = int(hours) * 60 + int(minutes)
    return -total if text.startswith("-") else total


def _clock(text: str, offset: int) -> str:
    """Return a time of day in UTC."""
    hours, rest = divmod((_minutes(text) - offset) % _DAY_MINUTES, 60)
    return f"{hours:02}:{rest:02}"
