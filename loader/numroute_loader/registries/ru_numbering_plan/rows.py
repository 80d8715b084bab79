"""The rows of a numbering-plan file as columns, every figure checked."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from numroute.errors import InputError
from numroute_loader.reading.csv_stream import Fault, batch_of, sound_lines
from numroute_loader.registries.ru_numbering_plan.text import (
    CAPACITY,
    CODE,
    DELIMITER,
    DELIMITER_IN_CELL,
    END,
    OPERATOR,
    REGION,
    START,
    TAX_NUMBER,
    TAX_NUMBER_SHAPE,
    TERRITORY,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from numroute_loader.reading.csv_stream import SoundLines
    from numroute_loader.registries.ru_numbering_plan.text import PlanText

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


@dataclass(frozen=True, slots=True, kw_only=True)
class TextColumn:
    """A column of few distinct texts: ``index`` int32[m] into ``values``, without padding."""

    index: NDArray[np.int32]
    values: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanRows:
    """The rows of a plan in the file's order; every capacity has been checked.

    ``code``, ``start``, ``end``: int64[m]; the last two are the seven digits after the code.
    ``line``: int64[m], the line of each row, counted from 1.
    ``texts``: the columns ``OPERATOR``, ``REGION``, ``TERRITORY`` and ``TAX_NUMBER``; those that
    the file does not have are columns of "".
    """

    code: NDArray[np.int64]
    start: NDArray[np.int64]
    end: NDArray[np.int64]
    line: NDArray[np.int64]
    texts: Mapping[str, TextColumn]
    warnings: Sequence[str] = ()


def read_rows(text: PlanText) -> PlanRows:
    """Read the rows of a plan; blank lines are skipped.

    Raises InputError, with the line, for a row that the publisher cannot have written.
    """
    sound, repaired = _sound_lines(text)
    names = [column or f"unread {place}" for place, column in enumerate(text.columns)]
    dictionary = pa.dictionary(pa.int32(), pa.string())
    types = {name: pa.string() for name in _FIGURES}
    types |= {name: dictionary for name in _TEXTS if name in names}
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
    return PlanRows(
        code=figures[CODE],
        start=figures[START],
        end=figures[END],
        line=sound.line + 1,
        texts={name: _text_column(batch, name) for name in _TEXTS},
        warnings=_warnings(repaired),
    )


def _warnings(repaired: Sequence[int]) -> tuple[str, ...]:
    if not repaired:
        return ()
    rows = f"{len(repaired)} rows, the first on line {repaired[0]}, have the delimiter inside"
    return (f"{rows} Регион: the fields beyond the sixth were read as part of it",)


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


def _text_column(batch: pa.RecordBatch, name: str) -> TextColumn:
    if name not in batch.schema.names:
        return TextColumn(index=np.zeros(batch.num_rows, dtype=np.int32), values=("",))
    column = batch.column(name)
    values = [
        value.strip().replace(DELIMITER_IN_CELL, DELIMITER)
        for value in column.dictionary.to_pylist()
    ]
    return TextColumn(index=column.indices.to_numpy(), values=values)
