"""What an operator sets: limits, chosen numbers, and which defects are let pass."""

from __future__ import annotations

import dataclasses
import json
import re
import tomllib
from pathlib import Path

import pytest
from support.registry import DUMP, NAMES, Result, command, write_registry

from numroute.index import SnapshotStore
from numroute_loader.gate.checks import CHECKS, OVERRIDABLE
from numroute_loader.gate.limits import GateLimits

ROOT = Path(__file__).resolve().parents[3]
BAD_ROW = "9000000345,mMTS,01,D7701,77,2018-05-03T00:03:29+03:00,"
DAMAGED = DUMP.replace(BAD_ROW, BAD_ROW.replace("mMTS", "MTS"))
TWICE = (
    DUMP.replace(",3\r\n", ",4\r\n")
    + BAD_ROW.replace("mMTS,01", "mMTS,01").replace("2018", "2019").replace("D7701,77", "D2501,25")
    + "\r\n"
)


def check(folder: Path, *words: object) -> Result:
    return command("numroute-load", "check", folder, *words)


def gate_of(result: Result) -> dict[str, dict[str, object]]:
    assert result.out, result.err
    return {finding["check"]: finding for finding in json.loads(result.out)["gate"]}


def test_the_limits_are_shown_with_their_meanings(tmp_path: Path) -> None:
    """Every limit has a name, a value and a meaning; what is shown is a file for --limits."""
    names = {field.name for field in dataclasses.fields(GateLimits)}
    own = tmp_path / "own.toml"
    own.write_text("drift_share = 0.25\nported_min = 15_000_000\n")
    shown = command("numroute-load", "check", "--show-limits", "--limits", own)
    assert shown.status == 0, shown.err
    limits = tomllib.loads(shown.out)
    assert limits.keys() == names
    assert (limits["drift_share"], limits["ported_min"]) == (0.25, 15_000_000)
    for group in shown.out.strip().split("\n\n"):
        assert re.match(r"# .{20}", group), group
    own.write_text(shown.out)
    again = command("numroute-load", "check", "--show-limits", "--limits", own)
    assert again.out == shown.out
    document = json.loads(command("numroute-load", "check", "--show-limits", "--json").out)
    assert document.keys() == names
    assert document["shrinkage_share"] == 0.1
    assert document["rejected_rows"] == 0


def test_a_limit_is_changed_by_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file, by flag or environment, wins over the built-in value; the others stay."""
    limits = tmp_path / "limits.toml"
    limits.write_text("# ours\nported_min = 4\nshrinkage_share = 1\n")
    folder = write_registry(tmp_path / "r")
    assert check(folder).status == 0
    refused = check(folder, "--limits", limits)
    assert refused.status == 1
    assert "shrinkage: 3 ported numbers, the least is 4" in refused.err
    monkeypatch.setenv("NUMROUTE_LIMITS", str(limits))
    assert check(folder).status == 1
    document = json.loads(command("numroute-load", "check", "--show-limits", "--json").out)
    assert (document["ported_min"], document["shrinkage_share"]) == (4, 1.0)
    assert document["growth_share_per_day"] == 0.02


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("ported_min = 1\nshrinkage = 0.2\n", "there is no limit 'shrinkage'"),
        ("\n[gate]\nported_min = 1\n", "there is no limit 'gate'"),
        ("ported_min = 0.5\n", "wrong limit: Expected `int`, got `float` - at `$.ported_min`"),
        ("ported_min = true\n", "wrong limit: Expected `int`, got `bool` - at `$.ported_min`"),
        ("shrinkage_share = '10 %'\n", "wrong limit: Expected `float`, got `str`"),
        ("shrinkage_share = 10\n", "wrong limit: Expected `float` <= 1.0 - at `$.shrinkage_share`"),
        ("drift_share = -0.1\n", "wrong limit: Expected `float` >= 0.0 - at `$.drift_share`"),
        ("drift_share = nan\n", "wrong limit: Expected `float` >= 0.0 - at `$.drift_share`"),
        ("ported_min = 1\nported_min = 2\n", "not TOML: Cannot overwrite a value (at line 2"),
        ("ported_min 1\n", "not TOML: Expected '=' after a key in a key/value pair (at line 1"),
    ],
)
def test_a_wrong_limit_is_named(tmp_path: Path, text: str, reason: str) -> None:
    """Unknown names, wrong types and impossible values are refused before any file is read."""
    limits = tmp_path / "limits.toml"
    limits.write_text(text)
    result = check(write_registry(tmp_path / "r"), "--limits", limits)
    assert result.status == 1
    assert f"{limits}: {reason}" in result.err


def test_limits_that_are_no_text_are_refused(tmp_path: Path) -> None:
    """A file in another encoding is told, and so is one that is not there."""
    limits = tmp_path / "limits.toml"
    limits.write_bytes(b"# \xff\xfe\n")
    folder = write_registry(tmp_path / "r")
    assert "the text is not UTF-8" in check(folder, "--limits", limits).err
    assert check(folder, "--limits", tmp_path / "none").status != 0


def test_chosen_numbers_must_come_true(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ported numbers, those at home and those of nobody are looked up; a miss names its line."""
    expect = tmp_path / "expect.csv"
    lines = ("number,operator", "+79000000012,mMEGAFON", "79160000001,mMTS", "", "79990000000,-")
    good = "\n".join(lines)
    expect.write_text(good)
    folder = write_registry(tmp_path / "r")
    found = gate_of(check(folder, "--expect", expect, "--json"))["chosen_numbers"]
    assert (found["outcome"], found["message"]) == (
        "passed",
        "all 3 chosen numbers are as expected",
    )
    expect.write_text(good.replace("0012,mMEGAFON", "0012,mMTS").replace("0000,-", "0000,mMTS"))
    monkeypatch.setenv("NUMROUTE_EXPECT", str(expect))
    refused = check(folder)
    assert refused.status == 1
    assert re.search(r"expect.csv:2: 7\S+ is served by mMEGAFON, mMTS is expected", refused.err)
    assert re.search(r"expect.csv:5: 7\S+ is served by nobody, mMTS is expected", refused.err)
    assert "9000000012" not in refused.err + refused.out
    expect.write_text("79000000012,79161234567\n")
    assert "7916******* is expected" in check(folder).err
    expect.write_text(good.replace("0012,mMEGAFON", "0012,mMTS"))
    assert check(folder, "--allow", "chosen_numbers", "--reason", "ported today").status == 0


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("79000000012,mMTS\n9000000012x,mMTS\n", ":2: number: '9000*******' is not a whole"),
        ("79000000012\n", ":1: 1 cells where 2 columns"),
        ("79000000012,mMTS,77\n", ":1: 3 cells where 2 columns"),
        ("number,operator\n", ": there are no numbers in it"),
        ("1234567890123456,mMTS\n", ":1: number: '1234************' is not a whole"),
    ],
)
def test_a_wrong_line_of_chosen_numbers_is_named(tmp_path: Path, text: str, reason: str) -> None:
    """The message has the file and the line, and no number."""
    expect = tmp_path / "expect.csv"
    expect.write_text(text)
    result = check(write_registry(tmp_path / "r"), "--expect", expect)
    assert result.status == 1
    assert f"{expect}{reason}" in result.err
    assert "000012" not in result.err


def test_malformed_rows_are_skipped_within_the_budget(tmp_path: Path) -> None:
    """By default one bad row ends the build; within a budget it is skipped, counted and named."""
    folder = write_registry(tmp_path / "r", dump=DAMAGED)
    dump = folder / NAMES["dump"]
    assert f"{dump}:3: OwnerId is not m followed by" in check(folder).err
    limits = tmp_path / "limits.toml"
    limits.write_text("rejected_rows = 1\n")
    result = check(folder, "--limits", limits, "--json")
    assert result.status == 0, result.err
    found = gate_of(result)["rejected_rows"]
    assert found["outcome"] == "passed"
    assert f"1 of 3 rows are malformed and were skipped, the limit is 1: {dump}:3: OwnerId" in str(
        found["message"]
    )
    assert json.loads(result.out)["report"]["ported"] == 2
    worse = write_registry(tmp_path / "w", dump=DAMAGED.replace("mTELE2", "TELE2"))
    refused = check(worse, "--limits", limits)
    assert refused.status == 1
    assert f"{worse / NAMES['dump']}:4: more than 1 rows are malformed" in refused.err


def test_malformed_rows_may_be_allowed_once(tmp_path: Path) -> None:
    """The rows are skipped, and the history tells how many, where and why."""
    folder = write_registry(tmp_path / "r", dump=DAMAGED)
    words = ("--allow", "rejected_rows", "--reason", "the registry knows of it")
    result = command("numroute-load", "build", "--store", tmp_path / "s", folder, *words)
    assert result.status == 0, result.err
    gate = {f["check"]: f for f in SnapshotStore(tmp_path / "s").history()[-1]["gate"]}
    assert gate["rejected_rows"]["outcome"] == "allowed"
    assert gate["rejected_rows"]["actual"] == 1
    assert gate["rejected_rows"]["reason"] == "the registry knows of it"
    assert f"{NAMES['dump']}:3: OwnerId" in gate["rejected_rows"]["message"]
    assert "9000000345" not in json.dumps(gate)
    looked = command("numroute", "lookup", "--store", tmp_path / "s", "+79000000345", "--json")
    assert json.loads(looked.out)["status"] == "NOT_PORTED"


def test_a_wrong_row_count_may_be_allowed(tmp_path: Path) -> None:
    """The finding says what the file states and what it holds."""
    folder = write_registry(tmp_path / "r", dump=DUMP.replace(",3\r\n", ",7\r\n"))
    assert "RowCount says 7, the file holds 3 rows" in check(folder).err
    found = gate_of(check(folder, "--allow", "row_count", "--reason", "known", "--json"))
    assert found["row_count"]["outcome"] == "allowed"
    assert found["row_count"]["message"] == f"{NAMES['dump']} says 7 and holds 3"


def test_a_number_in_two_rows_may_be_allowed(tmp_path: Path) -> None:
    """The row with the latest time is taken, wherever it stands."""
    folder = write_registry(tmp_path / "r", dump=TWICE)
    assert "than one row (lines 3 and 5)" in check(folder).err
    words = ("--allow", "duplicates", "--reason", "known")
    found = gate_of(check(folder, *words, "--json"))["duplicates"]
    assert (found["outcome"], found["actual"]) == ("allowed", 1)
    built = command("numroute-load", "build", "--store", tmp_path / "s", folder, *words)
    assert built.status == 0, built.err
    looked = command("numroute", "lookup", "--store", tmp_path / "s", "+79000000345", "--json")
    assert json.loads(looked.out)["route"]["routing_number"] == "D2501"


def test_the_read_back_is_a_finding(tmp_path: Path) -> None:
    """What was published was read back; what was only checked was not written."""
    folder = write_registry(tmp_path / "r")
    assert gate_of(check(folder, "--json"))["read_back"]["outcome"] == "not checked"
    built = command("numroute-load", "build", "--store", tmp_path / "s", folder, "--json")
    assert gate_of(built)["read_back"]["outcome"] == "passed"
    assert "read_back" in CHECKS
    refused = check(folder, "--allow", "read_back", "--reason", "why not")
    assert refused.status != 0
    assert "read_back" not in OVERRIDABLE


def test_a_damaged_current_snapshot_is_replaced_by_the_rules_of_the_last_good_one(
    tmp_path: Path,
) -> None:
    """A build that would be refused is not let through because the current file is damaged."""
    folder, store = write_registry(tmp_path / "r"), SnapshotStore(tmp_path / "s", create=True)
    build = ("numroute-load", "build", "--store", store.path)
    for time in ("2026-08-23T00:00:00+03:00", "2026-08-24T00:00:00+03:00"):
        built = command(*build, folder, "--as-of", time)
        assert built.status == 0, built.err
    current = store.snapshot_path(store.current_id())
    current.write_bytes(current.read_bytes()[:5000])
    later = ("--as-of", "2026-08-25T00:00:00+03:00")
    empty = DUMP.splitlines(keepends=True)[:2]
    half = write_registry(tmp_path / "h", dump="".join(empty).replace(",3\r\n", ",1\r\n"))
    refused = command(*build, half, *later)
    assert refused.status == 1
    assert "1 ported numbers, the current snapshot has 3" in refused.err
    mended = command(*build, folder, *later)
    assert mended.status == 0, mended.err
    with store.open() as snapshot:
        assert snapshot.ported_count == 3


def test_data_of_long_ago_are_a_warning(tmp_path: Path) -> None:
    """Old data are told of and not refused: they may be newer than what is served."""
    folder = write_registry(tmp_path / "r")
    found = gate_of(check(folder, "--as-of", "2020-01-01T00:00:00+03:00", "--json"))["clock"]
    assert found["outcome"] == "warning"
    assert "which is late from 72 on" in str(found["message"])


def test_every_check_is_documented() -> None:
    """docs/gate.md has a row for each check, and says what to do when it refuses."""
    text = (ROOT / "docs" / "gate.md").read_text("utf-8")
    rows = re.findall(r"^\| `([a-z_]+)` \| [^|]{10,} \| [^|]{10,} \|$", text, re.MULTILINE)
    assert sorted(rows) == sorted(CHECKS)
