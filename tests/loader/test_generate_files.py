"""Generated files have the real formats, byte for byte, and the same bytes for equal options."""

from __future__ import annotations

import dataclasses
import hashlib
import re
import stat
import zipfile
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest

from numroute.errors import SettingError
from numroute_loader.generate import (
    GeneratedRegistry,
    GenerateOptions,
    Tier,
    dumps,
    generate,
)
from numroute_loader.registries import read

PORTED = 20_000
OPTIONS = GenerateOptions(ported=PORTED, seed=5, tiers=tuple(Tier))

CODE = rb"m[A-Za-z0-9]{1,50}"
TIME = rb"20\d\d-[01]\d-[0-3]\dT[0-2]\d:[0-5]\d:[0-5]\d\+03:00"
ROUTED = rb"9\d{9}," + CODE + rb",(\d\d),D(\d\d)\1,\2," + TIME
PROCESS = CODE + rb"," + CODE + rb",(?:,|D\d\d(\d\d),\3),(?:ShortTimePort|LongTimePort)"
ROWS = {
    Tier.PORT_ALL: re.compile(ROUTED + rb",\d*\r\n"),
    Tier.PORT_ALL_FULL: re.compile(ROUTED + rb",\d+,\d{16}," + PROCESS + rb"\r\n"),
}
HEADERS = {
    Tier.PORT_ALL: b"Number,OwnerId,MNC,Route,RegionCode,PortDate,RowCount\r\n",
    Tier.PORT_ALL_FULL: b"Number,OwnerId,MNC,Route,RegionCode,PortDate,RowCount,NPId,DonorId,"
    b"RangeHolderId,OldRoute,OldMNC,ProcessType\r\n",
}


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> GeneratedRegistry:
    """Return a registry with all tiers."""
    return generate(tmp_path_factory.mktemp("registry"), OPTIONS)


def csv_lines(path: Path) -> list[bytes]:
    """Return the lines of a dump, line ends included."""
    if path.suffix == ".csv":
        return path.read_bytes().splitlines(keepends=True)
    with zipfile.ZipFile(path) as archive:
        (member,) = archive.namelist()
        assert member == f"{path.stem}.csv"
        return archive.read(member).splitlines(keepends=True)


def tier_path(registry: GeneratedRegistry, tier: Tier) -> Path:
    """Return the full dump of a tier."""
    return registry.port_all[list(Tier).index(tier)]


def rows_of(registry: GeneratedRegistry, tier: Tier) -> list[list[str]]:
    """Return the cells of a full dump, without the header."""
    lines = csv_lines(tier_path(registry, tier))[1:]
    return [line.decode().rstrip("\r\n").split(",") for line in lines]


def test_equal_options_give_equal_bytes(registry: GeneratedRegistry, tmp_path: Path):
    """A second run with the same options writes the same bytes into every file."""
    again = generate(tmp_path, OPTIONS)
    assert [path.name for path in again.paths] == [path.name for path in registry.paths]
    for first, second in zip(registry.paths, again.paths, strict=True):
        assert first.read_bytes() == second.read_bytes(), first.name


def test_bytes_are_the_same_on_every_machine(tmp_path: Path):
    """The digests of the text files are fixed: they change with the generator and nothing else."""
    made = generate(tmp_path, GenerateOptions(ported=3000, seed=1, zipped=False, tiers=tuple(Tier)))
    digests = {
        path.name.split("_2026")[0]: hashlib.sha256(path.read_bytes()).hexdigest()[:16]
        for path in made.paths
    }
    assert digests == {
        "Operators": "46b046cda4f9c1fa",
        "Numbering_plan": "0f80ff0b44792b5c",
        "Port_All": "e3979ea5a550ac6a",
        "Port_All_Full": "1c87297157f7753f",
        "ABC-3xx.csv": "e297b0dde04c08a3",
        "ABC-4xx.csv": "c08762701dc42879",
        "ABC-8xx.csv": "3b0610d832acb658",
        "DEF-9xx.csv": "a12cdaa0e531f6cc",
    }


def test_another_seed_gives_another_registry(registry: GeneratedRegistry, tmp_path: Path):
    """The seed changes the plan and the ported numbers."""
    other = generate(tmp_path, dataclasses.replace(OPTIONS, seed=6))
    numbers = {row[0] for row in rows_of(registry, Tier.PORT_ALL)}
    assert len(numbers & {row[0] for row in rows_of(other, Tier.PORT_ALL)}) < PORTED // 10
    assert registry.plan[-1].read_bytes() != other.plan[-1].read_bytes()


def test_files_are_named_by_day_and_sequence(tmp_path: Path):
    """Names carry the day at 0000 and each kind's own sequence, as seen in 2018."""
    options = dataclasses.replace(OPTIONS, ported=10, date=date(2018, 7, 6))
    names = [path.name for path in generate(tmp_path, options).paths]
    assert names[:3] == [
        "Operators_201807060000_1690.zip",
        "Numbering_plan_201807060000_1690.zip",
        "Port_All_201807060000_1689.zip",
    ]
    assert re.fullmatch(r"Port_All_Full_201807060000_\d+\.zip", names[3])
    assert names[4:] == ["ABC-3xx.csv", "ABC-4xx.csv", "ABC-8xx.csv", "DEF-9xx.csv"]


def test_files_are_the_owners_only(registry: GeneratedRegistry):
    """Nobody but the owner can read what was generated."""
    assert {stat.S_IMODE(path.stat().st_mode) for path in registry.paths} == {0o600}


@pytest.mark.parametrize("tier", list(Tier))
def test_rows_of_full_dumps_have_the_real_shape(registry: GeneratedRegistry, tier: Tier):
    """Every row matches its format to the byte, line end included."""
    header, *lines = csv_lines(tier_path(registry, tier))
    assert header == HEADERS[tier]
    assert [line for line in lines if not ROWS[tier].fullmatch(line)] == []


@pytest.mark.parametrize(
    ("tier", "rows", "later"),
    [
        (Tier.PORT_ALL, PORTED, ""),
        (Tier.PORT_ALL_FULL, PORTED + PORTED // 40, "0"),
    ],
)
def test_row_count_stands_in_the_first_row_only(
    registry: GeneratedRegistry, tier: Tier, rows: int, later: str
):
    """The first data row states the rows; later ones are empty, or 0 in Port_All_Full."""
    column = HEADERS[tier].decode().rstrip().split(",").index("RowCount")
    stated = [row[column] for row in rows_of(registry, tier)]
    assert stated == [str(rows)] + [later] * (rows - 1)


def test_route_is_made_of_region_and_mnc(registry: GeneratedRegistry):
    """Route is D, the region code and the MNC, leading zeros kept."""
    rows = rows_of(registry, Tier.PORT_ALL)
    assert all(row[3] == f"D{row[4]}{row[2]}" for row in rows)
    assert any(row[2].startswith("0") for row in rows)
    assert any(row[4].startswith("0") for row in rows)


def test_full_dump_without_returned_rows_is_port_all(registry: GeneratedRegistry):
    """Port_All_Full minus the rows whose owner is the range holder is Port_All."""
    full = rows_of(registry, Tier.PORT_ALL_FULL)
    home = [row for row in full if row[1] == row[9]]
    away = [row[:6] for row in full if row[1] != row[9]]
    assert away == [row[:6] for row in rows_of(registry, Tier.PORT_ALL)]
    assert len(home) == registry.returned_home == PORTED // 40


def test_the_old_route_is_that_of_a_donor_other_than_the_holder(registry: GeneratedRegistry):
    """OldRoute and OldMNC are filled exactly where the donor is not the range holder."""
    rows = rows_of(registry, Tier.PORT_ALL_FULL)
    assert all((row[8] == row[9]) == (row[10] == "") == (row[11] == "") for row in rows)
    assert all(row[10] == f"D{row[4]}{row[11]}" for row in rows if row[10])
    assert {len(row) for row in rows} == {13}


def test_operators_keep_quotes_and_leading_zeros(registry: GeneratedRegistry):
    """Operators has CRLF, raw quotes, text MNCs, empty tax numbers and one RowCount."""
    header, *lines = csv_lines(registry.operators)
    assert header == b"OrgCode,MNC,TIN,OrgName,RowCount\r\n"
    shape = re.compile(rb"m[A-Za-z0-9]{1,50},\d\d,(?:\d{10})?,[^,\r\n]+,(\d*)\r\n")
    found = [shape.fullmatch(line) for line in lines]
    assert [match[1] for match in found if match] == [str(len(lines)).encode()] + [b""] * (
        len(lines) - 1
    )
    rows = [line.decode().split(",") for line in lines]
    assert '"МегаФон" ПАО' in {row[3] for row in rows}
    assert any(row[2] == "" for row in rows)
    assert len({row[0] for row in rows if row[1] == "20"}) > 2
    assert len([row for row in rows if row[0] == "mROSTELECOM"]) > 2


def test_the_registrys_plan_is_the_mobile_plan(registry: GeneratedRegistry):
    """Numbering_plan holds the ranges of the DEF file, row by row."""
    header, *lines = csv_lines(registry.numbering_plan)
    assert header == b"NumberFrom,NumberTo,OwnerId,RegionCode,MNC,RowCount\r\n"
    shape = re.compile(rb"(9\d{9}),(9\d{9})," + CODE + rb",\d\d,\d\d,(\d*)\r\n")
    rows = [shape.fullmatch(line) for line in lines]
    assert rows[0][3] == str(len(lines)).encode()
    assert {row[3] for row in rows[1:]} == {b""}
    plan = registry.plan[-1].read_text(encoding="utf-8-sig").split("\n")[1:]
    cells = [line.split(";") for line in plan]
    assert [(f"{c[0]}{c[1]}", f"{c[0]}{c[2]}") for c in cells] == [
        (row[1].decode(), row[2].decode()) for row in rows
    ]


@pytest.mark.parametrize("index", range(4))
def test_modern_plan_files_have_eight_columns(registry: GeneratedRegistry, index: int):
    """The 2026 era: BOM, LF, eight columns, padded numbers, right capacities, in order."""
    raw = registry.plan[index].read_bytes()
    assert raw.startswith(b"\xef\xbb\xbf")
    assert b"\r" not in raw
    header, *lines = raw.decode("utf-8-sig").split("\n")
    assert header == "АВС/ DEF;От;До;Емкость;Оператор;Регион;Территория ГАР;ИНН"
    shape = re.compile(r"([3489]\d\d);(\d{7});(\d{7});(\d+);([^;]+);([^;]+);([^;]+);(\d{10})")
    rows = [shape.fullmatch(line) for line in lines]
    first = np.array([int(row[1] + row[2]) for row in rows])
    last = np.array([int(row[1] + row[3]) for row in rows])
    assert ([int(row[4]) for row in rows] == last - first + 1).all()
    assert (first <= last).all()
    assert (first[1:] > last[:-1]).all()


def test_plain_files_hold_what_the_zips_hold(registry: GeneratedRegistry, tmp_path: Path):
    """Without zipping the same CSV is written under the name that it has in the zip."""
    plain = generate(tmp_path, dataclasses.replace(OPTIONS, zipped=False))
    for zipped, csv in zip(registry.paths, plain.paths, strict=True):
        assert csv.suffix == ".csv"
        assert csv_lines(csv) == csv_lines(zipped)


def test_the_loader_accepts_every_generated_file(registry: GeneratedRegistry):
    """The registries' readers read all files without a warning and find what was stated."""
    parsed = [read(path) for path in registry.paths]
    assert [file.warnings for file in parsed if file.warnings] == []
    ported = [file.ported for file in parsed if file.ported is not None]
    assert [len(records.numbers) for records in ported] == [PORTED] * 2
    assert [records.returned_home for records in ported] == [0, registry.returned_home]
    assert parsed[1].source.rows == registry.mobile_ranges
    ranges = [file.ranges for file in parsed if file.ranges is not None]
    assert len(ranges) == 5
    assert sum(len(plan.first) for plan in ranges[1:]) == (
        registry.fixed_ranges + registry.mobile_ranges
    )
    assert int((ranges[-1].last - ranges[-1].first + 1).sum()) == registry.mobile_numbers


def test_no_port_is_later_than_the_dump(tmp_path: Path):
    """Ports lie between the beginning of portability and midnight of the dump's day."""
    day = date(2016, 2, 10)
    made = generate(tmp_path, GenerateOptions(ported=5000, date=day))
    days = [date.fromisoformat(row[5][:10]) for row in rows_of(made, Tier.PORT_ALL)]
    assert date(2013, 12, 1) <= min(days)
    assert day - timedelta(days=7) < max(days) < day


def test_an_empty_dump_is_a_header(tmp_path: Path):
    """Nothing ported: the full dumps hold their header and no row count."""
    made = generate(tmp_path, dataclasses.replace(OPTIONS, ported=0))
    assert [csv_lines(path) for path in made.port_all] == [[HEADERS[tier]] for tier in Tier]
    assert made.returned_home == 0


def test_an_existing_file_is_not_replaced(tmp_path: Path):
    """A file of a wanted name is refused with a hint, and nothing else is written."""
    (tmp_path / "DEF-9xx.csv").write_text("mine")
    with pytest.raises(SettingError, match=r"DEF-9xx\.csv cannot be written: File exists"):
        generate(tmp_path, GenerateOptions(ported=10))
    assert [path.name for path in tmp_path.iterdir()] == ["DEF-9xx.csv"]
    assert (tmp_path / "DEF-9xx.csv").read_text() == "mine"


def test_a_folder_that_is_a_file_is_refused(tmp_path: Path):
    """A folder that cannot be made is an error with the system's reason."""
    (tmp_path / "file").touch()
    with pytest.raises(SettingError, match="below cannot be written: Not a directory"):
        generate(tmp_path / "file" / "below", GenerateOptions(ported=10))


def test_a_failed_run_leaves_no_file(tmp_path: Path):
    """When a run is broken off half way, the files that it made are taken back."""

    def stop(stage: str, _done: int, _total: int) -> None:
        if stage == "ported numbers":
            assert list(tmp_path.iterdir())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate(tmp_path, GenerateOptions(ported=10), progress=stop)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_an_error_with_a_hint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The system's refusal to write is reported as such, and nothing is left behind."""

    def no_space(_path: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(dumps, "create_private", no_space)
    with pytest.raises(SettingError, match="No space left on device"):
        generate(tmp_path, GenerateOptions(ported=10))
    assert list(tmp_path.iterdir()) == []


def test_progress_counts_to_the_end(tmp_path: Path):
    """Each stage reports from 0 to its total."""
    seen: list[tuple[str, int, int]] = []
    options = GenerateOptions(ported=1000)
    generate(tmp_path, options, progress=lambda *step: seen.append(step))
    assert [step for step in seen if step[0] == "plan"] == [("plan", 0, 1), ("plan", 1, 1)]
    assert seen[-1][1] == seen[-1][2]
    assert seen[-1][0] == "ported numbers"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ported": -1}, "ported is -1"),
        ({"ported": 100_000_001}, "ported is 100000001"),
        ({"seed": -1}, "seed is -1"),
        ({"seed": 2**63}, "seed is"),
        ({"date": date(2013, 12, 1)}, "date is 2013-12-01"),
        ({"tiers": ()}, "tiers are missing"),
        ({"tiers": ("Port_Increment",)}, "tiers are Port_Increment"),
    ],
)
def test_options_out_of_range_are_refused(change: dict[str, object], message: str):
    """A wrong option is refused before anything is made, with what to give instead."""
    with pytest.raises(SettingError, match=message) as caught:
        GenerateOptions(**change)
    assert caught.value.hint
