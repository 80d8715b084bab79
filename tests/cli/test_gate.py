"""The gate: what a new snapshot is compared with, what it refuses, and what may be allowed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.registry import DUMP, NAMES, Result, command, write_registry

from numroute.errors import StoreError
from numroute.index import SnapshotStore
from numroute_loader.inputs import input_files
from numroute_loader.pipeline import check, publish

HALF = DUMP.splitlines(keepends=True)[0] + DUMP.splitlines(keepends=True)[1].replace(",3\r", ",1\r")


@pytest.fixture
def store(tmp_path: Path) -> SnapshotStore:
    """Return a store whose current snapshot is built from the tiny registry."""
    path = tmp_path / "s"
    assert build(path, write_registry(tmp_path / "good")).status == 0
    return SnapshotStore(path)


def build(store: Path, *words: object) -> Result:
    return command("numroute-load", "build", "--store", store, *words)


def test_a_plan_does_not_replace_a_dump(store: SnapshotStore, tmp_path: Path) -> None:
    """Files without a dump do not turn ported numbers into not ported ones."""
    before = store.current_id()
    folder = write_registry(tmp_path / "r", dump=None, operators=None)
    result = build(store.path, folder, "--as-of", "2026-08-24T00:00:00+03:00")
    assert result.status == 1
    assert "shrinkage: 0 ported numbers, the current snapshot has 3" in result.err
    assert store.current_id() == before


def test_half_a_dump_is_refused(store: SnapshotStore, tmp_path: Path) -> None:
    """A dump with a tenth fewer numbers than the current snapshot is refused."""
    folder = write_registry(tmp_path / "r", dump=HALF)
    result = build(store.path, folder)
    assert result.status == 1
    assert "66.67% fewer, the limit is 10.00%" in result.err
    assert "--allow shrinkage --reason TEXT" in result.err


def test_older_data_are_refused(store: SnapshotStore, tmp_path: Path) -> None:
    """Yesterday's dump does not replace today's."""
    folder = write_registry(tmp_path / "r")
    (folder / NAMES["dump"]).rename(folder / "Port_All_202608220000_4658.csv")
    result = build(store.path, folder)
    assert result.status == 1
    assert "age: data as of 2026-08-21T21:00:00+00:00" in result.err
    assert build(store.path, write_registry(tmp_path / "same")).status == 0


def test_check_compares_with_a_store_when_one_is_given(
    store: SnapshotStore, tmp_path: Path
) -> None:
    """Check says what build would say, and changes nothing."""
    folder = write_registry(tmp_path / "r", dump=HALF)
    alone = command("numroute-load", "check", folder)
    assert alone.status == 0, alone.err
    assert command("numroute-load", "check", folder, "--store", store.path).status == 1
    assert len(store.ids()) == 1


def test_a_failed_check_may_be_allowed_with_a_reason(store: SnapshotStore, tmp_path: Path) -> None:
    """What was allowed, and why, stands in the history."""
    folder = write_registry(tmp_path / "r", dump=HALF)
    refused = build(store.path, folder, "--allow", "shrinkage")
    assert refused.status == 1
    assert "--reason" in refused.err
    result = build(
        store.path, folder, "--allow", "shrinkage", "--reason", "the test registry became smaller"
    )
    assert result.status == 0, result.err
    assert "allowed" in result.out
    (finding,) = [f for f in store.history()[-1]["gate"] if f["outcome"] == "allowed"]
    assert finding["check"] == "shrinkage"
    assert finding["reason"] == "the test registry became smaller"


def test_what_was_not_checked_is_said(tmp_path: Path) -> None:
    """Without plan, operator table or current snapshot the gate does not claim to have checked."""
    folder = write_registry(tmp_path / "r", plan=None, operators=None, abc=None)
    result = command("numroute-load", "check", folder, "--json")
    assert result.status == 0, result.err
    outcomes = {f["check"]: (f["outcome"], f["message"]) for f in json.loads(result.out)["gate"]}
    assert outcomes["outside_plan"] == ("not checked", "there is no numbering plan")
    assert outcomes["unknown_operators"] == ("not checked", "there is no operator table")
    assert outcomes["shrinkage"][0] == outcomes["age"][0] == "not checked"


def test_a_damaged_current_snapshot_does_not_stop_a_good_one(
    store: SnapshotStore, tmp_path: Path
) -> None:
    """Where the current snapshot cannot be read there is nothing to compare with."""
    path = store.snapshot_path(store.current_id())
    path.write_bytes(path.read_bytes()[:-5000])
    result = build(store.path, write_registry(tmp_path / "r", dump=HALF))
    assert result.status == 0, result.err


def test_a_current_snapshot_that_cannot_be_read_is_not_passed_over(
    store: SnapshotStore, tmp_path: Path
) -> None:
    """An unreadable current snapshot is an error, not an absent one."""
    before = store.current_id()
    path = store.snapshot_path(before)
    path.unlink()
    path.mkdir()
    result = build(store.path, write_registry(tmp_path / "r", dump=HALF))
    assert result.status == 1
    assert "cannot be read" in result.err
    assert store.current_id() == before


def test_what_was_published_meanwhile_is_not_replaced(store: SnapshotStore, tmp_path: Path) -> None:
    """A build that was judged against another snapshot, or none, is refused; a new one is not."""
    inputs = input_files([write_registry(tmp_path / "r")])
    late = check(inputs, store)
    first = late.base_id
    assert build(store.path, write_registry(tmp_path / "other")).status == 0
    newer = store.current_id()
    with pytest.raises(StoreError, match=f"was {first} when the files were read, and is {newer}"):
        publish(store, late)
    with pytest.raises(StoreError, match="was none when the files were read"):
        publish(store, check(inputs))
    assert store.current_id() == newer
    publish(store, check(inputs, store))
    assert len(store.ids()) == 3


def test_a_missing_file_of_the_plan_is_refused(store: SnapshotStore, tmp_path: Path) -> None:
    """Its numbers would become unallocated, unless that is allowed by name."""
    folder = write_registry(tmp_path / "r", plan=None)
    result = build(store.path, folder)
    assert result.status == 1
    assert (
        "plan_shrinkage: 11,000 numbers in the numbering plan, the current snapshot has "
        "10,021,000: 99.89% fewer, the limit is 1.00%"
    ) in result.err
    allow = ("--allow", "plan_shrinkage", "--allow", "outside_plan", "--reason", "a test")
    assert build(store.path, folder, *allow).status == 0
