"""A folder in which somebody else puts the registry's files."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from numroute.errors import FeedError, InputError
from numroute_loader.feeds.source import RemoteFile

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import BinaryIO

_COPY_BYTES = 1 << 20


class Inbox:
    """A folder, and those of the registry's folders that lie in it."""

    def __init__(self, path: Path, folders: Sequence[str]) -> None:
        """Name the folder; it need not exist yet."""
        self.name = f"inbox {path}"
        self._path = path
        self._folders = folders

    @contextlib.contextmanager
    def session(self) -> Iterator[Inbox]:
        """Nothing is held open between the files."""
        yield self

    def listing(self) -> list[RemoteFile]:
        """Return all files in the folders; names that begin with a dot are somebody's own."""
        try:
            found = self._files_in(self._path)
            for name in self._folders:
                with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                    found += self._files_in(self._path / name)
        except OSError as error:
            raise FeedError(
                f"{error.filename or self._path}: the inbox cannot be listed: {error.strerror}",
                hint="Check --inbox, and owner and permissions of the folder",
            ) from None
        return found

    def fetch(self, file: RemoteFile, to: Path) -> None:
        """Copy a file: its owner may replace it while a snapshot is built from the copy."""
        try:
            with (
                _opened(file.path) as source,
                os.fdopen(
                    os.open(to, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600), "wb"
                ) as target,
            ):
                while piece := _piece(source, file.path):
                    target.write(piece)
                after = os.fstat(source.fileno())
        except OSError as error:
            raise FeedError(
                f"{file.path}: cannot be copied: {error.strerror}",
                hint="Check its permissions, and the room on the store's disk",
            ) from None
        if (after.st_size, after.st_mtime_ns) != (file.size, file.mtime_ns):
            raise FeedError(
                f"{file.path}: it changed while it was copied", hint="It is tried again"
            )

    def discard(self, name: str) -> None:
        """Remove a file of this name wherever it lies in the folders."""
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
                try:
                    status = entry.stat()
                except FileNotFoundError:
                    continue
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
    """Blame a file for what it refuses: the others may be readable, and the copy's disk is well."""
    try:
        yield
    except FileNotFoundError:
        # It went away since the listing; the next one will not name it.
        raise
    except OSError as error:
        raise InputError(
            path, f"cannot be read: {error.strerror}", hint="Check its owner and permissions"
        ) from None


def _opened(path: str) -> BinaryIO:
    with _reading(path):
        return Path(path).open("rb")


def _piece(source: BinaryIO, path: str) -> bytes:
    with _reading(path):
        return source.read(_COPY_BYTES)
