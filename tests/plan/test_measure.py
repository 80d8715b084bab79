"""Measuring with tiny settings: every step runs, no figure is asserted."""

from __future__ import annotations

import os
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
from support.registry import generated_store

from numroute.errors import ServiceError, StoreError
from numroute.index import SnapshotStore
from numroute.model import LineType, Status
from numroute.plan import measure
from numroute.plan.interpolate import Requirements, plan
from numroute.plan.load import Done, Load, Service, send_calls
from numroute.plan.measure import Effort, calibrate, draw
from numroute.plan.table import OtherWork, load, save

TINY = Effort(
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
effort = Effort(batches=(1, 5000), rounds=10_000)
calibrate(Path(sys.argv[1]), effort, lambda text: print(text, flush=True))
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generated_store(tmp_path_factory)


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make few calls a step, and give disturbed ones one round more."""
    monkeypatch.setattr(measure, "STEP_CALLS_MIN", 3)
    monkeypatch.setattr(measure, "REPEATS_MAX", 1)


def test_a_calibration_can_be_planned_with(store: Path, tmp_path: Path) -> None:
    """Measured, saved, read, asked; every core is allowed again."""
    cores = os.sched_getaffinity(0)
    steps: list[str] = []
    made = calibrate(store, TINY, steps.append)
    assert [row.batch for row in made.rows] == list(TINY.batches)
    assert [step.load for step in made.rows[0].steps] == list(TINY.loads)
    assert (made.ported, made.machine.cores) == (20_000, len(cores))
    assert steps
    path = tmp_path / "c.json"
    save(made, path)
    assert load(path) == made
    answer = plan(made, Requirements(rate=1e5, ported=2_000, batch=500, load_max=0.5))
    assert answer.machines >= 1
    assert os.sched_getaffinity(0) == cores


def test_disturbed_steps_are_measured_again(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other processes' work in the first rounds costs further rounds, not the calibration."""
    shares = iter([1.0] * 6)
    runs: list[Load] = []

    def counted(*arguments: object, **options: object) -> Load:
        runs.append(send_calls(*arguments, **options))
        return runs[-1]

    monkeypatch.setattr(measure, "send_calls", counted)
    monkeypatch.setattr(OtherWork, "share", lambda _: next(shares, 0.0))
    made = calibrate(store, replace(TINY, others_share_max=0.05), print)
    assert len(runs) == 2 + 6 + 6  # each batch's first calls, then two rounds
    assert made.disturbed_steps == 0
    monkeypatch.setattr(OtherWork, "share", lambda _: 1.0)
    assert calibrate(store, replace(TINY, others_share_max=0.05), print).disturbed_steps == 6


def test_a_step_whose_calls_fail_is_measured_again(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broken stream costs a round, not the calibration; calls that always fail are an error."""
    runs: list[Load] = []

    def refused_at_first(*arguments: object, **options: object) -> Load:
        seen = send_calls(*arguments, **options)
        if options["rate"] is not None:
            runs.append(seen)
            if len(runs) <= 2:
                seen.failures["RESOURCE_EXHAUSTED"] += 2
        return seen

    monkeypatch.setattr(measure, "send_calls", refused_at_first)
    made = calibrate(store, TINY, print)
    assert len(runs) == 4 + 2
    assert made.disturbed_steps == 0
    monkeypatch.setattr(measure, "send_calls", always_broken)
    with pytest.raises(ServiceError, match="1 with UNAVAILABLE") as failed:
        calibrate(store, TINY, print)
    assert "Other programs" in failed.value.hint
    monkeypatch.setattr(measure, "FAILED_SHARE_MAX", 0.5)
    assert calibrate(store, TINY, print).disturbed_steps == 4


def test_loads_wait_for_a_capacity(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the calls at saturation fail, no share of what they show is measured."""
    rates: list[object] = []

    def refused_at_first(*arguments: object, **options: object) -> Load:
        seen = send_calls(*arguments, **options)
        rates.append(options["rate"])
        if len(rates) == 3:  # after each batch's first calls
            seen.failures["UNAVAILABLE"] += len(seen.latency_seconds)
        return seen

    monkeypatch.setattr(measure, "send_calls", refused_at_first)
    steps: list[str] = []
    assert calibrate(store, TINY, steps.append).disturbed_steps == 0
    assert rates[2:4] == [None, None]
    assert len(rates) == 2 + 1 + 3 + 3
    assert [step.partition(",")[0] for step in steps] == ["round 1", "round 1", "round 2"]


def always_broken(*arguments: object, **options: object) -> Load:
    seen = send_calls(*arguments, **options)
    if options["rate"] is not None:
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

    seen = send_calls(send, rate=1e5, seconds=3e-4, cpu=lambda: 0.0, in_flight=3)
    assert seen.answered == 30


def test_the_load_generator_counts_what_failed() -> None:
    """A failed call has no latency, and the name of its failure is kept."""

    def send(place: int, done: Done) -> None:
        done("UNAVAILABLE" if place % 4 == 0 else "")

    for seen in (
        send_calls(send, rate=1e5, seconds=1e-3, cpu=lambda: 0.0),
        send_calls(send, in_flight=3, seconds=1, cpu=lambda: 0.0, calls_max=100),
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

    seen = send_calls(send, rate=1_000, seconds=0.05, cpu=lambda: 0.0)
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
def test_an_interrupted_calibration_stops_its_service(store: Path, number: int) -> None:
    """No process is left behind."""
    with subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, str(store)],
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


def test_numbers_are_drawn_from_the_plan(store: Path) -> None:
    """All are allocated and mobile, and as many are ported as in the registry."""
    with SnapshotStore(store).open() as snapshot:
        routes = [snapshot.route(row) for row in snapshot.lookup(draw(snapshot, 50_000, 1)).route]
        assert {route.status for route in routes} == {Status.PORTED, Status.NOT_PORTED}
        assert LineType.FIXED not in {route.line_type for route in routes}


def test_a_missing_store_is_refused(tmp_path: Path) -> None:
    """The folder is named."""
    with pytest.raises(StoreError, match="missing"):
        calibrate(tmp_path / "missing", TINY, print)
