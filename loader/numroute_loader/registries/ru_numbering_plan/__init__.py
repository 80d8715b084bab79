"""The Russian numbering plan: which operator holds which range of numbers.

Open data of the ministry: ``DEF-9xx.csv`` (mobile), ``ABC-3xx.csv``, ``ABC-4xx.csv``,
``ABC-8xx.csv`` (fixed lines and services), under older names ``Kody_DEF-9kh.csv`` and so on. All
eras since 2014 are read.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from numroute.errors import InputError
from numroute.model import LineType
from numroute_loader.reading.columns import TEXT_TYPE, Codes, codes_of, combined
from numroute_loader.reading.csv_stream import Fault, batch_of, sound_lines
from numroute_loader.reading.description import FileKind, ParsedFile
from numroute_loader.records import Ranges, RouteKey
from numroute_loader.registries.ru_numbering_plan.text import (
    CAPACITY,
    CODE,
    DELIMITER,
    DELIMITER_IN_CELL,
    END,
    OPERATOR,
    PLAN_BYTES_MAX,
    REGION,
    START,
    TAX_NUMBER,
    TAX_NUMBER_SHAPE,
    TERRITORY,
    begins_like_plan,
    decode_plan,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from numroute_loader.reading.csv_stream import SoundLines
    from numroute_loader.reading.description import Progress, RegistryFile, Tolerance
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
_LINE_TYPES = (
    LineType.FIXED,
    LineType.TOLL_FREE,
    LineType.SERVICE,
    LineType.FIXED,
    LineType.MOBILE,
)

_NO_REGION = frozenset({"", "-"})

_FIGURES = {
    CODE: (r"^[3489][0-9]{2}$", "the code is not three digits that begin with 3, 4, 8 or 9"),
    START: (r"^[0-9]{1,7}$", "От is not a number of up to seven digits"),
    END: (r"^[0-9]{1,7}$", "До is not a number of up to seven digits"),
    CAPACITY: (r"^[0-9]{1,8}$", "Емкость is not a number of up to eight digits"),
}
_TEXTS = (OPERATOR, REGION, TERRITORY, TAX_NUMBER)

# What pads a field: the tabs of 2017, the blanks of 2021, the return of a CRLF line end.
_BLANKS = " \t\r"

_TOTAL = re.compile(r"(?:итого|всего)\b", re.IGNORECASE)
_EDITED = "Copies saved by hand or by a spreadsheet go wrong like this; use the published file"


class PlanRows(NamedTuple):
    """The rows of a plan in the file's order, every figure checked.

    ``line``: int64[m], counted from 1. ``figures``: int64[m] by column; ``texts``: the line type
    and the cells of ``_TEXTS``, empty where the file has no such column.
    """

    line: NDArray[np.int64]
    figures: Mapping[str, NDArray[np.int64]]
    texts: Codes
    warnings: list[str]


def read_plan(file: RegistryFile, progress: Progress | None, _: Tolerance) -> ParsedFile:
    """Read one file of the plan.

    The ranges are put in ascending order; a region that the file leaves open (``-``) is named by
    its territory column. A malformed tax number is left empty.

    Raises InputError, with the line, when the file is not a plan or is damaged.
    """
    path = file.path
    text = decode_plan(path, file.archive.read(PLAN_BYTES_MAX + 1))
    rows = read_rows(text)
    line, figures, warnings = rows.line, rows.figures, rows.warnings
    if not len(line):
        raise InputError(path, "the file holds no ranges", hint="Download the file again")
    warnings += [f"unknown column {name!r} was not read" for name in text.unknown]
    key, keys = _keys(text, rows)
    base = _COUNTRY_CODE * _COUNTRY_UNIT + figures[CODE] * _CODE_UNIT
    first, last = base + figures[START], base + figures[END]
    if (first[1:] < first[:-1]).any():
        order = np.argsort(first, kind="stable")
        first, last, key, line = first[order], last[order], key[order], line[order]
        warnings.append("the rows are not in ascending order and were sorted")
    _refuse_overlap(path, first, last, line)
    ranges = Ranges(first=first.astype(np.uint64), last=last.astype(np.uint64), key=key, keys=keys)
    if progress is not None:
        progress(file.archive.bytes_total, file.archive.bytes_total)
    return ParsedFile(
        source=file.source(len(line)),
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


def read_rows(text: PlanText) -> PlanRows:
    """Read the rows of a plan; blank lines are skipped.

    Raises InputError, with the line, for a row that the publisher cannot have written.
    """
    sound, repaired = _sound_lines(text)
    names = [column or f"unread {place}" for place, column in enumerate(text.columns)]
    types = {name: pa.string() for name in _FIGURES}
    types |= {name: TEXT_TYPE for name in _TEXTS if name in names}
    batch = batch_of(sound.data, names, types, delimiter=DELIMITER)
    if batch is None:
        raise InputError(text.path, "the lines cannot be parsed", hint=_EDITED)
    figures, faults = _figures(batch)
    first = min(
        [*sound.faults, *(Fault(line=int(sound.line[at]), reason=why) for at, why in faults)],
        key=lambda fault: fault.line,
        default=None,
    )
    if first is not None:
        raise _refused(text, first)
    line_type = (_LINE_TYPE_FROM.searchsorted(figures[CODE], side="right") - 1).astype(np.int32)
    line_types = Codes(index=line_type, texts=[(bytes([each]),) for each in _LINE_TYPES])
    empty = Codes(index=np.zeros(batch.num_rows, np.int32), texts=[(b"",)])
    texts = [codes_of(batch.column(name)) if name in types else empty for name in _TEXTS]
    warning = f"{len(repaired)} rows, the first on line {repaired[0] if repaired else 0}, have the "
    warning += "delimiter inside Регион: the fields beyond the sixth were read as part of it"
    return PlanRows(
        line=sound.line + 1,
        figures=figures,
        texts=combined([line_types, *texts]),
        warnings=[warning] if repaired else [],
    )


def _sound_lines(text: PlanText) -> tuple[SoundLines, list[int]]:
    """Return the lines with the right number of fields, and which of them were repaired.

    The only repair is that of 2018: in the six-column era the region's text may hold the delimiter,
    so the fields beyond the sixth belong to the region.
    """
    expected = len(text.columns)
    reason = f"{{found}} fields where {expected} are expected"

    def check(data: bytes) -> SoundLines:
        return sound_lines(data, columns=expected, delimiter=DELIMITER, reason=reason)

    sound = check(text.data)
    if not sound.faults:
        return sound, []
    lines = text.data.split(b"\n")
    repaired: list[int] = []
    for fault in sound.faults:
        fields = [field.strip(_BLANKS) for field in lines[fault.line].decode().split(DELIMITER)]
        surplus = len(fields) > expected and not TAX_NUMBER_SHAPE.fullmatch(fields[-1])
        if fields == [""]:
            lines[fault.line] = b""
        elif text.region_takes_rest and surplus:
            fields[expected - 1 :] = [DELIMITER_IN_CELL.join(fields[expected - 1 :])]
            lines[fault.line] = DELIMITER.join(fields).encode()
            repaired.append(fault.line + 1)
    return check(b"\n".join(lines)), repaired


def _figures(
    batch: pa.RecordBatch,
) -> tuple[Mapping[str, NDArray[np.int64]], list[tuple[int, str]]]:
    """Return the columns of whole numbers, and the first row that each check finds wrong."""
    figures: dict[str, NDArray[np.int64]] = {}
    faults: list[tuple[int, str]] = []

    def check(bad: NDArray[np.bool_], reason: str) -> None:
        if bad.any():
            faults.append((int(bad.argmax()), reason))

    for name, (pattern, reason) in _FIGURES.items():
        column = pc.ascii_trim(batch.column(name), characters=_BLANKS)
        good = pc.match_substring_regex(column, pattern)
        check(~good.to_numpy(zero_copy_only=False), reason)
        figures[name] = pc.if_else(good, column, "0").cast(pa.int64()).to_numpy()
    size = figures[END] - figures[START] + 1
    check(size < 1, "От is greater than До")
    wrong = size != figures[CAPACITY]
    expected = int(size[wrong.argmax()]) if wrong.any() else 0
    check(wrong, f"Емкость is not До - От + 1, which is {expected}")
    return figures, faults


def _refused(text: PlanText, fault: Fault) -> InputError:
    """Return the error for a bad line; says so when it is a total row or the file is cut off."""
    lines = text.data.split(b"\n")
    fields = lines[fault.line].decode().split(DELIMITER)
    reason, hint = fault.reason, _EDITED
    if any(_TOTAL.match(cell.strip(_BLANKS)) for cell in fields[:4]):
        reason = "a total row, not a range"
    elif len(fields) < len(text.columns) and fault.line == len(lines) - 1:
        reason, hint = f"the file is cut off: its last line has {reason}", "Download it again"
    return InputError(text.path, reason, line=fault.line + 1, hint=hint)


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


def _keys(text: PlanText, rows: PlanRows) -> tuple[NDArray[np.uint32], Sequence[RouteKey]]:
    """Return an index per row and the distinct keys that it points into."""
    index, line = rows.texts.index, rows.line
    row_of: dict[RouteKey, int] = {}
    of_combination: list[int] = []
    bad: list[int] = []
    for place, cells in enumerate(rows.texts.texts):
        key, tax_number = _key(cells)
        if key.tax_number != tax_number:
            bad.append(place)
        if not key.operator_name and not key.tax_number:
            at = int(line[(index == place).argmax()])
            raise InputError(
                text.path, "no operator is named", line=at, hint="Use the original file"
            )
        of_combination.append(row_of.setdefault(key, len(row_of)))
    bad_line = line[np.isin(index, bad)]
    # Official files end without a line end, so only the last field's form shows that all is there.
    whole = text.data.endswith(b"\n") or text.columns[-1] != TAX_NUMBER
    if not whole and index[-1] in bad:
        reason = "the file is cut off: its last line ends within the tax number"
        raise InputError(text.path, reason, line=int(line[-1]), hint="Download the file again")
    if len(bad_line):
        rows.warnings.append(
            f"{len(bad_line)} rows, the first on line {bad_line[0]}, have an ИНН that is not 10 or "
            "12 digits: left empty"
        )
    return np.array(of_combination, np.uint32)[index], tuple(row_of)


def _key(cells: tuple[bytes, ...]) -> tuple[RouteKey, str]:
    """Return the key of a combination of cells, and the tax number as it is written."""
    line_type, *texts = cells
    operator, region, territory, tax_number = (
        cell.decode().strip().replace(DELIMITER_IN_CELL, DELIMITER) for cell in texts
    )
    key = RouteKey(
        # The words of a name are one blank apart.
        operator_name=" ".join(operator.split()),
        tax_number=tax_number if TAX_NUMBER_SHAPE.fullmatch(tax_number) else "",
        # Since 2026 a region may be left to the territory column.
        region_name=next((name for name in (region, territory) if name not in _NO_REGION), ""),
        line_type=LineType(line_type[0]),
    )
    return key, tax_number
