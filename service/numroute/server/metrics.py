"""Every metric of the service, and the counts behind them.

A metric is declared here with its meaning; docs/reference/metrics.toml says what an operator can do
about it, and the reference page is generated from both. A worker counts into one flat table, its
answers into ``view.AnswerCounts``, and reports both to the supervisor once a second (``Report``).
The supervisor adds them up, and logs the counts of each client (``audit``).
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeAlias

import msgspec
from structlog.typing import FilteringBoundLogger

SEPARATOR = "\t"
"""What stands between the parts of a count's key; no label contains it."""

REPORT_SECONDS = 1.0
"""How often a worker reports."""

SILENT_SECONDS_MAX = 30.0
"""A worker that has not reported for this long is stuck: nothing on its event loop runs."""

SILENT = "it has been silent for too long"
"""Why a stuck worker is not ready."""

AUDIT_SECONDS = 3_600.0
"""How long an audit period is; the last one ends with the service."""

SUM = "sum"
"""The last part of the key of a distribution's sum; of others it is a bucket's place."""


Counts: TypeAlias = defaultdict[str, float]
"""Counts by key: a metric's name and its labels; for a distribution a bucket's place as well."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric; its name is without the suffixes that Prometheus shows with its kind."""

    name: str
    help: str
    labels: tuple[str, ...] = ()


class Counter(Metric):
    """Only grows; Prometheus shows it with the suffix ``_total``."""

    def key(self, *labels: str) -> str:
        """Return the key of the count with these labels."""
        return SEPARATOR.join((self.name, *labels))


@dataclass(frozen=True, slots=True)
class Gauge(Metric):
    """Has a current value; ``combine`` makes one of all workers' values where no label does."""

    combine: Callable[[Iterable[float]], float] = field(default=min, kw_only=True)


@dataclass(frozen=True, slots=True)
class Distribution(Metric):
    """Counts values between bounds; Prometheus calls it a histogram. It has one label."""

    bounds: tuple[float, ...] = field(kw_only=True)

    def observe(self, counts: Counts, label: str, value: float) -> None:
        """Count a value."""
        key = f"{self.name}{SEPARATOR}{label}{SEPARATOR}"
        counts[f"{key}{bisect_left(self.bounds, value)}"] += 1
        counts[key + SUM] += value


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
    "numroute_requests_in_flight",
    "Calls that have begun and not ended, open streams included.",
    combine=sum,
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


class Report(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A worker's state and counts since its start; the first one says that it answers calls.

    ``unready``: why it should get no calls; empty when it is ready. ``snapshot``: the id of the one
    that it answers from; empty before the first. ``gauges``: their values by the metric's name.
    """

    worker: int
    unready: str = ""
    snapshot: str = ""
    gauges: dict[str, float] = {}
    counts: dict[str, float]


class Refusal(msgspec.Struct, frozen=True, tag=True):
    """Why a worker cannot serve, and what to do about that."""

    reason: str
    hint: str


class Reports:
    """The latest report of each worker, and the counts of those that have ended."""

    def __init__(self) -> None:
        """Start without workers."""
        self._alive: dict[int, tuple[float, Report]] = {}
        self._ended = Counts(float)

    def receive(self, process: int, report: Report) -> None:
        """Take a worker's report in place of its last one."""
        self._alive[process] = time.monotonic(), report

    def end(self, process: int) -> None:
        """Keep the counts of a worker that has ended."""
        if process in self._alive:
            self._ended = _sums(self._ended, self._alive.pop(process)[1].counts)

    def counts(self) -> Counts:
        """Return the sums over all workers ever."""
        return _sums(self._ended, *(report.counts for _, report in self._alive.values()))

    def latest(self) -> list[Report]:
        """Return the latest reports of the workers alive; one that is stuck is not ready."""
        late = time.monotonic() - SILENT_SECONDS_MAX
        return [
            report if at > late else msgspec.structs.replace(report, unready=SILENT)
            for at, report in self._alive.values()
        ]


def _sums(*tables: Mapping[str, float]) -> Counts:
    sums = Counts(float)
    for table in tables:
        for key, value in table.items():
            sums[key] += value
    return sums


async def audit(reports: Reports, log: FilteringBoundLogger, stop: asyncio.Event) -> None:
    """Log a line for each client and period, with counts and never with a number.

    ``stop`` ends the last period: set it after the last call.
    """
    names = {REQUESTS.name: "calls", NUMBERS.name: "numbers", REFUSED.name: "refused"}
    before, since = Counts(float), datetime.now(UTC)
    while not stop.is_set():
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), AUDIT_SECONDS)
        counts, now = reports.counts(), datetime.now(UTC)
        clients: dict[str, dict[str, int]] = defaultdict(lambda: dict.fromkeys(names.values(), 0))
        for key, value in counts.items():
            name, *labels = key.split(SEPARATOR)
            if name in names and value > before[key]:
                # The client is the second label of all three; unknown clients share the name "".
                clients[labels[1]][names[name]] += int(value - before[key])
        for client, grown in sorted(clients.items()):
            log.info(
                "audit",
                client=client or None,
                since=since.isoformat(timespec="seconds"),
                until=now.isoformat(timespec="seconds"),
                **grown,
            )
        before, since = counts, now
