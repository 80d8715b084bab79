"""The real numbering plans, with made-up ported numbers over them, against a slow oracle.

The oracle reads the published files with nothing but `str.split` and answers by bisection and a
plain dict, one number at a time.
"""

from __future__ import annotations

import random
from bisect import bisect_right
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from numroute.index import SnapshotStore
from numroute.model import LineType, Status
from numroute_loader.pipeline import check, publish

NUMBERS = 200_000
PORTED = 20_000
BLOCK = 10**9
"""Russia's numbers begin with 73, 74, 78 or 79; a plan covers those it has ranges in."""

# folder -> encoding, whether the files have a header, and where ИНН and territory stand
VINTAGES = {
    "2014-11": ("windows-1251", True, None, None),
    "2020-08": ("utf-8", True, None, None),
    "2021-04": ("utf-8", False, None, None),
    "2023-07": ("utf-8-sig", True, 6, None),
    "2026-04": ("utf-8-sig", True, 7, 6),
}
SETS = [["2014-11"], ["2020-08"], ["2023-07"], ["2026-04", "2021-04"]]


@dataclass(frozen=True, slots=True)
class Held:
    """What a row of a plan says of its numbers."""

    first: int
    last: int
    tax_number: str
    name: str
    region: str
    line_type: LineType


def read_slowly(path: Path) -> list[Held]:
    """Return the rows of a published file."""
    encoding, header, tax, territory = VINTAGES[path.parent.name]
    rows = []
    for line in path.read_text(encoding).splitlines()[1 if header else 0 :]:
        cells = [cell.strip() for cell in line.split(";")]
        code = cells[0]
        region = cells[5]
        if region == "-" and territory is not None:
            region = cells[territory]
        line_type = LineType.FIXED
        if code.startswith("9"):
            line_type = LineType.MOBILE
        elif code.startswith("80"):
            line_type = LineType.TOLL_FREE if code == "800" else LineType.SERVICE
        rows.append(
            Held(
                first=int("7" + code + cells[1].zfill(7)),
                last=int("7" + code + cells[2].zfill(7)),
                tax_number=cells[tax] if tax is not None else "",
                name=" ".join(cells[4].split()),
                region=region,
                line_type=line_type,
            )
        )
    return sorted(rows, key=lambda held: held.first)


def write_dump(path: Path, ported: dict[int, str]) -> None:
    """Write a full dump of numbers and the operators that they moved to."""
    lines = ["Number,OwnerId,MNC,Route,RegionCode,PortDate,RowCount"]
    for i, (number, operator) in enumerate(ported.items()):
        count = str(len(ported)) if i == 0 else ""
        lines.append(f"{number % 10**10},{operator},01,D7701,77,2024-01-01T00:00:00+03:00,{count}")
    path.write_bytes(("\r\n".join(lines) + "\r\n").encode())


@pytest.mark.parametrize("vintages", SETS, ids="+".join)
def test_every_answer_equals_a_slow_oracle(
    reference_data: Path, tmp_path: Path, vintages: list[str]
) -> None:
    """Every answer over the real plans is what reading the files by hand gives."""
    files = [
        path
        for vintage in vintages
        for path in sorted((reference_data / "numbering_plan" / vintage).glob("*.csv"))
    ]
    plan = sorted(
        (held for path in files for held in read_slowly(path)), key=lambda held: held.first
    )
    rng = random.Random(17)
    mobile = [held for held in plan if held.line_type is LineType.MOBILE]
    ported: dict[int, str] = {}
    while mobile and len(ported) < PORTED:
        held = rng.choice(mobile)
        ported[rng.randint(held.first, held.last)] = rng.choice(["mMTS", "mTELE2", "mAPEKS"])
    inputs = list(files)
    if ported:
        dump = tmp_path / "Port_All_202608230000_4659.csv"
        write_dump(dump, ported)
        inputs.append(dump)
    store = SnapshotStore(tmp_path / "store", create=True)
    publish(store, check(inputs))

    asked = list(ported) + [end for held in plan[::10] for end in (held.first, held.last)]
    while len(asked) < NUMBERS:
        held = rng.choice(plan)
        asked.append(rng.randint(held.first, held.last) if rng.random() < 0.9 else 0)
        asked[-1] = asked[-1] or rng.randint(73_000_000_000, 79_999_999_999)
    starts = [held.first for held in plan]
    covered = {end // BLOCK for held in plan for end in (held.first, held.last)}
    held_status = Status.NOT_PORTED if ported else Status.RANGE_ONLY
    with store.open() as snapshot:
        answers = snapshot.lookup(np.array(asked, np.uint64), range_route=True)
        assert answers.range_route is not None
        routes = [snapshot.route(row) for row in range(snapshot.route_count)]
    seen = set()
    for number, row, range_row in zip(
        asked, answers.route.tolist(), answers.range_route.tolist(), strict=True
    ):
        route, in_range = routes[row], routes[range_row]
        place = bisect_right(starts, number) - 1
        holder = plan[place] if place >= 0 and plan[place].last >= number else None
        if holder is None:
            inside = number // BLOCK in covered
            assert in_range.status is (Status.UNALLOCATED if inside else Status.NOT_COVERED)
        else:
            assert in_range.status is held_status
            assert in_range.operator.tax_number == holder.tax_number
            assert in_range.region.name == holder.region
            assert in_range.line_type is holder.line_type
            # Where a tax number says who it is, the spelling of the name may be another row's.
            assert holder.tax_number or in_range.operator.name == holder.name
        if number in ported:
            assert (route.status, route.operator.code) == (Status.PORTED, ported[number])
        else:
            assert route == in_range
        seen.add(route.status)
    always = {held_status, Status.UNALLOCATED, Status.NOT_COVERED}
    assert seen == always | ({Status.PORTED} if ported else set())
