"""A sheet of a workbook (.xlsx, .xlsm, .xlsb, .xls, .ods) as blocks.

A cell that holds a whole number is read as its digits: 79161234567.0 is 79161234567. Dates stay
dates. One sheet is read: the one that the user named, or the first that has phone numbers.
"""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
from python_calamine import CalamineError, CalamineWorkbook, SheetTypeEnum, SheetVisibleEnum

from numroute.errors import InputError
from numroute_campaign.lists import Block, ListReader
from numroute_campaign.lists.cells import SAMPLE_ROWS
from numroute_campaign.lists.columns import (
    count_numbers,
    find_column,
    find_totals,
    phone_columns,
    read_layout,
    shown_name,
)
from numroute_campaign.lists.files import ListFile, ReadOptions
from numroute_campaign.vocabulary import Phrase, Reject

BLOCK_ROWS: Final = 65_536
_WHOLE_END: Final = 1e15
_LIST_NUMBERS_MIN: Final = 3
"""A sheet with fewer numbers may be a note about the list."""

_SAVE_AGAIN: Final = (
    "Save it again in a spreadsheet program. Save the sheet as CSV if that does not help"
)
_ENCRYPTED: Final = "EncryptedPackage".encode("utf-16-le")


class Spreadsheet(ListReader):
    """An open workbook, one sheet of which is the list."""

    def __init__(self, file: ListFile, options: ReadOptions) -> None:
        """Open the workbook and choose the sheet."""
        super().__init__(file, options)
        path = Path(file.path or "")
        try:
            # By its content: from a path it would go by the name's ending.
            with path.open("rb") as opened:
                workbook = CalamineWorkbook.from_filelike(opened)
            self._workbook = self.resources.enter_context(workbook)
            self._choose_sheet()
        except (CalamineError, OSError, ValueError):
            fault = "a damaged Excel workbook, or another kind of file"
            hint = _SAVE_AGAIN
            if _ENCRYPTED in path.read_bytes():
                fault = "the workbook is protected with a password"
                hint = "Save a copy without the password and give that one"
            raise InputError(file.name, fault, hint=hint) from None

    def _choose_sheet(self) -> None:
        """Read the layout of the sheet that the user named, or of the first that is a list."""
        options, every = self.options, self._workbook.sheets_metadata
        sheets = {
            each.name: each.visible is SheetVisibleEnum.Visible
            for each in every
            if each.typ is SheetTypeEnum.WorkSheet
        }
        visible = [name for name, is_visible in sheets.items() if is_visible]
        names = visible
        if options.sheet is not None:
            wanted = options.sheet.strip().casefold()
            names = [name for name in sheets if name.strip().casefold() == wanted]
            if not names:
                raise InputError(
                    self.file.name,
                    f"no sheet is named {shown_name(options.sheet)}",
                    hint=f"Its sheets are {', '.join(map(shown_name, visible))}",
                )
        most = -2
        for name in names:
            rows = self._workbook.get_sheet_by_name(name)
            records = [_texts(row) for row in islice(rows.iter_rows(), SAMPLE_ROWS)]
            if not any(any(map(str.strip, record)) for record in records):
                continue
            layout = read_layout(records, options)
            places = []
            if options.column is None:
                places = phone_columns(layout.columns, layout.sample, options.region)
            else:
                with contextlib.suppress(InputError):
                    places = [find_column(layout.columns, options.column, self.file.name)]
            counts = (count_numbers(layout.sample[place], options.region) for place in places)
            numbers = min(max(counts, default=-1), _LIST_NUMBERS_MIN)
            if numbers > most:
                most, self.sheet, self._rows, self._first = numbers, name, rows, layout.first
                self.take_layout(layout)
            if numbers == _LIST_NUMBERS_MIN:
                break
        if not self.sheet:
            raise InputError(self.file.name, "the workbook is empty", hint="Export the list again")
        # Its height is without the blank rows above, which are read too.
        self._height = self._rows.end[0] + 1 if self._rows.end else 0
        if options.sheet is None:
            self._say_unread(
                ", ".join(shown_name(name) for name in visible if name != self.sheet),
                ", ".join(shown_name(name) for name in sheets if name not in visible),
            )

    def _say_unread(self, others: str, hidden: str) -> None:
        if others:
            text = "only sheet {} was read, not {}; give {} to read another"
            option = f"{self.options.option}sheet"
            self.warnings += (Phrase(text, shown_name(self.sheet), others, option),)
        if hidden:
            self.warnings += (Phrase("hidden sheets were not read: {}", hidden),)

    def tasks(self) -> Iterator[Callable[[], Block]]:
        """Yield the blocks. Raises InputError also if the sheet has other rows than were read."""
        rows = self._rows.iter_rows()
        done = sum(1 for _ in islice(rows, self._first))
        while block := list(islice(rows, BLOCK_ROWS)):
            done += len(block)
            self.bytes_done = self.file.size * done // max(self._height, 1)
            yield partial(self._block, block, is_last=done >= self._height)
        if done != self._height:
            raise InputError(
                self.file.name,
                f"the sheet has {self._height:,} rows, of which {done:,} were read",
                hint="This is a fault of numroute: report it. Save the sheet as CSV",
            )

    def _block(self, rows: list[list[Any]], *, is_last: bool) -> Block:
        damage = np.zeros(len(rows), np.uint8)
        if is_last:
            for place in find_totals(map(_texts, reversed(rows)), self.options.region):
                damage[-1 - place] = Reject.TOTAL_ROW
        for place, row in enumerate(rows):
            if not any(row) and not any(map(str.strip, _texts(row))):
                damage[place] = Reject.EMPTY
        columns = {
            place: _column([row[place] if place < len(row) else "" for row in rows])
            for place in self.needed
        }
        return self.block(columns, damage)


def _column(values: list[Any]) -> pa.Array:
    """Return cells as text; a column of whole numbers without a step per cell."""
    try:
        numbers = pa.array(values, pa.float64())
    except (pa.ArrowException, TypeError):
        return pa.array(_texts(values), pa.string())
    whole = numbers.to_numpy(zero_copy_only=False)
    if len(whole) and np.all((np.floor(whole) == whole) & (np.abs(whole) < _WHOLE_END)):
        return pa.array(whole.astype(np.int64)).cast(pa.string())
    return pa.array(_texts(values), pa.string())


def _texts(cells: list[Any]) -> list[str]:
    return list(map(_text, cells))


def _text(value: object) -> str:
    """Return a cell as text."""
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < _WHOLE_END else repr(value)
    if isinstance(value, dt.datetime) and value.time() == dt.time():
        return value.date().isoformat()
    return "" if value is None else str(value)
