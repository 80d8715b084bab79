"""Hold predictions against measurements, at points that the calibration did not use."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from numroute.plan.costs import MIXED_SHARE, server
from numroute.plan.load import arrive, saturate
from numroute.plan.machine import OtherWork
from numroute.plan.measuring import (
    P99,
    Effort,
    make_requests,
    pinned_apart,
    require_room,
    stopping_in_order,
    usual_quantile,
)
from numroute.plan.sample import make_sample
from numroute.plan.service import serving

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numroute.plan.calibration import Calibration
    from numroute.plan.load import Load
    from numroute.plan.queueing import Server
    from numroute.plan.service import Service

POINTS = ((300, 0.4), (5_000, 0.6), (100_000, 0.5))
"""Numbers a call, and the share of the predicted capacity at which they come."""

CHUNKS = 6_000
"""A size of index that was not calibrated either."""

ERROR_MAX = 0.3

_SEED = 1_000
"""Other arrivals than the calibration's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckEffort:
    """How much is measured: ``rounds`` of these seconds at each of ``points``, on such an index."""

    points: tuple[tuple[int, float], ...] = POINTS
    chunks: int = CHUNKS
    rounds: int = 9
    busy_seconds: float = 0.4
    loaded_seconds: float = 1.0


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """All figures of all points; ``others_share``: of the machine, what other processes used."""

    comparisons: Sequence[Comparison]
    others_share: float

    @property
    def near(self) -> bool:
        """Whether every prediction lies within ``ERROR_MAX`` of what was measured."""
        return all(abs(each.error) <= ERROR_MAX for each in self.comparisons)


def check(
    calibration: Calibration,
    folder: Path,
    effort: CheckEffort,
    say: Callable[[str], None] = lambda _: None,
) -> Checked:
    """Measure each point in a temporary folder under ``folder``; nothing is left behind.

    Raises SettingError when memory or disk do not suffice.
    """
    require_room(folder, Effort(chunks=(effort.chunks,)))
    others = OtherWork()
    with stopping_in_order(), tempfile.TemporaryDirectory(dir=folder, prefix="numroute-") as made:
        say(f"sample index of {effort.chunks:,} chunks")
        sample = make_sample(Path(made) / "store", effort.chunks)
        with pinned_apart() as (cores, _), serving(sample.store, cores) as service:
            points = [
                _Point(
                    batch=batch,
                    load=load,
                    model=server(calibration, batch, sample.touched_bytes, MIXED_SHARE),
                    requests=make_requests(sample, batch),
                )
                for batch, load in effort.points
            ]
            # Point after point, round after round: a disturbance hits one round of each.
            for round_ in range(effort.rounds):
                say(f"round {round_ + 1} of {effort.rounds}")
                for point in points:
                    point.measure(service, effort, seed=_SEED + round_)
    return Checked(
        comparisons=[comparison for point in points for comparison in point.comparisons()],
        others_share=others.share(),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Point:
    """One point: its prediction, its requests, and what was seen of it so far."""

    batch: int
    load: float
    model: Server
    requests: Sequence[bytes]
    full: list[Load] = field(default_factory=list)
    open: list[Load] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Calls per second of the open load."""
        return self.load / self.model.service_seconds

    def measure(self, service: Service, effort: CheckEffort, *, seed: int) -> None:
        """Measure capacity and open load once."""
        saturate(service, self.requests, effort.busy_seconds / 4)
        self.full.append(saturate(service, self.requests, effort.busy_seconds))
        self.open.append(
            arrive(service, self.requests, self.rate, effort.loaded_seconds, seed=seed)
        )

    def comparisons(self) -> list[Comparison]:
        """Return every figure, predicted and measured."""
        model, rate = self.model, self.rate
        capacity = max(load.calls_per_second for load in self.full)
        figures = {
            "capacity, numbers/s": (self.batch / model.service_seconds, self.batch * capacity),
            "CPU a call": (
                model.cpu_seconds(rate),
                float(np.median([load.cpu_per_call for load in self.open])),
            ),
            "p50": (model.latency(rate, 0.5), usual_quantile(self.open, 0.5)),
            "p99": (model.latency(rate, P99), usual_quantile(self.open, P99)),
        }
        return [
            Comparison(
                batch=self.batch, load=self.load, what=what, predicted=predicted, measured=measured
            )
            for what, (predicted, measured) in figures.items()
        ]
