"""The report of a campaign run as one HTML page that needs nothing else: no script, no network."""

from __future__ import annotations

import json
from dataclasses import asdict
from html import escape
from typing import TYPE_CHECKING

from numroute_campaign.html_parts import (
    Bar,
    Tile,
    bars,
    facts,
    money,
    page,
    section,
    share,
    split_bar,
    table,
    tiles,
    whole,
)
from numroute_campaign.text_files import open_private

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numroute_campaign.prices import CostSummary
    from numroute_campaign.summary import OperatorSummary, Summary

ROWS_MAX = 25
"""Operators and regions that have a row of their own; the rest share one."""

NAMES_MAX = 10
"""So many operators without a price are named."""

NOBODY = "nobody's"
"""The operator of numbers that no range holds."""

NOWHERE = "no region"


def write_summary(folder: Path, summary: Summary) -> None:
    """Write ``summary.json`` and ``report.html``."""
    text = json.dumps(asdict(summary), ensure_ascii=False, indent=2)
    for name, content in (("summary.json", text + "\n"), ("report.html", report_html(summary))):
        with open_private(folder / name) as file:
            file.write(content.encode())


def report_html(summary: Summary) -> str:
    """Return the page. It holds counts and names, never a phone number or a cell of the list."""
    parts = [
        tiles(_headline(summary)),
        _warnings(summary.warnings),
        section("From the list to the files", _steps(summary)),
        section("Operators", _operators(summary)),
        section("Ported numbers", _ported(summary)),
        section("Regions", _regions(summary)),
        section("Rows that did not leave", _rejects(summary)),
        section("Cost per operator", _cost(summary)) if summary.cost else "",
        section("Files", _files(summary)),
        section("Privacy", _privacy(summary)),
    ]
    return page("Campaign list: what was routed", _origin(summary), "".join(parts))


def _origin(summary: Summary) -> str:
    lists = ", ".join(file.name for file in summary.files)
    return escape(
        f"{lists} · snapshot {', '.join(summary.snapshots) or 'none'} · "
        f"national formats of {summary.region or 'no country'} · policy {summary.policy or 'none'}"
    )


def _headline(summary: Summary) -> Sequence[Tile]:
    steps, cost = summary.steps, summary.cost
    found = [
        Tile(name="rows read", value=whole(steps.rows)),
        Tile(
            name="numbers routed",
            value=whole(steps.routed),
            note=f"{share(steps.routed, steps.rows)} of the rows",
        ),
        Tile(
            name="ported",
            value=share(summary.ported, steps.routed),
            note=f"{whole(summary.ported)} of the routed numbers",
        ),
        Tile(
            name="wrong by prefix",
            value=share(summary.misrouted_by_prefix, steps.routed),
            note=f"{whole(summary.misrouted_by_prefix)} would have gone to another operator",
        ),
    ]
    if cost:
        found.append(
            Tile(
                name=f"cost, {cost.currency}",
                value=money(cost.total),
                note=f"{whole(cost.unpriced_numbers)} numbers have no price"
                if cost.unpriced_numbers
                else "every number has a price",
            )
        )
    return found


def _warnings(texts: Sequence[str]) -> str:
    if not texts:
        return ""
    items = "".join(f"<li>{escape(text)}</li>" for text in texts)
    return f'<aside role="note"><strong>To know</strong><ul>{items}</ul></aside>'


def _steps(summary: Summary) -> str:
    steps = summary.steps
    rows = (
        ("read", steps.rows, ""),
        ("are numbers", steps.valid, f"{whole(steps.rejected)} rejected"),
        ("stand there once", steps.unique, f"{whole(steps.duplicates)} duplicates"),
        (
            "routed",
            steps.routed,
            f"{whole(steps.suppressed)} suppressed, {whole(steps.refused)} refused by the policy",
        ),
    )
    return bars(
        [Bar(name=name, value=value, note=note) for name, value, note in rows],
        headings=("rows that", "rows", ""),
        whole_value=steps.rows,
    )


def operator_name(operator: OperatorSummary) -> str:
    """Return what people call an operator: its brand, else its name, else its code."""
    return operator.brand or operator.name or operator.code or NOBODY


def _operators(summary: Summary) -> str:
    found = [
        Bar(
            name=operator_name(each),
            value=each.numbers,
            note=_ported_share(each.ported, each.numbers),
        )
        for each in summary.operators
    ]
    return bars(
        _longest(found, "other operators"),
        headings=("operator", "numbers", "of them"),
        whole_value=summary.steps.routed,
    )


def _ported(summary: Summary) -> str:
    routed = summary.steps.routed
    return split_bar(
        [
            Bar(name="ported", value=summary.ported),
            Bar(name="served by their range holder", value=routed - summary.ported),
        ]
    )


def _regions(summary: Summary) -> str:
    found = [
        Bar(
            name=each.name or each.code or NOWHERE,
            value=each.numbers,
            note=_ported_share(each.ported, each.numbers),
        )
        for each in summary.regions
    ]
    return bars(
        _longest(found, "other regions"),
        headings=("region", "numbers", "of them"),
        whole_value=summary.steps.routed,
    )


def _ported_share(ported: int, numbers: int) -> str:
    return f"{share(ported, numbers)}\N{NO-BREAK SPACE}ported"


def _longest(found: Sequence[Bar], rest: str) -> list[Bar]:
    """Return the longest bars, and one for all others."""
    ordered = sorted(found, key=lambda bar: -bar.value)
    kept, others = ordered[:ROWS_MAX], ordered[ROWS_MAX:]
    if others:
        total = sum(bar.value for bar in others)
        kept.append(Bar(name=f"{len(others)} {rest}", value=total, drawn=False))
    return kept


def _rejects(summary: Summary) -> str:
    if not summary.rejects:
        return "<p>Every row left.</p>"
    return bars(
        [
            Bar(
                name=f"{each.reason} ({each.rule})" if each.rule else each.reason,
                value=each.rows,
                note=each.meaning,
            )
            for each in sorted(summary.rejects, key=lambda each: -each.rows)
        ],
        headings=("reason", "rows", ""),
        whole_value=summary.steps.rows,
    )


def _cost(summary: Summary) -> str:
    cost = summary.cost
    if cost is None:
        raise AssertionError("asked for without a price list")
    priced = [each for each in summary.operators if each.cost]
    return bars(
        [
            Bar(
                name=operator_name(each),
                value=float(each.cost),
                text=f"{money(each.cost)} {cost.currency}",
                note=f"{whole(each.parts)} × {each.price}",
            )
            for each in sorted(priced, key=lambda each: -float(each.cost))
        ],
        headings=("operator", "cost", "messages × price"),
        whole_value=float(cost.total),
    ) + facts(_savings(cost))


def _savings(cost: CostSummary) -> list[tuple[str, str]]:
    amounts = (
        ("total", cost.total),
        ("saved by dropping duplicates", cost.saved_duplicates),
        ("the same numbers priced by their prefix", cost.by_prefix),
        ("saved by routing to the serving operator", cost.saved_by_prefix),
    )
    found = [(name, f"{money(amount)} {cost.currency}") for name, amount in amounts]
    if cost.unpriced_numbers:
        names = ", ".join(cost.unpriced_operators[:NAMES_MAX])
        if len(cost.unpriced_operators) > NAMES_MAX:
            names += f" and {len(cost.unpriced_operators) - NAMES_MAX} more (summary.json has all)"
        found.append(
            ("not in the total", f"{whole(cost.unpriced_numbers)} numbers without a price: {names}")
        )
    return found


def _files(summary: Summary) -> str:
    return table(
        ("route", "numbers", "cost", "files"),
        [
            (route.name, whole(route.numbers), money(route.cost), ", ".join(route.files))
            for route in summary.routes
        ]
        + [
            ("rejects", whole(sum(each.rows for each in summary.rejects)), "", name)
            for name in summary.rejects_files
        ],
        numeric=(1, 2),
    )


def _privacy(summary: Summary) -> str:
    number = "a pseudonym in its place" if summary.pseudonymized else "the number itself"
    return facts(
        [
            ("leaves", ", ".join([number, "route", "row id", *summary.kept_columns])),
            ("stayed", ", ".join(summary.dropped_columns) or "no other column was in the list"),
        ]
    )
