"""The bytes of a numbering-plan file as UTF-8 lines with known columns, in every era.

The publisher wrote windows-1251 until 2018, UTF-8 without and later with a byte order mark; copies
saved again by others are in any of the three, and sometimes in two of them at once.
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from numroute.errors import InputError
from numroute_loader.reading.archive import BYTE_ORDER_MARK

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

PLAN_BYTES_MAX = 256 * 2**20
"""The largest file that is read as a plan. All four files of 2026 together are below 100 MB."""

DELIMITER = ";"

CODE = "code"
START = "start"
END = "end"
CAPACITY = "capacity"
OPERATOR = "operator"
REGION = "region"
TERRITORY = "territory"
TAX_NUMBER = "tax_number"

TAX_NUMBER_SHAPE = re.compile(r"[0-9]{10}(?:[0-9]{2})?")
"""The tax number (ИНН) has ten digits for a company and twelve for a person."""

DELIMITER_IN_CELL = "\x1f"
"""Stands for a delimiter that belongs to the region's text."""

FROM_PUBLISHER = "Download the file from its publisher again"

# АВС is Cyrillic in every file seen; the Latin letters look the same and come from copies that
# somebody typed. Names are compared without blanks and without regard to case.
_COLUMN_OF_NAME = {
    "авс/def": CODE,
    "abc/def": CODE,
    "от": START,
    "до": END,
    "емкость": CAPACITY,
    "ёмкость": CAPACITY,
    "оператор": OPERATOR,
    "регион": REGION,
    "территориягар": TERRITORY,
    "инн": TAX_NUMBER,
}
_SIX = (CODE, START, END, CAPACITY, OPERATOR, REGION)
_SEVEN = (*_SIX, TAX_NUMBER)
_EIGHT = (*_SIX, TERRITORY, TAX_NUMBER)

# Three Cyrillic letters in UTF-8. In windows-1251 the same bytes would be three times one of the
# capitals Р and С followed by a sign that never follows a letter in a Russian text.
_UTF8_CYRILLIC = re.compile(rb"(?:[\xd0\xd1][\x80-\xbf]){3}")


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanText:
    """A plan's lines and columns.

    ``data``: UTF-8 without byte order mark and with an empty first line in place of a header.
    ``columns`` are in the order of the fields; "" is a column that is not read, ``unknown`` are the
    names of those.
    """

    path: Path
    data: bytes
    columns: Sequence[str]
    unknown: Sequence[str] = ()

    @property
    def region_takes_rest(self) -> bool:
        """Whether fields beyond the last column belong to the region.

        In the six-column era a region's text may hold the delimiter itself.
        """
        return tuple(self.columns) == _SIX


def decode_plan(path: Path, raw: bytes) -> PlanText:
    """Return the text of a plan file's bytes.

    The file must begin like a plan. Raises InputError when it is too long, has letters lost in a
    conversion, lines in two encodings, or an ambiguous header.
    """
    if len(raw) > PLAN_BYTES_MAX:
        reason = f"longer than {PLAN_BYTES_MAX} bytes, which no numbering plan is"
        hint = "Check that this is a file of the numbering plan"
        raise InputError(path, reason, hint=hint)
    data = raw.removeprefix(BYTE_ORDER_MARK)
    lost = data.find("\N{REPLACEMENT CHARACTER}".encode())
    if lost >= 0:
        reason = "letters were lost when this copy was converted (U+FFFD)"
        raise InputError(path, reason, line=_line(data, lost), hint=FROM_PUBLISHER)
    data = _unquoted(_as_utf8(path, data, marked=data is not raw))
    first_line, _, rest = data.partition(b"\n")
    if is_plan_row(first_line.decode()):
        return PlanText(path=path, data=data, columns=_columns_by_position(first_line.decode()))
    names = [name.strip() for name in first_line.decode().split(DELIMITER)]
    columns = tuple(_COLUMN_OF_NAME.get(_normal(name), "") for name in names)
    known = [column for column in columns if column]
    if len(known) == len(set(known)) and "" not in names:
        unknown = [name for name, column in zip(names, columns, strict=True) if not column]
        return PlanText(path=path, data=b"\n" + rest, columns=columns, unknown=unknown)
    reason = "a column without a name" if "" in names else "a column occurs twice"
    hint = "A plan's header begins АВС/ DEF;От;До;Емкость;Оператор;Регион"
    raise InputError(path, f"wrong header: {reason}", line=1, hint=hint)


def begins_like_plan(head: bytes) -> bool:
    """Return whether a file begins with a plan's header, or a row as a headerless copy does."""
    first_line = head.removeprefix(BYTE_ORDER_MARK).split(b"\n", 1)[0]
    return any(
        _is_plan_header(line) or is_plan_row(line)
        for line in (
            first_line.decode(encoding, errors="replace") for encoding in ("utf-8", "windows-1251")
        )
    )


def _is_plan_header(line: str) -> bool:
    """Return whether a line has the columns that every era has."""
    return {_COLUMN_OF_NAME.get(_normal(name), "") for name in line.split(DELIMITER)} >= set(_SIX)


def is_plan_row(line: str) -> bool:
    """Return whether a line looks like a row of a plan."""
    fields = [field.strip() for field in line.split(DELIMITER)]
    return (
        len(fields) >= len(_SIX)
        and re.fullmatch(r"[3489]\d\d", fields[0], re.ASCII) is not None
        and all(field.isascii() and field.isdigit() for field in fields[1:4])
    )


def _columns_by_position(first_line: str) -> Sequence[str]:
    """Return the columns of a headerless copy.

    Six were seen. A copy of a later era would end each row with a tax number, which must not
    become part of a region's name.
    """
    fields = [field.strip() for field in first_line.split(DELIMITER)]
    if TAX_NUMBER_SHAPE.fullmatch(fields[-1]):
        for columns in (_SEVEN, _EIGHT):
            if len(fields) == len(columns):
                return columns
    return _SIX


def _normal(name: str) -> str:
    return re.sub(r"\s+", "", name).casefold()


def _unquoted(data: bytes) -> bytes:
    """Take the quotes off a copy that a spreadsheet saved; leave any other text alone.

    The publisher never quotes a cell: its quotes are part of the names. A spreadsheet puts a cell
    that holds quotes into quotes and doubles those inside. A text is such a copy when all its
    quoted cells are of this form and most of them then hold pairs of quotes: the publisher's file
    of 2014 has the form, but by halves of pairs.
    """
    if b'""' not in data:
        return data
    lines = data.decode().split("\n")
    quoted = unpaired = 0
    for place, line in enumerate(lines):
        if '"' in line:
            text, end = (line[:-1], "\r") if line.endswith("\r") else (line, "")
            try:
                cells = next(csv.reader([text], delimiter=DELIMITER, strict=True))
            except (csv.Error, StopIteration):
                return data
            counts = [cell.count('"') for cell in cells if '"' in cell]
            if sum(2 * count + 2 for count in counts) > text.count('"'):
                return data
            quoted += len(counts)
            unpaired += sum(count % 2 for count in counts)
            cells = [cell.replace(DELIMITER, DELIMITER_IN_CELL) for cell in cells]
            lines[place] = DELIMITER.join(cells) + end
    return data if 2 * unpaired > quoted else "\n".join(lines).encode()


def _as_utf8(path: Path, data: bytes, *, marked: bool) -> bytes:
    """Return the bytes as UTF-8, whichever of the two encodings they are in."""
    try:
        data.decode()
    except UnicodeDecodeError as error:
        other = _line(data, error.start)
    else:
        return data
    cyrillic = _UTF8_CYRILLIC.search(data)
    if cyrillic is None and not marked:
        try:
            return data.decode("windows-1251").encode()
        except UnicodeDecodeError as error:
            line, reason = _line(data, error.start), "neither UTF-8 nor windows-1251"
            raise InputError(path, reason, line=line, hint=FROM_PUBLISHER) from None
    utf8 = _line(data, cyrillic.start()) if cyrillic else 1
    reason = f"mixed encodings: line {utf8} is in UTF-8, line {other} is not"
    if utf8 == other:
        reason = "mixed encodings: one part of this line is in UTF-8, another is not"
    raise InputError(path, reason, line=max(utf8, other), hint=FROM_PUBLISHER)


def _line(data: bytes, position: int) -> int:
    """Return the line, counted from 1, of a byte position."""
    return data.count(b"\n", 0, position) + 1
