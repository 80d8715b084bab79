"""What a campaign run did: counts per route in, ``summary.json`` and the report out."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

import numpy as np

from numroute.model import Status
from numroute_campaign.decisions import MEANINGS, Reject
from numroute_campaign.lists.column_names import printable_names
from numroute_campaign.prices import amount, cost_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from numroute_campaign.decisions import Decisions
    from numroute_campaign.lists.opening import Found
    from numroute_campaign.policy import Policy
    from numroute_campaign.prices import Costs, CostSummary, PriceList
    from numroute_campaign.routers import Router
    from numroute_campaign.sorting import Counts


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSummary:
    """How one file of the list was read. ``first_row_id`` counts from 1 over all files."""

    name: str
    form: str
    encoding: str
    delimiter: str
    has_header: bool
    phone_column: str
    rows: int
    first_row_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectSummary:
    """Rows that did not leave for one reason; ``rule`` is the policy's rule, where one decided."""

    reason: str
    meaning: str
    rule: str
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteSummary:
    """One output route. ``files`` are names within the output folder."""

    name: str
    numbers: int
    files: tuple[str, ...]
    cost: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorSummary:
    """What left to one operator.

    ``price`` (of a segment) and ``cost`` are decimal texts; empty where no price is known,
    ``price`` also where several apply.
    """

    code: str
    name: str
    brand: str
    numbers: int
    ported: int
    parts: int
    price: str
    cost: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionSummary:
    """What left to one region."""

    code: str
    name: str
    numbers: int
    ported: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleSummary:
    """How many numbers a rule of the policy decided about."""

    name: str
    numbers: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """Rows through the steps: ``rows`` is the sum of all others but ``valid`` and ``unique``.

    Attributes:
        rows: Read.
        rejected: No number, or a damaged row.
        valid: ``rows`` less ``rejected``.
        duplicates: The number stood in an earlier row.
        unique: ``valid`` less ``duplicates``.
        suppressed: On the do-not-send list.
        refused: By the policy: excluded, unallocated, foreign and so on.
        routed: Written to the output routes.
    """

    rows: int
    rejected: int
    valid: int
    duplicates: int
    unique: int
    suppressed: int
    refused: int
    routed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What a run did. The same list, options and snapshot give the same summary.

    Attributes:
        snapshots: Ids of the snapshots that answered; one, unless a service changed to a new one.
        ported: How many routed numbers are not served by their range holder's prefix.
        misrouted_by_prefix: Routed numbers whose range holder is another operator than the one
            that serves them.
        kept_columns: What leaves beside number, route and row id.
        dropped_columns: What stayed.
        warnings: What the reader of the report must know.
    """

    files: tuple[FileSummary, ...]
    snapshots: tuple[str, ...]
    region: str
    policy: str
    pseudonymized: bool
    steps: Steps
    rejects: tuple[RejectSummary, ...]
    rejects_files: tuple[str, ...]
    routes: tuple[RouteSummary, ...]
    operators: tuple[OperatorSummary, ...]
    regions: tuple[RegionSummary, ...]
    rules: tuple[RuleSummary, ...]
    ported: int
    misrouted_by_prefix: int
    cost: CostSummary | None
    kept_columns: tuple[str, ...]
    dropped_columns: tuple[str, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadFile:
    """One file, how it was read, and how many records it had."""

    name: str
    found: Found
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Facts:
    """Everything that the summary is computed from; ``files_of`` names a destination's files."""

    files: tuple[ReadFile, ...]
    router: Router
    decisions: Decisions
    counts: Counts
    files_of: Callable[[int], tuple[str, ...]]
    rejects_files: tuple[str, ...]
    region: str
    kept: tuple[str, ...]
    policy: Policy | None
    prices: PriceList | None
    has_segments: bool
    pseudonymized: bool
    warnings: tuple[str, ...]


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
    costs = (
        cost_of(facts.prices, facts.router, decisions, counts, has_segments=facts.has_segments)
        if facts.prices is not None
        else None
    )
    routes = _routes(facts, leaving, costs)
    by_reason = {Reject(i): int(n) for i, n in enumerate(counts.rejects.tolist()) if n}
    duplicates = by_reason.pop(Reject.DUPLICATE, 0)
    suppressed = by_reason.pop(Reject.SUPPRESSED, 0)
    rejected = sum(by_reason.values())
    routed = sum(leaving.values())
    valid = counts.rows - rejected
    stayed = [
        shown
        for file in facts.files
        for name, shown in zip(file.found.columns, printable_names(file.found.columns), strict=True)
        if name not in facts.kept and name != file.found.phone
    ]
    return Summary(
        files=_files(facts.files),
        snapshots=tuple(facts.router.snapshots),
        region=facts.region,
        policy="" if facts.policy is None else facts.policy.name,
        pseudonymized=facts.pseudonymized,
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
        rejects_files=facts.rejects_files,
        routes=routes,
        operators=_operators(facts, leaving, costs),
        regions=_regions(facts, leaving),
        rules=_rules(facts, met.tolist()),
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
        cost=None if costs is None else costs.summary,
        kept_columns=facts.kept,
        dropped_columns=tuple(dict.fromkeys(stayed)),
        warnings=(*facts.warnings, *_warnings(costs)),
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
                phone_column=found.shown_phone,
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


def _routes(facts: Facts, leaving: dict[int, int], costs: Costs | None) -> tuple[RouteSummary, ...]:
    numbers: Counter[int] = Counter()
    cost: dict[int, Decimal] = {}
    for code, n in leaving.items():
        place = int(facts.decisions.destination[code])
        numbers[place] += n
        if costs is not None and code in costs.of_code:
            cost[place] = cost.get(place, Decimal(0)) + costs.of_code[code]
    return tuple(
        RouteSummary(
            name=facts.decisions.destinations[place],
            numbers=n,
            files=facts.files_of(place),
            cost=amount(cost[place]) if place in cost else "",
        )
        for place, n in sorted(
            numbers.items(), key=lambda item: (-item[1], facts.decisions.destinations[item[0]])
        )
    )


def _rules(facts: Facts, met: list[int]) -> tuple[RuleSummary, ...]:
    if facts.policy is None:
        return ()
    numbers: Counter[str] = Counter()
    for code in met:
        numbers[facts.decisions.decided[code].rule] += int(facts.counts.decided[code])
    return tuple(
        RuleSummary(name=rule.name, numbers=numbers[rule.name]) for rule in facts.policy.rules
    )


def _warnings(costs: Costs | None) -> tuple[str, ...]:
    if costs is None or not costs.summary.unpriced_numbers:
        return ()
    names = costs.summary.unpriced_operators
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""  # noqa: PLR2004 - enough to see
    text = f"the total leaves out {costs.summary.unpriced_numbers:,} numbers without a price: "
    return (text + ", ".join(names[:5]) + more,)


def _operators(
    facts: Facts, leaving: dict[int, int], costs: Costs | None
) -> tuple[OperatorSummary, ...]:
    prices: dict[tuple[str, str, str], set[Decimal]] = {}
    cost: dict[tuple[str, str, str], Decimal] = {}
    numbers: Counter[tuple[str, str, str]] = Counter()
    ported: Counter[tuple[str, str, str]] = Counter()
    segments: Counter[tuple[str, str, str]] = Counter()
    for code, n in leaving.items():
        route = facts.router.routes[code // 2]
        key = (route.operator.code, route.operator.name, route.operator.brand)
        numbers[key] += n
        segments[key] += int(facts.counts.parts[code])
        if route.status is Status.PORTED:
            ported[key] += n
        if costs is not None and code in costs.of_code:
            cost[key] = cost.get(key, Decimal(0)) + costs.of_code[code]
            prices.setdefault(key, set()).add(costs.price_of_code[code])
    return tuple(
        OperatorSummary(
            code=key[0],
            name=key[1],
            brand=key[2],
            numbers=n,
            ported=ported[key],
            parts=segments[key],
            price=str(min(prices[key])) if len(prices.get(key, ())) == 1 else "",
            cost=amount(cost[key]) if key in cost else "",
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
