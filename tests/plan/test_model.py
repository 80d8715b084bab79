"""What the planner answers follows from the calibration alone."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numroute.errors import SettingError
from numroute.plan.calibration import Calibration
from numroute.plan.costs import MIXED_SHARE, kernel_seconds, server
from numroute.plan.model import changes, plan
from numroute.plan.requirements import Requirements
from numroute.plan.sizing import build_memory, index_size

ASKED = Requirements(rate=2e6, ported=30_000_000, batch=1_000, p99_seconds=0.005, spare=2)

quickly = settings(deadline=None, max_examples=30)
rates = st.floats(1e3, 1e9)
batches = st.integers(1, 500_000)


def test_the_cost_of_a_measured_batch_is_what_was_measured(calibration: Calibration) -> None:
    """At a calibrated batch and index the model gives the calibration back."""
    for cost in calibration.costs:
        model = server(calibration, cost.batch, calibration.kernel[-1].touched_bytes, MIXED_SHARE)
        assert model.service_seconds == pytest.approx(cost.busy_cpu_seconds)
        assert model.wake_seconds == pytest.approx(cost.wake_cpu_seconds)


def test_costs_are_a_call_and_its_numbers(calibration: Calibration) -> None:
    """Between the points a call costs a + b n, with a step where batches go to threads."""
    touched = calibration.kernel[-1].touched_bytes
    assert server(calibration, 300, touched, MIXED_SHARE).service_seconds == pytest.approx(312e-6)
    assert server(calibration, 5_000, touched, MIXED_SHARE).service_seconds == pytest.approx(800e-6)
    answer = plan(calibration, ASKED)
    assert answer.call_seconds == pytest.approx(300e-6)
    assert answer.number_seconds == pytest.approx(40e-9)


def test_a_plan_carries_its_load(calibration: Calibration) -> None:
    """The cores without the spare machines carry the rate within the load that is allowed."""
    answer = plan(calibration, replace(ASKED, rate=5e7))
    assert answer.load <= 0.7
    assert answer.capacity * answer.load == pytest.approx(5e7)
    assert answer.processes == answer.cores == answer.machines * answer.processes_per_machine
    assert answer.processes_per_machine <= calibration.machine.cores
    assert answer.p99_seconds <= 0.005


@quickly
@given(rate=rates, more=st.floats(1, 100), batch=batches)
def test_more_rate_never_needs_less(
    calibration: Calibration, rate: float, more: float, batch: int
) -> None:
    """A higher rate takes at least as many machines, cores and bytes."""
    asked = Requirements(rate=rate, ported=1_000_000, batch=batch, p99_seconds=0.1)
    less, larger = plan(calibration, asked), plan(calibration, replace(asked, rate=rate * more))
    assert larger.machines >= less.machines
    assert larger.cores_exact >= less.cores_exact
    assert larger.network.bytes_in >= less.network.bytes_in


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
        assert loose.cores_exact <= tight.cores_exact * (1 + 1e-9)


@quickly
@given(ported=st.integers(0, 300_000_000), more=st.integers(0, 300_000_000))
def test_more_ported_numbers_never_take_less(
    calibration: Calibration, ported: int, more: int
) -> None:
    """A larger registry takes at least as much memory, disk and time."""
    asked = Requirements(rate=1e6, ported=ported, batch=1_000, ported_share=0.07)
    less, larger = plan(calibration, asked), plan(calibration, replace(asked, ported=ported + more))
    assert larger.memory.page_cache >= less.memory.page_cache
    assert larger.memory.build >= less.memory.build
    assert larger.disk_bytes >= less.disk_bytes
    assert larger.cores_exact >= less.cores_exact


@quickly
@given(load=st.floats(0.01, 0.98), more=st.floats(1e-3, 0.9), batch=batches)
def test_queues_grow_with_load(
    calibration: Calibration, load: float, more: float, batch: int
) -> None:
    """More calls use more of a core, each of them less, and none is answered in no time."""
    process = server(calibration, batch, 200_000_000, MIXED_SHARE)
    low, high = load / process.service_seconds, min(0.99, load + more) / process.service_seconds
    assert process.utilisation(high) >= process.utilisation(low)
    assert process.cpu_seconds(high) <= process.cpu_seconds(low)
    assert process.cpu_seconds(high) >= process.service_seconds
    assert 0 < process.latency(low, 0.5) <= process.latency(low, 0.99) < math.inf


def test_a_saturated_process_never_answers(calibration: Calibration) -> None:
    """At its capacity the queue grows without end."""
    process = server(calibration, 1, 200_000_000, MIXED_SHARE)
    assert process.latency(1.01 / process.service_seconds, 0.5) == math.inf
    assert process.utilisation(2 / process.service_seconds) == 1


def test_an_impossible_latency_is_answered_with_what_is_possible(calibration: Calibration) -> None:
    """Below the floor the plan says so, names the floor and comes near it."""
    answer = plan(calibration, replace(ASKED, p99_seconds=1e-6))
    assert not answer.p99_reached
    assert answer.p99_floor_seconds > 1e-6
    assert answer.p99_seconds <= 1.1 * answer.p99_floor_seconds


def test_what_one_machine_cannot_carry_takes_several(calibration: Calibration) -> None:
    """Ten times a machine's capacity takes more than ten machines, and the spare ones."""
    one = plan(calibration, Requirements(rate=1, ported=1_000, batch=1_000))
    machine = one.capacity * calibration.machine.cores
    answer = plan(calibration, replace(ASKED, rate=10 * machine))
    assert answer.machines - answer.spare > 10
    assert answer.spare == 2


def test_the_network_can_bind(calibration: Calibration) -> None:
    """Where the connections are narrow, they decide the number of machines."""
    asked = replace(ASKED, rate=5e6, batch=100_000, p99_seconds=None, network_bits=1e8)
    answer = plan(calibration, asked)
    assert answer.binding == "network"
    assert 8 * answer.network.bytes_in <= 1e8 * (answer.machines - answer.spare)


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
    with pytest.raises(SettingError, match=r"needs 4\.\d GB of disk, the calibrated one has 2\.0"):
        plan(small, ASKED)


def test_changes_say_how_the_cost_grows(calibration: Calibration) -> None:
    """Twice the rate costs twice the cores; a change that is impossible says why."""
    base = plan(calibration, ASKED)
    tried = {change.what: change for change in changes(calibration, ASKED)}
    doubled = tried["twice the rate"].plan
    assert doubled is not None
    assert doubled.cores_exact == pytest.approx(2 * base.cores_exact)
    largest = {c.what: c for c in changes(calibration, replace(ASKED, batch=500_000))}
    assert largest["twice the batch"].plan is None
    assert "batch" in largest["twice the batch"].refusal


def test_a_disturbed_kernel_figure_does_not_make_large_indexes_cheap(
    calibration: Calibration,
) -> None:
    """A larger index costs at least what a smaller one does, whatever was measured."""
    turned = replace(
        calibration,
        kernel=(calibration.kernel[0], replace(calibration.kernel[1], mixed_seconds=1e-9)),
    )
    assert kernel_seconds(turned, 10**9, MIXED_SHARE) >= kernel_seconds(turned, 10**7, MIXED_SHARE)


def test_the_index_is_as_large_as_the_format_says() -> None:
    """50 million numbers over the Russian plan take what a real snapshot of them takes.

    The benchmark's snapshot has 493,207,552 bytes with times, 172,752,896 of them cells.
    """
    size = index_size(50_000_000, 706_600_000)
    assert size.file == pytest.approx(493_207_552, rel=0.03)
    assert size.cells == pytest.approx(172_752_896, rel=0.03)


def test_sparse_numbers_take_a_chunk_each() -> None:
    """A few ported numbers in a large plan take 16 KiB each."""
    assert index_size(100, 10**9).cells == pytest.approx(101 * 16_384, rel=0.02)


def test_sizes_beyond_the_format_are_refused() -> None:
    """More numbers than the plan, or than a snapshot, are refused with the figure."""
    with pytest.raises(SettingError, match="more than the 10 of the numbering plan"):
        index_size(11, 10)
    with pytest.raises(SettingError, match="more than one snapshot holds"):
        index_size(2 * 10**9, 10**10)


def test_an_unsorted_dump_takes_more_memory_to_build() -> None:
    """16 bytes a number more, as OPERATIONS.md says."""
    extra = build_memory(1_000, sorted_dump=False) - build_memory(1_000)
    assert extra == 16_000
