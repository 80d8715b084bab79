"""A sheet of a workbook (.xlsx, .xlsm, .xlsb, .xls, .ods) as blocks.

A cell that holds a whole number is read as its digits: 79161234567.0 is 79161234567. Dates stay
dates. One sheet is read: the one that the user named, or the first that has a phone column.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
from python_calamine import (
    CalamineError,
    CalamineWorkbook,
    SheetTypeEnum,
    SheetVisibleEnum,
    WorksheetNotFound,
)

from numroute.errors import InputError
from numroute_campaign.lists import Block, ListReader, ReadOptions
from numroute_campaign.lists.columns import shown_name
from numroute_campaign.lists.files import ListFile
from numroute_campaign.lists.layout import (
    SAMPLE_RECORDS,
    Layout,
    find_totals,
    read_layout,
)
from numroute_campaign.vocabulary import Phrase, Reject

if TYPE_CHECKING:
    from python_calamine import CalamineSheet

CountNumbers = Callable[[tuple[str, ...], Sequence[pa.Array], str], int]

BLOCK_ROWS: Final = 65_536
_WHOLE_END: Final = 1e15
_LIST_NUMBERS_MIN: Final = 3
"""A sheet with fewer numbers may be a note about the list."""

_ERRORS: Final = (CalamineError, OSError, ValueError)
_OTHER_FILES: Final = (
    (
        rb"E\0n\0c\0r\0y\0p\0t\0e\0d\0P\0a\0c\0k\0a\0g\0e",
        "the workbook is protected with a password",
        "Save a copy without the password and give that one",
    ),
    (
        rb"word/document|ppt/presentation|opendocument\.text|W\0o\0r\0d\0D\0o\0c",
        "a document of an office program, no workbook",
        "Export the list as CSV or .xlsx",
    ),
    (
        rb"(?s)\APK(?!.*(?:xl/workbook|opendocument)).*PK\x05\x06",
        "a zip archive, not a list",
        "Unpack it and give the list's files",
    ),
    (
        b"",
        "a damaged Excel workbook, or another kind of file",
        "Save it again in a spreadsheet program. Save the sheet as CSV if that does not help",
    ),
)
"""What a file that cannot be read as a workbook contains, what it is, and what to do."""


class Spreadsheet(ListReader):
    """An open workbook, one sheet of which is the list."""

    def __init__(self, file: ListFile, options: ReadOptions, count_numbers: CountNumbers) -> None:
        """Open the workbook and choose the sheet.

        ``count_numbers`` returns how many phone numbers the sample of a sheet holds; it raises
        InputError for a sheet without a phone column.
        """
        self.file, self._options, sheet = file, options, options.sheet
        self._path = Path(file.path or "")
        self.rows_done = 0
        try:
            # By its content: from a path it would go by the name's ending.
            with self._path.open("rb") as opened_file:
                self._workbook = CalamineWorkbook.from_filelike(opened_file)
            sheets = [
                each
                for each in self._workbook.sheets_metadata
                if each.typ is SheetTypeEnum.WorkSheet
            ]
        except _ERRORS:
            raise self._unreadable() from None
        visible = [each.name for each in sheets if each.visible is SheetVisibleEnum.Visible]
        hidden = [each.name for each in sheets if each.visible is not SheetVisibleEnum.Visible]
        self.sheet, self._rows, layout = (
            self._find(visible, count_numbers)
            if sheet is None
            else (sheet, *self._read_layout(sheet, visible))
        )
        self.columns, self.sample = layout.columns, layout.sample
        self.has_header, self.warnings = layout.has_header, layout.warnings
        self._first = layout.first
        # Its height is without the blank rows above, which are read too.
        self._height = self._rows.end[0] + 1 if self._rows.end else 0
        others = [each for each in visible if each != self.sheet]
        if others and sheet is None:
            text = "only sheet {} was read, not {}; give {} to read another"
            names = ", ".join(map(shown_name, others))
            self.warnings += (
                Phrase(text, shown_name(self.sheet), names, f"{options.option}sheet"),
            )
        if hidden and sheet is None:
            names = ", ".join(map(shown_name, hidden))
            self.warnings += (Phrase("hidden sheets were not read: {}", names),)

    def _find(
        self, visible: list[str], count_numbers: CountNumbers
    ) -> tuple[str, CalamineSheet, Layout]:
        """Return the first sheet that is a list, or else the one with the most numbers."""
        first_error: InputError | None = None
        notes: list[tuple[int, tuple[str, CalamineSheet, Layout]]] = []
        for name in visible:
            try:
                rows, layout = self._read_layout(name, visible)
                where = f"{self.file.name}, sheet {shown_name(name)}"
                numbers = count_numbers(layout.columns, layout.sample, where)
            except InputError as error:
                first_error = first_error or error
                continue
            if numbers >= _LIST_NUMBERS_MIN:
                return name, rows, layout
            notes.append((numbers, (name, rows, layout)))
        if not notes:
            raise first_error or self._empty()
        return max(notes, key=itemgetter(0))[1]

    def _read_layout(self, name: str, visible: list[str]) -> tuple[CalamineSheet, Layout]:
        """Return a sheet and its layout. Raises InputError if it is not there or is empty."""
        folded = name.strip().casefold()
        same = [each for each in self._workbook.sheet_names if each.strip().casefold() == folded]
        try:
            rows = self._workbook.get_sheet_by_name(same[0] if len(same) == 1 else name)
        except WorksheetNotFound:
            raise InputError(
                self.file.name,
                f"no sheet is named {shown_name(name)}",
                hint=f"Its sheets are {', '.join(map(shown_name, visible))}",
            ) from None
        except _ERRORS:
            raise self._unreadable() from None
        records = [_texts(row) for row in islice(rows.iter_rows(), SAMPLE_RECORDS + 30)]
        if not any(any(map(str.strip, record)) for record in records):
            raise self._empty()
        return rows, read_layout(records, self._options)

    @property
    def bytes_done(self) -> int:  # type: ignore[override] # counted in rows
        """How much of the file has been read, in bytes of the file."""
        return self.file.size * self.rows_done // max(self._height, 1)

    def tasks(self) -> Iterator[Callable[[], Block]]:
        """Yield the blocks. Raises InputError also if the sheet has other rows than were read."""
        rows = self._rows.iter_rows()
        self.rows_done = sum(1 for _ in islice(rows, self._first))
        height = self._height
        while block := list(islice(rows, BLOCK_ROWS)):
            self.rows_done += len(block)
            yield partial(self._block, block, is_last=self.rows_done >= height)
        if self.rows_done != height:
            raise InputError(
                self.file.name,
                f"the sheet has {height:,} rows, of which {self.rows_done:,} were read",
                hint="This is a fault of numroute: report it. Save the sheet as CSV",
            )

    def close(self) -> None:
        """Close the workbook."""
        self._workbook.close()

    def _block(self, rows: list[list[Any]], *, is_last: bool) -> Block:
        damage = np.zeros(len(rows), np.uint8)
        if is_last:
            totals = find_totals(map(_texts, reversed(rows)), self._options.region)
            damage[[len(rows) - 1 - place for place in totals]] = Reject.TOTAL_ROW
        whole = [row for row, reason in zip(rows, damage.tolist(), strict=True) if not reason]
        columns = {
            place: _column([row[place] if place < len(row) else "" for row in whole])
            for place in self.needed
        }
        return self.block(columns, damage, blank=sum(map(_is_blank, rows)))

    def _unreadable(self) -> InputError:
        content = self._path.read_bytes()
        what, hint = next(
            (what, hint) for mark, what, hint in _OTHER_FILES if re.search(mark, content)
        )
        return InputError(self.file.name, what, hint=hint)

    def _empty(self) -> InputError:
        return InputError(self.file.name, "the workbook is empty", hint="Export the list again")


def _column(values: list[Any]) -> pa.Array:
    """Return cells as text; a column of whole numbers without a step per cell."""
    try:
        numbers = pa.array(values, pa.float64())
    except (pa.ArrowException, TypeError):
        return pa.array(list(map(_text, values)), pa.string())
    whole = numbers.to_numpy(zero_copy_only=False)
    if len(whole) and np.all((np.floor(whole) == whole) & (np.abs(whole) < _WHOLE_END)):
        return pa.array(whole.astype(np.int64)).cast(pa.string())
    return pa.array(list(map(_text, values)), pa.string())


def _is_blank(row: list[Any]) -> bool:
    return not any(row) and all(cell is None or not str(cell).strip() for cell in row)


def _texts(row: list[Any]) -> list[str]:
    return list(map(_text, row))


def _text(value: object) -> str:
    """Return a cell as text."""
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < _WHOLE_END else repr(value)
    if value is None:
        return ""
    if isinstance(value, dt.datetime) and value.time() == dt.time():
        return value.date().isoformat()
    return str(value)
