"""Every metric of the service: its name, what it means, and what tells its values apart.

docs/METRICS.md says of each what to do about it; a test holds the two together.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A metric.

    Attributes:
        name: Its name as Prometheus shows it, without the suffixes of its kind.
        help: What it means, in one line.
        labels: The names of what tells its values apart.
    """

    name: str
    help: str
    labels: tuple[str, ...] = ()


class Counter(Metric):
    """Grows only; Prometheus shows it with the suffix ``_total``."""


class Gauge(Metric):
    """Has a value now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution(Metric):
    """How many values lie below each of some bounds; Prometheus calls it a histogram."""

    bounds: tuple[float, ...]


REQUESTS = Counter(
    name="numroute_requests",
    help="Calls that have ended, by gRPC status.",
    labels=("method", "client", "code"),
)
NUMBERS = Counter(
    name="numroute_numbers",
    help="Numbers that calls were let in with.",
    labels=("method", "client"),
)
ANSWERS = Counter(
    name="numroute_answers",
    help="Numbers answered, by the status of the answer.",
    labels=("status",),
)
REFUSED = Counter(
    name="numroute_refused",
    help="Calls refused, by reason.",
    labels=("reason", "client"),
)
SECONDS = Distribution(
    name="numroute_request_seconds",
    help="How long a request, or a message of a stream, took in the service.",
    labels=("method",),
    bounds=(1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
)
SIZES = Distribution(
    name="numroute_request_numbers",
    help="How many numbers a request, or a message of a stream, asked for.",
    labels=("method",),
    bounds=(1, 10, 100, 1_000, 4_096, 10_000, 65_536, 200_000, 500_000),
)
IN_FLIGHT = Gauge(name="numroute_requests_in_flight", help="Calls that have begun and not ended.")
SWAPS = Counter(
    name="numroute_snapshot_swaps", help="Snapshots that workers have put into service."
)
FAILURES = Counter(
    name="numroute_snapshot_failures",
    help="How often workers could not put a snapshot into service, or not look for one.",
)
SNAPSHOT = Gauge(
    name="numroute_snapshot_workers",
    help="How many workers answer from a snapshot.",
    labels=("snapshot",),
)
AS_OF = Gauge(
    name="numroute_snapshot_as_of_timestamp_seconds",
    help="Up to when the data of the oldest snapshot in service is known.",
)
AGE = Gauge(
    name="numroute_snapshot_age_seconds",
    help="How old the data of the oldest snapshot in service is now.",
)
MAX_AGE = Gauge(
    name="numroute_snapshot_max_age_seconds",
    help="From which age on the service is not ready; absent without a limit.",
)
READY = Gauge(name="numroute_ready_workers", help="How many workers are ready to answer.")
WORKERS = Gauge(name="numroute_workers", help="How many workers are alive.")
WORKERS_WANTED = Gauge(
    name="numroute_workers_wanted", help="How many workers there should be, by --workers."
)
WORKER_MEMORY = Gauge(
    name="numroute_worker_resident_bytes",
    help="Resident memory of a worker, the mapped index included.",
    labels=("worker",),
)
WORKER_FILES = Gauge(
    name="numroute_worker_open_files", help="Open file descriptors of a worker.", labels=("worker",)
)
WORKER_FILES_LIMIT = Gauge(
    name="numroute_worker_open_files_limit",
    help="How many open file descriptors the system lets a worker have.",
    labels=("worker",),
)
WORKER_CPU = Gauge(
    name="numroute_worker_cpu_seconds",
    help="Processor time that a worker has used since its start.",
    labels=("worker",),
)
INDEX_BYTES = Gauge(name="numroute_index_bytes", help="Size of the snapshot file in service.")
INDEX_RESIDENT = Gauge(
    name="numroute_index_resident_ratio",
    help="Which share of the snapshot file is in the page cache.",
)
CERTIFICATE = Gauge(
    name="numroute_certificate_expires_timestamp_seconds",
    help="When the certificate in use ends; absent without TLS.",
)
FEED_POLLED = Gauge(
    name="numroute_feed_polled_timestamp_seconds",
    help="When the source of new data was last reached; absent without a feed.",
)
FEED_SUCCESS = Gauge(
    name="numroute_feed_succeeded_timestamp_seconds",
    help="When the feed last had nothing left to do; absent without a feed.",
)
FEED_PUBLISHED = Gauge(
    name="numroute_feed_published_timestamp_seconds",
    help="When the feed last published a snapshot; absent without a feed.",
)
FEED_WINDOW = Gauge(
    name="numroute_feed_window_expected_timestamp_seconds",
    help="The time in the name of the next window of increments; absent without a feed.",
)
FEED_TROUBLE = Gauge(
    name="numroute_feed_errors",
    help="How often in a row the feed has failed; absent without a feed.",
)
FEED_WAITING = Gauge(
    name="numroute_feed_waiting_files",
    help="Files that are not applied yet; absent without a feed.",
)
FEED_REFUSED = Gauge(
    name="numroute_feed_refused_files",
    help="Files that the gate refused or that cannot be used; absent without a feed.",
)
FEED_GAP = Gauge(
    name="numroute_feed_gap",
    help="Whether an increment is missing, 1 or 0; absent without a feed.",
)
BUILD = Gauge(
    name="numroute_build", help="Always 1; the label says what runs.", labels=("version",)
)
SCRAPE_SECONDS = Gauge(
    name="numroute_scrape_seconds", help="How long it took to put these metrics together."
)

METRICS: tuple[Metric, ...] = tuple(
    value for value in list(globals().values()) if isinstance(value, Metric)
)
