"""One HTTP address for all workers: metrics for Prometheus, liveness and readiness for probes."""

from __future__ import annotations

import contextlib
import http.server
import importlib.metadata
import json
import math
import os
import resource
import socket
import threading
import time
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from numroute.errors import NumrouteError, SettingError
from numroute.feed import read_feed_state
from numroute.logs import fault_fields
from numroute.server import metrics
from numroute.server.memory import resident_share

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from prometheus_client.core import Metric as Family
    from structlog.typing import FilteringBoundLogger

    from numroute.server.metrics import Counts, Labels, Reports, SnapshotFacts, WorkerState
    from numroute.server.settings import ServerSettings

REQUEST_SECONDS_MAX = 10.0
"""How long a connection may take to send its request."""

CONNECTIONS_MAX = 32
"""How many connections are held at once. A further one closes the oldest: an answer takes
milliseconds, so that only a client that sends nothing, or next to nothing, becomes the oldest."""

RESIDENT_SECONDS = 15.0
"""The least time between two measurements of the page cache: a few milliseconds for a file of half
a gigabyte."""


class Exposition(Collector):
    """Puts the metrics together at each scrape; any thread may ask."""

    def __init__(self, settings: ServerSettings, reports: Reports) -> None:
        """Expose the workers' reports."""
        self._settings = settings
        self._reports = reports
        self._lock = threading.Lock()
        self._resident: tuple[float, SnapshotFacts, float] | None = None
        self._version = importlib.metadata.version("numroute")

    def collect(self) -> Iterator[Family]:
        """Return all metrics."""
        begin = time.perf_counter()
        counts, workers = self._reports.read()
        yield from _counts(counts)
        reports = [worker.report for worker in workers]
        yield _gauge(metrics.IN_FLIGHT, [((), sum(report.in_flight for report in reports))])
        yield _gauge(metrics.WORKERS, [((), len(workers))])
        yield _gauge(metrics.WORKERS_WANTED, [((), self._settings.workers)])
        yield _gauge(metrics.READY, [((), sum(not worker.problem for worker in workers))])
        yield from _processes(workers)
        yield from self._snapshots([report.snapshot for report in reports if report.snapshot])
        expiries = [each.certificate_expires for each in reports if each.certificate_expires]
        if expiries:
            yield _gauge(metrics.CERTIFICATE, [((), min(expiries))])
        yield from _feed(self._settings.store)
        yield _gauge(metrics.BUILD, [((self._version,), 1)])
        yield _gauge(metrics.SCRAPE_SECONDS, [((), time.perf_counter() - begin)])

    def _snapshots(self, snapshots: list[SnapshotFacts]) -> Iterator[Family]:
        workers: dict[Labels, float] = {}
        for snapshot in snapshots:
            workers[(snapshot.id,)] = workers.get((snapshot.id,), 0) + 1
        yield _gauge(metrics.SNAPSHOT, workers.items())
        if self._settings.max_age is not None:
            yield _gauge(metrics.MAX_AGE, [((), self._settings.max_age.total_seconds())])
        if not snapshots:
            return
        oldest = min(snapshot.as_of for snapshot in snapshots)
        yield _gauge(metrics.AS_OF, [((), oldest)])
        yield _gauge(metrics.AGE, [((), time.time() - oldest)])
        newest = max(snapshots, key=lambda snapshot: snapshot.id)
        try:
            size = Path(newest.path).stat().st_size
            share = self._resident_share(newest)
        except OSError:
            # The file was removed: it stays open and answers, but cannot be examined.
            return
        yield _gauge(metrics.INDEX_BYTES, [((), size)])
        yield _gauge(metrics.INDEX_RESIDENT, [((), share)])

    def _resident_share(self, snapshot: SnapshotFacts) -> float:
        with self._lock:
            known = self._resident
            now = time.monotonic()
            if known is not None and known[1] == snapshot and now - known[0] < RESIDENT_SECONDS:
                return known[2]
            share = resident_share(Path(snapshot.path))
            self._resident = now, snapshot, share
            return share


class Monitor:
    """Answers ``/metrics``, ``/livez`` and ``/readyz`` in threads of its own.

    Attributes:
        address: Where it listens, with the port that the system chose where 0 was asked for.
    """

    def __init__(
        self, settings: ServerSettings, reports: Reports, log: FilteringBoundLogger
    ) -> None:
        """Listen on the address of ``settings.metrics``.

        Raises:
            SettingError: The address cannot be listened on.
        """
        registry = CollectorRegistry(auto_describe=False)
        registry.register(Exposition(settings, reports))
        handler = type(
            "Handler", (_Handler,), {"registry": registry, "reports": reports, "_log": log}
        )
        host, _, port = (settings.metrics or "").rpartition(":")
        try:
            self._server = _Server((host.strip("[]"), int(port)), handler)
        except OSError as error:
            raise SettingError(
                f"cannot listen on {settings.metrics} for metrics: {error.strerror}",
                hint="Stop what listens there, or choose another address with --metrics",
            ) from None
        self.address = f"{host}:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, name="monitor")
        self._thread.start()

    def close(self) -> None:
        """Answer no more."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    # A second service on the address must be refused, and a restart must not wait.
    allow_reuse_address = True
    allow_reuse_port = False
    request_queue_size = CONNECTIONS_MAX

    def __init__(self, address: tuple[str, int], handler: type[_Handler]) -> None:
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        self._lock = threading.Lock()
        # In the order of their arrival.
        self._held: dict[Any, None] = {}
        super().__init__(address, handler)

    def process_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - as there
        """Answer in a thread; above the limit, close the oldest connection."""
        with self._lock:
            self._held[request] = None
            oldest = next(iter(self._held)) if len(self._held) > CONNECTIONS_MAX else None
            if oldest is not None:
                del self._held[oldest]
        if oldest is not None:
            # Its thread ends with it.
            with contextlib.suppress(OSError):
                oldest.shutdown(socket.SHUT_RDWR)
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:  # noqa: ANN401
        """Answer, and make room."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self._lock:
                self._held.pop(request, None)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401
        """Ignore connections that break: a probe tries again."""


class _Handler(http.server.BaseHTTPRequestHandler):
    registry: CollectorRegistry
    reports: Reports
    _log: FilteringBoundLogger
    timeout = REQUEST_SECONDS_MAX
    server_version = "numroute"
    sys_version = ""

    def do_GET(self) -> None:
        """Answer."""
        try:
            match self.path.partition("?")[0]:
                case "/metrics":
                    encode, kind = choose_encoder(self.headers.get("Accept", ""))
                    self._send(HTTPStatus.OK, kind, encode(self.registry))
                case "/livez":
                    self._send_state(_silent_workers(self.reports))
                case "/readyz":
                    self._send_state(_unready_reasons(self.reports))
                case _:
                    self._send(
                        HTTPStatus.NOT_FOUND, "text/plain", b"/metrics, /livez and /readyz\n"
                    )
        except (ConnectionError, TimeoutError):
            # The client has gone, or does not read.
            self.close_connection = True
        except Exception as fault:  # noqa: BLE001 - a fault here must not end the answering
            self._log.error("metrics failed", **fault_fields(fault))
            self._send(HTTPStatus.INTERNAL_SERVER_ERROR, "text/plain", b"see the log\n")

    def do_HEAD(self) -> None:
        """Answer with the status and the headers alone, as some load balancers ask for."""
        self.do_GET()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's
        """Log no requests."""

    def _send_state(self, problems: list[str]) -> None:
        status = HTTPStatus.SERVICE_UNAVAILABLE if problems else HTTPStatus.OK
        body = json.dumps({"ok": not problems, "problems": problems}) + "\n"
        self._send(status, "application/json", body.encode())

    def _send(self, status: HTTPStatus, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _silent_workers(reports: Reports) -> list[str]:
    """Return why the service should be restarted: all of its workers are stuck.

    A service without workers is left to its supervisor, which starts them or gives up.
    """
    _, workers = reports.read()
    silent = [each for each in workers if each.silent]
    if workers and len(silent) == len(workers):
        return [f"worker {each.worker} has been silent for too long" for each in silent]
    return []


def _unready_reasons(reports: Reports) -> list[str]:
    """Return why the service should get no calls, empty when at least one worker would answer."""
    _, workers = reports.read()
    if not workers:
        return ["no worker serves"]
    problems = [each.problem for each in workers]
    if not all(problems):
        return []
    return [f"worker {each.worker}: {why}" for each, why in zip(workers, problems, strict=True)]


def _counts(counts: Counts) -> Iterator[Family]:
    for metric in metrics.METRICS:
        if isinstance(metric, metrics.Counter):
            counter = CounterMetricFamily(metric.name, metric.help, labels=metric.labels)
            for labels, value in counts.counters.get(metric.name, {}).items():
                counter.add_metric(labels, value)
            if not metric.labels and not counter.samples:
                counter.add_metric((), 0)
            yield counter
        elif isinstance(metric, metrics.Distribution):
            family = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
            for labels, histogram in counts.histograms.get(metric.name, {}).items():
                below = 0
                buckets = []
                for bound, count in zip((*metric.bounds, math.inf), histogram.counts, strict=True):
                    below += count
                    text = "+Inf" if math.isinf(bound) else str(float(bound))
                    buckets.append((text, below))
                family.add_metric(labels, buckets, histogram.total)
            yield family


def _processes(workers: list[WorkerState]) -> Iterator[Family]:
    """Return the system's figures for each worker, without those that have just ended."""
    memory, files, limits, processor = [], [], [], []
    for worker in workers:
        labels = (str(worker.worker),)
        folder = Path(f"/proc/{worker.process}")
        try:
            pages = int((folder / "statm").read_text("ascii").split()[1])
            descriptors = sum(1 for _ in (folder / "fd").iterdir())
            limit, _ = resource.prlimit(worker.process, resource.RLIMIT_NOFILE)
            fields = (folder / "stat").read_text("ascii", "replace").rpartition(")")[2].split()
        except OSError:
            continue
        memory.append((labels, pages * os.sysconf("SC_PAGE_SIZE")))
        files.append((labels, descriptors))
        limits.append((labels, limit))
        # User and system time are the 14th and 15th field of proc(5), the 12th and 13th here.
        ticks = int(fields[11]) + int(fields[12])
        processor.append((labels, ticks / os.sysconf("SC_CLK_TCK")))
    yield _gauge(metrics.WORKER_MEMORY, memory)
    yield _gauge(metrics.WORKER_FILES, files)
    yield _gauge(metrics.WORKER_FILES_LIMIT, limits)
    yield _gauge(metrics.WORKER_CPU, processor)


def _feed(store: Path) -> Iterator[Family]:
    try:
        feed = read_feed_state(store)
    except NumrouteError:
        # `numroute info` says what is wrong with the file.
        return
    if feed is None:
        return
    for metric, at in (
        (metrics.FEED_POLLED, feed.polled_at),
        (metrics.FEED_SUCCESS, feed.succeeded_at),
        (metrics.FEED_PUBLISHED, feed.published_at),
        (metrics.FEED_WINDOW, feed.window_expected_at),
    ):
        if at is not None:
            yield _gauge(metric, [((), at.timestamp())])
    yield _gauge(metrics.FEED_TROUBLE, [((), feed.error.count if feed.error else 0)])
    yield _gauge(metrics.FEED_GAP, [((), 1 if feed.gap else 0)])
    yield _gauge(metrics.FEED_WAITING, [((), len(feed.waiting))])
    yield _gauge(metrics.FEED_REFUSED, [((), len(feed.refused) + len(feed.quarantined))])


def _gauge(metric: metrics.Gauge, values: Iterable[tuple[Labels, float]]) -> Family:
    family = GaugeMetricFamily(metric.name, metric.help, labels=metric.labels)
    for labels, value in values:
        family.add_metric(labels, value)
    return family
