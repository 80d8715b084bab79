"""Calls at a fixed rate of arrival, their latency counted from when each was to be sent.

A generator that waits for answers sends less while the service is slow, and so does not see what
callers would see then. This one sends by the clock, whatever has been answered.
"""

from __future__ import annotations

import ctypes
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np

from benchmarks.children import ChildError
from benchmarks.services import TIMEOUT_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

CLOSED_IN_FLIGHT = 8
"""Calls under way while the capacity is measured; more do not raise it."""

PERCENTILES = (50.0, 90.0, 99.0, 99.9)
BUCKETS_PER_DECADE = 20
"""Of the histogram: each bucket is 12 % wider than the one before."""

_REFUSALS = frozenset(
    {
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
    }
)
"""How a call ends that an overloaded service does not take.

A grpc server ends calls with CANCELLED at random when over 1,000 of them wait for a handler, and
all of them over 3,000 (``grpc.server.max_pending_requests`` and its hard limit).
"""

_REFUSED_STREAM = "RST_STREAM with error code 7"
"""In the details of a call that is UNAVAILABLE: HTTP/2's REFUSED_STREAM (RFC 9113, 8.7), for a call
that is one too many on its connection."""

_PR_SET_TIMERSLACK = 29
_SLACK_NANOSECONDS = 1
"""Of prctl(2): by default Linux lets a sleep end 0.05 ms late, to wake processors less often.

Spinning until the time has come would be as exact and take a core away from the service.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What happened to n calls.

    Attributes:
        intended: float64[n], when each was to be sent, seconds from the first.
        sent: float64[n], when it was sent.
        done: float64[n], when its answer was there.
        begin: What ``time.perf_counter`` said at the time 0 of the other fields.
        responses: By request, the different answers that it got.
        refused: Calls of those that were sent, not among the n, that the service did not take.
    """

    intended: NDArray[np.float64]
    sent: NDArray[np.float64]
    done: NDArray[np.float64]
    begin: float
    responses: Sequence[Sequence[bytes]]
    refused: int = 0

    @property
    def refused_share(self) -> float:
        """Which share of the calls was refused."""
        return self.refused / (self.refused + len(self.done))

    @property
    def latency(self) -> NDArray[np.float64]:
        """Seconds from when each call was to be sent to its answer: float64[n]."""
        return self.done - self.intended

    @property
    def late(self) -> NDArray[np.float64]:
        """Seconds by which the generator itself was late: float64[n]."""
        return self.sent - self.intended


def at_rate(
    call: grpc.UnaryUnaryMultiCallable[bytes, bytes],
    requests: Sequence[bytes],
    *,
    per_second: float,
    seconds: float,
) -> Load:
    """Send the requests again and again at a fixed rate; return when all have been answered.

    Raises:
        ChildError: A call failed in another way than an overloaded service refuses calls.
    """
    count = max(1, int(per_second * seconds))
    intended = np.arange(count) / per_second

    ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, _SLACK_NANOSECONDS, 0, 0, 0)

    def wait(place: int, now: Callable[[], float]) -> None:
        left = float(intended[place]) - now()
        if left > 0:
            time.sleep(left)

    return _send(call, requests, intended, wait)


def capacity(
    call: grpc.UnaryUnaryMultiCallable[bytes, bytes], requests: Sequence[bytes], seconds: float
) -> tuple[float, Load]:
    """Return how many calls a second are answered when a few are always under way."""
    room = threading.Semaphore(CLOSED_IN_FLIGHT)

    def wait(_place: int, now: Callable[[], float]) -> None:
        room.acquire()
        if now() > seconds:
            raise StopIteration

    # An upper bound of the calls: no Python client sends so many.
    load = _send(call, requests, np.zeros(int(seconds * 20_000)), wait, after=room.release)
    return len(load.done) / float(load.done.max()), load


def percentiles(latency: NDArray[np.float64]) -> dict[str, float]:
    """Return the percentiles of all calls, exact, in milliseconds, e.g. by ``p99``."""
    values = np.percentile(latency, PERCENTILES) * 1e3
    return {f"p{name:g}": float(value) for name, value in zip(PERCENTILES, values, strict=True)}


def histogram(latency: NDArray[np.float64]) -> dict[str, Any]:
    """Return counts in buckets that grow geometrically, from the fastest to the slowest call.

    Returns:
        ``upper_ms``, the upper bound of each bucket, and ``count``; empty buckets are left out.
    """
    bucket = np.floor(np.log10(latency * 1e3) * BUCKETS_PER_DECADE).astype(int) + 1
    found, counts = np.unique(bucket, return_counts=True)
    return {
        "upper_ms": [float(10 ** (place / BUCKETS_PER_DECADE)) for place in found],
        "count": counts.tolist(),
    }


def _send(
    call: grpc.UnaryUnaryMultiCallable[bytes, bytes],
    requests: Sequence[bytes],
    intended: NDArray[np.float64],
    wait: Callable[[int, Callable[[], float]], None],
    *,
    after: Callable[[], None] = lambda: None,
) -> Load:
    """Send calls, each when ``wait`` returns, until all are sent or it raises StopIteration."""
    count = len(intended)
    sent, done = np.zeros(count), np.zeros(count)
    seen: list[list[bytes]] = [[] for _ in requests]
    failures: list[str] = []
    refused = np.zeros(count, np.bool_)
    answered = threading.Semaphore(0)
    begin = time.perf_counter()

    def now() -> float:
        return time.perf_counter() - begin

    def note(place: int, future: Any) -> None:  # noqa: ANN401 - grpc's future has no public type
        done[place] = now()
        try:
            response = future.result()
        except grpc.RpcError as error:
            refused[place] = True
            if not _is_refusal(future):
                failures.append(str(error))
        else:
            _remember(response, seen[place % len(requests)])
        after()
        answered.release()

    made = 0
    for place in range(count):
        try:
            wait(place, now)
        except StopIteration:
            break
        sent[place] = now()
        future = call.future(requests[place % len(requests)], timeout=TIMEOUT_SECONDS)
        future.add_done_callback(lambda future, place=place: note(place, future))  # type: ignore[misc]
        made += 1
    for _ in range(made):
        answered.acquire()
    _require_answers(made, refused[:made], failures)
    taken = ~refused[:made]
    return Load(
        intended=intended[:made][taken],
        sent=sent[:made][taken],
        done=done[:made][taken],
        begin=begin,
        responses=seen,
        refused=int(refused[:made].sum()),
    )


def _is_refusal(future: Any) -> bool:  # noqa: ANN401 - grpc's future has no public type
    code = future.code()
    if code is grpc.StatusCode.UNAVAILABLE:
        return _REFUSED_STREAM in (future.details() or "")
    return code in _REFUSALS


def _remember(response: bytes, known: list[bytes]) -> None:
    """Keep a response unless it is known: equal ones are kept once."""
    if response not in known:
        known.append(response)


def _require_answers(made: int, refused: NDArray[np.bool_], failures: Sequence[str]) -> None:
    """Raise ChildError when a call failed otherwise than by a refusal, or none was answered."""
    if failures:
        raise ChildError(f"{len(failures)} of {made} calls failed: {failures[0]}")
    if refused.all():
        raise ChildError(f"all {made} calls were refused")
