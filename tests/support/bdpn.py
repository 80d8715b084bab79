"""Files of the ru-bdpn registry in its own format, with made-up numbers."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

PORT_ALL = "Number,OwnerId,MNC,Route,RegionCode,PortDate,RowCount"
PORT_ALL_FULL = f"{PORT_ALL},NPId,DonorId,RangeHolderId,OldRoute,OldMNC,ProcessType"
PORT_ALL_NEW = "Number,OrgName,RowCount"
OPERATORS = "OrgCode,MNC,TIN,OrgName,RowCount"
NUMBERING_PLAN = "NumberFrom,NumberTo,OwnerId,RegionCode,MNC,RowCount"

PORT_INCREMENT = (
    "NPId,Number,RecipientId,DonorId,RangeHolderId,OldRoute,NewRoute,OldMNC,NewMNC,RegionCode,"
    "PortDate,RowCount"
)
RETURN_INCREMENT = (
    "NPId,Number,OwnerId,RangeHolderId,RangeHolderMNC,OldRoute,NewRoute,RegionCode,"
    "PortDate,RowCount"
)

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


def port_row(
    number: int,
    recipient: str = "mMTS",
    *,
    holder: str = "mTELE2",
    donor: str = "mTELE2",
    mnc: str = "01",
    region: str = "25",
    time: str = TIME,
    order: int = 1_000_000_000_000_003,
) -> Row:
    """Return a row of Port_Increment, its route in the usual shape."""
    return {
        "NPId": str(order),
        "Number": str(number),
        "RecipientId": recipient,
        "DonorId": donor,
        "RangeHolderId": holder,
        "OldRoute": "D7742",
        "NewRoute": f"D{region}{mnc}",
        "OldMNC": "42",
        "NewMNC": mnc,
        "RegionCode": region,
        "PortDate": time,
    }


def return_row(
    number: int,
    loser: str = "mMTS",
    *,
    holder: str = "mTELE2",
    time: str = TIME,
    order: int = 1_000_000_000_000_004,
) -> Row:
    """Return a row of Return_Increment."""
    return {
        "NPId": str(order),
        "Number": str(number),
        "OwnerId": loser,
        "RangeHolderId": holder,
        "RangeHolderMNC": "20",
        "OldRoute": "D2501",
        "NewRoute": "D2520",
        "RegionCode": "25",
        "PortDate": time,
    }


def window_name(kind: str, sequence: int) -> str:
    """Return the name that an increment of this sequence has, without its suffix."""
    time = datetime(2013, 11, 20, tzinfo=UTC) + timedelta(hours=2 * sequence)
    return f"{kind}_{time:%Y%m%d%H%M}_{sequence}"


def put_window(
    folder: Path,
    sequence: int,
    ports: Sequence[Row] = (),
    returns: Sequence[Row] = (),
    *,
    suffix: str = ".zip",
) -> tuple[Path, Path]:
    """Write both files of a window."""
    folder.mkdir(exist_ok=True)
    return (
        put(
            folder,
            window_name("Port_Increment", sequence) + suffix,
            dump(PORT_INCREMENT, ports),
        ),
        put(
            folder,
            window_name("Return_Increment", sequence) + suffix,
            dump(RETURN_INCREMENT, returns),
        ),
    )


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
