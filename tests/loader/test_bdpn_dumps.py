"""What is read from whole dumps of the ru-bdpn registry."""

from __future__ import annotations

import hashlib
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import bdpn

from numroute.model import LineType
from numroute_loader.reading import csv_stream
from numroute_loader.reading.description import RouteKey
from numroute_loader.registries import read

NAME = "Port_All_201807060000_1689"
FULL_NAME = "Port_All_Full_201807060000_12"
NEW_NAME = "Port_All_New_201807060000_1689"

OWNERS = ("mMTS", "mMEGAFON", "mTELE2", "mT2", "mmts")
NAMES = ('"Айконнект" ООО', 'ПАО "МТС", Москва', "Plain", ",", '"', "ООО «Ёж»")

numbers = st.integers(9_000_000_000, 9_999_999_999)
port_all_rows = st.lists(
    st.fixed_dictionaries(
        {
            "Number": numbers,
            "OwnerId": st.sampled_from(OWNERS),
            "MNC": st.sampled_from(("01", "02", "99")),
            "RegionCode": st.sampled_from(("01", "25", "77")),
            "Route": st.sampled_from(("D2501", "D7799", "odd", "")),
            "at": st.integers(0, 2**32 - 1),
            "dated": st.booleans(),
            "DonorId": st.sampled_from((*OWNERS, "")),
            "RangeHolderId": st.sampled_from((*OWNERS, "")),
        }
    ),
    min_size=1,
    max_size=40,
    unique_by=lambda row: row["Number"],
)


def _written(row: dict) -> dict[str, str]:
    at = datetime.fromtimestamp(row["at"], UTC).isoformat(timespec="seconds")
    rest = {"NPId": "7", "OldRoute": "", "OldMNC": "", "ProcessType": "ShortTimePort"}
    texts = {name: str(value) for name, value in row.items() if name not in ("at", "dated")}
    return rest | texts | {"PortDate": at if row["dated"] else ""}


def _key(row: dict) -> RouteKey:
    return RouteKey(
        operator_code=row["OwnerId"],
        registry_mnc=row["MNC"],
        routing_number=row["Route"],
        region_code=row["RegionCode"],
        line_type=LineType.MOBILE,
    )


def _records(ported) -> dict[int, tuple]:
    """Return what was read, as a plain dict, and hold it to the order that it promises."""
    assert (np.diff(ported.numbers.astype(np.int64)) > 0).all()
    assert ported.numbers.dtype == np.uint64
    times = ported.ported_at if ported.ported_at is not None else np.zeros(len(ported.numbers))
    donors = (
        [ported.donor_codes[i] for i in ported.donor]
        if ported.donor is not None
        else [None] * len(ported.numbers)
    )
    return {
        int(number): (ported.keys[route], int(at), donor)
        for number, route, at, donor in zip(
            ported.numbers, ported.route, times, donors, strict=True
        )
    }


@settings(max_examples=60, deadline=None)
@given(rows=port_all_rows, in_order=st.booleans(), suffix=st.sampled_from(("csv", "zip")))
def test_port_all_round_trip(rows, in_order, suffix):
    """A Port_All file, sorted or not, plain or zipped, reads back as the rows it was made of."""
    if in_order:
        rows = sorted(rows, key=lambda row: row["Number"])
    text = bdpn.dump(bdpn.PORT_ALL, [_written(row) for row in rows])
    with tempfile.TemporaryDirectory() as folder:
        parsed = read(bdpn.put(Path(folder), f"{NAME}.{suffix}", text))
    expected = {
        row["Number"] + 7 * 10**10: (_key(row), row["at"] if row["dated"] else 0, None)
        for row in rows
    }
    assert _records(parsed.ported) == expected
    assert parsed.source.rows == len(rows)
    assert parsed.ported.returned_home == 0
    assert len(set(parsed.ported.keys)) == len(parsed.ported.keys)


@settings(max_examples=60, deadline=None)
@given(rows=port_all_rows, in_order=st.booleans())
def test_port_all_full_round_trip(rows, in_order):
    """Port_All_Full keeps donors, and drops and counts the numbers whose holder serves them."""
    if in_order:
        rows = sorted(rows, key=lambda row: row["Number"])
    text = bdpn.dump(bdpn.PORT_ALL_FULL, [_written(row) for row in rows], later_count="0")
    with tempfile.TemporaryDirectory() as folder:
        parsed = read(bdpn.put(Path(folder), f"{FULL_NAME}.csv", text))
    away = [row for row in rows if row["OwnerId"] != row["RangeHolderId"]]
    expected = {
        row["Number"] + 7 * 10**10: (
            _key(row),
            row["at"] if row["dated"] else 0,
            row["DonorId"],
        )
        for row in away
    }
    assert _records(parsed.ported) == expected
    assert parsed.ported.returned_home == len(rows) - len(away)
    assert parsed.source.rows == len(rows)


@settings(max_examples=60, deadline=None)
@given(
    rows=st.dictionaries(numbers, st.sampled_from(NAMES), min_size=1, max_size=30),
    encoding=st.sampled_from(("utf-8", "cp1251")),
    suffix=st.sampled_from(("csv", "zip")),
)
def test_port_all_new_round_trip(rows, encoding, suffix):
    """The simplified tier keeps names with commas and quotes, in UTF-8 and in windows-1251."""
    texts = [{"Number": str(number), "OrgName": name} for number, name in rows.items()]
    text = bdpn.dump(bdpn.PORT_ALL_NEW, texts).decode().encode(encoding)
    with tempfile.TemporaryDirectory() as folder:
        parsed = read(bdpn.put(Path(folder), f"{NEW_NAME}.{suffix}", text))
    read_names = {
        number: key.operator_name for number, (key, _, _) in _records(parsed.ported).items()
    }
    assert read_names == {number + 7 * 10**10: name for number, name in rows.items()}
    assert parsed.ported.ported_at is None
    assert len(set(parsed.ported.keys)) == len(parsed.ported.keys)


@pytest.mark.parametrize("block_bytes", [150, 173, 400])
def test_blocks_are_cut_at_line_ends(tmp_path, monkeypatch, block_bytes):
    """A file of many blocks, cut anywhere, reads the same as in one piece."""
    rows = [bdpn.port_all_row(9_000_000_000 + 7 * i, OWNERS[i % 5]) for i in range(100)]
    path = bdpn.put(tmp_path, f"{NAME}.csv", bdpn.dump(bdpn.PORT_ALL, rows))
    whole = read(path)
    monkeypatch.setattr(csv_stream, "BLOCK_BYTES", block_bytes)
    pieces = read(path)
    assert _records(pieces.ported) == _records(whole.ported)
    assert pieces.source == whole.source


def test_columns_are_found_by_name(tmp_path):
    """A file with its columns in another order, and columns more, reads the same."""
    row = bdpn.port_all_row(9_000_000_012) | {"Later": "x"}
    header = "RowCount,PortDate,Later,RegionCode,Route,OwnerId,MNC,Number"
    parsed = read(bdpn.put(tmp_path, f"{NAME}.csv", bdpn.dump(header, [row])))
    assert _records(parsed.ported) == {
        79_000_000_012: (
            RouteKey(
                operator_code="mMTS",
                registry_mnc="01",
                routing_number="D2501",
                region_code="25",
                line_type=LineType.MOBILE,
            ),
            bdpn.SECONDS,
            None,
        )
    }


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.removesuffix(b"\r\n"),
        lambda text: text.replace(b"\r\n", b"\n"),
        lambda text: b"\xef\xbb\xbf" + text,
        lambda text: text + b"\r\n",
    ],
    ids=["no last line end", "LF", "byte order mark", "empty last line"],
)
def test_harmless_differences(tmp_path, change):
    """A missing last line end, LF, a byte order mark and an empty last line change nothing."""
    text = bdpn.dump(bdpn.PORT_ALL, [bdpn.port_all_row(9_000_000_000 + i) for i in range(3)])
    parsed = read(bdpn.put(tmp_path, f"{NAME}.csv", change(text)))
    assert parsed.ported.numbers.tolist() == [79_000_000_000, 79_000_000_001, 79_000_000_002]


@pytest.mark.parametrize("suffix", ["csv", "zip"])
def test_source_file_is_described(tmp_path, suffix):
    """Time (Moscow to UTC), sequence and digest describe the file as it lies on disk."""
    text = bdpn.dump(bdpn.PORT_ALL, [bdpn.port_all_row(9_000_000_000)])
    path = bdpn.put(tmp_path, f"port_all_201807060130_01689.{suffix}", text)
    source = read(path).source
    assert source.as_of == datetime(2018, 7, 5, 22, 30, tzinfo=UTC)
    assert source.sequence == 1689
    assert source.registry == "ru-bdpn"
    assert source.kind == "ru-bdpn/port-all"
    assert source.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_many_routes_widen_the_column(tmp_path):
    """More routes than sixteen bits can number are read right."""
    rows = [bdpn.port_all_row(9_000_000_000 + i, owner=f"m{i}") for i in range(70_000)]
    parsed = read(bdpn.put(tmp_path, f"{NAME}.csv", bdpn.dump(bdpn.PORT_ALL, rows)))
    assert parsed.ported.route.dtype == np.uint32
    codes = [parsed.ported.keys[i].operator_code for i in parsed.ported.route]
    assert codes == [f"m{i}" for i in range(70_000)]


@pytest.mark.parametrize("suffix", ["csv", "zip"])
def test_progress_reaches_the_end(tmp_path, monkeypatch, suffix):
    """Progress grows to the size of the file on disk."""
    monkeypatch.setattr(csv_stream, "BLOCK_BYTES", 500)
    rows = [bdpn.port_all_row(9_000_000_000 + 7919 * i) for i in range(50)]
    path = bdpn.put(tmp_path, f"{NAME}.{suffix}", bdpn.dump(bdpn.PORT_ALL, rows))
    calls: list[tuple[int, int]] = []
    read(path, progress=lambda done, total: calls.append((done, total)))
    assert calls == sorted(calls)
    assert {total for _, total in calls} == {path.stat().st_size}
    assert calls[-1][0] <= calls[-1][1]
    assert suffix == "zip" or calls[-1][0] == calls[-1][1]
