"""``numroute-load override``: its file, what it changes, and how it is seen."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.registry import command, write_registry

from numroute.index import SnapshotStore
from numroute_loader.overrides import OVERRIDES_MAX

HEADER = "number,last,operator,reason,author,expires,mcc,mnc,region\n"
GOOD = (
    HEADER
    + "+79000000012,,mTELE2,wrong port,anna,,,,\n"
    + "# a whole block\n\n"
    + '79990000000,79990000999,mMTS,"new block, not yet in the plan",boris,'
    + "2199-01-01T00:00:00+03:00,250,01,77\n"
    + "79000000345,,mTELE2,over,carl,2020-01-01T00:00:00Z,,,\n"
)


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Path:
    """Build a small store."""
    folder = tmp_path_factory.mktemp("override")
    files = write_registry(folder / "files")
    assert command("numroute-load", "build", "--store", folder / "store", files).status == 0
    return folder / "store"


def answer(store: Path, number: str) -> dict:
    """Return the answer for a number as JSON."""
    return json.loads(command("numroute", "lookup", "--store", store, "--json", number).out)


def test_region_and_line_type_stay_where_none_is_given(store: Path, tmp_path: Path) -> None:
    """Of a number those of its record, of a range those of the plan; nothing where they differ."""
    numbers = ("+79000000012", "+79000000500")
    registry = [answer(store, number)["route"] for number in numbers]
    assert all(route["region"]["code"] for route in registry)
    file = tmp_path / "overrides.csv"
    file.write_text(
        "number,last,operator,reason,author,mcc,mnc\n"
        "79000000012,,mMTS,r,a,250,01\n79000000500,79000000599,mMTS,r,a,250,01\n"
        "79000000600,79990000000,mMTS,r,a,250,01\n"
    )
    done = command("numroute-load", "override", "apply", "--store", store, file)
    assert done.status == 0, done.err
    for number, before in zip(numbers, registry, strict=True):
        route = answer(store, number)["route"]
        assert (route["operator"]["code"], route["overridden"]) == ("mMTS", True)
        assert (route["region"], route["line_type"]) == (before["region"], before["line_type"])
    assert answer(store, "+79000000700")["route"]["region"]["code"] == ""
    assert command("numroute-load", "rollback", "previous", "--store", store).status == 0


def test_a_file_is_applied_shown_and_cleared(store: Path, tmp_path: Path) -> None:
    """Lookup, explain, list, info and history show it; clearing brings the registry back."""
    file = tmp_path / "overrides.csv"
    file.write_text(GOOD)
    before = SnapshotStore(store).current_id()
    dry = command("numroute-load", "override", "apply", "--dry-run", "--store", store, file)
    assert dry.status == 0, dry.err
    assert "nothing: --dry-run" in dry.out
    assert SnapshotStore(store).current_id() == before
    done = command(
        "numroute-load", "override", "apply", "--store", store, file, "--json", "--reason", "why"
    )
    assert done.status == 0, done.err
    assert "1 expired line left out" in done.err
    assert json.loads(done.out)["overrides"] == 2

    ported = answer(store, "+79000000012")
    assert (ported["status"], ported["route"]["operator"]["code"]) == ("PORTED", "mTELE2")
    assert (ported["route"]["overridden"], ported["ported_at"]) == (True, None)
    assert ported["range_holder"]["code"] == "mTELE2"
    unheld = answer(store, "+79990000500")
    assert (unheld["status"], unheld["route"]["operator"]["code"]) == ("NOT_PORTED", "mMTS")
    assert (unheld["route"]["mcc"], unheld["route"]["mnc"]) == ("250", "01")
    assert answer(store, "+79000000345")["route"]["overridden"] is False

    table = command("numroute", "lookup", "--store", store, "+79000000012").out
    assert "PORTED" in table
    assert "(overridden)" in table
    told = command("numroute", "explain", "--store", store, "+79000000012").out
    assert "'wrong port' by anna, expires never" in told
    assert "ported record" in told
    (info,) = command("numroute", "info", "--store", store, "--json").out.splitlines()
    assert json.loads(info)["counts"]["overrides"] == 2
    entry = SnapshotStore(store).history()[-1]
    assert (entry["reason"], entry["counts"]["overrides"]) == ("why", 2)
    told = command("numroute-load", "history", "--store", store, "--last", 1).out
    assert "overrides set by hand: 2, before 0" in told

    back = command("numroute-load", "rollback", "previous", "--store", store)
    assert "overrides 0" in " ".join(back.out.split())
    command("numroute-load", "rollback", "previous", "--store", store)
    assert command("numroute-load", "override", "clear", "--store", store).status == 0
    assert answer(store, "+79000000012")["route"]["overridden"] is False


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "overrides.csv: the file is empty"),
        ("number,operator,reason\n", "overrides.csv:1: the header lacks author"),
        (HEADER.replace("mcc", "mmc"), "overrides.csv:1: the header has an unknown column 'mmc'"),
        (HEADER + "79000000012,,mMTS,r\n", "overrides.csv:2: 4 cells where 9 columns are expected"),
        (HEADER + "\n9000x,,mMTS,r,a,,,,\n", "overrides.csv:3: number: '9000*' is not a whole"),
        (HEADER + ",,mMTS,r,a,,,,\n", "overrides.csv:2: Object missing required field `number`"),
        (
            HEADER + "1234567890123456,,mMTS,r,a,,,,\n",
            ":2: number: '1234************' is not a whole",
        ),
        (HEADER + "79000000012,79000000011,mMTS,r,a,,,,\n", ":2: last lies before number"),
        (HEADER + "79000000012,,mNEW,r,a,,,,\n", ":2: operator 'mNEW' is not an operator of"),
        (HEADER.replace(",", ";"), "overrides.csv:1: the header lacks number"),
        (HEADER + "79000000012,,tele2,r,a,,,,\n", "Write its code as the operator table"),
        (HEADER + "79000000012,,mNEW,r,a,,,,\n", "`numroute lookup NUMBER --json`"),
        (HEADER + "79000000012,,,r,a,,,,\n", ":2: Object missing required field `operator`"),
        (HEADER + "79000000012,,mMTS,,a,,,,\n", ":2: Object missing required field `reason`"),
        (
            HEADER + f"79000000012,,mMTS,{'r' * 501},a,,,,\n",
            ":2: reason: Expected `str` of length <= 500",
        ),
        (HEADER + "79000000012,,mMTS,r,,,,,\n", ":2: Object missing required field `author`"),
        (HEADER + "79000000012,,mMTS,r,a,tomorrow,,,\n", ":2: expires: Invalid RFC3339"),
        (HEADER + "79000000012,,mMTS,r,a,2199-01-01,,,\n", ":2: expires: Invalid RFC3339"),
        (
            HEADER + "79000000012,,mMTS,r,a,2199-01-01T00:00:00,,,\n",
            ":2: expires: Expected `datetime` with a timezone",
        ),
        (HEADER + "79000000012,,mMTS,r,a,,250,,\n", ":2: mcc and mnc stand together"),
        (HEADER + "79000000012,,mMTS,r,a,,25,01,\n", ":2: mcc: Expected `str` matching regex"),
        (
            HEADER + "79000000012,,mMTS,r,a,,,,99\n",
            ":2: region '99' is not a region of the snapshot",
        ),
        (
            HEADER + "79000000012,,79161234567,r,a,,,,\n",
            "operator '7916*******' is not an operator",
        ),
        (HEADER + "79000000012,,mMTS,r,a,79161234567,,,\n", ":2: expires: Invalid"),
        (HEADER + "79000000012,,mMTS,r,a,,79161234567,01,\n", ":2: mcc: Expected"),
        (HEADER + "79000000012,,mMTS,r,a,,,,79161234567\n", "region '7916*******' is not a region"),
        (HEADER.replace("mcc", "79161234567"), "an unknown column '7916*******'"),
        (HEADER + '79000000012,,mMTS,"r,a,,,,\n', ":2: a quote is not closed"),
        (
            HEADER + "79000000012,79000000020,mMTS,r,a,,,,\n79000000015,79000000030,mMTS,r,a,,,,\n",
            ":3: crosses the override in line 2",
        ),
        (
            HEADER + "79000000012,,mMTS,r,a,,,,\n79000000012,,mTELE2,r,a,,,,\n",
            ":3: crosses the override in line 2, or repeats it",
        ),
        (
            HEADER
            + "".join(f"{79_000_000_000 + i},,mMTS,r,a,,,,\n" for i in range(OVERRIDES_MAX + 1)),
            f":{OVERRIDES_MAX + 2}: more than 10000 overrides",
        ),
    ],
)
def test_a_wrong_file_is_reported_by_line(
    store: Path, tmp_path: Path, text: str, message: str
) -> None:
    """Nothing is published, the message names line and column, and no number stands in it."""
    file = tmp_path / "overrides.csv"
    file.write_text(text)
    before = SnapshotStore(store).current_id()
    result = command("numroute-load", "override", "apply", "--store", store, file)
    assert result.status == 1
    assert message in result.err
    assert "79000000012" not in result.err
    assert SnapshotStore(store).current_id() == before


@pytest.mark.parametrize(
    ("number", "hint"),
    [
        ("89161234567", "write it as 7916*******"),
        ("9161234567", "write it as 7916*******"),
        ("4951234567", "write it as 7495*******"),
        ("7916223456", "Write a whole international number"),
        ("791622345678", "Write a whole international number"),
        ("+447911123456", "Write a whole international number"),
    ],
)
@pytest.mark.parametrize("column", ["number", "last"])
def test_only_whole_numbers_of_a_covered_country_are_taken(
    store: Path, tmp_path: Path, number: str, hint: str, column: str
) -> None:
    """A number in national format would be published and never apply: it is refused."""
    file = tmp_path / "overrides.csv"
    cells = f"{number}," if column == "number" else f"79160000000,{number}"
    file.write_text(f"number,last,operator,reason,author\n{cells},mMTS,r,a\n")
    result = command("numroute-load", "override", "apply", "--store", store, file)
    assert result.status == 1
    assert f"overrides.csv:2: {column} '{number.lstrip('+')[:4]}" in result.err
    assert "is not a whole number of country code 7" in result.err
    assert hint in result.err
    assert number not in result.err


def test_a_file_that_is_no_text_or_not_there_is_told(store: Path, tmp_path: Path) -> None:
    """Other encodings and missing files."""
    file = tmp_path / "overrides.csv"
    file.write_bytes("номер".encode("cp1251"))
    words = ("numroute-load", "override", "apply", "--store", store)
    assert "the text is not UTF-8" in command(*words, file).err
    assert "cannot be read: No such file" in command(*words, tmp_path / "none.csv").err
