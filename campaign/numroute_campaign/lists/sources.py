"""Which files a list consists of, of which form they are, and their bytes, unpacked."""

from __future__ import annotations

import enum
import os
import stat
import sys
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

import pyarrow as pa

from numroute.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

STDIN: Final = "-"

HEAD_BYTES: Final = 8

_SKIPPED_PREFIXES: Final = (".", "_")
"""Files of a folder that are no data by convention: hidden ones, and Spark's ``_SUCCESS``."""


class Form(enum.Enum):
    """How a file holds its rows."""

    CSV = "csv"
    PARQUET = "parquet"
    ARROW_FILE = "arrow"
    ARROW_STREAM = "arrow stream"


_STARTS: Final = (
    (b"PAR1", Form.PARQUET, None),
    (b"ARROW1", Form.ARROW_FILE, None),
    (b"\xff\xff\xff\xff", Form.ARROW_STREAM, None),
    (b"\x1f\x8b", Form.CSV, "gzip"),
    (b"\x28\xb5\x2f\xfd", Form.CSV, "zstd"),
)
"""How a file of a form begins, and its compression."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListFile:
    """One file of a list. ``compression`` is pyarrow's name of it, None where there is none."""

    path: Path | None
    form: Form
    compression: str | None = None
    size: int = 0
    modified_ns: int = 0

    @property
    def name(self) -> str:
        """The file's name for people; no folder, which may name persons."""
        return "standard input" if self.path is None else self.path.name


def find_files(lists: Sequence[str]) -> tuple[ListFile, ...]:
    """Return the files that the arguments stand for: files, folders, ``-`` for standard input.

    Raises:
        InputError: There is no such file, a folder holds none, a file is empty or no list.
    """
    files: list[ListFile] = []
    for each in lists:
        if each == STDIN:
            files.append(_standard_input())
            continue
        path = Path(each)
        if path.is_dir():
            members = sorted(
                member
                for member in path.rglob("*")
                if member.is_file()
                and not any(
                    part.startswith(_SKIPPED_PREFIXES) for part in member.relative_to(path).parts
                )
            )
            if not members:
                raise InputError(path, "the folder holds no files", hint="Give the list's files")
            files += [_recognised(member) for member in members]
        else:
            files.append(_recognised(path))
    if sum(file.path is None for file in files) > 1:
        raise InputError(STDIN, "standard input is named twice", hint="Name it once")
    return tuple(files)


def _standard_input() -> ListFile:
    # Python opens standard input as a buffered reader; looking ahead consumes nothing.
    head = (
        sys.stdin.buffer.peek(HEAD_BYTES) if isinstance(sys.stdin.buffer, BufferedReader) else b""
    )
    form, compression = _form(head[:HEAD_BYTES])
    if form is not Form.CSV:
        what = "a zip or an Excel workbook" if form is None else f"{form.value} data"
        raise InputError(
            "standard input", f"{what}, which is not read from a pipe", hint="Give it as a file"
        )
    return ListFile(path=None, form=form, compression=compression)


def _recognised(path: Path) -> ListFile:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise InputError(path, "not a file", hint="Give a file, a folder or -")
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except FileNotFoundError:
        raise InputError(path, "there is no such file", hint="Check the path") from None
    except OSError as error:
        raise InputError(
            path,
            f"it cannot be read: {error.strerror}",
            hint="See that the user who runs this may read it",
        ) from None
    if not head:
        raise InputError(path, "the file is empty", hint="Export the list again")
    form, compression = _form(head)
    if form is None:
        raise InputError(
            path,
            "a zip or an Excel workbook, not a list",
            hint="Save the sheet as CSV, or unpack the zip",
        )
    return ListFile(
        path=path,
        form=form,
        compression=compression,
        size=status.st_size,
        modified_ns=status.st_mtime_ns,
    )


def _form(head: bytes) -> tuple[Form | None, str | None]:
    """Return form and compression by a file's first bytes; no form for an archive."""
    if head.startswith(b"PK\x03\x04"):
        return None, None
    for start, form, compression in _STARTS:
        if head.startswith(start):
            return form, compression
    return Form.CSV, None


class ByteSource:
    """The unpacked bytes of a file or of standard input."""

    def __init__(self, file: ListFile) -> None:
        """Open the file; nothing is read yet."""
        self.file = file
        if file.path is None:
            self._raw = pa.PythonFile(sys.stdin.buffer, mode="r")
        else:
            self._raw = pa.OSFile(os.fspath(file.path))
        self._stream = (
            pa.CompressedInputStream(self._raw, file.compression) if file.compression else self._raw
        )
        self._plain_bytes = 0

    def read(self, count: int) -> bytes:
        """Return up to so many bytes; none at the end.

        Raises:
            InputError: The compressed data is damaged or cut short.
        """
        try:
            data: bytes = self._stream.read(count)
        except OSError:
            raise InputError(
                self.file.path or STDIN,
                f"the {self.file.compression or 'file'} data is damaged or cut short",
                hint="Export or copy the list again",
            ) from None
        self._plain_bytes += len(data)
        return data

    @property
    def bytes_done(self) -> int:
        """Bytes of the file that were read, as it lies on disk; unpacked ones of a pipe."""
        if self.file.compression and self.file.path is not None:
            done: int = self._raw.tell()
            return done
        return self._plain_bytes

    def close(self) -> None:
        """Close the file."""
        if self.file.path is not None:
            self._stream.close()
            self._raw.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
