"""Where files are delivered: what every source offers, and a folder as a source."""

from __future__ import annotations

import contextlib
import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from numroute.errors import FeedError, InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path
    from typing import BinaryIO

_COPY_BYTES = 1 << 20


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


class Session(Protocol):
    """An open source."""

    def listing(self) -> list[RemoteFile]:
        """Return all files of the source; raises FeedError."""

    def fetch(self, file: RemoteFile, to: Path) -> None:
        """Copy a file to a local path (0600), continuing where ``to`` ends if it exists.

        Raises InputError when this file cannot be had though others can, FeedError when the source
        fails or the file changed on the way, OSError when the local disk refuses.
        """


class Source(Protocol):
    """A place where files are delivered; ``name`` is fit for logs and holds no secret."""

    name: str

    def session(self) -> AbstractContextManager[Session]:
        """Open the source for one poll."""

    def discard(self, name: str) -> None:
        """Remove a file that is no longer needed; raises FeedError."""


class Inbox:
    """A folder in which somebody else puts the registry's files, flat or in its folders."""

    def __init__(self, path: Path, folders: Sequence[str]) -> None:
        """Name the folder; it need not exist yet."""
        self.name = f"inbox {path}"
        self._path = path
        self._folders = folders

    @contextlib.contextmanager
    def session(self) -> Iterator[Inbox]:
        """Return the inbox itself: nothing stays open between files."""
        yield self

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
        with (
            _opened(file.path) as source,
            os.fdopen(os.open(to, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600), "wb") as target,
        ):
            while piece := _piece(source, file.path):
                target.write(piece)
            after = os.fstat(source.fileno())
        if (after.st_size, after.st_mtime_ns) != (file.size, file.mtime_ns):
            raise FeedError(
                f"{file.path}: it changed while it was copied", hint="It will be tried again"
            )

    def discard(self, name: str) -> None:
        """Remove a file of this name from all of the folders."""
        for folder in (self._path, *(self._path / each for each in self._folders)):
            try:
                (folder / name).unlink()
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                raise FeedError(
                    f"{folder / name}: cannot be removed: {error.strerror}",
                    hint="Check owner and permissions of the folder, or leave --consume out",
                ) from None

    @staticmethod
    def _files_in(folder: Path) -> list[RemoteFile]:
        files = []
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith(".") or not entry.is_file():
                    continue
                with contextlib.suppress(FileNotFoundError):
                    status = entry.stat()
                    files.append(
                        RemoteFile(
                            name=entry.name,
                            path=entry.path,
                            size=status.st_size,
                            mtime_ns=status.st_mtime_ns,
                        )
                    )
        return files


@contextlib.contextmanager
def _reading(path: str) -> Iterator[None]:
    """Turn an error of reading a file into one of this file: others may be readable."""
    try:
        yield
    except FileNotFoundError:
        raise FeedError(
            f"{path}: it was removed after it was listed", hint="The inbox will be listed again"
        ) from None
    except OSError as error:
        raise InputError(
            path, f"cannot be read: {error.strerror}", hint="Check its owner and permissions"
        ) from None


def _opened(path: str) -> BinaryIO:
    with _reading(path):
        # Without O_NONBLOCK a named pipe, put there since the listing, would block for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise InputError(path, "it is not a regular file", hint="Remove it from the inbox")
        return os.fdopen(descriptor, "rb")


def _piece(source: BinaryIO, path: str) -> bytes:
    with _reading(path):
        return source.read(_COPY_BYTES)
