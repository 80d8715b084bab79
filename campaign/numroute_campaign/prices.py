"""Price lists (TOML, see docs/campaign.md), and what a campaign costs by one.

The step that the segments before this list and of this list reach together applies to the list.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Final

import msgspec

from numroute.model import Route
from numroute_campaign.policy import Conditions, Text, listed, read_toml
from numroute_campaign.routers import Router
from numroute_campaign.sorting import Counts, Decisions
from numroute_campaign.vocabulary import CATEGORIES, SEGMENTS_MAX, Category

PRICE_MAX: Final = 10**9

_CENT: Final = Decimal("0.01")


class Step(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A volume step: the price from a number of segments on."""

    begin: Annotated[int, msgspec.Meta(ge=1)] = msgspec.field(name="from")
    price: Decimal


class Price(Conditions, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A ``[[price]]``: what a segment costs, with conditions as in a policy.

    Attributes:
        route: The output route that it is for; None = every route.
        category: The traffic categories that it is for.
        price: Of a segment below the first step.
        sent: Segments that count towards the steps before this list.
        step: Volume steps, ascending.
    """

    price: Decimal
    route: Text | None = None
    category: Category | Annotated[tuple[Category, ...], msgspec.Meta(min_length=1)] = CATEGORIES
    sent: Annotated[int, msgspec.Meta(ge=0)] = 0
    step: tuple[Step, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        amounts = (self.price, *(step.price for step in self.step))
        if not all(each.is_finite() and 0 <= each < PRICE_MAX for each in amounts):
            raise ValueError('price: invalid amount. Write e.g. "2.35"')
        begins = [step.begin for step in self.step]
        if sorted(set(begins)) != begins:
            raise ValueError("step: the steps must ascend")

    def steps_after(self, segments: int) -> tuple[Step, ...]:
        """Return the steps that ``segments`` of the list do not reach."""
        return tuple(step for step in self.step if step.begin > self.sent + segments)

    def amount(self, segments: int) -> Decimal:
        """Return what a segment costs if this price applies to ``segments`` of the list."""
        reached = self.step[: len(self.step) - len(self.steps_after(segments))]
        return reached[-1].price if reached else self.price

    @property
    def label(self) -> str:
        """The conditions, for reports."""
        names = (*Conditions.__struct_fields__, "route")
        return ", ".join(text for name in names for text in listed(getattr(self, name) or ()))


class PriceList(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A price file. The first price whose conditions hold applies."""

    currency: Annotated[str, msgspec.Meta(pattern=r"^[A-Z]{3}\Z")]
    segments: Annotated[int, msgspec.Meta(ge=1, le=SEGMENTS_MAX)] = 1
    category: Category = CATEGORIES[0]
    price: tuple[Price, ...] = ()

    @property
    def categories(self) -> tuple[str, ...]:
        """The categories that have prices of their own, and the one of the list."""
        named: set[str] = {self.category}
        for price in self.price:
            named |= set(listed(price.category)) if price.category != CATEGORIES else set()
        return tuple(each for each in CATEGORIES if each in named)

    def find(self, route: Route, destination: str, category: str) -> int | None:
        """Return the place of the price for a route and an output route, None if there is none.

        An empty ``destination`` stands for no output route in particular.
        """
        for place, price in enumerate(self.price):
            is_for = price.route in {None, destination} and category in listed(price.category)
            if is_for and price.matches(route):
                return place
        return None


def read_prices(
    path: Path, *, category: str | None = None, segments: int | None = None
) -> PriceList:
    """Read and check a price file, errors as in ``read_toml``; arguments replace its own terms."""
    prices = read_toml(path, PriceList)
    return msgspec.structs.replace(
        prices, category=category or prices.category, segments=segments or prices.segments
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CategorySummary:
    """What the list costs as traffic of one category."""

    category: str
    total: str
    unpriced_numbers: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSummary:
    """A price, by its conditions, whose next volume step is not reached.

    ``segments`` counts those sent before, too; ``saving`` is what this list's would cost less.
    """

    name: str
    segments: int
    price: str
    next_from: int
    next_price: str
    saving: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CostSummary:
    """Costs from the price list; amounts are decimal texts in ``currency``.

    Attributes:
        category: The traffic category that the amounts are for.
        total: Of all numbers that were routed and have a price; ``unpriced_numbers`` have none.
        saved_duplicates: What the dropped duplicates would have cost.
        by_prefix: What ``total``'s numbers would have cost, each at its range holder's price.
        categories: What the list costs in each category that has prices.
    """

    currency: str
    category: str
    total: str
    unpriced_numbers: int
    unpriced_operators: tuple[str, ...]
    saved_duplicates: str
    by_prefix: str
    saved_by_prefix: str
    categories: tuple[CategorySummary, ...]
    next_steps: tuple[StepSummary, ...]


class Bill:
    """What a list costs in one category.

    Attributes:
        segments: By place of their price.
        unit: What a segment costs, by place of the price.
        price_of: What a segment costs, by code; codes without a price are not in it.
        unpriced: Numbers without a price, by operator.
    """

    def __init__(
        self, prices: PriceList, decisions: Decisions, counts: Counts, category: str
    ) -> None:
        """Find the price of each code, and the volume that it has reached."""
        self.segments: Counter[int] = Counter()
        self.unpriced: Counter[str] = Counter()
        place_of: dict[int, int] = {}
        for code in sorted({*counts.numbers, *counts.duplicates}):
            destination = decisions.decided[code].destination
            if not destination:
                continue
            place = prices.find(decisions.routes[code // 2], destination, category)
            if place is not None:
                place_of[code] = place
                self.segments[place] += counts.segments[code]
            elif counts.numbers[code]:
                operator = decisions.texts[code]["operator"] or "no operator"
                self.unpriced[operator] += counts.numbers[code]
        # The step of a price is known once all of its segments are.
        self.unit = [each.amount(self.segments[i]) for i, each in enumerate(prices.price)]
        self.price_of = {code: self.unit[place] for code, place in place_of.items()}

    def total(self, segments: Counter[int]) -> Decimal:
        """Return what segments by code cost."""
        return sum((price * segments[code] for code, price in self.price_of.items()), Decimal(0))


def cost_of(
    prices: PriceList, router: Router, decisions: Decisions, counts: Counts
) -> tuple[CostSummary, dict[int, Decimal]]:
    """Return the costs of all routed numbers, and what a segment costs by code."""
    bills = {name: Bill(prices, decisions, counts, name) for name in prices.categories}
    bill = bills[prices.category]
    total, more_by_prefix = bill.total(counts.segments), Decimal(0)
    for (code, holder), segments in counts.holder_segments.items():
        route, operator = router.routes[code // 2], router.operators[holder]
        if code in bill.price_of and operator != route.operator:
            held = replace(route, operator=operator, mcc="", mnc="")
            place = prices.find(held, "", prices.category)
            if place is not None:
                more_by_prefix += (bill.unit[place] - bill.price_of[code]) * segments
    summary = CostSummary(
        currency=prices.currency,
        category=prices.category,
        total=amount(total),
        unpriced_numbers=bill.unpriced.total(),
        unpriced_operators=tuple(name for name, _ in bill.unpriced.most_common()),
        saved_duplicates=amount(bill.total(counts.duplicates)),
        by_prefix=amount(total + more_by_prefix),
        saved_by_prefix=amount(more_by_prefix),
        categories=tuple(
            CategorySummary(
                category=name,
                total=amount(each.total(counts.segments)),
                unpriced_numbers=each.unpriced.total(),
            )
            for name, each in bills.items()
        ),
        next_steps=tuple(
            StepSummary(
                name=prices.price[place].label or f"price {place + 1}",
                segments=prices.price[place].sent + segments,
                price=str(bill.unit[place]),
                next_from=step.begin,
                next_price=str(step.price),
                saving=amount((bill.unit[place] - step.price) * segments),
            )
            for place, segments in sorted(bill.segments.items())
            for step in prices.price[place].steps_after(segments)[:1]
        ),
    )
    return summary, bill.price_of


def amount(value: Decimal) -> str:
    """Return an amount with two decimals."""
    return str(value.quantize(_CENT))
