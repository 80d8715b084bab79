"""A tiny registry's deliveries, day by day, in the registry's own names and formats."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from numroute.feed import FeedState, read_feed_state
from support.registry import OPERATORS, PLAN, command

FIRST_DAY = date(2026, 8, 23)
EPOCH = date(2013, 11, 20)
"""The day of sequence 0 of Port_All and of window 0."""

FIRST_NUMBER = 9_160_000_000
"""The first ported number of a dump, as the registry writes it."""

FOLDERS = {
    "Port_All": "Port_All",
    "Operators": "Operators",
    "Numbering_plan": "Numbering_Plan",
    "Port_Increment": "Port_Increment",
    "Return_Increment": "Return_Increment",
}

WINDOW_TYPES = ("Port_Increment", "Return_Increment")

DAY_TYPES = ("Operators", "Numbering_plan", "Port_All")


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A file that the registry delivers: its name, the folder that it belongs in, its bytes."""

    name: str
    folder: str
    data: bytes

    def put(self, root: Path, *, flat: bool = False) -> Path:
        """Write the file below ``root``, whole at once, as a careful uploader does."""
        folder = root if flat else root / self.folder
        folder.mkdir(parents=True, exist_ok=True)
        unfinished = folder / f".{self.name}"
        unfinished.write_bytes(self.data)
        return unfinished.rename(folder / self.name)


def day_of(
    day: date = FIRST_DAY,
    *,
    ported: int = 20,
    types: Collection[str] = DAY_TYPES,
    packed: bool = True,
) -> list[Delivery]:
    """Return a day's full dump, with so many ported numbers, its operators and its plan."""
    texts = {"Operators": OPERATORS, "Numbering_plan": PLAN, "Port_All": _dump(ported)}
    sequence = (day - EPOCH).days
    return [
        delivery(each, day, 0, sequence + (each != "Port_All"), texts[each], packed=packed)
        for each in types
    ]


def window_of(
    day: date,
    hour: int,
    *,
    ports: Collection[int] = (),
    returns: Collection[int] = (),
    types: Collection[str] = WINDOW_TYPES,
) -> list[Delivery]:
    """Return a window: numbers that MTS lost to MegaFon, and MegaFon's that went home.

    ``hour`` is that of the window's end, even, from 0 to 22; numbers have ten digits.
    """
    sequence = 12 * (day - EPOCH).days + hour // 2
    end = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(hours=hour, minutes=-30)
    date_text = f"{end:%Y-%m-%dT%H:%M:%S}+03:00"
    texts = {
        "Port_Increment": _rows(
            "NPId,Number,RecipientId,DonorId,RangeHolderId,OldRoute,NewRoute,OldMNC,NewMNC,"
            "RegionCode,PortDate,RowCount",
            [
                f"{i},{number},mMEGAFON,mMTS,mMTS,D7701,D7702,01,02,77,{date_text}"
                for i, number in enumerate(ports, 1)
            ],
        ),
        "Return_Increment": _rows(
            "NPId,Number,OwnerId,RangeHolderId,RangeHolderMNC,OldRoute,NewRoute,RegionCode,"
            "PortDate,RowCount",
            [
                f"{i},{number},mMEGAFON,mMTS,01,D7702,D7701,77,{date_text}"
                for i, number in enumerate(returns, 1)
            ],
        ),
    }
    return [delivery(each, day, hour, sequence, texts[each]) for each in types]


def delivery(
    kind: str, day: date, hour: int, sequence: int, text: str, *, packed: bool = True
) -> Delivery:
    """Return a file of this type, time and sequence as a zip with one member."""
    stem = f"{kind}_{day:%Y%m%d}{hour:02d}00_{sequence}"
    return Delivery(
        name=f"{stem}.zip", folder=FOLDERS[kind], data=zip_of(f"{stem}.csv", text, packed=packed)
    )


def put(root: Path, files: Sequence[Delivery], *, flat: bool = False) -> list[Path]:
    """Write all files below ``root``."""
    return [file.put(root, flat=flat) for file in files]


def as_of(day: date, hour: int = 0) -> datetime:
    """Return the time that a file of this Moscow hour is as of."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(hours=hour - 3)


@dataclass(frozen=True, slots=True)
class Run:
    """How a single run of ``watch`` ended: exit status, log lines, feed state."""

    status: int
    log: list[dict[str, Any]]
    text: str
    state: FeedState | None

    def events(self, name: str) -> list[dict[str, Any]]:
        """Return the log lines of one event."""
        return [line for line in self.log if line["event"] == name]


def watch_once(store: Path, *words: object) -> Run:
    """Run ``numroute-load watch --once`` in this process."""
    result = command(
        "numroute-load", "watch", "--store", store, "--once", "--settle", "0.02", *words
    )
    log = [json.loads(line) for line in result.err.splitlines() if line.startswith("{")]
    return Run(result.status, log, result.err, read_feed_state(store) if store.is_dir() else None)


def _dump(ported: int) -> str:
    return _rows(
        "Number,OwnerId,MNC,Route,RegionCode,PortDate,RowCount",
        [
            f"{FIRST_NUMBER + place},mMEGAFON,02,D7702,77,2021-01-01T10:00:00+03:00"
            for place in range(ported)
        ],
    )


def _rows(header: str, rows: Sequence[str]) -> str:
    """Return a text of rows, the row count in the first of them."""
    lines = [f"{row},{'' if place else len(rows)}" for place, row in enumerate(rows)]
    return "".join(f"{line}\r\n" for line in [header, *lines])


def zip_of(member: str, text: str, *, packed: bool = True) -> bytes:
    """Return a zip with one member."""
    buffer = io.BytesIO()
    method = zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.writestr(member, text)
    return buffer.getvalue()
