"""How long calls take under load: a single server that falls asleep when it has nothing to do.

A process with one core is an M/G/1 queue with set-up times: calls arrive at random (Poisson), one
is worked on at a time, and a call that finds the process asleep also pays for waking it. Welch, "On
a generalized M/G/1 queuing process in which the first customer of each busy period receives
exceptional service" (1964), gives the mean wait; the wait of calls that find the process busy is
taken to be exponential with that mean.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from numroute.plan.calibration import QUANTILES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_POINTS = 200
"""Equally likely values that stand for the distribution of a call's time without waiting."""

_BISECTIONS = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """One process with one core.

    ``service_seconds``: a call's work when the next one is always waiting. ``wake_seconds``: more
    work for a call that finds the process asleep. ``idle_latency``: the ``QUANTILES`` of a call's
    time when it finds it asleep, way there and back included. ``queue_factor``: how much longer
    calls wait than the formula says. ``waking_fade``: after a short pause a process, and a virtual
    core under it, is not yet fast asleep; of the calls that find nothing under way, exp(-fade x
    load) pay for waking.
    """

    service_seconds: float
    wake_seconds: float
    idle_latency: Sequence[float]
    queue_factor: float
    waking_fade: float

    def cpu_seconds(self, calls_per_second: float) -> float:
        """Return the CPU time of a call, waking included: less when more calls come."""
        return self.service_seconds + self._wake(calls_per_second) * self._idle(calls_per_second)

    def utilisation(self, calls_per_second: float) -> float:
        """Return the share of the core's time that is used, from 0 to 1."""
        return min(1.0, calls_per_second * self.cpu_seconds(calls_per_second))

    def latency(self, calls_per_second: float, quantile: float) -> float:
        """Return a quantile of a call's time in seconds; infinite from saturation on."""
        if calls_per_second * self.service_seconds >= 1:
            return float("inf")
        idle = self._idle(calls_per_second)
        asleep = idle * self._deep(calls_per_second)
        waking = np.interp((np.arange(_POINTS) + 0.5) / _POINTS, QUANTILES, self.idle_latency)
        awake = np.maximum(waking - self.wake_seconds, min(self.service_seconds, waking[0]))
        wait = self.queue_factor * self._busy_wait(calls_per_second)
        low, high = 0.0, float(waking[-1]) + 60 * wait
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            longer = asleep * float(np.mean(waking > middle))
            longer += (idle - asleep) * float(np.mean(awake > middle))
            longer += (1 - idle) * float(np.mean(_exceeds(middle - awake, wait)))
            low, high = (middle, high) if longer > 1 - quantile else (low, middle)
        return high

    def _deep(self, calls_per_second: float) -> float:
        """Return how many of the calls that find nothing to do find the process fast asleep."""
        return math.exp(-self.waking_fade * calls_per_second * self.service_seconds)

    def _wake(self, calls_per_second: float) -> float:
        """Return what waking costs on average when the process has nothing to do."""
        return self.wake_seconds * self._deep(calls_per_second)

    def _idle(self, calls_per_second: float) -> float:
        """Return the share of calls that find nothing under way."""
        load = calls_per_second * self.service_seconds
        return max(0.0, 1 - load) / (1 + calls_per_second * self._wake(calls_per_second))

    def _busy_wait(self, calls_per_second: float) -> float:
        """Return the mean wait of a call that finds the process at work."""
        service, wake = self.service_seconds, self._wake(calls_per_second)
        load = calls_per_second * service
        mean = calls_per_second * service**2 / (2 * (1 - load)) + wake * (
            2 + calls_per_second * wake
        ) / (2 * (1 + calls_per_second * wake))
        idle = self._idle(calls_per_second)
        return max(0.0, mean - idle * wake) / max(1 - idle, 1e-9)


def _exceeds(seconds: NDArray[np.float64], mean: float) -> NDArray[np.float64]:
    """Return the chance that an exponential wait is longer than each of these times."""
    if mean <= 0:
        return (seconds < 0).astype(np.float64)
    return np.exp(-np.maximum(seconds, 0) / mean)
