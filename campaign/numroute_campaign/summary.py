"""What a campaign run did: from counts per route to one value, written as ``summary.json``."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from numroute.model import Status
from numroute_campaign.prices import amount, cost_of
from numroute_campaign.vocabulary import MEANINGS, Phrase, Reject

if TYPE_CHECKING:
    from collections.abc import Callable

    from numroute.model import Route
    from numroute_campaign.lists.opening import FileSummary
    from numroute_campaign.policy import Policy
    from numroute_campaign.prices import Bill, CostSummary, PriceList
    from numroute_campaign.routers import Router
    from numroute_campaign.sorting import Counts, Decisions

    Key = TypeVar("Key", str, tuple[str, str], tuple[str, str, str])

NAMES_MAX = 5
"""Operators without a price that the warning names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectSummary:
    """Rows that were not routed for one reason.

    ``rule``: the policy rule that decided, if any; ``samples``: the first cells, masked.
    """

    reason: str
    meaning: str
    rule: str
    rows: int
    samples: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteSummary:
    """One output route. ``files`` are names within the output folder."""

    name: str
    numbers: int
    files: tuple[str, ...]
    cost: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorSummary:
    """What was routed to one operator.

    ``price`` (of a segment) and ``cost`` are decimal texts; both are empty if no price is known,
    ``price`` also if several apply.
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
    """What was routed to one region."""

    code: str
    name: str
    numbers: int
    ported: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleSummary:
    """How many numbers a policy rule decided."""

    name: str
    numbers: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """Rows through the steps.

    ``rows`` and ``further`` are the sum of ``rejected``, ``duplicates``, ``suppressed``,
    ``refused`` and ``routed``.

    Attributes:
        rows: Read.
        rejected: Without a valid number, or damaged.
        valid: ``rows`` less ``rejected``.
        further: Numbers besides the first of a cell, each counted as a row (``--several all``).
        duplicates: With a number that an earlier row has.
        unique: ``valid`` and ``further`` less ``duplicates``.
        suppressed: On the do-not-send list.
        refused: By the policy: excluded, unallocated, foreign and so on.
        routed: Written to the output routes.
    """

    rows: int
    rejected: int
    valid: int
    further: int = 0
    duplicates: int
    unique: int
    suppressed: int
    refused: int
    routed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What a run did. The same list, options and snapshot give the same summary.

    Attributes:
        has_failed: Whether more rows were rejected than the campaign allows.
        snapshots: Ids of the snapshots that answered; one, unless a service changed to a new one.
        ported: How many of the routed numbers are ported.
        misrouted_by_prefix: Routed numbers that another operator serves than their range holder.
        kept_columns: Columns of the list in the outputs, beside number, route and row id.
        dropped_columns: Columns of the list that are not in the outputs.
        warnings: What the reader should know.
    """

    files: tuple[FileSummary, ...]
    snapshots: tuple[str, ...]
    region: str
    policy: str
    pseudonymized: bool
    has_failed: bool = False
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


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Facts:
    """Everything that the summary is computed from; ``files_of`` names a destination's files."""

    files: tuple[FileSummary, ...]
    router: Router
    decisions: Decisions
    counts: Counts
    files_of: Callable[[int], tuple[str, ...]]
    rejects_files: tuple[str, ...]
    region: str
    kept: tuple[str, ...]
    dropped: tuple[str, ...]
    policy: Policy | None
    prices: PriceList | None
    has_segments: bool
    pseudonymized: bool
    has_failed: bool = False
    warnings: tuple[str, ...]


def summarize(facts: Facts) -> Summary:
    """Return the summary of a run."""
    counts, decisions = facts.counts, facts.decisions
    reached = np.flatnonzero(counts.decided).tolist()
    routed = {code for code in reached if decisions.decided[code].reject is Reject.NONE}
    cost, bill = None, None
    if facts.prices is not None:
        cost, bill = cost_of(
            facts.prices, facts.router, decisions, counts, has_segments=facts.has_segments
        )
    totals = _Totals(facts, sorted(routed), bill)
    return Summary(
        files=facts.files,
        snapshots=tuple(facts.router.snapshots),
        region=facts.region,
        policy="" if facts.policy is None else facts.policy.name,
        pseudonymized=facts.pseudonymized,
        has_failed=facts.has_failed,
        steps=_steps(counts, int(counts.decided[sorted(routed)].sum())),
        rejects=_rejects(facts, reached),
        rejects_files=facts.rejects_files,
        routes=totals.routes(),
        operators=totals.operators(),
        regions=totals.regions(),
        rules=_rules(facts, reached),
        ported=sum(
            int(counts.decided[code])
            for code in routed
            if facts.router.routes[code // 2].status is Status.PORTED
        ),
        misrouted_by_prefix=sum(
            numbers
            for (code, holder), numbers in counts.holders.items()
            if code in routed
            and facts.router.operators[holder] != facts.router.routes[code // 2].operator
        ),
        cost=cost,
        kept_columns=facts.kept,
        dropped_columns=facts.dropped,
        warnings=(*facts.warnings, *_unpriced_warning(cost)),
    )


def _steps(counts: Counts, routed: int) -> Steps:
    duplicates = int(counts.rejects[Reject.DUPLICATE])
    suppressed = int(counts.rejects[Reject.SUPPRESSED])
    rejected = int(counts.rejects.sum()) - duplicates - suppressed
    unique = counts.rows + counts.further_taken - rejected - duplicates
    return Steps(
        rows=counts.rows,
        rejected=rejected,
        valid=counts.rows - rejected,
        further=counts.further_taken,
        duplicates=duplicates,
        unique=unique,
        suppressed=suppressed,
        refused=unique - suppressed - routed,
        routed=routed,
    )


def _rejects(facts: Facts, reached: list[int]) -> tuple[RejectSummary, ...]:
    rows: Counter[tuple[Reject, str]] = Counter()
    for value in np.flatnonzero(facts.counts.rejects).tolist():
        rows[Reject(value), ""] += int(facts.counts.rejects[value])
    for code in reached:
        decision = facts.decisions.decided[code]
        if decision.reject is not Reject.NONE:
            rows[decision.reject, decision.rule] += int(facts.counts.decided[code])
    return tuple(
        RejectSummary(
            reason=reason.name,
            meaning=MEANINGS[reason],
            rule=rule,
            rows=n,
            samples=tuple(facts.counts.samples.get(reason, ())),
        )
        for (reason, rule), n in sorted(rows.items(), key=lambda item: (-item[1], item[0]))
    )


def _rules(facts: Facts, reached: list[int]) -> tuple[RuleSummary, ...]:
    if facts.policy is None:
        return ()
    numbers: Counter[str] = Counter()
    for code in reached:
        numbers[facts.decisions.decided[code].rule] += int(facts.counts.decided[code])
    return tuple(
        RuleSummary(name=rule.name, numbers=numbers[rule.name]) for rule in facts.policy.rules
    )


def _unpriced_warning(cost: CostSummary | None) -> tuple[str, ...]:
    if cost is None or not cost.unpriced_numbers:
        return ()
    names = cost.unpriced_operators
    more = len(names) - NAMES_MAX
    return (
        Phrase(
            "the total leaves out {} numbers without a price: {}{}",
            f"{cost.unpriced_numbers:,}",
            ", ".join(names[:NAMES_MAX]),
            Phrase(" and {} more, see summary.json", str(more)) if more > 0 else "",
        ),
    )


@dataclass(slots=True)
class _Total:
    """Sums over some of the routed numbers; ``cost`` is None if none of them has a price."""

    numbers: int = 0
    ported: int = 0
    parts: int = 0
    cost: Decimal | None = None
    prices: set[Decimal] = field(default_factory=set)

    @property
    def cost_text(self) -> str:
        return "" if self.cost is None else amount(self.cost)


class _Totals:
    """Sums of what was routed, by destination, operator and region."""

    def __init__(self, facts: Facts, routed: list[int], bill: Bill | None) -> None:
        self._facts, self._routed, self._bill = facts, routed, bill

    def routes(self) -> tuple[RouteSummary, ...]:
        decisions = self._facts.decisions
        places = {name: place for place, name in enumerate(decisions.destinations)}
        return tuple(
            RouteSummary(
                name=name,
                numbers=total.numbers,
                files=self._facts.files_of(places[name]),
                cost=total.cost_text,
            )
            for name, total in self._by(
                lambda code, _: decisions.decided[code].group or decisions.decided[code].destination
            )
        )

    def operators(self) -> tuple[OperatorSummary, ...]:
        return tuple(
            OperatorSummary(
                code=code,
                name=name,
                brand=brand,
                numbers=total.numbers,
                ported=total.ported,
                parts=total.parts,
                price=str(min(total.prices)) if len(total.prices) == 1 else "",
                cost=total.cost_text,
            )
            for (code, name, brand), total in self._by(
                lambda _, route: (route.operator.code, route.operator.name, route.operator.brand)
            )
        )

    def regions(self) -> tuple[RegionSummary, ...]:
        return tuple(
            RegionSummary(code=code, name=name, numbers=total.numbers, ported=total.ported)
            for (code, name), total in self._by(
                lambda _, route: (route.region.code, route.region.name)
            )
        )

    def _by(self, key_of: Callable[[int, Route], Key]) -> list[tuple[Key, _Total]]:
        """Return the sums by a key of code and route, the largest first."""
        totals: dict[Key, _Total] = {}
        counts, bill = self._facts.counts, self._bill
        for code in self._routed:
            route = self._facts.router.routes[code // 2]
            total = totals.setdefault(key_of(code, route), _Total())
            numbers = int(counts.decided[code])
            total.numbers += numbers
            total.parts += int(counts.parts[code])
            total.ported += numbers if route.status is Status.PORTED else 0
            if bill is not None and code in bill.of_code:
                total.cost = (total.cost or Decimal(0)) + bill.of_code[code]
                total.prices.add(bill.price_of_code[code])
        return sorted(totals.items(), key=lambda item: (-item[1].numbers, item[0]))
