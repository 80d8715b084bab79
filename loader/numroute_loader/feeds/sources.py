"""Where files are delivered: what every source offers, and a folder as one."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple, Protocol

from numroute.errors import FeedError, InputError

PIECE_BYTES = 1 << 20
"""How much of a file is read at a time."""

INTERVAL_SECONDS = 60.0
"""How often a source is listed by default. Files come every two hours."""

SETTLE_SECONDS = 5.0
"""How long size and time of a file must stay the same before it is taken to be whole."""

TIMEOUT_SECONDS = 30.0
"""The default limit of connecting and logging in, and of each later step."""


class RemoteFile(NamedTuple):
    """A delivered file as its folder lists it; ``path`` is the source's own name for it."""

    name: str
    path: str
    size: int
    mtime_ns: int

    @property
    def identity(self) -> str:
        """Size and time, which tell this delivery from another one of the same name."""
        return f"{self.size}-{self.mtime_ns}"


class ChangedError(FeedError):
    """A file changed while it was fetched: what came of it is of no use."""


class Source(Protocol):
    """A place where files are delivered; ``name`` is fit for logs and holds no secret."""

    name: str

    def session(self) -> AbstractContextManager[object]:
        """Keep the source open for one poll."""

    def listing(self) -> list[RemoteFile]:
        """Return all files of the source; raises FeedError."""

    def read(self, file: RemoteFile, offset: int) -> Iterator[bytes]:
        """Yield a file's content from an offset, piece by piece.

        Raises InputError when only this file is unavailable, ChangedError when it changed on the
        way, FeedError when the source fails.
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
        """Return all files in the folders."""
        files = []
        try:
            paths = list(self._path.iterdir())
            for folder in filter(Path.is_dir, (self._path / name for name in self._folders)):
                paths += folder.iterdir()
            for path in paths:
                with contextlib.suppress(FileNotFoundError):
                    status = path.stat()
                    if stat.S_ISREG(status.st_mode):
                        size, mtime_ns = status.st_size, status.st_mtime_ns
                        files.append(RemoteFile(path.name, str(path), size, mtime_ns))
        except OSError as error:
            raise FeedError(
                f"{error.filename or self._path}: the inbox cannot be listed: {error.strerror}",
                hint="Check --inbox, and owner and permissions of the folder",
            ) from None
        return files

    def read(self, file: RemoteFile, offset: int) -> Iterator[bytes]:
        """Yield a file's content from an offset."""
        try:
            # Without O_NONBLOCK a named pipe, put there since the listing, would block for ever.
            descriptor = os.open(file.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            with os.fdopen(descriptor, "rb") as opened:
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    hint = "Remove it from the inbox"
                    raise InputError(file.path, "it is not a regular file", hint=hint)
                opened.seek(offset)
                while piece := opened.read(PIECE_BYTES):
                    yield piece
                after = os.fstat(descriptor)
        except OSError as error:
            reason = f"cannot be read: {error.strerror}"
            raise InputError(file.path, reason, hint="Check its owner and permissions") from None
        if (after.st_size, after.st_mtime_ns) != (file.size, file.mtime_ns):
            changed = f"{file.path}: it changed while it was copied"
            raise ChangedError(changed, hint="It will be tried again")
