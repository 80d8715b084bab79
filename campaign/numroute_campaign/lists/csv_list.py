"""A CSV list as blocks of whole records.

The text is cut at record ends into blocks, which threads parse side by side; only the columns that
are needed are made. The sample that the layout is judged by goes through the same functions. Damage
stays within its record: one with too many or too few cells, or with a quote that nothing closes, is
set aside.

The lines of the text are counted as it is read, before it is parsed: at the end the records must
account for each of them.
"""

from __future__ import annotations

import codecs
import re
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from numroute.errors import InputError, SettingError
from numroute_campaign.lists import Block, ListReader, ReadOptions
from numroute_campaign.lists.cells import is_empty
from numroute_campaign.lists.files import (
    UTF_8,
    ByteSource,
    ListFile,
    check_encoding,
    check_start,
    detect_encoding,
)
from numroute_campaign.lists.layout import (
    TOTAL_ROWS_MAX,
    find_phone_header,
    find_totals,
    is_total,
    read_layout,
)
from numroute_campaign.lists.records import (
    Records,
    cells_of,
    cut_records,
    last_record_end,
    read_columns,
    sample_cells,
)
from numroute_campaign.vocabulary import Reject

BLOCK_BYTES: Final = 8 * 2**20
"""How much text is parsed at once; no record of a list is longer."""

SAMPLE_BYTES: Final = 2**20

DELIMITERS: Final = (",", ";", "\t", "|")

_ALIKE_SHARE: Final = 0.8
"""From this share of records with the same number of cells on, a character is the delimiter."""

_TITLES_MAX: Final = 10
_END_BYTES: Final = 65_536
_LINE_END: Final = ord("\n")
_SHORT_CELL: Final = 4
"""Only shorter phone cells are looked at for blank rows."""
_SAMPLE_LINES: Final = 1500
_DOS_END: Final = b"\x1a"
"""Ctrl-Z, with which programs of DOS end a text."""

_STATEMENT: Final = re.compile(rb'"?sep=(.)"?\r*\n', re.IGNORECASE)
"""Excel's first line that states the delimiter."""


class CsvText(ListReader):
    """The UTF-8 text of a file: its layout first, then its blocks."""

    def __init__(self, file: ListFile, options: ReadOptions) -> None:
        """Read the sample and judge the layout; what the options say is not judged."""
        delimiter, encoding = options.delimiter, options.encoding
        if delimiter in {"tab", "\\t"}:
            delimiter = "\t"
        if delimiter is not None and (len(delimiter.encode()) != 1 or delimiter in '"\r\n'):
            raise SettingError(
                f"the delimiter {delimiter!r} is not one ASCII character, or a quote",
                hint=f"Give e.g. {options.option}delimiter ';' or {options.option}delimiter tab",
            )
        self.file, self.options = file, options
        self._source = ByteSource(file)
        raw = b""
        while len(raw) < SAMPLE_BYTES and (piece := self._source.read(SAMPLE_BYTES - len(raw))):
            raw += piece
        check_start(raw[:4096], file.name)
        self.encoding = (
            check_encoding(encoding)
            if encoding
            else detect_encoding(raw, file.name, options.region)
        )
        self._decoder = (
            None
            if self.encoding == UTF_8
            else codecs.getincrementaldecoder(self.encoding)(errors="replace")
        )
        text = self._decoded(raw)
        while text.startswith(codecs.BOM_UTF8):
            text = text.removeprefix(codecs.BOM_UTF8)
        if not text.strip():
            raise self._empty()
        check_start(text[:4096].lstrip(), file.name)
        self._ends_with_return = b"\n" not in text and b"\r" in text
        self.lines_read, self._ends_open = 0, False
        self._rest = self._counted(text)
        self._judge(delimiter)

    def _judge(self, delimiter: str | None) -> None:
        statement = _STATEMENT.match(self._rest)
        skipped = 0 if statement is None else 1
        lines = self._rest.rstrip(_DOS_END).split(b"\n", skipped + _SAMPLE_LINES)
        is_cut = len(lines) > skipped + _SAMPLE_LINES or len(self._rest) >= SAMPLE_BYTES // 2
        if is_cut and len(lines) > skipped + 1:
            lines[-1] = b""
        sample = b"\n".join(lines[skipped:])
        if delimiter is None and statement is not None:
            delimiter = statement[1].decode(errors="replace")
        self.delimiter = delimiter or _delimiter(sample, self.options.region)
        records = cut_records(sample, self.delimiter, None)
        cells = sample_cells(records, self.delimiter)
        if not any(any(map(str.strip, row)) for row in cells):
            raise self._empty()
        layout = read_layout(cells, self.options)
        self.columns, self.sample = layout.columns, layout.sample
        self.has_header, self.warnings = layout.has_header, layout.warnings
        self._width = layout.width
        self.lines_skipped = skipped + sum(records.lines[: layout.first])
        at = 0
        for _ in range(self.lines_skipped):
            at = self._rest.find(b"\n", at) + 1 or len(self._rest)
        self._rest = self._rest[at:]

    @property
    def bytes_done(self) -> int:  # type: ignore[override] # counted where the bytes are read
        """How many bytes of the file have been read."""
        return self._source.bytes_done

    def tasks(self) -> Iterator[Callable[[], Block]]:
        """Yield a task for each piece of the text behind the header."""
        ended = False
        while not ended:
            data = self._rest
            # Text stays behind each block but the last: rows of totals are looked for there.
            while len(data) <= BLOCK_BYTES and not ended:
                piece = self._read(BLOCK_BYTES + 1 - len(data))
                ended = piece is None
                data += piece or b""
            if ended:
                data = data.rstrip(_DOS_END)
                cut = len(data)
            else:
                cut = last_record_end(data, BLOCK_BYTES, self.delimiter, self._width)
                if not cut:
                    raise InputError(
                        self.file.name,
                        f"a record is longer than {BLOCK_BYTES >> 20} MiB",
                        hint="Its line ends are lost, or a quote is not closed",
                    )
            self._rest = data[cut:]
            if cut:
                yield partial(self._parse, data[:cut], is_last=ended)

    def check_lines(self, parsed: int) -> None:
        """Check that the records account for every line; lines are counted before parsing."""
        read = self.lines_read + self._ends_open
        if self.lines_skipped + parsed != read:
            raise InputError(
                self.file.name,
                f"it has {read:,} lines, of which {self.lines_skipped + parsed:,} were parsed",
                hint="This is a fault of numroute: report it. Export the list in another form",
            )

    def close(self) -> None:
        """Close the file."""
        self._source.close()

    def _read(self, count: int) -> bytes | None:
        """Return the next piece of text, None at the end."""
        raw = self._source.read(count)
        text = self._counted(self._decoded(raw))
        return text if raw or text else None

    def _decoded(self, raw: bytes) -> bytes:
        if self._decoder is None:
            return raw
        return self._decoder.decode(raw, final=not raw).encode(errors="replace")

    def _counted(self, text: bytes) -> bytes:
        """Count the lines of a piece of the text, and return it with line feeds as line ends."""
        if self._ends_with_return:
            text = text.replace(b"\r", b"\n")
        self.lines_read += _line_ends(text)
        if visible := text.rstrip(_DOS_END):
            self._ends_open = not visible.endswith(b"\n")
        return text

    def _parse(self, data: bytes, *, is_last: bool) -> Block:
        """Return the columns of a piece of the text; on any thread."""
        try:
            count = _line_ends(data) + (not data.endswith(b"\n"))
            if b"\r" not in data or data.count(b"\r") == data.count(b"\r\n"):
                table, _ = read_columns(data, self.delimiter, self._width, self.needed)
                # Each line is a record where no quote holds a line end.
                if table.num_rows == count and not (is_last and _may_end_with_total(data)):
                    columns = self._columns(table)
                    blank = self._blank_lines(data, columns[self.phones[0]])
                    return self.block(columns, np.zeros(count, np.uint8), lines=count, blank=blank)
            records = cut_records(data, self.delimiter, self._width)
            return self._settle(records, count, is_last=is_last)
        except pa.ArrowException:
            raise self._not_csv() from None

    def _settle(self, records: Records, lines: int, *, is_last: bool) -> Block:
        """Return the columns of records of which some are damaged, or the last ones."""
        texts, total = records.texts, len(records.lines)
        table, ragged = self._table(texts)
        for place, width in ragged:
            texts[place] = self._mended(texts[place], width)
        if ragged:
            table, ragged = self._table(texts)
        if sum(records.lines) != lines or table.num_rows + len(ragged) != len(texts):
            raise AssertionError("the records were not counted right")
        cells = (cells_of(text, self.delimiter) for text in reversed(texts))
        totals = find_totals(cells, self.options.region) if is_last else []
        unbroken = np.delete(np.arange(total), records.broken)
        damage = np.zeros(total, np.uint8)
        damage[records.broken] = Reject.BROKEN_QUOTES
        damage[unbroken[[place for place, _ in ragged]]] = Reject.RAGGED_ROW
        in_table = np.flatnonzero(damage == 0)
        damage[unbroken[[len(texts) - 1 - place for place in totals]]] = Reject.TOTAL_ROW
        if totals:
            table = table.take(pa.array(np.flatnonzero(damage[in_table] == 0)))
        blank = sum(map(self._is_blank, texts))
        return self.block(self._columns(table), damage, lines=lines, blank=blank)

    def _table(self, texts: list[bytes]) -> tuple[pa.Table, list[tuple[int, int]]]:
        data = b"\n".join([*texts, b""])
        return read_columns(data, self.delimiter, self._width, self.needed)

    def _mended(self, text: bytes, width: int) -> bytes:
        """Return a record of the right width where it only has empty cells too many or too few."""
        mark = self.delimiter.encode()
        if self._is_blank(text):
            return mark * (self._width - 1)
        if width > self._width:
            return text.removesuffix(mark * (width - self._width))
        return text + mark * (self._width - width) if width > min(self.phones) else text

    def _blank_lines(self, data: bytes, phones: pa.Array) -> int:
        """Return how many lines have no content; ``phones`` has a cell per line of the text."""
        short = np.flatnonzero(pc.binary_length(phones).to_numpy() < _SHORT_CELL)
        empty = short[is_empty(phones.take(pa.array(short)))] if len(short) else short
        if not len(empty):
            return 0
        ends = np.flatnonzero(np.frombuffer(data, np.uint8) == _LINE_END)
        ends = np.concatenate([[-1], ends, [len(data)]])
        bounds = zip((ends.take(empty) + 1).tolist(), ends.take(empty + 1).tolist(), strict=True)
        return sum(self._is_blank(data[begin:end]) for begin, end in bounds)

    def _is_blank(self, text: bytes) -> bool:
        """Whether a record has no content."""
        return not text.strip(self.delimiter.encode() + b' \t\r\n"')

    def _columns(self, table: pa.Table) -> dict[int, pa.Array]:
        return {place: _text(table[str(place)].combine_chunks()) for place in self.needed}

    def _not_csv(self) -> InputError:
        """Return the error to raise in place of pyarrow's, which would quote cells."""
        return InputError(
            self.file.name,
            "it cannot be parsed as CSV",
            hint=f"Check {self.options.option}delimiter and {self.options.option}encoding",
        )

    def _empty(self) -> InputError:
        return InputError(self.file.name, "the list is empty", hint="Export the list again")


def _delimiter(sample: bytes, region: str | None) -> str:
    """Return the delimiter that cuts most records into equally many cells, more than one.

    One by which a header with a phone column is found wins.
    """
    best, best_score = DELIMITERS[0], (False, 0.0, 0, 0)
    for delimiter in DELIMITERS:
        if delimiter.encode() not in sample:
            continue
        rows = sample_cells(cut_records(sample, delimiter, None), delimiter)
        filled = [row for row in rows if any(map(str.strip, row))]
        while filled and len(filled[0]) == 1 and len(rows) - len(filled) < _TITLES_MAX:
            filled = filled[1:]  # a title above the table
        widths = Counter(map(len, filled))
        if not widths:
            continue
        width, count = widths.most_common(1)[0]
        share = count / widths.total()
        stripped = [[cell.strip() for cell in row] for row in rows]
        header = find_phone_header(stripped, region)
        is_named = header is not None and len(stripped[header]) > 1
        score = (is_named, share, count, width)
        if width > 1 and (share >= _ALIKE_SHARE or is_named) and score > best_score:
            best, best_score = delimiter, score
    return best


def _line_ends(text: bytes) -> int:
    """Return how many line ends a text has; five times as fast as ``bytes.count``."""
    return int(np.count_nonzero(np.frombuffer(text, np.uint8) == _LINE_END))


def _may_end_with_total(data: bytes) -> bool:
    """Whether a row of totals is among the last lines."""
    texts = [line.strip(b' \t\r",;|') for line in data[-_END_BYTES:].split(b"\n")]
    last = [text for text in texts if text][-TOTAL_ROWS_MAX:]
    return any(is_total(text.decode(errors="replace")) for text in last)


def _text(column: pa.Array) -> pa.Array:
    """Return bytes as text; invalid UTF-8 becomes U+FFFD."""
    try:
        return column.cast(pa.string())
    except pa.ArrowInvalid:
        texts = [cell.decode(errors="replace") for cell in column.to_pylist()]
        return pa.array(texts, pa.string())
