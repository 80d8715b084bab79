"""Where files are delivered: what every source offers, a folder, and how to reach an SFTP host."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol
from urllib.parse import SplitResult, urlsplit

from numroute.errors import FeedError, InputError, SettingError

_COPY_BYTES = 1 << 20

TIMEOUT_SECONDS = 30.0
"""The default limit of connecting, logging in and each later step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteFile:
    """A delivered file as its folder lists it; ``path`` is the source's own name for it."""

    name: str
    path: str
    size: int
    mtime_ns: int

    @property
    def identity(self) -> str:
        """Size and time, which tell this delivery from another one of the same name."""
        return f"{self.size}-{self.mtime_ns}"


class Source(Protocol):
    """A place where files are delivered; ``name`` is fit for logs and holds no secret."""

    name: str

    def session(self) -> AbstractContextManager[object]:
        """Keep the source open for one poll."""

    def listing(self) -> list[RemoteFile]:
        """Return all files of the source; raises FeedError."""

    def fetch(self, file: RemoteFile, to: Path) -> None:
        """Copy a file to a local path (0600), continuing where ``to`` ends if it exists.

        Raises InputError when only this file is unavailable, FeedError when the source fails or the
        file changed on the way, OSError when the local disk refuses.
        """


class Inbox:
    """A folder in which somebody else puts the registry's files, flat or in its folders."""

    def __init__(self, path: Path, folders: Sequence[str]) -> None:
        """Name the folder; it need not exist yet."""
        self.name = f"inbox {path}"
        self._path = path
        self._folders = folders

    session = staticmethod(contextlib.nullcontext)

    def listing(self) -> list[RemoteFile]:
        """Return all files in the folders, except those whose names begin with a dot."""
        try:
            files = self._files_in(self._path)
            for name in self._folders:
                with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                    files += self._files_in(self._path / name)
        except OSError as error:
            raise FeedError(
                f"{error.filename or self._path}: the inbox cannot be listed: {error.strerror}",
                hint="Check --inbox, and owner and permissions of the folder",
            ) from None
        return files

    def fetch(self, file: RemoteFile, to: Path) -> None:
        """Copy a file: its owner may replace it while a snapshot is built from the copy."""
        # Without O_NONBLOCK a named pipe, put there since the listing, would block for ever.
        with _reading(file.path):
            descriptor = os.open(file.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as source, open_private(to) as target:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                hint = "Remove it from the inbox"
                raise InputError(file.path, "it is not a regular file", hint=hint)
            target.truncate()
            piece = b"-"
            while piece:
                with _reading(file.path):
                    piece = source.read(_COPY_BYTES)
                target.write(piece)
            after = os.fstat(descriptor)
        if (after.st_size, after.st_mtime_ns) != (file.size, file.mtime_ns):
            reason = f"{file.path}: it changed while it was copied"
            raise FeedError(reason, hint="It will be tried again")

    @staticmethod
    def _files_in(folder: Path) -> list[RemoteFile]:
        files = []
        for path in folder.iterdir():
            with contextlib.suppress(FileNotFoundError):
                status = path.stat()
                if stat.S_ISREG(status.st_mode) and not path.name.startswith("."):
                    size, mtime_ns = status.st_size, status.st_mtime_ns
                    files.append(
                        RemoteFile(name=path.name, path=str(path), size=size, mtime_ns=mtime_ns)
                    )
        return files


@contextlib.contextmanager
def _reading(path: str) -> Iterator[None]:
    """Turn an error of reading a file into one of this file: others may be readable."""
    try:
        yield
    except OSError as error:
        reason = f"cannot be read: {error.strerror}"
        raise InputError(path, reason, hint="Check its owner and permissions") from None


def open_private(path: Path) -> BinaryIO:
    """Open a local copy that only its owner can read (0600), for reading and writing."""
    return os.fdopen(os.open(path, os.O_CREAT | os.O_RDWR, 0o600), "r+b")


def parse_address(url: str, default_path: str) -> SplitResult:
    """Read ``sftp://user@host:port/path``; raises SettingError."""
    try:
        parts = urlsplit(url)
        complete = parts.scheme == "sftp" and parts.hostname and parts.username and parts.port != 0
    except ValueError:
        complete = False
    if complete and parts.password is None:
        return parts._replace(path=parts.path.rstrip("/") or default_path, query="", fragment="")
    # Without the URL: it could print a password.
    raise SettingError(
        "the SFTP URL lacks a user or a host, or holds a password",
        hint="Write it as sftp://USER@HOST:PORT/PATH, and give the password with --password-file "
        "FILE or NUMROUTE_SFTP_PASSWORD",
    )
