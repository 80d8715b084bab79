"""A CSV list as blocks of whole records.

The text is cut at record ends into blocks, which threads parse side by side; only the columns that
are needed are made. The sample that the layout is judged by goes through the same functions. A
record is a line unless a quoted cell holds line ends. Damage stays within its record: one with too
many or too few cells, or with a quote that nothing closes, is set aside.

The lines of the text are counted as it is read, before it is parsed: at the end the records must
account for each of them.
"""

from __future__ import annotations

import codecs
import functools
import re
from collections import Counter
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
from pyarrow import csv

from numroute.errors import InputError, SettingError
from numroute_campaign.decisions import Reject
from numroute_campaign.lists import Block
from numroute_campaign.lists.cells import read_phones, segment_counts
from numroute_campaign.lists.encoding import UTF_8, check_encoding, detect_encoding
from numroute_campaign.lists.files import ByteSource, check_text
from numroute_campaign.lists.layout import (
    SAMPLE_RECORDS,
    TOTAL_ROWS_MAX,
    find_phone_header,
    is_total,
    read_layout,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from numroute_campaign.lists.files import ListFile

BLOCK_BYTES: Final = 8 * 2**20
SAMPLE_BYTES: Final = 2**20
RECORD_BYTES_MAX: Final = 64 * 2**20
"""The longest record that is read: far beyond any list, short of what memory must hold."""

CELL_LINES_MAX: Final = 1000
"""A quoted cell of more lines is taken for a quote that is not closed."""

DELIMITERS: Final = (",", ";", "\t", "|")

_ALIKE_SHARE: Final = 0.8
"""From this share of records with the same number of cells on, a character is the delimiter."""

_TITLES_MAX: Final = 10
_QUOTE: Final = b'"'
_END_BYTES: Final = 65_536
_SAMPLE_LINES: Final = 1500
_STATEMENT: Final = re.compile(rb'"?sep=(.)"?\r*\n', re.IGNORECASE)
"""Excel's first line that states the delimiter."""

_LONELY_RETURN: Final = re.compile(rb"\r(?!\n)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Lines:
    """Whole records as text. ``is_last``: whether the text ends behind them."""

    data: bytes
    is_last: bool


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Records:
    """A text cut into records.

    Attributes:
        texts: The records whose quotes are closed, without line ends.
        broken: int64[k], the places of the others among all records.
        lines: How many lines each record has, the others included.
    """

    texts: list[bytes]
    broken: NDArray[np.int64]
    lines: list[int]


class CsvText:
    """The UTF-8 text of a file: its layout first, then its blocks."""

    def __init__(
        self,
        file: ListFile,
        *,
        region: str | None,
        encoding: str | None = None,
        delimiter: str | None = None,
        has_header: bool | None = None,
        named: Sequence[str] = (),
        option: str = "--",
    ) -> None:
        """Read the sample and judge the layout; what is given is not judged.

        Raises:
            InputError: The text cannot be read, is empty, or is something else than CSV.
            SettingError: The encoding is unknown, or the delimiter is not one ASCII character.
        """
        if delimiter is not None and len(delimiter.encode()) != 1:
            raise SettingError(
                f"the delimiter {delimiter!r} is not one ASCII character",
                hint=f"Give e.g. {option}delimiter ';' or {option}delimiter tab",
            )
        self.file, self.option = file, option
        self._source = ByteSource(file)
        raw = b""
        while len(raw) < SAMPLE_BYTES and (piece := self._source.read(SAMPLE_BYTES - len(raw))):
            raw += piece
        self.encoding = (
            check_encoding(encoding) if encoding else detect_encoding(raw, file.name, region)
        )
        self._decoder = (
            None
            if self.encoding == UTF_8
            else codecs.getincrementaldecoder(self.encoding)(errors="replace")
        )
        self._ends_with_return = False
        text = self._decoded(raw)
        while text.startswith(codecs.BOM_UTF8):
            text = text.removeprefix(codecs.BOM_UTF8)
        if not text.strip():
            raise self._empty()
        if b"\n" not in text and b"\r" in text:
            self._ends_with_return = True
            text = text.replace(b"\r", b"\n")
        self.lines_read = text.count(b"\n")
        self._ends_open = not text.endswith(b"\n")
        self._rest = text
        check_text(text[:4096].decode(errors="replace"), file.name)
        self._judge(delimiter, region, named, has_header=has_header)

    def _judge(
        self,
        delimiter: str | None,
        region: str | None,
        named: Sequence[str],
        *,
        has_header: bool | None,
    ) -> None:
        statement = _STATEMENT.match(self._rest)
        skipped = 0 if statement is None else 1
        lines = self._rest.split(b"\n", skipped + _SAMPLE_LINES)
        is_cut = len(lines) > skipped + _SAMPLE_LINES or len(self._rest) >= SAMPLE_BYTES // 2
        if is_cut and len(lines) > skipped + 1:
            lines[-1] = b""
        sample = b"\n".join(lines[skipped:])
        if delimiter is None and statement is not None:
            delimiter = statement[1].decode(errors="replace")
        self.delimiter = delimiter or _delimiter(sample, region)
        records = cut_records(sample, self.delimiter, None)
        cells = cells_of(records, self.delimiter)
        if not any(any(map(str.strip, row)) for row in cells):
            raise self._empty()
        self.layout = read_layout(cells, region=region, has_header=has_header, named=named)
        skipped += sum(records.lines[: self.layout.first])
        self.lines_skipped = skipped
        at = 0
        for _ in range(skipped):
            at = self._rest.find(b"\n", at) + 1 or len(self._rest)
        self._rest = self._rest[at:]

    @property
    def bytes_done(self) -> int:
        """How many bytes of the file have been read."""
        return self._source.bytes_done

    def blocks(self) -> Iterator[Lines]:
        """Yield the text behind the header, block by block."""
        ended = False
        while not ended:
            data, wanted = self._rest, BLOCK_BYTES
            while True:
                if len(data) < wanted:
                    piece = self._read(wanted - len(data))
                    ended = piece is None
                    data += piece or b""
                    if not ended:
                        continue
                cut = len(data) if ended else _cut(data, wanted, self.delimiter, self.layout.width)
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
            if cut:
                yield Lines(data=data[:cut], is_last=ended)

    def check_lines(self, parsed: int) -> None:
        """Check at the end that the records account for every line of the text.

        Raises:
            InputError: They do not: rows would be lost without a word.
        """
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
        text = self._decoded(raw)
        if self._ends_with_return:
            text = text.replace(b"\r", b"\n")
        if text:
            self.lines_read += text.count(b"\n")
            self._ends_open = not text.endswith(b"\n")
        return text if raw or text else None

    def _decoded(self, raw: bytes) -> bytes:
        if self._decoder is None:
            return raw
        return self._decoder.decode(raw, final=not raw).encode(errors="replace")

    def _empty(self) -> InputError:
        return InputError(self.file.name, "the list is empty", hint="Export the list again")


def _cut(data: bytes, size: int, delimiter: str, width: int) -> int:
    """Return where the last whole record within the first bytes ends; 0 when none does.

    A line end within quotes ends no record. Where the text has quotes, two neighbouring lines that
    are whole records are looked for before the end, and the records are told from there on.
    """
    last = data.rfind(b"\n", 0, size) + 1
    if last == 0 or data.find(_QUOTE, 0, last) < 0:
        return last
    is_closed = _closed_record(delimiter).fullmatch
    begin = 0
    if width > 1 and last > _END_BYTES:
        begin = data.find(b"\n", last - _END_BYTES) + 1
    raw = data[begin : last - 1].split(b"\n")
    starts = [begin, *(begin + end for end in accumulate(len(line) + 1 for line in raw))]
    lines = [line.removesuffix(b"\r") for line in raw]
    at = 0
    if begin:
        whole = [_is_whole(line, delimiter, width, is_closed) for line in lines]
        pairs = (i for i in range(len(lines) - 1) if whole[i] and whole[i + 1])
        at = next(pairs, len(lines))
    while at < len(lines):
        closing: int | None = at + 1
        if _QUOTE in lines[at] and not is_closed(lines[at]):
            closing = _closing(lines, at, delimiter.encode(), width, is_closed)
            if closing is None and _stays_open(lines, at, delimiter.encode(), width, is_closed):
                return starts[at]
        at = closing or at + 1
    return last


def _is_whole(
    line: bytes, delimiter: str, width: int, is_closed: Callable[[bytes], object]
) -> bool:
    """Whether a line alone looks like a record of so many cells."""
    if _QUOTE not in line:
        return line.count(delimiter.encode()) == width - 1
    mark = re.escape(delimiter.encode())
    bare = re.sub(rb"(?:^|(?<=" + mark + rb'))"(?:[^"]|"")*"', b"", line)
    return is_closed(line) is not None and bare.count(delimiter.encode()) == width - 1


def _stays_open(
    lines: list[bytes],
    first: int,
    delimiter: bytes,
    width: int,
    is_closed: Callable[[bytes], object],
) -> bool:
    """Whether a record's quote may be closed behind the last line."""
    inside = lines[first + 1 :]
    return len(inside) < CELL_LINES_MAX and not any(
        line.count(delimiter) == width - 1 and is_closed(line) for line in inside
    )


def _delimiter(sample: bytes, region: str | None) -> str:
    """Return the delimiter that cuts most records into equally many cells, more than one.

    One by which a header with a phone column is found wins.
    """
    best, best_score = DELIMITERS[0], (False, 0.0, 0)
    for delimiter in DELIMITERS:
        if delimiter.encode() not in sample:
            continue
        rows = cells_of(cut_records(sample, delimiter, None), delimiter)
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
        score = (is_named, share, width)
        if width > 1 and (share >= _ALIKE_SHARE or is_named) and score > best_score:
            best, best_score = delimiter, score
    return best


def cut_records(data: bytes, delimiter: str, width: int | None) -> Records:
    """Cut a text into records; those with a quote that nothing closes are broken.

    ``width``: how many cells a record has, None when that is not known yet.
    """
    if b"\r" in data:
        data = _LONELY_RETURN.sub(b" ", data.replace(b"\r\r\n", b"\n")).replace(b"\r\n", b"\n")
    lines = data.split(b"\n")
    if lines[-1] == b"":
        lines.pop()
    is_closed = _closed_record(delimiter).fullmatch
    texts: list[bytes] = []
    broken: list[int] = []
    counts: list[int] = []
    at = 0
    while at < len(lines):
        line = lines[at]
        closing: int | None = at + 1
        if _QUOTE in line and not is_closed(line):
            closing = _closing(lines, at, delimiter.encode(), width, is_closed)
        if closing is None:
            broken.append(len(counts))
            closing = at + 1
        else:
            texts.append(line if closing == at + 1 else b"\n".join(lines[at:closing]))
        counts.append(closing - at)
        at = closing
    return Records(texts=texts, broken=np.array(broken, np.int64), lines=counts)


def _closing(
    lines: list[bytes],
    first: int,
    delimiter: bytes,
    width: int | None,
    is_closed: Callable[[bytes], object],
) -> int | None:
    """Return the line behind the record that begins on a line, None when nothing closes it.

    A line inside that looks like a record of its own says that the quote was a slip: the records
    behind it are not lost with it.
    """
    text = lines[first]
    cells = lines[first].count(delimiter) + 1 if width is None else width
    for at in range(first + 1, min(first + CELL_LINES_MAX, len(lines))):
        line = lines[at]
        text += b"\n" + line
        if is_closed(text):
            return at + 1
        if line.count(delimiter) == cells - 1 and is_closed(line):
            return None
    return None


@functools.cache
def _closed_record(delimiter: str) -> re.Pattern[bytes]:
    """Return what a record matches whose quotes are closed.

    As pyarrow reads it: a quote opens a cell only at its beginning, and behind the closing quote
    anything may follow.
    """
    behind = b"[^" + re.escape(delimiter.encode()) + b"]*+"
    cell = b'(?:"(?:[^"]++|"")*+"' + behind + b'|(?!")' + behind + b")"
    return re.compile(cell + b"(?:" + re.escape(delimiter.encode()) + cell + b")*+", re.DOTALL)


def cells_of(records: Records, delimiter: str) -> list[list[str]]:
    """Return the cells of the first records, however many each has; none of a broken one."""
    texts = records.texts[:SAMPLE_RECORDS]
    widths = _widths(texts, delimiter)
    width = max(widths, default=1)
    mark = delimiter.encode()
    padded = [text + mark * (width - own) for text, own in zip(texts, widths, strict=True)]
    table, _ = _read(b"\n".join([*padded, b""]), delimiter, width, range(width))
    columns = [column.to_pylist() for column in table.columns]
    rows = [
        [cell.decode(errors="replace").replace("\0", "") for cell in row[:own]]
        for row, own in zip(zip(*columns, strict=True), widths, strict=True)
    ]
    for place in records.broken.tolist():
        rows.insert(place, [])
    return rows


def _widths(texts: list[bytes], delimiter: str) -> list[int]:
    """Return how many cells each record has."""
    data = b"\n".join([*texts, b""])
    width = texts[0].count(delimiter.encode()) + 1 if texts else 1
    table, ragged = _read(data, delimiter, width, ())
    widths = [width] * (table.num_rows + len(ragged))
    for place, actual in ragged:
        widths[place] = actual
    # A blank line is a row of empty cells to pyarrow, as many as it is asked for.
    return [own if text else 1 for own, text in zip(widths, texts, strict=True)]


def _read(
    data: bytes, delimiter: str, width: int, needed: Iterable[int]
) -> tuple[pa.Table, list[tuple[int, int]]]:
    """Return the needed columns as bytes, and the records of another width: places and widths.

    Raises:
        pa.ArrowException: The text cannot be parsed; the message may quote cells.
    """
    ragged: list[tuple[int, int]] = []

    def set_aside(row: csv.InvalidRow) -> str:
        ragged.append((row.number - 1, row.actual_columns))
        return "skip"

    names = [str(i) for i in needed] or ["0"]
    if not data:
        return pa.table({name: pa.array([], pa.binary()) for name in names}), ragged
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
            invalid_row_handler=set_aside,
        ),
        convert_options=csv.ConvertOptions(
            include_columns=names,
            column_types=dict.fromkeys(names, pa.binary()),
            check_utf8=False,
            null_values=[],
            strings_can_be_null=False,
        ),
    )
    return table, ragged


class CsvParser:
    """Makes columns of blocks; used by several threads at once."""

    def __init__(
        self,
        text: CsvText,
        region: str | None,
        phones: Sequence[int],
        kept: Sequence[int],
        segments: int | None,
    ) -> None:
        """Say which columns, by place, are needed."""
        self._name, self._option, self._region = text.file.name, text.option, region
        self._delimiter, self._width = text.delimiter, text.layout.width
        self._phones, self._kept, self._segments = tuple(phones), tuple(kept), segments
        self._needed = list(
            dict.fromkeys([*phones, *kept, *([] if segments is None else [segments])])
        )

    def parse(self, lines: Lines) -> Block:
        """Return the columns of a block.

        Raises:
            InputError: The text cannot be parsed.
        """
        try:
            return self._parse(lines)
        except pa.ArrowException:
            # Its own message quotes cells, and cells hold people's numbers.
            raise InputError(
                self._name,
                "it cannot be parsed as CSV",
                hint=f"Check {self._option}delimiter and {self._option}encoding",
            ) from None

    def _parse(self, lines: Lines) -> Block:
        data = lines.data
        count = data.count(b"\n") + (not data.endswith(b"\n"))
        if b"\r" not in data or data.count(b"\r") == data.count(b"\r\n"):
            table, ragged = _read(data, self._delimiter, self._width, self._needed)
            if table.num_rows + len(ragged) == count:
                # No quote holds a line end: each line is a record.
                if not ragged and not (lines.is_last and _may_end_with_total(data)):
                    return self._block(table, count, count)
                texts = data.replace(b"\r\n", b"\n").split(b"\n")[:count]
                records = Records(texts=texts, broken=np.empty(0, np.int64), lines=[1] * count)
                return self._settle(records, count, (table, ragged), is_last=lines.is_last)
        records = cut_records(data, self._delimiter, self._width)
        if sum(records.lines) != count:
            raise AssertionError("the lines were not counted right")
        return self._settle(records, count, self._table(records.texts), is_last=lines.is_last)

    def _settle(
        self,
        records: Records,
        lines: int,
        read: tuple[pa.Table, list[tuple[int, int]]],
        *,
        is_last: bool,
    ) -> Block:
        """Return the columns of records of which some are damaged, or the last ones."""
        table, ragged = read
        texts, total = records.texts, len(records.lines)
        unbroken = np.delete(np.arange(total), records.broken)
        totals = self._totals(texts) if is_last else []
        mended = {place: self._mended(texts[place], width) for place, width in ragged}
        if any(text is not None for text in mended.values()):
            texts = [
                texts[place] if (text := mended.get(place)) is None else text
                for place in range(len(texts))
            ]
            table, ragged = self._table(texts)
        if table.num_rows + len(ragged) != len(texts):
            raise AssertionError("the records were not counted right")
        damage = np.zeros(total, np.uint8)
        damage[records.broken] = Reject.BROKEN_QUOTES
        damage[unbroken[[place for place, _ in ragged]]] = Reject.RAGGED_ROW
        in_table = np.flatnonzero(damage == 0)
        damage[unbroken[totals]] = Reject.TOTAL_ROW
        if len(totals):
            table = table.take(pa.array(np.flatnonzero(damage[in_table] == 0)))
        damaged = np.flatnonzero(damage)
        return self._block(
            table,
            total,
            lines,
            record=np.flatnonzero(damage == 0) if len(damaged) else None,
            damaged=damaged,
            damage=damage[damaged],
        )

    def _table(self, texts: list[bytes]) -> tuple[pa.Table, list[tuple[int, int]]]:
        return _read(b"\n".join([*texts, b""]), self._delimiter, self._width, self._needed)

    def _mended(self, text: bytes, width: int) -> bytes | None:
        """Return a record of the right width where it only has empty cells too many or too few."""
        mark = self._delimiter.encode()
        if not text.strip(mark + b' \t"'):
            return mark * (self._width - 1)
        if width > self._width:
            extra = mark * (width - self._width)
            return text.removesuffix(extra) if text.endswith(extra) else None
        return text + mark * (self._width - width) if width > max(self._phones) else None

    def _totals(self, texts: list[bytes]) -> list[int]:
        """Return the places of rows of totals: at the end, and without a phone number."""
        found: list[int] = []
        filled = 0
        for place in range(len(texts) - 1, -1, -1):
            text = _filled(texts[place], self._delimiter)
            filled += bool(text)
            if filled > TOTAL_ROWS_MAX:
                break
            if is_total(text):
                one = Records(texts=[texts[place]], broken=np.empty(0, np.int64), lines=[1])
                (cells,) = cells_of(one, self._delimiter)
                if not read_phones(pa.array(cells, pa.string()), self._region).numbers.any():
                    found.append(place)
        return found

    def _block(
        self,
        table: pa.Table,
        records: int,
        lines: int,
        *,
        record: NDArray[np.int64] | None = None,
        damaged: NDArray[np.int64] | None = None,
        damage: NDArray[np.uint8] | None = None,
    ) -> Block:
        columns = {name: _one_array(table[name]) for name in table.column_names}
        return Block(
            records=records,
            lines=lines,
            phones=tuple(_text(columns[str(i)]) for i in self._phones),
            kept=tuple(_valid_text(columns[str(i)]) for i in self._kept),
            segments=None
            if self._segments is None
            else segment_counts(_text(columns[str(self._segments)])),
            record=record,
            damaged=np.empty(0, np.int64) if damaged is None else damaged,
            damage=np.empty(0, np.uint8) if damage is None else damage,
        )


def _filled(text: bytes, delimiter: str) -> str:
    """Return a record's text from its first filled cell on; empty where it has none."""
    return text.decode(errors="replace").strip(f'{delimiter} \t\r\n"')


def _may_end_with_total(data: bytes) -> bool:
    """Whether a row of totals is among the last lines."""
    lines = [line for line in data[-_END_BYTES:].split(b"\n") if line.strip(b' \t\r",;|')]
    return any(is_total(_filled(line, ",;|")) for line in lines[-TOTAL_ROWS_MAX:])


def _one_array(column: pa.ChunkedArray) -> pa.Array:
    if column.num_chunks == 1:
        return column.chunk(0)
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)


def _text(column: pa.Array) -> pa.Array:
    """Return bytes as text, without looking whether they are."""
    return column.view(pa.string())


def _valid_text(column: pa.Array) -> pa.Array:
    """Return bytes as text; invalid UTF-8 becomes U+FFFD."""
    try:
        return column.cast(pa.string())
    except pa.ArrowInvalid:
        texts = [cell.decode(errors="replace") for cell in column.to_pylist()]
        return pa.array(texts, pa.string())
