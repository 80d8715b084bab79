"""A numbering-plan file read line by line: what is irregular is repaired or refused.

The only repair of a row's field count is that of 2018: in the six-column era the region's text may
hold the delimiter, so what stands beyond the sixth field belongs to the region.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from numroute.errors import InputError
from numroute_loader.registries.ru_numbering_plan.columns import (
    CAPACITY,
    CODE,
    DELIMITER,
    END,
    OPERATOR,
    REGION,
    START,
    TAX_NUMBER,
    TERRITORY,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numroute_loader.registries.ru_numbering_plan.columns import Layout
    from numroute_loader.registries.ru_numbering_plan.text import PlanText

BLANKS = " \t\r"
"""What pads a field: the tabs of 2017, the blanks of 2021, the return of a CRLF line end."""

_CODE = re.compile(r"[3489][0-9]{2}")
_SUBSCRIBER = re.compile(r"[0-9]{1,7}")
_CAPACITY = re.compile(r"[0-9]{1,8}")
_TAX_NUMBER = re.compile(r"[0-9]{10}(?:[0-9]{2})?")
_TOTAL = re.compile(r"(?:итого|всего)\b", re.IGNORECASE)

_EDITED = "Copies saved by hand or by a spreadsheet go wrong like this; use the published file"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanLines:
    """The rows of a plan as lists of equal length, one entry per row."""

    code: list[int] = field(default_factory=list)
    start: list[int] = field(default_factory=list)
    end: list[int] = field(default_factory=list)
    line: list[int] = field(default_factory=list)
    texts: Mapping[str, list[str]] = field(
        default_factory=lambda: {OPERATOR: [], REGION: [], TERRITORY: [], TAX_NUMBER: []}
    )
    warnings: list[str] = field(default_factory=list)


def read_lines(text: PlanText, layout: Layout) -> PlanLines:
    """Read every row; blank lines are passed over.

    Raises:
        InputError: a row cannot be what the plan's publisher wrote; names the line.
    """
    rows = PlanLines()
    repaired: list[int] = []
    records = text.data.decode().split("\n")
    for line, record in enumerate(records, start=1):
        if (layout.header and line == 1) or not record.strip():
            continue
        # The last of the parts is a record only where the file does not end with a line end.
        fields = _fields(text, layout, line, record, cut_off=line == len(records))
        if len(fields) > len(layout.columns):
            repaired.append(line)
            region = layout.columns.index(REGION)
            fields[region:] = [DELIMITER.join(fields[region:])]
        cells = dict(zip(layout.columns, fields, strict=True))
        _append(rows, text, line, cells)
    if repaired:
        rows.warnings.append(
            f"{len(repaired)} rows, the first on line {repaired[0]}, have the delimiter inside "
            "Регион: the fields beyond the sixth were read as part of it"
        )
    return rows


def _fields(text: PlanText, layout: Layout, line: int, record: str, *, cut_off: bool) -> list[str]:
    """Split a record and judge its number of fields."""
    fields = [cell.strip(BLANKS) for cell in record.split(DELIMITER)]
    if any(_TOTAL.match(cell) for cell in fields[:4]):
        raise InputError(text.path, "a total row, not a range", line=line, hint=_EDITED)
    expected, actual = len(layout.columns), len(fields)
    if actual == expected or (actual > expected and _is_2018_row(layout, fields)):
        return fields
    reason = f"{actual} fields where {expected} are due"
    if cut_off and actual < expected:
        reason = f"the file is cut off: its last line has {reason}"
    raise InputError(text.path, reason, line=line, hint="Download the file again")


def _is_2018_row(layout: Layout, fields: Sequence[str]) -> bool:
    """Whether surplus fields can be parts of a region's name: a tax number is none."""
    return layout.region_takes_rest and not _TAX_NUMBER.fullmatch(fields[-1])


def _append(rows: PlanLines, text: PlanText, line: int, cells: Mapping[str, str]) -> None:
    """Check one row's figures and add it."""
    if not _CODE.fullmatch(cells[CODE]):
        raise InputError(
            text.path,
            "the code is not three digits that begin with 3, 4, 8 or 9",
            line=line,
            hint=_EDITED,
        )
    for name, shown in ((START, "От"), (END, "До")):
        if not _SUBSCRIBER.fullmatch(cells[name]):
            raise InputError(
                text.path, f"{shown} is not a number of up to seven digits", line=line, hint=_EDITED
            )
    start, end = int(cells[START]), int(cells[END])
    if start > end:
        raise InputError(text.path, "От is greater than До", line=line, hint=_EDITED)
    if not _CAPACITY.fullmatch(cells[CAPACITY]) or int(cells[CAPACITY]) != end - start + 1:
        raise InputError(
            text.path,
            f"Емкость is not До - От + 1, which is {end - start + 1}",
            line=line,
            hint=_EDITED,
        )
    rows.code.append(int(cells[CODE]))
    rows.start.append(start)
    rows.end.append(end)
    rows.line.append(line)
    for name, values in rows.texts.items():
        values.append(cells.get(name, ""))
