"""From files in the spool to a published snapshot, by the same code as the commands."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from numroute.errors import FeedError, InputError, StoreError
from numroute.index import history, writing
from numroute_loader import pipeline
from numroute_loader.feeds.order import Action, Seen
from numroute_loader.gate.limits import Approval
from numroute_loader.inputs import InputFile, input_files
from numroute_loader.reading.delivery import Role
from numroute_loader.registries import INCREMENTS, recognise

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from numroute.index import Metadata, SnapshotStore
    from numroute_loader.feeds.order import Step
    from numroute_loader.gate import Finding
    from numroute_loader.increments.windows import Gap
    from numroute_loader.pipeline import Checked
    from numroute_loader.reading.delivery import FeedLayout

INTERVAL_SECONDS = 60.0
"""How often the source is listed by default. Files come every two hours."""

SETTLE_SECONDS = 5.0
"""How long size and time of a file must stay the same before it is taken to be whole."""

PATIENCE = timedelta(minutes=90)
"""How long the windows of a new day wait for the rest of a full dump that has come in part."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchOptions:
    """Settings of a watcher.

    ``plan``: files of the open numbering plan that are read with every full dump. ``approval``: as
    ``build`` takes it. ``consume``: remove delivered files once they are no longer needed.
    ``asked_by`` is recorded in the history. ``push``: send the current snapshot to the replicas
    and return its id; called when another snapshot has become current.
    """

    spool: Path
    interval_seconds: float = INTERVAL_SECONDS
    settle_seconds: float = SETTLE_SECONDS
    patience: timedelta = PATIENCE
    plan: Sequence[Path] = ()
    approval: Approval = field(default_factory=Approval)
    consume: bool = False
    asked_by: str = ""
    push: Callable[[], str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """The result of a step: the snapshot published from these files, and what is missing.

    ``drift``: how a full dump differs from the state that increments made.
    """

    metadata: Metadata | None
    names: tuple[str, ...] = ()
    gap: Gap | None = None
    drift: Finding | None = None


class Publisher:
    """Takes the steps of one feed's store."""

    def __init__(self, store: SnapshotStore, layout: FeedLayout, options: WatchOptions) -> None:
        """Prepare for the steps of a feed that ``layout`` describes."""
        self._store = store
        self._layout = layout
        self._options = options

    def seen(self) -> Seen:
        """Return how far the store is, from its history and its current snapshot.

        Everything that was ever current counts: after a rollback the files that led to the bad
        snapshot are not applied again. Where the current snapshot cannot be opened nothing counts:
        the newest full dump will repair the store.
        """
        try:
            with self._store.open() as snapshot:
                metadata = snapshot.metadata
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
        return Seen(as_of=max(times), dump=max(self._dump_times(names), default=None))

    def publish(self, step: Step) -> Published:
        """Take a step; increments are applied up to the first gap.

        Raises InputError, GateError, ChainError, FeedError or StoreError.
        """
        checked = self._checked(step)
        if step.action is Action.RECONCILE:
            return self._reconciled(step, checked)
        if checked.new is None:
            return Published(metadata=None, gap=checked.gap)
        metadata = pipeline.publish(
            self._store,
            checked,
            asked_by=self._options.asked_by,
            reason=self._options.approval.reason,
        )
        read = {file.source.path.name for file in checked.files}
        return Published(
            metadata=metadata,
            names=tuple(file.name for file in step.files if file.name in read),
            gap=checked.gap,
            drift=_drift(checked) if step.action is Action.BUILD else None,
        )

    def _checked(self, step: Step) -> Checked:
        inputs = [
            InputFile(path=self._options.spool / file.name, kind=self._layout.types[file.type][1])
            for file in step.files
        ]
        increments = step.action is Action.APPLY
        if not increments:
            self._keep_open_plan()
            inputs += self._open_plan()
        return pipeline.check(inputs, self._store, self._options.approval, increments=increments)

    def _reconciled(self, step: Step, checked: Checked) -> Published:
        """Record in the history how a full dump differs from what increments made."""
        finding, drift = _drift(checked), checked.drift
        facts = {
            "dump": step.files[0].name,
            "as_of": checked.as_of.isoformat(),
            "outcome": finding.outcome.value,
            "message": finding.message,
            "drift": None if drift is None else dataclasses.asdict(drift),
            "asked_by": self._options.asked_by,
        }
        with writing(self._store) as writer:
            writer.reconciled(self._store.current_id() if drift is None else drift.against, facts)
        return Published(
            metadata=None, names=tuple(file.name for file in step.files), drift=finding
        )

    def _dump_times(self, names: Iterable[str]) -> Iterable[datetime]:
        for name in names:
            file = self._layout.parse(name)
            if file is not None and file.role is Role.DUMP:
                yield file.time

    def _open_plan(self) -> list[InputFile]:
        """Return the files that ``--plan`` names; raises InputError for an increment."""
        files = input_files([str(path) for path in self._options.plan])
        for each in files:
            if recognise(each.path, each.kind).name in INCREMENTS:
                raise InputError(
                    each.path,
                    "the file is an increment, and `--plan` names it",
                    hint="Give `--plan` the files of the open numbering plan, or a folder with "
                    "nothing else",
                )
        return files

    def _keep_open_plan(self) -> None:
        """Refuse to lose the open numbering plan that the current snapshot was built with.

        Without it every fixed line would become an unallocated number. The gate would refuse that
        too, but later and without naming what is missing.
        """
        if self._options.plan:
            return
        try:
            with self._store.open() as snapshot:
                sources = snapshot.metadata.sources
        except StoreError:
            return
        others = [
            source.name
            for source in sources
            if source.registry != self._layout.registry and source.layer == "ranges"
        ]
        if others:
            raise FeedError(
                f"the current snapshot was built with {', '.join(others)}, which this feed lacks",
                hint="Give the open numbering plan with --plan; to do without it, build once "
                "by hand with --allow plan_shrinkage",
            )


def _drift(checked: Checked) -> Finding:
    return next(finding for finding in checked.findings if finding.check == "drift")
