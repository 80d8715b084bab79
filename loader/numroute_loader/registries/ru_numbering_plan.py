"""The Russian numbering plan: which operator holds which range of numbers.

Open data of the ministry: ``DEF-9xx.csv`` (mobile), ``ABC-3xx.csv``, ``ABC-4xx.csv``,
``ABC-8xx.csv`` (fixed lines and services), under older names ``Kody_DEF-9kh.csv`` and so on. All
eras since 2014 are read. The publisher wrote windows-1251 until 2018, UTF-8 without and later with
a byte order mark; copies saved again by others are in any of the three, and sometimes in two of
them at once.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
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
    Ranges,
    RegistryFile,
    RouteKey,
    Tolerance,
)

REGISTRY = "ru-numbering-plan"

_COUNTRY_BASE, _CODE_UNIT = 7 * 10**10, 10**7

_COVERS = tuple((block * 10**9, (block + 1) * 10**9 - 1) for block in (73, 74, 78, 79))
"""Russia's part of +7, one block per file of the plan."""

# From which code on which line type: 800 is toll-free, 801-809 are other services, 9xx is mobile.
_LINE_TYPE_FROM = {
    0: LineType.FIXED,
    800: LineType.TOLL_FREE,
    801: LineType.SERVICE,
    810: LineType.FIXED,
    900: LineType.MOBILE,
}

_NO_REGION = frozenset({"", "-"})

PLAN_BYTES_MAX = 256 * 2**20
"""The largest file that is read as a plan. All four files of 2026 together are below 100 MB."""

_DELIMITER = ";"
_DELIMITER_IN_CELL = "\x1f"
"""Stands for a delimiter that belongs to the region's text."""

_TAX_NUMBER_SHAPE = re.compile(r"[0-9]{10}(?:[0-9]{2})?")
"""The tax number (ИНН) has ten digits for a company and twelve for a person."""

_FROM_PUBLISHER = "Download the file from its publisher again"

# АВС is Cyrillic in every file seen; the Latin letters look the same and come from copies that
# somebody typed. Names are compared without blanks and without regard to case.
_COLUMN_OF_NAME = {
    "авс/def": "code",
    "abc/def": "code",
    "от": "start",
    "до": "end",
    "емкость": "capacity",
    "ёмкость": "capacity",
    "оператор": "operator",
    "регион": "region",
    "территориягар": "territory",
    "инн": "tax_number",
}
_SIX = ("code", "start", "end", "capacity", "operator", "region")
_TEXTS = ("operator", "region", "territory", "tax_number")
_FIGURES = {
    "code": (r"^[3489][0-9]{2}$", "the code is not three digits that begin with 3, 4, 8 or 9"),
    "start": (r"^[0-9]{1,7}$", "От is not a number of up to seven digits"),
    "end": (r"^[0-9]{1,7}$", "До is not a number of up to seven digits"),
    "capacity": (r"^[0-9]{1,8}$", "Емкость is not a number of up to eight digits"),
}

# What pads a field: the tabs of 2017, the blanks of 2021, the return of a CRLF line end.
_BLANKS = " \t\r"

# Three Cyrillic letters in UTF-8. In windows-1251 the same bytes would be three times one of the
# capitals Р and С followed by a sign that never follows a letter in a Russian text.
_UTF8_CYRILLIC = re.compile(rb"(?:[\xd0\xd1][\x80-\xbf]){3}")

_QUOTED_CELL = re.compile(r'(?<![^;\n])"((?:[^"\n]|"")*)"(?=[;\r\n]|\Z)')


class PlanRows(NamedTuple):
    """The rows of a plan in the file's order, every figure checked.

    ``line``: int64[m], counted from 1. ``figures``: int64[m] by column; ``texts``: the line type
    and the cells of ``_TEXTS``, empty where the file has no such column. ``may_be_cut``: the file
    ends with a tax number and no line end, as official files do: its form shows if all is there.
    """

    line: NDArray[np.int64]
    figures: Mapping[str, NDArray[np.int64]]
    texts: Codes
    may_be_cut: bool
    warnings: list[str]


def read_plan(file: RegistryFile, _: Tolerance) -> ParsedFile:
    """Read one file of the plan.

    The ranges are put in ascending order; a region that the file leaves open (``-``) is named by
    its territory column. A malformed tax number is left empty.

    Raises InputError, with the line, when the file is not a plan or is damaged.
    """
    path = file.path
    rows = read_rows(path, file.archive.read(PLAN_BYTES_MAX + 1))
    line, figures, warnings = rows.line, rows.figures, rows.warnings
    if not len(line):
        raise InputError(path, "the file holds no ranges", hint=_FROM_PUBLISHER)
    key, keys = _keys(path, rows)
    base = _COUNTRY_BASE + figures["code"] * _CODE_UNIT
    first, last = base + figures["start"], base + figures["end"]
    if (first[1:] < first[:-1]).any():
        order = np.argsort(first, kind="stable")
        first, last, key, line = first[order], last[order], key[order], line[order]
        warnings.append("the rows are not in ascending order and were sorted")
    clashes = np.flatnonzero(first[1:] <= last[:-1])
    if len(clashes):
        earlier, later = sorted(line[clashes[0] : clashes[0] + 2].tolist())
        reason = f"this range overlaps that of line {earlier}"
        raise InputError(path, reason, line=later, hint=_FROM_PUBLISHER)
    ranges = Ranges(first=first.astype(np.uint64), last=last.astype(np.uint64), key=key, keys=keys)
    if file.progress is not None:
        file.progress(file.archive.bytes_total, file.archive.bytes_total)
    return ParsedFile(
        source=file.source(len(line)),
        ranges=ranges,
        warnings=tuple(f"{path.name}: {warning}" for warning in warnings),
    )


def read_rows(path: Path, raw: bytes) -> PlanRows:
    """Read the rows of a plan from its bytes; blank lines are skipped.

    Raises InputError, with the line, for a row that the publisher cannot have written.
    """
    data, columns, warnings = _decoded(path, raw)
    sound, repaired = _sound_lines(data, columns)
    names = [column or f"unread {place}" for place, column in enumerate(columns)]
    types = {name: pa.string() for name in _FIGURES}
    types |= {name: TEXT_TYPE for name in _TEXTS if name in names}
    batch = batch_of(sound.data, names, types, delimiter=_DELIMITER)
    if batch is None:
        raise InputError(path, "the lines cannot be parsed", hint=_FROM_PUBLISHER)
    figures, faults = _figures(batch)
    faults = [Fault(int(sound.line[fault.line]), fault.reason) for fault in faults]
    if faults or sound.faults:
        fault = min(sound.faults + faults, key=lambda fault: fault.line)
        raise InputError(path, fault.reason, line=fault.line + 1, hint=_FROM_PUBLISHER)
    place = np.searchsorted([*_LINE_TYPE_FROM], figures["code"], side="right") - 1
    types_of_line = [(bytes([each]),) for each in _LINE_TYPE_FROM.values()]
    line_types = Codes(index=place.astype(np.int32), texts=types_of_line)
    empty = Codes(index=np.zeros(batch.num_rows, np.int32), texts=[(b"",)])
    texts = [codes_of(batch.column(name)) if name in types else empty for name in _TEXTS]
    if repaired:
        warnings.append(
            f"{len(repaired)} rows, the first on line {repaired[0]}, have the delimiter inside "
            "Регион: the fields beyond the sixth were read as part of it"
        )
    return PlanRows(
        line=sound.line + 1,
        figures=figures,
        texts=combined([line_types, *texts]),
        may_be_cut=columns[-1] == "tax_number" and not data.endswith(b"\n"),
        warnings=warnings,
    )


def _sound_lines(data: bytes, columns: Sequence[str]) -> tuple[SoundLines, list[int]]:
    """Return the lines with the right number of fields, and which of them were repaired.

    The only repair is that of 2018: in the six-column era the region's text may hold the delimiter,
    so the fields beyond the sixth belong to the region.
    """
    expected = len(columns)
    sound = sound_lines(data, columns=expected, delimiter=_DELIMITER)
    if not sound.faults:
        return sound, []
    lines = data.split(b"\n")
    repaired: list[int] = []
    for fault in sound.faults:
        line = lines[fault.line].decode().strip(_BLANKS)
        # A carriage return within the line may end a row and is no blank.
        fields = [field.strip(" \t") for field in line.split(_DELIMITER)]
        surplus = len(fields) > expected and not _TAX_NUMBER_SHAPE.fullmatch(fields[-1])
        if fields == [""]:
            lines[fault.line] = b""
        elif tuple(columns) == _SIX and surplus:
            fields[expected - 1 :] = [_DELIMITER_IN_CELL.join(fields[expected - 1 :])]
            lines[fault.line] = _DELIMITER.join(fields).encode()
            repaired.append(fault.line + 1)
    return sound_lines(b"\n".join(lines), columns=expected, delimiter=_DELIMITER), repaired


def _figures(batch: pa.RecordBatch) -> tuple[Mapping[str, NDArray[np.int64]], list[Fault]]:
    """Return the columns of whole numbers, and the first row that each check finds wrong."""
    figures: dict[str, NDArray[np.int64]] = {}
    faults: list[Fault] = []

    def check(bad: NDArray[np.bool_], reason: str) -> None:
        if bad.any():
            faults.append(Fault(int(bad.argmax()), reason))

    for name, (pattern, reason) in _FIGURES.items():
        column = pc.ascii_trim(batch.column(name), characters=_BLANKS)
        good = pc.match_substring_regex(column, pattern)
        check(~good.to_numpy(zero_copy_only=False), reason)
        figures[name] = pc.if_else(good, column, "0").cast(pa.int64()).to_numpy()
    size = figures["end"] - figures["start"] + 1
    check(size < 1, "От is greater than До")
    check(size != figures["capacity"], "Емкость is not До - От + 1")
    return figures, faults


def _keys(path: Path, rows: PlanRows) -> tuple[NDArray[np.uint32], Sequence[RouteKey]]:
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
            raise InputError(path, "no operator is named", line=at, hint=_FROM_PUBLISHER)
        of_combination.append(row_of.setdefault(key, len(row_of)))
    bad_line = line[np.isin(index, bad)]
    if rows.may_be_cut and index[-1] in bad:
        reason = "the file is cut off: its last line ends within the tax number"
        raise InputError(path, reason, line=int(line[-1]), hint=_FROM_PUBLISHER)
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
        cell.decode().strip().replace(_DELIMITER_IN_CELL, _DELIMITER) for cell in texts
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


def _decoded(path: Path, raw: bytes) -> tuple[bytes, Sequence[str], list[str]]:
    """Return a plan's lines in UTF-8, the columns in their order, and warnings.

    The lines have no byte order mark, and an empty one in place of a header; "" is a column that is
    not read. Raises InputError when the file is too long, has letters lost in a conversion, lines
    in two encodings, or an ambiguous header.
    """
    if len(raw) > PLAN_BYTES_MAX:
        reason = f"longer than {PLAN_BYTES_MAX} bytes, which no numbering plan is"
        raise InputError(path, reason, hint=_FROM_PUBLISHER)
    is_marked, data = raw.startswith(BYTE_ORDER_MARK), raw.removeprefix(BYTE_ORDER_MARK)
    lost = data.find("\N{REPLACEMENT CHARACTER}".encode())
    if lost >= 0:
        reason = "letters were lost when this copy was converted (U+FFFD)"
        raise InputError(path, reason, line=_line(data, lost), hint=_FROM_PUBLISHER)
    data = _unquoted(_as_utf8(path, data, marked=is_marked))
    first_line, _, rest = data.partition(b"\n")
    if _is_plan_row(first_line.decode()):
        return data, _SIX, []
    names = [name.strip() for name in first_line.decode().split(_DELIMITER)]
    columns = _columns_of(first_line.decode())
    known = [column for column in columns if column]
    if len(known) == len(set(known)) and "" not in names:
        unknown = [name for name, column in zip(names, columns, strict=True) if not column]
        warnings = [f"unknown column {name!r} was not read" for name in unknown]
        return b"\n" + rest, columns, warnings
    reason = "wrong header: a column occurs twice, or is without a name"
    raise InputError(path, reason, line=1, hint=_FROM_PUBLISHER)


def begins_like_plan(head: bytes) -> bool:
    """Return whether a file begins with a plan's header, or a row as a headerless copy does."""
    first_line = head.removeprefix(BYTE_ORDER_MARK).split(b"\n", 1)[0]
    lines = [first_line.decode(encoding, "replace") for encoding in ("utf-8", "windows-1251")]
    return any(set(_columns_of(line)) >= set(_SIX) or _is_plan_row(line) for line in lines)


def _columns_of(line: str) -> list[str]:
    """Return the columns of a header, "" where one is not known."""
    names = (re.sub(r"\s+", "", name).casefold() for name in line.split(_DELIMITER))
    return [_COLUMN_OF_NAME.get(name, "") for name in names]


def _is_plan_row(line: str) -> bool:
    return re.match(r"\s*[3489]\d\d\s*(?:;\s*\d+\s*){3};.*;", line, re.ASCII) is not None


def _unquoted(data: bytes) -> bytes:
    """Take the quotes off a copy that a spreadsheet saved; leave any other text alone.

    The publisher never quotes a cell: its quotes are part of the names. A spreadsheet puts a cell
    that holds quotes into quotes and doubles those inside. A text is such a copy when all its
    quotes are of this form and most cells with quotes hold pairs of them: the publisher's file of
    2014 has the form, but by halves of pairs.
    """
    if b'""' not in data:
        return data
    text = data.decode()
    counts = [cell.count('""') for cell in _QUOTED_CELL.findall(text) if '""' in cell]
    unpaired = sum(count % 2 for count in counts)
    if 2 * unpaired > len(counts) or '"' in _QUOTED_CELL.sub("", text):
        return data

    def bare(cell: re.Match[str]) -> str:
        return cell[1].replace('""', '"').replace(_DELIMITER, _DELIMITER_IN_CELL)

    return _QUOTED_CELL.sub(bare, text).encode()


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
    reason = f"mixed encodings: line {utf8} is in UTF-8, line {other} is not, or only in part"
    raise InputError(path, reason, line=max(utf8, other), hint=_FROM_PUBLISHER)


def _line(data: bytes, position: int) -> int:
    """Return the line, counted from 1, of a byte position."""
    return data.count(b"\n", 0, position) + 1


KINDS = (
    FileKind(
        name=f"{REGISTRY}/plan",
        registry=REGISTRY,
        layer="ranges",
        # Downloads come as "DEF-9xx (1)" too; the header test judges the content.
        file_name=re.compile(r"(?:Kody_)?(?:ABC|DEF)-[3489](?:xx|kh)(?:\W.*)?", re.IGNORECASE),
        header=begins_like_plan,
        expects="the header АВС/ DEF;От;До;Емкость;Оператор;Регион, or with a row of a plan",
        read=read_plan,
        covers=_COVERS,
    ),
)
"""The kinds of file that this registry publishes: one for all codes."""
