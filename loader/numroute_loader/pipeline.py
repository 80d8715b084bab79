"""From registry files to a published snapshot: read, merge or patch, judge, publish.

Full files become content that replaces the current snapshot, increments a patch of it. Both take
the same way through the gate and into the store.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np

from numroute.errors import (
    InputError,
    NoSnapshotError,
    SettingError,
    SnapshotCorruptError,
    StoreError,
)
from numroute.index import Changes, Patch, Patched, writing
from numroute.index.compare import difference, effect_of
from numroute_loader.brands import load_brands, load_regions
from numroute_loader.facts import changes_of, facts_of_build, facts_of_increments, read_expectations
from numroute_loader.gate import GateError, judge
from numroute_loader.gate.findings import documents, passed, read_back
from numroute_loader.gate.limits import Approval
from numroute_loader.increments.patching import net_changes, patch_of
from numroute_loader.increments.windows import GapError, arrange, position_of
from numroute_loader.inputs import files_before, opened, read_input, source_of
from numroute_loader.merge import merge
from numroute_loader.reading.description import Tolerance
from numroute_loader.reading.rows import ROWS_MAX
from numroute_loader.registries import CHAINS, INCREMENTS, load_limits

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numroute.index import Content, Metadata, Snapshot, SnapshotStore
    from numroute.index.compare import Effect
    from numroute_loader.facts import Expectation
    from numroute_loader.gate import Evidence, Finding, GateLimits
    from numroute_loader.gate.evidence import Drift
    from numroute_loader.increments.patching import NetChanges
    from numroute_loader.increments.windows import Gap, Skipped
    from numroute_loader.inputs import FileProgress, InputFile
    from numroute_loader.merge import MergeReport
    from numroute_loader.reading.description import ParsedFile, RegistryFile

RANGE_HOLDERS = "range_holders_changed"
"""The count of the plan's numbers with another range holder than in the snapshot before."""

_NOTHING_ALLOWED = Approval()


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """The result of reading and judging files: everything short of publishing.

    ``base_id``: the snapshot that it was compared with; empty where none could be read. ``new``:
    what publishing writes, None where increments leave nothing to apply. ``counts``: those of the
    new snapshot. ``changes``: what differs from the old one, None where it has no ported numbers.

    Of a build: the ``report`` of the merge, and the ``drift`` of increments. Of increments: the
    sequences of the ``windows`` to apply, the ``skipped`` files, the ``gap`` before the others, and
    the ``effect``, number by number.
    """

    files: tuple[ParsedFile, ...]
    as_of: datetime
    new: Content | Patch | None
    counts: Mapping[str, int]
    base_id: str = ""
    changes: Changes | None = None
    warnings: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    report: MergeReport | None = None
    drift: Drift | None = None
    windows: tuple[int, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    gap: Gap | None = None
    effect: Effect | None = None

    @property
    def passed(self) -> bool:
        """Whether no check failed that was not allowed to."""
        return passed(self.findings)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Judging:
    """What files are read and judged with."""

    approval: Approval
    limits: GateLimits
    expectations: Sequence[Expectation] | None
    seen: Mapping[str, str]
    as_of: datetime | None
    progress: FileProgress | None


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
        judging = _Judging(
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
                checked, facts = _built(files, current, judging)
        elif store is None:
            reason = "increments change a snapshot: without one there is nothing to judge"
            raise SettingError(reason, hint="Give --store DIR")
        elif as_of is not None:
            hint = "The names of increments state their times"
            raise SettingError("--as-of is not for increments", hint=hint)
        else:
            with store.open() as snapshot:
                checked, facts = _patched(files, snapshot, judging)
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
    for snapshot_id in dict.fromkeys(each.snapshot for each in reversed(store.moments())):
        with contextlib.suppress(StoreError):
            return store.open(snapshot_id)
    return None


def _built(
    opened_files: Sequence[RegistryFile], current: Snapshot | None, judging: _Judging
) -> tuple[Checked, Evidence]:
    """Return what full files make, not yet judged, and the facts to judge."""
    for file in opened_files:
        if file.kind.name in INCREMENTS:
            bases = ", ".join(base for chain in CHAINS for base in chain.bases)
            reason = "the file is an increment; a snapshot is built from full dumps"
            hint = f"Give a full dump ({bases}) to `build`, and increments to `apply`"
            raise InputError(file.path, reason, hint=hint)
    tolerance = Tolerance(
        rejected_rows=ROWS_MAX
        if "rejected_rows" in judging.approval.allowed
        else judging.limits.rejected_rows,
        row_count="row_count" in judging.approval.allowed,
        duplicates="duplicates" in judging.approval.allowed,
    )
    files = tuple(read_input(file, judging.progress, tolerance) for file in opened_files)
    merged = merge(files, brands=load_brands(judging.approval.brands), regions=load_regions())
    report = merged.report
    as_of, warning = (judging.as_of, "") if judging.as_of else _as_of(files)
    changed = None
    if current is not None and current.ported_count:
        changed = difference(current, merged.content)
    facts = facts_of_build(
        files,
        merged,
        as_of=as_of,
        current=current,
        changed=changed,
        seen=judging.seen,
        expectations=judging.expectations,
    )
    checked = Checked(
        files=files,
        as_of=as_of,
        new=merged.content,
        counts={
            "ported": report.ported,
            "returned_home": report.returned_home,
            "ranges": report.ranges,
            "range_numbers": report.range_numbers,
            "operators": report.operators,
            "routes": report.routes,
            **({RANGE_HOLDERS: facts.range_holders.changed} if facts.range_holders else {}),
        },
        base_id=current.metadata.snapshot_id if current is not None else "",
        changes=changed.changes if changed is not None else None,
        warnings=(*report.warnings, *([warning] if warning else [])),
        report=report,
        drift=facts.drift,
    )
    return checked, facts


def _patched(
    opened_files: Sequence[RegistryFile], snapshot: Snapshot, judging: _Judging
) -> tuple[Checked, Evidence | None]:
    """Return what increments make of a snapshot, not yet judged, and the facts to judge."""
    metadata = snapshot.metadata
    position = position_of(metadata)
    for file in opened_files:
        if file.kind.name not in INCREMENTS:
            reason = f"the file is not an increment ({file.kind.name})"
            hint = "Full dumps, plans and operator tables go to `numroute-load build`"
            raise InputError(file.path, reason, hint=hint)
    arranged = arrange(opened_files, position)
    windows = [
        [read_input(file, judging.progress) for file in window] for window in arranged.windows
    ]
    files = tuple(file for window in windows for file in window)
    net = net_changes([[file.increment for file in window if file.increment] for window in windows])
    patch = patch_of(
        net,
        snapshot,
        brands=load_brands(judging.approval.brands),
        regions=load_regions(),
        # The files become sources behind those that the snapshot has.
        source=(net.file + len(metadata.sources)).astype(np.uint32),
    )
    effect = effect_of(patch, snapshot)
    times = [file.source.as_of for file in files if file.source.as_of is not None]
    as_of = max(times, default=metadata.as_of)
    warnings = [*(warning for file in files for warning in file.warnings), *_undecided(net)]
    facts = None
    if files:
        facts = facts_of_increments(
            files,
            snapshot,
            patch,
            effect,
            as_of=as_of,
            seen=judging.seen,
            expectations=judging.expectations,
        )
        if facts.unknown_operators:
            named = ", ".join(map(str, facts.unknown_operators))
            warnings.append(f"the operator table lacks {named}: the next one should name them")
    checked = Checked(
        files=files,
        as_of=as_of,
        new=patch if files else None,
        counts={
            **{name: count for name, count in metadata.counts.items() if name != RANGE_HOLDERS},
            "ported": effect.ported_after,
            "routes": len(patch.routes),
        },
        base_id=metadata.snapshot_id,
        changes=changes_of(effect, metadata.snapshot_id),
        warnings=tuple(warnings),
        windows=tuple(window[0].sequence or 0 for window in arranged.windows),
        skipped=arranged.skipped,
        gap=arranged.gap,
        effect=effect,
    )
    return checked, facts


def _undecided(net: NetChanges) -> tuple[str, ...]:
    if not net.undecided:
        return ()
    numbers = f"{net.undecided} numbers are in both files of a window, which give no times"
    return (f"{numbers}: taken as ported",)


def _as_of(files: Sequence[ParsedFile]) -> tuple[datetime, str]:
    """Return the time of the dump, of the newest plan where there is none, and a warning."""
    for layer in ("ported", "ranges"):
        sources = [file.source for file in files if file.layer == layer]
        dated = [source.as_of for source in sources if source.as_of is not None]
        if dated:
            return max(dated), ""
        if sources:
            newest = max(source.path.stat().st_mtime for source in sources)
            return datetime.fromtimestamp(newest, UTC).replace(microsecond=0), (
                f"{sources[0].path.name} does not state its time: the time of the file itself was "
                "taken; state a better one with --as-of TIME"
            )
    raise AssertionError("merge refuses a set without dump and plan")
