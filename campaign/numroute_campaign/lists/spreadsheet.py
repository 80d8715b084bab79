"""A sheet of a workbook (.xlsx, .xlsm, .xlsb, .xls, .ods) as blocks.

A cell that holds a whole number is read as its digits: 79161234567.0 is 79161234567. Dates stay
dates. One sheet is read: the one that the user named, or the first that has a phone column.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
from python_calamine import (
    CalamineError,
    CalamineWorkbook,
    PasswordError,
    SheetTypeEnum,
    SheetVisibleEnum,
    WorksheetNotFound,
    XmlError,
    ZipError,
)

from numroute.errors import InputError
from numroute_campaign.lists import Block, ListReader
from numroute_campaign.lists.cells import segment_counts
from numroute_campaign.lists.columns import shown_name
from numroute_campaign.lists.layout import (
    SAMPLE_RECORDS,
    Layout,
    find_totals,
    read_layout,
)
from numroute_campaign.vocabulary import Phrase, Reject

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from python_calamine import CalamineSheet

    from numroute_campaign.lists import ReadOptions
    from numroute_campaign.lists.files import ListFile

    Weigh = Callable[[tuple[str, ...], Sequence[pa.Array], str], tuple[int, bool]]

BLOCK_ROWS: Final = 65_536
_WHOLE_END: Final = 1e15
_LIST_NUMBERS_MIN: Final = 3
_MUCH_MORE: Final = 10
"""A sheet with fewer numbers, or ten times fewer than another, is a note about the list."""

_ERRORS: Final = (CalamineError, XmlError, ZipError, OSError, ValueError)


@dataclass(frozen=True, slots=True)
class _Sheet:
    """A sheet with a phone column, and what its sample says about it."""

    name: str
    rows: CalamineSheet
    layout: Layout
    numbers: int
    is_named: bool

    def is_less_than(self, other: _Sheet) -> bool:
        """Whether the other is so much more of a list that it is read, though it comes later."""
        is_few = self.numbers < _LIST_NUMBERS_MIN
        return other.numbers > _MUCH_MORE * self.numbers or (
            is_few and (other.is_named, other.numbers) > (self.is_named, self.numbers)
        )


class Spreadsheet(ListReader):
    """An open workbook, one sheet of which is the list."""

    def __init__(self, file: ListFile, options: ReadOptions, weigh: Weigh) -> None:
        """Open the workbook and choose the sheet; what the options say is not judged.

        ``weigh`` returns how many phone numbers a sheet's sample holds and whether their column is
        known by its name; it raises InputError for a sheet without a phone column.
        """
        self.file, self._options, sheet = file, options, options.sheet
        self.rows_done = 0
        try:
            # By its content: from a path it would go by the name's ending.
            with Path(file.path or "").open("rb") as opened_file:
                self._workbook = CalamineWorkbook.from_filelike(opened_file)
            sheets = [
                each
                for each in self._workbook.sheets_metadata
                if each.typ is SheetTypeEnum.WorkSheet
            ]
        except PasswordError:
            raise InputError(
                file.name,
                "the workbook is protected with a password",
                hint="Save a copy without the password and give that one",
            ) from None
        except _ERRORS:
            raise self._damaged() from None
        visible = [each.name for each in sheets if each.visible is SheetVisibleEnum.Visible]
        hidden = [each.name for each in sheets if each.visible is not SheetVisibleEnum.Visible]
        chosen = self._find(
            visible if sheet is None else [sheet], visible, weigh if sheet is None else None
        )
        self.sheet, self._rows, layout = chosen.name, chosen.rows, chosen.layout
        self.columns, self.sample, self.has_header = (
            layout.columns,
            layout.sample,
            layout.has_header,
        )
        self.warnings, self._first = layout.warnings(options.option), layout.first
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

    def _find(self, names: Sequence[str], visible: list[str], weigh: Weigh | None) -> _Sheet:
        """Return the sheet that is the list: the first one, unless it is a note about another."""
        first_error: InputError | None = None
        found: list[_Sheet] = []
        for name in names:
            rows = self._open(name, visible)
            records = [_texts(row) for row in islice(rows.iter_rows(), SAMPLE_RECORDS + 30)]
            if not any(any(map(str.strip, record)) for record in records):
                first_error = first_error or self._empty()
                continue
            layout = read_layout(records, self._options)
            numbers, is_named = 0, False
            if weigh is not None:
                where = f"{self.file.name}, sheet {shown_name(name)}"
                try:
                    numbers, is_named = weigh(layout.columns, layout.sample, where)
                except InputError as error:
                    if first_error is None or len(visible) == 1:
                        first_error = error
                    continue
            found.append(_Sheet(name, rows, layout, numbers, is_named))
            if _MUCH_MORE * numbers > SAMPLE_RECORDS:
                break
        if not found:
            raise first_error or self._empty()
        return next(each for each in found if not any(map(each.is_less_than, found)))

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
        def column(place: int) -> pa.Array:
            return _column([row[place] if place < len(row) else "" for row in rows])

        region = self._options.region
        totals = find_totals(map(_texts, reversed(rows)), region) if is_last else []
        damaged = np.array([len(rows) - 1 - each for each in reversed(totals)], np.int64)
        whole = np.delete(np.arange(len(rows)), damaged)
        take = pa.array(whole)
        columns = {place: column(place) for place in self.needed}
        if len(damaged):
            columns = {place: values.take(take) for place, values in columns.items()}
        return Block(
            records=len(rows),
            blank=sum(map(_is_blank, rows)),
            phones=tuple(columns[place] for place in self.phones),
            headers=self.headers,
            kept=tuple(columns[place] for place in self.kept),
            segments=None if self.segments is None else segment_counts(columns[self.segments]),
            record=whole if len(damaged) else None,
            damaged=damaged,
            damage=np.full(len(damaged), Reject.TOTAL_ROW, np.uint8),
        )

    def _open(self, name: str, visible: list[str]) -> CalamineSheet:
        folded = name.strip().casefold()
        same = [each for each in self._workbook.sheet_names if each.strip().casefold() == folded]
        try:
            return self._workbook.get_sheet_by_name(same[0] if len(same) == 1 else name)
        except WorksheetNotFound:
            raise InputError(
                self.file.name,
                f"no sheet is named {shown_name(name)}",
                hint=f"Its sheets are {', '.join(map(shown_name, visible))}",
            ) from None
        except _ERRORS:
            raise self._damaged() from None

    def _damaged(self) -> InputError:
        return InputError(
            self.file.name,
            "the workbook is damaged, or not one of .xlsx, .xlsm, .xlsb, .xls, .ods",
            hint="Open it in a spreadsheet program and save it again, or save the sheet as CSV",
        )

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
