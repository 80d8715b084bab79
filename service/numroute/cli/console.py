"""What the commands print: tables for people, JSON lines for programs."""

from __future__ import annotations

import dataclasses
import enum
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from numroute.model import Operator

if TYPE_CHECKING:
    from rich.console import JustifyMethod, RenderableType

_AMOUNT = re.compile(r"([+-]?\d{1,3}(,\d{3})*(\.\d+)?%?)?")
_PIPE_WIDTH = 80
_GAP = 2
"""The gap between two columns of a table."""
_NARROW = 8
"""Other columns are not made narrower than this to keep unbroken ones whole."""


def print_json(value: Any) -> None:  # noqa: ANN401 - any value of ours, a dataclass or plain
    """Print a value as one line of JSON: enums by name, times in ISO 8601, dataclasses by field."""
    click.echo(json.dumps(plain(value), ensure_ascii=False))


def show(document: Mapping[str, Any], facts: Iterable[tuple[str, str]], *, as_json: bool) -> None:
    """Print a document for programs, or facts for people."""
    if as_json:
        print_json(document)
    else:
        print_facts(list(facts))


def plain(value: Any) -> Any:  # noqa: ANN401 - as above
    """Return a value as dictionaries, lists and scalars that JSON knows."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)
        }
    if isinstance(value, enum.Enum):
        return value.name
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, dict):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return value


def print_table(
    headings: Sequence[str], rows: Iterable[Sequence[str]], *, unbroken: int = 1
) -> None:
    """Print a table that is no wider than the terminal, or than 80 columns in a pipe.

    Cells break between words, those of the first ``unbroken`` columns not at all, if that fits.
    """
    console, cells = _console(), [list(map(str.strip, row)) for row in rows]
    columns = list(zip(headings, *cells, strict=True))
    widths = _widths(columns, unbroken, console.width - _GAP * (len(columns) - 1))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, _GAP - 1, 0, 0), show_edge=False)
    for column, width in zip(columns, widths, strict=True):
        is_amount = any(column[1:]) and all(map(_AMOUNT.fullmatch, column[1:]))
        justify: JustifyMethod = "right" if is_amount else "left"
        table.add_column(column[0], overflow="fold", width=width, justify=justify)
    for row in cells:
        table.add_row(*row)
    click.echo()
    _print(console, table)
    click.echo()


def _widths(columns: Sequence[Sequence[str]], unbroken: int, room: int) -> list[int]:
    """Return the columns' widths: the full ones if there is room, else the longest words."""
    whole = [max(map(cell_len, column)) for column in columns]
    least = [
        width if i < unbroken else max(map(cell_len, " ".join(column).split()), default=0)
        for i, (column, width) in enumerate(zip(columns, whole, strict=True))
    ]
    while sum(least) > room and max(least) > 1:
        # Unbroken columns give way last.
        widest = max(
            range(len(least)), key=lambda i: (least[i] > _NARROW and i >= unbroken, least[i])
        )
        least[widest] -= 1
    spare = room - sum(least)
    for left, i in enumerate(sorted(range(len(whole)), key=lambda i: whole[i] - least[i])):
        more = min(whole[i] - least[i], spare // (len(whole) - left))
        least[i] += more
        spare -= more
    return least


def print_facts(facts: Iterable[tuple[str, str]]) -> None:
    """Print names and values, one pair a line; a path is not broken, however long."""
    facts = list(facts)
    console = _console()
    names = max((cell_len(name) for name, _ in facts), default=0)
    words = max((cell_len(word) for _, value in facts for word in value.split()), default=0)
    console.width = max(console.width, names + _GAP + words)
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts:
        table.add_row(name, value)
    _print(console, table)


def print_blocks(blocks: Iterable[tuple[str, Sequence[str]]]) -> None:
    """Print headings, each with its lines indented below."""
    console = _console()
    for heading, lines in blocks:
        _print(console, Text(heading, style="bold", overflow="fold"))
        for line in lines:
            _print(console, Padding(Text(line, overflow="fold"), (0, 0, 0, 4), expand=False))


def operator_text(operator: Operator | None) -> str:
    """Return the name people know an operator by: its brand, else its name, else its code."""
    return operator.brand or operator.name or operator.code if operator else ""


def time_text(time: datetime) -> str:
    """Return a time for people, in UTC and to the second, as ``--as-of`` takes it."""
    return f"{time.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def changes_text(changes: Mapping[str, Any] | None) -> str:
    """Return the counts of changes in short; empty if there was no comparison."""
    if not changes:
        return ""
    return (
        f"+{changes['ported']:,} -{changes['returned']:,} "
        f"moved {changes['moved']:,} updated {changes['updated']:,}"
    )


def counted(count: int, noun: str) -> str:
    """Return a count with its noun in the right number: "1 file", "1,200 files"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _console() -> Console:
    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = _PIPE_WIDTH
    return console


def _print(console: Console, what: RenderableType) -> None:
    with console.capture() as captured:
        console.print(what)
    for line in captured.get().splitlines():
        click.echo(line.rstrip())
