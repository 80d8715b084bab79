"""The rows of a file as arrays, block by block: the good ones, and the faults of the others.

Arrow columns become numbers, times, and codes for texts. Nothing here works on one row at a time. A
check returns the mask of the rows whose cell is bad; their values mean nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from numroute_loader.reading.csv_stream import Block, Check, Fault, batch_of, sound_lines
from numroute_loader.reading.description import NumberFormat, RecordLayout, TextColumn

TIME_TYPE = pa.timestamp("s", tz="UTC")
"""The type of a column of times; pyarrow then requires an offset from UTC in each cell."""

ID_TYPE = pa.uint64()
"""The type of a column of order ids."""

TEXT_TYPE = pa.binary()
"""The type of a column of digits or codes: bytes, whatever their encoding."""

COMBINATIONS_MAX = 2**62
"""How many combinations of texts are numbered at once: in one signed integer."""

SECONDS_MAX = 2**32 - 1

TIME_SHAPE = "a time from 1970 to 2106, like 2016-09-07T12:00:17+03:00"

_FREE_TEXT_DELIMITER = "\x01"
"""Stands for the delimiters in lines with a name in free text, which may hold commas."""


def numbers_of(
    column: pa.Array, number_format: NumberFormat
) -> tuple[NDArray[np.uint64], NDArray[np.bool_]]:
    """Return the whole E.164 numbers of a column of ``TEXT_TYPE``, and the mask of bad cells."""
    cells = column.view(pa.string())
    has_width = pc.equal(pc.binary_length(column), number_format.digits)
    good = pc.and_(pc.ascii_is_decimal(cells), has_width)
    if not pc.all(good).as_py():
        cells = pc.if_else(good, cells, "0")
    written = cells.cast(pa.uint64()).to_numpy()
    bad = ~good.to_numpy(zero_copy_only=False)
    bad |= (written < number_format.lowest) | (written > number_format.highest)
    return written + np.uint64(number_format.offset), bad


def seconds_of(column: pa.Array) -> tuple[NDArray[np.uint32], NDArray[np.bool_]]:
    """Return seconds since 1970 UTC, 0 for an empty cell, and the mask of bad cells.

    A cell is bad unless it is a time with an offset, from 1970 to 2106.
    """
    times, bad = _cast(column, TIME_TYPE)
    seconds: NDArray[np.int64] = times.cast(pa.int64()).fill_null(0).to_numpy()
    bad |= (seconds < 0) | (seconds > SECONDS_MAX)
    return seconds.astype(np.uint32), bad


def ids_of(column: pa.Array) -> tuple[NDArray[np.uint64], NDArray[np.bool_]]:
    """Return whole numbers below 2**64, 0 for an empty cell, and the mask of bad cells."""
    ids, bad = _cast(column, ID_TYPE)
    return ids.fill_null(0).to_numpy(), bad


def _cast(column: pa.Array, kind: pa.DataType) -> tuple[pa.Array, NDArray[np.bool_]]:
    """Return the column in another type, null where a cell is empty or bad, and the mask.

    pyarrow does not say which cell it cannot parse, so the column is halved until it shows.
    """
    none = np.zeros(len(column), np.bool_)
    if column.type == kind:
        return column, none
    try:
        filled = pc.if_else(pc.equal(column, b""), pa.scalar(None, TEXT_TYPE), column)
        return filled.cast(pa.string()).cast(kind), none
    except pa.ArrowInvalid:
        if len(column) == 1:
            return pa.nulls(1, kind), ~none
    half = len(column) // 2
    first, first_bad = _cast(column[:half], kind)
    second, second_bad = _cast(column[half:], kind)
    return pa.concat_arrays([first, second]), np.concatenate([first_bad, second_bad])


@dataclass(frozen=True, slots=True, kw_only=True)
class Codes:
    """The distinct texts of a column, or combinations of texts of several columns, in a block.

    ``index``: for each row an index into ``texts``: one tuple of cells per combination.
    """

    index: NDArray[np.int32]
    texts: Sequence[tuple[bytes, ...]]


def codes_of(column: pa.Array) -> Codes:
    """Give each distinct text of a column of ``TEXT_TYPE`` an index."""
    encoded = pc.dictionary_encode(column)
    texts = [(text,) for text in encoded.dictionary.to_pylist()]
    return Codes(index=encoded.indices.to_numpy(), texts=texts)


def combined(columns: Sequence[Codes]) -> Codes:
    """Give each distinct combination of the columns' texts one index.

    The indexes are put together as digits of one integer, so that a row is hashed once.
    """
    sizes = [len(codes.texts) for codes in columns]
    if len(columns) == 1:
        return columns[0]
    if len(columns) > 2 and prod(sizes) > COMBINATIONS_MAX:  # noqa: PLR2004 - two always fit
        return combined([combined(columns[:2]), *columns[2:]])
    together = columns[0].index.astype(np.int64)
    for codes, size in zip(columns[1:], sizes[1:], strict=True):
        together *= size
        together += codes.index
    encoded = pc.dictionary_encode(pa.array(together))
    places = np.unravel_index(encoded.dictionary.to_numpy(), sizes)
    cells = zip(*(place.tolist() for place in places), strict=True)
    texts = [
        tuple(text for codes, at in zip(columns, each, strict=True) for text in codes.texts[at])
        for each in cells
    ]
    return Codes(index=encoded.indices.to_numpy(), texts=texts)


class Rows(NamedTuple):
    """The good rows of a ``block``, and the faults of the others.

    ``columns`` by name: ``number`` and ``last`` are whole E.164 numbers, ``time`` seconds since
    1970 UTC, ``home`` says whether a number is back with its range holder; and ``order_id``.
    ``codes``: those of ``route`` and ``donor``. What a file does not have is missing.
    """

    block: Block
    columns: dict[str, NDArray[Any]]
    codes: dict[str, Codes]
    faults: list[Fault]


class RecordParser:
    """Makes rows of blocks. Keeps nothing of a block, so that threads can share it."""

    def __init__(self, header: Sequence[str], layout: RecordLayout) -> None:
        """Read the layout's columns, wherever the header has them."""
        self._header, self._layout = header, layout
        self._delimiter = _FREE_TEXT_DELIMITER if layout.free_text else ","
        self._numbers = [name for name in ("number", "last") if getattr(layout, name)]
        names = [layout.number, layout.last, *(text.name for text in layout.texts)]
        self._types = dict.fromkeys(filter(None, names), TEXT_TYPE)
        for name, kind in ((layout.time, TIME_TYPE), (layout.order_id, ID_TYPE)):
            if name:
                self._types[name] = kind
        self._good: dict[str, set[bytes]] = {text.name: set() for text in layout.texts}

    def parse(self, block: Block) -> Rows:
        """Return the good rows of a block with the faults of the others, in order."""
        data = self._delimited(block.data) if self._layout.free_text else block.data
        batch = batch_of(data, self._header, self._types, delimiter=self._delimiter)
        if batch is not None:
            columns, codes, checks = self._columns(batch)
            if not any(check.bad.any() for check in checks):
                return Rows(block=block, columns=columns, codes=codes, faults=[])
        sound = sound_lines(data, columns=len(self._header), delimiter=self._delimiter)
        types = dict.fromkeys(self._types, TEXT_TYPE)
        batch = batch_of(sound.data, self._header, types, delimiter=self._delimiter)
        if batch is None:
            raise AssertionError("sound lines of texts can be parsed")
        _, _, checks = self._columns(batch)
        bad = np.zeros(batch.num_rows, np.bool_)
        for check in checks:
            bad |= check.bad
        faults = sound.faults + [
            Fault(int(sound.line[row]), next(check.reason for check in checks if check.bad[row]))
            for row in bad.nonzero()[0].tolist()
        ]
        columns, codes, _ = self._columns(batch.filter(pa.array(~bad)))
        return Rows(block=block, columns=columns, codes=codes, faults=sorted(faults))

    def _delimited(self, data: bytes | bytearray) -> bytes:
        """Replace the delimiters to the left and to the right of the free text."""
        text = np.frombuffer(data, np.uint8).copy()
        comma = np.flatnonzero(text == ord(","))
        end = np.append(np.flatnonzero(text == ord("\n")), len(text))
        after = comma.searchsorted(end)
        before = np.append(0, after[:-1])
        left = self._header.index(self._layout.free_text)
        for place in range(left):
            text[comma[(before + place)[before + place < after]]] = ord(self._delimiter)
        for place in range(1, len(self._header) - left):
            text[comma[(after - place)[after - place >= before]]] = ord(self._delimiter)
        return text.tobytes()

    def _columns(
        self, batch: pa.RecordBatch
    ) -> tuple[dict[str, NDArray[Any]], dict[str, Codes], list[Check]]:
        """Return numbers, times and combinations of codes, and the checks of their columns."""
        layout, checks = self._layout, []
        columns: dict[str, NDArray[Any]] = {}
        codes: dict[str, Codes] = {}

        def add(name: str, found: tuple[NDArray[Any], NDArray[np.bool_]], shape: str) -> None:
            columns[name], bad = found
            checks.append(Check(bad, f"{getattr(layout, name)} is not {shape}"))

        for name in self._numbers:
            column, number_format = getattr(layout, name), layout.number_format
            add(name, numbers_of(batch.column(column), number_format), number_format.shape)
        if layout.last:
            backward = f"{layout.number} is greater than {layout.last}"
            checks.append(Check(columns["number"] > columns["last"], backward))
        texts = {text.name: codes_of(batch.column(text.name)) for text in layout.texts}
        for text in layout.texts:
            checks += self._codes(text, texts[text.name])
        if layout.order_id:
            add("order_id", ids_of(batch.column(layout.order_id)), "a whole number")
        if layout.time:
            add("time", seconds_of(batch.column(layout.time)), TIME_SHAPE)
        if layout.donor:
            codes["donor"] = texts[layout.donor]
        if layout.routes:
            codes["route"] = combined([texts[text.name] for text in layout.routes])
        if layout.routes and layout.range_holder:
            pairs = combined([texts[layout.routes[0].name], texts[layout.range_holder]])
            home = np.array([one == other for one, other in pairs.texts], np.bool_)
            columns["home"] = home[pairs.index]
        return columns, codes, checks

    def _codes(self, text: TextColumn, codes: Codes) -> list[Check]:
        """Check the distinct codes of a column, each once in the file; usually all are known."""
        good = self._good[text.name]
        new = {place: cell for place, (cell,) in enumerate(codes.texts) if cell not in good}
        wrong = [place for place, cell in new.items() if not text.allows(cell)]
        good.update(new[place] for place in new.keys() - set(wrong))
        if not wrong:
            return []
        return [Check(np.isin(codes.index, wrong), f"{text.name} is not {text.shape}")]
