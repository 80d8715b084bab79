"""The watcher: it lists a source, fetches files, decides what comes next, and publishes."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from numroute.errors import InputError, StoreError
from numroute.feed import Reconciled, Refused, Waiting
from numroute.index.file import sha256_file
from numroute.logs import error_fields
from numroute_loader.feeds.arrivals import Arrivals
from numroute_loader.feeds.loop import Feed, now
from numroute_loader.feeds.order import apply_step, days, late_days, next_step, windows
from numroute_loader.feeds.publishing import Publisher
from numroute_loader.feeds.spool import Spool
from numroute_loader.gate import GateError, Outcome
from numroute_loader.increments.windows import GAP_HINT, ChainError

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

    from numroute.index import SnapshotStore
    from numroute_loader.feeds.loop import Stopping
    from numroute_loader.feeds.order import Day, Step
    from numroute_loader.feeds.publishing import Published, WatchOptions
    from numroute_loader.feeds.sources import Source
    from numroute_loader.gate import Finding
    from numroute_loader.reading.delivery import DeliveredFile, FeedLayout


ONCE_ROUNDS_MAX = 3
"""How often a single run looks again for files that were still being uploaded."""


class Watcher(Feed):
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
        """Continue from the spool and the store's health record."""
        super().__init__(store, source.name, log, stop, options.interval_seconds)
        self._source = source
        self._layout = layout
        self._options = options
        self._spool = Spool(options.spool)
        self._arrivals = Arrivals(
            layout, self._spool, self._health, log, stop, settle_seconds=options.settle_seconds
        )
        self._publisher = Publisher(store, layout, options)
        self._digests: dict[tuple[str, int, int], str] = {}
        self._tried: set[str] = {entry.key for entry in self._health.state.refused}
        self._waiting_logged: tuple[str, ...] = ()
        self._pushed = ""

    def run(self) -> None:
        """Poll until a signal asks to stop."""
        self._log.info(
            "watching",
            source=self._source.name,
            store=str(self._store.path),
            interval_seconds=self._interval_seconds,
        )
        super().run()

    def once(self) -> bool:
        """Do what there is to do and return whether all is well.

        Files that were still being uploaded at first get a moment to settle.
        """
        for _ in range(ONCE_ROUNDS_MAX):
            if self.poll() is not None or not self._arrivals.unsettled:
                break
            self._stop.sleep(self._options.settle_seconds)
        return self._health.state.healthy

    def _work(self) -> None:
        """Take step after step until no file in the spool leads any further."""
        with self._source.session() as session:
            self._arrivals.fetch(session, self._publisher.seen())
        while True:
            self._stop.check()
            seen = self._publisher.seen()
            self._arrivals.clear(seen)
            if self._options.consume:
                self._arrivals.consume(seen, self._source)
            step = next_step(
                self._arrivals.spooled(),
                seen,
                self._layout,
                blocked=lambda step: self._key(step) in self._tried,
                given_up=self._given_up,
            )
            if step is None:
                break
            self._take(step)
        self._push()
        if self._arrivals.trouble is not None:
            raise self._arrivals.trouble

    def _push(self) -> None:
        """Send the current snapshot to the replicas, once; also one rolled back to by hand."""
        if self._options.push is None or not self._store.ids():
            return
        if self._pushed != self._store.current_id():
            self._pushed = self._options.push()
            self._log.info("snapshot pushed", snapshot=self._pushed)

    def _take(self, step: Step) -> None:
        key = self._key(step)
        names = tuple(file.name for file in step.files)
        try:
            published = self._publisher.publish(step)
        except GateError as error:
            self._tried.add(key)
            if len(step.windows) > 1:
                # One bad window must not keep the good ones before it from being applied.
                first = apply_step(step.windows[:1])
                if self._key(first) not in self._tried:
                    self._take(first)
                return
            checks = tuple(f.check for f in error.findings if f.outcome is Outcome.FAILED)
            self._health.refuse(
                Refused(names=names, checks=checks, message=error.message, at=now(), key=key)
            )
            self._log.error("files refused", files=names, checks=checks, **error_fields(error))
            return
        except ChainError as error:
            # Increments cannot follow the current snapshot: only a full dump leads any further.
            self._tried.add(key)
            self._gap(error.message, error.hint)
            return
        except InputError as error:
            name = getattr(error.path, "name", str(error.path))
            if name not in names:
                raise
            path = self._spool.path / name
            status = path.stat()
            identity = f"{status.st_size}-{status.st_mtime_ns}"
            self._arrivals.put_aside(path, identity, error.reason)
            return
        self._tried.add(key)
        self._record(step, published)

    def _record(self, step: Step, published: Published) -> None:
        metadata = published.metadata
        if metadata is not None:
            self._health.forget(published.names)
            self._health.set(
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
            self._reconciled(step, published.drift, published=metadata is not None)
        if published.gap is not None:
            self._gap(published.gap.message, GAP_HINT)
        self._health.write()

    def _gap(self, reason: str, remedy: str) -> None:
        if self._health.gap(reason, remedy):
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
        self._health.set(reconciled=entry)
        if published:
            return
        self._health.forget({file.name for file in step.files})
        if entry.failed:
            self._log.warning("drift", dump=dump, reason=drift.message, remedy=drift.hint)
        else:
            self._log.info("dump compared", dump=dump, result=drift.message)

    def _key(self, step: Step) -> str:
        """Identify the files' bytes, the snapshot they would follow, and what is allowed."""
        digest = hashlib.sha256()
        for file in step.files:
            digest.update(f"{file.name} {self._digest(file)}\n".encode())
        try:
            current = self._store.current_id()
        except StoreError:
            current = ""
        digest.update(f"{current} {sorted(self._options.approval.allowed)}".encode())
        return digest.hexdigest()

    def _digest(self, file: DeliveredFile) -> str:
        path = self._spool.path / file.name
        status = path.stat()
        known = (file.name, status.st_size, status.st_mtime_ns)
        if known not in self._digests:
            self._digests[known] = sha256_file(path, status.st_size).hex()
        return self._digests[known]

    def _given_up(self, day: Day) -> bool:
        arrived = self._arrived(day.dump)
        return now() - arrived > self._options.patience

    def _arrived(self, file: DeliveredFile) -> datetime:
        return datetime.fromtimestamp((self._spool.path / file.name).stat().st_ctime, UTC)

    def _report(self) -> None:
        """Record what the feed is waiting for, and log it when it is new."""
        seen = self._publisher.seen()
        spooled = self._arrivals.spooled()
        incomplete = [
            *((day.dump, day.missing) for day in days(spooled, seen, self._layout)),
            *((day.dump, day.missing) for day in late_days(spooled, seen, self._layout)),
            *((each.files[0], each.missing) for each in windows(spooled, seen, self._layout)),
        ]
        waiting = [
            *self._arrivals.unsettled,
            *(
                Waiting(
                    name=file.name,
                    reason=f"{' and '.join(missing)} of the same time must come too",
                    since=self._arrived(file),
                )
                for file, missing in incomplete
                if missing
            ),
        ]
        window_listed = any(
            file.type in self._layout.windows for file in self._arrivals.listed.values()
        )
        self._health.set(
            waiting=tuple(waiting),
            dump_expected_at=seen.dump and seen.dump + self._layout.dump_every,
            window_expected_at=seen.as_of + self._layout.window_every
            if seen.as_of and window_listed
            else None,
        )
        names = tuple(each.name for each in waiting)
        if names and names != self._waiting_logged:
            self._log.info("waiting", files=[f"{each.name}: {each.reason}" for each in waiting])
        self._waiting_logged = names
        self._health.write()

    def _wait_seconds(self, error: Exception | None) -> float:
        """Return how long to wait before the next poll: trouble with one file delays no other."""
        if error is self._arrivals.trouble:
            error = None
        if error is None and self._arrivals.unsettled:
            return min(self._interval_seconds, self._options.settle_seconds)
        return super()._wait_seconds(error)
