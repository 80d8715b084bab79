"""Price lists, and what a campaign costs by one.

A TOML file::

    currency = "RUB"
    segments = 1               # of every message, unless a column of the list says so
    misrouted = "4.90"         # a segment handed to an operator that no longer serves the number

    [[price]]
    brand = "MTS"              # brand, operator, network, region, line_type as in a policy
    route = "smsc-mts"         # only for this output route
    price = "2.35"
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Final

import msgspec

from numroute_campaign.lists.segments import SEGMENTS_MAX
from numroute_campaign.policy import Conditions, Text, read_toml

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numroute.model import Operator, Route
    from numroute_campaign.decisions import Decisions
    from numroute_campaign.routers import Router
    from numroute_campaign.sorting import Counts

_CENT: Final = Decimal("0.01")
_AMOUNT: Final = re.compile(r"\d{1,9}(\.\d{1,9})?")

Amount = str | int | float


class Price(Conditions, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A ``[[price]]``: an amount per segment, with conditions as in a policy.

    ``route``: the output route that it is for; empty = every route.
    """

    price: Amount
    route: Text | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        parse_amount("price", self.price)

    @property
    def amount(self) -> Decimal:
        """The amount per segment."""
        return parse_amount("price", self.price)


class PriceList(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A price file. The first price whose conditions hold applies.

    ``misrouted``: what a segment costs that is handed to an operator that does not serve the number
    any more; None = the range holder's own price.
    """

    currency: str
    segments: Annotated[int, msgspec.Meta(ge=1, le=SEGMENTS_MAX)] = 1
    misrouted: Amount | None = None
    price: tuple[Price, ...] = ()

    def __post_init__(self) -> None:
        if not re.fullmatch("[A-Z]{3}", self.currency):
            raise ValueError(
                f"invalid currency {self.currency!r}. Write its ISO 4217 code, e.g. RUB"
            )
        if self.misrouted is not None:
            parse_amount("misrouted", self.misrouted)

    def price_of(self, route: Route, destination: str) -> Decimal | None:
        """Return the price of a segment to a route through an output route, None if unknown."""
        for price in self.price:
            if price.route in {None, destination} and price.matches(route):
                return price.amount
        return None

    def misrouted_price(self, operator: Operator, route: Route) -> Decimal | None:
        """Return the price of a segment for ``route`` that is handed to another operator."""
        if self.misrouted is not None:
            return parse_amount("misrouted", self.misrouted)
        held = type(route)(
            status=route.status, operator=operator, region=route.region, line_type=route.line_type
        )
        return next(
            (each.amount for each in self.price if each.route is None and each.matches(held)), None
        )


def read_prices(path: Path) -> PriceList:
    """Read and check a price file.

    Raises:
        InputError: The file cannot be read, is not TOML, or a key of it is wrong.
    """
    return read_toml(path, PriceList, (PriceList, Price))


def parse_amount(key: str, value: Amount) -> Decimal:
    """Return an amount; a TOML float counts as it was written. Raises ValueError."""
    if isinstance(value, bool) or not _AMOUNT.fullmatch(str(value)):
        raise ValueError(f'{key}: invalid amount {value!r}. Write e.g. "2.35"')
    return Decimal(str(value))


@dataclass(frozen=True, slots=True, kw_only=True)
class CostSummary:
    """Costs from the price list; amounts are decimal texts in ``currency``.

    Attributes:
        total: Of all numbers that left and have a price.
        unpriced_numbers: Numbers that left and have none: they are not in ``total``.
        unpriced_operators: Whose they are.
        saved_duplicates: What the dropped duplicates would have cost.
        by_prefix: What ``total``'s numbers would have cost, each at its range holder's price.
        saved_by_prefix: ``by_prefix`` less ``total``.
    """

    currency: str
    total: str
    unpriced_numbers: int
    unpriced_operators: tuple[str, ...]
    saved_duplicates: str
    by_prefix: str
    saved_by_prefix: str


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
        price = prices.price_of(route, decision.destination)
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
        wrong = prices.misrouted_price(operator, route)
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
