"""What a client that loads the service has seen."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field

import numpy as np

KEPT_FAILURES = 5


@dataclass(slots=True)
class Report:
    """What a client has seen since its last report.

    Attributes:
        answers: Right ones.
        wrong: Answers that are wholly of neither snapshot.
        failed: Calls that failed, retries included, by status.
        skipped: Calls that were not sent, because the client was LATE_SECONDS_MAX behind.
        failures: The first few texts of what failed.
        by_snapshot: Answers by the snapshot that gave them.
        due: When each answered call was to be sent, seconds on ``time.time``'s clock.
        latency: From then to its answer, seconds.
    """

    answers: int = 0
    wrong: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    skipped: int = 0
    failures: list[str] = field(default_factory=list)
    by_snapshot: Counter[str] = field(default_factory=Counter)
    due: list[float] = field(default_factory=list)
    latency: list[float] = field(default_factory=list)

    def note(self, snapshot: str | None, due: float) -> None:
        """Count an answer that was just received."""
        if snapshot is None:
            self.wrong += 1
            return
        self.answers += 1
        self.by_snapshot[snapshot] += 1
        self.due.append(due)
        self.latency.append(time.time() - due)

    def fail(self, status: str, text: str) -> None:
        """Count a call that failed."""
        self.failed[status] += 1
        if len(self.failures) < KEPT_FAILURES:
            self.failures.append(text)

    def add(self, other: Report) -> None:
        """Take in what another report says."""
        self.answers += other.answers
        self.wrong += other.wrong
        self.failed += other.failed
        self.skipped += other.skipped
        self.failures = (self.failures + other.failures)[:KEPT_FAILURES]
        self.by_snapshot += other.by_snapshot
        self.due += other.due
        self.latency += other.latency

    @property
    def failed_calls(self) -> int:
        """How many calls failed."""
        return sum(self.failed.values())

    def percentile_ms(self, percentile: float) -> float:
        """Return a percentile of the latencies, in milliseconds; 0 when there are none."""
        return float(np.percentile(self.latency, percentile)) * 1e3 if self.latency else 0.0
