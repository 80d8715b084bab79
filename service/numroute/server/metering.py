"""Count the calls of a worker, and report the counts and its state once a second."""

from __future__ import annotations

import asyncio
import resource
import time
from collections.abc import Callable
from pathlib import Path

import grpc

from numroute.errors import (
    LimitExceededError,
    QuotaExceededError,
    TryLaterError,
    UnauthenticatedError,
)
from numroute.server import metrics
from numroute.server.certificates import Certificates
from numroute.server.follower import Follower
from numroute.server.guard import STAY_OPEN, Call, Guard
from numroute.server.health import Health
from numroute.server.memory import resident_bytes
from numroute.server.metrics import Counts, Report, SnapshotFacts, join


class CallMeter(Guard):
    """The first guard: counts every call, how it ended and why it was refused.

    Attributes:
        in_flight: Calls that have begun and not ended.
    """

    def __init__(self, counts: Counts) -> None:
        """Count into these counts."""
        self.in_flight = 0
        self._counts = counts
        self._requests = counts.counter(metrics.REQUESTS)
        self._refused = counts.counter(metrics.REFUSED)

    def begin(self, call: Call) -> None:  # noqa: ARG002 - a guard's signature
        """Count a call under way."""
        self.in_flight += 1

    def answered(self, call: Call, seconds: float) -> None:
        """Record the latency of one streamed answer; not how long a stream stays open."""
        self._counts.observe(metrics.SECONDS, call.method, seconds)

    def end(self, call: Call, status: grpc.StatusCode) -> None:
        """Count a call that has ended."""
        self.in_flight -= 1
        method = call.method
        # The name of an enumeration's member is a property, and nearly all calls end well.
        name = "OK" if status is grpc.StatusCode.OK else status.name
        _add(self._requests, join(method, call.client, name), 1)
        if method not in STAY_OPEN:
            self._counts.observe(metrics.SECONDS, method, time.perf_counter() - call.started)
        if call.error is not None:
            reason = refusal_reason(call.error)
            if reason:
                # An expired token is refused, but its client is known.
                client = call.client or getattr(call.error, "client", "")
                _add(self._refused, join(reason, client), 1)


class NumberMeter(Guard):
    """The last guard: counts the numbers that no guard before it has refused."""

    def __init__(self, counts: Counts) -> None:
        """Count into these counts."""
        self._counts = counts
        self._numbers = counts.counter(metrics.NUMBERS)

    def numbers(self, call: Call, count: int) -> None:
        """Count the numbers of a request."""
        _add(self._numbers, join(call.method, call.client), count)
        self._counts.observe(metrics.SIZES, call.method, count)


class Reporter:
    """Reports a worker's counts and state.

    Attributes:
        first: The guard to put before all others.
        last: The guard to put after all others.
    """

    def __init__(
        self,
        send: Callable[[Report], None],
        *,
        worker: int,
        follower: Follower,
        health: Health,
        certificates: Certificates | None,
    ) -> None:
        """Report by ``send``, with the state of the parts of the worker of this number."""
        self._send = send
        self._worker = worker
        self._follower = follower
        self._health = health
        self._certificates = certificates
        self._counts = Counts()
        self.first = CallMeter(self._counts)
        self.last = NumberMeter(self._counts)

    async def run(self, stop: asyncio.Event) -> None:
        """Report until ``stop`` is set; call ``report`` once more when all calls have ended."""
        while not stop.is_set():
            self.report()
            try:
                await asyncio.wait_for(stop.wait(), metrics.REPORT_SECONDS)
            except TimeoutError:
                continue

    def report(self) -> None:
        """Report now."""
        follower, counts = self._follower, self._counts
        counts.counter(metrics.SWAPS)[""] = follower.swaps
        counts.counter(metrics.FAILURES)[""] = follower.failures
        counts.counter(metrics.ANSWERS).update(follower.answers.by_status())
        snapshot = expires = None
        if follower.view is not None:
            opened = follower.view.snapshot
            snapshot = SnapshotFacts(
                id=follower.view.id,
                path=str(opened.path),
                as_of=opened.metadata.as_of.timestamp(),
            )
        if self._certificates is not None:
            expires = self._certificates.credentials.expires.timestamp()
        self._send(
            Report(
                worker=self._worker,
                unready=self._health.unready,
                in_flight=self.first.in_flight,
                resident_bytes=resident_bytes(),
                cpu_seconds=time.process_time(),
                open_files=_open_files(),
                open_files_limit=resource.getrlimit(resource.RLIMIT_NOFILE)[0],
                counts=counts,
                snapshot=snapshot,
                verified_at=follower.verified_at,
                certificate_expires=expires,
            )
        )


def refusal_reason(error: Exception) -> str:
    """Return in one word why a call was refused, empty when it failed for another reason."""
    if isinstance(error, UnauthenticatedError | QuotaExceededError):
        return error.reason
    if isinstance(error, TryLaterError):
        return "overload"
    if isinstance(error, LimitExceededError):
        return "too_large"
    return ""


def _add(values: dict[str, int], labels: str, amount: int) -> None:
    values[labels] = values.get(labels, 0) + amount


def _open_files() -> int:
    """Return how many file descriptors this process has open."""
    try:
        return sum(1 for _ in Path("/proc/self/fd").iterdir())
    except OSError:
        # None is left to look with.
        return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
