"""Do-not-send lists: read like any list, every number of every phone column, kept as a set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from numroute.errors import InputError, SettingError
from numroute_campaign.lists import Block
from numroute_campaign.lists.cells import is_equal, read_phones
from numroute_campaign.lists.columns import by_place
from numroute_campaign.lists.files import STDIN, Form, ListFile, ReadOptions, find_files
from numroute_campaign.lists.opening import open_list
from numroute_campaign.number_set import NumberSet
from numroute_campaign.vocabulary import NOBODY, Reject

_PLACES_SHOWN: Final = 5


def check_suppress(lists: Sequence[str]) -> None:
    """Raise SettingError if one is standard input: the list itself may come from there."""
    if STDIN in lists:
        raise SettingError(
            "a do-not-send list cannot come from standard input", hint="Give it as a file"
        )


def read_suppressed(
    lists: Sequence[str], options: ReadOptions, *, is_lenient: bool = False
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
        _read(file, options, numbers, is_lenient=is_lenient)
    return numbers


def _read(file: ListFile, options: ReadOptions, numbers: NumberSet, *, is_lenient: bool) -> None:
    """Add a list's numbers to a set."""
    rows = lines = bad_rows = 0
    shown: list[str] = []
    opened = open_list(file, options, all_phone_columns=True)
    # In text, 8 (916) 123-45-01, 02 without quotes is two cells: a number, the end of another.
    beside = [
        (opened.kept.index(place), "" if opened.columns[place] == by_place(place) else r"\s")
        for place in (phone + 1 for phone in opened.phones)
        if place in opened.kept and place not in opened.phones
    ]
    try:
        for task in opened.tasks():
            block = task()
            ends = [
                pc.match_substring_regex(block.kept[place], rf"^{blank}\s*\d{{1,4}}(-\d\d)?\s*$")
                for place, blank in beside
                if file.form is Form.CSV
            ]
            places, reasons = _take(block, options.region, numbers, ends)
            bad_rows += len(places)
            for place, reason in zip(places.tolist(), reasons.tolist(), strict=True):
                if len(shown) < _PLACES_SHOWN:
                    shown.append(f"row {rows + place + 1} ({Reject(reason).meaning})")
            rows += block.records
            lines += block.lines
        opened.check_lines(lines)
    finally:
        opened.close()
    if not rows:
        raise InputError(file.name, "the do-not-send list has no rows", hint="Export it again")
    if bad_rows and not is_lenient:
        raise InputError(
            file.name,
            f"{bad_rows:,} of {rows:,} rows of the do-not-send list hold no phone number, or "
            f"one that is not understood: {', '.join(shown)}"
            f"{', ...' if bad_rows > len(shown) else ''}; row 1 follows the header",
            hint="Correct or remove them, or these people would get messages. Name the column "
            "with --suppress-column, say with --suppress-header that the first row is a "
            "header, or ignore such rows with --suppress-lenient",
        )


def _take(
    block: Block, region: str | None, numbers: NumberSet, ends: Sequence[pa.Array]
) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Add a block's numbers to a set; return the records not understood, and why.

    ``ends``: for columns of other content, which cells may be the end of a second number.
    """
    is_known = np.zeros(block.records, np.bool_)
    reason = np.zeros(block.records, np.uint8)
    for column, header in zip(block.phones, block.headers, strict=True):
        phones = read_phones(column, region)
        is_valid = phones.numbers != 0
        numbers.add(phones.numbers[is_valid])
        numbers.add(phones.further)
        is_known |= is_valid
        without = np.flatnonzero(~is_valid)
        cells = column.take(pa.array(without))
        is_header = is_equal(cells, header) if header else np.zeros(len(without), np.bool_)
        is_known[without] |= is_header
        is_wrong = ~is_header & ~is_equal(cells, "")
        reason[without[is_wrong]] = phones.reasons[without[is_wrong]]
        reason[phones.partly] = Reject.NOT_A_NUMBER
    for is_end in ends:
        reason[is_end.to_numpy(zero_copy_only=False)] = Reject.NOT_A_NUMBER
    blank = np.flatnonzero(~is_known & (reason == 0))
    reason[blank] = Reject.EMPTY
    for column in block.kept:
        # A row without any content is nobody's.
        blank = blank[is_equal(column.take(pa.array(blank)), "")]
    reason[blank] = 0
    reason = np.where(block.damage, block.damage, reason)
    reason[np.isin(block.damage, (Reject.EMPTY, *NOBODY))] = 0
    bad = np.flatnonzero(reason)
    return bad, reason.take(bad)
