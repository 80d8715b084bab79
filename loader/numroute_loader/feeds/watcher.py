"""The watcher: look, fetch, decide, publish, tell, and the same again."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from numroute.errors import InputError, StoreError
from numroute.feed import Reconciled, Refused, Waiting
from numroute.index.digest import sha256_file
from numroute.logs import error_fields
from numroute_loader.feeds.arrivals import Arrivals
from numroute_loader.feeds.attempt import attempt, retry_seconds
from numroute_loader.feeds.backoff import jittered
from numroute_loader.feeds.marks import marks_of
from numroute_loader.feeds.order import Apply, Build, Reconcile, days, late_days, next_step, windows
from numroute_loader.feeds.publishing import publish_build, publish_windows, reconcile
from numroute_loader.feeds.spool import Spool
from numroute_loader.feeds.status import Status, now
from numroute_loader.feeds.stopping import StopRequested
from numroute_loader.gate import GateError, Outcome
from numroute_loader.increments.position import ChainError
from numroute_loader.increments.windows import GAP_HINT

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

    from numroute.index import SnapshotStore
    from numroute_loader.feeds.layout import DeliveredFile, FeedLayout
    from numroute_loader.feeds.options import WatchOptions
    from numroute_loader.feeds.order import Day, Step
    from numroute_loader.feeds.publishing import Published
    from numroute_loader.feeds.source import Source
    from numroute_loader.feeds.stopping import Stopping
    from numroute_loader.gate import Finding


ONCE_ROUNDS_MAX = 3
"""How often a single run looks again for files that were still being uploaded."""


class Watcher:
    """Keeps one store up to date from one source."""

    def __init__(
        self,
        store: SnapshotStore,
        source: Source,
        layout: FeedLayout,
        options: WatchOptions,
        log: FilteringBoundLogger,
        stop: Stopping,
    ) -> None:
        """Go on from what the spool and the store's feed state hold."""
        self._store = store
        self._source = source
        self._layout = layout
        self._options = options
        self._log = log
        self._stop = stop
        self._spool = Spool(options.spool)
        self._status = Status(store.path, source.name)
        self._arrivals = Arrivals(layout, options, self._spool, self._status, log, stop)
        self._digests: dict[tuple[str, int, int], str] = {}
        self._tried: set[str] = {entry.key for entry in self._status.state.refused}
        self._waiting_told: tuple[str, ...] = ()

    def run(self) -> None:
        """Poll until StopRequested is raised by a signal."""
        self._log.info(
            "watching",
            source=self._source.name,
            store=str(self._store.path),
            interval_seconds=self._options.interval_seconds,
        )
        try:
            while True:
                error = self.poll()
                self._stop.sleep(self._wait_seconds(error))
        except StopRequested:
            self._log.info("stopped")

    def once(self) -> bool:
        """Do what there is to do and return whether all is well.

        Files that were still being uploaded at first get a moment to settle.
        """
        for _ in range(ONCE_ROUNDS_MAX):
            if self.poll() is not None or not self._arrivals.unsettled:
                break
            self._stop.sleep(self._options.settle_seconds)
        return self._status.state.healthy

    def poll(self) -> Exception | None:
        """Look once, do all that follows from it, write the state; return what went wrong."""
        return attempt(self._look, self._tell, self._status, self._log)

    def _look(self) -> None:
        with self._source.session() as session:
            self._arrivals.fetch(session, marks_of(self._store, self._layout))
        self._work_off()
        if self._arrivals.unconsumed is not None:
            raise self._arrivals.unconsumed

    def _work_off(self) -> None:
        """Take step after step until no file that lies ready leads any further."""
        while True:
            self._stop.check()
            marks = marks_of(self._store, self._layout)
            self._arrivals.clear(marks, self._source)
            step = next_step(
                self._arrivals.spooled(),
                marks,
                self._layout,
                blocked=lambda step: self._key(step) in self._tried,
                given_up=self._given_up,
            )
            if step is None:
                return
            self._take(step)

    def _take(self, step: Step) -> None:
        key = self._key(step)
        names = tuple(file.name for file in step.files)
        try:
            published = self._publish(step)
        except GateError as error:
            self._tried.add(key)
            if isinstance(step, Apply) and len(step.windows) > 1:
                # One bad window must not keep the good ones before it from being applied.
                first = Apply(windows=step.windows[:1])
                if self._key(first) not in self._tried:
                    self._take(first)
                return
            checks = tuple(f.check for f in error.findings if f.outcome is Outcome.FAILED)
            self._status.refuse(
                Refused(names=names, checks=checks, message=error.message, at=now(), key=key)
            )
            self._log.error("files refused", files=names, checks=checks, **error_fields(error))
            return
        except ChainError as error:
            # Nothing that increments could follow is current: only a full dump leads any further.
            self._tried.add(key)
            self._gap(error.message, error.hint)
            return
        except InputError as error:
            name = getattr(error.path, "name", str(error.path))
            if name not in names:
                raise
            status = (self._spool.path / name).stat()
            self._spool.quarantine(name)
            self._arrivals.unusable(name, f"{status.st_size}-{status.st_mtime_ns}", error.reason)
            return
        self._tried.add(key)
        if published.metadata is not None:
            metadata = published.metadata
            self._status.forget(published.names)
            self._status.set(
                published_at=now(), snapshot_id=metadata.snapshot_id, as_of=metadata.as_of, gap=None
            )
            self._log.info(
                "snapshot published",
                snapshot=metadata.snapshot_id,
                as_of=metadata.as_of.isoformat(),
                files=published.names,
                ported=metadata.counts.get("ported", 0),
            )
        if published.drift is not None:
            self._reconciled(step, published.drift, published=published.metadata is not None)
        if published.gap is not None:
            self._gap(published.gap.message, GAP_HINT)
        self._status.write()

    def _gap(self, reason: str, remedy: str) -> None:
        if self._status.gap(reason, remedy):
            self._log.warning("gap", reason=reason, remedy=remedy)

    def _reconciled(self, step: Step, drift: Finding, *, published: bool) -> None:
        dump = step.files[0].name
        entry = Reconciled(
            dump=dump,
            outcome=drift.outcome.value,
            message=drift.message,
            at=now(),
            published=published,
        )
        self._status.set(reconciled=entry)
        if published:
            return
        self._status.forget({file.name for file in step.files})
        if entry.failed:
            self._log.warning("drift", dump=dump, reason=drift.message, remedy=drift.hint)
        else:
            self._log.info("dump compared", dump=dump, result=drift.message)

    def _publish(self, step: Step) -> Published:
        if isinstance(step, Build):
            return publish_build(self._store, step, self._layout, self._options)
        if isinstance(step, Reconcile):
            return reconcile(self._store, step, self._layout, self._options)
        return publish_windows(self._store, step, self._layout, self._options)

    def _key(self, step: Step) -> str:
        """Return what identifies the files' bytes, what they go on top of, and what is allowed."""
        digest = hashlib.sha256()
        for file in step.files:
            digest.update(f"{file.name} {self._digest(file)}\n".encode())
        try:
            current = self._store.current_id()
        except StoreError:
            current = ""
        digest.update(f"{current} {sorted(self._options.terms.allowed)}".encode())
        return digest.hexdigest()

    def _digest(self, file: DeliveredFile) -> str:
        path = self._spool.path / file.name
        status = path.stat()
        known = (file.name, status.st_size, status.st_mtime_ns)
        if known not in self._digests:
            self._digests[known] = sha256_file(path, status.st_size).hex()
        return self._digests[known]

    def _given_up(self, day: Day) -> bool:
        path = self._spool.path / day.dump.name
        return now().timestamp() - path.stat().st_ctime > self._options.patience.total_seconds()

    def _tell(self) -> None:
        """Say in the state and, when it is new, in the log what is waited for."""
        marks = marks_of(self._store, self._layout)
        spooled = self._arrivals.spooled()
        waiting = list(self._arrivals.unsettled)
        waiting += [
            self._lacking(day.dump, day.missing)
            for day in (
                *days(spooled, marks, self._layout),
                *late_days(spooled, marks, self._layout),
            )
            if day.missing
        ]
        waiting += [
            self._lacking(window.files[0], window.missing)
            for window in windows(spooled, marks, self._layout)
            if window.missing
        ]
        expected = marks.as_of is not None and self._listed_windows()
        self._status.set(
            waiting=tuple(waiting),
            dump_expected_at=marks.dump and marks.dump + self._layout.dump_every,
            window_expected_at=marks.as_of + self._layout.window_every
            if marks.as_of and expected
            else None,
        )
        told = tuple(each.name for each in waiting)
        if told != self._waiting_told and waiting:
            self._log.info("waiting", files=[f"{each.name}: {each.reason}" for each in waiting])
        self._waiting_told = told
        self._status.write()

    def _listed_windows(self) -> bool:
        return any(file.type in self._layout.windows for file in self._arrivals.listed.values())

    def _lacking(self, file: DeliveredFile, missing: tuple[str, ...]) -> Waiting:
        arrived = (self._spool.path / file.name).stat().st_ctime
        return Waiting(
            name=file.name,
            reason=f"{' and '.join(missing)} of the same time must come too",
            since=datetime.fromtimestamp(arrived, UTC),
        )

    def _wait_seconds(self, error: Exception | None) -> float:
        """Return how long to wait before the next poll."""
        interval = self._options.interval_seconds
        trouble = self._status.state.error
        # A file that the source keeps is no reason to fetch others late.
        if error is not None and error is not self._arrivals.unconsumed and trouble is not None:
            return retry_seconds(error, trouble.count, interval)
        if self._arrivals.unsettled:
            return min(interval, self._options.settle_seconds)
        return jittered(interval)
