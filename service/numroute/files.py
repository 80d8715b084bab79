"""Files written whole or not at all, and files with secrets that only their owner may read."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, Generic, TypeVar

from numroute.errors import NumrouteError, SettingError

Content = TypeVar("Content")

PRIVATE_BYTES_MAX = 1 << 20
"""The largest file of certificates, keys or tokens that is read: thousands of entries."""

UNFINISHED = ".unfinished"
"""The end of the name of a file that is still being written."""


def create_private(path: Path) -> BinaryIO:
    """Create a file that only its owner can read (0600), and open it for writing.

    Raises OSError, FileExistsError when anything has this name, even a dangling link.
    """
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.fdopen(os.open(path, flags, 0o600), "wb")


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Yield a new private file (0600) that replaces ``path`` when the block ends well.

    The file gets its name only when it is whole and on disk; after an error nothing of it is left.
    Raises OSError.
    """
    fresh = unfinished(path)
    try:
        with create_private(fresh) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        finish(fresh, path)
    except BaseException:
        with contextlib.suppress(OSError):
            fresh.unlink()
        raise


def write_whole(path: Path, content: bytes) -> None:
    """Replace a file by a private one (0600) with this content, whole or not at all.

    Raises OSError.
    """
    with replacing(path) as file:
        file.write(content)


def unfinished(path: Path) -> Path:
    """Return a name beside ``path``, which nobody can guess, for a file that will replace it."""
    return path.with_name(f".{path.name}.{secrets.token_hex(8)}{UNFINISHED}")


def finish(fresh: Path, path: Path) -> None:
    """Give a file its lasting name, so that the name survives a power cut. Raises OSError."""
    fresh.rename(path)
    flush(path.parent)


def remove_unfinished(folder: Path, name: str = "*") -> None:
    """Remove what a crash left of the file of this name, or of all files, in a folder.

    The caller holds the lock under which they are written. Raises OSError.
    """
    for path in folder.glob(f".{name}.*{UNFINISHED}"):
        path.unlink(missing_ok=True)


def flush(path: Path) -> None:
    """Make a file's content, or the names in a folder, survive a power cut. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def require_writable(folder: Path) -> None:
    """Raise SettingError for a folder that this user cannot write to or create; create none."""
    nearest = folder.absolute()
    while not nearest.exists():
        nearest = nearest.parent
    try:
        # Permissions say too little: root passes them, and /proc refuses all the same.
        with tempfile.TemporaryFile(dir=nearest):
            pass
    except OSError as error:
        raise SettingError(
            f"{folder} cannot be written: {error.strerror}",
            hint="Choose another one, or change its owner",
        ) from None


class Watched(Generic[Content]):
    """What some files say: their last valid ``content``, read again when they change."""

    def __init__(self, paths: Iterable[Path], read: Callable[[], Content]) -> None:
        """Read the files; raises what ``read`` raises."""
        self._paths = tuple(paths)
        self._read = read
        self._states = [_state(path) for path in self._paths]
        self._refusal: str | None = None
        self.content = read()

    def poll(self, on_refusal: Callable[[NumrouteError], object]) -> bool:
        """Read changed files; return whether they say something else and are valid.

        ``on_refusal`` is called with the error of those that are not, once. They are read a second
        time before that: several files are never replaced at the same instant.
        """
        states = [_state(path) for path in self._paths]
        settled = states == self._states
        if settled and self._refusal is None:
            return False
        self._states = states
        try:
            content = self._read()
        except NumrouteError as error:
            before, self._refusal = self._refusal, str(error) if settled else ""
            if settled and self._refusal != before:
                on_refusal(error)
            return False
        self._refusal = None
        changed = content != self.content
        self.content = content
        return changed


def _state(path: Path) -> tuple[int, ...] | None:
    """Return what changes when a file is written or replaced, or when its mode changes."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_mode, status.st_uid


def read_setting_file(path: Path, what: str, *, private: bool = False) -> bytes:
    """Return the content of a file that a setting names; ``what`` names it in a SettingError.

    ``private``: it holds a secret, and its mode must keep out everybody but its owner. Where root
    owns it, as it does an orchestrator's mounted secrets, its group may read: that is how it
    reaches a service that is not root.
    """
    try:
        with path.open("rb") as file:
            if private:
                _require_private(path, what, os.fstat(file.fileno()))
            content = file.read(PRIVATE_BYTES_MAX + 1)
    except OSError as error:
        raise SettingError(
            f"{path}: {what} cannot be read: {error.strerror}",
            hint="Check the path, and that the user that runs this program may read it",
        ) from None
    if len(content) > PRIVATE_BYTES_MAX:
        raise SettingError(
            f"{path}: {what} is larger than {PRIVATE_BYTES_MAX:,} bytes",
            hint="Is it the right file?",
        )
    return content


def _require_private(path: Path, what: str, status: os.stat_result) -> None:
    forbidden = stat.S_IRWXO | stat.S_IRWXG
    if status.st_uid == 0:
        forbidden &= ~stat.S_IRGRP
    if status.st_mode & forbidden:
        mode = stat.S_IMODE(status.st_mode)
        raise SettingError(
            f"{path}: {what} can be read or changed by others (mode {mode:04o})",
            hint=f"Run `chmod 600 {path}`; if somebody may have read it, replace what is in it",
        )
    if status.st_uid not in {0, os.geteuid()}:
        raise SettingError(
            f"{path}: {what} belongs to another user (uid {status.st_uid})",
            hint="Make it belong to the user that runs this program",
        )
