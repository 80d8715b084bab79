"""Measuring with tiny settings: every step runs, no figure is asserted."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from numroute.errors import ServiceError, SettingError
from numroute.index import SnapshotStore
from numroute.model import Status
from numroute.plan import measure
from numroute.plan.interpolate import Requirements, plan
from numroute.plan.load import Done, Load, Service, closed_loop, open_loop
from numroute.plan.measure import Effort, calibrate, draw, make_sample
from numroute.plan.table import OtherWork, load, save

TINY = Effort(
    ported=2_000,
    batches=(1, 5_000),
    loads=(0.1, 0.5),
    rounds=1,
    busy_seconds=0.05,
    step_seconds=0.05,
    others_share_max=1.0,
)

INTERRUPTED = """
import sys
from pathlib import Path
from numroute.plan.measure import Effort, calibrate
effort = Effort(ported=2_000, batches=(1, 5000), rounds=10_000)
calibrate(Path(sys.argv[1]), effort, lambda text: print(text, flush=True))
"""


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make few calls a step."""
    monkeypatch.setattr(measure, "STEP_CALLS_MIN", 3)


def test_a_calibration_can_be_planned_with(tmp_path: Path) -> None:
    """Measured, saved, read, asked; no file stays, and every core is allowed again."""
    cores = os.sched_getaffinity(0)
    steps: list[str] = []
    work = tmp_path / "work"
    work.mkdir()
    made = calibrate(work, TINY, steps.append)
    assert [row.batch for row in made.rows] == list(TINY.batches)
    assert [step.load for step in made.rows[0].steps] == list(TINY.loads)
    assert steps
    path = tmp_path / "c.json"
    save(made, path)
    assert load(path) == made
    answer = plan(
        made,
        Requirements(rate=1e5, ported=2_000, batch=500, load_max=0.5),
    )
    assert answer.machines >= 1
    assert list(work.iterdir()) == []
    assert os.sched_getaffinity(0) == cores


def test_disturbed_steps_are_measured_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other processes' work in the first rounds costs further rounds, not the calibration."""
    shares = iter([1.0] * 6)
    monkeypatch.setattr(OtherWork, "share", lambda _: next(shares, 0.0))
    steps: list[str] = []
    made = calibrate(tmp_path, replace(TINY, others_share_max=0.05), steps.append)
    assert [step.partition(",")[0] for step in steps[1:]] == ["round 1"] * 2 + ["round 2"] * 2
    assert made.disturbed_steps == 0
    monkeypatch.setattr(OtherWork, "share", lambda _: 1.0)
    assert calibrate(tmp_path, replace(TINY, others_share_max=0.05)).disturbed_steps == 6


def test_a_step_whose_calls_fail_is_measured_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broken stream costs a round, not the calibration; calls that always fail are an error."""
    runs: list[Load] = []

    def refused_at_first(*arguments: object, **options: object) -> Load:
        seen = open_loop(*arguments, **options)
        runs.append(seen)
        if len(runs) <= 2:
            seen.failures["RESOURCE_EXHAUSTED"] += 2
        return seen

    monkeypatch.setattr(measure, "open_loop", refused_at_first)
    steps: list[str] = []
    made = calibrate(tmp_path, TINY, steps.append)
    assert len(runs) == 4 + 2
    assert made.disturbed_steps == 0
    assert any(step.startswith("round 2") for step in steps)
    monkeypatch.setattr(measure, "open_loop", always_broken)
    with pytest.raises(ServiceError, match="1 with UNAVAILABLE") as failed:
        calibrate(tmp_path, TINY)
    assert "Other programs" in failed.value.hint
    monkeypatch.setattr(measure, "FAILED_SHARE_MAX", 0.5)
    assert calibrate(tmp_path, TINY).disturbed_steps == 4
    assert list(tmp_path.iterdir()) == []


def always_broken(*arguments: object, **options: object) -> Load:
    seen = open_loop(*arguments, **options)
    seen.failures["UNAVAILABLE"] += 1
    return seen


def test_a_connection_is_not_asked_for_more_than_it_may_have() -> None:
    """Calls beyond the limit begin when others have ended; their latency counts from the start."""
    waiting: list[Done] = []

    def send(place: int, done: Done) -> None:
        waiting.append(done)
        assert len(waiting) <= 3
        if len(waiting) == 3:
            for each in waiting:
                each("")
            waiting.clear()

    seen = open_loop(send, rate=1e5, seconds=3e-4, cpu=lambda: 0.0, in_flight_max=3)
    assert seen.answered == 30


def test_the_load_generator_counts_what_failed() -> None:
    """A failed call has no latency, and the name of its failure is kept."""

    def send(place: int, done: Done) -> None:
        done("UNAVAILABLE" if place % 4 == 0 else "")

    for seen in (
        open_loop(send, rate=1e5, seconds=1e-3, cpu=lambda: 0.0),
        closed_loop(send, in_flight=3, seconds=1, cpu=lambda: 0.0, calls_max=100),
    ):
        assert len(seen.latency_seconds) == 100
        assert seen.failures == Counter(UNAVAILABLE=25)
        assert seen.answered == 75
        assert np.isnan(seen.latency_seconds).sum() == 25
        assert seen.quantile(0.5) >= 0
        with pytest.raises(ServiceError, match="25 of 100 calls failed, 25 with UNAVAILABLE"):
            seen.require_answers()


def test_a_late_client_cannot_hide_the_wait() -> None:
    """Latency counts from when a call was due, not from when it was sent."""

    def send(place: int, done: Done) -> None:
        if place == 0:
            time.sleep(0.1)
        done("")

    seen = open_loop(send, rate=1_000, seconds=0.05, cpu=lambda: 0.0)
    assert seen.latency_seconds[1] > 0.05


def test_the_time_of_threads_that_have_ended_counts() -> None:
    """A service whose threads end has not used less."""
    service = Service(address="", pid=os.getpid())
    before = service.cpu_seconds()
    thread = threading.Thread(target=sum, args=(range(5_000_000),))
    thread.start()
    thread.join()
    assert service.cpu_seconds() > before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_calibration_leaves_nothing_behind(tmp_path: Path, number: int) -> None:
    """The service stops and the sample index is removed."""
    with subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as measuring:
        while "round 1" not in measuring.stdout.readline():
            assert measuring.poll() is None
        pid = measuring.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        measuring.send_signal(number)
        measuring.stdout.read()
        assert measuring.wait(60) != 0
    assert children
    assert not any(Path(f"/proc/{child}").exists() for child in children)
    assert list(tmp_path.iterdir()) == []


def test_a_sample_holds_what_it_says(tmp_path: Path) -> None:
    """Numbers drawn as ported are ported, the others mostly are not, and none is invalid."""
    ported = make_sample(tmp_path / "store", 10_000)
    assert len(ported) == 10_000
    with SnapshotStore(tmp_path / "store").open() as snapshot:
        rows = snapshot.lookup(ported).route
        assert {snapshot.route(row).status for row in rows.tolist()} == {Status.PORTED}
        rows = snapshot.lookup(draw(ported, 1_000, 1)).route
        statuses = [snapshot.route(row).status for row in rows.tolist()]
        assert statuses.count(Status.NOT_PORTED) > 900
        assert Status.INVALID not in statuses


def test_too_little_disk_is_refused_before_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The refusal names both figures, and nothing was written."""
    full = shutil.disk_usage(tmp_path)._replace(free=1_000_000)
    monkeypatch.setattr(measure.shutil, "disk_usage", lambda _: full)
    with pytest.raises(SettingError, match=r"takes [0-9,]+ MB of disk, .* has 1"):
        calibrate(tmp_path, Effort())
    assert list(tmp_path.iterdir()) == []


def test_too_little_memory_is_refused_before_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Likewise for memory."""
    monkeypatch.setattr(measure, "memory_bytes", lambda _: 2_000_000)
    with pytest.raises(SettingError, match=r"takes [0-9,]+ MB of memory, 2 MB are free"):
        calibrate(tmp_path, Effort())
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    """The folder is named."""
    with pytest.raises(SettingError, match="missing cannot be used"):
        calibrate(tmp_path / "missing", TINY)
