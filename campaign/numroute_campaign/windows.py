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
from typing import Final

import msgspec

from numroute.model import Region

_OFFSET: Final = re.compile(r"([+-])(0\d|1[0-4]):([0-5]\d)")
_DAY_MINUTES: Final = 24 * 60
_TIME: Final = re.compile(r"([01]\d|2[0-3]):([0-5]\d)|24:00")


class Window(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[window.NAME]``: when messages may arrive, in the receiver's local time.

    Attributes:
        begin: ``HH:MM``.
        until: ``HH:MM``.
        unknown_time_zone: The offset from UTC for regions whose time zone is unknown; empty
            rejects their numbers.
    """

    begin: str = msgspec.field(name="from")
    until: str
    unknown_time_zone: str = ""

    def __post_init__(self) -> None:
        for name, text in (("from", self.begin), ("until", self.until)):
            if not _TIME.fullmatch(text):
                raise ValueError(f'{name}: invalid time of day {text!r}. Write e.g. "09:30"')
        if self.begin == self.until:
            raise ValueError("the window has no length: from and until are equal")
        if self.unknown_time_zone:
            parse_offset("unknown_time_zone", self.unknown_time_zone)

    def utc(self, offset: int) -> tuple[str, str]:
        """Return begin and end in UTC at an offset in minutes."""
        return _clock(_minutes(self.begin) - offset), _clock(_minutes(self.until) - offset)


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


def parse_offset(key: str, text: str) -> int:
    """Return an offset like ``+03:00`` in minutes. Raises ValueError if it is malformed."""
    match = _OFFSET.fullmatch(text)
    if match is None:
        raise ValueError(f'{key}: invalid offset {text!r}. Write e.g. "+03:00" or "-05:30"')
    minutes = int(match[2]) * 60 + int(match[3])
    return -minutes if match[1] == "-" else minutes


@functools.cache
def zones() -> tuple[tuple[str, re.Pattern[str], int], ...]:
    """Return the rows of all tables: region code, pattern of the name, minutes east of UTC."""
    data = (resources.files("numroute_campaign") / "data").iterdir()
    tables = sorted((each for each in data if each.name.startswith("time_zones_")), key=str)
    return tuple(
        (
            row["region_code"],
            re.compile(rf"\b{row['pattern']}"),
            parse_offset(table.name, row["utc_offset"]),
        )
        for table in tables
        for row in csv.DictReader(table.read_text("utf-8").splitlines())
    )


def _minutes(text: str) -> int:
    hours, minutes = text.split(":")
    return int(hours) * 60 + int(minutes)


def _clock(minutes: int) -> str:
    hours, rest = divmod(minutes % _DAY_MINUTES, 60)
    return f"{hours:02}:{rest:02}"
