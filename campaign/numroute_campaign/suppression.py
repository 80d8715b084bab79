"""Do-not-send lists: read like any list, every number of every phone column, kept as a set."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa

from numroute.errors import InputError, SettingError
from numroute_campaign.decisions import MEANINGS, Reject
from numroute_campaign.lists.cells import is_empty, read_phones
from numroute_campaign.lists.files import STDIN, find_files
from numroute_campaign.lists.opening import OpenList, ReadOptions
from numroute_campaign.number_set import NumberSet

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from numroute_campaign.lists import Block

_PLACES_SHOWN: Final = 5


def check_suppress(lists: Sequence[str]) -> None:
    """Make sure that do-not-send lists are files.

    Raises:
        SettingError: One is standard input: the list itself may come from there.
    """
    if STDIN in lists:
        raise SettingError(
            "a do-not-send list cannot come from standard input", hint="Give it as a file"
        )


def read_suppressed(
    lists: Sequence[str],
    options: ReadOptions,
    folder: Path | None,
    *,
    is_lenient: bool = False,
) -> NumberSet:
    """Return the numbers of do-not-send lists.

    Args:
        lists: The lists.
        options: How to read them; without a column every column with phone numbers counts.
        folder: Takes the set's large parts.
        is_lenient: Pass over rows and cells that cannot be understood.

    Raises:
        InputError: A list cannot be read or has no row, or a row or cell of it is not understood:
            people who asked for no messages would get them.
    """
    numbers = NumberSet(folder)
    for file in find_files(lists):
        opened = OpenList(file, options, all_phone_columns=True)
        try:
            rows = lines = 0
            bad: list[tuple[int, int]] = []
            bad_rows = 0
            for task in opened.tasks():
                block = task()
                places, reasons = _take(block, options.region, numbers)
                bad_rows += len(places)
                for place, reason in zip(places.tolist(), reasons.tolist(), strict=True):
                    if len(bad) < _PLACES_SHOWN:
                        bad.append((rows + place + 1, reason))
                rows += block.records
                lines += block.lines
            opened.check_lines(lines)
        finally:
            opened.close()
        if not rows:
            raise InputError(file.name, "the do-not-send list has no rows", hint="Export it again")
        if bad_rows and not is_lenient:
            shown = ", ".join(f"row {row} ({MEANINGS[Reject(reason)]})" for row, reason in bad)
            more = f" and {bad_rows - len(bad):,} more" if bad_rows > len(bad) else ""
            raise InputError(
                file.name,
                f"{bad_rows:,} of {rows:,} rows of the do-not-send list hold no phone number, or "
                f"one that is not understood: {shown}{more}; rows are counted behind the header",
                hint="Mend or remove them: the people meant would get messages. --suppress-column "
                "names the column, --suppress-header says that the first row is a header, "
                "--suppress-lenient passes over such rows",
            )
    return numbers


def _take(
    block: Block, region: str | None, numbers: NumberSet
) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Add a block's numbers to a set; return the records not understood, and why."""
    rows = len(block.phones[0])
    has_number = np.zeros(rows, np.bool_)
    reason = np.zeros(rows, np.uint8)
    for column in block.phones:
        phones = read_phones(column, region)
        valid = phones.numbers != 0
        has_number |= valid
        numbers.add(phones.numbers[valid])
        numbers.add(phones.further)
        empty = np.zeros(rows, np.bool_)
        invalid = np.flatnonzero(~valid)
        empty[invalid] = is_empty(column.take(pa.array(invalid)))
        wrong = ~valid & ~empty
        reason[wrong] = phones.reasons[wrong]
        reason[phones.partly] = Reject.NOT_A_NUMBER
    without = np.flatnonzero(~has_number & (reason == 0))
    for column in block.kept:
        # A row without any content is nobody's.
        without = without[is_empty(column.take(pa.array(without)))] if len(without) else without
    reason[~has_number & (reason == 0)] = Reject.EMPTY
    reason[without] = 0
    bad = np.flatnonzero(reason)
    record = bad if block.record is None else block.record.take(bad)
    reasons = reason.take(bad)
    is_damage = block.damage != Reject.TOTAL_ROW
    return (
        np.concatenate([record, block.damaged[is_damage]]),
        np.concatenate([reasons, block.damage[is_damage]]),
    )
