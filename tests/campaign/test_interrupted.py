"""Interrupted runs: killed, interrupted from the keyboard, two at once."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

CHILD = """
import os, sys
from pathlib import Path
from numroute_campaign.lists.files import ReadOptions
from numroute_campaign.routers import SnapshotRouter
from numroute_campaign.run import Campaign, run_campaign
from numroute_campaign.outputs import Workspace
from numroute.index import SnapshotStore

store, folder, out, form, rows, number = sys.argv[1:]

def die(rows, bytes_done, bytes_total, limit=float("inf" if rows == "end" else rows)):
    if rows >= limit:
        os.kill(os.getpid(), int(number))

if rows == "end":
    Workspace.finish = lambda self: die(0, 0, 0, limit=0)

with SnapshotStore(store).open() as snapshot:
    run_campaign(
        Campaign(
            lists=(folder,),
            out=Path(out),
            options=ReadOptions(region="RU"),
            form=form,
            rows_per_file=4000,
        ),
        SnapshotRouter(snapshot),
        die,
    )
"""


def interrupted(
    store: Path, folder: Path, out: Path, form: str, rows: int | str, number: int
) -> int:
    """Run a campaign in a process that gets a signal; return its status.

    The signal comes after ``rows`` rows, or at the "end": before the output gets its name.
    """
    done = subprocess.run(
        [sys.executable, "-c", CHILD, store, folder, out, form, str(rows), str(int(number))],
        check=False,
        capture_output=True,
    )
    return done.returncode


@pytest.mark.parametrize(
    ("form", "rows"), [("csv", 11_000), ("csv", "end"), ("parquet", 21_000), ("arrow", "end")]
)
def test_a_killed_run_leaves_one_private_folder_that_the_next_run_removes(
    form: str, rows: int | str, store: Path, list_parts: Path, route, tmp_path: Path
) -> None:
    """After a kill nobody else can read what is left; the next run starts from the beginning."""
    out = tmp_path / "out"
    assert interrupted(store, list_parts, out, form, rows, signal.SIGKILL) == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".out.")
    for path in (left, *left.rglob("*")):
        assert path.stat().st_mode & 0o077 == 0, path
    routed = route(list_parts, "--format", form)
    assert routed.summary["steps"]["rows"] == 30_000
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_ctrl_c_leaves_nothing(store: Path, list_parts: Path, tmp_path: Path) -> None:
    """An interrupt from the keyboard ends the run with no file left behind."""
    assert interrupted(store, list_parts, tmp_path / "out", "csv", 21_000, signal.SIGINT) != 0
    assert list(tmp_path.iterdir()) == []


def test_two_runs_into_one_folder(route, list_parts: Path, tmp_path: Path) -> None:
    """The second run into a folder is refused while the first is under way."""
    work = tmp_path / ".out.x1y2z3.numroute"
    work.mkdir(mode=0o700)
    lock = os.open(work, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        assert "another run is making it" in route(list_parts, status=1).err
        assert [path.name for path in tmp_path.iterdir()] == [work.name]
    finally:
        os.close(lock)
    route(list_parts)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_names_like_a_leftover_are_left_alone(route, list_parts: Path, tmp_path: Path) -> None:
    """Files and links with such a name are not removed, nor is another output's folder."""
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").touch()
    (tmp_path / ".out.link.numroute").symlink_to(tmp_path / "precious")
    (tmp_path / ".out.file.numroute").touch()
    (tmp_path / ".out2.x.numroute").mkdir()
    (tmp_path / ".out.v2.x.numroute").mkdir()
    route(list_parts)
    assert (tmp_path / "precious" / "file").exists()
    assert {path.name for path in tmp_path.iterdir()} == {
        "out", "precious", ".out.link.numroute", ".out.file.numroute", ".out2.x.numroute",
        ".out.v2.x.numroute",
    }  # fmt: skip
