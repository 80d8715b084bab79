"""Reading a registry's files, and human formats of numbers."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import phonenumbers
import pyarrow as pa
from pyarrow import csv

from benchmarks.material import Material
from benchmarks.report import Figure, Side, take_turns
from numroute.e164.column import parse_column
from numroute_loader.registries import read

BLOCK_BYTES = 1 << 22
COLUMN_TYPES = {
    **dict.fromkeys(("Number", "OwnerId", "MNC", "Route", "RegionCode"), pa.binary()),
    "PortDate": pa.timestamp("s", "UTC"),
}
TEXTS, TEXTS_ONE_BY_ONE = 500_000, 2_000
FORMATS = (
    "8 ({0}) {1}-{2}-{3}",
    "+7{0}{1}{2}{3}",
    "7{0}{1}{2}{3}",
    "{0}{1}{2}{3}",
    "8{0}{1}{2}{3}",
    "+7 {0} {1}-{2}-{3}",
    "8-{0}-{1}-{2}-{3}",
)


def parsing(material: Material, seconds: float) -> Sequence[Figure]:
    """Read and check a dump, beside pyarrow parsing the same columns and checking nothing."""
    rows = len(material.truth.ported)

    def right(parsed: Any) -> None:  # noqa: ANN401 - what the loader reads
        assert np.array_equal(np.sort(parsed.ported.numbers), material.truth.ported)

    return take_turns(
        "Reading a dump",
        {
            "pyarrow parses the dump": Side(
                run=lambda: parse_seconds(material.dump, rows), check=lambda _: None, count=rows
            ),
            "`numroute_loader.registries.read`": Side(
                run=lambda: read(material.dump), check=right, count=rows
            ),
        },
        unit="ns/row",
        scale=1e9,
        seconds=seconds,
    )


def parse_seconds(path: Path, rows: int) -> float:
    """Return the seconds that pyarrow takes to parse a dump, batch by batch.

    Quotes are data, empty cells are null and UTF-8 is not checked, as in the loader.
    """
    begin = time.perf_counter()
    with csv.open_csv(
        path,
        csv.ReadOptions(block_size=BLOCK_BYTES),
        csv.ParseOptions(quote_char=False),
        csv.ConvertOptions(
            column_types=COLUMN_TYPES,
            include_columns=list(COLUMN_TYPES),
            null_values=[""],
            check_utf8=False,
        ),
    ) as reader:
        found = sum(batch.num_rows for batch in reader)
    assert found == rows
    return time.perf_counter() - begin


def normalising(material: Material, seconds: float) -> Sequence[Figure]:
    """Turn everyday formats into whole numbers, beside the library phonenumbers."""
    numbers = material.draw(TEXTS, seed=3)
    styles = np.random.default_rng(4).integers(0, len(FORMATS), TEXTS).tolist()
    texts = [
        FORMATS[style].format(digits[1:4], digits[4:7], digits[7:9], digits[9:])
        for style, digits in zip(styles, numbers.astype(str).tolist(), strict=True)
    ]
    column, some = pa.array(texts), texts[:TEXTS_ONE_BY_ONE]

    def by_library() -> list[int]:
        parsed = (phonenumbers.parse(text, "RU") for text in some)
        return [
            int(f"{each.country_code}{each.national_number}")
            for each in parsed
            if phonenumbers.is_possible_number(each)
        ]

    def right(found: Any) -> None:  # noqa: ANN401 - a column of numbers
        assert np.array_equal(found, numbers[: len(found)])

    return take_turns(
        "Everyday formats to whole numbers",
        {
            "phonenumbers": Side(run=by_library, check=right, count=len(some)),
            "`parse_column`": Side(
                run=lambda: parse_column(column, "RU").numbers, check=right, count=TEXTS
            ),
        },
        unit="ns/text",
        scale=1e9,
        seconds=seconds,
    )
