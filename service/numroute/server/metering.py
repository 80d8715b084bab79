"""Count the calls of a worker, and report the counts and its state once a second."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import grpc

from numroute.errors import LimitExceededError, TryLaterError, UnauthenticatedError
from numroute.server import metrics
from numroute.server.certificates import Certificates
from numroute.server.follower import Follower
from numroute.server.guard import STAY_OPEN, Call, Guard
from numroute.server.health import Health
from numroute.server.memory import resident_bytes
from numroute.server.metrics import Counts, Gauge, Report


@dataclass(eq=False, kw_only=True)
class Meter(Guard):
    """Counts every call, how it ended and why it was refused; and reports.

    It stands around the guards that refuse.
    ``send`` takes the reports of worker number ``worker``, with the state of its other parts.
    """

    send: Callable[[Report], None]
    worker: int
    follower: Follower
    health: Health
    certificates: Certificates | None
    _counts: Counts = field(default_factory=lambda: Counts(float), init=False)
    _in_flight: int = field(default=0, init=False)

    def begin(self, call: Call) -> None:  # noqa: ARG002 - a guard's signature
        """Count a call under way."""
        self._in_flight += 1

    def numbers(self, call: Call, count: int) -> None:
        """Count the numbers of a request that no other guard has refused."""
        self._counts[metrics.NUMBERS.key(call.method, call.client)] += count
        metrics.SIZES.observe(self._counts, call.method, count)

    def answered(self, call: Call, seconds: float) -> None:
        """Record the latency of one streamed answer; not how long a stream stays open."""
        metrics.SECONDS.observe(self._counts, call.method, seconds)

    def end(self, call: Call, status: grpc.StatusCode) -> None:
        """Count a call that has ended."""
        self._in_flight -= 1
        # The name of an enumeration's member is a property, and nearly all calls end well.
        name = "OK" if status is grpc.StatusCode.OK else status.name
        self._counts[metrics.REQUESTS.key(call.method, call.client, name)] += 1
        if call.method not in STAY_OPEN:
            self.answered(call, time.perf_counter() - call.started)
        if call.error is not None and (reason := _refusal_reason(call.error)):
            # An expired token is refused, but its client is known.
            client = call.client or getattr(call.error, "client", "")
            self._counts[metrics.REFUSED.key(reason, client)] += 1

    async def run(self, stop: asyncio.Event) -> None:
        """Report until ``stop`` is set; call ``report`` once more when all calls have ended."""
        while not stop.is_set():
            self.report()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), metrics.REPORT_SECONDS)

    def report(self) -> None:
        """Report now."""
        follower, view, tls = self.follower, self.follower.view, self.certificates
        self._counts[metrics.SWAPS.key()] = follower.swaps
        self._counts[metrics.FAILURES.key()] = follower.failures
        for status, count in follower.answers.by_status().items():
            self._counts[metrics.ANSWERS.key(status)] = count
        as_of = None if view is None else view.snapshot.metadata.as_of.timestamp()
        expires = None if tls is None else tls.credentials.expires.timestamp()
        gauges: dict[Gauge, float | None] = {
            metrics.IN_FLIGHT: self._in_flight,
            metrics.WORKER_MEMORY: resident_bytes(),
            metrics.WORKER_CPU: time.process_time(),
            metrics.WORKER_FILES: _open_files(),
            metrics.WORKER_FILES_LIMIT: resource.getrlimit(resource.RLIMIT_NOFILE)[0],
            metrics.VERIFIED: follower.verified_at,
            metrics.AS_OF: as_of,
            metrics.CERTIFICATE: expires,
        }
        self.send(
            Report(
                worker=self.worker,
                unready=self.health.unready,
                snapshot="" if view is None else view.id,
                gauges={gauge.name: value for gauge, value in gauges.items() if value is not None},
                counts=self._counts,
            )
        )


def _refusal_reason(error: Exception) -> str:
    """Return in one word why a call was refused, empty when it failed for another reason."""
    if isinstance(error, UnauthenticatedError):
        return error.reason
    if isinstance(error, TryLaterError):
        return error.reason or "overload"
    return "too_large" if isinstance(error, LimitExceededError) else ""


def _open_files() -> int:
    try:
        return sum(1 for _ in Path("/proc/self/fd").iterdir())
    except OSError:
        # None is left to look with.
        return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
