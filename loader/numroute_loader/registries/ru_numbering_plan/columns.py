"""Which column of a numbering-plan file holds what, in every era of the publication."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from numroute.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numroute_loader.registries.ru_numbering_plan.text import PlanText

DELIMITER = ";"

CODE = "code"
START = "start"
END = "end"
CAPACITY = "capacity"
OPERATOR = "operator"
REGION = "region"
TERRITORY = "territory"
TAX_NUMBER = "tax_number"

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
_TAX_NUMBER = re.compile(r"\d{10}(?:\d{2})?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The columns of one file, in the order of its fields; "" is a column that is not read.

    ``header``: whether the first line is a header. ``unknown``: header names that are not read.
    """

    columns: Sequence[str]
    header: bool
    unknown: Sequence[str] = ()

    @property
    def region_takes_rest(self) -> bool:
        """Whether fields beyond the last column belong to the region.

        In the six-column era a region's text may hold the delimiter itself.
        """
        return tuple(self.columns) == _SIX


def is_plan_header(line: str) -> bool:
    """Whether a line is a plan's header, judged by the columns that every era has."""
    names = {_COLUMN_OF_NAME.get(_normal(name), "") for name in line.split(DELIMITER)}
    return names >= set(_SIX)


def is_plan_row(line: str) -> bool:
    """Whether a line looks like a row of a plan, as the first line of a headerless copy does."""
    fields = [field.strip() for field in line.split(DELIMITER)]
    return (
        len(fields) >= len(_SIX)
        and re.fullmatch(r"[3489]\d\d", fields[0], re.ASCII) is not None
        and all(field.isascii() and field.isdigit() for field in fields[1:4])
    )


def read_layout(text: PlanText) -> Layout:
    """Return the columns of a plan: by the header's names, or by position where there is none.

    Raises:
        InputError: the first line is neither a plan's header nor a plan's row, or the header lacks
            a column, has a column twice or one without a name.
    """
    first_line = text.data.split(b"\n", 1)[0].decode()
    if is_plan_row(first_line):
        return Layout(columns=_columns_by_position(first_line), header=False)
    names = [name.strip() for name in first_line.split(DELIMITER)]
    columns = tuple(_COLUMN_OF_NAME.get(_normal(name), "") for name in names)
    expected = f"A plan's header begins {DELIMITER.join(_HEADER_SHOWN)}"
    missing = [
        shown for shown, name in zip(_HEADER_SHOWN, _SIX, strict=True) if name not in columns
    ]
    if missing:
        reason = f"wrong header: no column {', '.join(missing)}"
        raise InputError(text.path, reason, line=1, hint=expected)
    known = [column for column in columns if column]
    if len(known) != len(set(known)):
        raise InputError(text.path, "wrong header: a column stands twice", line=1, hint=expected)
    if "" in names:
        raise InputError(text.path, "wrong header: a column without a name", line=1, hint=expected)
    unknown = [name for name, column in zip(names, columns, strict=True) if not column]
    return Layout(columns=columns, header=True, unknown=unknown)


_HEADER_SHOWN = ("АВС/ DEF", "От", "До", "Емкость", "Оператор", "Регион")


def _columns_by_position(first_line: str) -> Sequence[str]:
    """The columns of a headerless copy.

    Six were seen. A copy of a later era would end each row with a tax number, which must not
    become part of a region's name.
    """
    fields = [field.strip() for field in first_line.split(DELIMITER)]
    if _TAX_NUMBER.fullmatch(fields[-1]):
        for columns in (_SEVEN, _EIGHT):
            if len(fields) == len(columns):
                return columns
    return _SIX


def _normal(name: str) -> str:
    return re.sub(r"\s+", "", name).casefold()
