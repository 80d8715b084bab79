"""What a call costs for any size of batch and of index, between the measured points."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from numroute.plan.queueing import Server
from numroute.server.settings import NUMBERS_INLINE_MAX

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numroute.plan.calibration import BatchCost, Calibration

MIXED_SHARE = 0.07
"""Share of ported numbers in the calibration's calls: 50 million of 706 million."""


def inline(batch: int) -> bool:
    """Return whether the service looks such a batch up on its event loop, not in a thread."""
    return batch <= NUMBERS_INLINE_MAX


def server(calibration: Calibration, batch: int, touched_bytes: int, ported_share: float) -> Server:
    """Return a process with one core that answers such batches from such an index.

    Costs follow straight lines between the measured batches, within the batches that are looked up
    on the event loop and within those that go to threads: a call costs something, each number
    costs something, and handing over to a thread is a step between the two. The index's size and
    the share of ported numbers change the kernel's part alone.
    """
    more = batch * (
        kernel_seconds(calibration, touched_bytes, ported_share)
        - kernel_seconds(calibration, calibration.kernel[-1].touched_bytes, MIXED_SHARE)
    )
    costs = _regime(calibration, batch)
    queue_factor, waking_fade = _under_load(calibration, batch)
    service = _line(costs, batch, [cost.busy_cpu_seconds for cost in costs])
    latencies = [
        _line(costs, batch, [cost.latency_seconds[place] for cost in costs]) + more
        for place in range(len(costs[0].latency_seconds))
    ]
    return Server(
        # What is left of the kernel's part cannot be less than nothing.
        service_seconds=max(service + more, service / 10),
        wake_seconds=_line(costs, batch, [cost.wake_cpu_seconds for cost in costs]),
        idle_latency=np.maximum.accumulate(np.maximum(latencies, 0)).tolist(),
        queue_factor=queue_factor,
        waking_fade=waking_fade,
    )


def per_call_and_number(calibration: Calibration, batch: int) -> tuple[float, float]:
    """Return the line at this batch: seconds per call, seconds per number."""
    costs = _regime(calibration, batch)
    values = [cost.busy_cpu_seconds for cost in costs]
    low, high = _neighbours(costs, batch)
    span = max(1, costs[high].batch - costs[low].batch)
    per_number = max(0.0, (values[high] - values[low]) / span)
    return max(0.0, values[low] - per_number * costs[low].batch), per_number


def kernel_seconds(calibration: Calibration, touched_bytes: int, ported_share: float) -> float:
    """Return the kernel's seconds per number, in proportion to the logarithm of what it touches.

    Each doubling of the touched bytes turns as many more accesses from hits in a cache to misses;
    beyond the largest sample the last line goes on, below the smallest its cost stays.
    """
    kernel = calibration.kernel
    at = math.log(max(touched_bytes, kernel[0].touched_bytes))
    sizes = [math.log(cost.touched_bytes) for cost in kernel]
    # A larger index never costs less: where it was measured so, the measurement was disturbed.
    mixed = np.maximum.accumulate([cost.mixed_seconds for cost in kernel]).tolist()
    ported = np.maximum.accumulate([cost.ported_seconds for cost in kernel]).tolist()
    share = (ported_share - MIXED_SHARE) / (1 - MIXED_SHARE)
    low = _extended(sizes, mixed, at)
    return max(0.0, low + share * max(0.0, _extended(sizes, ported, at) - low))


def answer_bytes(calibration: Calibration, batch: int) -> int:
    """Return the length of an answer's message."""
    costs = calibration.costs
    return round(_line(costs, batch, [cost.answer_bytes for cost in costs]))


def private_bytes(calibration: Calibration, batch: int) -> int:
    """Return the anonymous memory of one process that serves such batches."""
    costs = calibration.costs
    return round(_line(costs, batch, [cost.private_bytes for cost in costs]))


def _regime(calibration: Calibration, batch: int) -> list[BatchCost]:
    """Return the measured points of the batches that are looked up as this one is."""
    own = [cost for cost in calibration.costs if inline(cost.batch) == inline(batch)]
    return own or list(calibration.costs)


def _under_load(calibration: Calibration, batch: int) -> tuple[float, float]:
    """Return the fitted queue factor and waking fade, by the logarithm of the batch in between."""
    fits = calibration.under_load
    own = [fit for fit in fits if inline(fit.batch) == inline(batch)] or list(fits)
    places = [math.log(fit.batch) for fit in own]
    factor = np.interp(math.log(batch), places, [fit.queue_factor for fit in own])
    fade = np.interp(math.log(batch), places, [fit.waking_fade for fit in own])
    return float(factor), float(fade)


def _neighbours(costs: Sequence[BatchCost], batch: int) -> tuple[int, int]:
    """Return the places of the two points whose line gives this batch."""
    batches = [cost.batch for cost in costs]
    high = min(max(1, int(np.searchsorted(batches, batch))), len(costs) - 1)
    return max(0, high - 1), high


def _line(costs: Sequence[BatchCost], batch: int, values: Sequence[float]) -> float:
    """Return the value at this batch; never below a tenth of the nearest point's."""
    if len(costs) == 1:
        return values[0]
    low, high = _neighbours(costs, batch)
    begin, end = costs[low].batch, costs[high].batch
    value = values[low] + (values[high] - values[low]) * (batch - begin) / (end - begin)
    nearest = values[low] if batch < end else values[high]
    return max(value, nearest / 10)


def _extended(places: Sequence[float], values: Sequence[float], at: float) -> float:
    if len(places) > 1 and at > places[-1]:
        slope = (values[-1] - values[-2]) / (places[-1] - places[-2])
        return values[-1] + slope * (at - places[-1])
    return float(np.interp(at, places, values))
