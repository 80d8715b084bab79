"""A delimited file as a stream of blocks of whole lines, each to be parsed by itself.

pyarrow's own streaming reader parses one block after another on one core, and leaves that core idle
while the caller works. Here the file is cut at line ends into blocks, which the caller parses in a
few threads (pyarrow and numpy release the interpreter's lock). Memory holds a few blocks, whatever
the size of the file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import csv

from numroute.errors import InputError
from numroute_loader.reading.archive import BYTE_ORDER_MARK, Archive
from numroute_loader.reading.description import Progress

BLOCK_BYTES = 8 * 2**20
"""How much text is parsed at a time. From 2 to 16 MiB the speed is the same."""

LINE_BYTES_MAX = 65_536
"""The longest line that is read. A dump's lines have about a hundred bytes."""


class Block(NamedTuple):
    """Whole lines of a text, never changed. ``offset`` is the byte of the text they begin at."""

    data: bytes | bytearray
    offset: int


class Fault(NamedTuple):
    """What is wrong with a line, which is counted from 0 in its block. It quotes no number."""

    line: int
    reason: str


class Check(NamedTuple):
    """The lines or rows that a check finds bad, and why; the reason quotes no number."""

    bad: NDArray[np.bool_]
    reason: str


class CsvFile:
    """The lines of an archive: its header, the first of its data lines, and its blocks."""

    def __init__(self, archive: Archive) -> None:
        """Read the first block and take the header line off it."""
        self.archive = archive
        self._ends = False
        self._rest = b""
        first = bytes(self._next_lines())
        self.header = header_of(first)
        lines = first.partition(b"\n")[2]
        self._first = Block(data=lines, offset=len(first) - len(lines))
        self.first_row = lines.lstrip(b"\r\n").partition(b"\n")[0].rstrip(b"\r")

    def blocks(self, progress: Progress | None = None) -> Iterator[Block]:
        """Yield the data lines of the file, block after block; to be called once."""
        block = self._first
        while block.data:
            if not block.data.isspace():
                yield block
            if progress is not None:
                total = self.archive.bytes_total
                # The end of a zip is not read as text.
                progress(total if self._ends else self.archive.bytes_done, total)
            block = Block(data=self._next_lines(), offset=block.offset + len(block.data))

    def _next_lines(self) -> bytes | bytearray:
        """Return the next whole lines, nothing at the end of the file.

        They are read into their final buffer: copying every block costs a fifth of the parsing.
        """
        if self._ends:
            return b""
        begun = len(self._rest)
        lines = bytearray(begun + BLOCK_BYTES)
        lines[:begun] = self._rest
        with memoryview(lines) as view:
            filled = begun + self.archive.readinto(view[begun:])
        if filled < len(lines):
            self._ends = True
            del lines[filled:]
            return lines
        cut = lines.rfind(b"\n") + 1
        if len(lines) - cut > LINE_BYTES_MAX:
            raise InputError(
                self.archive.path,
                f"a line is longer than {LINE_BYTES_MAX} bytes",
                hint="The file is not a registry's, or its line ends are lost: download it again",
            )
        self._rest = bytes(lines[cut:])
        del lines[cut:]
        return lines


def header_of(head: bytes) -> tuple[str, ...]:
    """Return the column names in the first line of a text, without a byte order mark."""
    line = head.removeprefix(BYTE_ORDER_MARK).partition(b"\n")[0].rstrip(b"\r")
    return tuple(name.decode("ascii", "replace").strip() for name in line.split(b","))


def batch_of(
    data: bytes | bytearray,
    header: Sequence[str],
    columns: Mapping[str, pa.DataType],
    *,
    delimiter: str = ",",
) -> pa.RecordBatch | None:
    """Return the named columns of whole lines, or None when pyarrow cannot parse them.

    Quotes are data, a NUL byte is damage, empty lines are skipped. pyarrow's message is dropped: it
    quotes cells, and cells hold subscribers' numbers.
    """
    if b"\0" in data:
        return None
    if not data:
        return pa.RecordBatch.from_pylist([], pa.schema(columns.items()))
    try:
        table = csv.read_csv(
            pa.BufferReader(data),
            read_options=csv.ReadOptions(
                column_names=list(header), block_size=len(data) + 1, use_threads=False
            ),
            parse_options=csv.ParseOptions(delimiter=delimiter, quote_char=False),
            convert_options=csv.ConvertOptions(
                column_types=dict(columns),
                include_columns=list(columns),
                null_values=[""],
                check_utf8=False,
            ),
        )
    except pa.ArrowException:
        return None
    return table.combine_chunks().to_batches()[0]


class SoundLines(NamedTuple):
    """The lines of a block that can be split into columns.

    ``data`` are these lines, ``line`` their places in the block (int64), ``faults`` what is wrong
    with the others. Empty lines have no place; some may remain in ``data``.
    """

    data: bytes
    line: NDArray[np.int64]
    faults: list[Fault]


def sound_lines(data: bytes | bytearray, *, columns: int, delimiter: str) -> SoundLines:
    """Check the lines of a block for NUL bytes, stray carriage returns, length and columns."""
    text = np.frombuffer(bytes(data) + (b"" if data.endswith(b"\n") else b"\n"), np.uint8)
    end = np.flatnonzero(text == ord("\n"))
    start = np.append(0, end[:-1] + 1)

    def count(byte: bytes) -> NDArray[np.int64]:
        at = np.flatnonzero(text == ord(byte))
        return np.diff(np.searchsorted(at, end), prepend=0)

    ends_crlf = text[end - 1] == ord("\r")
    found = count(delimiter.encode()) + 1
    checks = (
        Check(count(b"\0") > 0, "the line holds NUL bytes"),
        Check(end - start > LINE_BYTES_MAX, f"the line exceeds {LINE_BYTES_MAX} bytes"),
        Check(count(b"\r") > ends_crlf, "the line holds a carriage return in its middle"),
        Check(found != columns, f"the line has {{found}} columns where {columns} are expected"),
    )
    filled = end - start > ends_crlf
    bad = np.zeros(len(end), np.bool_)
    faults = []
    for check in checks:
        faults += [
            Fault(line, check.reason.format(found=found[line]))
            for line in np.flatnonzero(check.bad & filled & ~bad).tolist()
        ]
        bad |= check.bad
    kept = filled & ~bad
    return SoundLines(
        # pyarrow skips the empty lines itself.
        data=text[np.repeat(kept, end + 1 - start)].tobytes() if bad.any() else bytes(data),
        line=np.flatnonzero(kept),
        faults=faults,
    )


def line_at(path: Path, offset: int) -> int:
    """Return the number, from 1, of the line that begins ``offset`` bytes into a file's text."""
    line = 1
    with Archive(path) as archive:
        while offset > 0 and (piece := archive.read(min(offset, BLOCK_BYTES))):
            line += piece.count(b"\n")
            offset -= len(piece)
    return line


def lines_with(path: Path, column: str | None, text: str, *, lines_max: int) -> list[int]:
    """Return the first lines whose cell in ``column``, or any, is ``text``; slow: for messages.

    Cells are counted from the left: a column to the right of free text is not found reliably.
    """
    lines: list[int] = []
    with Archive(path) as archive:
        file = CsvFile(archive)
        before = rb"(?:^|,)"
        if column is not None:
            before = rb"^(?:[^,\n]*,){%d}" % file.header.index(column)
        written = text.encode()
        cell = re.compile(before + re.escape(written) + rb"(?=[,\r\n]|\Z)", re.MULTILINE)
        for block in file.blocks():
            # Most blocks lack the text, and looking for it alone is much faster.
            for match in cell.finditer(block.data) if written in block.data else ():
                at = block.data.rfind(b"\n", 0, match.end()) + 1
                lines.append(line_at(path, block.offset + at))
                if len(lines) == lines_max:
                    return lines
    return lines
