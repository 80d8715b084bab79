"""What the commands print: tables for people, JSON lines for programs."""

from __future__ import annotations

import dataclasses
import enum
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numroute.model import Operator


def print_json(value: Any) -> None:  # noqa: ANN401 - any value of ours, a dataclass or plain
    """Print a value as one line of JSON: enums by name, times in ISO 8601, dataclasses by field."""
    click.echo(json.dumps(plain(value), ensure_ascii=False))


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
    """Print a table; in a pipe, where nobody sees a width, it is as wide as its cells.

    On a narrow terminal the first ``unbroken`` columns keep their cells in one line.
    """
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for i, heading in enumerate(headings):
        table.add_column(heading, overflow="fold", no_wrap=i < unbroken)
    for row in rows:
        table.add_row(*row)
    _console().print(table)


def print_facts(facts: Iterable[tuple[str, str]]) -> None:
    """Print names and values, one pair a line."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts:
        table.add_row(name, value)
    _console().print(table)


def print_blocks(blocks: Iterable[tuple[str, Sequence[str]]]) -> None:
    """Print headed lines: each heading in one line, what belongs to it indented below."""
    console = _console()
    for heading, lines in blocks:
        console.print(Text(heading, style="bold", overflow="fold"))
        for line in lines:
            console.print(Padding(Text(line, overflow="fold"), (0, 0, 0, 4), expand=False))


def operator_text(operator: Operator | None) -> str:
    """Return what people call an operator: its brand, or its name, or at least its code."""
    return operator.brand or operator.name or operator.code if operator else ""


def time_text(time: datetime) -> str:
    """Return a time for people, in UTC and to the second, as ``--as-of`` takes it."""
    return f"{time.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def changes_text(changes: Mapping[str, Any] | None) -> str:
    """Return counts of changes in a few characters; nothing where nobody compared."""
    if not changes:
        return ""
    return (
        f"+{changes['ported']:,} -{changes['returned']:,} "
        f"moved {changes['moved']:,} updated {changes['updated']:,}"
    )


def _console() -> Console:
    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = 500
    return console
