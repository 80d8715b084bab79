"""Files under names that are not theirs, and unchanged tables that are what they say."""

from __future__ import annotations

import itertools
import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support.registry import Result, command

from numroute.index import SnapshotStore

DAYS = 3
PER_WINDOW = 40


def load(word: str, store: Path, *words: object) -> Result:
    return command("numroute-load", word, "--store", store, *words)


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Return the files of some days, not zipped: tables that nobody changed are the same files."""
    today = (datetime.now(UTC) + timedelta(hours=3)).date()
    for seed in itertools.count(1):
        folder = tmp_path_factory.mktemp("renamed") / "registry"
        made = command(
            "numroute-load", "generate", folder, "--csv", "--ported", 20_000, "--days", DAYS,
            "--date", today, "--changes-per-window", PER_WINDOW, "--seed", seed,
        )  # fmt: skip
        assert made.status == 0, made.err
        files = sorted(path for path in folder.rglob("*.csv"))
        # One window in sixteen is empty, and says nothing about its name.
        windows = [path for path in files if path.name.startswith("Port_Increment_")]
        if all(path.read_bytes().count(b"\n") > 1 for path in windows[:5]):
            return files
    raise AssertionError


def of_kind(registry: list[Path], kind: str) -> list[Path]:
    return [path for path in registry if path.name.startswith(f"{kind}_2")]


def dailies(registry: list[Path], day: int) -> list[Path]:
    return [of_kind(registry, kind)[day] for kind in ("Operators", "Numbering_plan", "Port_All")]


@pytest.fixture
def store(registry: list[Path], tmp_path: Path) -> Path:
    """Return a store of the first day."""
    path = tmp_path / "store"
    assert load("build", path, *dailies(registry, 0)).status == 0
    return path


def window(registry: list[Path], number: int, folder: Path, name_of: int | None = None) -> Path:
    """Put a window's two files into a folder, under the names of another window if one is given."""
    folder.mkdir()
    for kind in ("Port_Increment", "Return_Increment"):
        files = of_kind(registry, kind)
        shutil.copy(files[number], folder / files[number if name_of is None else name_of].name)
    return folder


def test_tables_that_did_not_change_overnight(registry: list[Path], store: Path) -> None:
    """Day after day the same operator table and plan under the next day's names are no fault."""
    tables = of_kind(registry, "Operators")
    assert tables[0].read_bytes() == tables[1].read_bytes()
    for day in range(1, DAYS + 1):
        result = load("build", store, *dailies(registry, day))
        assert result.status == 0, result.err
    assert len(SnapshotStore(store).history()) == DAYS + 1


def test_watch_goes_through_days_of_plain_files(registry: list[Path], tmp_path: Path) -> None:
    """A feed of files that are not zipped goes on after its first day."""
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    for day in range(DAYS + 1):
        for path in dailies(registry, day):
            shutil.copy(path, inbox)
        result = load("watch", tmp_path / "s", "--inbox", inbox, "--settle", 0, "--once")
        assert result.status == 0, result.err
    history = SnapshotStore(tmp_path / "s").history()
    assert [each["event"] for each in history] == ["published"] * (DAYS + 1)
    assert history[-1]["sources"][-1]["name"] in {p.name for p in dailies(registry, DAYS)}


def test_an_older_window_under_the_next_name(
    registry: list[Path], store: Path, tmp_path: Path
) -> None:
    """Every file since the first is remembered, and the one that it equals is named."""
    for number in range(3):
        assert load("apply", store, window(registry, number, tmp_path / str(number))).status == 0
    before = SnapshotStore(store).current_id()
    result = load("apply", store, window(registry, 0, tmp_path / "w", name_of=3))
    assert result.status == 1
    assert f"is byte for byte {of_kind(registry, 'Port_Increment')[0].name}" in result.err
    assert SnapshotStore(store).current_id() == before


def test_a_window_twice_in_one_go(registry: list[Path], store: Path, tmp_path: Path) -> None:
    """Two windows of the same content are told apart before either is applied."""
    window(registry, 0, tmp_path / "w")
    for kind in ("Port_Increment", "Return_Increment"):
        files = of_kind(registry, kind)
        shutil.copy(files[0], tmp_path / "w" / files[1].name)
    assert "byte for byte" in load("apply", store, tmp_path / "w").err


def test_a_dump_of_the_day_before_yesterday(
    registry: list[Path], store: Path, tmp_path: Path
) -> None:
    """A dump is remembered beyond the snapshot that followed it."""
    assert load("build", store, *dailies(registry, 1)).status == 0
    tables, dump = dailies(registry, 2)[:2], tmp_path / dailies(registry, 2)[2].name
    shutil.copy(dailies(registry, 0)[2], dump)
    result = load("check", store, *tables, dump, "--json")
    found = {each["check"]: each for each in json.loads(result.out)["gate"]}
    assert found["sequence"]["outcome"] == "FAILED"
    assert dailies(registry, 0)[2].name in found["sequence"]["message"]


def test_dates_tell_an_older_window_that_was_changed(
    registry: list[Path], store: Path, tmp_path: Path
) -> None:
    """Where the bytes differ, the changes of a window long past still lie outside its time."""
    for number in range(4):
        assert load("apply", store, window(registry, number, tmp_path / str(number))).status == 0
    folder = window(registry, 0, tmp_path / "w", name_of=4)
    for path in folder.iterdir():
        path.write_bytes(path.read_bytes().replace(b"\r\n", b"\n"))
    result = load("apply", store, folder)
    assert result.status == 1
    assert "port_dates: half of the" in result.err
    assert "hours or more before the time in its name, the limit is 4.0" in result.err


def test_a_later_window_under_an_earlier_name(
    registry: list[Path], store: Path, tmp_path: Path
) -> None:
    """Ports after the end of a window are of another one; the JSON object says so all the same."""
    result = load("apply", store, window(registry, 1, tmp_path / "w", name_of=0), "--json")
    assert result.status == 1
    told = json.loads(result.out)
    assert (told["published"], told["passed"], told["snapshot"]) == (False, False, None)
    found = {each["check"]: each for each in told["gate"]}["port_dates"]
    assert found["outcome"] == "FAILED"
    assert "hours or more after the time in its name" in found["message"]


def test_a_refused_build_prints_its_object(
    registry: list[Path], store: Path, tmp_path: Path
) -> None:
    """A program gets the gate's findings of what was refused, too."""
    dump = tmp_path / dailies(registry, 1)[2].name
    shutil.copy(dailies(registry, 0)[2], dump)
    result = load("build", store, *dailies(registry, 1)[:2], dump, "--json")
    assert result.status == 1
    told = json.loads(result.out)
    assert (told["passed"], told["snapshot"]) == (False, None)


def test_a_window_whose_time_and_sequence_contradict(
    registry: list[Path], store: Path, tmp_path: Path
) -> None:
    """A file whose name cannot be the registry's is refused."""
    folder = window(registry, 2, tmp_path / "w")
    for path in list(folder.iterdir()):
        stem, _, sequence = path.stem.rpartition("_")
        path.rename(path.with_name(f"{stem}_{int(sequence) + 2}.csv"))
    result = load("apply", store, folder)
    assert result.status == 1
    assert "do not belong together: the file was renamed" in result.err


def test_an_operator_that_no_table_names(registry: list[Path], store: Path, tmp_path: Path) -> None:
    """An increment may name a new operator: it is applied, and the finding is a warning."""
    folder = window(registry, 0, tmp_path / "w")
    (path,) = folder.glob("Port_*")
    path.write_bytes(path.read_bytes().replace(b",mMTS,", b",mNEWCOMER,"))
    result = load("apply", store, folder, "--json")
    assert result.status == 0, result.err
    told = json.loads(result.out)
    found = {each["check"]: each for each in told["gate"]}["unknown_operators"]
    assert found["outcome"] == "warning"
    assert "the operator table lacks mNEWCOMER (" in found["message"]
