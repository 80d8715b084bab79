"""The Russian numbering plan: which operator holds which range of numbers.

Open data of the ministry: ``DEF-9xx.csv`` (mobile), ``ABC-3xx.csv``, ``ABC-4xx.csv``,
``ABC-8xx.csv`` (fixed lines and services), under older names ``Kody_DEF-9kh.csv`` and so on. All
eras since 2014 are read. The publisher wrote windows-1251 until 2018, UTF-8 without and later with
a byte order mark; copies saved again by others are in any of the three, and sometimes in two of
them at once.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from numroute.errors import InputError
from numroute.model import LineType
from numroute_loader.reading.archive import BYTE_ORDER_MARK
from numroute_loader.reading.columns import TEXT_TYPE, Codes, codes_of, combined
from numroute_loader.reading.csv_stream import Fault, SoundLines, batch_of, sound_lines
from numroute_loader.reading.description import (
    FileKind,
    ParsedFile,
    Progress,
    RegistryFile,
    Tolerance,
)
from numroute_loader.records import Ranges, RouteKey

REGISTRY = "ru-numbering-plan"

_COUNTRY_CODE = 7
_CODE_UNIT = 10**7
_COUNTRY_UNIT = 10**10

_COVERS = tuple(
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

_TAX_NUMBER_SHAPE = re.compile(r"[0-9]{10}(?:[0-9]{2})?")
"""The tax number (ИНН) has ten digits for a company and twelve for a person."""

_DELIMITER_IN_CELL = "\x1f"
"""Stands for a delimiter that belongs to the region's text."""

_FROM_PUBLISHER = "Download the file from its publisher again"

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

# Three Cyrillic letters in UTF-8. In windows-1251 the same bytes would be three times one of the
# capitals Р and С followed by a sign that never follows a letter in a Russian text.
_UTF8_CYRILLIC = re.compile(rb"(?:[\xd0\xd1][\x80-\xbf]){3}")

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
    sound = sound_lines(text.data, columns=expected, delimiter=DELIMITER)
    if not sound.faults:
        return sound, []
    lines = text.data.split(b"\n")
    repaired: list[int] = []
    for fault in sound.faults:
        fields = [field.strip(_BLANKS) for field in lines[fault.line].decode().split(DELIMITER)]
        surplus = len(fields) > expected and not _TAX_NUMBER_SHAPE.fullmatch(fields[-1])
        if fields == [""]:
            lines[fault.line] = b""
        elif tuple(text.columns) == _SIX and surplus:
            fields[expected - 1 :] = [_DELIMITER_IN_CELL.join(fields[expected - 1 :])]
            lines[fault.line] = DELIMITER.join(fields).encode()
            repaired.append(fault.line + 1)
    return sound_lines(b"\n".join(lines), columns=expected, delimiter=DELIMITER), repaired


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
        cell.decode().strip().replace(_DELIMITER_IN_CELL, DELIMITER) for cell in texts
    )
    key = RouteKey(
        # The words of a name are one blank apart.
        operator_name=" ".join(operator.split()),
        tax_number=tax_number if _TAX_NUMBER_SHAPE.fullmatch(tax_number) else "",
        # Since 2026 a region may be left to the territory column.
        region_name=next((name for name in (region, territory) if name not in _NO_REGION), ""),
        line_type=LineType(line_type[0]),
    )
    return key, tax_number


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
        raise InputError(path, reason, line=_line(data, lost), hint=_FROM_PUBLISHER)
    data = _unquoted(_as_utf8(path, data, marked=data is not raw))
    first_line, _, rest = data.partition(b"\n")
    if is_plan_row(first_line.decode()):
        return PlanText(path=path, data=data, columns=_SIX)
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
            cells = [cell.replace(DELIMITER, _DELIMITER_IN_CELL) for cell in cells]
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
            raise InputError(path, reason, line=line, hint=_FROM_PUBLISHER) from None
    utf8 = _line(data, cyrillic.start()) if cyrillic else 1
    reason = f"mixed encodings: line {utf8} is in UTF-8, line {other} is not"
    if utf8 == other:
        reason = "mixed encodings: one part of this line is in UTF-8, another is not"
    raise InputError(path, reason, line=max(utf8, other), hint=_FROM_PUBLISHER)


def _line(data: bytes, position: int) -> int:
    """Return the line, counted from 1, of a byte position."""
    return data.count(b"\n", 0, position) + 1


KINDS = (
    FileKind(
        name=f"{REGISTRY}/plan",
        registry=REGISTRY,
        # Downloads come as "DEF-9xx (1)" too; the header test judges the content.
        file_name=re.compile(r"(?:Kody_)?(?:ABC|DEF)-[3489](?:xx|kh)(?:\W.*)?", re.IGNORECASE),
        header=begins_like_plan,
        expects="the header АВС/ DEF;От;До;Емкость;Оператор;Регион, or with a row of a plan",
        read=read_plan,
        covers=_COVERS,
    ),
)
"""The kinds of file that this registry publishes: one for all codes."""
