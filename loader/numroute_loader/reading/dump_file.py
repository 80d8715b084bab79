"""What every dump with a row count has: named columns, a count in the first row, a dated name."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from numroute.errors import InputError
from numroute_loader.reading.diagnose import REMEDY
from numroute_loader.reading.recognition import dated
from numroute_loader.records import SourceFile

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numroute_loader.reading.archive import Source
    from numroute_loader.reading.csv_stream import CsvFile
    from numroute_loader.reading.description import FileKind

ROWS_MAX = 2**30
"""How many rows a dump may have: as many records as an index holds. Below every number's value."""

_COUNT = re.compile(rb"[0-9]{1,20}")
_ROW_BYTES_MIN = 12
_ZIP_RATIO_USUAL_MAX = 20


def header_of(head: bytes) -> tuple[str, ...]:
    """Return the column names in the first line of a text, without a byte order mark."""
    line = head.removeprefix(b"\xef\xbb\xbf").partition(b"\n")[0].rstrip(b"\r")
    return tuple(name.decode("ascii", "replace").strip() for name in line.split(b","))


def require_columns(file: CsvFile, columns: Iterable[str], kind: FileKind) -> None:
    """Raise ``InputError`` unless the header names each of these columns, and nothing twice."""
    missing = [column for column in columns if column not in file.header]
    twice = sorted({column for column in file.header if file.header.count(column) > 1})
    if not missing and not twice:
        return
    what = f"lacks {', '.join(missing)}" if missing else f"names {', '.join(twice)} twice"
    raise InputError(
        file.source.path,
        f"the header {what}",
        line=1,
        hint=f"A file of kind {kind.name} begins with {kind.expects}",
    )


def require_order(file: CsvFile, columns: Sequence[str], kind: FileKind) -> None:
    """Raise ``InputError`` unless the header is exactly these columns in this order."""
    require_columns(file, columns, kind)
    if file.header != tuple(columns):
        raise InputError(
            file.source.path,
            "the header has other columns, or another order, than free text allows to read",
            line=1,
            hint=f"A file of kind {kind.name} begins with {kind.expects}",
        )


def stated_row_count(file: CsvFile, column: str, *, may_be_empty: bool = False) -> int:
    """Return how many data rows the file says it has, in its first data row.

    It is the only integrity figure that the registry gives, so a file without it is refused, unless
    it ``may_be_empty`` and holds a header only. The column is counted from the right: a name in
    free text may hold the delimiter.
    """
    path = file.source.path
    if not file.first_row:
        if may_be_empty:
            return 0
        raise InputError(
            path, "the file holds no rows, only a header", line=1, hint="Download it again"
        )
    cells = file.first_row.split(b",")
    place = file.header.index(column) - len(file.header)
    cell = cells[place].strip() if len(cells) >= -place else b""
    if not _COUNT.fullmatch(cell):
        what = f"has no {column}" if not cell else f"has a {column} that is not a whole number"
        raise InputError(path, f"the first data row {what}", line=2, hint=REMEDY)
    if int(cell) > ROWS_MAX:
        # Not quoted: in a damaged row it may be a subscriber's number.
        reason = f"{column} of the first data row is more than {ROWS_MAX}, which is the limit"
        raise InputError(path, reason, line=2, hint=REMEDY)
    return int(cell)


def rows_expected(file: CsvFile, stated: int) -> int:
    """Return how many rows to reserve room for: no more than a file of this size can have.

    A zip may hold more than is usual; the room then grows.
    """
    source = file.source
    text_bytes = source.bytes_total * (_ZIP_RATIO_USUAL_MAX if source.member else 1)
    return min(stated, text_bytes // _ROW_BYTES_MIN)


def file_of(source: Source, kind: FileKind, *, rows: int) -> SourceFile:
    """Describe the file that has just been read to its end."""
    as_of, sequence = dated(source.path, source.member, kind)
    return SourceFile(
        path=source.path,
        registry=kind.registry,
        kind=kind.name,
        sequence=sequence,
        as_of=as_of,
        rows=rows,
        sha256=source.sha256(),
    )
