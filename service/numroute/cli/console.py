"""What the commands print: tables and progress for people, JSON lines for programs."""

from __future__ import annotations

import dataclasses
import enum
import json
import re
import shutil
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.progress import Progress, TaskID
from rich.table import Table

from numroute.model import Operator

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
        print_facts(facts)


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

    Long cells break between words, then anywhere; those of the first ``unbroken`` columns last.
    """
    console = Console(width=_width(), highlight=False, markup=False, emoji=False)
    cells = [list(map(str.strip, row)) for row in rows]
    columns = list(zip(headings, *cells, strict=True))
    widths = [max(map(cell_len, column)) for column in columns]
    words = [max(map(cell_len, " ".join(column).split()), default=0) for column in columns]
    words[:unbroken] = widths[:unbroken]

    def slack(column: int) -> tuple[bool, bool, int]:
        width = widths[column]
        return width > words[column], width > _NARROW and column >= unbroken, width

    while sum(widths) + _GAP * (len(widths) - 1) > console.width and max(widths) > 1:
        widths[max(range(len(widths)), key=slack)] -= 1
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, _GAP - 1, 0, 0), show_edge=False)
    for column, width in zip(columns, widths, strict=True):
        is_amount = any(column[1:]) and all(map(_AMOUNT.fullmatch, column[1:]))
        table.add_column(
            column[0], overflow="fold", width=width, justify="right" if is_amount else "left"
        )
    for row in cells:
        table.add_row(*row)
    with console.capture() as captured:
        console.print(table)
    lines = (line.rstrip() for line in captured.get().splitlines())
    click.echo("\n".join(("", *lines, "")))


def print_facts(facts: Iterable[tuple[str, str]]) -> None:
    """Print names and values, one pair a line; a word is not broken, however long."""
    facts = list(facts)
    indent = max((len(name) for name, _ in facts), default=0) + _GAP
    for name, value in facts:
        click.echo(click.style(name.ljust(indent), bold=True) + _wrapped(value, indent).lstrip())


def print_blocks(blocks: Iterable[tuple[str, Sequence[str]]]) -> None:
    """Print headings, each with its lines indented below."""
    for heading, lines in blocks:
        click.secho(_wrapped(heading, 0), bold=True)
        for line in lines:
            click.echo(_wrapped(line, 4))


def _wrapped(text: str, indent: int) -> str:
    """Return a text in indented lines, broken only between words."""
    return textwrap.fill(
        text,
        _width(),
        initial_indent=" " * indent,
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _width() -> int:
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else _PIPE_WIDTH


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


class Bars(Progress):
    """A progress bar per step, on standard error, only where it is a terminal."""

    def __init__(self) -> None:
        """Prepare the bars; none is shown before the first step."""
        super().__init__(console=Console(stderr=True), disable=not sys.stderr.isatty())
        self._steps: dict[str, TaskID] = {}

    def report(self, step: str, done: int, total: int) -> None:
        """Show how much of a step is done, in any unit; a total of 0 is not known yet."""
        if step not in self._steps:
            self._steps[step] = self.add_task(step, total=total or None)
        self.update(self._steps[step], completed=done, total=total or None)
