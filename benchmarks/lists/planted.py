"""A made-up campaign list in which everything is planted, so that every count is known.

Numbers are drawn from ranges without repetition, written in ten everyday formats, mixed with texts
that are not numbers and with duplicates in another format, and put beside made-up names.
Nothing is done per row in Python: ten million rows take some seconds.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
from numpy.typing import NDArray

PHONE: Final = "phone"

DUPLICATE_SHARE: Final = 0.08
REJECT_SHARE: Final = 0.02

_FORMATS: Final = (
    ("+7", "", "", "", ""),
    ("7", "", "", "", ""),
    ("8", "", "", "", ""),
    ("8 (", ") ", "-", "-", ""),
    ("+7 (", ") ", "-", "-", ""),
    ("+7 ", " ", "-", "-", ""),
    ("8-", "-", "-", "-", ""),
    ("", "", "", "", ""),
    ("8 ", " ", " ", " ", ""),
    ("tel:+7", "", "", "", ""),
)
"""What stands before the code, and between and behind the groups of 3, 3, 2 and 2 digits."""

_BAD: Final = {
    "NOT_A_NUMBER": "нет телефона",
    "EMPTY": "",
    "TOO_SHORT": "123-45-67",
    "TOO_LONG": "+7 916 123-45-67-89-012",
    "UNKNOWN_COUNTRY": "+999 12 345 678",
}
"""What a text is rejected for, and such a text; read with the default region RU."""

_NAMES: Final = ("Анна Иванова", "Пётр Сидоров", "Мария Кузнецова", "Олег Попов", "Ян Ли")
_CITIES: Final = ("Москва", "Казань", "Омск", "Екатеринбург", "Тула")
_COMMENTS: Final = ("", "vip", 'звонить "утром"', "новый, скидка 5%", "повторно")


@dataclass(frozen=True, slots=True, kw_only=True)
class Planted:
    """A list and what it must give.

    ``table``: the list, its numbers in column ``PHONE``. ``numbers``: uint64[n], what each row's
    text says; 0 where it is not a number. ``is_first``: bool[n], whether the number occurs for the
    first time. ``rejects``: how many rows per reason.
    """

    table: pa.Table
    numbers: NDArray[np.uint64]
    is_first: NDArray[np.bool_]
    rejects: dict[str, int]

    @property
    def duplicates(self) -> int:
        """How many rows repeat a number."""
        return int(np.count_nonzero(self.numbers)) - int(np.count_nonzero(self.is_first))


def make_list(rows: int, ranges: NDArray[np.uint64], seed: int = 1) -> Planted:
    """Make a list of this many rows.

    Args:
        rows: at least 100.
        ranges: uint64[k, 2], the first and the last whole number (eleven digits, country code
            7) of each range that numbers are drawn from.
        seed: the same seed gives the same list.
    """
    rng = np.random.default_rng(seed)
    bad = int(rows * REJECT_SHARE)
    duplicates = int(rows * DUPLICATE_SHARE)
    unique = _distinct(rng, ranges, rows - bad - duplicates)
    numbers = np.concatenate([unique, rng.choice(unique, duplicates), np.zeros(bad, np.uint64)])
    order = rng.permutation(rows)
    numbers = numbers[order]
    kinds = rng.integers(0, len(_BAD), rows)
    style = rng.integers(0, len(_FORMATS), rows)
    is_first = np.zeros(rows, np.bool_)
    is_first[np.unique(numbers, return_index=True)[1]] = True
    is_first &= numbers != 0
    counts = np.bincount(kinds[numbers == 0], minlength=len(_BAD))
    return Planted(
        table=_table(rng, numbers, kinds, style),
        numbers=numbers,
        is_first=is_first,
        rejects=dict(zip(_BAD, counts.tolist(), strict=True)),
    )


def _distinct(
    rng: np.random.Generator, ranges: NDArray[np.uint64], count: int
) -> NDArray[np.uint64]:
    """Return this many different numbers of the ranges, in random order."""
    sizes = (ranges[:, 1] - ranges[:, 0] + 1).astype(np.int64)
    ends = np.cumsum(sizes)
    # Drawing a tenth more, with repetition, and then once more if need be, is cheap and exact.
    places = np.empty(0, np.int64)
    while len(places) < count:
        more = rng.integers(0, ends[-1], int((count - len(places)) * 1.1) + 100)
        places = np.unique(np.concatenate([places, more]))
    places = rng.permutation(places)[:count]
    piece = np.searchsorted(ends, places, side="right")
    first: NDArray[np.uint64] = ranges[piece, 0]
    return first + (places - (ends[piece] - sizes[piece])).astype(np.uint64)


def _table(
    rng: np.random.Generator,
    numbers: NDArray[np.uint64],
    kinds: NDArray[np.int64],
    style: NDArray[np.int64],
) -> pa.Table:
    rows = len(numbers)
    digits = pc.cast(pa.array(numbers), pa.string())
    groups = [pc.utf8_slice_codeunits(digits, a, b) for a, b in ((1, 4), (4, 7), (7, 9), (9, 11))]
    pieces: list[pa.Array] = []
    for part in range(5):
        words = pa.array([each[part] for each in _FORMATS])
        pieces.append(words.take(pa.array(style)))
        if part < len(groups):
            pieces.append(groups[part])
    written = pc.binary_join_element_wise(*pieces, "")
    broken = pa.array(list(_BAD.values())).take(pa.array(kinds))
    phone = pc.if_else(pa.array(numbers == 0), broken, written)

    def some(words: tuple[str, ...]) -> pa.Array:
        return pa.array(words).take(pa.array(rng.integers(0, len(words), rows)))

    return pa.table(
        {
            "client": pa.array(np.arange(1, rows + 1)),
            "name": some(_NAMES),
            PHONE: phone,
            "city": some(_CITIES),
            "amount": pa.array(rng.integers(100, 99_999, rows)),
            "comment": some(_COMMENTS),
        }
    )


def write_list(planted: Planted, path: Path) -> Path:
    """Write a list as ``.csv`` or ``.parquet``, private (0600)."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor
        if path.suffix == ".parquet":
            pq.write_table(planted.table, file, row_group_size=1 << 18)
        else:
            pa_csv.write_csv(
                planted.table, file, write_options=pa_csv.WriteOptions(quoting_style="needed")
            )
    return path
