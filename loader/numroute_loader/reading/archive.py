"""The text of an input file, plain or in a zip: opened once, read once, within limits.

A zip is unpacked as it is read, never to disk and never whole into memory. The sizes that it states
are not trusted: the bytes that come out are counted.
"""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
import zlib
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any, Self, cast

from numroute.errors import InputError

HEAD_BYTES = 65_536
"""How much of the text is read ahead, to recognise it."""

TEXT_BYTES_MAX = 256 * 2**30
"""The longest text that is read: twice a billion rows of the widest dump."""

ZIP_RATIO_MAX = 200
"""How many times larger than the zip its text may be. Dumps reach about 15, bombs 1,000."""

WHOLE_BYTES_MAX = 2**20
"""Files up to this size are read whole when they are opened.

They hold no file descriptor: months of increments can be open at the same time.
"""

ZIP_DIRECTORY_BYTES_MAX = 2**18
"""The longest directory of a zip that is read: that of some thousand members."""

DOWNLOAD_AGAIN = "Download it again"

BYTE_ORDER_MARK = b"\xef\xbb\xbf"

_ZIP_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_PIECE_BYTES = 2**20
_UNPACK = "Unpack it and give the registry's own file"
_OTHER_FORMATS = {
    b"\x1f\x8b": "a gzip archive",
    b"BZh": "a bzip2 archive",
    b"\xfd7zXZ": "an xz archive",
    b"\x28\xb5\x2f\xfd": "a Zstandard archive",
    b"7z\xbc\xaf\x27\x1c": "a 7-Zip archive",
    b"Rar!": "a RAR archive",
    b"%PDF": "a PDF document",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook (.xls)",
    b"PAR1": "a Parquet file",
    b"SQLite format 3\0": "an SQLite database",
}
_WEB_PAGE = (b"<!doctype", b"<html", b"<head", b"<body", b"<?xml", b"<!--")


class Archive:
    """An open input file. ``member`` is the name of the zip's one member, None for a plain file.

    ``head`` is the beginning of the text, ``bytes_total`` the file's size on disk.
    """

    def __init__(self, path: Path) -> None:
        """Open the file; raises InputError when it cannot be read or is of another format."""
        self.path = path
        self.member: str | None = None
        self._text_bytes, self._text_bytes_max = 0, TEXT_BYTES_MAX
        self._digest = hashlib.sha256()
        self._head = memoryview(b"")
        try:
            self._file: io.FileIO | io.BytesIO = path.open("rb", buffering=0)
            self._text: io.FileIO | io.BytesIO | IO[bytes] = self._file
        except OSError as error:
            raise _unreadable(path, error) from None
        try:
            self._open()
            self.head = self.read(HEAD_BYTES)
            self._head = memoryview(self.head)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def bytes_done(self) -> int:
        """Bytes of the file on disk that have been read."""
        return self._file.tell()

    def read(self, size: int) -> bytes:
        """Return the next ``size`` bytes of the text, fewer only at its end; see ``readinto``."""
        text = bytearray()
        piece = memoryview(bytearray(min(size, _PIECE_BYTES)))
        while count := self.readinto(piece[: size - len(text)]):
            text += piece[:count]
        return bytes(text)

    def readinto(self, buffer: memoryview) -> int:
        """Fill the buffer with the next bytes of the text; return how many there were.

        Fewer than the buffer holds only at the end of the text. Raises InputError when the file
        cannot be read, the zip is damaged, or a limit is exceeded.
        """
        filled = min(len(self._head), len(buffer))
        buffer[:filled] = self._head[:filled]
        self._head = self._head[filled:]
        while filled < len(buffer) and (count := self._readinto_some(buffer[filled:])):
            filled += count
        return filled

    def sha256(self) -> str:
        """Return the hexadecimal digest of the file on disk.

        A plain file is digested while it is read, if it is read to its end. A zip is much smaller
        than its text and is not read in one direction, so it takes a pass of its own.
        """
        try:
            at = self._file.tell()
            if self.member is None and at == self.bytes_total:
                return self._digest.hexdigest()
            self._file.seek(0)
            digest = hashlib.file_digest(self._file, "sha256")
            self._file.seek(at)
        except OSError as error:
            raise _unreadable(self.path, error) from None
        return digest.hexdigest()

    def close(self) -> None:
        """Close the file; closing it twice does no harm."""
        self._text.close()
        self._file.close()

    def refuse_other_content(self) -> None:
        """Raise InputError when the text is empty, a web page, UTF-16 or binary."""
        text, reason, line = self.head.removeprefix(BYTE_ORDER_MARK), "", None
        if not text.strip():
            reason = "the file is empty"
        elif text[:1024].lstrip().lower().startswith(_WEB_PAGE):
            reason = "the file looks like an HTML page, not a registry's file"
        elif self.member is None and self.path.suffix.lower() == ".zip":
            reason = "named .zip, but it is not a zip"
        elif text.startswith((b"\xff\xfe", b"\xfe\xff")):
            reason = "the text is UTF-16, as a spreadsheet saves it"
        elif b"\0" in text:
            reason, line = "the line holds NUL bytes", text.count(b"\n", 0, text.index(b"\0")) + 1
        if reason:
            raise InputError(self.path, reason, line=line, hint=DOWNLOAD_AGAIN)

    def _open(self) -> None:
        """Identify the format by the first bytes and, in a zip, find the one member."""
        try:
            self.bytes_total = os.fstat(self._file.fileno()).st_size
            if self.bytes_total <= WHOLE_BYTES_MAX:
                with self._file as file:
                    self._text = self._file = io.BytesIO(file.read() or b"")
            start = self._file.read(16) or b""
            self._file.seek(0)
        except OSError as error:
            raise _unreadable(self.path, error) from None
        for magic, name in _OTHER_FORMATS.items():
            if start.startswith(magic):
                raise InputError(self.path, f"the file is {name}", hint=_UNPACK)
        if start.startswith(b"PK"):
            self._text_bytes_max = min(TEXT_BYTES_MAX, ZIP_RATIO_MAX * self.bytes_total)
            try:
                self._open_zip()
            except (zipfile.BadZipFile, RuntimeError, OSError, EOFError, ValueError) as error:
                # An unknown method raises NotImplementedError, which is a RuntimeError.
                raise _damaged(self.path, error) from None

    def _open_zip(self) -> None:
        def read(size: int = -1) -> bytes:
            if size > ZIP_DIRECTORY_BYTES_MAX:
                reason = (
                    f"the zip's directory takes {size:,} bytes, it should hold exactly one file"
                )
                raise InputError(self.path, reason, hint=_UNPACK)
            return self._file.read(size) or b""

        # zipfile would read the whole directory, however long.
        short = SimpleNamespace(read=read, seek=self._file.seek, tell=self._file.tell)
        archive = zipfile.ZipFile(cast("IO[bytes]", short))
        archive.fp = cast("IO[bytes]", self._file)
        members = archive.infolist()
        reason = ""
        if any(member.filename == "[Content_Types].xml" for member in members):
            reason = "the file is an Excel workbook or another document"
        elif len(members) != 1 or members[0].is_dir():
            reason = f"the zip holds {len(members)} members, it should hold exactly one file"
        elif members[0].flag_bits & 0x1:
            reason = "the zip is encrypted"
        elif members[0].compress_type not in _ZIP_METHODS:
            # zipfile unpacks the other methods without a bound on memory.
            method = members[0].compress_type
            reason = f"the zip is packed with method {method}; stored and deflated are read"
        if reason:
            raise InputError(self.path, reason, hint=_UNPACK)
        self._text, self.member = archive.open(members[0]), members[0].filename

    def _readinto_some(self, buffer: memoryview) -> int:
        try:
            count: int = cast("Any", self._text).readinto(buffer)
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise _damaged(self.path, error) from None
        except OSError as error:
            raise _unreadable(self.path, error) from None
        self._text_bytes += count
        if self._text_bytes > self._text_bytes_max:
            raise InputError(
                self.path,
                f"its text is longer than the limit of {self._text_bytes_max} bytes "
                f"({ZIP_RATIO_MAX} times the size of a zip, {TEXT_BYTES_MAX} bytes in all)",
                hint="This is not a registry's file; a zip like this can be made to fill a disk",
            )
        if self.member is None:
            self._digest.update(buffer[:count])
        return count


def _unreadable(path: Path, error: OSError) -> InputError:
    reason = error.strerror or type(error).__name__
    return InputError(path, f"cannot be read: {reason}", hint="Check the path and its permissions")


def _damaged(path: Path, error: Exception) -> InputError:
    reason = f"the zip is damaged or cut short ({type(error).__name__})"
    return InputError(path, reason, hint=DOWNLOAD_AGAIN)
