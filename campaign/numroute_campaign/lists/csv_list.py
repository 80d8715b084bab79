"""A CSV list as blocks of whole records.

The text is cut at record ends into blocks, which threads parse side by side; only the columns that
are needed are made. A record is a line unless a quoted cell holds line ends. Damage stays within
its record: one with too many or too few cells, or with a quote that nothing closes, is set aside.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
from pyarrow import csv

from numroute.errors import InputError
from numroute_campaign.decisions import Reject
from numroute_campaign.lists.block import Block
from numroute_campaign.lists.layout import read_layout
from numroute_campaign.lists.segments import segment_counts
from numroute_campaign.lists.sources import ByteSource
from numroute_campaign.lists.text_encoding import UTF_8, check_encoding, detect_encoding

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from numroute_campaign.lists.layout import Layout
    from numroute_campaign.lists.sources import ListFile

BLOCK_BYTES: Final = 8 * 2**20
SAMPLE_BYTES: Final = 2**20
RECORD_BYTES_MAX: Final = 64 * 2**20
"""The longest record that is read: far beyond any list, short of what memory must hold."""

CELL_LINES_MAX: Final = 1000
"""A quoted cell of more lines is taken for a quote that is not closed."""

_QUOTE: Final = b'"'
_BYTE_ORDER_MARK: Final = codecs.BOM_UTF8
_CUTS_TRIED_MAX: Final = 1000
_LINE_END: Final = re.compile(rb"\r{0,2}\n|\r")
"""Of Windows, of Unix, of the old Macintosh, and one of Windows that was translated twice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lines:
    """Whole records as text. ``end`` is the byte of the unpacked UTF-8 text behind them."""

    data: bytes
    end: int


class CsvText:
    """The UTF-8 text of a file: its sample first, then its blocks from any earlier position."""

    def __init__(self, file: ListFile, encoding: str | None) -> None:
        """Read the sample. Raises InputError when the text cannot be read or is empty."""
        self.file = file
        self._source = ByteSource(file)
        raw = self._source.read(SAMPLE_BYTES)
        if not raw.strip():
            raise InputError(file.name, "the list is empty", hint="Export the list again")
        self.encoding = check_encoding(encoding) if encoding else detect_encoding(raw, file.name)
        self._decoder = (
            None
            if self.encoding == UTF_8
            else codecs.getincrementaldecoder(self.encoding)(errors="replace")
        )
        self._rest = self._decoded(raw).removeprefix(_BYTE_ORDER_MARK).lstrip(b"\r\n")
        self._position = 0

    @property
    def bytes_done(self) -> int:
        """How many bytes of the file have been read."""
        return self._source.bytes_done

    def sample(self) -> str:
        """Return the first whole lines."""
        cut = self._rest.rfind(b"\n") + 1
        text = self._rest if len(self._rest) < SAMPLE_BYTES // 2 or not cut else self._rest[:cut]
        return text.decode(errors="replace")

    def skip_record(self) -> None:
        """Pass over the header."""
        block = next(self.blocks(first_bytes=SAMPLE_BYTES), None)
        if block is None:
            return
        cut = len(block.data)
        quotes = at = 0
        for end in _LINE_END.finditer(block.data):
            quotes += block.data.count(_QUOTE, at, end.start())
            at = end.end()
            if quotes % 2 == 0:
                cut = at
                break
        self._rest = block.data[cut:] + self._rest
        self._position = block.end - len(block.data) + cut

    def blocks(self, first_bytes: int = BLOCK_BYTES) -> Iterator[Lines]:
        """Yield the text from the current position on, block by block."""
        while True:
            data, wanted = self._rest, first_bytes
            ended = False
            while True:
                if len(data) < wanted:
                    piece = self._source.read(wanted - len(data))
                    ended = not piece
                    data += self._decoded(piece)
                    if not ended:
                        continue
                cut = len(data) if ended else _cut(data, wanted)
                if cut or ended:
                    break
                if wanted > RECORD_BYTES_MAX:
                    raise InputError(
                        self.file.name,
                        f"a record is longer than {RECORD_BYTES_MAX >> 20} MiB",
                        hint="Its line ends are lost, or a quote is not closed",
                    )
                wanted *= 2
            self._rest = data[cut:]
            self._position += cut
            if cut:
                yield Lines(data=data[:cut], end=self._position)
            if ended:
                return
            first_bytes = BLOCK_BYTES

    def close(self) -> None:
        """Close the file."""
        self._source.close()

    def _decoded(self, raw: bytes) -> bytes:
        if self._decoder is None:
            return raw
        return self._decoder.decode(raw, final=not raw).encode()


def layout_of(
    text: CsvText,
    *,
    region: str | None,
    delimiter: str | None,
    has_header: bool | None,
    named: Sequence[str],
) -> Layout:
    """Judge the layout of a text by its sample."""
    return read_layout(
        text.sample(),
        text.file.name,
        region=region,
        delimiter=delimiter,
        has_header=has_header,
        named=named,
        encoding=text.encoding,
    )


def _cut(data: bytes, size: int) -> int:
    """Return where the last whole record within the first bytes ends; 0 when none does.

    A line end within quotes ends no record: the last one with an even number of quotes before it
    does. Where stray quotes leave none nearby, the last line end is taken.
    """
    last = cut = data.rfind(b"\n", 0, size) + 1
    quotes = data.count(_QUOTE, 0, cut)
    for _ in range(_CUTS_TRIED_MAX):
        if cut == 0 or quotes % 2 == 0:
            return cut
        quote = data.rfind(_QUOTE, 0, cut)
        earlier = data.rfind(b"\n", 0, quote) + 1
        quotes -= data.count(_QUOTE, earlier, cut)
        cut = earlier
    return last


class CsvParser:
    """Makes columns of blocks; used by several threads at once."""

    def __init__(
        self, name: str, layout: Layout, phone: int, kept: Sequence[int], segments: int | None
    ) -> None:
        """Say which columns, by place, are needed; ``name`` is the file's, for messages."""
        self._name = name
        self._delimiter = layout.delimiter
        self._width = len(layout.columns)
        self._phone, self._kept, self._segments = phone, tuple(kept), segments
        self._names = [str(i) for i in range(self._width)]
        needed = dict.fromkeys([phone, *kept, *([] if segments is None else [segments])])
        self._convert = csv.ConvertOptions(
            include_columns=[str(i) for i in needed],
            column_types={str(i): pa.string() for i in needed},
            check_utf8=False,
            null_values=[],
            strings_can_be_null=False,
        )

    def parse(self, lines: Lines) -> Block:
        """Return the columns of a block."""
        data = lines.data
        records = data.count(b"\n") + (not data.endswith(b"\n"))
        table, ragged = self._table(data)
        broken = np.empty(0, np.int64)
        if table.num_rows + len(ragged) != records:
            if b"\r" in data:
                data = re.sub(rb"\r(?!\n)", b"\n" if b"\n" not in data else b" ", data)
            data, broken, records = self._mended(data)
            table, ragged = self._table(data)
        if not len(broken) and not len(ragged):
            return self._block(table, records)
        whole = np.ones(records, np.bool_)
        whole[broken] = False
        unbroken = np.flatnonzero(whole)
        if table.num_rows + len(ragged) != len(unbroken):
            raise AssertionError("the records were not counted right")
        ragged_at = unbroken[ragged]
        whole[ragged_at] = False
        damaged = np.concatenate([broken, ragged_at])
        damage = np.full(len(damaged), Reject.RAGGED_ROW, np.uint8)
        damage[: len(broken)] = Reject.BROKEN_QUOTES
        return self._block(
            table, records, record=np.flatnonzero(whole), damaged=damaged, damage=damage
        )

    def _block(
        self,
        table: pa.Table,
        records: int,
        *,
        record: NDArray[np.int64] | None = None,
        damaged: NDArray[np.int64] | None = None,
        damage: NDArray[np.uint8] | None = None,
    ) -> Block:
        columns = {name: _one_array(table[name]) for name in table.column_names}
        return Block(
            records=records,
            phone=columns[str(self._phone)],
            kept=tuple(_valid_text(columns[str(i)]) for i in self._kept),
            segments=None
            if self._segments is None
            else segment_counts(columns[str(self._segments)]),
            record=record,
            damaged=np.empty(0, np.int64) if damaged is None else damaged,
            damage=np.empty(0, np.uint8) if damage is None else damage,
        )

    def _table(self, data: bytes) -> tuple[pa.Table, NDArray[np.int64]]:
        """Return the needed columns, and the places of the records with another width."""
        ragged: list[int] = []

        def set_aside(row: csv.InvalidRow) -> str:
            ragged.append(row.number - 1)
            return "skip"

        if not data:
            empty = {name: pa.array([], pa.string()) for name in self._convert.include_columns}
            return pa.table(empty), np.empty(0, np.int64)
        try:
            table = csv.read_csv(
                pa.BufferReader(data),
                read_options=csv.ReadOptions(
                    column_names=self._names, block_size=len(data) + 1, use_threads=False
                ),
                parse_options=csv.ParseOptions(
                    delimiter=self._delimiter,
                    newlines_in_values=True,
                    ignore_empty_lines=False,
                    invalid_row_handler=set_aside,
                ),
                convert_options=self._convert,
            )
        except pa.ArrowException:
            # Its own message quotes cells, and cells hold people's numbers.
            raise InputError(
                self._name, "it cannot be parsed as CSV", hint="Check --delimiter and --encoding"
            ) from None
        return table, np.array(ragged, np.int64)

    def _mended(self, data: bytes) -> tuple[bytes, NDArray[np.int64], int]:
        """Take the records with an unclosed quote out of a block.

        Returns the rest, the places of what was taken out, and the number of records.
        """
        lines = data.split(b"\n")
        if lines[-1] == b"":
            lines.pop()
        kept: list[bytes] = []
        broken: list[int] = []
        at = record = 0
        while at < len(lines):
            line = lines[at]
            closing: int | None = at + 1
            if _QUOTE in line and _is_open(line, self._delimiter):
                closing = self._closing(lines, at)
            if closing is None:
                broken.append(record)
                closing = at + 1
            else:
                kept.append(b"\n".join(lines[at:closing]))
            at, record = closing, record + 1
        kept.append(b"")
        return b"\n".join(kept), np.array(broken, np.int64), record

    def _closing(self, lines: list[bytes], first: int) -> int | None:
        """Return the line behind the record that begins on a line, None when nothing closes it.

        A line inside that looks like a record of its own says that the quote was a slip: the
        records behind it are not lost with it.
        """
        text = lines[first]
        for at in range(first + 1, min(first + CELL_LINES_MAX, len(lines))):
            line = lines[at]
            text += b"\n" + line
            if not _is_open(text, self._delimiter):
                return at + 1
            if self._looks_whole(line):
                return None
        return None

    def _looks_whole(self, line: bytes) -> bool:
        return line.count(self._delimiter.encode()) == self._width - 1 and not _is_open(
            line, self._delimiter
        )


def _is_open(record: bytes, delimiter: str) -> bool:
    """Whether a quoted cell of the record is not closed."""
    return _QUOTE in record and _closed_record(delimiter).fullmatch(record) is None


def _closed_record(delimiter: str) -> re.Pattern[bytes]:
    """Return what a record matches whose quotes are closed.

    As pyarrow reads it: a quote opens a cell only at its beginning, and behind the closing quote
    anything may follow.
    """
    behind = b"[^" + re.escape(delimiter.encode()) + b"]*+"
    cell = b'(?:"(?:[^"]++|"")*+"' + behind + b'|(?!")' + behind + b")"
    return re.compile(cell + b"(?:" + re.escape(delimiter.encode()) + cell + b")*+", re.DOTALL)


def _one_array(column: pa.ChunkedArray) -> pa.Array:
    if column.num_chunks == 1:
        return column.chunk(0)
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)


def _valid_text(column: pa.Array) -> pa.Array:
    """Return a column whose bytes are UTF-8: what is none becomes U+FFFD, as Unicode advises."""
    raw = column.cast(pa.binary())
    try:
        return raw.cast(pa.string())
    except pa.ArrowInvalid:
        texts = [cell.decode(errors="replace") for cell in raw.to_pylist()]
        return pa.array(texts, pa.string())
