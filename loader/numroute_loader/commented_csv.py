"""Small CSV tables that people edit: UTF-8 with a header, blank lines, and ``#`` comments."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec

from numroute.errors import InputError
from numroute.model import NUMBER_MAX, mask_digits, mask_number

FILE_BYTES_MAX = 8 << 20
"""The largest table that is read: 100,000 lines of 80 characters."""

_NUMBER = re.compile(r"\+?[1-9][0-9]{0,14}", re.ASCII)

Cells = TypeVar("Cells", bound=msgspec.Struct)
"""The columns of a table: cells of a required field must be filled."""


class Number(int):
    """A whole E.164 number in a cell, with or without ``+``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row(Generic[Cells]):
    """One row of a table: its file and line, and its cells."""

    path: str
    line: int
    cells: Cells

    def error(self, reason: str, *, hint: str = "") -> InputError:
        """Return an error of this row."""
        return InputError(self.path, reason, line=self.line, hint=hint)


def read_table(path: Path, cells: type[Cells], *, header: bool = True) -> Iterator[Row[Cells]]:
    """Yield the rows of a user's table; its columns may stand in any order.

    Columns of optional fields may be missing. Without ``header`` the header line may be missing
    too; the columns then stand in the order of the fields.

    Raises InputError, which masks numbers, when the file cannot be read or a row is wrong.
    """
    return _rows(str(path), read_text(path), cells, header=header)


def read_text(path: Path) -> str:
    """Return the text of a user's small file, without a byte order mark; raises InputError."""
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise InputError(path, f"the file is larger than {FILE_BYTES_MAX:,} bytes")
        return path.read_text("utf-8-sig")
    except OSError as error:
        reason = f"cannot be read: {error.strerror}"
        raise InputError(path, reason, hint="Check the path and its permissions") from None
    except UnicodeDecodeError:
        raise InputError(path, "the text is not UTF-8", hint="Save the file as UTF-8") from None


def read_own_tables(suffix: str, cells: type[Cells]) -> Iterator[Row[Cells]]:
    """Yield the rows of the built-in tables of all registries whose names end with ``suffix``."""
    folder = resources.files("numroute_loader").joinpath("registries", "tables")
    for table in sorted(folder.iterdir(), key=lambda table: table.name):
        if table.name.endswith(suffix):
            yield from _rows(table.name, table.read_text("utf-8"), cells, header=True)


def _rows(path: str, text: str, cells: type[Cells], *, header: bool) -> Iterator[Row[Cells]]:
    fields = msgspec.structs.fields(cells)
    columns = [field.name for field in fields if field.required]
    optional = [field.name for field in fields if not field.required]
    expected = f"The columns, separated by commas, are {', '.join(columns)}"
    expected += f" and, if needed, {', '.join(optional)}" if optional else ""
    names: Sequence[str] = ()
    for line, record in enumerate(text.splitlines(), start=1):
        if not record.strip() or record.lstrip().startswith("#"):
            continue
        try:
            (values,) = csv.reader([record], strict=True)
        except (csv.Error, ValueError):
            raise InputError(path, "a quote is not closed", line=line, hint=expected) from None
        values = [value.strip() for value in values]
        if not names:
            is_header = header or values[0].lower() == columns[0]
            names = values if is_header else columns
            if fault := _fault_of_header(names, columns, optional) if header else "":
                raise InputError(path, fault, line=line, hint=expected)
            if is_header:
                continue
        if len(values) != len(names):
            reason = f"{len(values)} cells where {len(names)} columns are expected"
            raise InputError(path, reason, line=line, hint=expected)
        filled = {name: value for name, value in zip(names, values, strict=True) if value}
        try:
            row = msgspec.convert(filled, cells, dec_hook=_number)
        except msgspec.ValidationError as error:
            # With the column first.
            what, _, column = str(error).partition(" - at `$.")
            reason = f"{column.rstrip('`')}: {what}" if column else what
            raise InputError(path, reason, line=line, hint=expected) from None
        yield Row(path=path, line=line, cells=row)
    if header and not names:
        raise InputError(path, "the file is empty: it has no header", hint=expected)


def _number(_: type, text: Any) -> Number:  # noqa: ANN401 - msgspec's signature
    if not _NUMBER.fullmatch(text) or int(text) > NUMBER_MAX:
        raise ValueError(
            f"{mask_number(text)!r} is not a whole international number; write it with its country "
            "code, as 79000000000 or +79000000000"
        )
    return Number(text)


def _fault_of_header(names: Sequence[str], columns: Sequence[str], optional: Sequence[str]) -> str:
    missing = [name for name in columns if name not in names]
    unknown = [name for name in names if name not in {*columns, *optional}]
    if missing:
        return f"the header lacks {', '.join(missing)}"
    if unknown:
        return f"the header has an unknown column {mask_digits(unknown[0])!r}"
    return "the header names a column twice" if len(set(names)) < len(names) else ""
