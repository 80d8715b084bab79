"""The Russian numbering plan: which operator holds which range of numbers.

Open data of the ministry: ``DEF-9xx.csv`` (mobile), ``ABC-3xx.csv``, ``ABC-4xx.csv``,
``ABC-8xx.csv`` (fixed lines and services), under older names ``Kody_DEF-9kh.csv`` and so on. All
eras since 2014 are read; ``plan_text``, ``plan_columns`` and ``plan_rows`` know how they differ.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from numroute.errors import InputError
from numroute.model import LineType
from numroute_loader.reading.archive import Source
from numroute_loader.reading.description import FileKind, Progress
from numroute_loader.records import ParsedFile, Ranges, RouteKey, SourceFile
from numroute_loader.registries.ru_numbering_plan.columns import (
    OPERATOR,
    REGION,
    TAX_NUMBER,
    TERRITORY,
    is_plan_header,
    is_plan_row,
    read_layout,
)
from numroute_loader.registries.ru_numbering_plan.rows import read_rows
from numroute_loader.registries.ru_numbering_plan.text import PLAN_BYTES_MAX, decode_plan

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from numroute_loader.registries.ru_numbering_plan.columns import Layout
    from numroute_loader.registries.ru_numbering_plan.rows import PlanRows
    from numroute_loader.registries.ru_numbering_plan.text import PlanText

REGISTRY = "ru-numbering-plan"

_COUNTRY_CODE = 7
_CODE_UNIT = 10**7
_COUNTRY_UNIT = 10**10

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

_TAX_NUMBER = re.compile(r"[0-9]{10}(?:[0-9]{2})?")
_NO_REGION = frozenset({"", "-"})


def read_plan(path: Path, kind: FileKind, progress: Progress | None = None) -> ParsedFile:
    """Read one file of the plan.

    Ranges are as the file has them, put in ascending order; a region that the file leaves open
    (``-``) is named by its territory column. A tax number that cannot be one is left empty.

    A zip is read as the one file in it. ``progress`` is called once, at the end.

    Raises:
        InputError: the file is no plan, or it is damaged; names the line.
    """
    with Source(path) as source:
        raw = source.read(PLAN_BYTES_MAX + 1)
        sha256 = source.sha256()
        total = source.bytes_total
    text = decode_plan(path, raw)
    layout = read_layout(text)
    rows = read_rows(text, layout)
    if not len(rows.line):
        raise InputError(path, "the file holds no ranges", hint="Download the file again")
    _refuse_cut_tax_number(text, layout, rows)
    warnings = [f"{path.name}: {warning}" for warning in rows.warnings]
    warnings += [f"{path.name}: column {name!r} is not known, not read" for name in layout.unknown]
    ranges = _ranges(path, rows, warnings)
    if progress is not None:
        progress(total, total)
    return ParsedFile(
        source=SourceFile(
            path=path,
            registry=kind.registry,
            kind=kind.name,
            rows=len(rows.line),
            sha256=sha256,
        ),
        ranges=ranges,
        warnings=tuple(warnings),
    )


def begins_like_plan(head: bytes) -> bool:
    """Whether the first bytes of a file are a plan's header, or a row of a headerless copy."""
    first_line = head.removeprefix(b"\xef\xbb\xbf").split(b"\n", 1)[0]
    return any(
        is_plan_header(line) or is_plan_row(line)
        for line in (
            first_line.decode(encoding, errors="replace") for encoding in ("utf-8", "windows-1251")
        )
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
    ),
)
"""The kinds of file that this registry publishes: one, whatever the codes in it."""


def _refuse_cut_tax_number(text: PlanText, layout: Layout, rows: PlanRows) -> None:
    """Refuse a file that ends within its last tax number.

    Official files end without a line end, so only the last field's form tells a whole file.
    """
    if text.data.endswith(b"\n") or layout.columns[-1] != TAX_NUMBER:
        return
    column = rows.texts[TAX_NUMBER]
    last = column.values[column.index[-1]].strip()
    if last and not _TAX_NUMBER.fullmatch(last):
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
        warnings.append(f"{path.name}: the rows are not in ascending order and were put into it")
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
    """Refuse ranges that share a number; they stand in ascending order of their first."""
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
    line_type = _line_types(rows.code)
    columns: list[tuple[NDArray[np.integer], Sequence[str]]] = [
        (rows.texts[OPERATOR].index, _cleaned(rows, OPERATOR, _collapsed)),
        (rows.texts[REGION].index, _cleaned(rows, REGION, str.strip)),
        (rows.texts[TERRITORY].index, _cleaned(rows, TERRITORY, str.strip)),
        (rows.texts[TAX_NUMBER].index, _tax_numbers(path, rows, warnings)),
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
            raise InputError(
                path, "no operator is named", line=int(rows.line[row]), hint="Use the original file"
            )
        key = RouteKey(
            operator_name=operator,
            tax_number=tax_number,
            region_name=_region(region, territory),
            line_type=LineType(int(line_type[row])),
        )
        of_combination[combination] = row_of.setdefault(key, len(row_of))
    return of_combination[combined], tuple(row_of)


def _line_types(code: NDArray[np.int64]) -> NDArray[np.int64]:
    """The line type of each code."""
    return _LINE_TYPES[np.searchsorted(_LINE_TYPE_FROM, code, side="right") - 1]


def _cleaned(rows: PlanRows, name: str, clean: Callable[[str], str]) -> Sequence[str]:
    return [clean(value) for value in rows.texts[name].values]


def _collapsed(name: str) -> str:
    """A name without padding, its words one blank apart."""
    return " ".join(name.split())


def _tax_numbers(path: Path, rows: PlanRows, warnings: list[str]) -> Sequence[str]:
    """The column's values, "" where one is neither empty nor 10 or 12 digits."""
    column = rows.texts[TAX_NUMBER]
    values = [value.strip() for value in column.values]
    is_bad = np.array([bool(value) and not _TAX_NUMBER.fullmatch(value) for value in values])
    bad_rows = np.flatnonzero(is_bad[column.index])
    if len(bad_rows):
        warnings.append(
            f"{path.name}: {len(bad_rows)} rows, the first on line {rows.line[bad_rows[0]]}, have "
            "an ИНН that is not 10 or 12 digits: left empty"
        )
    return ["" if bad else value for value, bad in zip(values, is_bad.tolist(), strict=True)]


def _region(region: str, territory: str) -> str:
    """The region's name: since 2026 it may be left to the territory column."""
    if region not in _NO_REGION:
        return region
    return "" if territory in _NO_REGION else territory
