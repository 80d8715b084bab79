"""The temporary folder of a run and its files: text that is appended to, or a spool.

A list may have thousands of output routes: their files cannot all be open, nor their Parquet row
groups and worksheets all be in memory. Text is appended and closed; for the other forms the rows
wait in a spool, an Arrow IPC stream, and the file is written from it at the end.

The folder lies beside the output folder, so that the last step is one rename: the output folder is
complete or does not exist. The next run for the same output removes what a killed run left.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import BinaryIO, Final, Self

import pyarrow as pa
import pyarrow.parquet as pq

from numroute.errors import InputError, SettingError
from numroute.files import create_private, finish, flush, replacing
from numroute_campaign.templates import CSV, Template, bytes_of, plain_texts

GROUP_ROWS: Final = 524_288
"""Rows of a Parquet row group or of an Arrow batch: enough for compression, bounded in memory."""

SHEET_ROWS_MAX: Final = 1_048_576
"""Rows of a worksheet, its header included."""

SHEET_CELL_CHARS_MAX: Final = 32_767

_SUFFIX: Final = ".numroute"


class OutputError(InputError):
    """The output cannot be written; the cause is an OSError."""


class Workspace:
    """The temporary folder of one run, removed when the run ends.

    ::

        OUT's parent/.OUT.RANDOM.numroute/   0700, locked while the run lasts
            output/                          becomes OUT
            spool/                           rows waiting to be written as Parquet or Arrow
    """

    def __init__(self, out: Path) -> None:
        """Make the folder; remove what killed runs for the same output left.

        Raises InputError if the output folder is not empty or another run is making it, OutputError
        if it cannot be made.
        """
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise InputError(
                out, "it exists and is not empty", hint="Give --out a new or an empty folder"
            )
        self.out = out.absolute()
        parent, prefix = self.out.parent, f".{self.out.name}."
        try:
            parent.mkdir(parents=True, exist_ok=True)
            for each in parent.glob(f"{prefix}*{_SUFFIX}"):
                self._remove_leftover(each)
            self.folder = Path(tempfile.mkdtemp(_SUFFIX, prefix, parent))
            self._lock = _locked(self.folder)
        except OSError as error:
            raise OutputError(
                out, f"it cannot be made: {error.strerror}", hint="Give another --out"
            ) from error
        self.output, self.spool = self.folder / "output", self.folder / "spool"
        self.output.mkdir(mode=0o700)
        self.spool.mkdir(mode=0o700)

    def _remove_leftover(self, folder: Path) -> None:
        """Remove the folder of a dead run; a run that is alive holds its lock."""
        try:
            lock = _locked(folder)
        except BlockingIOError:
            raise InputError(
                self.out, "another run is making it", hint="Wait for it, or give another --out"
            ) from None
        except OSError:
            return  # no folder, or another user's
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)

    def hand_over(self, name: str, path: Path) -> None:
        """Copy a file of the spool folder to a path outside, whole or not at all."""
        if path.exists():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
        with replacing(path) as file, (self.spool / name).open("rb") as source:
            shutil.copyfileobj(source, file, 1 << 20)

    def finish(self) -> None:
        """Give the output its name."""
        for path in (*self.output.iterdir(), self.output):
            flush(path)
        with contextlib.suppress(FileNotFoundError):
            self.out.rmdir()
        finish(self.output, self.out)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        os.close(self._lock)


def _locked(folder: Path) -> int:
    """Return a folder's descriptor, locked. Raises OSError; BlockingIOError when locked already."""
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise
    return lock


class TextFiles:
    """The text files of one output route: one file, or parts of ``rows_per_file`` rows each.

    Attributes:
        rows: How many rows were written.
        names: The names of the files.
    """

    def __init__(
        self,
        folder: Path,
        stem: str,
        head: bytes,
        rows_per_file: int | None = None,
        template: Template = CSV,
    ) -> None:
        """Name the files; the first is created with the first row. ``head`` is UTF-8."""
        self._folder, self._stem, self._ending = folder, stem, template.file_ending
        self._head, self._encoding = head, template.encoding.removesuffix("-sig")
        self._rows_per_file = rows_per_file
        self.rows = 0
        self.names: list[str] = []

    def append(self, lines: pa.Array) -> None:
        """Append string[n], lines of text."""
        size, begin = self._rows_per_file, 0
        while begin < len(lines):
            if not self.names or (size and self.rows == size * len(self.names)):
                self.begin()
            count = len(lines) - begin
            if size:
                count = min(count, size * len(self.names) - self.rows)
            self._write(bytes_of(lines.slice(begin, count)))
            begin += count
            self.rows += count

    def begin(self) -> None:
        """Create the next file; the first one may stay without a row."""
        part = self._rows_per_file and len(self.names) + 1
        self.names.append(part_name(self._stem, self._ending, part))
        self._write(memoryview(self._head))

    def _write(self, text: memoryview) -> None:
        data: memoryview | bytes = text
        if self._encoding != "utf-8":
            try:
                data = str(text, "utf-8").encode(self._encoding)
            except UnicodeEncodeError:
                # The error's own text quotes the cell.
                raise SettingError(
                    f"{self._stem}: a cell has a character that {self._encoding} cannot write",
                    hint='Give the template encoding = "utf-8"',
                ) from None
        append_bytes(self._folder / self.names[-1], data)


class SpoolFiles:
    """The rows of one output route, and the Parquet, Arrow or .xlsx files made of them.

    Attributes as those of ``TextFiles``.
    """

    def __init__(
        self, workspace: Workspace, stem: str, form: str, rows_per_file: int | None
    ) -> None:
        """Name the files; nothing is created before the first row."""
        self._workspace, self._stem, self._form = workspace, stem, form
        self._spool = workspace.spool / f"{stem}.spool"
        self._rows_per_file = rows_per_file
        self.rows = 0
        self.names: list[str] = []

    def append(self, batch: pa.RecordBatch) -> None:
        """Append a batch; all have the same columns."""
        if not self.rows:
            append_bytes(self._spool, memoryview(batch.schema.serialize()))
        append_bytes(self._spool, memoryview(batch.serialize()))
        self.rows += batch.num_rows

    def finish(self, complete: Callable[[pa.RecordBatch], pa.RecordBatch]) -> None:
        """Write the files; ``complete`` makes an output batch of a spooled one.

        Raises InputError if a worksheet cannot hold a cell.
        """
        size = self._rows_per_file
        if self._form == "xlsx" and min(self.rows, size or self.rows) >= SHEET_ROWS_MAX:
            size = SHEET_ROWS_MAX - 1
        with pa.memory_map(str(self._spool)) as source:
            rows = pa.ipc.open_stream(source).read_all()  # mapped, not read
            for number, begin in enumerate(range(0, self.rows, size or self.rows), 1):
                part = rows.slice(begin, size)
                self.names.append(part_name(self._stem, f".{self._form}", size and number))
                groups = (
                    complete(_copied(part.slice(at, GROUP_ROWS)))
                    for at in range(0, part.num_rows, GROUP_ROWS)
                )
                with create_private(self._workspace.output / self.names[-1]) as file:
                    (self._write_sheet if self._form == "xlsx" else self._write)(file, groups)

    def _write(self, file: BinaryIO, groups: Iterator[pa.RecordBatch]) -> None:
        first = next(groups)
        schema = first.schema
        dictionaries = [field.name for field in schema if pa.types.is_dictionary(field.type)]
        with (
            pq.ParquetWriter(file, schema, use_dictionary=dictionaries)
            if self._form == "parquet"
            else pa.ipc.new_file(file, schema)
        ) as writer:
            for group in chain([first], groups):
                writer.write_batch(group)

    def _write_sheet(self, file: BinaryIO, groups: Iterator[pa.RecordBatch]) -> None:
        """Write a workbook of one sheet; every cell is text, so no number loses a digit."""
        import xlsxwriter  # noqa: PLC0415 - slow to load

        # Constant memory needs temporary files: they belong in the private spool folder.
        tmpdir = str(self._workspace.spool)
        options = {"constant_memory": True, "tmpdir": tmpdir, "use_zip64": True}
        with xlsxwriter.Workbook(file, options) as workbook:
            sheet = workbook.add_worksheet("list")
            write, row = sheet.write_string, 0
            for group in groups:
                names = group.schema.names
                if row == 0:
                    for place, name in enumerate(names):
                        write(0, place, name)
                columns = [plain_texts(column).to_pylist() for column in group.columns]
                for cells in zip(*columns, strict=True):
                    row += 1
                    for place, cell in enumerate(cells):
                        if cell and write(row, place, cell):
                            raise InputError(
                                self.names[-1],
                                f"a cell of the column {names[place]!r} is longer "
                                f"than the {SHEET_CELL_CHARS_MAX:,} characters of a worksheet",
                                hint="Leave the column out of --keep, or give --format csv",
                            )


def _copied(rows: pa.Table) -> pa.RecordBatch:
    """Return a copy of the rows, each column in one piece.

    The output then depends on the rows alone, not on how they were batched, and the padding of an
    Arrow file holds no text of other rows.
    """
    columns = [pa.concat_arrays(column.chunks) for column in rows.columns]
    return pa.RecordBatch.from_arrays(columns, schema=rows.schema)


def part_name(stem: str, ending: str, part: int | None) -> str:
    """Return the name of a whole file, or of a part counted from 1."""
    return f"{stem}{ending}" if part is None else f"{stem}-{part:05}{ending}"


def append_bytes(path: Path, data: memoryview | bytes) -> None:
    """Append bytes to a private file, creating it if missing, and close it."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        rest = memoryview(data)
        while rest.nbytes:
            rest = rest[os.write(descriptor, rest) :]
    finally:
        os.close(descriptor)
