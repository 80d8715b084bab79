"""Hold predictions against measurements, at points that the calibration did not use."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from numroute.plan.costs import MIXED_SHARE, server
from numroute.plan.load import arrive, saturate
from numroute.plan.measuring import (
    P99,
    Effort,
    make_requests,
    pinned_apart,
    require_room,
    stopping_in_order,
)
from numroute.plan.sample import make_sample
from numroute.plan.service import serving

if TYPE_CHECKING:
    from collections.abc import Callable

    from numroute.plan.calibration import Calibration
    from numroute.plan.queueing import Server
    from numroute.plan.sample import Sample
    from numroute.plan.service import Service

POINTS = ((300, 0.4), (5_000, 0.6), (100_000, 0.5))
"""Numbers a call, and the share of the predicted capacity at which they come."""

CHUNKS = 6_000
"""A size of index that was not calibrated either."""

ERROR_MAX = 0.3


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckEffort:
    """How much is measured: ``rounds`` of these seconds at each of ``points``, on such an index."""

    points: tuple[tuple[int, float], ...] = POINTS
    chunks: int = CHUNKS
    rounds: int = 5
    busy_seconds: float = 0.5
    loaded_seconds: float = 1.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One figure, predicted and measured, at one point; ``error`` is relative to the measured."""

    batch: int
    load: float
    what: str
    predicted: float
    measured: float

    @property
    def error(self) -> float:
        """How far the prediction lies from the measurement; positive when it is larger."""
        return self.predicted / self.measured - 1


def check(
    calibration: Calibration,
    folder: Path,
    effort: CheckEffort,
    say: Callable[[str], None] = lambda _: None,
) -> list[Comparison]:
    """Measure each point in a temporary folder under ``folder``; nothing is left behind.

    Raises SettingError when memory or disk do not suffice.
    """
    require_room(folder, Effort(chunks=(effort.chunks,)))
    found: list[Comparison] = []
    with stopping_in_order(), tempfile.TemporaryDirectory(dir=folder, prefix="numroute-") as made:
        say(f"sample index of {effort.chunks:,} chunks")
        sample = make_sample(Path(made) / "store", effort.chunks)
        with pinned_apart() as (cores, _), serving(sample.store, cores) as service:
            for batch, load in effort.points:
                say(f"{batch:,} numbers a call at {load:.0%} load")
                model = server(calibration, batch, sample.touched_bytes, MIXED_SHARE)
                found += _point(service, sample, model, batch, load, effort)
    return found


def _point(
    service: Service, sample: Sample, model: Server, batch: int, load: float, effort: CheckEffort
) -> list[Comparison]:
    rate = load / model.service_seconds
    requests = make_requests(sample, batch)
    saturate(service, requests, effort.busy_seconds / 2)
    capacities, cpu, p50, p99 = [], [], [], []
    for seed in range(effort.rounds):
        capacities.append(saturate(service, requests, effort.busy_seconds).calls_per_second)
        seen = arrive(service, requests, rate, effort.loaded_seconds, seed=1_000 + seed)
        cpu.append(seen.cpu_per_call)
        p50.append(np.quantile(seen.latency_seconds, 0.5))
        p99.append(np.quantile(seen.latency_seconds, P99))
    figures = {
        "capacity, numbers/s": (batch / model.service_seconds, batch * max(capacities)),
        "CPU a call": (model.cpu_seconds(rate), np.median(cpu)),
        "p50": (model.latency(rate, 0.5), np.median(p50)),
        "p99": (model.latency(rate, P99), np.median(p99)),
    }
    return [
        Comparison(
            batch=batch, load=load, what=what, predicted=float(pair[0]), measured=float(pair[1])
        )
        for what, pair in figures.items()
    ]
