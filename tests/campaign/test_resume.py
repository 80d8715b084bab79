"""Interrupted runs: killed, resumed, interrupted from the keyboard, refused."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

CHILD = """
import os, signal, sys
from pathlib import Path
from numroute_campaign.lists.opening import Wanted
from numroute_campaign.outputs import OutputSettings
from numroute_campaign.routers import SnapshotRouter
from numroute_campaign.run import Campaign, run_campaign
from numroute_campaign.workspace import Workspace
from numroute.index import SnapshotStore

store, folder, out, form, rows, number, key = sys.argv[1:]

def die(*, rows, bytes_done, bytes_total, limit=float("inf" if rows == "end" else rows)):
    if rows >= limit:
        os.kill(os.getpid(), int(number))

if rows == "end":
    Workspace.finish = lambda self: die(rows=0, bytes_done=0, bytes_total=0, limit=0)

with SnapshotStore(store).open() as snapshot:
    run_campaign(
        Campaign(
            lists=(folder,),
            out=Path(out),
            wanted=Wanted(region="RU"),
            output=OutputSettings(form=form, rows_per_file=4000),
            key=bytes.fromhex(key) or None,
            map=Path(out + ".pseudonyms.csv") if key else None,
            part_rows=9000,
        ),
        SnapshotRouter(snapshot),
        die,
    )
"""


@pytest.fixture
def folder(list_parts: Path) -> Path:
    """Return the folder of the list's files."""
    return list_parts


def interrupted(
    store: Path, folder: Path, out: Path, form: str, rows: int | str, number: int, key: str = ""
) -> int:
    """Run a campaign in a process that gets a signal; return its status.

    It comes after so many rows, or at the "end": before the output gets its name.
    """
    done = subprocess.run(
        [sys.executable, "-c", CHILD, store, folder, out, form, str(rows), str(int(number)), key],
        check=False,
        capture_output=True,
    )
    return done.returncode


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file of a folder."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("form", ["csv", "parquet", "arrow"])
@pytest.mark.parametrize("rows", [11_000, 21_000, 30_000])
def test_a_killed_run_resumed_gives_the_same_bytes(
    form: str, rows: int, store: Path, folder: Path, route, tmp_path: Path
) -> None:
    """Kill -9 at any point and --resume: every output is what an uninterrupted run makes."""
    whole = route(folder, "--format", form, "--rows-per-file", 4000, out="whole")
    out = tmp_path / "out"
    assert interrupted(store, folder, out, form, rows, signal.SIGKILL) == -signal.SIGKILL
    assert not out.exists()
    work = tmp_path / ".out.numroute"
    final = json.loads((work / "state.json").read_text("utf-8"))["counts"]["rows"]
    assert 0 < final <= rows
    resumed = route(folder, "--format", form, "--rows-per-file", 4000, "--resume")
    assert contents(resumed.folder) == contents(whole.folder)
    assert not work.exists()


@pytest.mark.parametrize(
    ("form", "rows"), [("csv", 21_000), ("csv", "end"), ("parquet", "end"), ("arrow", "end")]
)
def test_pseudonyms_survive_a_kill(
    form: str, rows: int | str, store: Path, folder: Path, route, tmp_path: Path
) -> None:
    """Outputs and map of a resumed run are byte for byte those of an uninterrupted one."""
    key = tmp_path / "key"
    key.touch(0o600)
    key.write_text("ab" * 32, "ascii")
    options = ("--format", form, "--rows-per-file", 4000, "--pseudonymize", key)
    whole = route(folder, *options, out="whole")
    out = tmp_path / "out"
    assert interrupted(store, folder, out, form, rows, signal.SIGKILL, "ab" * 32) == -9
    assert (tmp_path / "out.pseudonyms.csv").exists() == (rows == "end")
    resumed = route(folder, *options, "--resume")
    assert contents(resumed.folder) == contents(whole.folder)
    maps = [tmp_path / f"{name}.pseudonyms.csv" for name in ("out", "whole")]
    assert maps[0].read_bytes() == maps[1].read_bytes()


def test_a_resumed_run_overwrites_no_other_map(
    store: Path, folder: Path, route, tmp_path: Path
) -> None:
    """A map of another campaign stays as it is; with another --map the run goes on."""
    key, other = tmp_path / "key", tmp_path / "out.pseudonyms.csv"
    key.touch(0o600)
    key.write_text("ab" * 32, "ascii")
    out = tmp_path / "out"
    assert interrupted(store, folder, out, "csv", 21_000, signal.SIGKILL, "ab" * 32) == -9
    other.write_text("other", "ascii")
    options = ("--rows-per-file", 4000, "--pseudonymize", key, "--resume")
    err = route(folder, *options, status=1).err
    assert "another out.pseudonyms.csv is there already" in err
    assert other.read_text("ascii") == "other"
    resumed = route(folder, *options, "--map", tmp_path / "map.csv")
    assert "There is no finished part" not in resumed.err
    assert (tmp_path / "map.csv").read_text("ascii").startswith("pseudonym,number\n")


@pytest.fixture(scope="module")
def list_cp1251(planted, tmp_path_factory) -> Path:
    """Return a folder with the planted list in CP1251, so wide that it is read as seven blocks."""
    folder = tmp_path_factory.mktemp("cp1251")
    comment = "Анна Петровна Кузнецова из Нижнего Новгорода просит звонить вечером. " * 15
    rows = "".join(f"{phone};{comment}\n" for phone in planted.table["phone"].to_pylist())
    (folder / "list.csv").write_text(f"phone;comment\n{rows}", "cp1251")
    return folder


@pytest.mark.parametrize("form", ["parquet", "arrow"])
def test_a_list_of_another_encoding_resumed_gives_the_same_bytes(
    form: str, store: Path, list_cp1251: Path, route, tmp_path: Path
) -> None:
    """Where blocks end does not depend on where the run began, in a list that is decoded too."""
    options = ("--format", form, "--rows-per-file", 4000)
    whole = route(list_cp1251, *options, out="whole")
    assert whole.summary["files"][0]["encoding"] == "cp1251"
    out = tmp_path / "out"
    assert interrupted(store, list_cp1251, out, form, 21_000, signal.SIGKILL) == -9
    resumed = route(list_cp1251, *options, "--resume")
    assert "There is no finished part" not in resumed.err
    assert contents(resumed.folder) == contents(whole.folder)


def test_what_a_crash_leaves_is_private(store: Path, folder: Path, tmp_path: Path) -> None:
    """After a kill no one else can read what is left, and the output folder does not exist."""
    assert interrupted(store, folder, tmp_path / "out", "csv", 21_000, signal.SIGKILL) == -9
    (work,) = tmp_path.iterdir()
    for path in (work, *work.rglob("*")):
        assert path.stat().st_mode & 0o077 == 0, path


def test_a_new_run_removes_what_a_crash_left(
    store: Path, folder: Path, route, tmp_path: Path
) -> None:
    """Without --resume the leftovers go, and the list is routed from its beginning."""
    assert interrupted(store, folder, tmp_path / "out", "csv", 21_000, signal.SIGKILL) == -9
    routed = route(folder)
    assert routed.summary["steps"]["rows"] == 30_000
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_ctrl_c_leaves_nothing(store: Path, folder: Path, tmp_path: Path) -> None:
    """An interrupt from the keyboard ends the run with no file left behind."""
    assert interrupted(store, folder, tmp_path / "out", "csv", 21_000, signal.SIGINT) != 0
    assert list(tmp_path.iterdir()) == []


def test_nothing_to_resume_begins_from_the_start(route, folder: Path) -> None:
    """--resume without a finished part says so and gives what a run without it gives."""
    resumed, plain = route(folder, "--resume"), route(folder, out="plain")
    assert "There is no finished part to resume from: beginning from the start" in resumed.err
    for path in plain.folder.iterdir():
        assert (resumed.folder / path.name).read_bytes() == path.read_bytes()


def test_another_list_is_not_resumed(store: Path, folder: Path, route, tmp_path: Path) -> None:
    """A list that changed since the crash is refused, and what was done is kept."""
    assert interrupted(store, folder, tmp_path / "out", "csv", 21_000, signal.SIGKILL) == -9
    routed = route(folder, "--keep", "city", "--resume", status=1)
    assert "not those of the interrupted run" in routed.err
    assert (tmp_path / ".out.numroute" / "state.json").exists()


@pytest.mark.parametrize("option", ["policy", "prices", "suppress", "segments-column", "form"])
def test_other_options_are_not_resumed(
    option: str, store: Path, folder: Path, route, tmp_path: Path
) -> None:
    """Whatever would change the outputs is refused: the parts before and after would not agree."""
    assert interrupted(store, folder, tmp_path / "out", "csv", 21_000, signal.SIGKILL) == -9
    files = {
        "policy": '[[rule]]\nroute = "all"\n',
        "prices": 'currency = "RUB"\n[[price]]\nprice = "2"\n',
        "suppress": "phone\n79001234567\n",
    }
    words: tuple[object, ...]
    if option in files:
        path = tmp_path / option
        path.write_text(files[option], "utf-8")
        words = (f"--{option}", path)
    else:
        words = (
            ("--segments-column", "amount")
            if option == "segments-column"
            else ("--format", "parquet")
        )
    routed = route(folder, "--rows-per-file", 4000, "--resume", *words, status=1)
    assert "not those of the interrupted run" in routed.err
    assert "Run without --resume" in routed.err
    assert route(folder, "--rows-per-file", 4000, "--resume").summary["steps"]["rows"] == 30_000


@pytest.mark.parametrize("text", ["phone\nnobody\n", None])
def test_a_bad_do_not_send_list_costs_no_final_part(
    text: str | None, store: Path, folder: Path, route, tmp_path: Path
) -> None:
    """--resume with a do-not-send list that is broken or missing is refused; the parts stay."""
    assert interrupted(store, folder, tmp_path / "out", "csv", 21_000, signal.SIGKILL) == -9
    if text is not None:
        (tmp_path / "stop.csv").write_text(text, "ascii")
    options = ("--rows-per-file", 4000, "--resume")
    err = route(folder, *options, "--suppress", tmp_path / "stop.csv", status=1).err
    assert ("no such file" if text is None else "not those of the interrupted run") in err
    assert "There is no finished part" not in route(folder, *options).err


def test_standard_input_cannot_be_resumed(route) -> None:
    """--resume with a list from standard input says to give a file."""
    assert "cannot be resumed" in route("-", "--resume", status=1).err


def test_two_runs_into_one_folder(route, folder: Path, tmp_path: Path) -> None:
    """The second run into a folder is refused while the first is under way."""
    import fcntl

    work = tmp_path / ".out.numroute"
    work.mkdir(mode=0o700)
    lock = os.open(work / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        assert "another run is making it" in route(folder, status=1).err
        assert (work / "lock").exists()
    finally:
        os.close(lock)


def test_a_resumed_run_finds_duplicates_of_the_first_part(
    store: Path, folder: Path, route, planted, tmp_path: Path
) -> None:
    """Numbers of the part before the crash are still known after it."""
    assert interrupted(store, folder, tmp_path / "out", "csv", 21_000, signal.SIGKILL) == -9
    routed = route(folder, "--rows-per-file", 4000, "--resume")
    assert routed.summary["steps"]["duplicates"] == planted.duplicates
    assert isinstance(planted.table, pa.Table)
