"""Two ways to load a service: as fast as it answers, and at a rate that does not wait for it."""

from __future__ import annotations

import contextlib
import functools
import gc
import itertools
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from numroute.errors import ServiceError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import grpc
    from numpy.typing import NDArray

    from numroute.plan.service import Service

TIMEOUT_SECONDS = 30.0
CALLS_UNDER_WAY = 8
"""Enough that the next call always waits at the service."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What was seen. ``latency_seconds``: float64[calls], empty when it was not looked at."""

    calls: int
    wall_seconds: float
    server_cpu_seconds: float
    latency_seconds: NDArray[np.float64]

    @property
    def cpu_per_call(self) -> float:
        """The server's CPU seconds per call."""
        return self.server_cpu_seconds / self.calls

    @property
    def calls_per_second(self) -> float:
        """Calls that were answered, per second of wall time."""
        return self.calls / self.wall_seconds


def saturate(service: Service, requests: Sequence[bytes], seconds: float) -> Load:
    """Send calls so that a few are always under way, for so long.

    Raises ServiceError when a call was not answered.
    """
    free = threading.Semaphore(CALLS_UNDER_WAY)
    failed: list[BaseException] = []
    sent = 0

    def end(call: grpc.Future[bytes]) -> None:
        _note_failure(call, failed)
        free.release()

    with _without_pauses():
        cpu = service.cpu_seconds()
        begin = time.perf_counter()
        for request in itertools.cycle(requests):
            free.acquire()
            if time.perf_counter() - begin >= seconds and sent:
                free.release()
                break
            service.call.future(request, timeout=TIMEOUT_SECONDS).add_done_callback(end)
            sent += 1
        for _ in range(CALLS_UNDER_WAY):
            free.acquire()
        wall = time.perf_counter() - begin
        used = service.cpu_seconds() - cpu
    _require_answers(failed)
    return Load(calls=sent, wall_seconds=wall, server_cpu_seconds=used, latency_seconds=np.empty(0))


def arrive(
    service: Service, requests: Sequence[bytes], rate: float, seconds: float, seed: int
) -> Load:
    """Send calls at random moments, ``rate`` a second on average, whether answered or not.

    A call's time counts from the moment it was meant to be sent: a service, or a client, that falls
    behind cannot hide it. Raises ServiceError when a call was not answered.
    """
    rng = np.random.default_rng(seed)
    due = np.cumsum(rng.exponential(1 / rate, max(2, round(rate * seconds))))
    done = np.zeros(len(due))
    left = threading.Semaphore(0)
    failed: list[BaseException] = []

    def end(place: int, call: grpc.Future[bytes]) -> None:
        done[place] = time.perf_counter()
        _note_failure(call, failed)
        left.release()

    with _without_pauses():
        cpu = service.cpu_seconds()
        begin = time.perf_counter()
        for place, moment in enumerate(due.tolist()):
            ahead = begin + moment - time.perf_counter()
            if ahead > 0:
                time.sleep(ahead)
            call = service.call.future(requests[place % len(requests)], timeout=TIMEOUT_SECONDS)
            call.add_done_callback(functools.partial(end, place))
        for _ in due:
            left.acquire()
        wall = time.perf_counter() - begin
        used = service.cpu_seconds() - cpu
    _require_answers(failed)
    return Load(
        calls=len(due),
        wall_seconds=wall,
        server_cpu_seconds=used,
        latency_seconds=done - begin - due,
    )


@contextlib.contextmanager
def _without_pauses() -> Iterator[None]:
    """Keep this process's own garbage collection out of the latencies: 10 ms now and then."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _note_failure(call: grpc.Future[bytes], failed: list[BaseException]) -> None:
    error = call.exception()
    if error is not None:
        failed.append(error)


def _require_answers(failed: Sequence[BaseException]) -> None:
    """Raise ServiceError when a call was not answered: a figure made of failures says nothing."""
    if failed:
        raise ServiceError(
            f"the measured service failed: {type(failed[0]).__name__}", code="INTERNAL"
        )
