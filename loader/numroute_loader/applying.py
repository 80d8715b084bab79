"""From increments to a published snapshot: arrange, read, merge, judge, publish."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np

from numroute.errors import InputError, SettingError, StoreError
from numroute.index import Changes, Patched, writing
from numroute.index.compare import Kind, effect_of, operator_name, ported_by_operator
from numroute_loader import expectations as expected
from numroute_loader.brands import load_brands
from numroute_loader.evidence import port_dates_of, row_counts_of, window_dates_of
from numroute_loader.gate import (
    Evidence,
    GateError,
    Movement,
    Previous,
    UnknownOperators,
    documents,
    judge,
    passed,
    read_back,
)
from numroute_loader.increments.net import net_changes
from numroute_loader.increments.patching import patch_of
from numroute_loader.increments.position import position_of
from numroute_loader.increments.windows import Gap, GapError, Skipped, arrange, increment_file
from numroute_loader.inputs import read_input, source_of
from numroute_loader.reading.archive import Source as OpenFile
from numroute_loader.regions import load_regions
from numroute_loader.registries import CHAINS, KINDS, recognise
from numroute_loader.registries.limits import load_limits
from numroute_loader.sequence import contradictions, files_before

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from numroute.index import Metadata, Patch, Snapshot, SnapshotStore
    from numroute.index.compare import Effect
    from numroute.model import Route
    from numroute_loader.brands import BrandTable
    from numroute_loader.expectations import Expectation
    from numroute_loader.gate import Finding, GateLimits
    from numroute_loader.increments.net import NetChanges
    from numroute_loader.increments.position import Position
    from numroute_loader.increments.windows import Arrangement, IncrementFile
    from numroute_loader.inputs import FileProgress, InputFile
    from numroute_loader.reading.description import FileKind
    from numroute_loader.records import IncrementRows, ParsedFile


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedIncrements:
    """Everything short of publishing: what would be applied to which snapshot, and the verdict.

    ``windows``: the sequences of the windows to apply, in order; ``skipped``: files that need none;
    ``gap``: what is missing before the rest can be applied. ``as_of`` is the time of the last
    window, ``rows`` the rows of all of them. ``changes`` counts what differs afterwards,
    ``effect`` tells it number by number. ``patch`` is None where there is nothing to apply.
    """

    base_id: str
    windows: tuple[int, ...]
    files: tuple[ParsedFile, ...]
    kinds: tuple[FileKind, ...]
    skipped: tuple[Skipped, ...]
    gap: Gap | None
    as_of: datetime
    rows: int
    changes: Changes
    effect: Effect
    warnings: tuple[str, ...]
    patch: Patch | None
    findings: tuple[Finding, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether no check failed that was not allowed to."""
        return passed(self.findings)


def increment_kinds() -> frozenset[str]:
    """Return the names of all kinds of increments."""
    return frozenset(name for chain in CHAINS for name in chain.kinds)


def increments_among(inputs: Sequence[InputFile]) -> bool:
    """Tell whether one of the files is an increment; raises InputError for a file of no kind."""
    kinds = increment_kinds()
    return any(recognise(each.path, each.kind).name in kinds for each in inputs)


def check_increments(
    store: SnapshotStore,
    inputs: Sequence[InputFile],
    *,
    brands: Path | None = None,
    limits: GateLimits | None = None,
    expect: Path | None = None,
    allowed: Collection[str] = (),
    progress: FileProgress | None = None,
) -> CheckedIncrements:
    """Read the increments that follow the store's current snapshot, and judge what they make of it.

    Any number of windows, in any order; what has been applied already is passed over, and what
    follows a gap is left. ``brands`` is a table whose rows win over the product's own. ``limits``
    are the gate's (by default the registry's), ``expect`` is a file of chosen numbers, ``allowed``
    names checks of the gate that may fail.

    Raises InputError when a file is wrong, ChainError when the current snapshot is nothing that
    increments could follow, NoSnapshotError when there is none.
    """
    limits = limits or load_limits()
    expectations = expected.read_expectations(expect) if expect is not None else None
    with store.open() as snapshot:
        position = position_of(snapshot.metadata, CHAINS, KINDS)
        arranged = arrange(_described(inputs, position), position, _digest)
        windows = [
            [read_input(file.path, file.kind, progress) for file in window.files]
            for window in arranged.windows
        ]
        found = _merged(snapshot, arranged, windows, load_brands(brands))
        if found.patch is None:
            return found
        seen = files_before(store)
        evidence = _evidence(snapshot, found, found.patch, limits, expectations, seen)
        unknown = evidence.unknown_operators
        warnings = (
            (f"the operator table lacks {', '.join(unknown.codes)}: the next one should name them",)
            if unknown is not None and unknown.codes
            else ()
        )
        return replace(
            found,
            findings=judge(evidence, limits, allowed=allowed),
            warnings=(*found.warnings, *warnings),
        )


def publish_increments(
    store: SnapshotStore, checked: CheckedIncrements, *, asked_by: str = "", reason: str = ""
) -> Metadata:
    """Publish the current snapshot with the increments applied, and make it current.

    Where nothing needs to be applied, nothing is published, and the metadata are those of the
    current snapshot. ``asked_by`` and ``reason`` (why a failed check was allowed) land in the
    history.

    Raises GapError when a gap leaves nothing to apply, GateError when a check failed, StoreError
    when the current snapshot is another one by now, StoreBusyError or StoreAccessError.
    """
    if checked.patch is None:
        if checked.gap is not None:
            raise GapError(checked.gap)
        with store.open(checked.base_id) as snapshot:
            return snapshot.metadata
    if not checked.passed:
        raise GateError(checked.findings)
    with writing(store) as writer, store.open() as snapshot:
        if snapshot.metadata.snapshot_id != checked.base_id:
            raise StoreError(
                store.path,
                f"the current snapshot was {checked.base_id} when the increments were read, and is "
                f"{snapshot.metadata.snapshot_id} now",
                hint="Apply them again",
            )
        metadata = snapshot.metadata
        counts = dict(metadata.counts)
        counts["ported"] = checked.effect.ported_after
        counts["routes"] = len(checked.patch.routes)
        return writer.publish(
            Patched(base=snapshot, patch=checked.patch),
            as_of=checked.as_of,
            sources=[*metadata.sources, *(source_of(file) for file in checked.files)],
            counts=counts,
            gate=documents(read_back(checked.findings), reason=reason),
            changes=checked.changes,
            asked_by=asked_by,
            reason=reason,
        )


def _described(inputs: Sequence[InputFile], position: Position) -> list[IncrementFile]:
    """Recognise all files; refuse what is no increment, or one of another chain."""
    files = []
    for each in inputs:
        kind = recognise(each.path, each.kind)
        if kind.name not in increment_kinds():
            raise InputError(
                each.path,
                f"the file is no increment ({kind.name})",
                hint="Full dumps, plans and operator tables go to `numroute-load build`",
            )
        if kind.name not in position.chain.kinds:
            raise InputError(
                each.path,
                f"{kind.name} does not continue {position.base.name}, from which the current "
                "snapshot was built",
                hint=f"Give {' and '.join(position.chain.kinds)}",
            )
        with OpenFile(each.path) as opened:
            files.append(increment_file(each.path, kind, opened.member))
    return files


def _digest(path: Path) -> str:
    with OpenFile(path) as opened:
        return opened.sha256()


def _merged(
    snapshot: Snapshot,
    arranged: Arrangement,
    windows: Sequence[Sequence[ParsedFile]],
    brands: BrandTable,
) -> CheckedIncrements:
    """Return what the windows make of the snapshot, not judged yet."""
    metadata = snapshot.metadata
    files = tuple(file for window in windows for file in window)
    net = net_changes([[_rows(file) for file in window] for window in windows])
    patch = patch_of(
        net,
        snapshot,
        brands=brands,
        regions=load_regions(),
        # The files become sources behind those that the snapshot has.
        source=(net.file + len(metadata.sources)).astype(np.uint32),
    )
    effect = effect_of(patch, snapshot)
    as_of = max((window.time for window in arranged.windows), default=metadata.as_of)
    return CheckedIncrements(
        base_id=metadata.snapshot_id,
        windows=tuple(window.sequence for window in arranged.windows),
        files=files,
        kinds=tuple(file.kind for window in arranged.windows for file in window.files),
        skipped=arranged.skipped,
        gap=arranged.gap,
        as_of=as_of,
        rows=net.rows,
        changes=Changes(
            against=metadata.snapshot_id,
            ported=effect.count(Kind.PORTED),
            returned=effect.count(Kind.RETURNED),
            moved=effect.count(Kind.MOVED),
            updated=effect.count(Kind.UPDATED),
        ),
        effect=effect,
        warnings=(*(warning for file in files for warning in file.warnings), *_warnings(net)),
        patch=patch if files else None,
    )


def _rows(file: ParsedFile) -> IncrementRows:
    if file.increment is None:
        raise SettingError(f"{file.source.path} was read as something else than an increment")
    return file.increment


def _warnings(net: NetChanges) -> tuple[str, ...]:
    if not net.undecided:
        return ()
    warning = f"{net.undecided} numbers stand in both files of a window, which give no times"
    return (f"{warning}: taken as ported",)


_NOT_OF_INCREMENTS = {
    "unknown_operators": "the current snapshot was built without an operator table",
    "plan_shrinkage": "increments leave the numbering plan as it is",
    "outside_plan": "increments are not held against the numbering plan: the next build is",
    "rejected_rows": "an increment is read whole or not at all",
    "duplicates": "an increment may hold a number several times",
    "drift": "only a full dump shows it",
}


def _evidence(
    snapshot: Snapshot,
    found: CheckedIncrements,
    patch: Patch,
    limits: GateLimits,
    expectations: Sequence[Expectation] | None,
    seen: Mapping[str, str],
) -> Evidence:
    effect, metadata = found.effect, snapshot.metadata
    before = ported_by_operator(snapshot)
    return Evidence(
        as_of=found.as_of,
        now=datetime.now(UTC),
        ported=effect.ported_after,
        by_operator=_by_operator_after(before, effect, patch),
        previous=Previous(
            ported=effect.ported_before,
            as_of=metadata.as_of,
            snapshot_id=metadata.snapshot_id,
            by_operator=before,
        ),
        row_counts=row_counts_of(found.files),
        sequence=contradictions(found.files, found.kinds, metadata, seen),
        unknown_operators=_unknown_operators(patch, effect.ported_after),
        windows=window_dates_of(found.files),
        port_dates=port_dates_of(patch.ported_at, found.as_of, limits),
        movement=Movement(
            ported=effect.count(Kind.PORTED),
            returned=effect.count(Kind.RETURNED),
            moved=effect.count(Kind.MOVED),
        ),
        chosen=expected.judged(expectations, _routes_of(snapshot, patch, expectations))
        if expectations is not None
        else None,
        why_not=_NOT_OF_INCREMENTS,
    )


def _unknown_operators(patch: Patch, ported: int) -> UnknownOperators | None:
    """Return the codes without a name that get numbers, None where no operator has a name."""
    if not any(route.operator.name for route in patch.routes):
        return None
    rows, counts = np.unique(patch.number_route[patch.present], return_counts=True)
    numbers: Counter[str] = Counter()
    for row, count in zip(rows.tolist(), counts.tolist(), strict=True):
        operator = patch.routes[row].operator
        if not operator.name:
            numbers[operator.code] += count
    return UnknownOperators(
        codes=[f"{code} ({count} numbers)" for code, count in numbers.most_common()],
        share=numbers.total() / max(ported, 1),
    )


def _by_operator_after(
    before: Mapping[str, int], effect: Effect, patch: Patch
) -> Mapping[str, int]:
    """Return the ported numbers by operator after the patch."""
    after = Counter(before)
    names = [operator_name(route.operator) for route in patch.routes]
    had = np.isin(effect.kind, (Kind.RETURNED, Kind.MOVED))
    has = np.isin(effect.kind, (Kind.PORTED, Kind.MOVED))
    for rows, step in ((effect.before[had], -1), (effect.after[has], 1)):
        row, count = np.unique(rows, return_counts=True)
        for each, numbers in zip(row.tolist(), count.tolist(), strict=True):
            after[names[each]] += step * numbers
    return after


def _routes_of(
    snapshot: Snapshot, patch: Patch, expectations: Sequence[Expectation]
) -> Sequence[Route]:
    """Return the route that the patched snapshot, not yet written, gives to each chosen number."""
    numbers = np.array([each.number for each in expectations], np.uint64)
    rows = snapshot.lookup(numbers, overrides=False).route.astype(np.int64)
    at = np.minimum(patch.numbers.searchsorted(numbers), max(0, len(patch.numbers) - 1))
    if len(patch.numbers):
        changed = patch.numbers[at] == numbers
        after = effect_of(patch, snapshot).after
        rows[changed] = after[at[changed]]
    return [patch.routes[row] for row in rows.tolist()]
