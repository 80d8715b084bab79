"""Every vintage of the real numbering plan against a plain reading of its lines."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from numroute.model import LineType
from numroute_loader.registries import read as read_file
from numroute_loader.registries.ru_numbering_plan import KINDS

VINTAGES = {
    "2014-11/Kody_ABC-8kh.csv": 49_344,
    "2020-08/DEF-9xx.csv": 7_931,
    "2021-04/Kody_ABC-3kh.csv": 57_581,
    "2021-04/Kody_ABC-4kh.csv": 244_598,
    "2021-04/Kody_ABC-8kh.csv": 75_626,
    "2023-07/DEF-9xx.csv": 9_853,
    "2026-04/DEF-9xx.csv": 16_629,
}


def line_type_of(code: str) -> LineType:
    """Return what the description of the plan says of a code."""
    if code == "800":
        return LineType.TOLL_FREE
    if code.startswith("80"):
        return LineType.SERVICE
    return LineType.MOBILE if code.startswith("9") else LineType.FIXED


def plain_reading(path: Path) -> list[tuple[int, int, str, str, str, LineType]]:
    """Return (first, last, operator, region, tax number, line type) with nothing but ``split``."""
    raw = path.read_bytes()
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = raw.decode("windows-1251")
    rows = []
    for line in text.split("\n"):
        if not line or not line[0].isdigit():
            continue
        cells = [cell.strip() for cell in line.split(";")]
        region = cells[5]
        if region == "-":
            region = cells[6]
        rows.append(
            (
                int("7" + cells[0] + cells[1].zfill(7)),
                int("7" + cells[0] + cells[2].zfill(7)),
                " ".join(cells[4].split()),
                region,
                cells[-1] if len(cells) > 6 else "",
                line_type_of(cells[0]),
            )
        )
    return rows


@pytest.mark.parametrize("name", VINTAGES)
def test_vintage_reads_as_its_lines_say(reference_data: Path, name: str):
    """Every range of every vintage has the bounds and the key that its line states."""
    path = reference_data / "numbering_plan" / name
    parsed = read_file(path)
    ranges = parsed.ranges
    found = [
        (
            first,
            last,
            ranges.keys[key].operator_name,
            ranges.keys[key].region_name,
            ranges.keys[key].tax_number,
            ranges.keys[key].line_type,
        )
        for first, last, key in zip(
            ranges.first.tolist(), ranges.last.tolist(), ranges.key.tolist(), strict=True
        )
    ]
    assert found == plain_reading(path)
    assert len(set(ranges.keys)) == len(ranges.keys)
    assert parsed.warnings == ()


@pytest.mark.parametrize(("name", "rows"), VINTAGES.items())
def test_vintage_is_recognised_and_described(reference_data: Path, name: str, rows: int):
    """A vintage is told by its name and by its first bytes, and described with rows and digest."""
    path = reference_data / "numbering_plan" / name
    (kind,) = KINDS
    assert kind.file_name.fullmatch(path.stem)
    assert kind.header(path.read_bytes()[:65_536])
    source = read_file(path).source
    assert (source.registry, source.kind, source.rows) == (
        "ru-numbering-plan",
        "ru-numbering-plan/plan",
        rows,
    )
    assert source.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
