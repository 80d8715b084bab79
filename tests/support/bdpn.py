"""Files of the ru-bdpn registry in its own format, with made-up numbers."""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

PORT_ALL = "Number,OwnerId,MNC,Route,RegionCode,PortDate,RowCount"
PORT_ALL_FULL = f"{PORT_ALL},NPId,DonorId,RangeHolderId,OldRoute,OldMNC,ProcessType"
PORT_ALL_NEW = "Number,OrgName,RowCount"
OPERATORS = "OrgCode,MNC,TIN,OrgName,RowCount"
NUMBERING_PLAN = "NumberFrom,NumberTo,OwnerId,RegionCode,MNC,RowCount"

TIME = "2016-09-07T12:00:17+03:00"
SECONDS = 1_473_238_817

Row = dict[str, str]


def port_all_row(number: int, owner: str = "mMTS", mnc: str = "01", region: str = "25") -> Row:
    """Return a row of Port_All, its route in the usual shape."""
    return {
        "Number": str(number),
        "OwnerId": owner,
        "MNC": mnc,
        "Route": f"D{region}{mnc}",
        "RegionCode": region,
        "PortDate": TIME,
    }


def port_all_full_row(number: int, owner: str, donor: str, holder: str) -> Row:
    """Return a row of Port_All_Full."""
    return port_all_row(number, owner) | {
        "NPId": "1000000000000001",
        "DonorId": donor,
        "RangeHolderId": holder,
        "OldRoute": "",
        "OldMNC": "",
        "ProcessType": "ShortTimePort",
    }


def dump(
    header: str, rows: Sequence[Row], *, later_count: str = "", row_count: int | None = None
) -> bytes:
    """Return the text of a dump: CRLF, the row count in the first data row only."""
    names = header.split(",")
    count = str(len(rows) if row_count is None else row_count)
    lines = [header]
    for place, row in enumerate(rows):
        cells = {"RowCount": later_count if place else count} | row
        lines.append(",".join(cells[name] for name in names))
    return "".join(f"{line}\r\n" for line in lines).encode()


def put(folder: Path, name: str, text: bytes) -> Path:
    """Write a file; a name in .zip becomes a zip with one member, the same name in .csv."""
    path = folder / name
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(path.with_suffix(".csv").name, text)
    else:
        path.write_bytes(text)
    return path
