"""Price lists: what a message to an operator costs.

A TOML file, validated like a policy::

    currency = "RUB"
    segments = 1               # of every message, unless a column of the list says so
    misrouted = "4.90"         # a message handed to an operator that no longer serves the number

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
from typing import TYPE_CHECKING, Final

from numroute_campaign.policy.document import Document
from numroute_campaign.policy.reading import read_conditions
from numroute_campaign.policy.rules import Rule

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numroute.model import Operator, Route
    from numroute_campaign.decisions import Decisions
    from numroute_campaign.routers import Router
    from numroute_campaign.sorting import Counts

SEGMENTS_MAX: Final = 255
"""Segments of one long message: the counter of the concatenation header has eight bits."""

_KEYS: Final = ("currency", "segments", "misrouted", "price")
_CONDITIONS: Final = ("brand", "operator", "network", "region", "line_type")
_PRICE_KEYS: Final = (*_CONDITIONS, "route", "price")
_CURRENCY: Final = re.compile(r"[A-Z]{3}")
_CENT: Final = Decimal("0.01")
_AMOUNT: Final = re.compile(r"\d{1,9}(\.\d{1,9})?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """An amount per segment, and what it is for."""

    rule: Rule
    route: str
    amount: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceList:
    """Prices in order: the first that matches counts.

    ``misrouted``: What a segment costs that is handed to an operator that does not serve the number
    any more; None = the range holder's own price.
    """

    currency: str
    segments: int
    misrouted: Decimal | None
    prices: tuple[Price, ...]

    def price(self, route: Route, destination: str) -> Decimal | None:
        """Return what a segment to this route costs through an output route, None when unknown."""
        return next(
            (
                price.amount
                for price in self.prices
                if price.route in {"", destination} and price.rule.matches(route)
            ),
            None,
        )

    def operator_price(self, operator: Operator, like: Route) -> Decimal | None:
        """Return what a segment would cost if ``operator`` served a route."""
        held = type(like)(
            status=like.status, operator=operator, region=like.region, line_type=like.line_type
        )
        return next(
            (price.amount for price in self.prices if not price.route and price.rule.matches(held)),
            None,
        )


def read_prices(path: Path) -> PriceList:
    """Read and validate a price list.

    Raises:
        InputError: It is not TOML, or says something that means nothing; names the line.
    """
    document = Document(path)
    data = document.data
    document.refuse_unknown((), data, _KEYS)
    if "currency" not in data:
        raise document.error((), "there is no currency", hint='Write currency = "RUB"')
    currency = document.text(("currency",), data["currency"])
    if not _CURRENCY.fullmatch(currency):
        raise document.error(
            ("currency",), f"{currency!r} is no currency", hint="Write its ISO 4217 code, e.g. RUB"
        )
    segments = data.get("segments", 1)
    if (
        isinstance(segments, bool)
        or not isinstance(segments, int)
        or not 1 <= segments <= SEGMENTS_MAX
    ):
        raise document.error(
            ("segments",), f"segments must be a whole number from 1 to {SEGMENTS_MAX}"
        )
    tables = data.get("price", [])
    if not isinstance(tables, list) or not all(isinstance(each, dict) for each in tables):
        raise document.error(("price",), "prices are written as [[price]]")
    prices = []
    for i, table in enumerate(tables):
        at = ("price", i)
        document.refuse_unknown(at, table, _PRICE_KEYS)
        if "price" not in table:
            raise document.error(at, "the price is missing", hint='Write price = "2.35"')
        prices.append(
            Price(
                rule=Rule(
                    name=f"price {i + 1}",
                    line=document.line(at),
                    **read_conditions(document, at, table),
                ),
                route=document.text((*at, "route"), table["route"]) if "route" in table else "",
                amount=_amount(document, (*at, "price"), table["price"]),
            )
        )
    return PriceList(
        currency=currency,
        segments=segments,
        misrouted=_amount(document, ("misrouted",), data["misrouted"])
        if "misrouted" in data
        else None,
        prices=tuple(prices),
    )


def _amount(document: Document, keys: tuple[str | int, ...], value: object) -> Decimal:
    """Return an amount; a TOML float is taken by its shortest text, as it was written."""
    text = str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value
    if not isinstance(text, str) or not _AMOUNT.fullmatch(text):
        raise document.error(keys, f"{value!r} is no amount", hint='Write e.g. "2.35"')
    return Decimal(text)


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
