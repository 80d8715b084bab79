"""pyarrow's own time to parse a Port_All csv, with the types that the loader asks it for.

The number, the operator, the MNC, the route and the region as ``binary``; the time as
``timestamp[s, UTC]``; the row count left out. Quotes are data, empty cells are null, and UTF-8 is
not checked: all as the loader does it. The blocks are of the loader's size too, with which pyarrow
is faster than with its default of 1 MiB.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from pyarrow import csv

from numroute_loader.reading.columns import TEXT_TYPE, TIME_TYPE
from numroute_loader.reading.csv_stream import BLOCK_BYTES

if TYPE_CHECKING:
    from pathlib import Path

COLUMN_TYPES = {
    "Number": TEXT_TYPE,
    "OwnerId": TEXT_TYPE,
    "MNC": TEXT_TYPE,
    "Route": TEXT_TYPE,
    "RegionCode": TEXT_TYPE,
    "PortDate": TIME_TYPE,
}


def stream_seconds(path: Path, rows: int) -> float:
    """Return the seconds that ``open_csv`` takes to hand over all batches, one core parsing."""
    begin = time.perf_counter()
    found = 0
    with csv.open_csv(path, _read_options(), _parse_options(), _convert_options()) as reader:
        for batch in reader:
            found += batch.num_rows
    seconds = time.perf_counter() - begin
    assert found == rows
    return seconds


def table_seconds(path: Path, rows: int) -> float:
    """Return the seconds that ``read_csv`` takes to make one table in memory, all cores parsing."""
    begin = time.perf_counter()
    table = csv.read_csv(path, _read_options(), _parse_options(), _convert_options())
    seconds = time.perf_counter() - begin
    assert table.num_rows == rows
    return seconds


def _read_options() -> csv.ReadOptions:
    return csv.ReadOptions(block_size=BLOCK_BYTES)


def _parse_options() -> csv.ParseOptions:
    return csv.ParseOptions(quote_char=False)


def _convert_options() -> csv.ConvertOptions:
    return csv.ConvertOptions(
        column_types=COLUMN_TYPES,
        include_columns=list(COLUMN_TYPES),
        null_values=[""],
        check_utf8=False,
    )
