"""What a campaign costs, and what it would have cost otherwise."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from numroute_campaign.summary import CostSummary

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numroute.model import Operator
    from numroute_campaign.decisions import Decisions
    from numroute_campaign.prices import PriceList
    from numroute_campaign.routers import Router
    from numroute_campaign.sorting import Counts

_CENT: Final = Decimal("0.01")


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """Amounts of one run. ``of_code`` and ``price_of_code`` lack codes without a price."""

    summary: CostSummary
    of_code: Mapping[int, Decimal]
    price_of_code: Mapping[int, Decimal]


@dataclass(slots=True)
class _Sums:
    total: Decimal = Decimal(0)
    by_prefix: Decimal = Decimal(0)
    duplicates: Decimal = Decimal(0)
    unpriced: Counter[str] = field(default_factory=Counter)


def cost_of(
    prices: PriceList,
    router: Router,
    decisions: Decisions,
    counts: Counts,
    *,
    has_segments: bool,
) -> Costs:
    """Return the costs of everything that leaves.

    ``has_segments``: the list said how many segments each message has; else the price list does.
    """
    factor = 1 if has_segments else prices.segments
    sums = _Sums()
    price_of: dict[int, Decimal] = {}
    of_code: dict[int, Decimal] = {}
    for code, decision in decisions.decided.items():
        if not decision.destination:
            continue
        route = router.routes[code // 2]
        price = prices.price(route, decision.destination)
        numbers = int(counts.decided[code])
        if price is None:
            if numbers:
                sums.unpriced[_name(route.operator)] += numbers
            continue
        price_of[code] = price
        of_code[code] = price * int(counts.parts[code]) * factor
        sums.total += of_code[code]
        sums.duplicates += price * int(counts.duplicates[code]) * factor
    sums.by_prefix = sums.total
    for (code, holder), parts in counts.holder_parts.items():
        operator = router.operators[holder]
        route = router.routes[code // 2]
        if code not in price_of or operator == route.operator:
            continue
        wrong = prices.misrouted
        if wrong is None:
            wrong = prices.operator_price(operator, route)
        if wrong is not None:
            sums.by_prefix += (wrong - price_of[code]) * parts * factor
    return Costs(
        summary=CostSummary(
            currency=prices.currency,
            total=amount(sums.total),
            unpriced_numbers=sums.unpriced.total(),
            unpriced_operators=tuple(name for name, _ in sums.unpriced.most_common()),
            saved_duplicates=amount(sums.duplicates),
            by_prefix=amount(sums.by_prefix),
            saved_by_prefix=amount(sums.by_prefix - sums.total),
        ),
        of_code=of_code,
        price_of_code=price_of,
    )


def amount(value: Decimal) -> str:
    """Return an amount with two decimals."""
    return str(value.quantize(_CENT))


def _name(operator: Operator) -> str:
    return operator.brand or operator.name or operator.code or "numbers that nobody holds"
