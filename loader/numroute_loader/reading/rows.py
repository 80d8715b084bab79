"""The rows of a file as arrays, block by block: the good ones, and the faults of the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from numroute_loader.reading.columns import (
    ID_TYPE,
    TEXT_TYPE,
    TIME_TYPE,
    Codes,
    codes_of,
    combined,
    ids_of,
    numbers_of,
    seconds_of,
)
from numroute_loader.reading.csv_stream import Block, Check, Fault, batch_of, sound_lines
from numroute_loader.reading.description import RecordLayout, TextColumn

TIME_SHAPE = "a time from 1970 to 2106, like 2016-09-07T12:00:17+03:00"

_FREE_TEXT_DELIMITER = "\x01"
"""Stands for the delimiters in lines with a name in free text, which may hold commas."""


@dataclass(slots=True, kw_only=True)
class Rows:
    """The good rows of a ``block``, and the faults of the others.

    ``columns``: of ``number`` and ``last`` whole E.164 numbers, of ``time`` seconds since 1970 UTC,
    ``order_id``, and of ``home`` whether the number is back with its range holder. ``codes``: of
    ``route`` and ``donor``. What a file does not have is missing.
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
            Fault(
                line=int(sound.line[row]),
                reason=next(check.reason for check in checks if check.bad[row]),
            )
            for row in bad.nonzero()[0].tolist()
        ]
        columns, codes, _ = self._columns(batch.filter(pa.array(~bad)))
        faults.sort(key=lambda fault: fault.line)
        return Rows(block=block, columns=columns, codes=codes, faults=faults)

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

        def add(name: str, found: tuple[NDArray[Any], NDArray[np.bool_]], shape: str) -> None:
            columns[name], bad = found
            checks.append(Check(bad=bad, reason=f"{getattr(layout, name)} is not {shape}"))

        for name in ("number", "last"):
            if column := getattr(layout, name):
                number_format = layout.number_format
                add(name, numbers_of(batch.column(column), number_format), number_format.shape)
        if layout.last:
            backward = f"{layout.number} is greater than {layout.last}"
            checks.append(Check(bad=columns["number"] > columns["last"], reason=backward))
        texts = {text.name: codes_of(batch.column(text.name)) for text in layout.texts}
        for text in layout.texts:
            checks += self._codes(text, texts[text.name])
        if layout.order_id:
            add("order_id", ids_of(batch.column(layout.order_id)), "a whole number")
        if layout.time:
            add("time", seconds_of(batch.column(layout.time)), TIME_SHAPE)
        codes, home = self._combinations(texts)
        return columns | home, codes, checks

    def _combinations(
        self, texts: Mapping[str, Codes]
    ) -> tuple[dict[str, Codes], dict[str, NDArray[np.bool_]]]:
        """Return the combinations of codes that rows name, and which numbers went home."""
        layout, codes = self._layout, {}
        if layout.donor is not None:
            codes["donor"] = texts[layout.donor.name]
        if not layout.routes:
            return codes, {}
        codes["route"] = combined([texts[text.name] for text in layout.routes])
        if layout.range_holder is None:
            return codes, {}
        pairs = combined([texts[layout.routes[0].name], texts[layout.range_holder.name]])
        home = np.array([one == other for one, other in pairs.texts], np.bool_)
        return codes, {"home": home[pairs.index]}

    def _codes(self, text: TextColumn, codes: Codes) -> list[Check]:
        """Check the distinct codes of a column, each once in the file; usually all are known."""
        good = self._good[text.name]
        new = {place: cell for place, (cell,) in enumerate(codes.texts) if cell not in good}
        wrong = [place for place, cell in new.items() if not text.allows(cell)]
        good.update(new[place] for place in new.keys() - set(wrong))
        if not wrong:
            return []
        return [Check(bad=np.isin(codes.index, wrong), reason=f"{text.name} is not {text.shape}")]
