"""From files to a published snapshot: read, merge, judge, publish."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from numroute.errors import InputError, NoSnapshotError, SnapshotCorruptError, StoreError
from numroute.index import writing
from numroute.index.compare import difference
from numroute_loader import expectations as expected
from numroute_loader.brands import load_brands
from numroute_loader.evidence import gather
from numroute_loader.gate import Drift, Finding, GateError, documents, judge, passed, read_back
from numroute_loader.inputs import layer_of, read_input, source_of
from numroute_loader.merge import MergeResult, merge
from numroute_loader.reading.description import Tolerance
from numroute_loader.reading.dump_file import ROWS_MAX
from numroute_loader.reconciling import drift_of
from numroute_loader.regions import load_regions
from numroute_loader.registries import CHAINS, recognise
from numroute_loader.registries.limits import load_limits

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from pathlib import Path

    from numroute.index import Changes, Metadata, Snapshot, SnapshotStore
    from numroute_loader.gate import GateLimits
    from numroute_loader.inputs import FileProgress, InputFile
    from numroute_loader.reading.description import FileKind
    from numroute_loader.records import ParsedFile


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """Everything short of publishing: the files as read, what they became, and the verdict.

    ``base_id`` names the snapshot that it was compared with; empty where none could be read.
    ``changes`` counts what differs from that, None where it has no ported numbers.
    ``drift`` is the same where increments led to that snapshot and to the dump's own time.
    """

    files: Sequence[ParsedFile]
    merged: MergeResult
    findings: Sequence[Finding]
    as_of: datetime
    warnings: Sequence[str]
    base_id: str = ""
    changes: Changes | None = None
    drift: Drift | None = None

    @property
    def passed(self) -> bool:
        """Whether no check failed that was not allowed to."""
        return passed(self.findings)


def check(  # noqa: PLR0913 - each is a fact or a term that its caller knows
    inputs: Sequence[InputFile],
    *,
    brands: Path | None = None,
    as_of: datetime | None = None,
    current: Snapshot | None = None,
    seen: Mapping[str, str] | None = None,
    limits: GateLimits | None = None,
    expect: Path | None = None,
    allowed: Collection[str] = (),
    progress: FileProgress | None = None,
) -> Checked:
    """Read and merge the files and judge the result; publish nothing.

    ``brands`` is a table whose rows win over the product's own. ``as_of`` is the time up to which
    the data is known; without it, the time in the dump's name. ``current`` is the snapshot to
    compare with, ``seen`` are digest and name of the files that were given before (see
    ``numroute_loader.sequence.files_before``), ``limits`` are the gate's (by default the
    registry's), ``expect`` is a file of chosen numbers, ``allowed`` names checks of the gate that
    may fail: a full dump with such a defect is then read all the same.

    Raises InputError or SettingError when a file or the set of files is wrong.
    """
    # Settings and all files are looked at before the first is read: a wrong one is told at once.
    limits = limits or load_limits()
    expectations = expected.read_expectations(expect) if expect is not None else None
    kinds = [recognise(each.path, each.kind) for each in inputs]
    _refuse_increments(inputs, kinds)
    tolerance = Tolerance(
        rejected_rows=ROWS_MAX if "rejected_rows" in allowed else limits.rejected_rows,
        row_count="row_count" in allowed,
        duplicates="duplicates" in allowed,
    )
    files = [
        read_input(each.path, kind, progress, tolerance)
        for each, kind in zip(inputs, kinds, strict=True)
    ]
    merged = merge(files, brands=load_brands(brands), regions=load_regions())
    known_as_of, warning = (as_of, "") if as_of else _as_of(files)
    changed = (
        difference(current, merged.content)
        if current is not None and len(current.tables.route)
        else None
    )
    drift = (
        drift_of(
            current,
            merged.content,
            changed,
            [source_of(file) for file in files if file.ported is not None],
            known_as_of,
        )
        if current is not None and changed is not None
        else None
    )
    evidence = gather(
        files,
        kinds,
        merged,
        as_of=known_as_of,
        limits=limits,
        current=current,
        changed=changed,
        seen=seen,
        chosen=expected.judged(expectations, expected.routes_in(merged.content, expectations))
        if expectations is not None
        else None,
    )
    if isinstance(drift, Drift):
        evidence = replace(evidence, drift=drift)
    elif drift is not None:
        evidence = replace(evidence, why_not={**evidence.why_not, "drift": drift})
    warnings = [*merged.report.warnings, *([warning] if warning else [])]
    return Checked(
        files=files,
        merged=merged,
        findings=judge(evidence, limits, allowed=allowed),
        as_of=known_as_of,
        warnings=warnings,
        base_id=current.metadata.snapshot_id if current is not None else "",
        changes=changed.changes if changed is not None else None,
        drift=drift if isinstance(drift, Drift) else None,
    )


@contextlib.contextmanager
def current_of(store: SnapshotStore | None) -> Iterator[Snapshot | None]:
    """Open what the gate compares with: the current snapshot, None where there is none.

    A store whose current snapshot is damaged must be able to get a good one. One that cannot be
    read for another reason is no reason to compare with nothing: raises StoreError.
    """
    try:
        snapshot = store.open() if store is not None else None
    except (NoSnapshotError, SnapshotCorruptError):
        snapshot = None
    if snapshot is None:
        yield None
        return
    with snapshot:
        yield snapshot


def publish(
    store: SnapshotStore, checked: Checked, *, asked_by: str = "", reason: str = ""
) -> Metadata:
    """Publish what was checked as the store's current snapshot.

    ``asked_by`` and ``reason`` (why a failed check was allowed) land in the history.

    Raises GateError when a check failed, StoreError when the current snapshot is another one than
    that which it was compared with, StoreBusyError or StoreAccessError.
    """
    if not checked.passed:
        raise GateError(checked.findings)
    report = checked.merged.report
    with writing(store) as writer:
        with current_of(store) as current:
            current_id = current.metadata.snapshot_id if current is not None else ""
        # One that can be read no more is replaced all the same.
        if current_id and current_id != checked.base_id:
            raise StoreError(
                store.path,
                f"the current snapshot was {checked.base_id or 'none'} when the files were "
                f"read, and is {current_id} now",
                hint="Build again: what it replaces must be what it was compared with",
            )
        return writer.publish(
            checked.merged.content,
            as_of=checked.as_of,
            sources=[source_of(file) for file in checked.files],
            counts={
                "ported": report.ported,
                "returned_home": report.returned_home,
                "ranges": report.ranges,
                "range_numbers": report.range_numbers,
                "operators": report.operators,
                "routes": report.routes,
            },
            gate=documents(read_back(checked.findings), reason=reason),
            changes=checked.changes if current_id else None,
            asked_by=asked_by,
            reason=reason,
        )


def _refuse_increments(inputs: Sequence[InputFile], kinds: Sequence[FileKind]) -> None:
    increments = {name for chain in CHAINS for name in chain.kinds}
    for each, kind in zip(inputs, kinds, strict=True):
        if kind.name in increments:
            raise InputError(
                each.path,
                "the file is an increment; a snapshot is built from full dumps",
                hint="Give the full dump of the day (Port_All, Port_All_Full or Port_All_New) to "
                "`build`, and increments to `apply`",
            )


def _as_of(files: Sequence[ParsedFile]) -> tuple[datetime, str]:
    """Return the time of the dump, of the newest plan where there is none, and a warning."""
    for layer in ("ported", "ranges"):
        of_layer = [file.source for file in files if layer_of(file) == layer]
        dated = [source.as_of for source in of_layer if source.as_of is not None]
        if dated:
            return max(dated), ""
        if of_layer:
            newest = max(source.path.stat().st_mtime for source in of_layer)
            return datetime.fromtimestamp(newest, UTC).replace(microsecond=0), (
                f"{of_layer[0].path.name} does not say of when it is: taken as of the file's own "
                "time; --as-of TIME says it better"
            )
    raise AssertionError("merge refuses a set without dump and plan")
