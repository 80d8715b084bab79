"""CSV outputs: files that only grow."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from pathlib import Path

    from numroute_campaign.text_rows import RowText


class TextFiles:
    """The files of one output route: one, or parts of so many rows each."""

    def __init__(self, folder: Path, stem: str, header: bytes, rows_per_file: int | None) -> None:
        """Name them; the first is made with the first row."""
        self._folder, self._stem, self._header = folder, stem, header
        self._rows_per_file = rows_per_file
        self.rows = 0
        self._part_rows = 0
        self.names: list[str] = []

    def append(self, text: RowText, begin: int, end: int) -> None:
        """Append some lines of a text."""
        while begin < end:
            room = end - begin
            if self._rows_per_file is not None:
                room = self._rows_per_file - self._part_rows
            if not self.names or room == 0:
                self._next_part()
                continue
            count = min(room, end - begin)
            self._write(text.lines(begin, begin + count))
            begin += count
            self.rows += count
            self._part_rows += count

    def begin(self) -> None:
        """Make the first file even if no row comes."""
        if not self.names:
            self._next_part()

    def _next_part(self) -> None:
        parts = self._rows_per_file is not None
        self.names.append(part_name(self._stem, ".csv", len(self.names) + 1 if parts else None))
        self._part_rows = 0
        path = self._folder / self.names[-1]
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600))
        self._write(memoryview(self._header))

    def _write(self, data: memoryview) -> None:
        append_bytes(self._folder / self.names[-1], data)


def part_name(stem: str, ending: str, part: int | None) -> str:
    """Return the name of a whole file, or of a part counted from 1."""
    return f"{stem}{ending}" if part is None else f"{stem}-{part:05}{ending}"


def append_bytes(path: Path, data: memoryview | bytes) -> None:
    """Append bytes to a private file, which is made where it is missing.

    The file is open only for so long: a list may have thousands of output routes.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        rest = memoryview(data)
        while rest.nbytes:
            rest = rest[os.write(descriptor, rest) :]
    finally:
        os.close(descriptor)


def open_private(path: Path) -> BinaryIO:
    """Open a new file, readable by its owner only, in place of one that may be there."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
    return open(os.open(path, flags, 0o600), "wb")  # noqa: PTH123 - handed to the caller
