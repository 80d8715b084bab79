"""The text of an input file, plain or in a zip: read once, from start to end, within limits.

A zip is decompressed as it is read, never to disk and never whole into memory. Its own statements
about sizes are not trusted: what really comes out is counted.
"""

from __future__ import annotations

import hashlib
import os
import zipfile
import zlib
from typing import IO, TYPE_CHECKING, Protocol, Self, cast

from numroute.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

TEXT_BYTES_MAX = 256 * 2**30
"""The longest text that is read: twice a billion rows of the widest dump."""

ZIP_RATIO_MAX = 200
"""How many times larger than the zip its text may be. Dumps reach about 15, bombs 1,000."""


class _Readable(Protocol):
    """A binary file, as far as it is used here: the file itself, or the member of a zip."""

    def readinto(self, buffer: memoryview, /) -> int: ...

    def close(self) -> None: ...


_ZIP_MAGIC = b"PK"
_ZIP_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_DIGEST_BYTES = 2**20
_DOWNLOAD_AGAIN = "Download it again"


class Source:
    """An open input file. ``member`` is the name of the zip's one member, None for a plain file.

    ``bytes_total`` is the file's size on disk, ``bytes_done`` how much of it has been read.
    """

    def __init__(self, path: Path) -> None:
        """Open the file; raises ``InputError`` when it cannot be opened or is not what it says."""
        self.path = path
        self.member: str | None = None
        self.text_bytes = 0
        self._digest = hashlib.sha256()
        try:
            self._file = path.open("rb", buffering=0)
        except OSError as error:
            raise _unreadable(path, error) from None
        try:
            self._open()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def bytes_done(self) -> int:
        """Bytes of the file on disk that have been read."""
        return self._file.tell()

    def read(self, size: int) -> bytes:
        """Return the next ``size`` bytes of the text, fewer only at its end.

        Raises ``InputError`` when the file cannot be read, the zip is damaged, or a limit is hit.
        """
        buffer = bytearray(size)
        with memoryview(buffer) as view:
            filled = self.readinto(view)
            return bytes(view[:filled])

    def readinto(self, buffer: memoryview) -> int:
        """Fill the buffer with the next bytes of the text; return how many there were.

        Fewer than the buffer holds only at the end of the text. Raises as ``read`` does.
        """
        filled = 0
        while filled < len(buffer):
            count = self._readinto_some(buffer[filled:])
            if count == 0:
                break
            filled += count
        return filled

    def sha256(self) -> str:
        """Return the digest of the file as it lies on disk, in hexadecimal.

        A plain file is digested while it is read. A zip is a fraction of its text's size and not
        read in one direction, so it takes a pass of its own.
        """
        try:
            if self.member is not None:
                self._file.seek(0)
                self._digest = hashlib.sha256()
            while piece := self._file.read(_DIGEST_BYTES):
                self._digest.update(piece)
        except OSError as error:
            raise _unreadable(self.path, error) from None
        return self._digest.hexdigest()

    def close(self) -> None:
        """Close the file; closing twice does no harm."""
        if self.member is not None:
            self._text.close()
        self._file.close()

    def _open(self) -> None:
        """Look at the first bytes and, in a zip, find the one member."""
        path = self.path
        try:
            self.bytes_total = os.fstat(self._file.fileno()).st_size
            magic = self._file.read(len(_ZIP_MAGIC))
            self._file.seek(0)
        except OSError as error:
            raise _unreadable(path, error) from None
        if not magic:
            raise InputError(path, "the file is empty", hint=_DOWNLOAD_AGAIN)
        self._text: _Readable = self._file
        self._text_bytes_max = TEXT_BYTES_MAX
        if magic != _ZIP_MAGIC:
            if path.suffix.lower() == ".zip":
                refuse_web_page(path, self._file.read(_DIGEST_BYTES))
                raise InputError(path, "named .zip, but it is not a zip", hint=_DOWNLOAD_AGAIN)
            return
        self._text_bytes_max = min(TEXT_BYTES_MAX, ZIP_RATIO_MAX * self.bytes_total)
        try:
            archive = zipfile.ZipFile(cast("IO[bytes]", self._file))
            member = _only_member(path, archive)
            self._text = cast("_Readable", archive.open(member))
        except (zipfile.BadZipFile, RuntimeError, OSError, EOFError, ValueError) as error:
            # NotImplementedError, which is a RuntimeError, is also what an unknown method raises.
            raise _damaged(path, error) from None
        self.member = member.filename

    def _readinto_some(self, buffer: memoryview) -> int:
        try:
            count = self._text.readinto(buffer)
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise _damaged(self.path, error) from None
        except OSError as error:
            raise _unreadable(self.path, error) from None
        self.text_bytes += count
        if self.text_bytes > self._text_bytes_max:
            raise InputError(
                self.path,
                f"its text is longer than {self._text_bytes_max} bytes, which is the limit "
                f"({ZIP_RATIO_MAX} times the size of a zip, {TEXT_BYTES_MAX} bytes in all)",
                hint="This is not a registry's file; a zip like this can be made to fill a disk",
            )
        if self.member is None:
            self._digest.update(buffer[:count])
        return count


def refuse_web_page(path: Path, head: bytes) -> None:
    """Raise ``InputError`` when a text begins as a web page does: a server's error page, saved."""
    start = head[:1024].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if start.startswith((b"<!doctype", b"<html", b"<head", b"<body", b"<?xml", b"<!--")):
        raise InputError(
            path, "the file looks like an HTML page, not a registry's file", hint=_DOWNLOAD_AGAIN
        )


def _only_member(path: Path, archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    members = archive.infolist()
    if len(members) != 1 or members[0].is_dir():
        raise InputError(
            path,
            f"the zip holds {len(members)} members, it should hold exactly one file",
            hint="Unpack it and name the file that is meant",
        )
    member = members[0]
    if member.flag_bits & 0x1:
        raise InputError(path, "the zip is encrypted", hint="Unpack it first")
    if member.compress_type not in _ZIP_METHODS:
        # The other methods of zipfile decompress without a bound on memory.
        raise InputError(
            path,
            f"the zip is packed with method {member.compress_type}; stored and deflated are read",
            hint="Unpack it first",
        )
    return member


def _unreadable(path: Path, error: OSError) -> InputError:
    reason = error.strerror or type(error).__name__
    return InputError(path, f"cannot be read: {reason}", hint="Check the path and its permissions")


def _damaged(path: Path, error: Exception) -> InputError:
    return InputError(
        path,
        f"the zip is damaged or cut short ({type(error).__name__})",
        hint=_DOWNLOAD_AGAIN,
    )
