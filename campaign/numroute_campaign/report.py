"""The report of a run: ``summary.json`` and one HTML page that needs nothing else."""

from __future__ import annotations

import functools
import json
import tomllib
from dataclasses import asdict
from importlib import resources
from typing import TYPE_CHECKING, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from numroute.files import create_private
from numroute_campaign.vocabulary import Phrase

if TYPE_CHECKING:
    from pathlib import Path

    from numroute_campaign.summary import OperatorSummary, RegionSummary, Summary

ROWS_MAX: Final = 25
"""Operators and regions with a row each; all others share one."""

NAMES_MAX: Final = 10
"""Operators without a price that are named."""

THIN_SPACE: Final = "\N{NARROW NO-BREAK SPACE}"

_DATA: Final = "data"
_DECIMAL_POINTS: Final = {"en": ".", "ru": ","}


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
            names_max=NAMES_MAX,
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
