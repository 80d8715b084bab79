"""Gathers the facts that the gate judges: from the files, what they became, and the store."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from numroute.errors import InputError
from numroute.index import Changes
from numroute.index.compare import Kind, by_operator, operator_name, ported_by_operator
from numroute.model import mask_digits, mask_number
from numroute_loader.commented_csv import read_table
from numroute_loader.differences import drift_of, range_holders
from numroute_loader.gate.evidence import Drift, Evidence, RoutingNumbers
from numroute_loader.gate.findings import NAMED_MAX
from numroute_loader.inputs import contradictions, source_of
from numroute_loader.merge import UnknownOperator
from numroute_loader.merge.routes import counted
from numroute_loader.registries import find_first, kind_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from numpy.typing import NDArray

    from numroute.index import Content, Patch, Snapshot
    from numroute.index.compare import Difference, Effect
    from numroute.model import Route
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
    drift: Drift | str = ""
    if current is not None and changed is not None:
        dumps = [source_of(file) for file in files if file.ported is not None]
        drift = drift_of(current, content, changed, dumps, as_of)
    metadata = current.metadata if current is not None else None
    unknown, outside = report.unknown_operators, report.outside_plan
    numbers = np.array([each.number for each in expectations or ()], np.uint64)
    pieces = content.range_start.searchsorted(numbers, side="right") - 1
    rows = content.range_route[pieces].astype(np.int64)
    rows = _replaced(rows, numbers, content.numbers, content.number_route)
    return Evidence(
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
        sequence=contradictions(files, metadata, seen),
        unknown_operators=unknown if report.operator_rows else None,
        outside_plan=outside,
        range_holders=range_holders(current, content) if current is not None else None,
        routing_numbers=_routing_numbers(content, current),
        drift=drift if isinstance(drift, Drift) else None,
        expected=None if expectations is None else len(expectations),
        wrong=unmet(expectations or (), [content.routes[row] for row in rows.tolist()]),
        where={
            "unknown_operators": _first_place(files, unknown[0].code) if unknown else "",
            "outside_plan": _first_place(files, int(content.numbers[outside.first_index]))
            if outside
            else "",
        },
        why_not={"drift": drift} if isinstance(drift, str) and drift else {},
    )


def facts_of_increments(
    files: Sequence[ParsedFile],
    snapshot: Snapshot,
    patch: Patch,
    effect: Effect,
    *,
    as_of: datetime,
    seen: Mapping[str, str],
    expectations: Sequence[Expectation] | None,
) -> Evidence:
    """Return the facts about a patch of a snapshot."""
    metadata = snapshot.metadata
    before = ported_by_operator(snapshot)
    numbers = np.array([each.number for each in expectations or ()], np.uint64)
    rows = snapshot.lookup(numbers, overrides=False).route.astype(np.int64)
    rows = _replaced(rows, numbers, patch.numbers, effect.after)
    return Evidence(
        as_of=as_of,
        files=files,
        ported=effect.ported_after,
        by_operator=_by_operator_after(before, effect, patch),
        ported_at=patch.ported_at,
        current=metadata,
        ported_before=effect.ported_before,
        by_operator_before=before,
        changes=changes_of(effect, metadata.snapshot_id),
        sequence=contradictions(files, metadata, seen),
        unknown_operators=_unnamed_operators(patch),
        expected=None if expectations is None else len(expectations),
        wrong=unmet(expectations or (), [patch.routes[row] for row in rows.tolist()]),
        why_not=_NOT_OF_INCREMENTS,
    )


def changes_of(effect: Effect, against: str) -> Changes:
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


def unmet(expectations: Sequence[Expectation], routes: Sequence[Route]) -> Sequence[str]:
    """Say which expectations are not met; ``routes`` are the answers to them, in order."""
    served = [
        operator_name(route.operator) if route.status.has_route else NOBODY for route in routes
    ]
    return [
        f"{expectation.where}: {mask_number(expectation.number)} is served by {_shown(operator)}, "
        f"{_shown(expectation.operator)} is expected"
        for expectation, operator in zip(expectations, served, strict=True)
        if operator != expectation.operator
    ]


def _shown(operator: str) -> str:
    return "nobody" if operator == NOBODY else mask_digits(operator)
