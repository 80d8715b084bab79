"""Do-not-send lists: read like any list, every number of every phone column, kept as a set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from numroute.errors import InputError, SettingError
from numroute_campaign.lists import Block, ReadOptions
from numroute_campaign.lists.cells import is_empty, is_equal, read_phones
from numroute_campaign.lists.columns import by_place
from numroute_campaign.lists.files import STDIN, Form, find_files
from numroute_campaign.lists.opening import OpenList
from numroute_campaign.number_set import NumberSet
from numroute_campaign.vocabulary import NOBODY, Reject

_PLACES_SHOWN: Final = 5

_UNNAMED_NUMBER_END: Final = r"^\s*\d{1,4}(-\d\d)?\s*$"
_NUMBER_END: Final = r"^\s+\d{1,4}(-\d\d)?\s*$"
"""The last digits of a second number, in a column without a name and in one with a name."""


def check_suppress(lists: Sequence[str]) -> None:
    """Raise SettingError if one is standard input: the list itself may come from there."""
    if STDIN in lists:
        raise SettingError(
            "a do-not-send list cannot come from standard input", hint="Give it as a file"
        )


def read_suppressed(
    lists: Sequence[str],
    options: ReadOptions,
    *,
    is_lenient: bool = False,
) -> NumberSet | None:
    """Return the numbers of do-not-send lists; None without lists.

    Args:
        lists: The lists.
        options: How to read them; without a column every column with phone numbers counts.
        is_lenient: Ignore rows and cells that cannot be understood.

    Raises:
        InputError: A list cannot be read or has no row, or a row or cell is not understood: people
            who asked for no messages would get them.
    """
    if not lists:
        return None
    numbers = NumberSet()
    for file in find_files(lists):
        opened = OpenList(file, options, all_phone_columns=True)
        try:
            beside = _columns_beside(opened)
            rows = lines = 0
            bad: list[tuple[int, int]] = []
            bad_rows = 0
            for task in opened.tasks():
                block = task()
                places, reasons = _take(block, options.region, numbers, beside)
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
            shown = ", ".join(f"row {row} ({Reject(reason).meaning})" for row, reason in bad)
            more = f" and {bad_rows - len(bad):,} more" if bad_rows > len(bad) else ""
            raise InputError(
                file.name,
                f"{bad_rows:,} of {rows:,} rows of the do-not-send list hold no phone number, or "
                f"one that is not understood: {shown}{more}; row 1 follows the header",
                hint="Correct or remove them, or these people would get messages. Name the column "
                "with --suppress-column, say with --suppress-header that the first row is a "
                "header, or ignore such rows with --suppress-lenient",
            )
    return numbers


def _columns_beside(opened: OpenList) -> list[tuple[int, str]]:
    """Return the columns to the right of phone columns that may hold the end of a second number.

    In CSV text, ``8 (916) 123-45-01, 02`` without quotes is two cells. Each column comes as its
    place among the block's kept ones, with what such a cell matches.
    """
    if opened.file.form is not Form.CSV:
        return []
    columns = opened.columns
    return [
        (
            opened.kept.index(place),
            _NUMBER_END
            if opened.reader.has_header and columns[place] != by_place(place)
            else _UNNAMED_NUMBER_END,
        )
        for place in (phone + 1 for phone in opened.phones)
        if place in opened.kept and place not in opened.phones
    ]


def _take(
    block: Block,
    region: str | None,
    numbers: NumberSet,
    beside: Sequence[tuple[int, str]],
) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Add a block's numbers to a set; return the records not understood, and why."""
    rows = len(block.phones[0])
    has_number = np.zeros(rows, np.bool_)
    reason = np.zeros(rows, np.uint8)
    is_header = np.zeros(rows, np.bool_)
    for column, header in zip(block.phones, block.headers, strict=True):
        phones = read_phones(column, region)
        valid = phones.numbers != 0
        has_number |= valid
        numbers.add(phones.numbers[valid])
        numbers.add(phones.further)
        empty = np.zeros(rows, np.bool_)
        invalid = np.flatnonzero(~valid)
        empty[invalid] = is_empty(column.take(pa.array(invalid)))
        is_header[invalid] |= is_equal(column.take(pa.array(invalid)), header or "\0")
        wrong = ~valid & ~empty
        reason[wrong] = phones.reasons[wrong]
        reason[phones.partly] = Reject.NOT_A_NUMBER
    for place, pattern in beside:
        ends = pc.match_substring_regex(block.kept[place], pattern)
        reason[has_number & ends.to_numpy(zero_copy_only=False)] = Reject.NOT_A_NUMBER
    without = np.flatnonzero(~has_number & (reason == 0))
    for column in block.kept:
        # A row without any content is nobody's.
        without = without[is_empty(column.take(pa.array(without)))] if len(without) else without
    reason[~has_number & (reason == 0)] = Reject.EMPTY
    reason[without] = 0
    reason[is_header & ~has_number] = 0
    bad = np.flatnonzero(reason)
    record = bad if block.record is None else block.record.take(bad)
    reasons = reason.take(bad)
    is_damage = ~np.isin(block.damage, NOBODY)
    return (
        np.concatenate([record, block.damaged[is_damage]]),
        np.concatenate([reasons, block.damage[is_damage]]),
    )
