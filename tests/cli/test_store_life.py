"""``history``, ``diff``, ``rollback``, ``pin``, ``unpin``, ``prune`` and ``lookup --as-of``."""

from __future__ import annotations

import csv
import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from support.registry import DUMP, command, write_registry

from numroute.index import Changes, Comparison, SnapshotStore
from numroute.model import Operator
from numroute_loader.cli.store import OPERATORS_SHOWN_MAX, _print_matrix

NEXT = (
    "Number,OwnerId,MNC,Route,RegionCode,PortDate,RowCount\r\n"
    "9000000012,mMTS,01,D7701,77,2026-08-23T12:00:17+03:00,4\r\n"
    "9000000345,mMTS,02,D7702,77,2018-05-03T00:03:29+03:00,\r\n"
    "9000000777,mMEGAFON,02,D7702,77,2026-08-23T12:00:17+03:00,\r\n"
    "9000000778,mMEGAFON,02,D7702,77,2026-08-23T12:00:17+03:00,\r\n"
)


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> tuple[Path, list[str]]:
    """Build two snapshots; return the store and their ids."""
    folder = tmp_path_factory.mktemp("life")
    ids = []
    for day, dump in enumerate((DUMP, NEXT)):
        files = write_registry(folder / f"day{day}", dump=dump)
        words = ["--store", folder / "store", "--json", "--allow", "unknown_operators"]
        words += ["--as-of", f"2026-08-2{3 + day}T00:00:00+03:00", "--reason", "a test"]
        result = command("numroute-load", "build", *words, files)
        assert result.status == 0, result.err
        ids.append(json.loads(result.out)["snapshot"]["id"])
    return folder / "store", ids


def ask(*words: object) -> dict:
    """Run a command with --json and return its only line."""
    result = command(*words, "--json")
    assert result.status == 0, result.err
    return json.loads(result.out)


def test_diff_counts_and_lists_what_changed(built, tmp_path: Path) -> None:
    """Counts, flows between operators, and a private list of every changed number."""
    store, ids = built
    target = tmp_path / "changes.csv"
    document = ask("numroute-load", "diff", "--store", store, "--csv", target)
    assert [document[side]["id"] for side in ("old", "new")] == ids
    counts = {name: document[name] for name in ("ported", "returned", "moved", "updated")}
    assert counts == {"ported": 2, "returned": 1, "moved": 1, "updated": 1}
    flows = {
        (flow["from"]["code"], flow["to"]["code"]): flow["numbers"] for flow in document["flows"]
    }
    assert flows == {("mTELE2", "mMEGAFON"): 2, ("mTELE2", "mMTS"): 1, ("mMEGAFON", "mMTS"): 1}
    assert target.stat().st_mode & 0o777 == 0o600
    with target.open() as file:
        rows = [
            (row["number"], row["change"], row["operator_before"], row["operator_after"])
            for row in csv.DictReader(file)
        ]
    assert rows == [
        ("79000000012", "moved", "mMEGAFON", "mMTS"),
        ("79000000345", "updated", "mMTS", "mMTS"),
        ("79000000777", "ported", "mTELE2", "mMEGAFON"),
        ("79000000778", "ported", "mTELE2", "mMEGAFON"),
        ("79161234567", "returned", "mTELE2", "mMTS"),
    ]


def test_diff_prints_a_matrix(built) -> None:
    """The table has a row and a column for each operator, with what each gave and took."""
    store, ids = built
    result = command("numroute-load", "diff", "--store", store, *ids)
    assert result.status == 0
    assert "ported" in result.out
    (took,) = [line.split() for line in result.out.splitlines() if line.split()[:1] == ["took"]]
    assert took[-1] == "4"
    assert "79000000012" not in result.out


def test_the_matrix_breaks_no_word(capsys: pytest.CaptureFixture[str]) -> None:
    """In 80 columns a few operators are named, and no name is split."""
    names = [f"Tinkoff{i} Mobile" for i in range(12)]
    operators = tuple(Operator(code=name, brand=name) for name in names)
    matrix = np.full((12, 12), 100_000)
    comparison = Comparison(
        changes=Changes(against=""),
        updated_by_registry=0,
        operators=operators,
        matrix=matrix,
        left=matrix,
    )
    _print_matrix(comparison)
    printed = capsys.readouterr().out
    assert f"{12 - OPERATORS_SHOWN_MAX} others" in " ".join(printed.split())
    assert printed.split()[-1] == f"{matrix.sum():,}"
    assert {word.rstrip("0123456789") for word in printed.split() if word[0].isalpha()} == {
        "from", "to", "Tinkoff", "Mobile", "others", "gave", "took",
    }  # fmt: skip


def test_diff_without_changes_writes_an_empty_list(built, tmp_path: Path) -> None:
    """A snapshot against itself: no counts, and a list with a header only."""
    store, ids = built
    target = tmp_path / "none.csv"
    result = command("numroute-load", "diff", "--store", store, ids[0], ids[0], "--csv", target)
    assert result.status == 0, result.err
    assert len(target.read_text().splitlines()) == 1


def test_a_list_that_cannot_be_written_is_told(built, tmp_path: Path) -> None:
    """The message names the file; nothing half-written is left."""
    store, _ = built
    result = command("numroute-load", "diff", "--store", store, "--csv", tmp_path / "no" / "x.csv")
    assert result.status == 1
    assert "x.csv: cannot be written: No such file or directory" in result.err


def test_an_interrupted_list_leaves_nothing(
    built, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C while numbers are written takes away what was written of them."""
    store, _ = built

    def interrupted(*_):
        assert list(tmp_path.glob(".x.csv.*.unfinished"))
        raise KeyboardInterrupt

    monkeypatch.setattr(sys.modules["numroute_loader.cli.store"], "changed_numbers", interrupted)
    result = command("numroute-load", "diff", "--store", store, "--csv", tmp_path / "x.csv")
    assert result.status == 130
    assert "numroute-load: interrupted" in result.err
    assert not list(tmp_path.iterdir())


def test_a_user_without_a_name_is_told_by_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container's user is in no passwd file; what was read is published all the same."""
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 54321)
    store = tmp_path / "store"
    files = write_registry(tmp_path / "files")
    result = command("numroute-load", "build", "--store", store, files)
    assert result.status == 0, result.err
    assert SnapshotStore(store).history()[0]["asked_by"] == "uid 54321"


def test_history_tells_who_published_what(built) -> None:
    """An event's line and what belongs to it, for people; an object each as JSON."""
    store, ids = built
    result = command("numroute-load", "history", "--store", store)
    assert result.status == 0
    lines = [line for line in result.out.splitlines() if "published" in line]
    assert [ids[i] in line for i, line in enumerate(lines)] == [True, True]
    first, second = result.out.split(lines[1])
    assert "Port_All_202608230000_4659.csv" in first
    assert "changes +2 -1 moved 1 updated 1" in " ".join(second.split())
    lines = command("numroute-load", "history", "--store", store, "--json", "--last", 1).out
    (entry,) = [json.loads(line) for line in lines.splitlines()]
    assert (entry["snapshot"], entry["kept"], entry["changes"]["moved"]) == (ids[1], True, 1)


def test_going_back_and_asking_for_then(tmp_path: Path) -> None:
    """Rollback answers from the old snapshot; --as-of asks the one of a time."""
    store = tmp_path / "store"
    for day, dump in enumerate((DUMP, NEXT)):
        files = write_registry(tmp_path / f"day{day}", dump=dump)
        command("numroute-load", "build", "--store", store, files)
    first, second = SnapshotStore(store).moments()
    document = ask("numroute-load", "rollback", "previous", "--store", store, "--reason", "wrong")
    assert document["snapshot"]["id"] == first.snapshot
    number = "+79000000012"

    def owner(*words: object) -> str:
        answer = ask("numroute", "lookup", "--store", store, number, *words)
        return answer["route"]["operator"]["code"]

    assert owner() == "mMEGAFON"
    assert owner("--as-of", second.at.isoformat()) == "mMTS"
    assert owner("--as-of", first.at.isoformat()) == "mMEGAFON"
    early = command(
        "numroute", "lookup", "--store", store, number, "--as-of", "2020-01-01T00:00:00Z"
    )
    assert early.status == 1
    assert "no snapshot was current at 2020-01-01T00:00:00+00:00" in early.err
    assert "has no time zone" in command(
        "numroute", "lookup", "--store", store, number, "--as-of", "2020-01-01"
    ).err  # fmt: skip
    again = command("numroute-load", "rollback", first.snapshot, "--store", store)
    assert again.status == 1
    assert "is current already" in again.err


def test_pruning_by_command(tmp_path: Path) -> None:
    """A pin protects, and info shows the rest."""
    store = tmp_path / "store"
    files = write_registry(tmp_path / "files")
    for _ in range(4):
        command("numroute-load", "build", "--store", store, files)
    ids = [moment.snapshot for moment in SnapshotStore(store).moments()]
    assert ask("numroute-load", "pin", ids[0], "--store", store)["pinned"] is True
    words = ("numroute-load", "prune", "--store", store, "--keep-last", 1, "--keep-daily", 0)
    assert ask(*words)["removed"] == [ids[1]]
    info = ask("numroute", "info", "--store", store)
    kept = {row["id"]: row for row in info["kept"]}
    assert sorted(kept) == sorted([ids[0], *ids[2:]])
    assert [kept[ids[0]]["pinned"], kept[ids[3]]["current"]] == [True, True]
    assert kept[ids[0]]["file_bytes"] > 0
    assert ask("numroute-load", "unpin", ids[0], "--store", store)["pinned"] is False
    result = command(*words)
    assert result.status == 0
    assert "removed" in result.out
    assert SnapshotStore(store).ids() == sorted(ids[2:])
    again = command("numroute-load", "unpin", ids[2], "--store", store)
    assert again.status == 1
    assert "is not pinned" in again.err


def test_build_prunes_by_its_options(tmp_path: Path, monkeypatch) -> None:
    """Flags and environment say what publishing keeps."""
    store = tmp_path / "store"
    files = write_registry(tmp_path / "files")
    monkeypatch.setenv("NUMROUTE_KEEP_LAST", "3")
    for _ in range(5):
        command("numroute-load", "build", "--store", store, "--keep-daily", 0, files)
    assert len(SnapshotStore(store).ids()) == 3


def test_a_lost_history_is_an_event_without_a_snapshot(built, tmp_path: Path) -> None:
    """It is shown without the remark that its snapshot was removed."""
    store = tmp_path / "store"
    shutil.copytree(built[0], store)
    SnapshotStore(store).history_path.unlink()
    assert command("numroute-load", "pin", "current", "--store", store).status == 0
    shown = command("numroute-load", "history", "--store", store).out
    assert "history damaged" in shown
    assert "(removed)" not in shown


def test_rollback_of_a_lost_pointer(built, tmp_path: Path) -> None:
    """A store whose pointer is lost goes back to what was current last."""
    store = tmp_path / "store"
    shutil.copytree(built[0], store)
    SnapshotStore(store).pointer_path.unlink()
    result = command("numroute-load", "rollback", "--store", store, "previous")
    assert result.status == 0, result.err
    assert result.err == ""


@pytest.mark.parametrize("pointer", [None, "", "junk\n"])
@pytest.mark.parametrize("has_history", [True, False])
def test_info_lists_what_could_be_made_current(
    built, tmp_path: Path, pointer: str | None, has_history: object
) -> None:
    """Where CURRENT is lost or wrong, info fails and lists the snapshots; one command goes back."""
    store = tmp_path / "store"
    shutil.copytree(built[0], store)
    opened = SnapshotStore(store)
    opened.pointer_path.unlink()
    if pointer is not None:
        opened.pointer_path.write_text(pointer)
    if not has_history:
        opened.history_path.unlink()
    shown = command("numroute", "info", "--store", store)
    assert shown.status == 1
    assert "numroute-load rollback" in shown.err
    assert all(each in shown.out for each in built[1])
    document = command("numroute", "info", "--store", store, "--json")
    assert document.status == 1
    told = json.loads(document.out)
    assert told["snapshot_id"] is None
    assert sorted(told["snapshots"]) == opened.ids()
    assert not any(row["current"] for row in told["kept"])
    assert command("numroute-load", "rollback", "--store", store, "previous").status == 0
    assert opened.current_id() == built[1][-1]
