"""A registry as a plain dictionary: reads the files itself and shares no code with the loader."""

from __future__ import annotations

import csv
import io
import zipfile
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

Row = dict[str, str]


def rows_of(path: Path) -> list[Row]:
    """Return the data rows of a CSV, plain or zipped, by column name; quotes are data."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            (member,) = archive.namelist()
            data = archive.read(member)
    else:
        data = path.read_bytes()
    text = io.StringIO(data.decode("utf-8"), newline="")
    return list(csv.DictReader(text, quoting=csv.QUOTE_NONE))


@dataclass(frozen=True)
class Served:
    """Who serves a ported number, and by which route."""

    operator: str
    mnc: str
    route: str
    region: str


@dataclass
class DictRegistry:
    """National number -> who serves it, for every ported number."""

    ported: dict[int, Served] = field(default_factory=dict)

    def load(self, dump: Path) -> None:
        """Replace everything by a Port_All or a Port_All_Full."""
        self.ported = {
            int(row["Number"]): Served(row["OwnerId"], row["MNC"], row["Route"], row["RegionCode"])
            for row in rows_of(dump)
            if row.get("RangeHolderId") != row["OwnerId"]
        }

    def apply(self, port_increment: Path, return_increment: Path) -> set[int]:
        """Apply both files of a window; return the numbers that it names."""
        events: list[tuple[float, int, int, Served | None]] = []
        for row in rows_of(port_increment):
            served = Served(row["RecipientId"], row["NewMNC"], row["NewRoute"], row["RegionCode"])
            home = row["RecipientId"] == row["RangeHolderId"]
            events.append((*_when(row), int(row["Number"]), None if home else served))
        events += [(*_when(row), int(row["Number"]), None) for row in rows_of(return_increment)]
        for *_, number, served in sorted(events, key=lambda event: event[:2]):
            if served is None:
                self.ported.pop(number, None)
            else:
                self.ported[number] = served
        return {event[2] for event in events}


def _when(row: Row) -> tuple[float, int]:
    return datetime.fromisoformat(row["PortDate"]).timestamp(), int(row["NPId"])


def plan_of(numbering_plan: Path) -> list[tuple[int, int, str, str]]:
    """Return (first, last, operator, region) of a Numbering_plan, ascending."""
    return sorted(
        (int(row["NumberFrom"]), int(row["NumberTo"]), row["OwnerId"], row["RegionCode"])
        for row in rows_of(numbering_plan)
    )
