"""A CSV list as blocks of whole records.

The text is cut at record ends into blocks, which threads parse side by side; only the columns that
are needed are made. The sample that the layout is judged by is cut by the same functions. As
pyarrow reads it, a quote opens a cell only at the cell's beginning, and behind the closing quote
anything may follow. Damage stays within its record: one with too many or too few cells, or with a
quote that nothing closes, is set aside.

The lines of the text are counted as it is read, before it is parsed: at the end the records must
account for each of them.
"""

from __future__ import annotations

import codecs
import contextlib
import functools
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from numroute.errors import InputError, SettingError
from numroute_campaign.lists import Block, ListReader
from numroute_campaign.lists.cells import SAMPLE_ROWS, decoded, is_equal
from numroute_campaign.lists.columns import find_phone_header, find_totals, read_layout
from numroute_campaign.lists.files import (
    UTF_8,
    ListFile,
    ReadOptions,
    check_encoding,
    check_start,
    detect_encoding,
)
from numroute_campaign.vocabulary import Reject

BLOCK_BYTES: Final = 8 * 2**20
"""How much text is parsed at once; no record of a list is longer."""

CELL_LINES_MAX: Final = 1000
"""A quoted cell of more lines is taken for a quote that is not closed."""

_SAMPLE_BYTES: Final = 2**20
_SAMPLE_LINES: Final = 1500
_START_BYTES: Final = 4096
_END_BYTES: Final = 65_536

DELIMITERS: Final = (",", ";", "\t", "|")

_ALIKE_SHARE: Final = 0.8
"""From this share of records with the same number of cells on, a character is the delimiter."""

_TITLES_MAX: Final = 10
_QUOTE: Final = b'"'
_LINE_END: Final = ord("\n")
_LONELY_RETURN: Final = re.compile(rb"\r(?!\n)")
_DOS_END: Final = b"\x1a"
"""Ctrl-Z, with which programs of DOS end a text."""

_SHORT_CELL: Final = 4
"""Only shorter phone cells are looked at for blank rows."""

_STATEMENT: Final = re.compile(rb'"?sep=(.)"?\r*\n', re.IGNORECASE)
"""Excel's first line that states the delimiter."""

_Odd = list[tuple[int, int]]
"""Places and widths of records that have more or fewer cells than the others."""


class CsvText(ListReader):
    """The text of a file, as UTF-8: its layout first, then its blocks."""

    def __init__(self, file: ListFile, options: ReadOptions) -> None:
        """Read the sample and judge the layout; what the options say is not judged."""
        super().__init__(file, options)
        delimiter = "\t" if options.delimiter in {"tab", "\\t"} else options.delimiter
        if delimiter is not None and (len(delimiter.encode()) != 1 or delimiter in '"\r\n'):
            raise SettingError(
                f"the delimiter {delimiter!r} is not one ASCII character, or a quote",
                hint=f"Give e.g. {options.option}delimiter ';' or {options.option}delimiter tab",
            )
        self._file = (
            pa.PythonFile(sys.stdin.buffer)
            if file.path is None
            else self.resources.enter_context(pa.OSFile(str(file.path)))
        )
        packed = file.compression
        self._bytes = pa.CompressedInputStream(self._file, packed) if packed else self._file
        raw = self._raw(_SAMPLE_BYTES)
        check_start(raw[:_START_BYTES], file.name)
        self.encoding = (
            check_encoding(options.encoding)
            if options.encoding
            else detect_encoding(raw, file.name, options.region)
        )
        self._decoder = codecs.getincrementaldecoder(self.encoding)(errors="replace")
        text = self._decoded(raw)
        while text.startswith(codecs.BOM_UTF8):
            text = text.removeprefix(codecs.BOM_UTF8)
        check_start(text[:_START_BYTES].lstrip(), file.name)
        self._ends_with_return = b"\n" not in text and b"\r" in text
        self._rest, self._has_ended, self.lines_read = b"", False, 0
        self._take(text)
        self._read(_SAMPLE_BYTES)
        self._judge(delimiter)

    def _judge(self, delimiter: str | None) -> None:
        statement = _STATEMENT.match(self._rest)
        skipped = 0 if statement is None else 1
        if delimiter is None and statement is not None:
            delimiter = statement[1].decode(errors="replace")
        sample = self._rest if self._has_ended else self._rest[: self._rest.rfind(b"\n")]
        sample = b"\n".join(sample.split(b"\n", skipped + _SAMPLE_LINES)[skipped:][:_SAMPLE_LINES])
        self.delimiter = delimiter or _delimiter(sample, self.options.region)
        records = cut_records(sample, self.delimiter)
        rows = _sample_rows(records, self.delimiter)
        if not any(map(any, rows)):
            raise InputError(self.file.name, "the list is empty", hint="Export the list again")
        layout = read_layout(rows, self.options)
        self.take_layout(layout)
        self._width = layout.width
        self.lines_skipped = skipped + sum(lines for _, lines in records[: layout.first])
        self._rest = self._rest.split(b"\n", self.lines_skipped)[-1]

    def tasks(self) -> Iterator[Callable[[], Block]]:
        """Yield a task for each piece of the text behind the header."""
        is_last = False
        while not is_last:
            # Rows of totals are looked for in the last block: a small one, as that takes time.
            self._read(BLOCK_BYTES)
            data = self._rest
            size = min(BLOCK_BYTES, len(data) - (_END_BYTES if self._has_ended else 0))
            cut = last_record_end(data, max(size, 0), self.delimiter, self._width)
            if not cut:
                is_last, cut = self._has_ended, len(data)
                if not is_last:
                    raise InputError(
                        self.file.name,
                        f"a record is longer than {BLOCK_BYTES >> 20} MiB",
                        hint="Its line ends are lost, or a quote is not closed",
                    )
            self._rest = data[cut:]
            if cut:
                yield functools.partial(self._parse, data[:cut], is_last=is_last)

    def check_lines(self, parsed: int) -> None:
        """Check that the records account for every line; lines are counted before parsing."""
        if self.lines_skipped + parsed != self.lines_read:
            raise InputError(
                self.file.name,
                f"it has {self.lines_read:,} lines, of which {self.lines_skipped + parsed:,} were "
                "parsed",
                hint="This is a fault of numroute: report it. Export the list in another form",
            )

    def _raw(self, count: int) -> bytes:
        """Return the next unpacked bytes, none at the end."""
        try:
            data: bytes = self._bytes.read(count)
        except OSError:
            raise InputError(
                self.file.name,
                f"the {self.file.compression or 'file'} data is damaged or cut short",
                hint="Export or copy the list again",
            ) from None
        if self.file.path is not None:
            self.bytes_done = self._file.tell()
        return data

    def _read(self, size: int) -> None:
        """Read until there is more text than ``size``, or the list ends; then with a line end."""
        while len(self._rest) <= size and not self._has_ended:
            raw = self._raw(size + 1 - len(self._rest))
            self._take(self._decoded(raw))
            self._has_ended = not raw
        if self._has_ended:
            self._rest = self._rest.rstrip(_DOS_END)
            if self._rest and not self._rest.endswith(b"\n"):
                self._take(b"\n")

    def _decoded(self, raw: bytes) -> bytes:
        if self.encoding == UTF_8:
            return raw
        return self._decoder.decode(raw, final=not raw).encode(errors="replace")

    def _take(self, text: bytes) -> None:
        """Add a piece of text, with line feeds as line ends, and count its lines."""
        text = text.replace(b"\r", b"\n") if self._ends_with_return else text
        self.lines_read += _line_ends(text)
        self._rest += text

    def _parse(self, data: bytes, *, is_last: bool) -> Block:
        """Return the columns of a piece of the text; on any thread."""
        try:
            lines = _line_ends(data)
            # Rows of totals are among the last.
            if not is_last and (b"\r" not in data or data.count(b"\r") == data.count(b"\r\n")):
                with contextlib.suppress(pa.ArrowInvalid):  # odd records
                    columns = read_columns(data, self.delimiter, self._width, self.needed)
                    phones = columns[self.phones[0]]
                    # Each line is a record where no quote holds a line end.
                    if len(phones) == lines:
                        damage = np.zeros(lines, np.uint8)
                        damage[self._blank_lines(data, phones)] = Reject.EMPTY
                        return self.block(columns, damage, lines)
            return self._settle(data, is_last=is_last)
        except pa.ArrowException:
            # pyarrow's own error would quote cells.
            raise InputError(
                self.file.name,
                "it cannot be parsed as CSV",
                hint=f"Check {self.options.option}delimiter and {self.options.option}encoding",
            ) from None

    def _settle(self, data: bytes, *, is_last: bool) -> Block:
        """Return the columns of records of which some are damaged, or the last ones."""
        # pyarrow cannot set a record aside that is not UTF-8.
        data = data.decode(errors="replace").encode()
        records = cut_records(data, self.delimiter, self._width)
        texts = [text or self._empty_record for text, _ in records]
        damage = np.array([Reject.BROKEN_QUOTES if t is None else 0 for t, _ in records], np.uint8)
        if is_last:
            backwards = (cells_of(text, self.delimiter) for text in reversed(texts))
            for place in find_totals(backwards, self.options.region):
                texts[-1 - place], damage[-1 - place] = self._empty_record, Reject.TOTAL_ROW
        odd: _Odd = []
        columns = self._columns(texts, odd)
        for place, width in odd:
            texts[place], damage[place] = self._mended(texts[place], width)
        if odd:
            columns = self._columns(texts)
        if len(columns[self.phones[0]]) != len(records):
            raise AssertionError("the records were not cut as pyarrow cuts them")
        is_blank = np.array(list(map(self._is_blank, texts)), np.bool_)
        damage[is_blank & (damage == 0)] = Reject.EMPTY
        return self.block(columns, damage, sum(count for _, count in records))

    def _columns(self, texts: list[bytes], odd: _Odd | None = None) -> dict[int, pa.Array]:
        data = b"\n".join([*texts, b""])
        return read_columns(data, self.delimiter, self._width, self.needed, odd)

    @property
    def _empty_record(self) -> bytes:
        return self.delimiter.encode() * (self._width - 1)

    def _mended(self, text: bytes, width: int) -> tuple[bytes, int]:
        """Return a record of the right width where it only has empty cells too many or too few.

        Instead of another, return an empty one and why.
        """
        extra = self.delimiter.encode() * abs(width - self._width)
        if self._is_blank(text):
            return self._empty_record, 0
        if width > self._width and text.endswith(extra):
            return text.removesuffix(extra), 0
        if min(self.phones) < width < self._width:
            return text + extra, 0
        return self._empty_record, Reject.RAGGED_ROW

    def _blank_lines(self, data: bytes, phones: pa.Array) -> list[int]:
        """Return the lines without content; ``phones`` has a cell per line of the text."""
        short = np.flatnonzero(pc.binary_length(phones).to_numpy() < _SHORT_CELL)
        empty = short[is_equal(phones.take(pa.array(short)), "")].tolist()
        if not empty:
            return []
        ends = np.flatnonzero(np.frombuffer(data, np.uint8) == _LINE_END)
        begins = np.concatenate([[0], ends + 1])
        return [place for place in empty if self._is_blank(data[begins[place] : ends[place]])]

    def _is_blank(self, text: bytes) -> bool:
        return not text.strip(self.delimiter.encode() + b' \t\r\n"')


def cut_records(
    data: bytes, delimiter: str, width: int | None = None
) -> list[tuple[bytes | None, int]]:
    """Cut a text into records, each with its count of lines; None for one with an open quote.

    A line inside a quote that looks like a whole record shows that the quote was a slip: the
    records behind it are not lost with it. So does a whole record that would close the quote in its
    middle. ``width``: how many cells a record has, if known.
    """
    if b"\r" in data:
        data = _LONELY_RETURN.sub(b" ", data.replace(b"\r\r\n", b"\n")).replace(b"\r\n", b"\n")
    lines = data.removesuffix(b"\n").split(b"\n") if data else []
    is_closed, mark = _closed_record(delimiter).fullmatch, delimiter.encode()
    is_clean = _closed_record(delimiter, is_clean=True).fullmatch
    records: list[tuple[bytes | None, int]] = []
    first = 0
    while first < len(lines):
        text: bytes | None = lines[first]
        count = 1
        if _QUOTE in lines[first] and not is_closed(lines[first]):
            marks = lines[first].count(mark) if width is None else width - 1
            joined, text = lines[first], None
            for more, line in enumerate(lines[first + 1 : first + CELL_LINES_MAX], 2):
                joined += b"\n" + line
                if is_closed(joined):
                    if is_clean(joined) or not (
                        is_clean(line) and len(cells_of(line, delimiter)) == marks + 1
                    ):
                        text, count = joined, more
                    break
                if line.count(mark) == marks and is_closed(line):
                    break
        records.append((text, count))
        first += count
    return records


@functools.cache
def _closed_record(delimiter: str, *, is_clean: bool = False) -> re.Pattern[bytes]:
    """Return what a record matches whose quotes are closed; if clean, only spaces stand behind."""
    mark = re.escape(delimiter.encode())
    rest = b"[^" + mark + b"]*+"
    behind = b" *+" if is_clean else rest
    cell = b'(?:"(?:[^"]++|"")*+"' + behind + b'|(?!")' + rest + b")"
    return re.compile(cell + b"(?:" + mark + cell + b")*+")


def cells_of(text: bytes, delimiter: str) -> list[str]:
    """Return the cells of a record whose quotes are closed."""
    mark = re.escape(delimiter.encode())
    # A delimiter and the cell behind it: what is within quotes, and what is behind them.
    cell = mark + b'(?:"((?:[^"]++|"")*+)")?([^' + mark + b"]*+)"
    return [
        (quoted.replace(b'""', b'"') + behind).decode(errors="replace").replace("\0", "")
        for quoted, behind in re.findall(cell, delimiter.encode() + text)
    ]


def _sample_rows(records: list[tuple[bytes | None, int]], delimiter: str) -> list[list[str]]:
    return [
        [] if text is None else [cell.strip() for cell in cells_of(text, delimiter)]
        for text, _ in records[:SAMPLE_ROWS]
    ]


def read_columns(
    data: bytes, delimiter: str, width: int, needed: Sequence[int], odd: _Odd | None = None
) -> dict[int, pa.Array]:
    """Return the needed columns by their places.

    Records of another width are left out and added to ``odd``; without it, they raise ArrowInvalid.
    """
    names = [str(i) for i in needed]
    table = csv.read_csv(
        pa.BufferReader(data),
        read_options=csv.ReadOptions(
            column_names=[str(i) for i in range(width)],
            block_size=len(data) + 1,
            use_threads=False,
        ),
        parse_options=csv.ParseOptions(
            delimiter=delimiter,
            newlines_in_values=True,
            ignore_empty_lines=False,
            invalid_row_handler=None if odd is None else functools.partial(_set_aside, odd),
        ),
        convert_options=csv.ConvertOptions(
            include_columns=names,
            column_types=dict.fromkeys(names, pa.binary()),
            check_utf8=False,
        ),
    )
    return {place: decoded(table[str(place)].combine_chunks(), pa.string()) for place in needed}


def _set_aside(odd: _Odd, row: csv.InvalidRow) -> str:
    odd.append((row.number - 1, row.actual_columns))
    return "skip"


def last_record_end(data: bytes, size: int, delimiter: str, width: int) -> int:
    """Return where the last whole record within the first bytes ends; 0 if none does.

    A line end within quotes ends no record. Where the text has quotes, one is searched from the end
    between two lines that are whole records; without such a pair, the whole text is cut.
    """
    last = data.rfind(b"\n", 0, size) + 1
    if data.find(_QUOTE, 0, last) < 0:
        return last
    end, is_next_whole = last, False
    while end > max(0, last - _END_BYTES):
        begin = data.rfind(b"\n", 0, end - 1) + 1
        is_whole = _is_whole(data[begin : end - 1].removesuffix(b"\r"), delimiter, width)
        if is_whole and is_next_whole:
            return end
        end, is_next_whole = begin, is_whole
    records = cut_records(data[:last], delimiter, width)
    line, lines = 0, sum(count for _, count in records)
    for text, count in records:
        if text is None and line > lines - CELL_LINES_MAX:
            # What follows may close its quote.
            return len(data) - len(data.split(b"\n", line)[-1])
        line += count
    return last


def _is_whole(line: bytes, delimiter: str, width: int) -> bool:
    """Whether a line alone looks like a record of ``width`` cells."""
    is_closed = _closed_record(delimiter).fullmatch(line) is not None
    return is_closed and len(cells_of(line, delimiter)) == width


def _delimiter(sample: bytes, region: str | None) -> str:
    """Return the delimiter that cuts most records into equally many cells, more than one.

    One by which a header with a phone column is found wins.
    """
    best, best_score = DELIMITERS[0], (False, 0.0, 0, 0)
    for delimiter in DELIMITERS:
        rows = _sample_rows(cut_records(sample, delimiter), delimiter)
        filled = [row for row in rows if any(row)]
        titles = next((i for i, row in enumerate(filled) if len(row) > 1), len(filled))
        titles = min(titles, _TITLES_MAX)
        if len(filled) == titles:
            continue
        widths = Counter(map(len, filled[titles:]))
        width, count = widths.most_common(1)[0]
        if width == 1:
            continue
        share = count / widths.total()
        header = find_phone_header(rows, region)
        is_named = header is not None and len(rows[header]) > 1
        is_alike = share >= _ALIKE_SHARE and count > titles
        score = (is_named, share, count, width)
        if (is_alike or is_named) and score > best_score:
            best, best_score = delimiter, score
    return best


def _line_ends(text: bytes) -> int:
    """Return how many line ends a text has; five times as fast as ``bytes.count``."""
    return int(np.count_nonzero(np.frombuffer(text, np.uint8) == _LINE_END))
