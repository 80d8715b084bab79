"""Measuring with tiny settings: the whole way is walked, no figure is asserted."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from numroute.errors import SettingError
from numroute.index import SnapshotStore
from numroute.model import Status
from numroute.plan import measuring
from numroute.plan.calibration import load, save
from numroute.plan.checking import ERROR_MAX, CheckEffort, check
from numroute.plan.measuring import Effort, calibrate
from numroute.plan.model import plan
from numroute.plan.requirements import Requirements
from numroute.plan.sample import make_sample

TINY = Effort(
    chunks=(8, 16),
    batches=(1, 100, 5_000, 10_000),
    loaded=(100, 5_000),
    rounds=1,
    busy_seconds=0.05,
    sparse_seconds=0.05,
    loaded_seconds=0.05,
    kernel_numbers=1_000,
)

INTERRUPTED = """
import os, sys, threading, time
from pathlib import Path
from numroute.plan import measuring
from numroute.plan.measuring import Effort, calibrate
effort = Effort(chunks=(8,), batches=(1, 5000), rounds=10_000)
calibrate(Path(sys.argv[1]), effort, lambda text: print(text, flush=True))
"""


def test_a_calibration_can_be_planned_with_and_checked(tmp_path: Path) -> None:
    """Measured, saved, read, asked, checked; no file stays, and every core is allowed again."""
    cores = os.sched_getaffinity(0)
    steps: list[str] = []
    work = tmp_path / "work"
    work.mkdir()
    made = calibrate(work, TINY, steps.append)
    assert [cost.batch for cost in made.costs] == list(TINY.batches)
    assert len(made.kernel) == 2
    assert steps
    path = tmp_path / "c.json"
    save(made, path)
    assert load(path) == made
    answer = plan(made, Requirements(rate=1e5, ported=1_000_000, batch=500))
    assert answer.machines >= 1
    effort = CheckEffort(
        points=((300, 0.2),), chunks=8, rounds=1, busy_seconds=0.05, loaded_seconds=0.05
    )
    checked = check(made, work, effort)
    found = checked.comparisons
    assert 0 <= checked.others_share <= 1
    assert checked.near == all(abs(each.error) <= ERROR_MAX for each in found)
    assert [each.what for each in found] == ["capacity, numbers/s", "CPU a call", "p50", "p99"]
    assert all(each.error == each.predicted / each.measured - 1 for each in found)
    assert list(work.iterdir()) == []
    assert os.sched_getaffinity(0) == cores


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_calibration_leaves_nothing_behind(tmp_path: Path, number: int) -> None:
    """The service ends and the sample index is removed."""
    with subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as measuring_process:
        while "service, round 1" not in measuring_process.stdout.readline():
            assert measuring_process.poll() is None
        pid = measuring_process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        measuring_process.send_signal(number)
        measuring_process.stdout.read()
        assert measuring_process.wait(60) != 0
    assert children
    assert not any(Path(f"/proc/{child}").exists() for child in children)
    assert list(tmp_path.iterdir()) == []


def test_a_sample_holds_what_it_says(tmp_path: Path) -> None:
    """Numbers drawn as ported are ported, the others are mostly not, and none is invalid."""
    sample = make_sample(tmp_path / "store", 16)
    rng = np.random.default_rng(1)
    with SnapshotStore(sample.store).open() as snapshot:
        rows = snapshot.lookup(sample.draw(1_000, 1.0, rng)).route
        assert {snapshot.route(row).status for row in rows.tolist()} == {Status.PORTED}
        rows = snapshot.lookup(sample.draw(1_000, 0.0, rng)).route
        statuses = [snapshot.route(row).status for row in rows.tolist()]
        assert statuses.count(Status.NOT_PORTED) > 900
        assert Status.INVALID not in statuses


def test_too_little_disk_is_refused_before_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The refusal names both figures, and nothing was written."""
    full = shutil.disk_usage(tmp_path)._replace(free=1_000_000)
    monkeypatch.setattr(measuring.shutil, "disk_usage", lambda _: full)
    with pytest.raises(SettingError, match=r"takes [0-9,]+ MB of disk, .* has 1 MB"):
        calibrate(tmp_path, Effort())
    assert list(tmp_path.iterdir()) == []


def test_too_little_memory_is_refused_before_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Likewise for memory."""
    monkeypatch.setattr(measuring, "memory_bytes", lambda _: 2_000_000)
    with pytest.raises(SettingError, match=r"takes [0-9,]+ MB of memory, 2 MB are free"):
        calibrate(tmp_path, Effort())
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    """The folder is named."""
    with pytest.raises(SettingError, match="missing cannot be used"):
        calibrate(tmp_path / "missing", TINY)
