"""The operator table and the numbering plan of the ru-bdpn registry."""

from __future__ import annotations

import tempfile
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import bdpn

from numroute.errors import InputError
from numroute.model import LineType
from numroute_loader.reading import csv_stream
from numroute_loader.reading.description import RouteKey
from numroute_loader.registries import read

OPERATORS = "Operators_202307180000_3528.csv"
PLAN = "Numbering_plan_202307180000_3528.csv"


def _range(first: int, last: int, owner: str = "mMTS") -> bdpn.Row:
    return {
        "NumberFrom": str(first),
        "NumberTo": str(last),
        "OwnerId": owner,
        "RegionCode": "01",
        "MNC": "09",
    }


def _operator(code: str, mnc: str, tax_number: str, name: str) -> RouteKey:
    return RouteKey(operator_code=code, registry_mnc=mnc, tax_number=tax_number, operator_name=name)


def _refused(path: Path) -> InputError:
    with pytest.raises(InputError) as caught:
        read(path)
    assert caught.value.hint
    return caught.value


@pytest.mark.parametrize("encoding", ["utf-8", "cp1251"])
@pytest.mark.parametrize("suffix", ["csv", "zip"])
def test_operators(tmp_path, encoding, suffix):
    """Quotes and commas of a name are kept, zeros lead, and a tax number may be none."""
    text = (
        f"{bdpn.OPERATORS}\r\n"
        'mAIKONEKT,51,,"Айконнект" ООО,4\r\n'
        'mAPEKS,09,7444007177,"АПЕКС" ОАО,\r\n'
        "mapeks,09,нет,Ромашка, Лтд, Ко,\r\n"
        "mAPEKS,10,7444007177,,0\r\n"
    )
    path = bdpn.put(tmp_path, f"Operators_202307180000_3528.{suffix}", text.encode(encoding))
    parsed = read(path)
    assert parsed.operators == (
        RouteKey(
            operator_code="mAIKONEKT",
            registry_mnc="51",
            tax_number="",
            operator_name='"Айконнект" ООО',
        ),
        RouteKey(
            operator_code="mAPEKS",
            registry_mnc="09",
            tax_number="7444007177",
            operator_name='"АПЕКС" ОАО',
        ),
        RouteKey(
            operator_code="mapeks",
            registry_mnc="09",
            tax_number="",
            operator_name="Ромашка, Лтд, Ко",
        ),
        RouteKey(
            operator_code="mAPEKS", registry_mnc="10", tax_number="7444007177", operator_name=""
        ),
    )
    assert parsed.warnings == ("1 rows have a tax number that is not one",)
    assert parsed.source.rows == 4


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("mB,02,", "the line has 3 columns where 5 are expected"),
        ("mB,02,1,name", "the line has 4 columns where 5"),
        ("B,02,,name,", "OrgCode is not m followed by"),
        ("mB,2,,name,", "MNC is not two digits"),
        ("mB,02,,name,x", "RowCount is not a whole number"),
        ("mA,01,,again,", "OrgCode and MNC are those of line 2"),
        ("mB,02,,na\x00me,", "the line holds NUL bytes"),
    ],
)
def test_bad_row_of_operators(tmp_path, line, reason):
    """A bad row of the operator table is refused with its line and reason."""
    text = f"{bdpn.OPERATORS}\r\nmA,01,,a,3\r\n\r\n{line}\r\nmC,03,,c,\r\n".encode()
    path = bdpn.put(tmp_path, OPERATORS, text)
    error = _refused(path)
    assert error.line == 4
    assert reason in error.reason


def test_mixed_encodings_of_operators(tmp_path):
    """A name in another encoding than those before it is refused with its line."""
    text = f"{bdpn.OPERATORS}\r\nmA,01,,Ёж,2\r\n".encode() + "mB,02,,Мир,\r\n".encode("cp1251")
    error = _refused(bdpn.put(tmp_path, OPERATORS, text))
    assert error.line == 3
    assert "mixed encodings" in error.reason


def test_row_count_of_operators(tmp_path):
    """An operator table cut short is refused."""
    text = f"{bdpn.OPERATORS}\r\nmA,01,,a,2\r\n".encode()
    error = _refused(bdpn.put(tmp_path, OPERATORS, text))
    assert "RowCount says 2, the file holds 1 rows" in error.reason


@settings(max_examples=50, deadline=None)
@given(
    cuts=st.lists(
        st.integers(9_000_000_000, 9_999_999_999), min_size=2, max_size=30, unique=True
    ).map(sorted),
    data=st.data(),
)
def test_numbering_plan_round_trip(cuts, data):
    """A plan in any order reads back as its ranges, ascending."""
    owners = ("mMTS", "mTELE2", "mT2")
    rows = [
        _range(first, last - 1, data.draw(st.sampled_from(owners)))
        for first, last in pairwise(cuts)
    ]
    shuffled = data.draw(st.permutations(rows))
    with tempfile.TemporaryDirectory() as folder:
        parsed = read(bdpn.put(Path(folder), PLAN, bdpn.dump(bdpn.NUMBERING_PLAN, shuffled)))
    ranges = parsed.ranges
    assert ranges.first.dtype == ranges.last.dtype == np.uint64
    assert ranges.key.dtype == np.uint32
    offset = 7 * 10**10
    assert ranges.first.tolist() == [int(row["NumberFrom"]) + offset for row in rows]
    assert ranges.last.tolist() == [int(row["NumberTo"]) + offset for row in rows]
    assert [ranges.keys[i] for i in ranges.key] == [
        RouteKey(
            operator_code=row["OwnerId"],
            region_code="01",
            registry_mnc="09",
            line_type=LineType.MOBILE,
        )
        for row in rows
    ]


@pytest.mark.parametrize(
    ("first", "last", "what"),
    [
        (9_000_000_100, 9_000_000_199, "overlaps another"),
        (9_000_000_150, 9_000_000_160, "overlaps another"),
        (9_000_000_199, 9_000_000_299, "overlaps another"),
        (9_000_000_000, 9_000_000_100, "overlaps another"),
    ],
)
def test_duplicate_or_overlapping_ranges(tmp_path, monkeypatch, first, last, what):
    """Two ranges that share a number are refused with both lines and no full number."""
    monkeypatch.setattr(csv_stream, "BLOCK_BYTES", 100)
    rows = [
        _range(9_000_000_300, 9_000_000_399),
        _range(9_000_000_100, 9_000_000_199),
        _range(9_000_000_400, 9_000_000_499),
        _range(first, last),
    ]
    error = _refused(bdpn.put(tmp_path, PLAN, bdpn.dump(bdpn.NUMBERING_PLAN, rows)))
    assert what in error.reason
    assert "(lines 3 and 5)" in error.reason
    assert "9000000" not in str(error)


def test_range_within_a_range_that_is_not_its_neighbour(tmp_path):
    """A range that overlaps one further before it is refused with the two lines that overlap."""
    rows = [
        _range(9_000_000_000, 9_000_000_999),
        _range(9_000_001_000, 9_000_009_999),
        _range(9_000_002_000, 9_000_002_999),
    ]
    error = _refused(bdpn.put(tmp_path, PLAN, bdpn.dump(bdpn.NUMBERING_PLAN, rows)))
    assert "(lines 3 and 4)" in error.reason


def test_range_that_ends_before_it_begins(tmp_path):
    """A range whose last number is before its first is refused with its line."""
    rows = [_range(9_000_000_000, 9_000_000_009), _range(9_000_000_029, 9_000_000_020)]
    error = _refused(bdpn.put(tmp_path, PLAN, bdpn.dump(bdpn.NUMBERING_PLAN, rows)))
    assert (error.line, error.reason) == (3, "NumberFrom is greater than NumberTo")


def test_row_count_of_a_plan(tmp_path):
    """A plan cut short is refused."""
    rows = [_range(9_000_000_000, 9_000_000_009)]
    text = bdpn.dump(bdpn.NUMBERING_PLAN, rows, row_count=7)
    error = _refused(bdpn.put(tmp_path, PLAN, text))
    assert "RowCount says 7, the file holds 1 rows: the file is cut short" in error.reason
