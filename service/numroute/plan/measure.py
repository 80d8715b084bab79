"""Measure this machine: a sample index, and a real service under stepwise load."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import grpc
import numpy as np
from numpy.typing import NDArray

from numroute import wire
from numroute.errors import ServiceError, SettingError
from numroute.index import Content, SnapshotStore, writing
from numroute.model import LineType, Operator, Region, Route, Status
from numroute.plan.interpolate import index_bytes
from numroute.plan.load import Load, Service, closed_loop, open_loop, sender, serving
from numroute.plan.table import (
    OTHERS_SHARE_MAX,
    BatchRow,
    Calibration,
    LoadStep,
    OtherWork,
    Spread,
    memory_bytes,
    this_machine,
)

Report = Callable[[str], None]

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

FIRST_NUMBER = 79_000_000_000
COVERED_NUMBERS = 706_600_000
"""The sample's ranges hold as many numbers as those of the Russian mobile plan of 2026."""

_PORTED_ROUTES = 2_000
_RANGE_ROUTES = 1_900
"""As many routes as the Russian mobile plan has: an answer lists those that it uses."""

_POPULARITY = 1.1
"""The k-th most popular route is k^-1.1 times as popular as the first. So a batch of 4,096 holds
about 890 routes, one of 200,000 about 3,500; with real mobile numbers these are 764 and 2,616."""

_RANGES = 17_000
"""The Russian mobile plan has about as many ranges."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """What is measured, and for how long: the defaults take about a minute.

    ``batches`` and ``loads`` ascend. Other processes above ``others_share_max`` of the machine
    disturb a step.
    """

    ported: int = 30_000_000
    batches: tuple[int, ...] = (1, 100, 1_000, 4_000, 5_000, 32_000, 200_000, 500_000)
    loads: tuple[float, ...] = (0.1, 0.35, 0.6, 0.8)
    rounds: int = 3
    busy_seconds: float = 0.25
    step_seconds: float = 0.4
    others_share_max: float = OTHERS_SHARE_MAX


def calibrate(folder: Path, effort: Effort, report: Report = lambda _: None) -> Calibration:
    """Measure in a temporary folder under ``folder``, and leave nothing behind.

    Raises SettingError, before anything is started, when memory or disk do not suffice, and
    ServiceError when the service fails again and again.
    """
    _require_room(folder, effort)
    with (
        _sigterm_as_interrupt(),
        tempfile.TemporaryDirectory(dir=folder, prefix="numroute-") as made,
    ):
        report(f"writing a sample index of {effort.ported:,} ported numbers")
        store = Path(made) / "store"
        ported = make_sample(store, effort.ported)
        with _client_cores() as (cores, pinned), serving(store, cores=cores) as service:
            rows, disturbed = _measure(service, ported, effort, report)
    return Calibration(
        made_at=datetime.now(UTC).replace(microsecond=0).isoformat(),
        machine=this_machine(folder),
        ported=effort.ported,
        rows=rows,
        disturbed_steps=disturbed,
        pinned=pinned,
    )


def make_sample(store: Path, ported: int) -> NDArray[np.uint64]:
    """Publish a made-up index with this many ported numbers; return them, uint64[ported]."""
    rng = np.random.default_rng(ported)
    # Even steps of random length: ascending and unique without sorting.
    gaps = rng.integers(1, max(2, 2 * COVERED_NUMBERS // max(1, ported)), ported, dtype=np.uint64)
    numbers = np.uint64(FIRST_NUMBER) + np.cumsum(gaps, dtype=np.uint64)
    end = max(FIRST_NUMBER + COVERED_NUMBERS, int(numbers[-1]) + 1)
    starts = np.linspace(FIRST_NUMBER, end, _RANGES + 1).astype(np.uint64)
    range_route = 2 + _PORTED_ROUTES + _popular(_RANGE_ROUTES, _RANGES, rng)
    content = Content(
        routes=_routes(),
        numbers=numbers,
        number_route=2 + np.resize(_popular(_PORTED_ROUTES, min(ported, 1 << 20), rng), ported),
        range_start=np.concatenate(([np.uint64(0)], starts)),
        range_route=np.concatenate(([0], range_route, [0])).astype(np.uint32),
    )
    with writing(SnapshotStore(store, create=True)) as writer:
        writer.publish(
            content, as_of=datetime.now(UTC), sources=(), counts={"ported": len(numbers)}
        )
    return numbers


def draw(ported: NDArray[np.uint64], count: int, seed: int) -> NDArray[np.uint64]:
    """Return ``count`` numbers of a sample in no order, as many of them ported as in the sample."""
    rng = np.random.default_rng(seed)
    numbers = rng.integers(FIRST_NUMBER, FIRST_NUMBER + COVERED_NUMBERS, count, dtype=np.uint64)
    drawn = round(count * len(ported) / COVERED_NUMBERS)
    numbers[:drawn] = ported[rng.integers(0, len(ported), drawn)]
    rng.shuffle(numbers)
    return numbers


def _measure(
    service: Service, ported: NDArray[np.uint64], effort: Effort, report: Report
) -> tuple[tuple[BatchRow, ...], int]:
    """Measure every batch at every load, round after round, so that a burst hits one round.

    Returns the rows, and how many steps were disturbed in every round.
    """
    with service.bulk_lookup() as call:
        batches = []
        for batch in effort.batches:
            requests = [
                wire.bulk_request(
                    draw(ported, batch, seed), with_range_holder=False, with_ported_at=False
                )
                for seed in range(REQUESTS)
            ]
            batches.append(_Batch(batch, service, call, requests, effort))
        for round_ in range(effort.rounds + REPEATS_MAX):
            for each in batches:
                if each.pending():
                    report(f"round {round_ + 1}, {each.batch:,} numbers a call")
                    each.measure(seed=round_)
    return tuple(each.row() for each in batches), sum(each.disturbed() for each in batches)


class _Batch:
    """Calls of one size, and what was seen of them so far."""

    def __init__(
        self,
        batch: int,
        service: Service,
        call: grpc.UnaryUnaryMultiCallable[bytes, bytes],
        requests: Sequence[bytes],
        effort: Effort,
    ) -> None:
        self.batch = batch
        self._service, self._effort = service, effort
        self._send = sender(call, requests)
        self._in_flight_max = max(1, min(IN_FLIGHT_MAX, NUMBERS_IN_FLIGHT_MAX // batch))
        # Of each load step, None for saturation: whether nothing disturbed it, and what was seen.
        self._seen: dict[float | None, list[tuple[bool, Load]]] = {
            load: [] for load in (None, *effort.loads)
        }
        self._saturate(effort.busy_seconds / 4)
        self._answer_bytes = len(call(requests[0]))
        self._private_bytes = service.private_bytes()

    def pending(self) -> list[float | None]:
        """Return the steps that lack undisturbed rounds."""
        rounds = self._effort.rounds
        return [load for load, seen in self._seen.items() if sum(ok for ok, _ in seen) < rounds]

    def measure(self, *, seed: int) -> None:
        """Measure each pending step once; what fails or is disturbed is left to later rounds."""
        for load in self.pending():
            others = OtherWork(self._service.cpu_seconds)
            if load is None:
                seen = self._saturate(self._effort.busy_seconds)
            else:
                saturated = self._answered(None)
                if not saturated:
                    return
                rate = load / min(each.cpu_per_call for each in saturated)
                seen = open_loop(
                    self._send,
                    rate=rate,
                    seconds=max(
                        self._effort.step_seconds, min(STEP_CALLS_MIN / rate, STEP_SECONDS_MAX)
                    ),
                    cpu=self._service.cpu_seconds,
                    seed=seed,
                    in_flight_max=self._in_flight_max,
                )
            is_quiet = others.share() <= self._effort.others_share_max
            self._seen[load].append((is_quiet and not seen.failures, seen))

    def disturbed(self) -> int:
        """Return how many steps were disturbed in every round."""
        return sum(not any(ok for ok, _ in seen) for seen in self._seen.values())

    def row(self) -> BatchRow:
        """Return all figures; raise ServiceError when the calls of a step failed in every round."""
        return BatchRow(
            batch=self.batch,
            busy_cpu_seconds=_spread(each.cpu_per_call for each in self._usable(None)),
            answer_bytes=self._answer_bytes,
            private_bytes=self._private_bytes,
            steps=tuple(
                LoadStep(
                    load=load,
                    cpu_seconds=_spread(each.cpu_per_call for each in self._usable(load)),
                    p50_seconds=_spread(each.quantile(0.5) for each in self._usable(load)),
                    p99_seconds=_spread(each.quantile(0.99) for each in self._usable(load)),
                )
                for load in self._effort.loads
            ),
        )

    def _usable(self, load: float | None) -> list[Load]:
        """Return the undisturbed rounds of a step; without any, those with few failures."""
        seen = self._seen[load]
        if undisturbed := [each for ok, each in seen if ok]:
            return undisturbed
        if answered := self._answered(load):
            return answered
        for _, each in seen:
            each.require_answers(FAILED_SHARE_MAX)
        raise ServiceError("the service ended or failed in every round", code="INTERNAL")

    def _answered(self, load: float | None) -> list[Load]:
        """Return the rounds of a step with few failures in which no process of the service died."""
        return [
            each
            for _, each in self._seen[load]
            if each.failed_share <= FAILED_SHARE_MAX and each.cpu_per_call > 0
        ]

    def _saturate(self, seconds: float) -> Load:
        return closed_loop(
            self._send,
            in_flight=min(IN_FLIGHT, self._in_flight_max),
            seconds=seconds,
            cpu=self._service.cpu_seconds,
        )


def _spread(values: Iterable[float]) -> Spread:
    figures = list(values)
    return min(figures), float(np.median(figures)), max(figures)


def _require_room(folder: Path, effort: Effort) -> None:
    """Raise SettingError when this machine lacks memory or disk for measuring."""
    size = index_bytes(effort.ported)
    try:
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise SettingError(f"{folder} cannot be used: {error.strerror}") from None
    if free < 2 * size:
        raise SettingError(
            f"calibrating takes {2 * size / 1e6:,.0f} MB of disk, {folder} has {free / 1e6:,.0f}",
            hint="Set TMPDIR to a folder with more room",
        )
    needed = 2 * size + 24 * effort.ported + 300_000_000
    free = memory_bytes("MemAvailable")
    if free < needed:
        raise SettingError(
            f"calibrating takes {needed / 1e6:,.0f} MB of memory, {free / 1e6:,.0f} MB are free",
            hint="Stop other programs, or calibrate on a machine like those that will serve",
        )


@contextlib.contextmanager
def _client_cores() -> Iterator[tuple[set[int], bool]]:
    """Keep this process off one core, which the block gets for the service.

    On a machine with one core they share it: then latencies include the client's work.
    """
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) == 1:
        yield set(cores), False
        return
    # gRPC's threads are started later and inherit this.
    os.sched_setaffinity(0, cores[1:])
    try:
        yield {cores[0]}, True
    finally:
        os.sched_setaffinity(0, cores)


@contextlib.contextmanager
def _sigterm_as_interrupt() -> Iterator[None]:
    """Let SIGTERM interrupt as Ctrl-C does: the service is stopped and the folder removed."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _popular(routes: int, count: int, rng: np.random.Generator) -> NDArray[np.uint32]:
    """Draw ``count`` indexes below ``routes``, the first ones more often."""
    ends = np.cumsum(np.arange(1, routes + 1) ** -_POPULARITY)
    drawn = ends.searchsorted(rng.random(count) * ends[-1], side="right")
    places: NDArray[np.uint32] = np.minimum(drawn, routes - 1).astype(np.uint32)
    return places


def _routes() -> list[Route]:
    statuses = [Status.PORTED] * _PORTED_ROUTES + [Status.NOT_PORTED] * _RANGE_ROUTES
    return [Route(status=Status.UNALLOCATED), Route(status=Status.INVALID)] + [
        Route(
            status=status,
            operator=Operator(
                code=f"mSAMPLE{place % 90}",
                name=f'"Оператор связи {place % 90}" ООО',
                brand=f"Sample {place % 90}",
                tax_number=f"{7_700_000_000 + place % 1_900}",
            ),
            mcc="250",
            mnc=f"{place % 100:02}",
            registry_mnc=f"{place % 100:02}",
            routing_number=f"D{place:04}",
            region=Region(code=f"{place % 90:02}", name=f"Область {place}"),
            line_type=LineType.MOBILE,
        )
        for place, status in enumerate(statuses)
    ]
