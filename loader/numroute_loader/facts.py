"""Gathers the facts that the gate judges: from the files, what they became, and the store."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np

from numroute.index.compare import Kind, by_operator, operator_name, ported_by_operator
from numroute_loader.expectations import judged, routes_in
from numroute_loader.gate import (
    NAMED_MAX,
    Drift,
    Evidence,
    Movement,
    OutsidePlan,
    PortDates,
    Previous,
    Rejected,
    RoutingNumbers,
    RowCount,
    UnknownOperators,
    WindowDates,
)
from numroute_loader.increments.drift import drift_of
from numroute_loader.inputs import source_of
from numroute_loader.merge.routes import counted
from numroute_loader.range_holders import range_holders
from numroute_loader.registries import find_first, kind_of
from numroute_loader.sequence import contradictions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from numroute.index import Content, Patch, Snapshot
    from numroute.index.compare import Difference, Effect
    from numroute.model import Route
    from numroute_loader.expectations import Expectation
    from numroute_loader.gate import GateLimits
    from numroute_loader.merge import MergeResult
    from numroute_loader.reading.description import ParsedFile

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


def facts_of_build(
    files: Sequence[ParsedFile],
    merged: MergeResult,
    *,
    as_of: datetime,
    limits: GateLimits,
    current: Snapshot | None,
    changed: Difference | None,
    seen: Mapping[str, str],
    expectations: Sequence[Expectation] | None,
) -> Evidence:
    """Return the facts about content that replaces a snapshot.

    ``current`` is the snapshot to compare with, ``changed`` what changed since, None where one of
    the two has no ported numbers. ``seen``: digest and name of the files that were given before.
    """
    content, report = merged.content, merged.report
    dumps = [file for file in files if file.ported is not None]
    drift: Drift | str = ""
    if current is not None and changed is not None:
        sources = [source_of(file) for file in dumps]
        drift = drift_of(current, content, changed, sources, as_of)
    metadata = current.metadata if current is not None else None
    return Evidence(
        as_of=as_of,
        now=datetime.now(UTC),
        ported=report.ported,
        by_operator=by_operator(content.routes, content.number_route),
        range_numbers=report.range_numbers,
        previous=Previous(
            ported=current.ported_count,
            as_of=current.metadata.as_of,
            range_numbers=current.metadata.counts.get("range_numbers", 0),
            snapshot_id=current.metadata.snapshot_id,
            by_operator=changed.before if changed is not None else None,
        )
        if current is not None
        else None,
        row_counts=_row_counts(files),
        rejected=Rejected(
            rows=sum(dump.rejected_rows for dump in dumps),
            of_rows=sum(dump.source.rows for dump in dumps),
            places=[place for dump in dumps for place in dump.rejected],
        )
        if dumps
        else None,
        duplicates=sum(file.duplicates for file in dumps) if dumps else None,
        sequence=contradictions(files, metadata, seen),
        port_dates=_port_dates(content.ported_at, as_of, limits),
        unknown_operators=_unknown_operators(files, merged),
        outside_plan=_outside_plan(files, merged),
        movement=Movement(
            ported=changed.changes.ported,
            returned=changed.changes.returned,
            moved=changed.changes.moved,
            updated=changed.updated_by_registry,
            flows=changed.flows,
        )
        if changed is not None
        else None,
        range_holders=range_holders(current, content) if current is not None else None,
        routing_numbers=_routing_numbers(content, current),
        drift=drift if isinstance(drift, Drift) else None,
        chosen=judged(expectations, routes_in(content, expectations))
        if expectations is not None
        else None,
        why_not={"drift": drift} if isinstance(drift, str) and drift else {},
    )


def facts_of_increments(
    files: Sequence[ParsedFile],
    snapshot: Snapshot,
    patch: Patch,
    effect: Effect,
    *,
    as_of: datetime,
    limits: GateLimits,
    seen: Mapping[str, str],
    expectations: Sequence[Expectation] | None,
) -> Evidence:
    """Return the facts about a patch of a snapshot."""
    metadata = snapshot.metadata
    before = ported_by_operator(snapshot)
    return Evidence(
        as_of=as_of,
        now=datetime.now(UTC),
        ported=effect.ported_after,
        by_operator=_by_operator_after(before, effect, patch),
        previous=Previous(
            ported=effect.ported_before,
            as_of=metadata.as_of,
            snapshot_id=metadata.snapshot_id,
            by_operator=before,
        ),
        row_counts=_row_counts(files),
        sequence=contradictions(files, metadata, seen),
        unknown_operators=_unnamed_operators(patch, effect.ported_after),
        windows=_window_dates(files),
        port_dates=_port_dates(patch.ported_at, as_of, limits),
        movement=Movement(
            ported=effect.count(Kind.PORTED),
            returned=effect.count(Kind.RETURNED),
            moved=effect.count(Kind.MOVED),
            updated=effect.count(Kind.UPDATED),
        ),
        chosen=judged(expectations, _routes_of(snapshot, patch, effect, expectations))
        if expectations is not None
        else None,
        why_not=_NOT_OF_INCREMENTS,
    )


def _row_counts(files: Sequence[ParsedFile]) -> Sequence[RowCount] | None:
    """Return the row counts that files state, None where no file states one."""
    counts = [
        RowCount(file=file.source.path.name, stated=file.stated_rows, actual=file.source.rows)
        for file in files
        if file.stated_rows is not None
    ]
    return counts or None


def _port_dates(
    ported_at: NDArray[np.uint32] | None, as_of: datetime, limits: GateLimits
) -> PortDates | None:
    """Return when numbers were ported (seconds since the epoch), None where nothing says so."""
    if ported_at is None:
        return None
    ahead = timedelta(hours=limits.port_dates_ahead_hours)
    # A time after 2106 does not fit the column: nothing can then lie ahead.
    latest = np.uint32(min((as_of + ahead).timestamp(), 2**32 - 1))
    newest = int(ported_at.max(initial=0, where=ported_at <= latest))
    return PortDates(
        newest=datetime.fromtimestamp(newest, UTC) if newest else None,
        ahead=int(np.count_nonzero(ported_at > latest)),
        dated=int(np.count_nonzero(ported_at)),
    )


def _window_dates(files: Sequence[ParsedFile]) -> Sequence[WindowDates]:
    """Return when the changes of each window took place, as far as its files say."""
    windows: dict[datetime, list[ParsedFile]] = {}
    for file in files:
        if file.source.as_of is not None:
            windows.setdefault(file.source.as_of, []).append(file)
    dates = []
    for time, together in windows.items():
        columns = [
            file.increment.changed_at
            for file in together
            if file.increment is not None and file.increment.changed_at is not None
        ]
        changed_at = np.concatenate([np.empty(0, np.uint32), *(each[each > 0] for each in columns)])
        if len(changed_at):
            middle = int(np.sort(changed_at)[(len(changed_at) - 1) // 2])
            dates.append(
                WindowDates(
                    name=together[0].source.path.name,
                    time=time,
                    middle=datetime.fromtimestamp(middle, UTC),
                    dated=len(changed_at),
                )
            )
    return dates


def _unknown_operators(files: Sequence[ParsedFile], merged: MergeResult) -> UnknownOperators | None:
    """Return the codes that the operator table lacks, None where there is no table."""
    if not merged.report.operator_rows:
        return None
    report, unknown = merged.report, merged.report.unknown_operators
    return UnknownOperators(
        codes=[f"{lack.code} ({lack.numbers} numbers, {lack.ranges} ranges)" for lack in unknown],
        numbers=sum(lack.numbers for lack in unknown),
        share=max(
            sum(lack.numbers for lack in unknown) / max(report.ported, 1),
            sum(lack.ranges for lack in unknown) / max(report.ranges, 1),
        ),
        where=_first_place(files, unknown[0].code) if unknown else "",
    )


def _unnamed_operators(patch: Patch, ported: int) -> UnknownOperators | None:
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
        numbers=numbers.total(),
        share=numbers.total() / max(ported, 1),
    )


def _outside_plan(files: Sequence[ParsedFile], merged: MergeResult) -> OutsidePlan | None:
    """Return the ported numbers that no range covers, None where there is no plan."""
    if not merged.report.ranges:
        return None
    outside = merged.report.outside_plan
    if outside is None:
        return OutsidePlan(count=0)
    first = int(merged.content.numbers[outside.first_index])
    where = _first_place(files, first)
    return OutsidePlan(count=outside.count, example=outside.example, where=where)


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
        row, count = np.unique(rows, return_counts=True)
        for at, numbers in zip(row.tolist(), count.tolist(), strict=True):
            after[names[at]] += step * numbers
    return after


def _routes_of(
    snapshot: Snapshot, patch: Patch, effect: Effect, expectations: Sequence[Expectation]
) -> Sequence[Route]:
    """Return the route that the patched snapshot, not yet written, gives to each chosen number."""
    numbers = np.array([each.number for each in expectations], np.uint64)
    rows = snapshot.lookup(numbers, overrides=False).route.astype(np.int64)
    at = np.minimum(patch.numbers.searchsorted(numbers), max(0, len(patch.numbers) - 1))
    if len(patch.numbers):
        changed = patch.numbers[at] == numbers
        rows[changed] = effect.after[at[changed]]
    return [patch.routes[row] for row in rows.tolist()]
