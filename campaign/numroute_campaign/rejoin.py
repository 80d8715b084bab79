"""Put the numbers back into delivery reports that have pseudonyms.

The report is held in memory, the map is read once, block by block: a report is seldom larger than
the campaign it is about, a map may hold a hundred million rows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from numroute.errors import InputError
from numroute.files import replacing
from numroute_campaign.lists import ReadOptions
from numroute_campaign.lists.columns import shown_name
from numroute_campaign.lists.opening import OpenList, find_list
from numroute_campaign.templates import header_text, plain_texts, rows_text
from numroute_campaign.vocabulary import NOBODY, PSEUDONYM

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

NUMBER: Final = "number"

_ROWS_AT_ONCE: Final = 131_072


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejoined:
    """Rows of the report, and how many of them have a pseudonym that the map does not have."""

    rows: int
    unknown: int


def rejoin(
    report: str, map_path: Path, out: Path, *, column: str = PSEUDONYM, encoding: str | None = None
) -> Rejoined:
    """Write a delivery report with a column of numbers added, as CSV readable by its owner only.

    Args:
        report: CSV, a spreadsheet, Parquet or Arrow, in any layout that a list may have.
        map_path: The map that ``numroute route --pseudonymize`` wrote.
        out: The file to write; must not exist.
        column: The column of pseudonyms: its name in any case, or its place from 1.
        encoding: The report's encoding; None = found out from the text.

    Raises:
        InputError: A file cannot be read or written, or is not a map of pseudonyms.
    """
    if out.exists():
        raise InputError(out, "it is there already", hint="Give another --out")
    columns, names, place = _read_report(report, column, encoding)
    # An apostrophe, ="..." or a byte-order mark about a pseudonym is a spreadsheet program's.
    pseudonyms = pc.replace_substring_regex(
        pc.utf8_lower(columns[place]), r"^[^0-9a-f]+|[^0-9a-f]+$", ""
    )
    distinct = pc.unique(pseudonyms)
    numbers = np.zeros(len(distinct), np.uint64)
    for batch in _map_batches(map_path):
        at = pc.index_in(batch.column(0), value_set=distinct)
        known = np.flatnonzero(at.is_valid().to_numpy(zero_copy_only=False))
        numbers[at.take(pa.array(known)).to_numpy()] = batch.column(1).to_numpy()[known]
    at = pc.index_in(pseudonyms, value_set=distinct).to_numpy(zero_copy_only=False)
    number = numbers.take(at.astype(np.int64))
    texts = pc.if_else(pa.array(number == 0), "", pc.cast(pa.array(number), pa.string()))
    _write(out, [*names, NUMBER], [*columns, texts])
    return Rejoined(rows=len(number), unknown=int(np.count_nonzero(number == 0)))


def _read_report(
    report: str, column: str, encoding: str | None
) -> tuple[list[pa.Array], tuple[str, ...], int]:
    """Return all columns as texts, their names, and the place of the pseudonyms."""
    options = ReadOptions(column=column, encoding=encoding)
    files = find_list([report], options)
    if len(files) > 1 or files[0].path is None:
        raise InputError(report, "not one file", hint="Give the reports one by one, as files")
    file = files[0]
    # The first opening finds out the columns, the second reads them all, by their places.
    first = OpenList(file, options)
    names, place = first.columns, first.phone
    first.close()
    opened = OpenList(file, replace(options, keep=tuple(str(i + 1) for i in range(len(names)))))
    try:
        blocks = [task() for task in opened.tasks()]
        opened.check_lines(sum(block.lines for block in blocks))
    finally:
        opened.close()
    damaged = sum(int(np.count_nonzero(~np.isin(block.damage, NOBODY))) for block in blocks)
    if damaged:
        raise InputError(
            file.name,
            f"{damaged:,} rows have more or fewer cells than the header, or a broken quote",
            hint="Export the report again",
        )
    if not any(len(block.phones[0]) for block in blocks):
        raise InputError(file.name, "the report has no rows", hint="Export the report again")
    columns = [
        _texts([block.kept[i] for block in blocks], file.name, name) for i, name in enumerate(names)
    ]
    return columns, names, place


def _texts(pieces: list[pa.Array], where: str, name: str) -> pa.Array:
    """Return a column of any type as string[n]."""
    try:
        texts = pa.concat_arrays([pa.array([], pa.string()), *map(plain_texts, pieces)])
        texts.validate(full=True)
    except pa.ArrowException:
        # Its own message quotes cells, and cells hold people's numbers.
        raise InputError(
            where, f"the column {shown_name(name)} holds no texts", hint="Write the report as CSV"
        ) from None
    return texts


def _map_batches(path: Path) -> Iterator[pa.RecordBatch]:
    try:
        yield from csv.open_csv(
            path,
            convert_options=csv.ConvertOptions(
                column_types={PSEUDONYM: pa.string(), NUMBER: pa.uint64()},
                include_columns=[PSEUDONYM, NUMBER],
                null_values=[],
            ),
        )
    except FileNotFoundError:
        raise InputError(path, "there is no such map", hint="Give --map FILE") from None
    except (pa.ArrowException, OSError):
        # Wherever the damage is: pyarrow's own message quotes the row.
        raise InputError(
            path,
            "not a map of pseudonyms, or a damaged one",
            hint="Give the file that --pseudonymize wrote",
        ) from None


def _write(out: Path, names: Sequence[str], columns: list[pa.Array]) -> None:
    try:
        with replacing(out) as file:
            file.write(header_text(names))
            for begin in range(0, len(columns[0]), _ROWS_AT_ONCE):
                text = rows_text([each.slice(begin, _ROWS_AT_ONCE) for each in columns])
                file.write(text.data[: int(text.offsets[-1])])
    except OSError as error:
        raise InputError(out, f"cannot be written: {error.strerror or error}") from None
