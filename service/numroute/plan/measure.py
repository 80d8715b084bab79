"""Measure this machine: a real service, with a store's snapshot, under stepwise load."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import grpc
import numpy as np
from numpy.typing import NDArray

from numroute import wire
from numroute.errors import ServiceError, SettingError
from numroute.index import Snapshot, SnapshotStore
from numroute.model import LineType
from numroute.plan import table
from numroute.plan.load import Load, Service, send_calls, sender, serving

IN_FLIGHT = 8
"""Calls under way that keep the next one always waiting at the service."""

IN_FLIGHT_MAX = 50
"""The most calls under way on the one connection, far below what a connection may have: beyond it
gRPC now and then breaks a stream."""

NUMBERS_IN_FLIGHT_MAX = 2_000_000
"""The most numbers under way: half of what a process has room for before it refuses calls."""

REQUESTS = 8
"""Different requests of one size, so that their numbers are not all in the cache."""

STEP_CALLS_MIN = 12
STEP_SECONDS_MAX = 1.5
"""A step takes longer than usual where its calls are rare, but no longer than this."""

REPEATS_MAX = 4
"""Further rounds for steps that other processes disturbed, or whose calls failed."""

FAILED_SHARE_MAX = 0.01
"""The share of a step's calls that may fail when none of its rounds passed without a failure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """What is measured, and for how long: the defaults take about a minute.

    ``batches`` and ``loads`` ascend. Other processes above ``others_share_max`` of the machine
    disturb a step.
    """

    batches: tuple[int, ...] = (1, 100, 1_000, 4_000, 5_000, 32_000, 200_000, 500_000)
    loads: tuple[float, ...] = (0.1, 0.35, 0.6, 0.8)
    rounds: int = 3
    busy_seconds: float = 0.25
    step_seconds: float = 0.4
    others_share_max: float = table.OTHERS_SHARE_MAX


def calibrate(store: Path, effort: Effort, report: Callable[[str], None]) -> table.Calibration:
    """Measure one process that serves the store's current snapshot.

    Raises StoreError when there is none, and ServiceError when the service fails again and again.
    """
    cores = sorted(os.sched_getaffinity(0))
    with contextlib.ExitStack() as stack:
        # SIGTERM interrupts as Ctrl-C does, so that the service is stopped.
        before = signal.signal(signal.SIGTERM, signal.default_int_handler)
        stack.callback(signal.signal, signal.SIGTERM, before)
        snapshot = stack.enter_context(SnapshotStore(store).open())
        machine = table.this_machine(store)
        # The service has one core, and this process the others if there are any. gRPC's threads
        # are started later and inherit this.
        stack.callback(os.sched_setaffinity, 0, cores)
        os.sched_setaffinity(0, cores[1:] or cores)
        service = stack.enter_context(serving(store, cores=set(cores[:1])))
        call = stack.enter_context(service.bulk_lookup())
        batches = [_Batch(service, call, snapshot, batch, effort) for batch in effort.batches]
        # Round after round, so that a burst of other work hits one round of many steps.
        for seed in range(effort.rounds + REPEATS_MAX):
            for each in batches:
                if pending := each.pending():
                    report(f"round {seed + 1}, {each.batch:,} numbers a call")
                    each.measure(pending, seed)
        return table.Calibration(
            machine=machine,
            ported=snapshot.ported_count,
            rows=tuple(each.row() for each in batches),
            disturbed_steps=sum(not quiet for each in batches for quiet in each.quiet.values()),
        )


def draw(snapshot: Snapshot, count: int, seed: int) -> NDArray[np.uint64]:
    """Return allocated numbers at random, as many of them ported as in the registry.

    No fixed ones: nobody sends messages there. Raises SettingError when there are no others.
    """
    starts, rows = snapshot.tables.range_start, snapshot.tables.range_route
    wanted = np.array(
        [
            route.status.has_route and route.line_type is not LineType.FIXED
            for route in map(snapshot.route, range(snapshot.route_count))
        ]
    )
    sizes = np.append(np.diff(starts), np.uint64(0)) * wanted.take(rows)
    ends = sizes.cumsum()
    if not ends[-1]:
        raise SettingError("the snapshot has no ranges to ask for", hint="Build it with a plan")
    places = np.random.default_rng(seed).integers(0, ends[-1], count, dtype=np.uint64)
    ranges = ends.searchsorted(places, side="right")
    numbers: NDArray[np.uint64] = starts[ranges] + (ends[ranges] - places - np.uint64(1))
    return numbers


class _Batch:
    """Calls of one size, and the rounds that were seen of them at each load; 1 is saturation.

    ``disturbed`` holds rounds with failed calls, or during which other processes worked.
    """

    def __init__(
        self,
        service: Service,
        call: grpc.UnaryUnaryMultiCallable[bytes, bytes],
        snapshot: Snapshot,
        batch: int,
        effort: Effort,
    ) -> None:
        self.batch, self._service, self._effort = batch, service, effort
        self.quiet: dict[float, list[Load]] = {load: [] for load in (1.0, *effort.loads)}
        self._disturbed: dict[float, list[Load]] = {load: [] for load in self.quiet}
        requests = [
            wire.bulk_request(
                draw(snapshot, batch, seed), with_range_holder=False, with_ported_at=False
            )
            for seed in range(REQUESTS)
        ]
        self._send = sender(call, requests)
        self._in_flight_max = max(1, min(IN_FLIGHT_MAX, NUMBERS_IN_FLIGHT_MAX // batch))
        self._run(1.0, 0)
        self._answer_bytes = len(call(requests[0]))
        self._private_bytes = service.private_bytes()

    def pending(self) -> list[float]:
        """Return the loads that lack undisturbed rounds."""
        return [load for load, seen in self.quiet.items() if len(seen) < self._effort.rounds]

    def measure(self, loads: Sequence[float], seed: int) -> None:
        """Measure another round at each of these loads; without a usable capacity, only that."""
        for load in loads:
            if load < 1 and not self._usable(1.0):
                return
            others = table.OtherWork(self._service.cpu_seconds)
            seen = self._run(load, seed)
            if seen.cpu_seconds <= 0:
                raise ServiceError("the measured service ended", code="UNAVAILABLE")
            is_quiet = others.share() <= self._effort.others_share_max and not seen.failures
            (self.quiet if is_quiet else self._disturbed)[load].append(seen)

    def row(self) -> table.BatchRow:
        """Return all figures; raise ServiceError when the calls of a step failed in every round."""
        return table.BatchRow(
            batch=self.batch,
            busy_cpu_seconds=self._spread(1.0, lambda seen: seen.cpu_per_call),
            answer_bytes=self._answer_bytes,
            private_bytes=self._private_bytes,
            steps=tuple(
                table.LoadStep(
                    load=load,
                    cpu_seconds=self._spread(load, lambda seen: seen.cpu_per_call),
                    p50_seconds=self._spread(load, lambda seen: seen.quantile(0.5)),
                    p99_seconds=self._spread(load, lambda seen: seen.quantile(0.99)),
                )
                for load in self._effort.loads
            ),
        )

    def _usable(self, load: float) -> list[Load]:
        """Return the undisturbed rounds; without any, those with few failures."""
        return self.quiet[load] or [
            each
            for each in self._disturbed[load]
            if each.failures.total() <= FAILED_SHARE_MAX * len(each.latency_seconds)
        ]

    def _spread(self, load: float, figure: Callable[[Load], float]) -> table.Spread:
        rounds = self._usable(load)
        if not rounds:
            self._disturbed[load][0].require_answers()
        low, median, high = np.quantile([figure(each) for each in rounds], (0, 0.5, 1)).tolist()
        return low, median, high

    def _run(self, load: float, seed: int) -> Load:
        effort, rate = self._effort, None
        in_flight, seconds = min(IN_FLIGHT, self._in_flight_max), effort.busy_seconds
        if load < 1:
            rate = load / min(each.cpu_per_call for each in self._usable(1.0))
            seconds = max(effort.step_seconds, min(STEP_CALLS_MIN / rate, STEP_SECONDS_MAX))
            in_flight = self._in_flight_max
        cpu = self._service.cpu_seconds
        return send_calls(
            self._send, cpu=cpu, seconds=seconds, rate=rate, in_flight=in_flight, seed=seed
        )
