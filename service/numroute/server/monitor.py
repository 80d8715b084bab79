"""One HTTP address for all workers: metrics for Prometheus, liveness and readiness for probes."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import json
import os
import re
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from http import HTTPStatus
from itertools import accumulate
from pathlib import Path

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.core import Metric as Family
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString
from structlog.typing import FilteringBoundLogger

from numroute.errors import NumrouteError, SettingError
from numroute.feed import read_feed_state
from numroute.index import SnapshotStore
from numroute.logs import fault_fields
from numroute.server import metrics
from numroute.server.memory import resident_share
from numroute.server.metrics import Counts, Report, Reports
from numroute.server.settings import ServerSettings, host_and_port

REQUEST_SECONDS_MAX = 10.0
"""How long a connection may take to send its request."""

CONNECTIONS_MAX = 32
"""How many connections are held at once. A further one closes the oldest: an answer takes
milliseconds, so that only a client that sends nothing, or next to nothing, becomes the oldest."""


class Monitor(Collector):
    """Answers ``/metrics``, ``/livez`` and ``/readyz``; one request per connection."""

    def __init__(
        self, settings: ServerSettings, reports: Reports, log: FilteringBoundLogger
    ) -> None:
        """Answer from the workers' reports at the settings' address."""
        self._settings = settings
        self._reports = reports
        self._log = log
        self._version = importlib.metadata.version("numroute")
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        # In the order of their arrival.
        self._connections: dict[asyncio.StreamWriter, None] = {}

    async def start(self) -> None:
        """Begin to answer. Raises SettingError where the address cannot be listened on."""
        address = self._settings.metrics or ""
        try:
            self._server = await asyncio.start_server(self._serve, *host_and_port(address))
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else error
            raise SettingError(
                f"cannot listen on {address} for metrics: {reason}",
                hint="Stop what listens there, or choose another address with --metrics",
            ) from None
        port = self._server.sockets[0].getsockname()[1]
        self._log.info("metrics served", address=f"{address.rpartition(':')[0]}:{port}")

    def close(self) -> None:
        """Answer no more."""
        self._server.close()
        for connection in self._connections:
            connection.close()

    def collect(self) -> Iterator[Family]:
        """Put the metrics together for a scrape."""
        reports = self._reports.latest()
        yield from _counts(self._reports.counts())
        for metric in metrics.METRICS:
            values = [
                ((str(report.worker),), report.gauges[metric.name])
                for report in reports
                if metric.name in report.gauges
            ]
            if isinstance(metric, metrics.Gauge) and values:
                combined = metric.combine(value for _, value in values)
                yield _gauge(metric, values if metric.labels else [((), combined)])
                if metric is metrics.AS_OF:
                    yield _gauge(metrics.AGE, [((), time.time() - combined)])
        ready = [report for report in reports if not report.unready]
        snapshots = Counter(report.snapshot for report in reports if report.snapshot)
        yield _gauge(metrics.WORKERS, [((), len(reports))])
        yield _gauge(metrics.WORKERS_WANTED, [((), self._settings.workers)])
        yield _gauge(metrics.READY, [((), len(ready))])
        yield _gauge(metrics.SNAPSHOT, [((each,), count) for each, count in snapshots.items()])
        if self._settings.max_age is not None:
            yield _gauge(metrics.MAX_AGE, [((), self._settings.max_age.total_seconds())])
        if snapshots:
            yield from _index(self._settings.store, max(snapshots))
        yield from _feed(self._settings.store)
        yield _gauge(metrics.BUILD, [((self._version,), 1)])

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections[writer] = None
        if len(self._connections) > CONNECTIONS_MAX:
            next(iter(self._connections)).close()
        # A connection that breaks is ignored: a probe tries again.
        with contextlib.suppress(OSError, EOFError, TimeoutError, asyncio.LimitOverrunError):
            async with asyncio.timeout(REQUEST_SECONDS_MAX):
                request = await reader.readuntil(b"\r\n\r\n")
                writer.write(self._response(request.decode("latin-1")))
                await writer.drain()
        self._connections.pop(writer, None)
        writer.close()

    def _response(self, request: str) -> bytes:
        line, _, headers = request.partition("\r\n")
        method, _, target = line.partition(" ")
        try:
            status, kind, body = self._answer(re.split(r"[ ?]", target)[0], headers)
        except Exception as fault:  # noqa: BLE001 - a fault here must not end the answering
            self._log.error("metrics failed", **fault_fields(fault))
            status, kind, body = HTTPStatus.INTERNAL_SERVER_ERROR, "text/plain", b"see the log\n"
        head = (
            f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: {kind}\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        return head.encode() + (b"" if method == "HEAD" else body)

    def _answer(self, path: str, headers: str) -> tuple[HTTPStatus, str, bytes]:
        if path == "/metrics":
            accept = re.search(r"(?im)^accept:\s*(.*?)\s*$", headers)
            encode, kind = choose_encoder(accept[1] if accept else "")
            return HTTPStatus.OK, kind, encode(self._registry)
        if path not in {"/livez", "/readyz"}:
            return HTTPStatus.NOT_FOUND, "text/plain", b"/metrics, /livez and /readyz\n"
        problems = _problems(self._reports.latest(), only_stuck=path == "/livez")
        status = HTTPStatus.SERVICE_UNAVAILABLE if problems else HTTPStatus.OK
        body = json.dumps({"ok": not problems, "problems": problems}) + "\n"
        return status, "application/json", body.encode()


def _problems(workers: list[Report], *, only_stuck: bool) -> list[str]:
    """Return why no worker would answer, empty when at least one would.

    With ``only_stuck`` a worker that is not ready counts as well, and a service without workers:
    its supervisor starts them or gives up.
    """
    reasons = (metrics.SILENT,) if only_stuck else {each.unready for each in workers} - {""}
    if any(each.unready not in reasons for each in workers):
        return []
    if not workers and not only_stuck:
        return ["no worker serves"]
    return [f"worker {each.worker}: {each.unready}" for each in workers]


def _counts(counts: Counts) -> Iterator[Family]:
    by_name: dict[str, list[tuple[list[str], float]]] = defaultdict(list)
    for key, value in counts.items():
        name, *parts = key.split(metrics.SEPARATOR)
        by_name[name].append((parts, value))
    for metric in metrics.METRICS:
        samples = by_name[metric.name]
        if isinstance(metric, metrics.Counter):
            counter = CounterMetricFamily(metric.name, metric.help, labels=metric.labels)
            for labels, value in samples or [([], 0)] * (not metric.labels):
                counter.add_metric(labels, value)
            yield counter
        elif isinstance(metric, metrics.Distribution):
            family = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
            bounds = [*map(floatToGoString, metric.bounds), "+Inf"]
            for label in {label for (label, _), _ in samples}:
                found = {place: value for (of, place), value in samples if of == label}
                sums = accumulate(found.get(str(place), 0) for place in range(len(bounds)))
                family.add_metric([label], [*zip(bounds, sums, strict=True)], found[metrics.SUM])
            yield family


def _index(store: Path, snapshot_id: str) -> Iterator[Family]:
    # A file that was removed stays open and answers, but cannot be examined.
    with contextlib.suppress(OSError, NumrouteError):
        path = SnapshotStore(store).snapshot_path(snapshot_id)
        yield _gauge(metrics.INDEX_BYTES, [((), path.stat().st_size)])
        yield _gauge(metrics.INDEX_RESIDENT, [((), resident_share(path))])


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
