"""From registry files to a published snapshot: read, merge or patch, judge, publish.

Full files become content that replaces the current snapshot, increments a patch of it. Both take
the same way through the gate and into the store.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from numroute.errors import (
    InputError,
    NoSnapshotError,
    SettingError,
    SnapshotCorruptError,
    StoreError,
)
from numroute.index import (
    Changes,
    Content,
    Metadata,
    Patch,
    Patched,
    Snapshot,
    SnapshotStore,
    Source,
    writing,
)
from numroute.index.compare import Effect, compare, effect_of, ported_by_operator, range_rows
from numroute_loader.brands import load_brands, load_regions
from numroute_loader.commented_csv import Row
from numroute_loader.differences import (
    by_operator_after,
    contradictions,
    drift_of,
    range_holders,
    routing_numbers,
)
from numroute_loader.gate.checks import judge
from numroute_loader.gate.findings import (
    Drift,
    Evidence,
    Finding,
    GateError,
    Outcome,
    documents,
    read_back,
)
from numroute_loader.gate.limits import Approval, GateLimits, read_limits
from numroute_loader.increments import Gap, GapError, Skipped, arrange, patch_of, position_of
from numroute_loader.inputs import Expectation, FileProgress, opened, read_expectations, unmet
from numroute_loader.merge import MergeReport, UnknownOperator, merge
from numroute_loader.reading.csv_stream import lines_with
from numroute_loader.reading.description import STRICT, ParsedFile, RegistryFile, Role, Tolerance
from numroute_loader.reading.record_files import ROWS_MAX
from numroute_loader.registries import FEEDS, built_in_limits, kind_of

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
        return all(finding.outcome is not Outcome.FAILED for finding in self.findings)


def check(
    inputs: Sequence[Path],
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
    with opened(inputs, progress) as files:
        built_in = built_in_limits([file.kind.registry for file in files])
        limits = limits or read_limits(built_in, approval.limits)
        expectations = read_expectations(approval.expect) if approval.expect else ()
        if increments is None:
            increments = any(file.kind.layer == "increments" for file in files)
        _refuse_other_files(files, increments=increments)
        if increments:
            if store is None:
                reason = "increments change a snapshot: without one there is nothing to judge"
                raise SettingError(reason, hint="Give --store DIR")
            if as_of is not None:
                hint = "The names of increments state their times"
                raise SettingError("--as-of is not for increments", hint=hint)
            with store.open() as snapshot:
                checked, facts = _patched(files, snapshot, approval, expectations)
        else:
            tolerance = _tolerance(approval, limits)
            with current_of(store) as current:
                checked, facts = _built(files, current, approval, tolerance, expectations, as_of)
    if not checked.files:
        return checked
    facts = replace(
        facts,
        sequence=contradictions(checked.files, facts.current, store),
        expected=len(expectations) if approval.expect else None,
    )
    return replace(checked, findings=judge(facts, limits, allowed=approval.allowed))


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
        new = checked.new
        # The metadata keep no paths.
        sources = [
            msgspec.convert(file.source, Source, from_attributes=True) for file in checked.files
        ]
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
    snapshot = None
    if store is not None:
        try:
            snapshot = store.open()
        except (NoSnapshotError, SnapshotCorruptError):
            snapshot = store.open_last()
    with snapshot or contextlib.nullcontext():
        yield snapshot


def _refuse_other_files(files: Sequence[RegistryFile], *, increments: bool) -> None:
    for file in files:
        if (file.kind.layer == "increments") is not increments:
            reason = f"the file is {'not ' if increments else ''}an increment ({file.kind.name})"
            bases = ", ".join(base for feed in FEEDS.values() for base in feed.names(Role.DUMP))
            hint = f"Give increments to `apply`; full dumps ({bases}), plans and operator tables "
            raise InputError(file.path, reason, hint=f"{hint}to `build`")


def _tolerance(approval: Approval, limits: GateLimits) -> Tolerance:
    """Return which defects of a full dump are left to the gate."""
    return Tolerance(
        rejected_rows=ROWS_MAX if "rejected_rows" in approval.allowed else limits.rejected_rows,
        row_count="row_count" in approval.allowed,
        duplicates="duplicates" in approval.allowed,
    )


def _built(
    opened_files: Sequence[RegistryFile],
    current: Snapshot | None,
    approval: Approval,
    tolerance: Tolerance,
    expectations: Sequence[Row[Expectation]],
    as_of: datetime | None,
) -> tuple[Checked, Evidence]:
    """Return what full files make, not yet judged, and the facts to judge."""
    files = tuple(file.kind.read(file, tolerance) for file in opened_files)
    content, report = merge(files, brands=load_brands(approval.brands), regions=load_regions())
    warnings = report.warnings
    if as_of is None:
        as_of, undated = _as_of(files)
        warnings = [*warnings, *undated]
    changed = None
    drift: Drift | str = "there is no state of the same time built from increments"
    if current is not None and current.ported_count:
        changed = compare(current, content)
        dumps = [file.source for file in files if file.ported is not None]
        drift = drift_of(current, content, dumps, as_of)
    numbers = np.array([row.cells.number for row in expectations], np.uint64)
    by_range = range_rows(content, numbers)
    rows = _replaced(by_range, numbers, content.numbers, content.number_route)
    unknown, outside = report.unknown_operators, report.outside_plan
    facts = Evidence(
        as_of=as_of,
        files=files,
        ported=report.ported,
        by_operator=ported_by_operator(content),
        ported_at=content.ported_at,
        ranges=report.ranges,
        range_numbers=report.range_numbers,
        current=current.metadata if current is not None else None,
        ported_before=current.ported_count if current is not None else 0,
        by_operator_before=ported_by_operator(current) if current and changed else None,
        changes=replace(changed.changes, updated=changed.updated_by_registry) if changed else None,
        flows=changed.flows if changed is not None else (),
        unknown_operators=unknown if report.operator_rows else None,
        outside_plan=outside,
        range_holders=range_holders(current, content) if current is not None else None,
        routing_numbers=routing_numbers(content, current),
        drift=drift,
        wrong=unmet(expectations, [content.routes[row] for row in rows.tolist()]),
        where={
            "unknown_operators": _first_place(files, unknown[0].code) if unknown else "",
            "outside_plan": _first_place(files, int(content.numbers[outside.first_index]))
            if outside
            else "",
        },
    )
    counted = ("ported", "returned_home", "ranges", "range_numbers", "operators", "routes")
    checked = Checked(
        files=files,
        as_of=as_of,
        new=content,
        counts={
            **{name: getattr(report, name) for name in counted},
            **({RANGE_HOLDERS: facts.range_holders.changed} if facts.range_holders else {}),
        },
        base_id=facts.current.snapshot_id if facts.current is not None else "",
        changes=changed.changes if changed is not None else None,
        warnings=tuple(warnings),
        report=report,
        drift=drift if isinstance(drift, Drift) else None,
    )
    return checked, facts


def _patched(
    opened_files: Sequence[RegistryFile],
    snapshot: Snapshot,
    approval: Approval,
    expectations: Sequence[Row[Expectation]],
) -> tuple[Checked, Evidence]:
    """Return what increments make of a snapshot, not yet judged, and the facts to judge."""
    metadata = snapshot.metadata
    arranged = arrange(opened_files, position_of(metadata))
    windows = [[file.kind.read(file, STRICT) for file in window] for window in arranged.windows]
    files = tuple(file for window in windows for file in window)
    patch = patch_of(
        [[file.increment for file in window if file.increment] for window in windows],
        snapshot,
        brands=load_brands(approval.brands),
        regions=load_regions(),
    )
    effect = effect_of(patch, snapshot)
    times = [file.source.as_of for file in files if file.source.as_of is not None]
    unknown = _unnamed_operators(patch)
    before = ported_by_operator(snapshot)
    numbers = np.array([row.cells.number for row in expectations], np.uint64)
    before_patch = snapshot.lookup(numbers, overrides=False).route
    served = _replaced(before_patch, numbers, patch.numbers, effect.after)
    facts = Evidence(
        as_of=max(times, default=metadata.as_of),
        files=files,
        ported=effect.ported_after,
        by_operator=by_operator_after(before, effect, patch),
        ported_at=patch.ported_at,
        current=metadata,
        ported_before=snapshot.ported_count,
        by_operator_before=before,
        changes=effect.changes,
        unknown_operators=unknown,
        wrong=unmet(expectations, [patch.routes[row] for row in served.tolist()]),
    )
    checked = Checked(
        files=files,
        as_of=facts.as_of,
        new=patch if files else None,
        counts={
            **{name: count for name, count in metadata.counts.items() if name != RANGE_HOLDERS},
            "ported": effect.ported_after,
            "routes": len(patch.routes),
        },
        base_id=metadata.snapshot_id,
        changes=effect.changes,
        warnings=tuple(warning for file in files for warning in file.warnings),
        windows=tuple(window[0].sequence or 0 for window in arranged.windows),
        skipped=arranged.skipped,
        gap=arranged.gap,
        effect=effect,
    )
    return checked, facts


def _as_of(files: Sequence[ParsedFile]) -> tuple[datetime, list[str]]:
    """Return the time of the dump, or of the newest plan without one, and warnings."""
    for layer in ("ported", "ranges"):
        sources = [file.source for file in files if file.source.layer == layer]
        dated = [source.as_of for source in sources if source.as_of is not None]
        if dated:
            return max(dated), []
        if sources:
            newest = max(source.path.stat().st_mtime for source in sources)
            warning = f"{sources[0].path.name} does not state its time: the time of the file "
            warning += "itself was taken; state a better one with --as-of TIME"
            return datetime.fromtimestamp(newest, UTC).replace(microsecond=0), [warning]
    raise AssertionError("merge refuses a set without dump and plan")


def _first_place(files: Sequence[ParsedFile], code_or_number: str | int) -> str:
    """Name the first file and line that hold an operator's code or a number."""
    for file in files:
        kind, text = kind_of(file.source.kind), code_or_number
        if isinstance(text, int):
            text = kind.number_format.written(text) if kind.number_format is not None else ""
        lines = lines_with(file.source.path, None, text, lines_max=1) if text else []
        if lines:
            return f" (first in {file.source.path}:{lines[0]})"
    return ""


def _replaced(
    rows: NDArray[np.integer],
    numbers: NDArray[np.uint64],
    changed: NDArray[np.uint64],
    after: NDArray[np.integer],
) -> NDArray[np.integer]:
    """Return the routes of numbers, with those ``after`` of the numbers that are ``changed``."""
    if not len(changed):
        return rows
    at = np.minimum(changed.searchsorted(numbers), len(changed) - 1)
    return np.where(changed[at] == numbers, after[at], rows)


def _unnamed_operators(patch: Patch) -> Sequence[UnknownOperator] | None:
    """Return the operators without a name that get numbers, None where none has a name."""
    if not any(route.operator.name for route in patch.routes):
        return None
    numbers: Counter[str] = Counter()
    for row, count in enumerate(np.bincount(patch.number_route[patch.present]).tolist()):
        operator = patch.routes[row].operator
        if count and not operator.name:
            numbers[operator.code] += count
    return [UnknownOperator(code=code, numbers=count) for code, count in numbers.most_common()]
