"""CSV text cut into records, and records into cells.

One notion of a record for the sample, for the ends of blocks and for the list: as pyarrow reads it,
a quote opens a cell only at the cell's beginning, and behind the closing quote anything may follow.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import csv

from numroute_campaign.lists.layout import SAMPLE_RECORDS

CELL_LINES_MAX: Final = 1000
"""A quoted cell of more lines is taken for a quote that is not closed."""

_END_BYTES: Final = 65_536
"""How much text before the end of a block is searched for the end of a record."""

_QUOTE: Final = b'"'
_LONELY_RETURN: Final = re.compile(rb"\r(?!\n)")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Records:
    """A text cut into records.

    Attributes:
        texts: The records whose quotes are closed, without line ends.
        broken: int64[k], the places of the others among all records.
        lines: How many lines each record has, the others included.
    """

    texts: list[bytes]
    broken: NDArray[np.int64]
    lines: list[int]


def cut_records(data: bytes, delimiter: str, width: int | None) -> Records:
    """Cut a text into records; those with a quote that nothing closes are broken.

    ``width``: how many cells a record has, None when that is not known yet.
    """
    if b"\r" in data:
        data = _LONELY_RETURN.sub(b" ", data.replace(b"\r\r\n", b"\n")).replace(b"\r\n", b"\n")
    lines = data.split(b"\n")
    if lines[-1] == b"":
        lines.pop()
    texts: list[bytes] = []
    broken: list[int] = []
    counts: list[int] = []
    for first, end, is_closed in _records(lines, delimiter, width):
        if is_closed:
            texts.append(lines[first] if end == first + 1 else b"\n".join(lines[first:end]))
        else:
            broken.append(len(counts))
        counts.append(end - first)
    return Records(texts=texts, broken=np.array(broken, np.int64), lines=counts)


def _records(
    lines: list[bytes], delimiter: str, width: int | None
) -> Iterator[tuple[int, int, bool | None]]:
    """Yield each record's first line, the line behind it, and whether its quotes are closed.

    None: they are not, but a line behind the last one may close them. A line inside a quote that
    looks like a whole record shows that the quote was a slip: the records behind it are not lost
    with it.
    """
    is_whole, mark = _closed_record(delimiter).fullmatch, delimiter.encode()
    first = 0
    while first < len(lines):
        text, end = lines[first], first + 1
        is_closed: bool | None = _QUOTE not in text or is_whole(text) is not None
        if not is_closed:
            cells = text.count(mark) + 1 if width is None else width
            while end < min(first + CELL_LINES_MAX, len(lines)):
                line = lines[end]
                text, end = text + b"\n" + line, end + 1
                is_closed = is_whole(text) is not None
                if is_closed or (line.count(mark) == cells - 1 and is_whole(line)):
                    break
            else:
                is_closed = None if end == len(lines) < first + CELL_LINES_MAX else False
            end = end if is_closed else first + 1
        yield first, end, is_closed
        first = end


@functools.cache
def _closed_record(delimiter: str) -> re.Pattern[bytes]:
    """Return what a record matches whose quotes are closed."""
    mark = re.escape(delimiter.encode())
    behind = b"[^" + mark + b"]*+"
    cell = b'(?:"(?:[^"]++|"")*+"' + behind + b'|(?!")' + behind + b")"
    return re.compile(cell + b"(?:" + mark + cell + b")*+", re.DOTALL)


@functools.cache
def _cell(delimiter: str) -> re.Pattern[bytes]:
    """Return what a delimiter and the cell behind it match: within quotes, and behind them."""
    mark = re.escape(delimiter.encode())
    return re.compile(mark + b'(?:"((?:[^"]++|"")*+)")?([^' + mark + b"]*+)", re.DOTALL)


def cells_of(text: bytes, delimiter: str) -> list[str]:
    """Return the cells of a record whose quotes are closed."""
    return [
        (quoted.replace(b'""', b'"') + behind).decode(errors="replace").replace("\0", "")
        for quoted, behind in _cell(delimiter).findall(delimiter.encode() + text)
    ]


def sample_cells(records: Records, delimiter: str) -> list[list[str]]:
    """Return the cells of the first records; no cells for a broken one."""
    rows = [cells_of(text, delimiter) for text in records.texts[:SAMPLE_RECORDS]]
    for place in records.broken.tolist():
        rows.insert(place, [])
    return rows


def read_columns(
    data: bytes, delimiter: str, width: int, needed: Iterable[int]
) -> tuple[pa.Table, list[tuple[int, int]]]:
    """Return the needed columns as bytes, and the records of another width: places and widths.

    Raises:
        pa.ArrowException: The text cannot be parsed; the message may quote cells.
    """
    ragged: list[tuple[int, int]] = []

    def set_aside(row: csv.InvalidRow) -> str:
        ragged.append((row.number - 1, row.actual_columns))
        return "skip"

    names = [str(i) for i in needed] or ["0"]
    if not data:
        return pa.table({name: pa.array([], pa.binary()) for name in names}), ragged
    table = csv.read_csv(
        pa.BufferReader(data),
        read_options=csv.ReadOptions(
            column_names=[str(i) for i in range(width)],
            block_size=len(data) + 1,
            use_threads=False,
        ),
        parse_options=csv.ParseOptions(
            delimiter=delimiter,
            newlines_in_values=True,
            ignore_empty_lines=False,
            invalid_row_handler=set_aside,
        ),
        convert_options=csv.ConvertOptions(
            include_columns=names,
            column_types=dict.fromkeys(names, pa.binary()),
            check_utf8=False,
            null_values=[],
            strings_can_be_null=False,
        ),
    )
    return table, ragged


def last_record_end(data: bytes, size: int, delimiter: str, width: int) -> int:
    """Return where the last whole record within the first bytes ends; 0 if none does.

    A line end within quotes ends no record. Where the text has quotes, two neighbouring lines that
    are whole records are searched for before the end; records are cut from there on.
    """
    last = data.rfind(b"\n", 0, size) + 1
    if last == 0 or data.find(_QUOTE, 0, last) < 0:
        return last
    begin = data.find(b"\n", last - _END_BYTES) + 1 if last > _END_BYTES else 0
    lines = data[begin : last - 1].split(b"\n")
    if begin:
        whole = [_is_whole(line.removesuffix(b"\r"), delimiter, width) for line in lines]
        pair = next((i for i, two in enumerate(pairwise(whole)) if all(two)), None)
        if pair is None:
            begin, lines = 0, data[: last - 1].split(b"\n")
        else:
            begin, lines = begin + sum(len(line) + 1 for line in lines[:pair]), lines[pair:]
    plain = [line.removesuffix(b"\r") for line in lines]
    for first, _, is_closed in _records(plain, delimiter, width):
        if is_closed is None:
            return begin + sum(len(line) + 1 for line in lines[:first])
    return last


def _is_whole(line: bytes, delimiter: str, width: int) -> bool:
    """Whether a line alone looks like a record of ``width`` cells."""
    if _QUOTE not in line:
        return line.count(delimiter.encode()) == width - 1
    is_closed = _closed_record(delimiter).fullmatch(line) is not None
    return is_closed and len(cells_of(line, delimiter)) == width
