"""What a campaign run did: from counts per route to one value, and the report made of it.

The value is written as ``summary.json``, and for people as one HTML page that needs nothing else.
"""

from __future__ import annotations

import functools
import json
import tomllib
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal
from importlib import resources
from pathlib import Path
from typing import Any, Final, TypeVar

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
"""Operators without a price that the page names."""

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
class Sums:
    """Sums over some of the routed numbers; ``parts`` are segments.

    ``price`` (of a segment) and ``cost`` are decimal texts; both are empty if no price is known,
    ``price`` also if several apply.
    """

    numbers: int
    ported: int = 0
    parts: int = 0
    price: str = ""
    cost: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteSummary(Sums):
    """One output route. ``files`` are names within the output folder."""

    name: str
    files: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorSummary(Sums):
    """What was routed to one operator."""

    code: str
    name: str
    brand: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionSummary(Sums):
    """What was routed to one region."""

    code: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """How many rows each step left.

    ``rows`` and ``further`` (numbers besides the first of a cell, each counted as a row) are the
    sum of ``rejected``, ``duplicates``, ``suppressed``, ``refused`` (by the policy) and ``routed``.
    ``valid`` is ``rows`` less ``rejected``; ``unique`` also has ``further``, but no duplicates.
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
        ported: How many of the routed numbers are ported.
        misrouted_by_prefix: Routed numbers that another operator serves than their range holder.
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
    ported: int
    misrouted_by_prefix: int
    cost: CostSummary | None
    kept_columns: tuple[str, ...]
    dropped_columns: tuple[str, ...]
    warnings: tuple[str, ...]


def summarise(
    router: Router,
    decisions: Decisions,
    counts: Counts,
    prices: PriceList | None,
    files_of: Callable[[int], tuple[str, ...]],
    **facts: Any,  # noqa: ANN401 - fields of the summary
) -> Summary:
    """Return the summary of a run: sums over the counts, and other facts by their names.

    ``files_of`` names the files of a destination.
    """
    numbers_of = counts.numbers
    routed = sorted(code for code in numbers_of if decisions.decided[code].destination)
    route_of = {code: router.routes[code // 2] for code in routed}
    cost, price_of = (None, {}) if prices is None else cost_of(prices, router, decisions, counts)

    def ported(codes: Iterable[int]) -> int:
        return sum(numbers_of[code] for code in codes if route_of[code].status is Status.PORTED)

    def by(key_of: Callable[[int, Route], Key]) -> list[tuple[Key, dict[str, Any]]]:
        """Return the fields of ``Sums`` by a key of code and route, the largest first."""
        codes_of: dict[Key, list[int]] = {}
        for code, route in route_of.items():
            codes_of.setdefault(key_of(code, route), []).append(code)
        sums: list[tuple[Key, dict[str, Any]]] = []
        for key, codes in codes_of.items():
            priced = [code for code in codes if code in price_of]
            total = sum((price_of[code] * counts.segments[code] for code in priced), Decimal(0))
            unit_prices = {str(price_of[code]) for code in priced}
            fields = {
                "numbers": sum(numbers_of[code] for code in codes),
                "ported": ported(codes),
                "parts": sum(counts.segments[code] for code in codes),
                "price": unit_prices.pop() if len(unit_prices) == 1 else "",
                "cost": amount(total) if priced else "",
            }
            sums.append((key, fields))
        return sorted(sums, key=lambda item: (-item[1]["numbers"], item[0]))

    place_of = decisions.destination.tolist()
    by_route = by(lambda code, _: (decisions.first[place_of[code]].files, place_of[code]))
    by_operator = by(
        lambda _, route: (route.operator.code, route.operator.name, route.operator.brand)
    )
    by_region = by(lambda _, route: (route.region.code, route.region.name))
    duplicates, suppressed = counts.rejects[Reject.DUPLICATE], counts.rejects[Reject.SUPPRESSED]
    rejected = counts.rejects.total() - duplicates - suppressed
    unique = counts.rows + counts.further_taken - rejected - duplicates
    sent = sum(numbers_of[code] for code in routed)
    return Summary(
        steps=Steps(
            rows=counts.rows,
            rejected=rejected,
            valid=counts.rows - rejected,
            further=counts.further_taken,
            duplicates=duplicates,
            unique=unique,
            suppressed=suppressed,
            refused=unique - suppressed - sent,
            routed=sent,
        ),
        rejects=_rejects(decisions, counts),
        routes=tuple(
            RouteSummary(name=name, files=files_of(place), **sums)
            for (name, place), sums in by_route
        ),
        operators=tuple(
            OperatorSummary(code=code, name=name, brand=brand, **sums)
            for (code, name, brand), sums in by_operator
        ),
        regions=tuple(
            RegionSummary(code=code, name=name, **sums) for (code, name), sums in by_region
        ),
        ported=ported(routed),
        misrouted_by_prefix=sum(
            numbers
            for (code, holder), numbers in counts.holders.items()
            if code in route_of and router.operators[holder] != route_of[code].operator
        ),
        cost=cost,
        **facts,
    )


def _rejects(decisions: Decisions, counts: Counts) -> tuple[RejectSummary, ...]:
    """Return the rows that were not routed by reason and rule, the most frequent first."""
    rows = Counter({(Reject(value), ""): n for value, n in counts.rejects.items() if n})
    for code, n in counts.numbers.items():
        decision = decisions.decided[code]
        if decision.reject is not Reject.NONE:
            rows[decision.reject, decision.rule] += n
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


def write_pages(folder: Path, facts: dict[str, Any], page: str, *, names: tuple[str, str]) -> None:
    """Write facts as JSON, and the page made of them, into a folder."""
    text = json.dumps(facts, ensure_ascii=False, indent=2) + "\n"
    for name, content in zip(names, (text, page), strict=True):
        with create_private(folder / name) as file:
            file.write(content.encode())


def report_html(summary: Summary, language: str = "en") -> str:
    """Return the page. It holds counts, names and masked cells, never a phone number."""
    priced = [each for each in summary.operators if each.cost]
    priced.sort(key=lambda each: -float(each.cost))
    template = page_environment(language).get_template("report.html.j2")
    return template.render(
        s=summary, priced=priced, rows_max=ROWS_MAX, names_max=UNPRICED_NAMES_MAX
    )


@functools.cache
def page_environment(language: str) -> Environment:
    """Return the templates of pages in a language."""
    catalogue: dict[str, str] = {}
    if language != "en":
        data = resources.files("numroute_campaign") / _DATA / f"report_{language}.toml"
        catalogue = tomllib.loads(data.read_text("utf-8"))
    point = _DECIMAL_POINTS[language]

    def translate(text: str, *values: object) -> str:
        if isinstance(text, Phrase):
            return translate(text.template, *text.values)
        return catalogue.get(text, text).format(
            *(translate(each) if isinstance(each, Phrase) else each for each in values)
        )

    def column(name: str) -> str:
        """Return a column's name, or its place in the language."""
        place = name.removeprefix("column ")
        return translate("column {}", place) if place != name and place.isdecimal() else name

    def whole(value: float) -> str:
        """Return a count with its thousands apart."""
        return f"{round(value):,}".replace(",", THIN_SPACE)

    def money(amount: str) -> str:
        """Return an amount of the summary with its thousands apart."""
        text = f"{Decimal(amount):,f}" if amount else ""
        return text.replace(",", THIN_SPACE).replace(".", point)

    def share(part: float, total: float) -> str:
        """Return a share in percent; a dash if there is no total."""
        if not total:
            return "\N{EN DASH}"
        percent = 100 * part / total
        text = f"{percent:.{2 if 0 < percent < 1 else 1}f}".replace(".", point)
        return f"{text}{THIN_SPACE}%"

    environment = Environment(
        loader=PackageLoader("numroute_campaign", _DATA),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "column": column,
        "money": money,
        "share": share,
        "whole": whole,
        "breakable": lambda name: escape(name).replace("_", Markup("_<wbr>")),
    }
    environment.globals |= {"t": translate, "language": language}
    return environment
