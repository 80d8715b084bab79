"""What exactly is wrong, and in which line: the slow look at a block that is known to be bad."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from numroute.errors import InputError
from numroute.model import mask_number
from numroute_loader.reading.archive import Source
from numroute_loader.reading.csv_stream import LINE_BYTES_MAX, CsvFile, line_at

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numroute_loader.reading.csv_stream import Block
    from numroute_loader.reading.description import NumberFormat

_PLACES_MAX = 5
"""How many rejected rows are named."""

REMEDY = "The file is damaged or cut short: download it again"


def bad_row(path: Path, block: Block, fault_of: Callable[[bytes], str | None]) -> InputError:
    """Return the error that names the first bad line of a block.

    ``fault_of`` is given a line without its end and tells what is wrong with it, None when nothing
    is. What it tells never quotes a number.
    """
    first = line_at(path, block.offset)
    lines = bytes(block.data).split(b"\n")
    for line, raw in enumerate(lines, first):
        text = raw.removesuffix(b"\r")
        fault = (unfit(text) or fault_of(text)) if text else None
        if fault is not None:
            return InputError(path, fault, line=line, hint=REMEDY)
    reason = f"lines {first} to {first + len(lines) - 1} cannot be parsed"
    return InputError(path, reason, line=first, hint=REMEDY)


class Rejects:
    """The malformed rows of a file that are skipped, up to a number of them."""

    def __init__(self, path: Path, rows_max: int) -> None:
        """Begin without any; more than ``rows_max`` end the reading."""
        self._path = path
        self._rows_max = rows_max
        self.rows = 0
        self.places: list[str] = []

    def without_bad_rows(self, block: Block, fault_of: Callable[[bytes], str | None]) -> Block:
        """Return a block that is known to be bad without its malformed lines, which are counted.

        Raises ``InputError`` when there are more than are skipped, as ``bad_row`` makes it.
        """
        if not self._rows_max:
            raise bad_row(self._path, block, fault_of)
        first = line_at(self._path, block.offset)
        good = []
        before = self.rows
        for line, raw in enumerate(bytes(block.data).split(b"\n"), first):
            text = raw.removesuffix(b"\r")
            fault = (unfit(text) or fault_of(text)) if text else None
            if fault is None:
                good.append(raw)
                continue
            self.rows += 1
            if self.rows <= _PLACES_MAX:
                self.places.append(f"{self._path}:{line}: {fault}")
            if self.rows > self._rows_max:
                raise InputError(
                    self._path,
                    f"more than {self._rows_max} rows are malformed; here {fault}",
                    line=line,
                    hint=REMEDY,
                )
        if self.rows == before:
            raise bad_row(self._path, block, fault_of)
        return replace(block, data=b"\n".join(good))


def unfit(text: bytes) -> str | None:
    """Tell what makes a line unreadable whatever its columns are."""
    if b"\0" in text:
        return "the line holds NUL bytes"
    if len(text) > LINE_BYTES_MAX:
        return f"the line is longer than {LINE_BYTES_MAX} bytes"
    if b"\r" in text:
        return "the line holds a carriage return in its middle"
    return None


def wrong_row_count(path: Path, *, stated: int, actual: int) -> InputError:
    """Return the error for a file that does not hold the rows that its first row counts."""
    what = "cut short" if actual < stated else "damaged"
    return InputError(
        path,
        f"RowCount says {stated}, the file holds {actual} rows: the file is {what}",
        hint="Download it again",
    )


def duplicate_number(
    path: Path, column: str, number_format: NumberFormat, number: int
) -> InputError:
    """Return the error that names two lines whose cell in ``column`` is the same number."""
    lines = lines_with(path, column, number_format.written(number), lines_max=2)
    where = " and ".join(str(line) for line in lines)
    return InputError(
        path,
        f"the number {mask_number(number)} stands in more than one row (lines {where})",
        line=lines[-1] if lines else None,
        hint="The file is not a whole dump as the registry makes it: download it again",
    )


def lines_of_rows(path: Path, rows: set[int]) -> list[int]:
    """Return the lines, ascending, of data rows that are counted from 0 without empty lines."""
    found: list[int] = []
    row = -1
    with Source(path) as source:
        for block in CsvFile(source).blocks():
            first = line_at(path, block.offset)
            for line, text in enumerate(bytes(block.data).split(b"\n"), first):
                row += bool(text.strip(b"\r"))
                if row in rows:
                    found.append(line)
                    rows = rows - {row}
    return found


def lines_with(path: Path, column: str, text: str, *, lines_max: int) -> list[int]:
    """Return the first lines whose cell in ``column`` is ``text``.

    Cells are counted from the left: a column to the right of free text is not found reliably.
    """
    found: list[int] = []
    written = text.encode()
    with Source(path) as source:
        file = CsvFile(source)
        index = file.header.index(column)
        for block in file.blocks():
            at = block.data.find(written)
            while at >= 0:
                begin = block.data.rfind(b"\n", 0, at) + 1
                end = block.data.find(b"\n", at)
                end = len(block.data) if end < 0 else end
                cells = block.data[begin:end].rstrip(b"\r").split(b",")
                if index < len(cells) and cells[index] == written:
                    found.append(line_at(path, block.offset + begin))
                    if len(found) == lines_max:
                        return found
                at = block.data.find(written, end)
    return found
