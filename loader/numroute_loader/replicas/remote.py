"""The storage through which snapshots travel: immutable objects and a pointer to one of them.

::

    URL/current.json              which snapshot is current, its size and its digest
    URL/snapshots/<id>.lmdb       the snapshots' files as they lie in a store

The object is complete before the pointer names it, and readers never see a part of either: where
the storage has folders and renames, a file is written under another name and renamed; in an object
store, an object appears when its upload is complete.
"""

from __future__ import annotations

import contextlib
from typing import IO, TYPE_CHECKING, Annotated, Any, Literal, cast
from urllib.parse import urlsplit, urlunsplit

import msgspec

from numroute.entry import how_to_install
from numroute.errors import FeedError, SettingError

if TYPE_CHECKING:
    from collections.abc import Iterator

POINTER = "current.json"
SNAPSHOTS = "snapshots"
SUFFIX = ".lmdb"
UNFINISHED = ".unfinished"

POINTER_BYTES_MAX = 4096

_RENAMES = frozenset({"file", "local", "sftp", "ssh", "smb"})
"""Protocols of storage where a file is visible while it is written, and can be renamed."""


class Pointer(msgspec.Struct, frozen=True, kw_only=True):
    """The current snapshot of a remote: its id, size, and SHA-256 digest in hexadecimal."""

    version: Literal[1] = 1
    snapshot: Annotated[str, msgspec.Meta(pattern=r"\A[0-9A-Za-z][0-9A-Za-z._-]{0,99}\Z")]
    file_bytes: Annotated[int, msgspec.Meta(ge=0)]
    sha256: Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{64}\Z")]
    as_of: str


class Remote:
    """Storage at a URL. Every error of its driver becomes a FeedError."""

    def __init__(self, url: str) -> None:
        """Find the driver. Raises SettingError when it is missing or the URL is invalid."""
        try:
            import fsspec  # noqa: PLC0415 - an extra brings it
        except ModuleNotFoundError:
            command = how_to_install("replicas")
            raise SettingError("fsspec is not installed", hint=f"Run {command}") from None
        self.url = _without_secrets(url)
        try:
            self._fs, self._root = fsspec.core.url_to_fs(url, use_listings_cache=False)
        except ImportError as error:
            raise SettingError(f"{self.url}: {error}", hint="Install the driver it names") from None
        except ValueError as error:
            raise SettingError(f"{self.url}: {error}", hint="Check the URL") from None
        except Exception as error:  # noqa: BLE001 - a driver may connect here, with its own errors
            raise self._failed("cannot be reached", error) from None
        protocol = self._fs.protocol
        names = {protocol} if isinstance(protocol, str) else set(protocol)
        self.renames = bool(names & _RENAMES)

    def read_pointer(self) -> Pointer | None:
        """Return the pointer, None when nothing has been pushed; raises FeedError."""
        with self._wrapped("cannot be read"):
            try:
                with self._fs.open(f"{self._root}/{POINTER}", "rb") as file:
                    content = file.read(POINTER_BYTES_MAX)
            except FileNotFoundError:
                return None
        try:
            return msgspec.json.decode(content, type=Pointer)
        except msgspec.MsgspecError:
            raise FeedError(
                f"{self.url}/{POINTER}: it is not the pointer of a snapshot",
                hint="Push again from the machine that builds the snapshots",
            ) from None

    def write_pointer(self, pointer: Pointer) -> None:
        """Make a snapshot current, whose object must be complete; raises FeedError."""
        content = msgspec.json.encode(pointer) + b"\n"
        with self._wrapped("the pointer cannot be written"):
            final = f"{self._root}/{POINTER}"
            if not self.renames:
                self._fs.pipe_file(final, content)
                return
            with self._fs.open(final + UNFINISHED, "wb") as file:
                file.write(content)
            self._fs.mv(final + UNFINISHED, final)

    def size(self, snapshot: str, *, unfinished: bool = False) -> int | None:
        """Return the size of a snapshot's object or None; raises FeedError."""
        with self._wrapped("cannot be looked at"):
            try:
                return int(self._fs.size(self._path(snapshot, unfinished=unfinished)))
            except FileNotFoundError:
                return None

    def ids(self) -> list[str]:
        """Return the ids of the snapshots at the remote, oldest data first; raises FeedError."""
        return sorted(name.removesuffix(SUFFIX) for name in self._names() if name.endswith(SUFFIX))

    def remove_all_but(self, kept: set[str]) -> list[str]:
        """Remove objects and remains of broken uploads; return the ids of the objects."""
        removed = []
        for name in self._names():
            snapshot = name.removesuffix(UNFINISHED).removesuffix(SUFFIX)
            if snapshot not in kept:
                with self._wrapped("old snapshots cannot be removed"):
                    self._fs.rm_file(f"{self._root}/{SNAPSHOTS}/{name}")
                if name.endswith(SUFFIX):
                    removed.append(snapshot)
        return removed

    @contextlib.contextmanager
    def reading(self, snapshot: str, offset: int) -> Iterator[IO[bytes]]:
        """Open a snapshot's object for reading from an offset; raises FeedError."""
        with self._wrapped("the download broke off"):
            try:
                opened = self._fs.open(self._path(snapshot), "rb")
            except FileNotFoundError:
                raise FeedError(
                    f"{self.url}: the pointer names snapshot {snapshot!r}, which is not there",
                    hint="Push again from the machine that builds the snapshots",
                ) from None
            with opened as file:
                file.seek(offset)
                yield cast("IO[bytes]", file)

    @contextlib.contextmanager
    def writing(self, snapshot: str, offset: int) -> Iterator[IO[bytes]]:
        """Open a snapshot's object for writing; with an offset, continue a broken upload.

        It is complete, and has its name, when the block ends. Raises FeedError.
        """
        with self._wrapped("the upload broke off"):
            self._fs.makedirs(f"{self._root}/{SNAPSHOTS}", exist_ok=True)
            path = self._path(snapshot, unfinished=self.renames)
            with self._fs.open(path, "ab" if offset else "wb") as file:
                yield cast("IO[bytes]", file)
            if self.renames:
                self._fs.mv(path, self._path(snapshot))

    def _names(self) -> list[str]:
        with self._wrapped("cannot be listed"):
            try:
                paths = self._fs.ls(f"{self._root}/{SNAPSHOTS}", detail=False)
            except FileNotFoundError:
                return []
            return [str(path).rstrip("/").rpartition("/")[2] for path in paths]

    def _path(self, snapshot: str, *, unfinished: bool = False) -> str:
        end = UNFINISHED if unfinished else ""
        return f"{self._root}/{SNAPSHOTS}/{snapshot}{SUFFIX}{end}"

    @contextlib.contextmanager
    def _wrapped(self, what: str) -> Iterator[None]:
        try:
            yield
        except FeedError:
            raise
        except Exception as error:  # noqa: BLE001 - each driver has errors of its own
            raise self._failed(what, error) from None

    def _failed(self, what: str, error: Exception) -> FeedError:
        why = getattr(error, "strerror", None) or type(error).__name__
        return FeedError(
            f"{self.url}: {what}: {why}",
            hint="Check the URL, its driver's settings, and the storage",
        )


def _without_secrets(url: str) -> str:
    """Return a URL without a password."""
    parts: Any = urlsplit(url)
    if parts.password is None:
        return url.rstrip("/")
    netloc = parts.netloc.rpartition("@")[2]
    user = f"{parts.username}@" if parts.username else ""
    return str(urlunsplit(parts._replace(netloc=f"{user}{netloc}"))).rstrip("/")
