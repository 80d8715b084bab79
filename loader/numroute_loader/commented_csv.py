"""Small CSV tables that people edit: UTF-8 with a header, blank lines, and ``#`` comments."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING

from numroute.errors import InputError
from numroute.model import NUMBER_MAX, mask_digits, mask_number

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

FILE_BYTES_MAX = 8 << 20
"""The largest table that is read: 100,000 lines of 80 characters."""

_NUMBER = re.compile(r"\+?[1-9][0-9]{0,14}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row of a table: its file and line, and its cells by column name, without padding."""

    path: str
    line: int
    cells: Mapping[str, str]

    def error(self, reason: str, *, hint: str = "") -> InputError:
        """Return an error of this row."""
        return InputError(self.path, reason, line=self.line, hint=hint)

    def number(self, column: str) -> int:
        """Return a cell as a whole E.164 number. Raises InputError, which masks the number."""
        text = self.cells[column]
        if not _NUMBER.fullmatch(text) or int(text) > NUMBER_MAX:
            shown = f"{mask_number(text)!r} is not a whole international number"
            raise self.error(
                f"{column} {shown if text else 'is empty'}",
                hint="Write it with its country code, as 79000000000 or +79000000000",
            )
        return int(text)


def read_table(
    path: Path, columns: Sequence[str], optional: Sequence[str] = (), *, header: bool = True
) -> Iterator[Row]:
    """Yield the rows of a user's table; its columns may stand in any order.

    ``optional`` columns may be missing, their cells are then empty. Without ``header`` the header
    line may be missing too; the columns then stand in the order of ``columns``.

    Raises InputError when the file cannot be read or a line does not have the right columns.
    """
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise InputError(path, f"the file is larger than {FILE_BYTES_MAX:,} bytes")
        text = path.read_text("utf-8-sig")
    except OSError as error:
        reason = f"cannot be read: {error.strerror}"
        raise InputError(path, reason, hint="Check the path and its permissions") from None
    except UnicodeDecodeError:
        raise InputError(path, "the text is not UTF-8", hint="Save the file as UTF-8") from None
    return _rows(str(path), text, columns, optional, header=header)


def read_own_tables(suffix: str, columns: Sequence[str]) -> Iterator[Row]:
    """Yield the rows of the built-in tables of all registries whose names end with ``suffix``."""
    folder = resources.files("numroute_loader").joinpath("registries", "tables")
    for table in sorted(folder.iterdir(), key=lambda table: table.name):
        if table.name.endswith(suffix):
            yield from _rows(table.name, table.read_text("utf-8"), columns)


def _rows(
    path: str,
    text: str,
    columns: Sequence[str],
    optional: Sequence[str] = (),
    *,
    header: bool = True,
) -> Iterator[Row]:
    expected = f"The columns are {', '.join(columns)}"
    if optional:
        expected += f" and, if needed, {', '.join(optional)}"
    names: Sequence[str] = ()
    for line, record in enumerate(text.splitlines(), start=1):
        if not record.strip() or record.lstrip().startswith("#"):
            continue
        try:
            (cells,) = csv.reader([record], strict=True)
        except (csv.Error, ValueError):
            raise InputError(path, "a quote is not closed", line=line, hint=expected) from None
        cells = [cell.strip() for cell in cells]
        if not names:
            is_header = header or cells[0].lower() == columns[0]
            names = cells if is_header else columns
            fault = _fault_of_header(names, columns, optional) if header else ""
            if fault:
                raise InputError(path, fault, line=line, hint=expected)
            if is_header:
                continue
        if len(cells) != len(names):
            reason = f"{len(cells)} cells where {len(names)} columns are expected"
            raise InputError(path, reason, line=line, hint=expected)
        row = dict.fromkeys(optional, "") | dict(zip(names, cells, strict=True))
        yield Row(path=path, line=line, cells=row)
    if header and not names:
        raise InputError(path, "the file is empty: it has no header", hint=expected)


def _fault_of_header(names: Sequence[str], columns: Sequence[str], optional: Sequence[str]) -> str:
    missing = [name for name in columns if name not in names]
    unknown = [name for name in names if name not in {*columns, *optional}]
    if missing and len(names) == 1 and any(sign in names[0] for sign in ";\t"):
        return "the columns must be separated by commas"
    if missing:
        return f"the header lacks {', '.join(missing)}"
    if unknown:
        return f"the header has an unknown column {mask_digits(unknown[0])!r}"
    return "the header names a column twice" if len(set(names)) < len(names) else ""
