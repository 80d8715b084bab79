"""What one worker process counts, and the guard that counts calls.

Counting a call is adding to plain integers of the process itself: two or three microseconds. What
the names mean stands in ``metrics``.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from typing import TYPE_CHECKING

import grpc

from numroute.errors import (
    LimitExceededError,
    QuotaExceededError,
    TryLaterError,
    UnauthenticatedError,
)
from numroute.server.guard import STAY_OPEN, Guard
from numroute.server.metrics import (
    NUMBERS,
    REFUSED,
    REQUESTS,
    SECONDS,
    SIZES,
)

if TYPE_CHECKING:
    from numroute.server.guard import Call
    from numroute.server.metrics import Counter, Distribution

    Labels = tuple[str, ...]


class Histogram:
    """How many values lie between bounds, and their sum.

    Attributes:
        bounds: Upper bounds, ascending.
        counts: One count per bound, of the values up to it and above the one before, and one more
            for those above all bounds.
        total: The sum of all values.
    """

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        """Begin empty."""
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def add(self, value: float) -> None:
        """Count a value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def merge(self, counts: list[int], total: float) -> None:
        """Add the counts of another one with the same bounds."""
        self.counts = [mine + its for mine, its in zip(self.counts, counts, strict=True)]
        self.total += total


class Tally:
    """All counts of a process; used on the event loop only.

    Attributes:
        counters: By counter's name and labels.
        histograms: By distribution's name and labels.
        in_flight: Calls that have begun and not ended.
    """

    def __init__(self) -> None:
        """Begin with nothing."""
        self.counters: dict[str, dict[Labels, int]] = {}
        self.histograms: dict[str, dict[Labels, Histogram]] = {}
        self.in_flight = 0

    def counter(self, counter: Counter) -> dict[Labels, int]:
        """Return the values of a counter by labels, to be added to."""
        return self.counters.setdefault(counter.name, {})

    def histogram(self, distribution: Distribution, labels: Labels) -> Histogram:
        """Return a distribution's histogram with these labels."""
        histograms = self.histograms.setdefault(distribution.name, {})
        histogram = histograms.get(labels)
        if histogram is None:
            histogram = histograms[labels] = Histogram(distribution.bounds)
        return histogram


class Metering(Guard):
    """The first guard: hears of every call, how it ended, and why it was refused."""

    def __init__(self, tally: Tally) -> None:
        """Count into this tally."""
        self._tally = tally
        self._requests = tally.counter(REQUESTS)
        self._refused = tally.counter(REFUSED)
        # By method: what was looked up once is at hand for every call.
        self._seconds: dict[str, Histogram] = {}

    def begin(self, call: Call) -> None:  # noqa: ARG002 - as a guard has it
        """Count a call that is under way."""
        self._tally.in_flight += 1

    def answered(self, call: Call, seconds: float) -> None:
        """Count how long a message of a stream took; how long the stream lasts says nothing."""
        self._took(call.method, seconds)

    def end(self, call: Call, status: grpc.StatusCode) -> None:
        """Count a call that has ended."""
        self._tally.in_flight -= 1
        method = call.method
        # The name of an enumeration's member is a property, and nearly all calls end well.
        name = "OK" if status is grpc.StatusCode.OK else status.name
        _add(self._requests, (method, call.client, name), 1)
        if method not in STAY_OPEN:
            self._took(method, time.perf_counter() - call.started)
        if call.error is not None:
            reason = refusal_reason(call.error)
            if reason:
                # Who was refused at the door may be known all the same.
                client = call.client or getattr(call.error, "client", "")
                _add(self._refused, (reason, client), 1)

    def _took(self, method: str, seconds: float) -> None:
        histogram = self._seconds.get(method)
        if histogram is None:
            histogram = self._seconds[method] = self._tally.histogram(SECONDS, (method,))
        histogram.add(seconds)


class Admitted(Guard):
    """The last guard: hears of the numbers that no other guard has refused."""

    def __init__(self, tally: Tally) -> None:
        """Count into this tally."""
        self._tally = tally
        self._numbers = tally.counter(NUMBERS)
        self._sizes: dict[str, Histogram] = {}

    def numbers(self, call: Call, count: int) -> None:
        """Count the numbers of a request."""
        method = call.method
        _add(self._numbers, (method, call.client), count)
        sizes = self._sizes.get(method)
        if sizes is None:
            sizes = self._sizes[method] = self._tally.histogram(SIZES, (method,))
        sizes.add(count)


def refusal_reason(error: Exception) -> str:
    """Return in one word why a call was refused, empty when it was not refused but failed."""
    if isinstance(error, UnauthenticatedError | QuotaExceededError):
        return error.reason
    if isinstance(error, TryLaterError):
        return "overload"
    if isinstance(error, LimitExceededError):
        return "too_large"
    return ""


def _add(values: dict[Labels, int], labels: Labels, amount: int) -> None:
    values[labels] = values.get(labels, 0) + amount
