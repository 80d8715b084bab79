"""From counts per route to the summary."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from numroute.campaign.rejects import MEANINGS, Reject
from numroute.campaign.summary import (
    FileSummary,
    OperatorSummary,
    RegionSummary,
    RejectSummary,
    RouteSummary,
    Steps,
    Summary,
)
from numroute.model import Status

if TYPE_CHECKING:
    from numroute.campaign.decisions import Decisions
    from numroute.campaign.lists.opening import Found
    from numroute.campaign.outputs import Outputs
    from numroute.campaign.routers import Router
    from numroute.campaign.sorting import Counts


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadFile:
    """One file, how it was read, and how many records it had."""

    name: str
    found: Found
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Facts:
    """Everything that a summary is made of."""

    files: tuple[ReadFile, ...]
    router: Router
    decisions: Decisions
    counts: Counts
    outputs: Outputs
    region: str
    kept: tuple[str, ...]


def summarize(facts: Facts) -> Summary:
    """Return the summary of a run."""
    counts, decisions = facts.counts, facts.decisions
    met = np.flatnonzero(counts.decided)
    decisions.settle(met)
    leaving = {
        code: int(counts.decided[code])
        for code in met.tolist()
        if decisions.decided[code].reject is Reject.NONE
    }
    rejects = _rejects(facts, met.tolist())
    routes = _routes(facts, leaving)
    by_reason = {Reject(i): int(n) for i, n in enumerate(counts.rejects.tolist()) if n}
    duplicates = by_reason.pop(Reject.DUPLICATE, 0)
    suppressed = by_reason.pop(Reject.SUPPRESSED, 0)
    rejected = sum(by_reason.values())
    routed = sum(leaving.values())
    valid = counts.rows - rejected
    names = [column for file in facts.files for column in file.found.columns]
    phones = {file.found.phone for file in facts.files}
    return Summary(
        files=_files(facts.files),
        snapshots=tuple(facts.router.snapshots),
        region=facts.region,
        policy="",
        pseudonymized=False,
        steps=Steps(
            rows=counts.rows,
            rejected=rejected,
            valid=valid,
            duplicates=duplicates,
            unique=valid - duplicates,
            suppressed=suppressed,
            refused=valid - duplicates - suppressed - routed,
            routed=routed,
        ),
        rejects=rejects,
        rejects_files=tuple(facts.outputs.rejects.names),
        routes=routes,
        operators=_operators(facts, leaving),
        regions=_regions(facts, leaving),
        rules=(),
        ported=sum(
            n
            for code, n in leaving.items()
            if facts.router.routes[code // 2].status is Status.PORTED
        ),
        misrouted_by_prefix=sum(
            n
            for (code, holder), n in counts.holders.items()
            if code in leaving
            and facts.router.operators[holder] != facts.router.routes[code // 2].operator
        ),
        cost=None,
        kept_columns=facts.kept,
        dropped_columns=tuple(
            dict.fromkeys(name for name in names if name not in facts.kept and name not in phones)
        ),
        warnings=(),
    )


def _files(files: tuple[ReadFile, ...]) -> tuple[FileSummary, ...]:
    summaries, first = [], 1
    for file in files:
        found = file.found
        summaries.append(
            FileSummary(
                name=file.name,
                form=found.form,
                encoding=found.encoding,
                delimiter=found.delimiter,
                has_header=found.has_header,
                phone_column=found.phone,
                rows=file.rows,
                first_row_id=first,
            )
        )
        first += file.rows
    return tuple(summaries)


def _rejects(facts: Facts, met: list[int]) -> tuple[RejectSummary, ...]:
    rows: Counter[tuple[Reject, str]] = Counter()
    for value, n in enumerate(facts.counts.rejects.tolist()):
        if n:
            rows[Reject(value), ""] += n
    for code in met:
        decision = facts.decisions.decided[code]
        if decision.reject is not Reject.NONE:
            rows[decision.reject, decision.rule] += int(facts.counts.decided[code])
    return tuple(
        RejectSummary(reason=reason.name, meaning=MEANINGS[reason], rule=rule, rows=n)
        for (reason, rule), n in sorted(rows.items(), key=lambda item: (-item[1], item[0]))
    )


def _routes(facts: Facts, leaving: dict[int, int]) -> tuple[RouteSummary, ...]:
    numbers: Counter[int] = Counter()
    for code, n in leaving.items():
        numbers[int(facts.decisions.destination[code])] += n
    return tuple(
        RouteSummary(
            name=facts.decisions.destinations[place],
            numbers=n,
            files=facts.outputs.files_of(place),
            cost="",
        )
        for place, n in sorted(
            numbers.items(), key=lambda item: (-item[1], facts.decisions.destinations[item[0]])
        )
    )


def _operators(facts: Facts, leaving: dict[int, int]) -> tuple[OperatorSummary, ...]:
    numbers: Counter[tuple[str, str, str]] = Counter()
    ported: Counter[tuple[str, str, str]] = Counter()
    parts: Counter[tuple[str, str, str]] = Counter()
    for code, n in leaving.items():
        route = facts.router.routes[code // 2]
        key = (route.operator.code, route.operator.name, route.operator.brand)
        numbers[key] += n
        parts[key] += int(facts.counts.parts[code])
        if route.status is Status.PORTED:
            ported[key] += n
    return tuple(
        OperatorSummary(
            code=key[0],
            name=key[1],
            brand=key[2],
            numbers=n,
            ported=ported[key],
            parts=parts[key],
            price="",
            cost="",
        )
        for key, n in sorted(numbers.items(), key=lambda item: (-item[1], item[0]))
    )


def _regions(facts: Facts, leaving: dict[int, int]) -> tuple[RegionSummary, ...]:
    numbers: Counter[tuple[str, str]] = Counter()
    ported: Counter[tuple[str, str]] = Counter()
    for code, n in leaving.items():
        route = facts.router.routes[code // 2]
        key = (route.region.code, route.region.name)
        numbers[key] += n
        if route.status is Status.PORTED:
            ported[key] += n
    return tuple(
        RegionSummary(code=key[0], name=key[1], numbers=n, ported=ported[key])
        for key, n in sorted(numbers.items(), key=lambda item: (-item[1], item[0]))
    )
