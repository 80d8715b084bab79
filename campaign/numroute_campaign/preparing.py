"""The first steps, which need no order: read numbers, reject texts, look up routes.

Threads prepare blocks side by side; nothing is done per row in Python. Do-not-send lists are read
first, like any list: every number of every phone column goes into a set.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from numroute.errors import InputError
from numroute_campaign.lists import Block
from numroute_campaign.lists.cells import Phones, is_equal, read_phones, unpacked
from numroute_campaign.lists.columns import by_place
from numroute_campaign.lists.files import Form, ListFile, ReadOptions, find_files
from numroute_campaign.lists.opening import open_list
from numroute_campaign.number_set import NumberSet
from numroute_campaign.routers import DefaultCountry, Router
from numroute_campaign.templates import plain_texts
from numroute_campaign.vocabulary import NOBODY, Reject

SAMPLES_MAX: Final = 3
SAMPLE_CHARS_MAX: Final = 24
SAMPLE_DIGITS: Final = 3
"""How many samples of a reason are shown, and how much of each."""

_PLACES_SHOWN: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prepared:
    """A block with its numbers read and looked up.

    Attributes:
        numbers: uint64[n], the valid numbers, in order.
        record: int64[n], the place of each one's record in the block.
        code: int64[n], codes of ``Decisions``.
        holders: int64[n], the range holder's place in the router's operators; -1 = not ported.
        rejected: int64[k], the other records.
        reasons: uint8[k], ``Reject`` values.
        several: How many cells hold several numbers.
        further: How many numbers those hold after the first.
        samples: By ``Reject`` value the first rejected cells, masked.
    """

    block: Block
    numbers: NDArray[np.uint64]
    record: NDArray[np.int64]
    code: NDArray[np.int64]
    holders: NDArray[np.int64]
    rejected: NDArray[np.int64]
    reasons: NDArray[np.uint8]
    several: int
    further: int
    samples: dict[int, list[str]]


def prepare(
    block: Block, router: Router, country: DefaultCountry, several: str, ported_since: int
) -> Prepared:
    """Read and look up a block's numbers.

    ``ported_since``: seconds since 1970-01-01 UTC; numbers ported since then are recently ported.
    """
    column = block.phones[0]
    phones = read_cells(column, country.region, block.headers[0])
    cells = np.unique(phones.further_at)
    if several == "reject":
        phones.numbers[cells] = 0
        phones.reasons[cells] = Reject.SEVERAL_NUMBERS
    invalid = np.flatnonzero(phones.numbers == 0)
    damage, reasons = block.damage.take(invalid), phones.reasons.take(invalid)
    samples = _samples(column, invalid[damage == 0], reasons[damage == 0])
    record = np.flatnonzero(phones.numbers)
    numbers = phones.numbers.take(record)
    if several == "all" and len(cells):
        record = np.concatenate([record, phones.further_at])
        numbers = np.concatenate([numbers, phones.further])
        order = record.argsort(kind="stable")
        record, numbers = record.take(order), numbers.take(order)
    code, holders = router.look_up(numbers, country, ported_since)
    return Prepared(
        block=block,
        numbers=numbers,
        record=record,
        code=code,
        holders=holders,
        rejected=invalid,
        reasons=np.where(damage, damage, reasons),
        several=len(cells),
        further=len(phones.further),
        samples=samples,
    )


def mask_cell(text: str) -> str:
    """Mask a cell: three digits and all punctuation stay, letters become ``x``."""
    text = re.sub(r"[^\W\d_]", "x", text[:SAMPLE_CHARS_MAX])
    first = re.match(rf"(\D*\d){{0,{SAMPLE_DIGITS}}}", text)
    end = first.end() if first else 0
    shape = text[:end] + re.sub(r"\d", "\N{BULLET}", text[end:])
    return "".join(char if char.isprintable() else " " for char in shape)


def _samples(
    column: pa.Array, invalid: NDArray[np.int64], reasons: NDArray[np.uint8]
) -> dict[int, list[str]]:
    """Return the first rejected cells of each reason, masked."""
    samples = {}
    for reason in np.unique(reasons[reasons != Reject.EMPTY]).tolist():
        places = invalid[reasons == reason][:SAMPLES_MAX]
        cells = unpacked(column.take(pa.array(places)))
        if pa.types.is_string(cells.type) or pa.types.is_large_string(cells.type):
            cells = cells.cast(pa.large_binary())  # not all bytes of a list are UTF-8
        samples[reason] = list(dict.fromkeys(map(mask_cell, plain_texts(cells).to_pylist())))
    return samples


def read_cells(column: pa.Array, region: str | None, header: str = "") -> Phones:
    """Read the numbers of a phone column; blank cells and the header again have their reasons."""
    phones = read_phones(column, region)
    invalid = np.flatnonzero(phones.numbers == 0)
    if len(invalid):
        cells = column.take(pa.array(invalid))
        phones.reasons[invalid[is_equal(cells, "")]] = Reject.EMPTY
        if header:
            phones.reasons[invalid[is_equal(cells, header)]] = Reject.HEADER_ROW
    return phones


def read_suppressed(
    lists: Sequence[str], options: ReadOptions, *, is_lenient: bool = False
) -> NumberSet | None:
    """Return the numbers of do-not-send lists; None without lists.

    Without a column in the options every column with phone numbers counts. ``is_lenient``: ignore
    rows and cells that cannot be understood.

    Raises InputError if one cannot be read or has no row, or a row or cell is not understood:
    people who asked for no messages would get them.
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
        if place in opened.kept
    ]
    with closing(opened):
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
        phones = read_cells(column, region, header)
        is_valid = phones.numbers != 0
        numbers.add(phones.numbers[is_valid])
        numbers.add(phones.further)
        is_understood = is_valid | (phones.reasons == Reject.HEADER_ROW)
        is_known |= is_understood
        is_wrong = ~is_understood & (phones.reasons != Reject.EMPTY)
        reason[is_wrong] = phones.reasons[is_wrong]
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
