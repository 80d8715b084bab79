"""Where files are delivered: what every source offers, a folder, and how to reach an SFTP host."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Protocol
from urllib.parse import unquote, urlsplit

from numroute.errors import FeedError, InputError, SettingError
from numroute.files import read_private_file

_COPY_BYTES = 1 << 20

SFTP_PORT = 22
TIMEOUT_SECONDS = 30.0
"""The default limit of connecting, logging in and each later step."""

_EXAMPLE = "Write it as sftp://USER@HOST:PORT/PATH"


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

    def session(self) -> AbstractContextManager[object]:
        """Return a context that does nothing: no connection stays open between files."""
        return contextlib.nullcontext()

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
            raise FeedError(
                f"{file.path}: it changed while it was copied", hint="It will be tried again"
            )

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


def open_private(path: Path) -> BinaryIO:
    """Open a local copy that only its owner can read (0600), for reading and writing."""
    return os.fdopen(os.open(path, os.O_CREAT | os.O_RDWR, 0o600), "r+b")


@dataclass(frozen=True, slots=True, kw_only=True)
class SftpAddress:
    """The host's address."""

    user: str
    host: str
    port: int
    path: str

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"sftp://{self.user}@{host}:{self.port}{self.path}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SftpSettings:
    """The settings of a connection.

    ``known_hosts``: a file in the form of OpenSSH. ``fingerprints``: of host keys, as ``ssh-keygen
    -l`` shows them. A host must be known by one or the other. ``password`` and ``passphrase`` come
    from the environment, ``password_file`` and ``key_file`` are read for each connection.
    """

    address: SftpAddress
    known_hosts: Path | None = None
    fingerprints: tuple[str, ...] = ()
    password: str | None = field(default=None, repr=False)
    password_file: Path | None = None
    key_file: Path | None = None
    passphrase: str | None = field(default=None, repr=False)
    timeout_seconds: float = TIMEOUT_SECONDS

    def __post_init__(self) -> None:
        """Raise SettingError for settings that can never work."""
        if self.known_hosts is None and not self.fingerprints:
            raise SettingError(
                "no key is pinned for the SFTP host, and a key is never trusted on first use",
                hint="Give --known-hosts FILE, or --host-key SHA256:... as the registry states it",
            )
        if self.password is None and self.password_file is None and self.key_file is None:
            raise SettingError(
                "the SFTP host needs a password or a key",
                hint="Give --password-file FILE, --key-file FILE, or NUMROUTE_SFTP_PASSWORD",
            )

    def read_password(self) -> str | None:
        """Return the password or None; raises SettingError."""
        if self.password_file is None:
            return self.password
        content = read_private_file(self.password_file, "the SFTP password")
        return content.decode("utf-8", "replace").rstrip("\r\n")

    def read_key(self) -> bytes | None:
        """Return the content of the private key's file or None; raises SettingError."""
        if self.key_file is None:
            return None
        return read_private_file(self.key_file, "the SFTP private key")


def parse_address(url: str, default_path: str) -> SftpAddress:
    """Read ``sftp://user@host:port/path``; raises SettingError."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise SettingError("invalid SFTP URL", hint=_EXAMPLE) from None
    if parts.password is not None:
        # Without the URL: it would print the password.
        raise SettingError(
            "the SFTP URL holds a password, where others can see it",
            hint="Leave it out and give --password-file FILE or NUMROUTE_SFTP_PASSWORD",
        )
    if parts.scheme != "sftp" or not parts.hostname or not parts.username:
        raise SettingError(f"{url!r} is not the URL of an SFTP folder", hint=_EXAMPLE)
    return SftpAddress(
        user=unquote(parts.username),
        host=parts.hostname,
        port=port or SFTP_PORT,
        path=unquote(parts.path).rstrip("/") or default_path,
    )
