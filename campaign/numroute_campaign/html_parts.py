"""Pieces of an HTML report: a page, tables, and charts made of nothing but styled cells.

Charts are tables whose cells hold bars: they read well on paper, on a narrow screen and aloud.
Every text is escaped here; callers hand over plain text, except where ``html`` is in the name.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

THIN_SPACE = "\N{NARROW NO-BREAK SPACE}"

_STYLE = """
:root { color-scheme: light dark; --ink: #1a1d21; --quiet: #5d6670; --paper: #fff;
  --line: #dfe3e8; --bar: #2f6fb3; --second: #b9c6d3; --tile: #f4f6f8; --note: #fff4d6; }
@media (prefers-color-scheme: dark) { :root { --ink: #e7eaee; --quiet: #9aa4af; --paper: #15181c;
  --line: #2c323a; --bar: #5b9bdc; --second: #3d4a58; --tile: #1e2329; --note: #3a3115; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem 1rem 4rem; max-width: 64rem; color: var(--ink);
  background: var(--paper); font: 16px/1.45 system-ui, sans-serif; }
h1 { font-size: 1.6rem; margin: 0 0 .25rem; }
h2 { font-size: 1.15rem; margin: 2.2rem 0 .6rem; }
p.origin { color: var(--quiet); margin: 0 0 1.2rem; overflow-wrap: anywhere; }
.tiles { display: grid; gap: .75rem; grid-template-columns: repeat(auto-fit, minmax(11rem, 1fr)); }
.tile { background: var(--tile); border-radius: .5rem; padding: .75rem .9rem; }
.tile b { display: block; font-size: 1.5rem; line-height: 1.3; }
.tile small, td.note { color: var(--quiet); }
aside { background: var(--note); border-radius: .5rem; padding: .75rem 1rem; margin-top: 1rem; }
aside ul { margin: .3rem 0 0; padding-left: 1.2rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .3rem .75rem .3rem 0; vertical-align: top;
  border-bottom: 1px solid var(--line); }
th { font-weight: 600; color: var(--quiet); font-size: .85rem; }
td.name { overflow-wrap: anywhere; min-width: 7rem; }
.number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
td.bar { width: 35%; padding-top: .65rem; }
td.bar span, .split span { display: block; height: .8rem; background: var(--bar);
  border-radius: 2px; }
.split { display: flex; gap: 2px; }
.split span:nth-child(2) { background: var(--second); }
.split span { height: 1.4rem; }
.key { display: flex; flex-wrap: wrap; gap: .3rem 1.5rem; margin: .5rem 0 0; padding: 0;
  list-style: none; }
.key li::before { content: ""; display: inline-block; width: .8rem; height: .8rem;
  margin-right: .45rem; border-radius: 2px; background: var(--bar); }
.key li:nth-child(2)::before { background: var(--second); }
dl { display: grid; grid-template-columns: minmax(9rem, 18rem) 1fr; gap: .3rem 1rem; }
dt { color: var(--quiet); } dd { margin: 0; overflow-wrap: anywhere; }
@media (max-width: 40rem) {
  td.bar, th.bar { display: none; }
  td.name { background: linear-gradient(var(--bar), var(--bar)) left bottom / var(--share) 3px
    no-repeat; }
  dl { grid-template-columns: 1fr; } dd { margin-bottom: .5rem; }
}
@media print { body { max-width: none; padding: 0; } h2 { break-after: avoid; }
  span, .tile { print-color-adjust: exact; -webkit-print-color-adjust: exact; } }
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """A figure at the head of the page."""

    name: str
    value: str
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A row of a chart.

    ``text`` stands for the value where it is not simply a count. ``drawn``: whether it has a bar;
    what is put together of many things would make theirs look short.
    """

    name: str
    value: float
    text: str = ""
    note: str = ""
    drawn: bool = True


def page(title: str, origin_html: str, body_html: str) -> str:
    """Return a whole page; it loads nothing and runs nothing."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        "style-src 'unsafe-inline'\">\n"
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        f'<h1>{escape(title)}</h1>\n<p class="origin">{origin_html}</p>\n{body_html}\n'
        "</body>\n</html>\n"
    )


def section(title: str, body_html: str) -> str:
    """Return a part of the page under a heading."""
    return f"<section>\n<h2>{escape(title)}</h2>\n{body_html}\n</section>\n"


def tiles(found: Sequence[Tile]) -> str:
    """Return the figures side by side, as many as fit."""
    inner = "".join(
        f'<div class="tile">{escape(tile.name)}<b>{escape(tile.value)}</b>'
        f"<small>{escape(tile.note)}</small></div>"
        for tile in found
    )
    return f'<div class="tiles">{inner}</div>\n'


def bars(found: Sequence[Bar], *, headings: tuple[str, str, str], whole_value: float) -> str:
    """Return a bar chart: name, value, share of the whole, bar, note.

    The longest bar fills its column; on a narrow screen the bar stands under the name.
    """
    longest = max((bar.value for bar in found if bar.drawn), default=0)
    name, value, note = (escape(heading) for heading in headings)
    rows = []
    for bar in found:
        width = 100 * bar.value / longest if longest and bar.drawn else 0
        rows.append(
            f'<tr><td class="name" style="--share:{width:.1f}%">{_breakable(bar.name)}</td>'
            f'<td class="number">{escape(bar.text or whole(bar.value))}</td>'
            f'<td class="number">{share(bar.value, whole_value)}</td>'
            f'<td class="bar"><span style="width:{width:.1f}%"></span></td>'
            f'<td class="note">{escape(bar.note)}</td></tr>'
        )
    return (
        f'<div class="scroll"><table>\n<tr><th>{name}</th><th class="number">{value}</th>'
        f'<th class="number">share</th><th class="bar"></th><th>{note}</th></tr>\n'
        + "\n".join(rows)
        + "\n</table></div>"
    )


def _breakable(name: str) -> str:
    """Return a name that a narrow screen breaks at its underscores."""
    return escape(name).replace("_", "_<wbr>")


def split_bar(found: Sequence[Bar]) -> str:
    """Return one bar that two values share, and its key."""
    total = sum(bar.value for bar in found)
    if not total:
        return "<p>No number was routed.</p>"
    pieces = "".join(f'<span style="width:{100 * bar.value / total:.2f}%"></span>' for bar in found)
    key = "".join(
        f"<li>{escape(bar.name)}: {whole(bar.value)} ({share(bar.value, total)})</li>"
        for bar in found
    )
    return f'<div class="split">{pieces}</div><ul class="key">{key}</ul>'


def table(
    headings: Sequence[str], rows: Sequence[Sequence[str]], *, numeric: Sequence[int] = ()
) -> str:
    """Return a plain table; the columns at the places ``numeric`` hold figures."""
    kinds = ["number" if i in numeric else "name" for i in range(len(headings))]
    head = "".join(
        f'<th class="{kind}">{escape(heading)}</th>'
        for kind, heading in zip(kinds, headings, strict=True)
    )
    body = "\n".join(
        "<tr>"
        + "".join(
            f'<td class="{kind}">{escape(cell)}</td>' for kind, cell in zip(kinds, row, strict=True)
        )
        + "</tr>"
        for row in rows
    )
    return f'<div class="scroll"><table>\n<tr>{head}</tr>\n{body}\n</table></div>'


def facts(found: Sequence[tuple[str, str]]) -> str:
    """Return names and values."""
    inner = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in found)
    return f"<dl>{inner}</dl>"


def whole(value: float) -> str:
    """Return a count with its thousands apart."""
    return f"{round(value):,}".replace(",", THIN_SPACE)


def money(amount: str) -> str:
    """Return an amount, as the summary has it, with its thousands apart."""
    whole_part, point, cents = amount.partition(".")
    return f"{whole(int(whole_part))}{point}{cents}" if whole_part.isdecimal() else amount


def share(part: float, of: float) -> str:
    """Return a share in percent; a dash of nothing."""
    if not of:
        return "\N{EN DASH}"
    percent = 100 * part / of
    return f"{percent:.2f}{THIN_SPACE}%" if 0 < percent < 1 else f"{percent:.1f}{THIN_SPACE}%"
