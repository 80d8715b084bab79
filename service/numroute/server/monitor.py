"""One HTTP address for all workers: metrics for Prometheus, liveness and readiness for probes."""

from __future__ import annotations

import asyncio
import importlib.metadata
import json
import math
import os
import re
import time
from collections.abc import Iterable, Iterator
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from structlog.typing import FilteringBoundLogger

from numroute.errors import NumrouteError, SettingError
from numroute.feed import read_feed_state
from numroute.logs import fault_fields
from numroute.server import metrics
from numroute.server.memory import resident_share
from numroute.server.metrics import Counts, Report, Reports, SnapshotFacts
from numroute.server.settings import ServerSettings

if TYPE_CHECKING:
    from prometheus_client.core import Metric as Family

REQUEST_SECONDS_MAX = 10.0
"""How long a connection may take to send its request."""

CONNECTIONS_MAX = 32
"""How many connections are held at once. A further one closes the oldest: an answer takes
milliseconds, so that only a client that sends nothing, or next to nothing, becomes the oldest."""


class Exposition(Collector):
    """Puts the metrics together at each scrape."""

    def __init__(self, settings: ServerSettings, reports: Reports) -> None:
        """Expose the workers' reports."""
        self._settings = settings
        self._reports = reports
        self._version = importlib.metadata.version("numroute")

    def collect(self) -> Iterator[Family]:
        """Return all metrics."""
        reports = self._reports.latest()
        yield from _counts(self._reports.counts())
        yield _gauge(metrics.IN_FLIGHT, [((), sum(report.in_flight for report in reports))])
        yield _gauge(metrics.WORKERS, [((), len(reports))])
        yield _gauge(metrics.WORKERS_WANTED, [((), self._settings.workers)])
        yield _gauge(metrics.READY, [((), sum(not report.unready for report in reports))])
        for metric, values in (
            (metrics.WORKER_MEMORY, [each.resident_bytes for each in reports]),
            (metrics.WORKER_FILES, [each.open_files for each in reports]),
            (metrics.WORKER_FILES_LIMIT, [each.open_files_limit for each in reports]),
            (metrics.WORKER_CPU, [each.cpu_seconds for each in reports]),
        ):
            labels = [(str(each.worker),) for each in reports]
            yield _gauge(metric, zip(labels, values, strict=True))
        yield from self._snapshots([report.snapshot for report in reports if report.snapshot])
        verified = [each.verified_at for each in reports if each.verified_at]
        if verified:
            yield _gauge(metrics.VERIFIED, [((), min(verified))])
        expiries = [each.certificate_expires for each in reports if each.certificate_expires]
        if expiries:
            yield _gauge(metrics.CERTIFICATE, [((), min(expiries))])
        yield from _feed(self._settings.store)
        yield _gauge(metrics.BUILD, [((self._version,), 1)])

    def _snapshots(self, snapshots: list[SnapshotFacts]) -> Iterator[Family]:
        workers: dict[tuple[str, ...], float] = {}
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
            share = resident_share(Path(newest.path))
        except OSError:
            # The file was removed: it stays open and answers, but cannot be examined.
            return
        yield _gauge(metrics.INDEX_BYTES, [((), size)])
        yield _gauge(metrics.INDEX_RESIDENT, [((), share)])


class Monitor:
    """Answers ``/metrics``, ``/livez`` and ``/readyz``; one request per connection.

    Attributes:
        address: Where it listens, with the port that the system chose where 0 was asked for.
    """

    def __init__(
        self, settings: ServerSettings, reports: Reports, log: FilteringBoundLogger
    ) -> None:
        """Answer from the workers' reports."""
        self.address = settings.metrics or ""
        self._reports = reports
        self._log = log
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(Exposition(settings, reports))
        # In the order of their arrival.
        self._connections: dict[asyncio.StreamWriter, None] = {}
        self._server: asyncio.Server

    async def start(self) -> None:
        """Listen.

        Raises:
            SettingError: The address cannot be listened on.
        """
        host, _, port = self.address.rpartition(":")
        try:
            self._server = await asyncio.start_server(self._serve, host.strip("[]"), int(port))
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else error
            raise SettingError(
                f"cannot listen on {self.address} for metrics: {reason}",
                hint="Stop what listens there, or choose another address with --metrics",
            ) from None
        self.address = f"{host}:{self._server.sockets[0].getsockname()[1]}"

    def close(self) -> None:
        """Answer no more."""
        self._server.close()
        for connection in self._connections:
            connection.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections[writer] = None
        if len(self._connections) > CONNECTIONS_MAX:
            next(iter(self._connections)).close()
        try:
            async with asyncio.timeout(REQUEST_SECONDS_MAX):
                request = await reader.readuntil(b"\r\n\r\n")
                writer.write(self._response(request.decode("latin-1")))
                await writer.drain()
        except (OSError, EOFError, TimeoutError, asyncio.LimitOverrunError):
            # A connection that breaks is ignored: a probe tries again.
            pass
        finally:
            self._connections.pop(writer, None)
            writer.close()

    def _response(self, request: str) -> bytes:
        """Return the whole answer to the head of an HTTP request."""
        line, _, headers = request.partition("\r\n")
        method, _, target = line.partition(" ")
        try:
            status, kind, body = self._answer(target.partition(" ")[0].partition("?")[0], headers)
        except Exception as fault:  # noqa: BLE001 - a fault here must not end the answering
            self._log.error("metrics failed", **fault_fields(fault))
            status, kind, body = HTTPStatus.INTERNAL_SERVER_ERROR, "text/plain", b"see the log\n"
        if method not in {"GET", "HEAD"}:
            status, kind, body = HTTPStatus.METHOD_NOT_ALLOWED, "text/plain", b"GET or HEAD\n"
        head = (
            f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: {kind}\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        return head.encode() + (b"" if method == "HEAD" else body)

    def _answer(self, path: str, headers: str) -> tuple[HTTPStatus, str, bytes]:
        """Return status, content type and body for a path."""
        match path:
            case "/metrics":
                accept = re.search(r"(?im)^accept:\s*(.*?)\s*$", headers)
                encode, kind = choose_encoder(accept[1] if accept else "")
                return HTTPStatus.OK, kind, encode(self._registry)
            case "/livez" | "/readyz":
                problems = _problems(self._reports.latest(), only_stuck=path == "/livez")
                status = HTTPStatus.SERVICE_UNAVAILABLE if problems else HTTPStatus.OK
                body = json.dumps({"ok": not problems, "problems": problems}) + "\n"
                return status, "application/json", body.encode()
        return HTTPStatus.NOT_FOUND, "text/plain", b"/metrics, /livez and /readyz\n"


def _problems(workers: list[Report], *, only_stuck: bool) -> list[str]:
    """Return why no worker would answer, empty when at least one would.

    With ``only_stuck`` a worker that is not ready counts as well, and a service without workers:
    its supervisor starts them or gives up.
    """
    if not workers and not only_stuck:
        return ["no worker serves"]
    failing = [each for each in workers if each.unready]
    if only_stuck:
        failing = [each for each in workers if each.unready == metrics.SILENT]
    if len(failing) < len(workers):
        return []
    return [f"worker {each.worker}: {each.unready}" for each in failing]


def _counts(counts: Counts) -> Iterator[Family]:
    for metric in metrics.METRICS:
        if isinstance(metric, metrics.Counter):
            counter = CounterMetricFamily(metric.name, metric.help, labels=metric.labels)
            for key, value in counts.counter(metric).items():
                counter.add_metric(metrics.split(key), value)
            if not metric.labels and not counter.samples:
                counter.add_metric((), 0)
            yield counter
        elif isinstance(metric, metrics.Distribution):
            family = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
            for key, histogram in counts.histograms.get(metric.name, {}).items():
                below = 0
                buckets = []
                for bound, count in zip((*metric.bounds, math.inf), histogram.counts, strict=True):
                    below += count
                    text = "+Inf" if math.isinf(bound) else str(float(bound))
                    buckets.append((text, below))
                family.add_metric(metrics.split(key), buckets, histogram.total)
            yield family


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
    yield _gauge(metrics.FEED_REFUSED, [((), feed.refused_files)])


def _gauge(metric: metrics.Gauge, values: Iterable[tuple[tuple[str, ...], float]]) -> Family:
    family = GaugeMetricFamily(metric.name, metric.help, labels=metric.labels)
    for labels, value in values:
        family.add_metric(labels, value)
    return family
