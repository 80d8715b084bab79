"""The watcher: it lists a source, fetches files, decides what comes next, and publishes."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from structlog.typing import FilteringBoundLogger

from numroute.errors import FeedError, InputError, StoreError
from numroute.feed import Reconciled, Refused, Waiting
from numroute.index import Metadata, SnapshotStore, history, writing
from numroute.index import Source as SnapshotSource
from numroute.logs import error_fields
from numroute_loader import pipeline
from numroute_loader.feeds.arrivals import Arrivals, Spool
from numroute_loader.feeds.loop import Feed, now
from numroute_loader.feeds.order import Action, Batch, Deliveries, Seen, Step, apply_step
from numroute_loader.feeds.sources import Source
from numroute_loader.gate.findings import Finding, GateError, Outcome
from numroute_loader.gate.limits import Approval
from numroute_loader.increments.windows import GAP_HINT, ChainError
from numroute_loader.inputs import input_files
from numroute_loader.pipeline import Checked
from numroute_loader.reading.description import DeliveredFile, FeedLayout, Role

INTERVAL_SECONDS = 60.0
"""How often the source is listed by default. Files come every two hours."""

SETTLE_SECONDS = 5.0
"""How long size and time of a file must stay the same before it is taken to be whole."""

PATIENCE = timedelta(minutes=90)
"""How long the windows of a new day wait for the rest of a full dump that has come in part."""

ROLLBACK_HINT = (
    "The next full dump heals it. To go forward sooner, `numroute-load rollback` to the newer "
    "snapshot, or give all the windows since the current one to `numroute-load apply`"
)

ONCE_ROUNDS_MAX = 3
"""How often a single run looks again for files that were still being uploaded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchOptions:
    """Settings of a watcher.

    ``plan``: files of the open numbering plan that are read with every full dump. ``approval``: as
    ``build`` takes it. ``asked_by`` is recorded in the history. ``push``: send the current snapshot
    to the replicas and return its id; called when another snapshot has become current.
    """

    spool: Path
    interval_seconds: float = INTERVAL_SECONDS
    settle_seconds: float = SETTLE_SECONDS
    patience: timedelta = PATIENCE
    plan: Sequence[Path] = ()
    approval: Approval = field(default_factory=Approval)
    asked_by: str = ""
    push: Callable[[], str] | None = None


class Watcher(Feed):
    """Keeps one store up to date from one source."""

    def __init__(
        self,
        store: SnapshotStore,
        source: Source,
        layout: FeedLayout,
        options: WatchOptions,
        log: FilteringBoundLogger,
    ) -> None:
        """Continue from the spool and the store's health record."""
        super().__init__(store, source.name, log, options.interval_seconds)
        self._source = source
        self._layout = layout
        self._options = options
        self._arrivals = Arrivals(
            layout,
            Spool(options.spool),
            self._health,
            log,
            settle_seconds=options.settle_seconds,
        )
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
            time.sleep(self._options.settle_seconds)
        return self._health.state.healthy

    def _work(self) -> None:
        """Take step after step until no file in the spool leads any further."""
        with self._source.session():
            self._arrivals.fetch(self._source, self._seen())
        while True:
            seen = self._seen()
            self._arrivals.clear(seen)
            deliveries = Deliveries(self._arrivals.spooled(), seen, self._layout)
            step = deliveries.next_step(
                blocked=lambda step: self._key(step) in self._tried,
                given_up=self._given_up,
            )
            if step is None:
                break
            self._take(step)
        self._push()
        if self._arrivals.trouble is not None:
            raise self._arrivals.trouble

    def _seen(self) -> Seen:
        """Return how far the store is, from its history and its current snapshot.

        Everything that was ever current counts: after a rollback the files that led to the bad
        snapshot are not applied again. Where the current snapshot cannot be opened nothing counts:
        the newest full dump will repair the store.
        """
        try:
            metadata = self._current()
        except StoreError:
            return Seen()
        times = [metadata.as_of]
        names = [source.name for source in metadata.sources]
        were_current = {moment.snapshot for moment in self._store.moments()}
        for entry in self._store.history():
            if entry["event"] in history.BRINGS and entry["snapshot"] in were_current:
                times.append(datetime.fromisoformat(entry["as_of"]))
                names += [source["name"] for source in entry.get("sources", ())]
            elif entry["event"] == history.RECONCILED:
                names.append(entry["dump"])
        files = (self._layout.parse(name) for name in names)
        dumps = (file.time for file in files if file is not None and file.role is Role.DUMP)
        return Seen(as_of=max(times), dump=max(dumps, default=None))

    def _current(self) -> Metadata:
        with self._store.open() as snapshot:
            return snapshot.metadata

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
            self._publish(step, names)
        except GateError as error:
            self._tried.add(key)
            if len(step.batches) > 1:
                # One bad window must not keep the good ones before it from being applied.
                first = apply_step(step.batches[:1])
                if self._key(first) not in self._tried:
                    self._take(first)
                return
            checks = error.checks
            self._health.refuse(
                Refused(names=names, checks=checks, message=error.message, at=now(), key=key)
            )
            self._log.error("files refused", files=names, checks=checks, **error_fields(error))
        except ChainError as error:
            # Increments cannot follow the current snapshot: only a full dump leads any further.
            self._tried.add(key)
            self._gap(error.message, error.hint)
        except InputError as error:
            name = getattr(error.path, "name", str(error.path))
            if name not in names:
                raise
            path = self._options.spool / name
            self._arrivals.put_aside(path, self._identity(name), error.reason)
        else:
            self._tried.add(key)
            self._health.write()

    def _publish(self, step: Step, names: tuple[str, ...]) -> None:
        """Take a step by the same code as the commands; increments go up to the first gap."""
        inputs = [self._options.spool / file.name for file in step.files]
        increments = step.action is Action.APPLY
        if not increments:
            inputs += self._open_plan()
        options = self._options
        checked = pipeline.check(inputs, self._store, options.approval, increments=increments)
        if step.action is Action.RECONCILE:
            self._record_drift(names[0], checked)
            self._health.forget(names)
        elif checked.new is not None:
            metadata = pipeline.publish(
                self._store, checked, asked_by=options.asked_by, reason=options.approval.reason
            )
            read = {file.source.path.name for file in checked.files}
            used = tuple(name for name in names if name in read)
            self._health.forget(used)
            self._health.set(
                published_at=now(), snapshot_id=metadata.snapshot_id, as_of=metadata.as_of, gap=None
            )
            self._log.info(
                "snapshot published",
                snapshot=metadata.snapshot_id,
                as_of=metadata.as_of.isoformat(),
                files=used,
                ported=metadata.counts.get("ported", 0),
            )
        if not increments:
            drift = _drift(checked)
            reconciled = Reconciled(
                dump=names[0],
                outcome=drift.outcome.value,
                message=drift.message,
                at=now(),
                published=step.action is Action.BUILD,
            )
            self._health.set(reconciled=reconciled)
        if checked.gap is not None:
            newest = self._seen().as_of
            if newest is not None and checked.as_of < newest:
                self._gap(
                    f"the store was rolled back to data of {checked.as_of:%Y-%m-%dT%H:%MZ}: what "
                    f"had been applied up to {newest:%Y-%m-%dT%H:%MZ} is not applied again, and "
                    "later windows cannot follow",
                    ROLLBACK_HINT,
                )
            else:
                self._gap(checked.gap.message, GAP_HINT)

    def _open_plan(self) -> list[Path]:
        """Return the files that ``--plan`` names.

        Raises FeedError where the current snapshot was built with an open plan and none is named:
        every fixed line would become an unallocated number.
        """
        if self._options.plan:
            return input_files(self._options.plan)
        sources: Sequence[SnapshotSource] = ()
        with contextlib.suppress(StoreError):
            sources = self._current().sources
        others = [source for source in sources if source.layer == "ranges"]
        names = [each.name for each in others if each.registry != self._layout.registry]
        if names:
            raise FeedError(
                f"the current snapshot was built with {', '.join(names)}, which this feed lacks",
                hint="Give the open numbering plan with --plan; to do without it, build once "
                "by hand with --allow plan_shrinkage",
            )
        return []

    def _record_drift(self, dump: str, checked: Checked) -> None:
        """Record in history and log how a full dump differs from what increments made."""
        finding, drift = _drift(checked), checked.drift
        facts = {
            "dump": dump,
            "as_of": checked.as_of.isoformat(),
            "outcome": finding.outcome.value,
            "message": finding.message,
            "drift": None if drift is None else dataclasses.asdict(drift),
            "asked_by": self._options.asked_by,
        }
        with writing(self._store) as writer:
            writer.reconciled(self._store.current_id() if drift is None else drift.against, facts)
        if finding.outcome is Outcome.FAILED:
            self._log.warning("drift", dump=dump, reason=finding.message, remedy=finding.hint)
        else:
            self._log.info("dump compared", dump=dump, result=finding.message)

    def _gap(self, reason: str, remedy: str) -> None:
        if self._health.gap(reason, remedy):
            self._log.warning("gap", reason=reason, remedy=remedy)

    def _key(self, step: Step) -> str:
        """Identify the deliveries, the snapshot they would follow, and what is allowed."""
        deliveries = [f"{file.name} {self._identity(file.name)}" for file in step.files]
        try:
            current = self._store.current_id()
        except StoreError:
            current = ""
        text = "\n".join([*deliveries, current, *sorted(self._options.approval.allowed)])
        return hashlib.sha256(text.encode()).hexdigest()

    def _identity(self, name: str) -> str:
        """Return size and time of a spooled file, which are those of its delivery."""
        status = (self._options.spool / name).stat()
        return f"{status.st_size}-{status.st_mtime_ns}"

    def _given_up(self, day: Batch) -> bool:
        return now() - self._arrived(day.files[0]) > self._options.patience

    def _arrived(self, file: DeliveredFile) -> datetime:
        return datetime.fromtimestamp((self._options.spool / file.name).stat().st_ctime, UTC)

    def _report(self) -> None:
        """Record what the feed is waiting for, and log it when it is new."""
        seen = self._seen()
        batches = Deliveries(self._arrivals.spooled(), seen, self._layout).batches
        if not any(_is_window(batch) for batch in batches):
            self._health.set(gap=None)
        waiting = [*self._arrivals.unsettled, *self._waiting(batches)]
        listed = self._arrivals.listed.values()
        increments = seen.as_of and any(file.role is Role.WINDOW for file in listed)
        self._health.set(
            waiting=tuple(waiting),
            dump_expected_at=seen.dump and seen.dump + self._layout.dump_every,
            window_expected_at=seen.as_of + self._layout.window_every
            if seen.as_of and increments
            else None,
        )
        names = tuple(each.name for each in waiting)
        if names and names != self._waiting_logged:
            self._log.info("waiting", files=[f"{each.name}: {each.reason}" for each in waiting])
        self._waiting_logged = names
        self._health.write()

    def _waiting(self, batches: Iterable[Batch]) -> Iterator[Waiting]:
        """Yield each whole file that is neither applied nor refused, and why."""
        state = self._health.state
        others = {name for entry in state.refused for name in entry.names}
        others.update(each.name for each in self._arrivals.unsettled)
        for batch in batches:
            if batch.missing:
                reason = f"{' and '.join(batch.missing)} of the same time must come too"
            elif _is_window(batch) and state.gap:
                reason = "it cannot follow: see the gap"
            elif _is_window(batch) and state.refused:
                reason = "a file before it was refused"
            else:
                reason = "it is not applied yet"
            for file in batch.files:
                if file.name not in others:
                    yield Waiting(name=file.name, reason=reason, since=self._arrived(file))

    def _wait_seconds(self, error: Exception | None) -> float:
        """Return how long to wait before the next poll: trouble with one file delays no other."""
        if error is self._arrivals.trouble:
            error = None
        if error is None and self._arrivals.unsettled:
            return min(self._interval_seconds, self._options.settle_seconds)
        return super()._wait_seconds(error)


def _is_window(batch: Batch) -> bool:
    return batch.files[0].role is Role.WINDOW


def _drift(checked: Checked) -> Finding:
    return next(finding for finding in checked.findings if finding.check == "drift")
