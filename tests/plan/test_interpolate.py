"""A plan follows from the measured table alone, and nothing is planned beyond it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plan.conftest import busy

from numroute.client.coalescing import WAIT_SECONDS
from numroute.errors import SettingError
from numroute.plan.interpolate import Requirements, facts, plan
from numroute.plan.table import Calibration

ASKED = Requirements(rate=2e6, ported=30_000_000, batch=1_000, p99_seconds=0.005, spare=2)

quickly = settings(deadline=None, max_examples=30)
rates = st.floats(1e3, 1e9)
batches = st.integers(1, 500_000)


def test_a_measured_point_is_given_back(calibration: Calibration) -> None:
    """At a measured batch and load the plan says what was measured there."""
    for row in calibration.rows:
        for step in row.steps:
            rate = step.load / row.busy_cpu_seconds[0] * row.batch
            answer = plan(
                calibration,
                Requirements(rate=rate, ported=1_000, batch=row.batch, load_max=step.load),
            )
            assert answer.processes == 1
            assert answer.load == pytest.approx(step.load)
            assert answer.cpu_per_call == pytest.approx(step.cpu_seconds)
            assert answer.p50_seconds == pytest.approx(step.p50_seconds)
            assert answer.p99_seconds == pytest.approx(step.p99_seconds)


@quickly
@given(batch=batches, load=st.floats(0.1, 0.8))
def test_between_measured_points_lie_values_between_theirs(
    calibration: Calibration, batch: int, load: float
) -> None:
    """Neither cost nor latency leaves the range of the four points around it."""
    asked = Requirements(rate=load / busy(batch) * batch, ported=1_000, batch=batch, load_max=0.8)
    answer = plan(calibration, asked)
    around = [
        step
        for low, high in zip(calibration.rows, calibration.rows[1:], strict=False)
        if low.batch <= batch <= high.batch
        for step in (*low.steps, *high.steps)
    ]
    for figure, name in (
        (answer.cpu_per_call, "cpu_seconds"),
        (answer.p50_seconds, "p50_seconds"),
        (answer.p99_seconds, "p99_seconds"),
    ):
        low = min(getattr(step, name)[0] for step in around)
        high = max(getattr(step, name)[2] for step in around)
        assert low * (1 - 1e-9) <= figure[0] <= figure[1] <= figure[2] <= high * (1 + 1e-9)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch": 500_001}, r"--batch 500,001 was not measured\. Give 1 to 500,000"),
        ({"load_max": 0.9}, r"--load 0\.9 was not measured\. Give 0\.1 to 0\.8"),
        ({"load_max": 0.05}, r"--load 0\.05 was not measured"),
        ({"ported": 400_000_000}, r"to 300,000,000\. .*calibrate with a larger store"),
    ],
    ids=str,
)
def test_questions_beyond_the_measurements_are_refused(
    calibration: Calibration, change: dict, message: str
) -> None:
    """The refusal says what was measured, or how to measure more."""
    with pytest.raises(SettingError, match=message):
        plan(calibration, replace(ASKED, **change))


def test_a_load_below_the_lowest_step_is_noted(calibration: Calibration) -> None:
    """The latencies of the lowest step stand in, and the plan says so."""
    answer = plan(calibration, replace(ASKED, rate=1_000))
    assert answer.p99_seconds == pytest.approx(calibration.rows[1].steps[0].p99_seconds)
    assert "not measured" in answer.notes[0]


def test_processes_that_share_a_machine_are_noted(calibration: Calibration) -> None:
    """One process was measured."""
    assert any("one process" in note for note in plan(calibration, replace(ASKED, rate=1e7)).notes)


def test_a_plan_carries_its_load(calibration: Calibration) -> None:
    """The cores without the spare machines carry the rate within the load that is allowed."""
    answer = plan(calibration, replace(ASKED, rate=5e7))
    assert answer.load <= 0.7
    assert answer.capacity * answer.load == pytest.approx(5e7)
    assert answer.processes == answer.machines * answer.processes_per_machine
    assert answer.processes_per_machine <= calibration.machine.cores
    assert answer.p99_seconds[1] <= 0.005


@quickly
@given(rate=rates, more=st.floats(1, 100), batch=batches)
def test_more_rate_never_needs_less(
    calibration: Calibration, rate: float, more: float, batch: int
) -> None:
    """A higher rate takes at least as many machines, cores and bytes."""
    asked = Requirements(rate=rate, ported=1_000_000, batch=batch, p99_seconds=0.1)
    less, larger = plan(calibration, asked), plan(calibration, replace(asked, rate=rate * more))
    assert larger.machines >= less.machines
    assert larger.cores[0] >= less.cores[0]
    assert larger.bytes_in_per_second >= less.bytes_in_per_second


@quickly
@given(first=st.floats(1e-4, 1), second=st.floats(1e-4, 1), batch=batches)
def test_a_looser_latency_never_needs_more(
    calibration: Calibration, first: float, second: float, batch: int
) -> None:
    """Of two latencies that can be reached, the longer one takes no more cores."""
    tight, loose = (
        plan(
            calibration, Requirements(rate=1e7, ported=1_000_000, batch=batch, p99_seconds=seconds)
        )
        for seconds in sorted((first, second))
    )
    if tight.p99_reached:
        assert loose.p99_reached
        assert loose.cores[0] <= tight.cores[0] * (1 + 1e-9)


@quickly
@given(ported=st.integers(0, 150_000_000), more=st.integers(0, 150_000_000))
def test_more_ported_numbers_never_take_less(
    calibration: Calibration, ported: int, more: int
) -> None:
    """A larger registry takes at least as much memory, disk and time."""
    asked = Requirements(rate=1e6, ported=ported, batch=1_000)
    less, larger = plan(calibration, asked), plan(calibration, replace(asked, ported=ported + more))
    assert larger.index_bytes >= less.index_bytes
    assert larger.build_bytes >= less.build_bytes
    assert larger.disk_bytes >= less.disk_bytes
    assert larger.cores[0] >= less.cores[0]


def test_an_impossible_latency_is_answered_with_what_is_possible(calibration: Calibration) -> None:
    """Below the floor the plan says so, and is for the lowest load."""
    asked = replace(ASKED, p99_seconds=1e-6)
    answer = plan(calibration, asked)
    assert not answer.p99_reached
    assert answer.p99_seconds == pytest.approx(calibration.rows[1].steps[0].p99_seconds)
    assert ("p99", "which no measured load keeps") in [
        (name, text.rpartition(", ")[2]) for name, text in facts(asked, answer)
    ]


def test_what_one_machine_cannot_carry_takes_several(calibration: Calibration) -> None:
    """Ten times a machine's capacity takes more than ten machines, and the spare ones."""
    one = plan(calibration, Requirements(rate=1, ported=1_000, batch=1_000))
    machine = one.capacity * calibration.machine.cores
    answer = plan(calibration, replace(ASKED, rate=10 * machine))
    assert answer.machines - ASKED.spare > 10


def test_single_numbers_are_gathered_into_calls(calibration: Calibration) -> None:
    """3,000 a second take one core; each alone would take two. Gathering adds its wait."""
    asked = Requirements(rate=3_000, ported=30_000_000, batch=1, gathered=True)
    gathered, alone = plan(calibration, asked), plan(calibration, replace(asked, gathered=False))
    assert (gathered.machines, gathered.processes, gathered.numbers_per_call) == (1, 1, 9)
    assert alone.processes == 2
    assert gathered.p99_seconds[1] - WAIT_SECONDS <= alone.p99_seconds[1]
    assert plan(calibration, replace(asked, clients=9)).numbers_per_call == 1


def test_noise_widens_the_range(calibration: Calibration) -> None:
    """Rounds that differ show in the cores needed."""
    quiet = plan(calibration, ASKED)
    assert quiet.cores[0] <= quiet.cores[1] <= quiet.cores[2]
    rows = tuple(
        replace(row, busy_cpu_seconds=(*row.busy_cpu_seconds[:2], 2 * row.busy_cpu_seconds[0]))
        for row in calibration.rows
    )
    noisy = plan(replace(calibration, rows=rows), ASKED)
    assert noisy.cores[2] > quiet.cores[2]


def test_the_network_can_bind(calibration: Calibration) -> None:
    """Where the connections are narrow, they decide the number of machines."""
    asked = replace(ASKED, rate=5e6, batch=100_000, p99_seconds=None, network_bits=1e8)
    answer = plan(calibration, asked)
    assert answer.binding == "network"
    assert 8 * answer.bytes_in_per_second <= 1e8 * (answer.machines - asked.spare)


def test_too_little_memory_is_refused_with_the_figure(calibration: Calibration) -> None:
    """An index that does not fit one machine is refused: machines do not add up."""
    small = replace(calibration, machine=replace(calibration.machine, memory_bytes=1_200_000_000))
    with pytest.raises(
        SettingError, match=r"needs 1\.\d GB of memory, the calibrated one has 1\.2"
    ):
        plan(small, ASKED)


def test_too_little_disk_is_refused_with_the_figure(calibration: Calibration) -> None:
    """So is a store that does not fit the disk."""
    small = replace(calibration, machine=replace(calibration.machine, disk_bytes=2_000_000_000))
    with pytest.raises(SettingError, match=r"needs 3\.\d GB of disk, the calibrated one has 2\.0"):
        plan(small, ASKED)


def test_the_index_is_as_large_as_the_format_says(calibration: Calibration) -> None:
    """20 million numbers over the Russian plan take about what a real snapshot of them takes."""
    answer = plan(calibration, replace(ASKED, ported=20_000_000))
    assert answer.index_bytes == pytest.approx(168_222_720, rel=0.05)
