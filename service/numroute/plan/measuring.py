"""Measure this machine: sample indexes, the kernel, a real service under load."""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import signal
import tempfile
import threading
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from numroute import wire
from numroute.errors import NumrouteError, SettingError
from numroute.index import SnapshotStore
from numroute.plan.calibration import QUANTILES, BatchCost, Calibration, KernelCost, UnderLoad
from numroute.plan.costs import MIXED_SHARE, server
from numroute.plan.load import arrive, saturate
from numroute.plan.machine import OtherWork, memory_bytes, this_machine
from numroute.plan.sample import make_sample, sample_disk_bytes, sample_memory_bytes
from numroute.plan.service import serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numroute.plan.load import Load
    from numroute.plan.queueing import Server
    from numroute.plan.sample import Sample
    from numroute.plan.service import Service

    Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How much is measured. The defaults take most of a minute on a machine of two cores.

    ``chunks``: sizes of the sample indexes, ascending; the last is as large as the whole Russian
    mobile plan makes it. ``batches``: sizes of calls, ascending. ``loaded``: those of them whose
    waiting under load is held against the queueing formula. Seconds are per batch and round.
    """

    chunks: tuple[int, ...] = (512, 3_072, 10_782)
    batches: tuple[int, ...] = (1, 100, 1_000, 4_096, 8_192, 32_768, 200_000, 500_000)
    loaded: tuple[int, ...] = (100, 1_000, 8_192, 200_000)
    rounds: int = 4
    busy_seconds: float = 0.25
    sparse_seconds: float = 0.5
    loaded_seconds: float = 0.6
    kernel_numbers: int = 1 << 20


SPARSE_LOAD = 0.15
"""Share of its capacity at which a process is asleep when most calls come."""

SPARSE_CALLS_MIN = 12
SPARSE_SECONDS_MAX = 1.6
"""Longer than the usual time only where calls are so long that hardly any would come in it."""

LOADED_ROUNDS = 2
"""Rounds under load to one of the others."""

LOADED = 0.55
"""Where the queueing formula is held against a measurement: what is left to it is the shape."""

QUEUE_FACTORS = (0.3, 6.0)
FADE_MAX = 8.0
"""Beyond these a fit says more of a disturbance than of the service."""

P99 = 0.99
REQUESTS = 8
"""Different requests of one size, so that their numbers are not all in the cache."""

_BISECTIONS = 40


def calibrate(folder: Path, effort: Effort, say: Say = lambda _: None) -> Calibration:
    """Measure this machine in a temporary folder made under ``folder``; nothing is left behind.

    Raises SettingError when memory or disk do not suffice, before anything is started.
    """
    require_room(folder, effort)
    machine = this_machine(folder)
    others = OtherWork()
    with stopping_in_order(), tempfile.TemporaryDirectory(dir=folder, prefix="numroute-") as made:
        kernel = []
        for chunks in effort.chunks:
            say(f"sample index of {chunks:,} chunks")
            sample = make_sample(Path(made) / str(chunks), chunks)
            kernel.append(measure_kernel(sample, effort))
        with pinned_apart() as (cores, pinned), serving(sample.store, cores) as service:
            costs = measure_costs(service, sample, effort, say)
            draft = Calibration(
                made_at=datetime.now(UTC).replace(microsecond=0).isoformat(),
                machine=machine,
                costs=costs,
                kernel=tuple(kernel),
                under_load=(UnderLoad(batch=1, queue_factor=1.0, waking_fade=0.0),),
                others_share=0.0,
                pinned=pinned,
            )
            say("service under load")
            fitted = measure_under_load(service, sample, draft, effort)
    return replace(draft, under_load=fitted, others_share=others.share())


def require_room(folder: Path, effort: Effort) -> None:
    """Raise SettingError when this machine lacks memory or disk for measuring."""
    try:
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise SettingError(f"{folder} cannot be used: {error.strerror}") from None
    needed = sum(map(sample_disk_bytes, effort.chunks))
    if free < needed:
        raise SettingError(
            f"calibrating takes {needed / 1e6:,.0f} MB of disk, {folder} has {free / 1e6:,.0f} MB",
            hint="Set TMPDIR to a folder with more room",
        )
    needed, free = sample_memory_bytes(max(effort.chunks)), memory_bytes("MemAvailable")
    if free < needed:
        raise SettingError(
            f"calibrating takes {needed / 1e6:,.0f} MB of memory, {free / 1e6:,.0f} MB are free",
            hint="End other programs, or calibrate on a machine like those that will serve",
        )


def measure_kernel(sample: Sample, effort: Effort) -> KernelCost:
    """Time the kernel in this process on a sample: the median of five passes."""
    rng = np.random.default_rng(1)
    with SnapshotStore(sample.store).open() as snapshot:
        seconds = []
        for share in (MIXED_SHARE, 1.0):
            numbers = sample.draw(effort.kernel_numbers, share, rng)
            snapshot.lookup(numbers)
            passes = []
            for _ in range(5):
                begin = time.thread_time()
                snapshot.lookup(numbers)
                passes.append((time.thread_time() - begin) / len(numbers))
            seconds.append(float(np.median(passes)))
    return KernelCost(
        touched_bytes=sample.touched_bytes, mixed_seconds=seconds[0], ported_seconds=seconds[1]
    )


def measure_costs(
    service: Service, sample: Sample, effort: Effort, say: Say
) -> tuple[BatchCost, ...]:
    """Measure every size of batch, round after round, so that a disturbance hits one round."""
    requests = {batch: make_requests(sample, batch) for batch in effort.batches}
    answers: dict[int, int] = {}
    private: dict[int, int] = {}
    busy: dict[int, list[float]] = {batch: [] for batch in effort.batches}
    sparse: dict[int, list[Load]] = {batch: [] for batch in effort.batches}
    for round_ in range(effort.rounds):
        for batch, own in requests.items():
            say(f"service, round {round_ + 1} of {effort.rounds}, {batch:,} numbers a call")
            answers[batch] = len(service.call(own[0], timeout=30))
            busy[batch].append(saturate(service, own, effort.busy_seconds).cpu_per_call)
            private.setdefault(batch, service.private_bytes())
            rate = SPARSE_LOAD / min(busy[batch])
            seconds = max(effort.sparse_seconds, min(SPARSE_CALLS_MIN / rate, SPARSE_SECONDS_MAX))
            sparse[batch].append(arrive(service, own, rate, seconds, seed=round_))
    return tuple(
        _cost(batch, busy[batch], sparse[batch], answers[batch], private[batch])
        for batch in effort.batches
    )


def make_requests(sample: Sample, batch: int) -> list[bytes]:
    """Return a few requests of this size, with the real mix of ported numbers."""
    rng = np.random.default_rng(batch)
    return [
        wire.bulk_request(
            sample.draw(batch, MIXED_SHARE, rng), with_range_holder=False, with_ported_at=False
        )
        for _ in range(REQUESTS)
    ]


@contextlib.contextmanager
def pinned_apart() -> Iterator[tuple[set[int], bool]]:
    """Keep this process off one core, which the block gets for the service.

    On a machine with one core they share it: then times of calls hold the client's work too.
    """
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) == 1:
        yield set(cores), False
        return
    _set_affinity(set(cores[1:]))
    try:
        yield {cores[0]}, True
    finally:
        _set_affinity(set(cores))


@contextlib.contextmanager
def stopping_in_order() -> Iterator[None]:
    """Turn SIGTERM into an exception, so that children are ended and folders removed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(*_: object) -> None:
        raise NumrouteError("interrupted by SIGTERM")

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _set_affinity(cores: set[int]) -> None:
    """Bind every thread of this process: those that run already keep what they had otherwise."""
    for thread in Path("/proc/self/task").iterdir():
        with contextlib.suppress(ProcessLookupError):
            os.sched_setaffinity(int(thread.name), cores)


def _cost(
    batch: int, busy: Sequence[float], sparse: Sequence[Load], answer: int, private: int
) -> BatchCost:
    # Whatever disturbs a saturated service makes it slower: the fastest round is the nearest to it.
    service = min(busy)
    asleep = float(np.median([load.cpu_per_call for load in sparse]))
    rate = float(np.median([load.calls_per_second for load in sparse]))
    # The inverse of Server.cpu_seconds: from the cost at little load to that of waking.
    wake = max(0.0, asleep - service) / max(0.1, 1 - rate * asleep)
    quantiles = np.median([np.quantile(load.latency_seconds, QUANTILES) for load in sparse], 0)
    return BatchCost(
        batch=batch,
        busy_cpu_seconds=service,
        wake_cpu_seconds=wake,
        latency_seconds=tuple(quantiles.tolist()),
        answer_bytes=answer,
        private_bytes=private,
    )


def measure_under_load(
    service: Service, sample: Sample, draft: Calibration, effort: Effort
) -> tuple[UnderLoad, ...]:
    """Load the service with each of the sizes in turn, and fit what load does."""
    models = {
        batch: server(draft, batch, sample.touched_bytes, MIXED_SHARE) for batch in effort.loaded
    }
    requests = {batch: make_requests(sample, batch) for batch in effort.loaded}
    seen: dict[int, list[Load]] = {batch: [] for batch in effort.loaded}
    for seed in range(LOADED_ROUNDS * effort.rounds):
        for batch, model in models.items():
            rate = LOADED / model.service_seconds
            seen[batch].append(arrive(service, requests[batch], rate, effort.loaded_seconds, seed))
    return tuple(_fitted(batch, models[batch], seen[batch]) for batch in effort.loaded)


def usual_quantile(loads: Sequence[Load], quantile: float) -> float:
    """Return a quantile of the calls' times, in seconds, as the median over the rounds has it.

    One round in which something else had the machine does not shift it.
    """
    return float(np.median([np.quantile(load.latency_seconds, quantile) for load in loads]))


def _fitted(batch: int, model: Server, seen: Sequence[Load]) -> UnderLoad:
    """Fit waking to the CPU time, the wait to the p99."""
    rate = LOADED / model.service_seconds
    waking = model.cpu_seconds(rate) - model.service_seconds
    left = float(np.median([load.cpu_per_call for load in seen])) - model.service_seconds
    share = min(1.0, max(left / waking, 1e-9)) if waking > 0 else 1.0
    fade = min(FADE_MAX, abs(math.log(share)) / LOADED)
    measured = usual_quantile(seen, P99)
    low, high = QUEUE_FACTORS
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        predicted = replace(model, waking_fade=fade, queue_factor=middle).latency(rate, P99)
        low, high = (middle, high) if predicted < measured else (low, middle)
    return UnderLoad(batch=batch, queue_factor=round(high, 3), waking_fade=round(fade, 3))
