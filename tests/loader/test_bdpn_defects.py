"""Damaged dumps of the ru-bdpn registry, one test or one case for each defect."""

from __future__ import annotations

import re

import pytest
from support import bdpn

from numroute.errors import InputError
from numroute_loader.reading import csv_stream, record_files
from numroute_loader.reading.description import STRICT, Tolerance
from numroute_loader.registries import read

NAME = "Port_All_201807060000_1689"
FULL_NAME = "Port_All_Full_201807060000_12.csv"
NEW_NAME = "Port_All_New_201807060000_1689.csv"


def _refused(path, tolerance=STRICT) -> InputError:
    """Return the error that reading a file ends with, and hold it to what every error promises."""
    with pytest.raises(InputError) as caught:
        read(path, tolerance=tolerance)
    error = caught.value
    assert not re.search(r"9\d{9}", str(error)), "an error message holds a full number"
    assert error.__cause__ is None
    assert error.hint
    assert str(path) in str(error)
    return error


def _rows(count: int = 5) -> list[bdpn.Row]:
    return [bdpn.port_all_row(9_000_000_000 + 11 * i) for i in range(count)]


BAD_CELLS = [
    ("Number", "900000001", "Number is not ten digits, the first of them 9"),
    ("Number", "8000000012", "Number is not ten digits, the first of them 9"),
    ("Number", "90000000123", "Number is not ten digits"),
    ("Number", " 900000001", "Number is not ten digits"),
    ("Number", "+900000001", "Number is not ten digits"),
    ("Number", "90000O0012", "Number is not ten digits"),
    ("Number", "900000001O", "Number is not ten digits"),
    ("Number", "0x2DA282A8", "Number is not ten digits"),
    ("Number", "", "Number is not ten digits"),
    ("OwnerId", "MTS", "OwnerId is not m followed by"),
    ("OwnerId", "", "OwnerId is not m followed"),
    ("OwnerId", "m" * 52, "OwnerId is not m followed by"),
    ("OwnerId", "mМТС", "OwnerId is not m followed by"),
    ("OwnerId", '"mMTS"', "OwnerId is not m followed by"),
    ("MNC", "1", "MNC is not two digits"),
    ("MNC", "001", "MNC is not two digits"),
    ("MNC", "", "MNC is not two digits"),
    ("RegionCode", "7a", "RegionCode is not two digits"),
    ("RegionCode", "٢٥", "RegionCode is not two digits"),
    ("Route", "D25 01", "Route is not a short word of ASCII"),
    ("PortDate", "2016-09-07T12:00:17", "PortDate is not a time from 1970 to 2106"),
    ("PortDate", "2016-13-07T12:00:17+03:00", "PortDate is not a time from 1970 to 2106"),
    ("PortDate", "07.09.2016 12:00:17", "PortDate is not a time from 1970 to 2106"),
    ("PortDate", "1969-12-31T23:59:59+00:00", "PortDate is not a time from 1970 to 2106"),
    ("PortDate", "2107-01-01T00:00:00Z", "PortDate is not a time from 1970 to 2106"),
    ("Number", "9000\x00000012", "the line holds NUL bytes"),
    ("Route", "D25\r01", "the line holds a carriage return in its middle"),
]


@pytest.mark.parametrize(("column", "cell", "reason"), BAD_CELLS)
@pytest.mark.parametrize("place", [0, 3])
def test_bad_cell(tmp_path, column, cell, reason, place):
    """A cell that is not what its column wants is refused with its line, column and reason."""
    rows = _rows()
    rows[place][column] = cell
    path = bdpn.put(tmp_path, f"{NAME}.csv", bdpn.dump(bdpn.PORT_ALL, rows))
    error = _refused(path)
    assert reason in error.reason
    assert error.line == place + 2


@pytest.mark.parametrize("place", [0, 3])
@pytest.mark.parametrize("route", ["D2501,", "D25,01,,"])
def test_row_with_columns_too_many(tmp_path, place, route):
    """A row with more columns than the header is refused with its line."""
    rows = _rows()
    rows[place]["Route"] = route
    error = _refused(bdpn.put(tmp_path, f"{NAME}.csv", bdpn.dump(bdpn.PORT_ALL, rows)))
    found = 7 + route.count(",")
    assert error.reason == f"the line has {found} columns where 7 are expected"
    assert error.line == place + 2


@pytest.mark.parametrize("suffix", ["csv", "zip"])
def test_bad_row_in_a_later_block(tmp_path, monkeypatch, suffix):
    """The line is right in a file of many blocks, empty lines counted too."""
    rows = _rows(60)
    rows[50]["MNC"] = "x"
    text = bdpn.dump(bdpn.PORT_ALL, rows).replace(b"\r\n", b"\r\n\r\n")
    path = bdpn.put(tmp_path, f"{NAME}.{suffix}", text)
    monkeypatch.setattr(csv_stream, "BLOCK_BYTES", 300)
    error = _refused(path)
    assert error.line == 2 * 51 + 1
    assert error.reason == "MNC is not two digits"


def test_first_of_several_bad_rows_is_named(tmp_path, monkeypatch):
    """Of several bad rows in several blocks the first in the file is named."""
    rows = _rows(60)
    for place in (20, 21, 59):
        rows[place]["Number"] = "12"
    path = bdpn.put(tmp_path, f"{NAME}.csv", bdpn.dump(bdpn.PORT_ALL, rows))
    monkeypatch.setattr(csv_stream, "BLOCK_BYTES", 300)
    assert _refused(path).line == 22


@pytest.mark.parametrize("stated", [4, 6, 2**30])
@pytest.mark.parametrize("name", [f"{NAME}.csv", f"{NAME}.zip"])
def test_row_count_mismatch(tmp_path, name, stated):
    """A dump with fewer or more rows than it counts is refused, however absurd the count."""
    path = bdpn.put(tmp_path, name, bdpn.dump(bdpn.PORT_ALL, _rows(), row_count=stated))
    error = _refused(path)
    assert f"RowCount says {stated}, the file holds 5 rows" in error.reason
    assert "ownload it again" in error.hint


@pytest.mark.parametrize("lost", range(1, 57))
def test_truncated_dump(tmp_path, lost):
    """A dump that ends anywhere within its last row is refused; its last line end may lack."""
    text = bdpn.dump(bdpn.PORT_ALL, _rows())
    path = bdpn.put(tmp_path, f"{NAME}.csv", text[:-lost])
    if lost <= 2:
        assert len(read(path).ported.numbers) == 5
        return
    error = _refused(path)
    assert error.line == 6 or "the file holds 4 rows" in error.reason


@pytest.mark.parametrize("count", ["", "5x", "-5", "5.0", "9000000012"])
def test_unreadable_row_count(tmp_path, count):
    """A first row without a whole number as its row count is refused."""
    rows = _rows()
    rows[0]["RowCount"] = count
    error = _refused(bdpn.put(tmp_path, f"{NAME}.csv", bdpn.dump(bdpn.PORT_ALL, rows)))
    assert error.line == 2
    assert "RowCount" in error.reason


@pytest.mark.parametrize("in_order", [True, False])
def test_duplicate_numbers(tmp_path, monkeypatch, in_order):
    """A number in two rows is refused with both lines and the number masked."""
    rows = _rows(40)
    rows[31] = rows[30] | {"OwnerId": "mTELE2"}
    if not in_order:
        rows[2], rows[31] = rows[31], rows[2]
    path = bdpn.put(tmp_path, f"{NAME}.csv", bdpn.dump(bdpn.PORT_ALL, rows))
    monkeypatch.setattr(csv_stream, "BLOCK_BYTES", 300)
    error = _refused(path)
    lines = (32, 33) if in_order else (4, 32)
    assert f"the number 7900******* occurs in more than one row (lines {lines[0]} and" in str(error)
    assert error.line == lines[1]


def test_duplicate_numbers_after_carriage_returns(tmp_path):
    """Rows that end in a carriage return alone are read, and refused though no line is theirs."""
    rows = [*_rows(3), _rows(1)[0], _rows(2)[1], *_rows(2)[1:]]
    header, first, *others = bdpn.dump(bdpn.PORT_ALL, rows).splitlines()
    data = b"\r\n".join([header, first, b"\r".join(others)])
    assert "occurs in more than one row" in _refused(bdpn.put(tmp_path, f"{NAME}.csv", data)).reason


@pytest.mark.parametrize("homes", [(False, True), (True, True), (True, False)])
@pytest.mark.parametrize("in_order", [True, False])
def test_duplicate_numbers_that_went_home(tmp_path, homes, in_order):
    """A number in two rows of Port_All_Full is refused even where a row says it went home."""
    rows = [bdpn.port_all_full_row(9_000_000_005, "mMTS", "mT2", "mT2")]
    rows += [
        bdpn.port_all_full_row(9_000_000_012, "mMTS", "mT2", "mMTS" if home else "mT2")
        for home in homes
    ]
    if not in_order:
        rows.append(rows.pop(0))
    path = bdpn.put(tmp_path, FULL_NAME, bdpn.dump(bdpn.PORT_ALL_FULL, rows, later_count="0"))
    error = _refused(path)
    assert "more than one row" in error.reason
    assert error.line == (4 if in_order else 3)


@pytest.mark.parametrize("column", ["DonorId", "RangeHolderId"])
def test_bad_codes_of_port_all_full(tmp_path, column):
    """A donor or a range holder that is no code is refused with its line."""
    rows = [bdpn.port_all_full_row(9_000_000_000 + i, "mMTS", "mT2", "mT2") for i in range(4)]
    rows[2][column] = "T2"
    error = _refused(bdpn.put(tmp_path, FULL_NAME, bdpn.dump(bdpn.PORT_ALL_FULL, rows)))
    assert error.line == 4
    assert error.reason.startswith(f"{column} is not m followed by")


def test_empty_file(tmp_path):
    """A file of no bytes is refused as empty."""
    error = _refused(bdpn.put(tmp_path, f"{NAME}.csv", b""))
    assert error.reason == "the file is empty"


def test_dump_without_rows(tmp_path):
    """A full dump that is only a header would delete every number: it is refused."""
    error = _refused(bdpn.put(tmp_path, f"{NAME}.csv", bdpn.dump(bdpn.PORT_ALL, [])))
    assert "holds no rows" in error.reason


def test_web_page_with_the_name_of_a_dump(tmp_path):
    """A server's error page saved under a dump's name is refused."""
    page = b"\r\n<!DOCTYPE html><html><body>502 Bad Gateway</body></html>"
    path = bdpn.put(tmp_path, f"{NAME}.csv", page)
    error = _refused(path)
    assert "looks like an HTML page" in error.reason
    assert "ownload it again" in error.hint


def test_header_that_lacks_a_column(tmp_path):
    """A header without a needed column is refused, and the columns of the kind are named."""
    text = bdpn.dump(bdpn.PORT_ALL.replace("PortDate,", ""), _rows())
    path = bdpn.put(tmp_path, f"{NAME}.csv", text)
    error = _refused(path)
    assert error.line == 1
    assert "PortDate" in str(error)


def test_header_that_names_a_column_twice(tmp_path):
    """A header that names a column twice does not say which is meant: refused."""
    text = bdpn.dump(f"{bdpn.PORT_ALL},MNC", _rows())
    error = _refused(bdpn.put(tmp_path, f"{NAME}.csv", text))
    assert (error.line, error.reason) == (1, "the header names MNC twice")


def test_nul_bytes_in_a_column_that_is_not_needed(tmp_path):
    """NUL bytes are damage wherever they stand."""
    rows = [bdpn.port_all_full_row(9_000_000_000 + i, "mMTS", "mT2", "mT2") for i in range(4)]
    rows[3]["ProcessType"] = "Short\0\0\0"
    path = bdpn.put(tmp_path, FULL_NAME, bdpn.dump(bdpn.PORT_ALL_FULL, rows))
    error = _refused(path)
    assert (error.line, error.reason) == (5, "the line holds NUL bytes")


def test_line_without_end(tmp_path, monkeypatch):
    """A line longer than the limit is refused without being gathered in memory."""
    monkeypatch.setattr(csv_stream, "BLOCK_BYTES", 100_000)
    text = bdpn.dump(bdpn.PORT_ALL, _rows()) + b"9" * 300_000
    error = _refused(bdpn.put(tmp_path, f"{NAME}.csv", text))
    assert "a line is longer than 65536 bytes" in error.reason


def test_too_many_distinct_routes(tmp_path, monkeypatch):
    """A file with more routes than any dump is refused before it fills the memory."""
    monkeypatch.setattr(record_files, "KEYS_MAX", 3)
    rows = [bdpn.port_all_row(9_000_000_000 + i, owner=f"m{i}") for i in range(4)]
    error = _refused(bdpn.put(tmp_path, f"{NAME}.csv", bdpn.dump(bdpn.PORT_ALL, rows)))
    assert "more than 3 distinct" in error.reason


NEW_DEFECTS = [
    (b"9000000013,\r\n", "the line has 2 columns where 3"),
    (b"9000000013,Plain,x\r\n", "RowCount is not a whole number"),
    (b"9000000013,,\r\n", "OrgName is not a name"),
    (b"900000013,Plain,\r\n", "Number is not ten digits"),
    (b"90000000130,Plain,\r\n", "Number is not ten digits"),
    (b"9000000013,Pl\x01ain,\r\n", "the line has 4 columns where 3"),
    (b"9000000013,Pl\x02ain,\r\n", "OrgName is not a name without control characters"),
    ("9000000013,Мир,\r\n".encode("cp1251"), "mixed encodings"),
    (b"9000000013,\x98\x98,\r\n", "mixed encodings"),
]


@pytest.mark.parametrize(("line", "reason"), NEW_DEFECTS)
def test_bad_row_of_the_simplified_tier(tmp_path, line, reason):
    """A bad row of the simplified tier is refused with its line, whatever is allowed for dumps."""
    text = "Number,OrgName,RowCount\r\n9000000012,Ёж,4\r\n9000000020,a,\r\n".encode()
    path = bdpn.put(tmp_path, NEW_NAME, text + line + b"9000000021,b,\r\n")
    error = _refused(path, Tolerance(rejected_rows=9, row_count=True, duplicates=True))
    assert error.line == 4
    assert reason in error.reason


def test_bytes_of_no_encoding(tmp_path):
    """Bytes that are neither UTF-8 nor windows-1251 are refused with their line."""
    text = b"Number,OrgName,RowCount\r\n9000000012,a,2\r\n9000000013,\x98\x98,\r\n"
    error = _refused(bdpn.put(tmp_path, NEW_NAME, text))
    assert (error.line, error.reason) == (3, "the text is not utf-8 or cp1251")


def test_duplicate_number_of_the_simplified_tier(tmp_path):
    """A number in two rows of the simplified tier is refused with both lines."""
    text = b"Number,OrgName,RowCount\r\n9000000012,a,3\r\n9000000013,b,\r\n9000000012,b,\r\n"
    error = _refused(bdpn.put(tmp_path, NEW_NAME, text))
    assert "(lines 2 and 4)" in error.reason


def test_simplified_tier_with_columns_in_another_order(tmp_path):
    """Free text allows one order of columns only: another is refused."""
    text = b"OrgName,Number,RowCount\r\na,9000000012,1\r\n"
    error = _refused(bdpn.put(tmp_path, NEW_NAME, text))
    assert error.line == 1
    assert "the first line is not a header of its kind" in error.reason
