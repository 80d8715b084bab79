"""What bad dumps look like: each is caught, by the checks that should, and good days are not."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from support.bdpn import NUMBERING_PLAN, put
from support.bdpn import dump as text_of
from support.dict_registry import rows_of
from support.gate_days import DAYS, Days, failed, scaled_limits
from support.registry import command

from numroute.errors import InputError
from numroute.index import SnapshotStore
from numroute_loader.gate.checks import CHECKS
from numroute_loader.gate.findings import GateError, Outcome
from numroute_loader.pipeline import check, publish

Rows = list[dict[str, str]]
Spoil = Callable[[Callable[[Rows], Rows]], Path]


def outcomes(days: Days, dump: Path | None = None) -> dict[str, tuple[Outcome, str]]:
    findings = days.judge(dump).findings
    assert [finding.check for finding in findings] == list(CHECKS)
    return {finding.check: (finding.outcome, finding.message) for finding in findings}


def test_normal_days_pass(days: Days, tmp_path: Path) -> None:
    """Day after day nothing is refused, and every check that can be made is made."""
    store = SnapshotStore(tmp_path / "store", create=True)
    for day, files in enumerate(days.files):
        kinds = ("Operators", "Numbering_plan", "Port_All")
        inputs = [files[kind] for kind in kinds]
        checked = check(inputs, store, limits=scaled_limits())
        assert failed(checked) == set(), checked.findings
        unmade = {f.check for f in checked.findings if f.outcome is Outcome.NOT_CHECKED}
        without_store = {
            "sequence", "age", "shrinkage", "plan_shrinkage", "range_holders", "growth",
            "operator_change", "movement", "updates",
        }  # fmt: skip
        assert unmade == {"chosen_numbers", "drift", "read_back"} | (
            set() if day else without_store
        )
        publish(store, checked)


def test_a_full_dump_of_the_other_kind_passes(days: Days) -> None:
    """Port_All_Full of the same day says the same, though it has more rows."""
    checked = days.judge(days.files[1]["Port_All_Full"])
    assert failed(checked) == set(), checked.findings


def test_some_days_without_a_dump_pass(days: Days) -> None:
    """After days without a dump the limits per day have grown."""
    assert failed(days.judge(day=DAYS)) == set()


def test_two_operators_swapped(days: Days, spoiled: Spoil) -> None:
    """Every number of one operator is told of the other, and the other way round."""

    def swap(rows: Rows) -> Rows:
        sample = {row["OwnerId"]: row for row in rows}
        one, other = dict(sample["mMTS"]), dict(sample["mMEGAFON"])
        for row in rows:
            new = {"mMTS": other, "mMEGAFON": one}.get(row["OwnerId"])
            if new is not None:
                row["OwnerId"], row["MNC"] = new["OwnerId"], new["MNC"]
                row["Route"] = f"D{row['RegionCode']}{row['MNC']}"
        return rows

    found = outcomes(days, spoiled(swap))
    assert found["movement"][0] is Outcome.FAILED
    assert "mMTS to mMEGAFON" in found["movement"][1]
    assert "mMEGAFON to mMTS" in found["movement"][1]


def test_two_operators_of_the_same_size_swapped(days: Days, spoiled: Spoil) -> None:
    """Where no operator's count changes, the numbers that moved betray it."""

    def swap(rows: Rows) -> Rows:
        ones = [row for row in rows if row["OwnerId"] == "mMTS"][:2000]
        others = [row for row in rows if row["OwnerId"] == "mMEGAFON"][:2000]
        for one, other in zip(ones, others, strict=True):
            for name in ("OwnerId", "MNC", "Route", "RegionCode"):
                one[name], other[name] = other[name], one[name]
        return rows

    assert failed(days.judge(spoiled(swap))) == {"movement"}


def test_rows_shifted_against_each_other(days: Days, spoiled: Spoil) -> None:
    """Each number has the operator of the row before."""

    def shift(rows: Rows) -> Rows:
        names = ("OwnerId", "MNC", "Route", "RegionCode", "PortDate")
        values = [[row[name] for name in names] for row in rows]
        for row, value in zip(rows, values[-1:] + values[:-1], strict=True):
            row.update(zip(names, value, strict=True))
        return rows

    assert failed(days.judge(spoiled(shift))) == {"movement", "updates"}


def test_routes_shifted_against_each_other(days: Days, spoiled: Spoil) -> None:
    """Each number has its own operator, and the MNC, route and region of the row before."""

    def shift(rows: Rows) -> Rows:
        names = ("MNC", "Route", "RegionCode")
        values = [[row[name] for name in names] for row in rows]
        for row, value in zip(rows, values[-1:] + values[:-1], strict=True):
            row.update(zip(names, value, strict=True))
        return rows

    found = outcomes(days, spoiled(shift))
    assert {c for c, (o, _) in found.items() if o is Outcome.FAILED} == {"updates"}
    assert "kept their operator and changed region, MNC or routing number" in found["updates"][1]


def test_a_column_of_routes_shifted_alone(days: Days, spoiled: Spoil) -> None:
    """Routing numbers that belong to other rows do not agree with region and MNC."""

    def shift(rows: Rows) -> Rows:
        routes = [row["Route"] for row in rows]
        return [
            {**row, "Route": route}
            for row, route in zip(rows, routes[-1:] + routes[:-1], strict=True)
        ]

    found = outcomes(days, spoiled(shift))
    assert {c for c, (o, _) in found.items() if o is Outcome.FAILED} == {
        "updates", "routing_numbers",
    }  # fmt: skip
    assert "do not agree with their region and MNC" in found["routing_numbers"][1]


def test_a_few_routing_numbers_that_disagree_are_counted(days: Days, spoiled: Spoil) -> None:
    """Less than one in a hundred is a peculiarity of the registry: the finding says so."""

    def wrong(rows: Rows) -> Rows:
        return [{**row, "Route": "D0000"} if i < 20 else row for i, row in enumerate(rows)]

    found = outcomes(days, spoiled(wrong))
    assert found["routing_numbers"][0] is Outcome.PASSED
    assert found["routing_numbers"][1].startswith("20 of ")
    assert "D0000 with region" in found["routing_numbers"][1]


def test_holders_of_the_plan_shifted_by_a_row(days: Days, tmp_path: Path) -> None:
    """Nearly every number of the plan has another holder: refused, and counted once allowed."""
    path = days.files[1]["Numbering_plan"]
    rows = [
        {name: cell for name, cell in row.items() if name != "RowCount"} for row in rows_of(path)
    ]
    owners = [row["OwnerId"] for row in rows]
    for row, owner in zip(rows, owners[-1:] + owners[:-1], strict=True):
        row["OwnerId"] = owner
    plan = put(tmp_path, path.name, text_of(NUMBERING_PLAN, rows))
    refused = days.judge(Numbering_plan=plan)
    assert failed(refused) == {"range_holders"}
    (finding,) = [f for f in refused.findings if f.check == "range_holders"]
    assert "numbers of the plan changed their range holder" in finding.message
    assert finding.actual is not None
    assert finding.actual > 0.3
    shutil.copytree(days.store.path, tmp_path / "store")
    store = SnapshotStore(tmp_path / "store")
    publish(store, days.judge(Numbering_plan=plan, allowed=("range_holders",)), reason="a test")
    changed = store.history()[-1]["counts"]["range_holders_changed"]
    shown = command("numroute-load", "history", "--store", store.path, "--last", 1).out
    assert f"range holders of {changed:,} numbers" in shown
    diff = json.loads(command("numroute-load", "diff", "--store", store.path, "--json").out)
    assert diff["range_holders"]["changed"] == changed > 1_000_000
    assert " to " in diff["range_holders"]["flows"][0]
    table = command("numroute-load", "diff", "--store", store.path).out
    assert f"{changed:,} of" in table


def test_one_holder_that_loses_its_ranges(days: Days, tmp_path: Path) -> None:
    """A loss that is little of the whole plan, and much of one holder's numbers, is named."""
    path = days.files[1]["Numbering_plan"]
    rows = [
        {name: cell for name, cell in row.items() if name != "RowCount"} for row in rows_of(path)
    ]
    sizes: Counter[str] = Counter()
    for row in rows:
        sizes[row["OwnerId"]] += int(row["NumberTo"]) - int(row["NumberFrom"]) + 1
    total = sizes.total()
    loser = next(code for code, size in sizes.most_common() if size < total / 1100)
    for row in rows:
        if row["OwnerId"] == loser:
            row["OwnerId"] = "mMTS"
    plan = put(tmp_path, path.name, text_of(NUMBERING_PLAN, rows))
    judged = days.judge(Numbering_plan=plan, limits={"range_holders_numbers_min": 100})
    assert failed(judged) == {"range_holders"}
    (finding,) = [f for f in judged.findings if f.check == "range_holders"]
    assert f"{loser} {sizes[loser]:,} of {sizes[loser]:,}" in finding.message


def test_one_unknown_operator_is_a_warning(days: Days, spoiled: Spoil) -> None:
    """A new operator that the table does not name yet does not hold up a dump."""

    def one(rows: Rows) -> Rows:
        return [{**row, "OwnerId": "mNEWCOMER"} if i < 10 else row for i, row in enumerate(rows)]

    found = outcomes(days, spoiled(one))
    assert found["unknown_operators"][0] is Outcome.WARNING
    assert "mNEWCOMER (10 numbers" in found["unknown_operators"][1]

    def many(rows: Rows) -> Rows:
        return [{**row, "OwnerId": "mNEWCOMER"} if i < 100 else row for i, row in enumerate(rows)]

    found = outcomes(days, spoiled(many))
    assert found["unknown_operators"][0] is Outcome.FAILED


def test_a_share_that_only_few_numbers_exceed_is_said(days: Days, spoiled: Spoil) -> None:
    """In a small registry the share is above its limit and the numbers are few."""

    def move(rows: Rows) -> Rows:
        return [
            {**row, "OwnerId": "mMTS", "MNC": "01", "Route": f"D{row['RegionCode']}01"}
            if i % 40 == 0
            else row
            for i, row in enumerate(rows)
        ]

    judged = days.judge(spoiled(move), limits={"movement_numbers_min": 100_000})
    (finding,) = [f for f in judged.findings if f.check == "movement"]
    assert finding.outcome is Outcome.PASSED
    assert "it passes because it is not more than 100,000 numbers" in finding.message


def test_numbers_off_by_one(days: Days, spoiled: Spoil) -> None:
    """The records are right and each number is one too high."""

    def shift(rows: Rows) -> Rows:
        for row in rows:
            row["Number"] = str(int(row["Number"]) + 1)
        return rows

    assert "movement" in failed(days.judge(spoiled(shift)))


@pytest.mark.parametrize("columns", [("OwnerId", "MNC"), ("MNC", "Route"), ("Number", "OwnerId")])
def test_columns_exchanged(days: Days, tmp_path: Path, columns: tuple[str, str]) -> None:
    """Cells under another column's name are no cells of that column, and the line is named."""
    text = data_of(days.files[1]["Port_All"])
    header, rest = text.split("\r\n", 1)
    one, other = columns
    names = [{one: other, other: one}.get(name, name) for name in header.split(",")]
    name = days.files[1]["Port_All"].name
    dump = put(tmp_path, name, ("\r\n".join((",".join(names), rest))).encode())
    with pytest.raises(InputError, match=rf"{name}:2: "):
        days.judge(dump)


def test_columns_in_another_order_pass(days: Days, spoiled: Spoil, tmp_path: Path) -> None:
    """Columns are known by their names, so their order is free."""
    rows = rows_of(days.files[1]["Port_All"])
    names = ["RowCount", "PortDate", "RegionCode", "Route", "MNC", "OwnerId", "Number"]
    text = "".join(
        f"{','.join(cells)}\r\n" for cells in [names, *([row[n] for n in names] for row in rows)]
    )
    dump = put(tmp_path, days.files[1]["Port_All"].name, text.encode())
    assert failed(days.judge(dump)) == set()


def test_half_the_regions_missing(days: Days, spoiled: Spoil) -> None:
    """A dump of some regions is whole by its own count."""

    def half(rows: Rows) -> Rows:
        regions = sorted({row["RegionCode"] for row in rows})
        kept = set(regions[::2])
        return [row for row in rows if row["RegionCode"] in kept]

    found = failed(days.judge(spoiled(half)))
    assert {"shrinkage", "movement", "operator_change"} <= found <= {
        "shrinkage", "movement", "operator_change",
    }  # fmt: skip


def test_one_small_region_missing(days: Days, spoiled: Spoil) -> None:
    """A region of one in a hundred numbers is less than shrinkage sees, and movement sees it."""

    def without(rows: Rows) -> Rows:
        counts = Counter(row["RegionCode"] for row in rows)
        region = next(r for r, n in counts.most_common() if n < len(rows) / 100)
        return [row for row in rows if row["RegionCode"] != region]

    found = outcomes(days, spoiled(without))
    failed = {check for check, (outcome, _) in found.items() if outcome is Outcome.FAILED}
    assert "movement" in failed
    assert "shrinkage" not in failed
    assert "went home" in found["movement"][1]


def test_one_operator_missing(days: Days, spoiled: Spoil) -> None:
    """An operator without a number has not lost them in a day."""

    def without(rows: Rows) -> Rows:
        counts = Counter(row["OwnerId"] for row in rows)
        code = next(code for code, n in counts.most_common() if n < len(rows) / 50)
        return [row for row in rows if row["OwnerId"] != code]

    found = outcomes(days, spoiled(without))
    assert found["operator_change"][0] is Outcome.FAILED


def test_everything_at_one_operator(days: Days, spoiled: Spoil) -> None:
    """A column filled with one value is well formed and wrong."""

    def fill(rows: Rows) -> Rows:
        return [{**row, "OwnerId": "mMTS", "MNC": "01"} for row in rows]

    assert failed(days.judge(spoiled(fill))) == {
        "operator_change", "movement", "routing_numbers",
    }  # fmt: skip


def test_yesterdays_file_renamed(days: Days, tmp_path: Path) -> None:
    """The same bytes under today's name are told by digest, by their ports, and by no change."""
    dump = tmp_path / days.files[1]["Port_All"].name
    shutil.copy(days.files[0]["Port_All"], dump)
    found = outcomes(days, dump)
    assert {c for c, (o, _) in found.items() if o is Outcome.FAILED} == {
        "sequence", "port_dates", "movement",
    }  # fmt: skip
    assert "byte for byte" in found["sequence"][1]
    assert "the limit is 18" in found["port_dates"][1]
    assert "not one number changed" in found["movement"][1]


def test_yesterdays_content_in_a_new_zip(days: Days, tmp_path: Path) -> None:
    """Where name and digest are new, the newest port is still a day older than the data."""
    dump = put(
        tmp_path,
        days.files[1]["Port_All"].name,
        data_of(days.files[0]["Port_All"]).encode(),
    )
    assert failed(days.judge(dump)) == {"port_dates", "movement"}


def test_a_zip_that_holds_another_day(days: Days, tmp_path: Path) -> None:
    """The member of a zip tells its own day."""
    dump = tmp_path / days.files[1]["Port_All"].name
    with zipfile.ZipFile(dump, "w", zipfile.ZIP_DEFLATED) as archive:
        inner = days.files[0]["Port_All"].with_suffix(".csv").name
        archive.writestr(inner, data_of(days.files[1]["Port_All"]))
    found = outcomes(days, dump)
    assert {c for c, (o, _) in found.items() if o is Outcome.FAILED} == {"sequence"}
    assert f"holds {inner}" in found["sequence"][1]


def test_an_older_dump(days: Days, tmp_path: Path) -> None:
    """The day before yesterday's dump follows nothing."""
    store = SnapshotStore(tmp_path / "store", create=True)
    newer = Days(folder=tmp_path, store=store, files=days.files)
    publish(store, newer.judge(day=2))
    assert {"age", "sequence"} <= failed(newer.judge(day=1))


def test_a_sequence_that_does_not_fit_its_time(days: Days, tmp_path: Path) -> None:
    """A dump of the next day has the next sequence."""
    name = days.files[1]["Port_All"].name
    stem, _, sequence = name.removesuffix(".zip").rpartition("_")
    dump = put(
        tmp_path,
        f"{stem}_{int(sequence) + 1}.zip",
        data_of(days.files[1]["Port_All"]).encode(),
    )
    found = outcomes(days, dump)
    assert {c for c, (o, _) in found.items() if o is Outcome.FAILED} == {"sequence"}
    assert "2 in sequence and 1 in time" in found["sequence"][1]


def test_a_test_dump(days: Days, tmp_path: Path) -> None:
    """A handful of rows of an operator that nobody knows."""
    rows = [
        f"900000000{i},mTEST,98,D7798,77,2020-01-01T00:00:00+03:00,{'' if i else 5}"
        for i in range(5)
    ]
    text = "\r\n".join(["Number,OwnerId,MNC,Route,RegionCode,PortDate,RowCount", *rows, ""])
    dump = put(tmp_path, days.files[1]["Port_All"].name, text.encode())
    found = failed(days.judge(dump))
    assert {"unknown_operators", "shrinkage", "operator_change", "movement"} <= found


def test_all_dates_in_the_future(days: Days, spoiled: Spoil) -> None:
    """Ports of next year have not happened."""

    def later(rows: Rows) -> Rows:
        return [{**row, "PortDate": f"2096{row['PortDate'][4:]}"} for row in rows]

    found = outcomes(days, spoiled(later))
    assert {c for c, (o, _) in found.items() if o is Outcome.FAILED} == {"port_dates"}
    assert "hours after the data's own time" in found["port_dates"][1]


def test_a_dump_named_for_the_future(days: Days, tmp_path: Path) -> None:
    """What lies ahead of the clock would make every later dump look old."""
    stem, _, sequence = days.files[1]["Port_All"].stem.rpartition("_")
    year = int(stem[-12:-8])
    dump = put(
        tmp_path,
        f"{stem[:-12]}{year + 10}{stem[-8:]}_{int(sequence) + 3652}.zip",
        data_of(days.files[1]["Port_All"]).encode(),
    )
    found = outcomes(days, dump)
    assert found["clock"][0] is Outcome.FAILED
    assert "ahead of the clock" in found["clock"][1]


def test_returned_numbers_told_as_ported(days: Days, spoiled: Spoil) -> None:
    """Port_All_Full's rows of numbers that went home, in Port_All, are sudden growth."""

    def with_home(rows: Rows) -> Rows:
        full = rows_of(days.files[1]["Port_All_Full"])
        return [{name: row[name] for name in rows[0]} for row in full]

    assert "growth" in failed(days.judge(spoiled(with_home)))


def test_a_dump_cut_short(days: Days, tmp_path: Path) -> None:
    """What ends in the middle does not hold the rows that it says."""
    text = data_of(days.files[1]["Port_All"])
    cut = text[: text.rindex("\r\n", 0, len(text) // 2) + 2]
    dump = put(tmp_path, days.files[1]["Port_All"].name, cut.encode())
    with pytest.raises(InputError, match="RowCount says"):
        days.judge(dump)


def test_a_plan_cut_short(days: Days, tmp_path: Path) -> None:
    """A plan that is whole by its own count and lacks its last tenth."""
    path = days.files[1]["Numbering_plan"]
    rows = [
        {name: cell for name, cell in row.items() if name != "RowCount"} for row in rows_of(path)
    ]
    plan = put(tmp_path, path.name, text_of(NUMBERING_PLAN, rows[: len(rows) * 9 // 10]))
    assert "plan_shrinkage" in failed(days.judge(Numbering_plan=plan))


def test_a_merger_needs_to_be_allowed(days: Days, spoiled: Spoil, tmp_path: Path) -> None:
    """All numbers of one operator at another: refused, and published once a person says so."""

    def merge(rows: Rows) -> Rows:
        counts = Counter(row["OwnerId"] for row in rows)
        absorbed = next(code for code, n in counts.most_common() if n < len(rows) / 20)
        return [
            {**row, "OwnerId": "mMTS", "MNC": "01", "Route": f"D{row['RegionCode']}01"}
            if row["OwnerId"] == absorbed
            else row
            for row in rows
        ]

    dump = spoiled(merge)
    refused = days.judge(dump)
    assert failed(refused) == {"operator_change", "movement"}
    shutil.copytree(days.store.path, tmp_path / "store")
    store = SnapshotStore(tmp_path / "store")
    with pytest.raises(GateError, match="operator_change"):
        publish(store, refused)
    allowed = days.judge(dump, allowed=("operator_change", "movement"))
    publish(store, allowed, reason="merger of two operators")
    gate = {each["check"]: each for each in store.history()[-1]["gate"]}
    assert gate["movement"]["outcome"] == gate["operator_change"]["outcome"] == "allowed"
    assert gate["movement"]["reason"] == "merger of two operators"
    assert gate["read_back"]["outcome"] == "passed"


def data_of(path: Path) -> str:
    with zipfile.ZipFile(path) as archive:
        return archive.read(archive.namelist()[0]).decode()
