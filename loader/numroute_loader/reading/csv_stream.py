"""A comma-separated file as a stream of blocks of whole lines, parsed side by side, in order.

pyarrow's own streaming reader parses one block after another on one core, and leaves that core idle
while the caller works. Here the file is cut at line ends into blocks, each block is parsed whole by
one of a few threads (pyarrow and numpy let go of the interpreter's lock), and the results come back
in the order of the file. Memory holds a few blocks, whatever the size of the file.
"""

from __future__ import annotations

import os
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import pyarrow as pa
from pyarrow import csv

from numroute.errors import InputError
from numroute_loader.reading.archive import Source, refuse_web_page

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from numroute_loader.reading.description import Progress

BLOCK_BYTES = 8 * 2**20
"""How much text is parsed at a time. From 2 to 16 MiB the speed is the same."""

LINE_BYTES_MAX = 65_536
"""The longest line that is read. A dump's lines have about a hundred bytes."""

PARSER_THREADS_MAX = 8
"""More threads than this wait for the one that reads and digests the file."""

BYTE_ORDER_MARK = b"\xef\xbb\xbf"

_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Whole lines of a text, never changed. ``offset`` is the byte of the text they begin at."""

    data: bytes | bytearray
    offset: int


class CsvFile:
    """An open file: its header, the first of its data lines, and its blocks.

    Raises ``InputError`` at once when the file is empty, a web page, or has no readable header.
    """

    def __init__(self, source: Source) -> None:
        """Read the first block and take the header line off it."""
        self.source = source
        self._ends = False
        self._rest = b""
        first = bytes(self._next_lines())
        refuse_web_page(source.path, first)
        text = first.removeprefix(BYTE_ORDER_MARK)
        line, _, lines = text.partition(b"\n")
        if not text.strip():
            raise InputError(source.path, "the file is empty", hint="Download it again")
        self.header = tuple(
            name.decode("ascii", "replace").strip() for name in line.rstrip(b"\r").split(b",")
        )
        self._first = Block(data=lines, offset=len(first) - len(lines))
        self.first_row = lines.lstrip(b"\r\n").partition(b"\n")[0].rstrip(b"\r")

    def blocks(self, progress: Progress | None = None) -> Iterator[Block]:
        """Yield the data lines of the file, block after block; to be called once."""
        block = self._first
        while True:
            if not block.data.isspace() and block.data:
                yield block
            if progress is not None:
                progress(self.source.bytes_done, self.source.bytes_total)
            offset = block.offset + len(block.data)
            block = Block(data=self._next_lines(), offset=offset)
            if not block.data:
                return

    def _next_lines(self) -> bytes | bytearray:
        """Return the next whole lines, nothing at the end of the file.

        They are read to where they stay: a copy of every block costs a fifth of the parsing.
        """
        if self._ends:
            return b""
        begun = len(self._rest)
        lines = bytearray(begun + BLOCK_BYTES)
        lines[:begun] = self._rest
        with memoryview(lines) as view:
            filled = begun + self.source.readinto(view[begun:])
        if filled < len(lines):
            self._ends = True
            del lines[filled:]
            return lines
        cut = lines.rfind(b"\n") + 1
        if len(lines) - cut > LINE_BYTES_MAX:
            raise InputError(
                self.source.path,
                f"a line is longer than {LINE_BYTES_MAX} bytes",
                hint="The file is not a registry's, or its line ends are lost: download it again",
            )
        self._rest = bytes(lines[cut:])
        del lines[cut:]
        return lines


def parsed_in_order(
    blocks: Iterator[Block], parse: Callable[[Block], _Result]
) -> Iterator[tuple[Block, _Result]]:
    """Yield each block with what ``parse`` made of it, in the order of the file.

    As many blocks are parsed at once as the process has cores.
    """
    threads = min(PARSER_THREADS_MAX, os.cpu_count() or 1)
    waiting: deque[tuple[Block, Future[_Result]]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="parse") as pool:
        try:
            for block in blocks:
                waiting.append((block, pool.submit(parse, block)))
                if len(waiting) > threads:
                    done, future = waiting.popleft()
                    yield done, future.result()
            while waiting:
                done, future = waiting.popleft()
                yield done, future.result()
        finally:
            for _, future in waiting:
                future.cancel()


def table_of(
    block: Block, header: Sequence[str], columns: Mapping[str, pa.DataType], *, delimiter: str = ","
) -> pa.RecordBatch | None:
    """Return the named columns of a block, or None when pyarrow cannot make them of its lines.

    Quotes are data, a NUL byte is damage, empty lines are passed over. What was wrong is found by
    ``diagnose``: pyarrow's own message quotes cells, and cells hold subscribers' numbers.
    """
    if b"\0" in block.data:
        return None
    try:
        table = csv.read_csv(
            pa.BufferReader(block.data),
            read_options=csv.ReadOptions(
                column_names=list(header), block_size=len(block.data) + 1, use_threads=False
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
    batches = table.combine_chunks().to_batches()
    return batches[0] if batches else None


def line_at(path: Path, offset: int) -> int:
    """Return the number, from 1, of the line that begins ``offset`` bytes into a file's text."""
    line = 1
    with Source(path) as source:
        while offset > 0 and (piece := source.read(min(offset, BLOCK_BYTES))):
            line += piece.count(b"\n")
            offset -= len(piece)
    return line
