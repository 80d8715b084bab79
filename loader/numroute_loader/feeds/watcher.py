"""The watcher: it lists a source, fetches files, decides what comes next, and publishes."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from numroute.errors import FeedError, InputError, StoreError
from numroute.feed import Reconciled, Refused, Waiting
from numroute.index import history, writing
from numroute.logs import error_fields
from numroute_loader import pipeline
from numroute_loader.feeds.arrivals import Arrivals
from numroute_loader.feeds.loop import Feed, Health, now
from numroute_loader.feeds.order import Action, Batch, Deliveries, Seen, Step
from numroute_loader.feeds.sources import Source
from numroute_loader.gate.findings import GateError, Outcome
from numroute_loader.gate.limits import Approval
from numroute_loader.increments import GAP_HINT, ChainError
from numroute_loader.inputs import input_files
from numroute_loader.pipeline import Checked
from numroute_loader.reading.description import DeliveredFile, FeedLayout, Role

PATIENCE = timedelta(minutes=90)
"""How long the windows of a new day wait for the rest of a full dump that has come in part."""

SPOOL = "spool"
"""The folder in the store for local copies until they are built in."""

ONCE_ROUNDS_MAX = 3
"""How often a single run looks again for files that were still being uploaded."""


@dataclass(kw_only=True)
class Watcher(Feed):
    """Keeps one store up to date from one source.

    ``settle_seconds``: how long a file must stay unchanged to be whole. ``plan``: files of the open
    numbering plan that are read with every full dump. ``approval``: as ``build`` takes it.
    ``asked_by`` is recorded in the history. ``push``: send the current snapshot to the replicas and
    return its id; called when another snapshot has become current.
    """

    source: Source
    layout: FeedLayout
    settle_seconds: float
    plan: Sequence[Path]
    approval: Approval
    asked_by: str
    push: Callable[[], str] | None

    def __post_init__(self) -> None:
        """Continue from the spool and the store's health record."""
        self._health = Health(self.store.path, self.source.name)
        self._arrivals = Arrivals(
            layout=self.layout,
            spool=self.store.path / SPOOL,
            health=self._health,
            log=self.log,
            settle_seconds=self.settle_seconds,
        )
        self._tried: set[str] = {entry.key for entry in self._health.state.refused}
        self._seen = Seen()
        self._waiting_logged: tuple[str, ...] = ()
        self._pushed = ""

    def once(self) -> bool:
        """Do what there is to do and return whether all is well.

        Files that were still being uploaded at first get a moment to settle.
        """
        for _ in range(ONCE_ROUNDS_MAX):
            if self.poll() is not None or not self._arrivals.unsettled:
                break
            time.sleep(self.settle_seconds)
        return self._health.state.healthy

    def _work(self) -> None:
        """Take step after step until no file in the spool leads any further."""
        self._seen = self._read_seen()
        with self.source.session():
            self._arrivals.fetch(self.source, self._seen)
        while (step := self._next_step()) is not None:
            self._take(step)
            self._seen = self._read_seen()
        if self.push is not None and self._current_id() not in ("", self._pushed):
            # Also one rolled back to by hand.
            self._pushed = self.push()
            self.log.info("snapshot pushed", snapshot=self._pushed)
        if self._arrivals.trouble is not None:
            raise self._arrivals.trouble

    def _next_step(self) -> Step | None:
        self._arrivals.clear(self._seen)
        return self._deliveries().next_step(
            blocked=lambda step: self._key(step) in self._tried,
            given_up=lambda day: now() - self._arrived(day.files[0]) > PATIENCE,
        )

    def _deliveries(self) -> Deliveries:
        return Deliveries(self._arrivals.spooled(), self._seen, self.layout)

    def _read_seen(self) -> Seen:
        """Return how far the store is, from its history and its current snapshot.

        Everything that was ever current counts: after a rollback the files that led to the bad
        snapshot are not applied again. Where the current snapshot cannot be opened nothing counts:
        the newest full dump will repair the store.
        """
        try:
            with self.store.open() as snapshot:
                metadata = snapshot.metadata
        except StoreError:
            return Seen()
        times = [metadata.as_of]
        names = [source.name for source in metadata.sources]
        recorded = self.store.read_history()
        were_current = {moment.snapshot for moment in self.store.moments(recorded)}
        for entry in recorded.entries:
            if entry["event"] in history.BRINGS and entry["snapshot"] in were_current:
                times.append(datetime.fromisoformat(entry["as_of"]))
                names += [source["name"] for source in entry.get("sources", ())]
            elif entry["event"] == history.RECONCILED:
                names.append(entry["dump"])
        files = (self.layout.parse(name) for name in names)
        dumps = (file.time for file in files if file is not None and file.role is Role.DUMP)
        return Seen(as_of=max(times), dump=max(dumps, default=None))

    def _current_id(self) -> str:
        try:
            return self.store.current_id()
        except StoreError:
            return ""

    def _take(self, step: Step) -> None:
        key = self._key(step)
        names = tuple(file.name for file in step.files)
        try:
            self._publish(step, names)
        except GateError as error:
            if len(step.batches) > 1:
                # One bad window must not keep the good ones before it from being applied.
                first = Step(Action.APPLY, step.batches[:1])
                if self._key(first) not in self._tried:
                    self._take(first)
            else:
                refused = Refused(
                    names=names, checks=error.checks, message=error.message, at=now(), key=key
                )
                self._health.refuse(refused)
                fields = error_fields(error)
                self.log.error("files refused", files=names, checks=error.checks, **fields)  # noqa: TRY400 - a trace could quote a number
        except ChainError as error:
            # Increments cannot follow the current snapshot: only a full dump leads any further.
            self._gap(error.message, error.hint)
        except InputError as error:
            name = Path(error.path).name
            if name not in names:
                raise
            identity = self._arrivals.identity(name)
            self._arrivals.put_aside(self._arrivals.spool / name, identity, error.reason)
            return
        self._tried.add(key)
        self._health.write()

    def _publish(self, step: Step, names: tuple[str, ...]) -> None:
        """Take a step by the same code as the commands; increments go up to the first gap."""
        inputs = [self._arrivals.spool / name for name in names]
        increments = step.action is Action.APPLY
        if not increments:
            inputs += self._open_plan()
        checked = pipeline.check(inputs, self.store, self.approval, increments=increments)
        read = {file.source.path.name for file in checked.files}
        used = [name for name in names if name in read]
        if step.action is not Action.RECONCILE and checked.new is not None:
            metadata = pipeline.publish(
                self.store, checked, asked_by=self.asked_by, reason=self.approval.reason
            )
            self._health.set(
                published_at=now(), snapshot_id=metadata.snapshot_id, as_of=metadata.as_of, gap=None
            )
            self.log.info(
                "snapshot published",
                snapshot=metadata.snapshot_id,
                as_of=metadata.as_of.isoformat(),
                files=used,
                ported=metadata.counts.get("ported", 0),
            )
        self._health.forget(used)
        if not increments:
            self._compare(names[0], checked, published=step.action is Action.BUILD)
        if checked.gap is not None:
            self._gap(checked.gap.message, GAP_HINT)

    def _open_plan(self) -> list[Path]:
        """Return the files of ``--plan``.

        Raises FeedError where there are none and the current snapshot was built with some: their
        numbers would become unallocated, unnoticed by the gate where they are few.
        """
        if not self.plan:
            with contextlib.suppress(StoreError), self.store.open() as snapshot:
                for source in snapshot.metadata.sources:
                    if source.layer == "ranges" and source.registry != self.layout.registry:
                        raise FeedError(
                            f"the current snapshot was built with {source.name}, which this feed "
                            "lacks",
                            hint="Give the open numbering plan with --plan; to do without it, "
                            "build once by hand with --allow plan_shrinkage",
                        )
        return input_files(self.plan)

    def _compare(self, dump: str, checked: Checked, *, published: bool) -> None:
        """Record how a full dump differs from what increments made.

        A publication's record in the history says it already.
        """
        (finding,) = (each for each in checked.findings if each.check == "drift")
        told = {"dump": dump, "outcome": finding.outcome.value, "message": finding.message}
        if not published:
            with writing(self.store) as writer:
                writer.record(
                    history.RECONCILED,
                    checked.base_id,
                    **told,
                    as_of=checked.as_of.isoformat(),
                    drift=checked.drift and dataclasses.asdict(checked.drift),
                    asked_by=self.asked_by,
                )
            if finding.outcome is Outcome.FAILED:
                self.log.warning("drift", dump=dump, reason=finding.message, remedy=finding.hint)
            else:
                self.log.info("dump compared", dump=dump, result=finding.message)
        self._health.set(reconciled=Reconciled(**told, at=now(), published=published))

    def _gap(self, reason: str, remedy: str) -> None:
        before = self._health.state.gap
        self._health.trouble("gap", reason, remedy)
        if before is None or before.message != reason:
            self.log.warning("gap", reason=reason, remedy=remedy)

    def _key(self, step: Step) -> str:
        """Identify the deliveries, the current snapshot, what is allowed, and the open plan."""
        deliveries = [f"{file.name} {self._arrivals.identity(file.name)}" for file in step.files]
        by = [*sorted(self.approval.allowed), *map(str, self.plan)]
        text = "\n".join([*deliveries, self._current_id(), *by])
        return hashlib.sha256(text.encode()).hexdigest()

    def _arrived(self, file: DeliveredFile) -> datetime:
        return datetime.fromtimestamp((self._arrivals.spool / file.name).stat().st_ctime, UTC)

    def _report(self) -> None:
        """Record what the feed is waiting for, and log it when it is new."""
        deliveries = self._deliveries()
        if not deliveries.windows:
            self._health.set(gap=None)
        waiting = (*self._arrivals.unsettled, *self._waiting(deliveries.batches))
        dump, window = self._seen.dump, self._seen.as_of
        if not any(file.role is Role.WINDOW for file in self._arrivals.listed.values()):
            window = None
        self._health.set(
            waiting=waiting,
            dump_expected_at=dump and dump + self.layout.dump_every,
            window_expected_at=window and window + self.layout.window_every,
        )
        names = tuple(each.name for each in waiting)
        if names and names != self._waiting_logged:
            self.log.info("waiting", files=[f"{each.name}: {each.reason}" for each in waiting])
        self._waiting_logged = names
        self._health.write()

    def _waiting(self, batches: Sequence[Batch]) -> Iterator[Waiting]:
        """Yield each whole file that is neither applied nor refused, and why."""
        others = {name for entry in self._health.state.refused for name in entry.names}
        others.update(each.name for each in self._arrivals.unsettled)
        for batch in batches:
            reason = "what precedes it is missing or was refused, or it is not applied yet"
            if batch.missing:
                reason = f"{' and '.join(batch.missing)} of the same time must come too"
            for file in batch.files:
                if file.name not in others:
                    yield Waiting(name=file.name, reason=reason, since=self._arrived(file))

    def _wait_seconds(self, error: Exception | None) -> float:
        """Return how long to wait before the next poll: trouble with one file delays no other."""
        if error is self._arrivals.trouble:
            error = None
        if error is None and self._arrivals.unsettled:
            return min(self.interval_seconds, self.settle_seconds)
        return super()._wait_seconds(error)
