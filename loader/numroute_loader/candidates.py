"""What files make of the current snapshot, and the facts that the gate judges it by."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np

from numroute.errors import InputError
from numroute.index import Changes, Patch
from numroute.index.compare import (
    Kind,
    by_operator,
    difference,
    effect_of,
    operator_name,
    ported_by_operator,
)
from numroute.model import mask_digits, mask_number
from numroute_loader.brands import load_brands, load_regions
from numroute_loader.commented_csv import read_table
from numroute_loader.differences import drift_of, range_holders
from numroute_loader.gate.evidence import Drift, Evidence, RoutingNumbers
from numroute_loader.gate.findings import NAMED_MAX, passed
from numroute_loader.increments.patching import net_changes, patch_of
from numroute_loader.increments.windows import arrange, position_of
from numroute_loader.inputs import contradictions, read_input, source_of
from numroute_loader.merge import UnknownOperator, merge
from numroute_loader.merge.routes import counted
from numroute_loader.reading.description import Tolerance
from numroute_loader.reading.rows import ROWS_MAX
from numroute_loader.registries import CHAINS, INCREMENTS, find_first, kind_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from numroute.index import Content, Snapshot
    from numroute.index.compare import Effect
    from numroute.model import Route
    from numroute_loader.gate import Finding, GateLimits
    from numroute_loader.gate.limits import Approval
    from numroute_loader.increments.windows import Gap, Skipped
    from numroute_loader.inputs import FileProgress
    from numroute_loader.merge import MergeReport
    from numroute_loader.reading.description import ParsedFile, RegistryFile

RANGE_HOLDERS = "range_holders_changed"
"""The count of the plan's numbers with another range holder than in the snapshot before."""

_UNUSUAL_SHARE = 0.05
"""Up to this share of disagreeing routing numbers, agreement is usual in a registry."""

_NOT_OF_INCREMENTS = {
    "unknown_operators": "the current snapshot was built without an operator table",
    "plan_shrinkage": "increments leave the numbering plan as it is",
    "range_holders": "increments leave the numbering plan as it is",
    "routing_numbers": "the routing numbers of full dumps are compared with region and MNC",
    "outside_plan": "increments are not compared with the numbering plan: the next build is",
    "rejected_rows": "an increment is read whole or not at all",
    "duplicates": "an increment may hold a number several times",
    "drift": "only a full dump shows it",
}


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
class Judging:
    """What files are read and judged with."""

    approval: Approval
    limits: GateLimits
    expectations: Sequence[Expectation] | None
    seen: Mapping[str, str]
    as_of: datetime | None
    progress: FileProgress | None

    @property
    def numbers(self) -> NDArray[np.uint64]:
        """The numbers of the expectations."""
        return np.array([each.number for each in self.expectations or ()], np.uint64)

    @property
    def expected(self) -> int | None:
        """How many expectations there are."""
        return None if self.expectations is None else len(self.expectations)


def built(
    opened_files: Sequence[RegistryFile], current: Snapshot | None, judging: Judging
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
    content, report = merged.content, merged.report
    as_of, warning = (judging.as_of, "") if judging.as_of else _as_of(files)
    metadata = current.metadata if current is not None else None
    changed = None
    drift: Drift | str = ""
    if current is not None and current.ported_count:
        changed = difference(current, content)
        dumps = [source_of(file) for file in files if file.ported is not None]
        drift = drift_of(current, content, changed, dumps, as_of)
    unknown, outside = report.unknown_operators, report.outside_plan
    numbers = judging.numbers
    pieces = content.range_start.searchsorted(numbers, side="right") - 1
    rows = content.range_route[pieces].astype(np.int64)
    rows = _replaced(rows, numbers, content.numbers, content.number_route)
    facts = Evidence(
        as_of=as_of,
        files=files,
        ported=report.ported,
        by_operator=by_operator(content.routes, content.number_route),
        ported_at=content.ported_at,
        ranges=report.ranges,
        range_numbers=report.range_numbers,
        current=metadata,
        ported_before=current.ported_count if current is not None else 0,
        by_operator_before=changed.before if changed is not None else None,
        changes=replace(changed.changes, updated=changed.updated_by_registry) if changed else None,
        flows=changed.flows if changed is not None else (),
        sequence=contradictions(files, metadata, judging.seen),
        unknown_operators=unknown if report.operator_rows else None,
        outside_plan=outside,
        range_holders=range_holders(current, content) if current is not None else None,
        routing_numbers=_routing_numbers(content, current),
        drift=drift if isinstance(drift, Drift) else None,
        expected=judging.expected,
        wrong=_unmet(judging.expectations, [content.routes[row] for row in rows.tolist()]),
        where={
            "unknown_operators": _first_place(files, unknown[0].code) if unknown else "",
            "outside_plan": _first_place(files, int(content.numbers[outside.first_index]))
            if outside
            else "",
        },
        why_not={"drift": drift} if isinstance(drift, str) and drift else {},
    )
    checked = Checked(
        files=files,
        as_of=as_of,
        new=content,
        counts={
            "ported": report.ported,
            "returned_home": report.returned_home,
            "ranges": report.ranges,
            "range_numbers": report.range_numbers,
            "operators": report.operators,
            "routes": report.routes,
            **({RANGE_HOLDERS: facts.range_holders.changed} if facts.range_holders else {}),
        },
        base_id=metadata.snapshot_id if metadata is not None else "",
        changes=changed.changes if changed is not None else None,
        warnings=(*report.warnings, *([warning] if warning else [])),
        report=report,
        drift=facts.drift,
    )
    return checked, facts


def patched(
    opened_files: Sequence[RegistryFile], snapshot: Snapshot, judging: Judging
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
    changes = _changes(effect, metadata.snapshot_id)
    times = [file.source.as_of for file in files if file.source.as_of is not None]
    as_of = max(times, default=metadata.as_of)
    warnings = [warning for file in files for warning in file.warnings]
    facts = None
    if files:
        before = ported_by_operator(snapshot)
        numbers = judging.numbers
        rows = snapshot.lookup(numbers, overrides=False).route.astype(np.int64)
        rows = _replaced(rows, numbers, patch.numbers, effect.after)
        unknown = _unnamed_operators(patch)
        if unknown:
            named = ", ".join(map(str, unknown))
            warnings.append(f"the operator table lacks {named}: the next one should name them")
        facts = Evidence(
            as_of=as_of,
            files=files,
            ported=effect.ported_after,
            by_operator=_by_operator_after(before, effect, patch),
            ported_at=patch.ported_at,
            current=metadata,
            ported_before=effect.ported_before,
            by_operator_before=before,
            changes=changes,
            sequence=contradictions(files, metadata, judging.seen),
            unknown_operators=unknown,
            expected=judging.expected,
            wrong=_unmet(judging.expectations, [patch.routes[row] for row in rows.tolist()]),
            why_not=_NOT_OF_INCREMENTS,
        )
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
        changes=changes,
        warnings=tuple(warnings),
        windows=tuple(window[0].sequence or 0 for window in arranged.windows),
        skipped=arranged.skipped,
        gap=arranged.gap,
        effect=effect,
    )
    return checked, facts


def _as_of(files: Sequence[ParsedFile]) -> tuple[datetime, str]:
    """Return the time of the dump, or of the newest plan without one, and a warning."""
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


def _changes(effect: Effect, against: str) -> Changes:
    """Return the counts of what a patch changes."""
    return Changes(
        against=against,
        ported=effect.count(Kind.PORTED),
        returned=effect.count(Kind.RETURNED),
        moved=effect.count(Kind.MOVED),
        updated=effect.count(Kind.UPDATED),
    )


def _replaced(
    rows: NDArray[np.int64],
    numbers: NDArray[np.uint64],
    changed: NDArray[np.uint64],
    after: NDArray[np.integer],
) -> NDArray[np.int64]:
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
    rows, counts = np.unique(patch.number_route[patch.present], return_counts=True)
    for row, count in zip(rows.tolist(), counts.tolist(), strict=True):
        operator = patch.routes[row].operator
        if not operator.name:
            numbers[operator.code] += count
    return [
        UnknownOperator(code=code, numbers=count, ranges=0) for code, count in numbers.most_common()
    ]


def _routing_numbers(content: Content, current: Snapshot | None) -> RoutingNumbers:
    """Compare routing numbers with region and MNC, and judge by the current snapshot what is usual.

    Without a current snapshot, what most of the content's own routing numbers do is usual.
    """
    numbers, disagreeing = _agreement(
        content.routes, counted(content.number_route, len(content.routes))
    )
    usual = sum(disagreeing.values()) * 2 <= numbers
    if current is not None:
        routes = [current.routes[row] for row in range(len(current.routes))]
        before, not_before = _agreement(routes, current.records_by_row)
        if before:
            usual = sum(not_before.values()) <= _UNUSUAL_SHARE * before
    return RoutingNumbers(
        numbers=numbers,
        disagreeing=sum(disagreeing.values()),
        usual=usual,
        examples=[example for example, _ in disagreeing.most_common(NAMED_MAX)],
    )


def _agreement(routes: Sequence[Route], records: NDArray[np.integer]) -> tuple[int, Counter[str]]:
    """Count the numbers with routing number, region and MNC, and those where they disagree."""
    numbers, disagreeing = 0, Counter[str]()
    for route, uses in zip(routes, records.tolist(), strict=True):
        region, mnc = route.region.code, route.registry_mnc
        if uses and route.routing_number and region and mnc:
            numbers += uses
            if region + mnc not in route.routing_number:
                disagreeing[f"{route.routing_number} with region {region} and MNC {mnc}"] += uses
    return numbers, disagreeing


def _first_place(files: Sequence[ParsedFile], code_or_number: str | int) -> str:
    """Name the first file and line that hold an operator's code or a number."""
    for file in files:
        if file.operators is None:
            line = find_first(file.source.path, kind_of(file.source.kind), code_or_number)
            if line is not None:
                return f" (first in {file.source.path}:{line})"
    return ""


def _by_operator_after(
    before: Mapping[str, int], effect: Effect, patch: Patch
) -> Mapping[str, int]:
    """Return the ported numbers by operator after the patch."""
    after = Counter(before)
    names = [operator_name(route.operator) for route in patch.routes]
    had = np.isin(effect.kind, (Kind.RETURNED, Kind.MOVED))
    has = np.isin(effect.kind, (Kind.PORTED, Kind.MOVED))
    for rows, step in ((effect.before[had], -1), (effect.after[has], 1)):
        distinct, counts = np.unique(rows, return_counts=True)
        for row, numbers in zip(distinct.tolist(), counts.tolist(), strict=True):
            after[names[row]] += step * numbers
    return after


NUMBERS_MAX = 100_000
"""The most numbers in a file: they are looked up one by one."""

NOBODY = "-"
"""The operator code of a number that nobody holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """A number, the code of the operator that should serve it, and where that is written."""

    where: str
    number: int
    operator: str


def read_expectations(path: Path) -> Sequence[Expectation]:
    """Read a file of ``number,operator`` lines, with or without that header.

    Raises InputError, which names file and line and masks the number.
    """
    expectations = []
    for row in read_table(path, ("number", "operator"), header=False):
        number, operator = row.number("number"), row.cells["operator"]
        if not operator:
            raise row.error("operator is empty", hint=f"Write {NOBODY} where nobody is expected")
        expectations.append(
            Expectation(where=f"{path}:{row.line}", number=number, operator=operator)
        )
        if len(expectations) > NUMBERS_MAX:
            raise row.error(f"there are more than {NUMBERS_MAX:,} numbers")
    if not expectations:
        raise InputError(
            path, "there are no numbers in it", hint="A line reads +79160000000,OPERATOR CODE"
        )
    return expectations


def _unmet(expectations: Sequence[Expectation] | None, routes: Sequence[Route]) -> Sequence[str]:
    """Say which expectations are not met; ``routes`` are the answers to them, in order."""
    served = [
        operator_name(route.operator) if route.status.has_route else NOBODY for route in routes
    ]
    return [
        f"{expectation.where}: {mask_number(expectation.number)} is served by {_shown(operator)}, "
        f"{_shown(expectation.operator)} is expected"
        for expectation, operator in zip(expectations or (), served, strict=True)
        if operator != expectation.operator
    ]


def _shown(operator: str) -> str:
    return "nobody" if operator == NOBODY else mask_digits(operator)
