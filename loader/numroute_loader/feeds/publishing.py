"""From files in the spool to a published snapshot, by the same way as the commands."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from numroute.errors import FeedError, InputError, StoreError
from numroute_loader import applying
from numroute_loader import build as building
from numroute_loader.inputs import InputFile, input_files
from numroute_loader.sequence import files_before

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numroute.index import Metadata, SnapshotStore
    from numroute_loader.build import Checked
    from numroute_loader.feeds.layout import DeliveredFile, FeedLayout
    from numroute_loader.feeds.options import WatchOptions
    from numroute_loader.feeds.order import Apply, Build, Reconcile
    from numroute_loader.gate import Finding
    from numroute_loader.increments.windows import Gap


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What a step led to: a snapshot of these files or none, and what the rest lacks.

    ``drift``: how a full dump differs from the state that increments made.
    """

    metadata: Metadata | None
    names: tuple[str, ...] = ()
    gap: Gap | None = None
    drift: Finding | None = None


def publish_build(
    store: SnapshotStore, step: Build, layout: FeedLayout, options: WatchOptions
) -> Published:
    """Build a day's files into the store's current snapshot.

    Raises InputError, GateError, FeedError or StoreError.
    """
    checked = _checked(store, step, layout, options)
    metadata = building.publish(
        store, checked, asked_by=options.asked_by, reason=options.terms.reason
    )
    names = tuple(file.name for file in step.files)
    return Published(metadata=metadata, names=names, drift=_drift(checked))


def reconcile(
    store: SnapshotStore, step: Reconcile, layout: FeedLayout, options: WatchOptions
) -> Published:
    """Tell the history how a full dump differs from what increments made; publish nothing.

    Raises InputError, FeedError or StoreError.
    """
    checked = _checked(store, step, layout, options)
    found, drift = _drift(checked), checked.drift
    facts = {
        "dump": step.day.dump.name,
        "as_of": checked.as_of.isoformat(),
        "outcome": found.outcome.value,
        "message": found.message,
        "drift": None if drift is None else dataclasses.asdict(drift),
        "asked_by": options.asked_by,
    }
    with store.writing() as writer:
        writer.reconciled(store.current_id() if drift is None else drift.against, facts)
    return Published(metadata=None, names=tuple(file.name for file in step.files), drift=found)


def publish_windows(
    store: SnapshotStore, step: Apply, layout: FeedLayout, options: WatchOptions
) -> Published:
    """Apply windows of increments to the store's current snapshot, as far as there is no gap.

    Raises InputError, GateError, ChainError or StoreError.
    """
    checked = options.terms.check_increments(store, _inputs(step.files, layout, options))
    if checked.patch is None:
        return Published(metadata=None, gap=checked.gap)
    metadata = applying.publish_increments(
        store, checked, asked_by=options.asked_by, reason=options.terms.reason
    )
    names = tuple(file.source.path.name for file in checked.files)
    return Published(metadata=metadata, names=names, gap=checked.gap)


def _checked(
    store: SnapshotStore, step: Build | Reconcile, layout: FeedLayout, options: WatchOptions
) -> Checked:
    _keep_open_plan(store, layout, options)
    inputs = _inputs(step.files, layout, options)
    inputs += _open_plan(options)
    with building.current_of(store) as current:
        return options.terms.check(inputs, current=current, seen=files_before(store))


def _drift(checked: Checked) -> Finding:
    return next(finding for finding in checked.findings if finding.check == "drift")


def _inputs(
    files: Sequence[DeliveredFile], layout: FeedLayout, options: WatchOptions
) -> list[InputFile]:
    return [
        InputFile(path=options.spool / file.name, kind=layout.types[file.type][1]) for file in files
    ]


def _open_plan(options: WatchOptions) -> list[InputFile]:
    """Return the files that `--plan` names; InputError for an increment among them."""
    files = input_files([str(path) for path in options.plan])
    for each in files:
        if applying.increments_among([each]):
            raise InputError(
                each.path,
                "the file is an increment, and `--plan` names it",
                hint="Give `--plan` the files of the open numbering plan, or a folder with "
                "nothing else",
            )
    return files


def _keep_open_plan(store: SnapshotStore, layout: FeedLayout, options: WatchOptions) -> None:
    """Refuse to lose the open numbering plan that the current snapshot was built with.

    Without it every fixed line would turn into an unallocated number. The gate would refuse that
    too, only later and without naming what lacks.
    """
    if options.plan:
        return
    try:
        with store.open() as snapshot:
            sources = snapshot.metadata.sources
    except StoreError:
        return
    others = [
        source.name
        for source in sources
        if source.registry != layout.registry and source.layer == "ranges"
    ]
    if others:
        raise FeedError(
            f"the current snapshot was built with {', '.join(others)}, which this feed lacks",
            hint="Give the open numbering plan with --plan; to do without it, build once "
            "by hand with --allow plan_shrinkage",
        )
