"""Reading the project's own small CSV tables, and copies of them that a user edited."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING

from numroute.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path


_COMMENT = "#"


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRow:
    """One row of a table: where it stands, and its cells by column name without padding."""

    path: str
    line: int
    cells: Mapping[str, str]


def read_table(path: Path, columns: Sequence[str]) -> Iterator[TableRow]:
    """Yield the rows of a user's table.

    The table is CSV in UTF-8 with a header; lines that begin with ``#`` and blank lines are passed
    over. The columns stand in any order.

    Raises:
        InputError: the file cannot be read, or a line has not the columns it should have.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        reason = f"the table cannot be read: {error.strerror}"
        raise InputError(path, reason, hint="Check the path and its permissions") from None
    except UnicodeDecodeError:
        raise InputError(path, "the table is not UTF-8", hint="Save it as UTF-8") from None
    return _rows(str(path), text, columns)


def read_own_tables(suffix: str, columns: Sequence[str]) -> Iterator[TableRow]:
    """Yield the rows of the project's tables whose names end with ``suffix``, all registries'."""
    folder = resources.files("numroute_loader").joinpath("registries", "tables")
    for table in sorted(folder.iterdir(), key=lambda table: table.name):
        if table.name.endswith(suffix):
            yield from _rows(table.name, table.read_text(encoding="utf-8"), columns)


def _rows(path: str, text: str, columns: Sequence[str]) -> Iterator[TableRow]:
    expected = f"The columns are {','.join(columns)}"
    header: list[str] | None = None
    for line, record in enumerate(text.splitlines(), start=1):
        if not record.strip() or record.startswith(_COMMENT):
            continue
        try:
            (fields,) = csv.reader([record], strict=True)
        except (csv.Error, ValueError):
            raise InputError(path, "the quotes do not match", line=line, hint=expected) from None
        fields = [cell.strip() for cell in fields]
        if header is None:
            if sorted(fields) != sorted(columns):
                raise InputError(path, "wrong header", line=line, hint=expected)
            header = fields
        elif len(fields) != len(header):
            reason = f"{len(fields)} fields where {len(header)} are due"
            raise InputError(path, reason, line=line, hint=expected)
        else:
            yield TableRow(path=path, line=line, cells=dict(zip(header, fields, strict=True)))
    if header is None:
        raise InputError(path, "the table has no header", hint=expected)
