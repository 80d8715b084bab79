"""Every metric of the service, and the counts behind them.

A metric is declared here with its meaning; docs/reference/metrics.toml says what an operator can do
about it, and the reference page is generated from both. A worker counts into plain integers, two or
three microseconds a call, and reports its counts to the supervisor once a second (``Report``). The
supervisor adds them up, and logs those of each client (``Audit``).
"""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_left
from dataclasses import dataclass, field
from datetime import UTC, datetime

import msgspec
from structlog.typing import FilteringBoundLogger

SEPARATOR = "\t"

REPORT_SECONDS = 1.0
"""How often a worker reports."""

SILENT_SECONDS_MAX = 30.0
"""A worker that has not reported for this long is stuck: nothing on its event loop runs."""

SILENT = "it has been silent for too long"
"""Why a stuck worker is not ready."""

AUDIT_SECONDS = 3_600.0
"""The length of a period; the last one ends with the service."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric.

    Attributes:
        name: Its name as Prometheus shows it, without the suffixes of its kind.
        help: What it means, in one sentence.
        labels: The names of its labels.
    """

    name: str
    help: str
    labels: tuple[str, ...] = ()


class Counter(Metric):
    """Only grows; Prometheus shows it with the suffix ``_total``."""


class Gauge(Metric):
    """Has a current value."""


@dataclass(frozen=True, slots=True)
class Distribution(Metric):
    """Counts values between bounds; Prometheus calls it a histogram."""

    bounds: tuple[float, ...] = field(kw_only=True)


REQUESTS = Counter(
    "numroute_requests", "Calls that have ended, by gRPC status.", ("method", "client", "code")
)
NUMBERS = Counter("numroute_numbers", "Numbers of admitted calls.", ("method", "client"))
ANSWERS = Counter("numroute_answers", "Numbers answered, by the status of the answer.", ("status",))
REFUSED = Counter("numroute_refused", "Calls refused, by reason.", ("reason", "client"))
SECONDS = Distribution(
    "numroute_request_seconds",
    "Time from a request, or a message of a stream, to its answer.",
    ("method",),
    bounds=(1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
)
SIZES = Distribution(
    "numroute_request_numbers",
    "Numbers in a request or a message of a stream.",
    ("method",),
    bounds=(1, 10, 100, 1_000, 4_096, 10_000, 65_536, 200_000, 500_000),
)
IN_FLIGHT = Gauge(
    "numroute_requests_in_flight", "Calls that have begun and not ended, open streams included."
)
SWAPS = Counter("numroute_snapshot_swaps", "Snapshots that workers have put into service.")
FAILURES = Counter(
    "numroute_snapshot_failures", "Failures of workers to open a snapshot or to read the store."
)
SNAPSHOT = Gauge("numroute_snapshot_workers", "Workers that answer from a snapshot.", ("snapshot",))
AS_OF = Gauge(
    "numroute_snapshot_as_of_timestamp_seconds",
    "The time up to which the data of the oldest snapshot in service is known.",
)
AGE = Gauge(
    "numroute_snapshot_age_seconds", "The age of the data of the oldest snapshot in service."
)
MAX_AGE = Gauge(
    "numroute_snapshot_max_age_seconds",
    "The age from which on the service is not ready; absent without --max-age.",
)
VERIFIED = Gauge(
    "numroute_snapshot_verified_timestamp_seconds",
    "When a worker last read the whole file in service and found it undamaged; the oldest.",
)
READY = Gauge("numroute_ready_workers", "Workers ready to answer; workers silent for 30 s are not.")
WORKERS = Gauge(
    "numroute_workers", "Workers alive; while one is replaced, the old and the new one."
)
WORKERS_WANTED = Gauge("numroute_workers_wanted", "Workers asked for by --workers.")
WORKER_MEMORY = Gauge(
    "numroute_worker_resident_bytes",
    "Resident memory of a worker, the mapped index included.",
    ("worker",),
)
WORKER_FILES = Gauge(
    "numroute_worker_open_files", "Open file descriptors of a worker.", ("worker",)
)
WORKER_FILES_LIMIT = Gauge(
    "numroute_worker_open_files_limit",
    "The most open file descriptors that the system allows a worker.",
    ("worker",),
)
WORKER_CPU = Gauge(
    "numroute_worker_cpu_seconds",
    "Processor time that a worker has used since its start.",
    ("worker",),
)
INDEX_BYTES = Gauge("numroute_index_bytes", "Size of the snapshot file in service.")
INDEX_RESIDENT = Gauge(
    "numroute_index_resident_ratio", "Share of the snapshot file in the page cache."
)
CERTIFICATE = Gauge(
    "numroute_certificate_expires_timestamp_seconds",
    "When the certificate in use expires; absent without TLS.",
)
FEED_POLLED = Gauge(
    "numroute_feed_polled_timestamp_seconds",
    "When the source of new data was last reached; absent without a feed.",
)
FEED_SUCCESS = Gauge(
    "numroute_feed_succeeded_timestamp_seconds",
    "When the feed last had nothing left to do; absent without a feed.",
)
FEED_PUBLISHED = Gauge(
    "numroute_feed_published_timestamp_seconds",
    "When the feed last published a snapshot; absent without a feed.",
)
FEED_WINDOW = Gauge(
    "numroute_feed_window_expected_timestamp_seconds",
    "The time in the name of the next window of increments; absent without a feed.",
)
FEED_TROUBLE = Gauge(
    "numroute_feed_errors", "Consecutive failures of the feed; absent without a feed."
)
FEED_WAITING = Gauge(
    "numroute_feed_waiting_files",
    "Files neither applied, refused nor unusable; absent without a feed.",
)
FEED_REFUSED = Gauge(
    "numroute_feed_refused_files",
    "Files that the gate refused or that cannot be used; absent without a feed.",
)
FEED_GAP = Gauge(
    "numroute_feed_gap",
    "1 when increments cannot follow the current snapshot, else 0; absent without a feed.",
)
BUILD = Gauge("numroute_build", "Always 1; the label is the program's version.", ("version",))

METRICS: tuple[Metric, ...] = tuple(
    value for value in list(globals().values()) if isinstance(value, Metric)
)
_BOUNDS = {metric.name: metric.bounds for metric in METRICS if isinstance(metric, Distribution)}


class Histogram(msgspec.Struct):
    """Counts of a distribution's values between its bounds, and their sum.

    Attributes:
        counts: For each bound, the number of values up to it and above the bound before; and one
            more count for values above all bounds.
        total: The sum of all values.
    """

    counts: list[int]
    total: float = 0.0


class Counts(msgspec.Struct):
    """Counters and histograms, by metric and by joined labels; see ``join`` and ``split``."""

    counters: dict[str, dict[str, int]] = {}
    histograms: dict[str, dict[str, Histogram]] = {}

    def counter(self, counter: Counter) -> dict[str, int]:
        """Return a counter's values by joined labels, to be added to."""
        return self.counters.setdefault(counter.name, {})

    def observe(self, distribution: Distribution, labels: str, value: float) -> None:
        """Count a value of a distribution."""
        histogram = self._histogram(distribution.name, labels)
        histogram.counts[bisect_left(distribution.bounds, value)] += 1
        histogram.total += value

    def merge(self, other: Counts) -> None:
        """Add other counts to these."""
        for name, values in other.counters.items():
            sums = self.counters.setdefault(name, {})
            for labels, value in values.items():
                sums[labels] = sums.get(labels, 0) + value
        for name, histograms in other.histograms.items():
            for labels, theirs in histograms.items():
                mine = self._histogram(name, labels)
                mine.counts = [a + b for a, b in zip(mine.counts, theirs.counts, strict=True)]
                mine.total += theirs.total

    def _histogram(self, name: str, labels: str) -> Histogram:
        histograms = self.histograms.setdefault(name, {})
        found = histograms.get(labels)
        if found is None:
            found = histograms[labels] = Histogram([0] * (len(_BOUNDS[name]) + 1))
        return found


class SnapshotFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The snapshot that a worker answers from; ``as_of`` in seconds since the epoch."""

    id: str
    path: str
    as_of: float


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """A worker's state and counts.

    Attributes:
        worker: The worker's number.
        unready: Why it should get no calls; empty when it is ready.
        in_flight: Calls that have begun and not ended.
        resident_bytes: Its resident memory, the mapped index included.
        cpu_seconds: The processor time it has used since its start.
        open_files: Its open file descriptors.
        open_files_limit: How many it may have.
        counts: Its counts since its start.
        snapshot: Its snapshot; None before the first.
        verified_at: When that was found undamaged, in seconds since the epoch; None before.
        certificate_expires: When its certificate expires, in seconds since the epoch; None without.
    """

    worker: int
    unready: str = ""
    in_flight: int = 0
    resident_bytes: int = 0
    cpu_seconds: float = 0.0
    open_files: int = 0
    open_files_limit: int = 0
    counts: Counts
    snapshot: SnapshotFacts | None = None
    verified_at: float | None = None
    certificate_expires: float | None = None


class Reports:
    """The latest report of each worker, and the counts of those that have ended."""

    def __init__(self) -> None:
        """Start without workers."""
        self._alive: dict[int, tuple[float, Report]] = {}
        self._ended = Counts()

    def receive(self, process: int, report: Report) -> None:
        """Take a worker's report in place of its last one."""
        self._alive[process] = time.monotonic(), report

    def end(self, process: int) -> None:
        """Keep the counts of a worker that has ended."""
        if process in self._alive:
            _, report = self._alive.pop(process)
            self._ended.merge(report.counts)

    def counts(self) -> Counts:
        """Return the sums over all workers ever."""
        sums = Counts()
        for counts in (self._ended, *(report.counts for _, report in self._alive.values())):
            sums.merge(counts)
        return sums

    def latest(self) -> list[Report]:
        """Return the latest reports of the workers alive; one that is stuck is not ready."""
        late = time.monotonic() - SILENT_SECONDS_MAX
        return [
            report if at > late else msgspec.structs.replace(report, unready=SILENT)
            for at, report in self._alive.values()
        ]


class Audit:
    """Logs a line for each client and period, with counts and never with a number."""

    def __init__(self, reports: Reports, log: FilteringBoundLogger) -> None:
        """Begin the first period; to be called on the event loop."""
        self._reports = reports
        self._log = log
        self._before: dict[str, dict[str, int]] = {}
        self._since = datetime.now(UTC)
        self._next = asyncio.get_running_loop().call_later(AUDIT_SECONDS, self._end_period)

    def close(self) -> None:
        """End the last period, after the last call."""
        self._next.cancel()
        self.log_period()

    def log_period(self) -> None:
        """Log each client that asked in this period, and begin the next one."""
        counts = self._reports.counts()
        now = datetime.now(UTC)
        after = _by_client(counts)
        for client, sums in sorted(after.items()):
            before = self._before.get(client, {})
            grown = {name: count - before.get(name, 0) for name, count in sums.items()}
            if any(grown.values()):
                self._log.info(
                    "audit",
                    client=client or None,
                    since=self._since.isoformat(timespec="seconds"),
                    until=now.isoformat(timespec="seconds"),
                    **grown,
                )
        self._before, self._since = after, now

    def _end_period(self) -> None:
        self._next = asyncio.get_running_loop().call_later(AUDIT_SECONDS, self._end_period)
        self.log_period()


def join(*labels: str) -> str:
    """Return labels as one key; no label contains the separator."""
    return SEPARATOR.join(labels)


def split(key: str) -> list[str]:
    """Return the labels of a key."""
    return key.split(SEPARATOR) if key else []


def _by_client(counts: Counts) -> dict[str, dict[str, int]]:
    """Return calls, refusals and numbers by client; unknown clients share the name ``""``."""
    clients: dict[str, dict[str, int]] = {}
    for name, counter in (("calls", REQUESTS), ("numbers", NUMBERS), ("refused", REFUSED)):
        for key, value in counts.counter(counter).items():
            # The client is the second label of all three.
            sums = clients.setdefault(split(key)[1], {"calls": 0, "numbers": 0, "refused": 0})
            sums[name] += value
    return clients
