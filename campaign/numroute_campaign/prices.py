"""Price lists (TOML, see docs/campaign.md), and what a campaign costs by one.

The step that the segments before this list and of this list reach together applies to the list.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Final

import msgspec

from numroute.model import Operator, Route
from numroute_campaign.conditions import Conditions, Text, Texts, check_words, read_toml
from numroute_campaign.routers import Router
from numroute_campaign.sorting import Counts, Decisions
from numroute_campaign.vocabulary import CATEGORIES, SEGMENTS_MAX

_CENT: Final = Decimal("0.01")
_AMOUNT: Final = re.compile(r"\d{1,9}(\.\d{1,9})?")

Amount = str | int | float


class Step(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A volume step: the price from a number of segments on."""

    begin: Annotated[int, msgspec.Meta(ge=1)] = msgspec.field(name="from")
    price: Amount

    def __post_init__(self) -> None:
        parse_amount("price", self.price)


class Price(Conditions, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A ``[[price]]``: what a segment costs, with conditions as in a policy.

    Attributes:
        route: The output route that it is for; None = every route.
        category: The traffic categories that it is for; empty = every category.
        price: Of a segment below the first step.
        sent: Segments that count towards the steps before this list.
        step: Volume steps, ascending.
    """

    price: Amount
    route: Text | None = None
    category: Texts = ()
    sent: Annotated[int, msgspec.Meta(ge=0)] = 0
    step: tuple[Step, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        parse_amount("price", self.price)
        check_words("category", self.category, CATEGORIES)
        begins = [step.begin for step in self.step]
        if sorted(set(begins)) != begins:
            raise ValueError("step: the steps must ascend")

    def is_for(self, destination: str, category: str) -> bool:
        """Return whether the price is for an output route and a traffic category."""
        categories = (self.category,) if isinstance(self.category, str) else self.category
        return self.route in {None, destination} and (
            not categories or category in {each.lower() for each in categories}
        )

    def amount(self, segments: int) -> Decimal:
        """Return what a segment costs if this price applies to ``segments`` of the list."""
        reached = [step.price for step in self.step if step.begin <= self.sent + segments]
        return parse_amount("price", reached[-1] if reached else self.price)

    def next_step(self, segments: int) -> Step | None:
        """Return the first step that ``segments`` of the list do not reach."""
        return next((step for step in self.step if step.begin > self.sent + segments), None)

    @property
    def label(self) -> str:
        """The conditions, for reports."""
        texts: list[str] = []
        for key in (*Conditions.__struct_fields__, "route"):
            value = getattr(self, key) or ()
            texts += (value,) if isinstance(value, str) else value
        return ", ".join(texts)


class PriceList(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A price file. The first price whose conditions hold applies."""

    currency: str
    segments: Annotated[int, msgspec.Meta(ge=1, le=SEGMENTS_MAX)] = 1
    category: str = CATEGORIES[0]
    price: tuple[Price, ...] = ()

    def __post_init__(self) -> None:
        if not re.fullmatch("[A-Z]{3}", self.currency):
            raise ValueError(
                f"invalid currency {self.currency!r}. Write its ISO 4217 code, e.g. RUB"
            )
        check_words("category", self.category, CATEGORIES)

    @property
    def categories(self) -> tuple[str, ...]:
        """The categories that have prices of their own, and the one of the list."""
        named = {self.category.lower()}
        for price in self.price:
            named |= {price.category} if isinstance(price.category, str) else set(price.category)
        return tuple(each for each in CATEGORIES if each in {name.lower() for name in named})

    def find(self, route: Route, destination: str, category: str) -> int | None:
        """Return the place of the price for a route and an output route, None if there is none.

        An empty ``destination`` stands for no output route in particular.
        """
        for place, price in enumerate(self.price):
            if price.is_for(destination, category) and price.matches(route):
                return place
        return None


def read_prices(
    path: Path, *, category: str | None = None, segments: int | None = None
) -> PriceList:
    """Read and check a price file, errors as in ``read_toml``; arguments replace its own terms."""
    prices = read_toml(path, PriceList, (PriceList, Price, Step))
    changes = {"category": category, "segments": segments}
    return msgspec.structs.replace(
        prices, **{name: value for name, value in changes.items() if value is not None}
    )


def parse_amount(key: str, value: Amount) -> Decimal:
    """Return an amount; a TOML float counts as it was written. Raises ValueError."""
    if isinstance(value, bool) or not _AMOUNT.fullmatch(str(value)):
        raise ValueError(f'{key}: invalid amount {value!r}. Write e.g. "2.35"')
    return Decimal(str(value))


@dataclass(frozen=True, slots=True, kw_only=True)
class CategorySummary:
    """What the list costs as traffic of one category."""

    category: str
    total: str
    unpriced_numbers: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSummary:
    """A price whose next volume step is not reached.

    Attributes:
        name: The conditions of the price.
        segments: What counts towards the step: sent before and of this list.
        price: What a segment costs now.
        next_from: Where the next step begins.
        next_price: What a segment would cost there.
        saving: What this list's segments would cost less there.
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
        total: Of all numbers that were routed and have a price.
        unpriced_numbers: Routed numbers without a price: they are not in ``total``.
        unpriced_operators: Their operators.
        saved_duplicates: What the dropped duplicates would have cost.
        by_prefix: What ``total``'s numbers would have cost, each at its range holder's price.
        saved_by_prefix: ``by_prefix`` less ``total``.
        categories: What the list costs in each category that has prices.
        next_steps: What the next volume steps would save.
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
    """What a list costs in one category; codes without a price are not in it."""

    def __init__(
        self,
        prices: PriceList,
        router: Router,
        decisions: Decisions,
        counts: Counts,
        category: str,
        *,
        has_segments: bool,
    ) -> None:
        """Sum up; the arguments are those of ``cost_of``."""
        self._prices, self._router, self._category = prices, router, category
        factor = 1 if has_segments else prices.segments
        self._holder_parts = {key: parts * factor for key, parts in counts.holder_parts.items()}
        self._segments: Counter[int] = Counter()
        self.unpriced: Counter[str] = Counter()
        place_of: dict[int, int] = {}
        for code, decision in decisions.decided.items():
            numbers = int(counts.decided[code])
            if not decision.destination or not (numbers or counts.duplicates[code]):
                continue
            route = router.routes[code // 2]
            place = prices.find(route, decision.destination, category)
            if place is not None:
                place_of[code] = place
                self._segments[place] += int(counts.parts[code]) * factor
            elif numbers:
                self.unpriced[_name(route.operator)] += numbers
        # The step of a price is known once all of its segments are.
        self.price_of_code = {code: self._price(place) for code, place in place_of.items()}
        self.of_code = {
            code: price * int(counts.parts[code]) * factor
            for code, price in self.price_of_code.items()
        }
        self.total = sum(self.of_code.values(), Decimal(0))
        self.duplicates = sum(
            (
                price * int(counts.duplicates[code]) * factor
                for code, price in self.price_of_code.items()
            ),
            Decimal(0),
        )

    def by_prefix(self) -> Decimal:
        """Return the total if each number were handed to its range holder."""
        total, operators, routes = self.total, self._router.operators, self._router.routes
        for (code, holder), parts in self._holder_parts.items():
            route = routes[code // 2]
            if code not in self.of_code or operators[holder] == route.operator:
                continue
            held = replace(route, operator=operators[holder], mcc="", mnc="")
            place = self._prices.find(held, "", self._category)
            if place is not None:
                total += (self._price(place) - self.price_of_code[code]) * parts
        return total

    def next_steps(self) -> tuple[StepSummary, ...]:
        """Return the prices with a step that is not reached yet."""
        steps = []
        for place, segments in sorted(self._segments.items()):
            price, now = self._prices.price[place], self._price(place)
            following = price.next_step(segments)
            if following is None:
                continue
            then = parse_amount("price", following.price)
            steps.append(
                StepSummary(
                    name=price.label or f"price {place + 1}",
                    segments=price.sent + segments,
                    price=str(now),
                    next_from=following.begin,
                    next_price=str(then),
                    saving=amount((now - then) * segments),
                )
            )
        return tuple(steps)

    def _price(self, place: int) -> Decimal:
        return self._prices.price[place].amount(self._segments[place])


def cost_of(
    prices: PriceList,
    router: Router,
    decisions: Decisions,
    counts: Counts,
    *,
    has_segments: bool,
) -> tuple[CostSummary, Bill]:
    """Return the costs of all routed numbers, and the bill of the list's own category.

    ``has_segments``: the list said how many segments each message has; else the price list does.
    """
    bills = {
        category: Bill(prices, router, decisions, counts, category, has_segments=has_segments)
        for category in prices.categories
    }
    category = prices.category.lower()
    bill = bills[category]
    by_prefix = bill.by_prefix()
    summary = CostSummary(
        currency=prices.currency,
        category=category,
        total=amount(bill.total),
        unpriced_numbers=bill.unpriced.total(),
        unpriced_operators=tuple(name for name, _ in bill.unpriced.most_common()),
        saved_duplicates=amount(bill.duplicates),
        by_prefix=amount(by_prefix),
        saved_by_prefix=amount(by_prefix - bill.total),
        categories=tuple(
            CategorySummary(
                category=name, total=amount(each.total), unpriced_numbers=each.unpriced.total()
            )
            for name, each in bills.items()
        ),
        next_steps=bill.next_steps(),
    )
    return summary, bill


def amount(value: Decimal) -> str:
    """Return an amount with two decimals."""
    return str(value.quantize(_CENT))


def _name(operator: Operator) -> str:
    return operator.brand or operator.name or operator.code or "numbers that no operator holds"
