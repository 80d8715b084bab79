"""The metrics as Prometheus reads them: the workers' sums, and facts of this very moment."""

from __future__ import annotations

import importlib.metadata
import math
import os
import resource
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.registry import Collector

from numroute.errors import NumrouteError
from numroute.feed import read_feed_state
from numroute.server import metrics
from numroute.server.page_cache import resident_share

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from prometheus_client.core import Metric as Family

    from numroute.server.settings import ServerSettings
    from numroute.server.tally import Labels
    from numroute.server.totals import Sums, Totals
    from numroute.server.worker_state import ServedFacts, WorkerState

RESIDENT_SECONDS = 15.0
"""How often the page cache is asked, at most: a few milliseconds for a file of half a gigabyte."""


class Exposition(Collector):
    """Puts the metrics together, anew at each scrape; any thread may ask."""

    def __init__(self, settings: ServerSettings, totals: Totals) -> None:
        """Add up what the workers of this service count."""
        self._settings = settings
        self._totals = totals
        self._lock = threading.Lock()
        self._resident: tuple[float, ServedFacts, float] | None = None
        self._version = importlib.metadata.version("numroute")

    def collect(self) -> Iterator[Family]:
        """Return all metrics."""
        begin = time.perf_counter()
        sums, workers = self._totals.read()
        yield from _counts(sums)
        yield _gauge(metrics.IN_FLIGHT, [((), sum(each.in_flight for each in workers))])
        yield _gauge(metrics.WORKERS, [((), len(workers))])
        yield _gauge(metrics.WORKERS_WANTED, [((), self._settings.workers)])
        yield _gauge(metrics.READY, [((), sum(not each.problem for each in workers))])
        yield from _processes(workers)
        yield from self._snapshots(workers)
        expiries = [each.certificate_expires for each in workers if each.certificate_expires]
        if expiries:
            yield _gauge(metrics.CERTIFICATE, [((), min(expiries))])
        yield from _feed(self._settings.store)
        yield _gauge(metrics.BUILD, [((self._version,), 1)])
        yield _gauge(metrics.SCRAPE_SECONDS, [((), time.perf_counter() - begin)])

    def _snapshots(self, workers: list[WorkerState]) -> Iterator[Family]:
        served = [each.served for each in workers if each.served is not None]
        counts: dict[Labels, float] = {}
        for each in served:
            counts[(each.id,)] = counts.get((each.id,), 0) + 1
        yield _gauge(metrics.SNAPSHOT, counts.items())
        if self._settings.max_age is not None:
            yield _gauge(metrics.MAX_AGE, [((), self._settings.max_age.total_seconds())])
        if not served:
            return
        oldest = min(each.as_of for each in served)
        yield _gauge(metrics.AS_OF, [((), oldest)])
        yield _gauge(metrics.AGE, [((), time.time() - oldest)])
        newest = max(served, key=lambda each: each.id)
        try:
            size = Path(newest.path).stat().st_size
            share = self._resident_share(newest)
        except OSError:
            # The file was removed: it stays open and answers, but cannot be looked at.
            return
        yield _gauge(metrics.INDEX_BYTES, [((), size)])
        yield _gauge(metrics.INDEX_RESIDENT, [((), share)])

    def _resident_share(self, served: ServedFacts) -> float:
        with self._lock:
            known = self._resident
            now = time.monotonic()
            if known is not None and known[1] == served and now - known[0] < RESIDENT_SECONDS:
                return known[2]
            share = resident_share(Path(served.path))
            self._resident = now, served, share
            return share


def _counts(sums: Sums) -> Iterator[Family]:
    for metric in metrics.METRICS:
        if isinstance(metric, metrics.Counter):
            counter = CounterMetricFamily(metric.name, metric.help, labels=metric.labels)
            for labels, value in sums.counters.get(metric.name, {}).items():
                counter.add_metric(labels, value)
            if not metric.labels and not counter.samples:
                counter.add_metric((), 0)
            yield counter
        elif isinstance(metric, metrics.Distribution):
            family = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
            for labels, histogram in sums.histograms.get(metric.name, {}).items():
                below = 0
                buckets = []
                for bound, count in zip((*metric.bounds, math.inf), histogram.counts, strict=True):
                    below += count
                    text = "+Inf" if math.isinf(bound) else str(float(bound))
                    buckets.append((text, below))
                family.add_metric(labels, buckets, histogram.total)
            yield family


def _processes(workers: list[WorkerState]) -> Iterator[Family]:
    """Return what the system says of each worker; one that ends meanwhile is left out."""
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
        # Its own reader, `numroute info`, says what is wrong with the file.
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
            yield _gauge(metric, [((), _seconds(at))])
    yield _gauge(metrics.FEED_TROUBLE, [((), feed.error.count if feed.error else 0)])
    yield _gauge(metrics.FEED_GAP, [((), 1 if feed.gap else 0)])
    yield _gauge(metrics.FEED_WAITING, [((), len(feed.waiting))])
    yield _gauge(metrics.FEED_REFUSED, [((), len(feed.refused) + len(feed.quarantined))])


def _seconds(at: datetime) -> float:
    return at.timestamp()


def _gauge(metric: metrics.Gauge, values: Iterable[tuple[Labels, float]]) -> Family:
    family = GaugeMetricFamily(metric.name, metric.help, labels=metric.labels)
    for labels, value in values:
        family.add_metric(labels, value)
    return family
