"""From registry files to a published snapshot: read, merge or patch, judge, publish.

Full files become content that replaces the current snapshot, increments a patch of it. Both take
the same way through the gate and into the store.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING

from numroute.errors import NoSnapshotError, SettingError, SnapshotCorruptError, StoreError
from numroute.index import Patch, Patched, writing
from numroute_loader.candidates import Judging, built, patched, read_expectations
from numroute_loader.gate import GateError, judge
from numroute_loader.gate.findings import documents, read_back
from numroute_loader.gate.limits import Approval
from numroute_loader.increments.windows import GapError
from numroute_loader.inputs import files_before, opened, source_of
from numroute_loader.registries import INCREMENTS, load_limits

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from numroute.index import Content, Metadata, Snapshot, SnapshotStore
    from numroute_loader.candidates import Checked
    from numroute_loader.gate import Evidence, GateLimits
    from numroute_loader.inputs import FileProgress, InputFile

_NOTHING_ALLOWED = Approval()


def check(
    inputs: Sequence[InputFile],
    store: SnapshotStore | None = None,
    approval: Approval = _NOTHING_ALLOWED,
    *,
    increments: bool | None = None,
    as_of: datetime | None = None,
    limits: GateLimits | None = None,
    progress: FileProgress | None = None,
) -> Checked:
    """Read the files and judge what they make of the store's current snapshot; publish nothing.

    ``approval`` says what they are judged by; a full dump with a defect that it allows is read.
    ``increments``: whether the files must be increments, or must be full files; None accepts both.
    Increments may be of any number of windows, in any order; those applied already are skipped, and
    what follows a gap is left. ``as_of`` is the time up to which full files are known, by default
    the time in the dump's name. ``limits`` replace those of the registry and the approval.

    Raises InputError or SettingError when a file or the set of files is wrong, ChainError when
    increments cannot follow the current snapshot, NoSnapshotError when there is none for them.
    """
    # Settings and all first lines are looked at before the first file is read: errors come early.
    facts: Evidence | None
    with opened(inputs) as files:
        judging = Judging(
            approval=approval,
            limits=limits or load_limits(approval.limits, [file.kind.registry for file in files]),
            expectations=read_expectations(approval.expect) if approval.expect else None,
            seen=files_before(store),
            as_of=as_of,
            progress=progress,
        )
        if increments is None:
            increments = any(file.kind.name in INCREMENTS for file in files)
        if not increments:
            with current_of(store) as current:
                checked, facts = built(files, current, judging)
        elif store is None:
            reason = "increments change a snapshot: without one there is nothing to judge"
            raise SettingError(reason, hint="Give --store DIR")
        elif as_of is not None:
            hint = "The names of increments state their times"
            raise SettingError("--as-of is not for increments", hint=hint)
        else:
            with store.open() as snapshot:
                checked, facts = patched(files, snapshot, judging)
    if facts is None:
        return checked
    return replace(checked, findings=judge(facts, judging.limits, allowed=approval.allowed))


def publish(
    store: SnapshotStore, checked: Checked, *, asked_by: str = "", reason: str = ""
) -> Metadata:
    """Publish what was checked as the store's current snapshot, and return its metadata.

    Where nothing needs to be applied, nothing is published, and the metadata are those of the
    current snapshot. ``asked_by`` and ``reason`` (why a failed check was allowed) are recorded in
    the history.

    Raises GapError when a gap leaves nothing to apply, GateError when a check failed, StoreError
    when the current snapshot has changed since the check, StoreBusyError or StoreAccessError.
    """
    if checked.new is None:
        if checked.gap is not None:
            raise GapError(checked.gap)
        with store.open(checked.base_id) as snapshot:
            return snapshot.metadata
    if not checked.passed:
        raise GateError(checked.findings)
    with writing(store) as writer, current_of(store) as current:
        current_id = current.metadata.snapshot_id if current is not None else ""
        new, sources = checked.new, [source_of(file) for file in checked.files]
        # Content may replace a snapshot that can no longer be read; a patch needs its own.
        if current_id != checked.base_id and (current_id or isinstance(new, Patch)):
            raise StoreError(
                store.path,
                f"the current snapshot was {checked.base_id or 'none'} when the files were "
                f"read, and is {current_id or 'none'} now",
                hint="Run the command again: the files must be judged against what they replace",
            )
        if isinstance(new, Patch) and current is not None:
            whole: Content | Patched = Patched(base=current, patch=new)
            sources = [*current.metadata.sources, *sources]
        elif not isinstance(new, Patch):
            whole = new
        return writer.publish(
            whole,
            as_of=checked.as_of,
            sources=sources,
            counts=checked.counts,
            gate=documents(read_back(checked.findings), reason=reason),
            changes=checked.changes if current_id else None,
            asked_by=asked_by,
            reason=reason,
        )


@contextlib.contextmanager
def current_of(store: SnapshotStore | None) -> Iterator[Snapshot | None]:
    """Open the store's current snapshot, the latest one that opens where it is damaged.

    A store whose current snapshot is damaged must be able to get a good one, judged against the
    last good one; None where there is none. One that cannot be read for another reason must not be
    compared with nothing: raises StoreError.
    """
    with _latest_of(store) or contextlib.nullcontext() as snapshot:
        yield snapshot


def _latest_of(store: SnapshotStore | None) -> Snapshot | None:
    if store is None:
        return None
    with contextlib.suppress(NoSnapshotError, SnapshotCorruptError):
        return store.open()
    return store.open_last()
