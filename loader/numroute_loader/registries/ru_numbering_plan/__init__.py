"""The Russian numbering plan: which operator holds which range of numbers.

Open data of the ministry: ``DEF-9xx.csv`` (mobile), ``ABC-3xx.csv``, ``ABC-4xx.csv``,
``ABC-8xx.csv`` (fixed lines and services), under older names ``Kody_DEF-9kh.csv`` and so on. All
eras since 2014 are read; ``text`` and ``rows`` know how they differ.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from numroute.errors import InputError
from numroute.model import LineType
from numroute_loader.reading.description import FileKind, ParsedFile
from numroute_loader.records import Ranges, RouteKey
from numroute_loader.registries.ru_numbering_plan.rows import read_rows
from numroute_loader.registries.ru_numbering_plan.text import (
    OPERATOR,
    PLAN_BYTES_MAX,
    REGION,
    TAX_NUMBER,
    TAX_NUMBER_SHAPE,
    TERRITORY,
    begins_like_plan,
    decode_plan,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from numroute_loader.reading.description import Progress, RegistryFile, Tolerance
    from numroute_loader.registries.ru_numbering_plan.rows import PlanRows
    from numroute_loader.registries.ru_numbering_plan.text import PlanText

REGISTRY = "ru-numbering-plan"

_COUNTRY_CODE = 7
_CODE_UNIT = 10**7
_COUNTRY_UNIT = 10**10

COVERS = tuple(
    (block * _CODE_UNIT * 100, (block + 1) * _CODE_UNIT * 100 - 1) for block in (73, 74, 78, 79)
)
"""Russia's part of +7, one block per file of the plan."""

# From which code on which line type: 800 is toll-free, 801-809 are other services, 9xx is mobile.
_LINE_TYPE_FROM = np.array([0, 800, 801, 810, 900])
_LINE_TYPES = np.array(
    [
        LineType.FIXED,
        LineType.TOLL_FREE,
        LineType.SERVICE,
        LineType.FIXED,
        LineType.MOBILE,
    ],
    dtype=np.int64,
)

_NO_REGION = frozenset({"", "-"})


def read_plan(file: RegistryFile, progress: Progress | None, _: Tolerance) -> ParsedFile:
    """Read one file of the plan.

    The ranges are put in ascending order; a region that the file leaves open (``-``) is named by
    its territory column. A malformed tax number is left empty.

    Raises InputError, with the line, when the file is not a plan or is damaged.
    """
    path = file.path
    text = decode_plan(path, file.archive.read(PLAN_BYTES_MAX + 1))
    rows = read_rows(text)
    if not len(rows.line):
        raise InputError(path, "the file holds no ranges", hint="Download the file again")
    _refuse_cut_tax_number(text, rows)
    warnings = list(rows.warnings)
    warnings += [f"unknown column {name!r} was not read" for name in text.unknown]
    ranges = _ranges(path, rows, warnings)
    if progress is not None:
        progress(file.archive.bytes_total, file.archive.bytes_total)
    return ParsedFile(
        source=file.source(len(rows.line)),
        ranges=ranges,
        warnings=tuple(f"{path.name}: {warning}" for warning in warnings),
    )


KINDS = (
    FileKind(
        name=f"{REGISTRY}/plan",
        registry=REGISTRY,
        # Downloads come as "DEF-9xx (1)" too; the header test judges the content.
        file_name=re.compile(r"(?:Kody_)?(?:ABC|DEF)-[3489](?:xx|kh)(?:\W.*)?", re.IGNORECASE),
        header=begins_like_plan,
        expects="the header АВС/ DEF;От;До;Емкость;Оператор;Регион, or with a row of a plan",
        read=read_plan,
        covers=COVERS,
    ),
)
"""The kinds of file that this registry publishes: one for all codes."""


def _refuse_cut_tax_number(text: PlanText, rows: PlanRows) -> None:
    """Refuse a file that ends within its last tax number.

    Official files end without a line end, so only the last field's form shows that all is there.
    """
    if text.data.endswith(b"\n") or text.columns[-1] != TAX_NUMBER:
        return
    column = rows.texts[TAX_NUMBER]
    last = column.values[column.index[-1]]
    if last and not TAX_NUMBER_SHAPE.fullmatch(last):
        raise InputError(
            text.path,
            "the file is cut off: its last line ends within the tax number",
            line=int(rows.line[-1]),
            hint="Download the file again",
        )


def _ranges(path: Path, rows: PlanRows, warnings: list[str]) -> Ranges:
    """Return the rows as ranges of whole numbers in ascending order."""
    base = _COUNTRY_CODE * _COUNTRY_UNIT + rows.code * _CODE_UNIT
    first, last = base + rows.start, base + rows.end
    key, keys = _keys(path, rows, warnings)
    line = rows.line
    if (first[1:] < first[:-1]).any():
        order = np.argsort(first, kind="stable")
        first, last, key, line = first[order], last[order], key[order], line[order]
        warnings.append("the rows are not in ascending order and were sorted")
    _refuse_overlap(path, first, last, line)
    return Ranges(
        first=first.astype(np.uint64),
        last=last.astype(np.uint64),
        key=key.astype(np.uint32),
        keys=keys,
    )


def _refuse_overlap(
    path: Path, first: NDArray[np.int64], last: NDArray[np.int64], line: NDArray[np.int64]
) -> None:
    """Refuse ranges that share a number; they are in ascending order of their first."""
    clashes = np.flatnonzero(first[1:] <= last[:-1])
    if not len(clashes):
        return
    at = int(clashes[0])
    earlier, later = sorted((int(line[at]), int(line[at + 1])))
    same = first[at] == first[at + 1] and last[at] == last[at + 1]
    raise InputError(
        path,
        f"this range {'repeats' if same else 'overlaps'} that of line {earlier}",
        line=later,
        hint="The published file has each number once; use it instead of an edited copy",
    )


def _keys(
    path: Path, rows: PlanRows, warnings: list[str]
) -> tuple[NDArray[np.int64], Sequence[RouteKey]]:
    """Return an index per row and the distinct keys that it points into."""
    line_type = _LINE_TYPES[np.searchsorted(_LINE_TYPE_FROM, rows.code, side="right") - 1]
    # The words of a name are one blank apart.
    operators = [" ".join(name.split()) for name in rows.texts[OPERATOR].values]
    columns: list[tuple[NDArray[np.integer], Sequence[str]]] = [
        (rows.texts[OPERATOR].index, operators),
        (rows.texts[REGION].index, rows.texts[REGION].values),
        (rows.texts[TERRITORY].index, rows.texts[TERRITORY].values),
        (rows.texts[TAX_NUMBER].index, _tax_numbers(rows, warnings)),
    ]
    combined = line_type
    for index, values in columns:
        # Numbering the combinations anew at each step keeps the products far below 2**63.
        _, combined = np.unique(combined * len(values) + index, return_inverse=True)
    _, example, combined = np.unique(combined, return_index=True, return_inverse=True)
    row_of: dict[RouteKey, int] = {}
    of_combination = np.empty(len(example), dtype=np.int64)
    for combination, row in enumerate(example.tolist()):
        operator, region, territory, tax_number = (values[index[row]] for index, values in columns)
        if not operator and not tax_number:
            hint = "Use the original file"
            raise InputError(path, "no operator is named", line=int(rows.line[row]), hint=hint)
        # Since 2026 a region may be left to the territory column.
        region = next((name for name in (region, territory) if name not in _NO_REGION), "")
        key = RouteKey(
            operator_name=operator,
            tax_number=tax_number,
            region_name=region,
            line_type=LineType(int(line_type[row])),
        )
        of_combination[combination] = row_of.setdefault(key, len(row_of))
    return of_combination[combined], tuple(row_of)


def _tax_numbers(rows: PlanRows, warnings: list[str]) -> Sequence[str]:
    """Return the column's values, "" where one is neither empty nor 10 or 12 digits."""
    column = rows.texts[TAX_NUMBER]
    bad = [bool(value) and not TAX_NUMBER_SHAPE.fullmatch(value) for value in column.values]
    bad_rows = np.flatnonzero(np.array(bad, np.bool_)[column.index])
    if len(bad_rows):
        warnings.append(
            f"{len(bad_rows)} rows, the first on line {rows.line[bad_rows[0]]}, have an ИНН that "
            "is not 10 or 12 digits: left empty"
        )
    return ["" if is_bad else value for value, is_bad in zip(column.values, bad, strict=True)]
