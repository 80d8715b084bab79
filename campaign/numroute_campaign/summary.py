"""What a campaign run did: from counts per route to one value, and the report made of it.

The value is written as ``summary.json``, and for people as one HTML page that needs nothing else.
"""

from __future__ import annotations

import functools
import json
import tomllib
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from importlib import resources
from pathlib import Path
from typing import Final, TypeVar

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from numroute.files import create_private
from numroute.model import Route, Status
from numroute_campaign.lists import FileSummary
from numroute_campaign.prices import CostSummary, PriceList, amount, cost_of
from numroute_campaign.routers import Router
from numroute_campaign.sorting import Counts, Decisions
from numroute_campaign.vocabulary import Phrase, Reject

Key = TypeVar("Key", tuple[str, int], tuple[str, str], tuple[str, str, str])

ROWS_MAX: Final = 25
"""Operators and regions with a row each; all others share one."""

UNPRICED_NAMES_MAX: Final = 10
"""Operators without a price that the page and the warning name."""

THIN_SPACE: Final = "\N{NARROW NO-BREAK SPACE}"

_DATA: Final = "data"
_DECIMAL_POINTS: Final = {"en": ".", "ru": ","}


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectSummary:
    """Rows rejected for one reason.

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
    """How many rows each step left.

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
        warnings: What the user should know.
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


@dataclass(slots=True)
class _Total:
    """Sums over some of the routed numbers; ``cost`` is None if none of them has a price."""

    numbers: int = 0
    ported: int = 0
    segments: int = 0
    cost: Decimal | None = None
    prices: set[Decimal] = field(default_factory=set)

    @property
    def cost_text(self) -> str:
        return "" if self.cost is None else amount(self.cost)


class Totals:
    """Sums of what was rejected and routed.

    Attributes:
        cost: None without a price list.
        ported: How many of the routed numbers are ported.
        misrouted_by_prefix: Routed numbers that another operator serves than their range holder.
    """

    def __init__(
        self, router: Router, decisions: Decisions, counts: Counts, prices: PriceList | None
    ) -> None:
        """Sum up."""
        self._routes, self._decisions, self._counts = router.routes, decisions, counts
        self._routed = sorted(
            code for code in counts.numbers if decisions.decided[code].destination
        )
        self.cost, self._bill = None, None
        if prices is not None:
            self.cost, self._bill = cost_of(prices, router, decisions, counts)
        self.ported = sum(
            counts.numbers[code]
            for code in self._routed
            if router.routes[code // 2].status is Status.PORTED
        )
        self.misrouted_by_prefix = sum(
            numbers
            for (code, holder), numbers in counts.holders.items()
            if decisions.decided[code].destination
            and router.operators[holder] != router.routes[code // 2].operator
        )

    def steps(self) -> Steps:
        """Return the rows through the steps."""
        counts = self._counts
        routed = sum(counts.numbers[code] for code in self._routed)
        duplicates, suppressed = counts.rejects[Reject.DUPLICATE], counts.rejects[Reject.SUPPRESSED]
        rejected = counts.rejects.total() - duplicates - suppressed
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

    def rejects(self) -> tuple[RejectSummary, ...]:
        """Return the rows that were not routed by reason and rule, the most frequent first."""
        counts = self._counts
        rows = Counter({(Reject(value), ""): n for value, n in counts.rejects.items() if n})
        for code, numbers in counts.numbers.items():
            decision = self._decisions.decided[code]
            if decision.reject is not Reject.NONE:
                rows[decision.reject, decision.rule] += numbers
        return tuple(
            RejectSummary(
                reason=reason.name,
                meaning=reason.meaning,
                rule=rule,
                rows=n,
                samples=tuple(counts.samples.get(reason, ())),
            )
            for (reason, rule), n in sorted(rows.items(), key=lambda item: (-item[1], item[0]))
        )

    def rules(self) -> tuple[RuleSummary, ...]:
        """Return how many numbers each rule of the policy decided."""
        numbers: Counter[str] = Counter()
        for code, n in self._counts.numbers.items():
            numbers[self._decisions.decided[code].rule] += n
        return tuple(
            RuleSummary(name=rule.name, numbers=numbers[rule.name])
            for rule in self._decisions.policy.rules
        )

    def routes(self, files_of: Callable[[int], tuple[str, ...]]) -> tuple[RouteSummary, ...]:
        """Return the sums by destination; ``files_of`` names the files of one."""
        first, destination = self._decisions.first, self._decisions.destination
        return tuple(
            RouteSummary(
                name=name, numbers=total.numbers, files=files_of(place), cost=total.cost_text
            )
            for (name, place), total in self._by(
                lambda code, _: (first[destination[code]].files, int(destination[code]))
            )
        )

    def operators(self) -> tuple[OperatorSummary, ...]:
        """Return the sums by operator."""
        return tuple(
            OperatorSummary(
                code=code,
                name=name,
                brand=brand,
                numbers=total.numbers,
                ported=total.ported,
                parts=total.segments,
                price=str(min(total.prices)) if len(total.prices) == 1 else "",
                cost=total.cost_text,
            )
            for (code, name, brand), total in self._by(
                lambda _, route: (route.operator.code, route.operator.name, route.operator.brand)
            )
        )

    def regions(self) -> tuple[RegionSummary, ...]:
        """Return the sums by region."""
        return tuple(
            RegionSummary(code=code, name=name, numbers=total.numbers, ported=total.ported)
            for (code, name), total in self._by(
                lambda _, route: (route.region.code, route.region.name)
            )
        )

    def warnings(self) -> tuple[str, ...]:
        """Return a warning if numbers have no price."""
        if self.cost is None or not self.cost.unpriced_numbers:
            return ()
        names = self.cost.unpriced_operators
        return (
            Phrase(
                "the total leaves out {} numbers without a price: {}",
                f"{self.cost.unpriced_numbers:,}",
                ", ".join(names[:UNPRICED_NAMES_MAX])
                + (", \N{HORIZONTAL ELLIPSIS}" if len(names) > UNPRICED_NAMES_MAX else ""),
            ),
        )

    def _by(self, key_of: Callable[[int, Route], Key]) -> list[tuple[Key, _Total]]:
        """Return the sums by a key of code and route, the largest first."""
        totals: dict[Key, _Total] = {}
        for code in self._routed:
            route = self._routes[code // 2]
            total = totals.setdefault(key_of(code, route), _Total())
            numbers, segments = self._counts.numbers[code], self._counts.segments[code]
            total.numbers += numbers
            total.segments += segments
            total.ported += numbers if route.status is Status.PORTED else 0
            if self._bill is not None and code in self._bill.price_of:
                price = self._bill.price_of[code]
                total.cost = (total.cost or Decimal(0)) + price * segments
                total.prices.add(price)
        return sorted(totals.items(), key=lambda item: (-item[1].numbers, item[0]))


def write_report(folder: Path, summary: Summary, language: str = "en") -> None:
    """Write ``summary.json`` and ``report.html`` into a folder."""
    text = json.dumps(asdict(summary), ensure_ascii=False, indent=2) + "\n"
    page = report_html(summary, language)
    for name, content in (("summary.json", text), ("report.html", page)):
        with create_private(folder / name) as file:
            file.write(content.encode())


def report_html(summary: Summary, language: str = "en") -> str:
    """Return the page. It holds counts, names and masked cells, never a phone number."""
    priced = [each for each in summary.operators if each.cost]
    return (
        page_environment(language)
        .get_template("report.html.j2")
        .render(
            s=summary,
            priced=sorted(priced, key=lambda each: -float(each.cost)),
            rows_max=ROWS_MAX,
            names_max=UNPRICED_NAMES_MAX,
        )
    )


@functools.cache
def page_environment(language: str) -> Environment:
    """Return the templates of pages in a language."""
    catalogue = _catalogue(language)
    point = _DECIMAL_POINTS[language]

    def translate(text: str, *values: object) -> str:
        if isinstance(text, Phrase):
            return translate(text.template, *text.values)
        return catalogue.get(text, text).format(
            *(translate(each) if isinstance(each, Phrase) else each for each in values)
        )

    def title(each: OperatorSummary | RegionSummary) -> str:
        """Return the name of an operator or region for people."""
        brand = getattr(each, "brand", None)
        nothing = "no region" if brand is None else "no operator"
        return brand or each.name or each.code or translate(nothing)

    def column(name: str) -> str:
        """Return a column's name, or its place in the language."""
        place = name.removeprefix("column ")
        return translate("column {}", place) if place != name and place.isdecimal() else name

    def money(amount: str) -> str:
        """Return an amount of the summary with its thousands apart."""
        units, dot, cents = amount.partition(".")
        return f"{whole(int(units))}{dot and point}{cents}" if amount else ""

    def share(part: float, total: float) -> str:
        """Return a share in percent; a dash if there is no total."""
        if not total:
            return "\N{EN DASH}"
        percent = 100 * part / total
        text = f"{percent:.2f}" if 0 < percent < 1 else f"{percent:.1f}"
        return f"{text.replace('.', point)}{THIN_SPACE}%"

    environment = Environment(
        loader=PackageLoader("numroute_campaign", _DATA),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "title": title,
        "column": column,
        "money": money,
        "share": share,
        "whole": whole,
        "breakable": lambda name: escape(name).replace("_", Markup("_<wbr>")),
    }
    environment.globals |= {"t": translate, "language": language}
    return environment


def _catalogue(language: str) -> dict[str, str]:
    """Return the translations of the English texts; English needs none."""
    if language == "en":
        return {}
    name = f"report_{language}.toml"
    text = (resources.files("numroute_campaign") / _DATA / name).read_text("utf-8")
    return tomllib.loads(text)


def whole(value: float) -> str:
    """Return a count with its thousands apart."""
    return f"{round(value):,}".replace(",", THIN_SPACE)
