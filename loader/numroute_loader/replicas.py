"""Carry snapshots to other machines over storage that exists: a path or any fsspec URL.

::

    URL/current.json              which snapshot is current, its size and its digest
    URL/snapshots/<id>.lmdb       the snapshots' files as they lie in a store

The object is complete before the pointer names it, and readers never see a part of either: where
the storage has folders and renames, a file is written under another name and renamed; in an object
store, an object appears when its upload is complete.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from numroute.entry import how_to_install
from numroute.errors import FeedError, NoSnapshotError, SettingError, SnapshotCorruptError
from numroute.index import Snapshot, SnapshotStore, writing
from numroute.index.file import sha256_file
from numroute_loader.feeds.loop import Feed, Health, now
from numroute_loader.reading.description import Progress

POINTER = "current.json"
SNAPSHOTS = "snapshots"
SUFFIX = ".lmdb"
UNFINISHED = ".unfinished"

POINTER_BYTES_MAX = 4096

_RENAMES = frozenset({"file", "local", "sftp", "ssh", "smb"})
"""Protocols of storage where a file is visible while it is written, and can be renamed."""

INTERVAL_SECONDS = 15.0
"""How often the pointer, less than 4 KiB, is read by default."""

PIECE_BYTES = 4 << 20
SPOOL = "pulled"
"""The folder in the store for partial downloads."""

KEEP = 4
"""Snapshots that stay at the remote: a replica may still be fetching the one before."""

_PUSH_AGAIN = "Run `numroute-load push --verify` on the machine that builds the snapshots"


class Pointer(msgspec.Struct, frozen=True, kw_only=True):
    """The current snapshot of a remote: its id, size, and SHA-256 digest in hexadecimal."""

    version: Literal[1] = 1
    snapshot: Annotated[str, msgspec.Meta(pattern=r"\A[0-9A-Za-z][0-9A-Za-z._-]{0,99}\Z")]
    file_bytes: Annotated[int, msgspec.Meta(ge=0)]
    sha256: Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{64}\Z")]
    as_of: str

    def __post_init__(self) -> None:
        if datetime.fromisoformat(self.as_of).tzinfo is None:
            raise ValueError("as_of has no time zone")


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """The result of a push or a pull.

    ``moved_bytes``: 0 where the snapshot was there already. ``changed``: whether another snapshot
    became current in the store that pulls.
    """

    pointer: Pointer
    moved_bytes: int
    changed: bool = False


class Remote:
    """Storage at a URL. Every error of its driver becomes a FeedError."""

    def __init__(self, url: str) -> None:
        """Find the driver. Raises SettingError when it is missing or the URL is invalid."""
        try:
            import fsspec  # noqa: PLC0415 - an extra brings it
        except ModuleNotFoundError:
            command = how_to_install("replicas")
            raise SettingError("fsspec is not installed", hint=f"Run {command}") from None
        # Without a password.
        self.url = re.sub(r"(//[^/?#:@]*):[^/?#]*@", r"\1@", url).rstrip("/")
        try:
            self._fs, self._root = fsspec.core.url_to_fs(url, use_listings_cache=False)
        except (ImportError, ValueError) as error:
            hint = "Check the URL, and install the driver that it names"
            raise SettingError(f"{self.url}: {error}", hint=hint) from None
        except Exception as error:  # noqa: BLE001 - a driver may connect here, with its own errors
            raise self._failed("cannot be reached", error) from None
        protocol = self._fs.protocol
        names = {protocol} if isinstance(protocol, str) else set(protocol)
        self.renames = bool(names & _RENAMES)

    def read_pointer(self) -> Pointer | None:
        """Return the pointer, None when nothing has been pushed."""
        with self._wrapped("cannot be read"):
            try:
                with self._fs.open(f"{self._root}/{POINTER}", "rb") as file:
                    content = file.read(POINTER_BYTES_MAX)
            except FileNotFoundError:
                return None
        try:
            return msgspec.json.decode(content, type=Pointer)
        except msgspec.MsgspecError:
            reason = f"{self.url}/{POINTER}: it is not the pointer of a snapshot"
            raise FeedError(reason, hint=_PUSH_AGAIN) from None

    def sizes(self) -> dict[str, int]:
        """Return the bytes of all snapshots' objects and of begun uploads, by name."""
        with self._wrapped("cannot be listed"):
            try:
                entries = self._fs.ls(f"{self._root}/{SNAPSHOTS}", detail=True)
            except FileNotFoundError:
                return {}
            return {
                str(entry["name"]).rstrip("/").rpartition("/")[2]: int(entry["size"] or 0)
                for entry in entries
            }

    def remove(self, name: str) -> None:
        """Remove an object."""
        with self._wrapped("old snapshots cannot be removed"):
            self._fs.rm_file(f"{self._root}/{SNAPSHOTS}/{name}")

    @contextlib.contextmanager
    def reading(self, snapshot: str, offset: int = 0) -> Iterator[Any]:
        """Open a snapshot's object for reading from an offset."""
        with self._wrapped("the download broke off"):
            try:
                opened = self._fs.open(f"{self._root}/{SNAPSHOTS}/{snapshot}{SUFFIX}", "rb")
            except FileNotFoundError:
                raise FeedError(
                    f"{self.url}: the pointer names snapshot {snapshot!r}, which is not there",
                    hint=_PUSH_AGAIN,
                ) from None
            with opened as file:
                file.seek(offset)
                yield file

    @contextlib.contextmanager
    def writing(self, name: str, offset: int = 0) -> Iterator[Any]:
        """Open a file for writing; with an offset, continue a broken upload.

        It is complete, and has its name, when the block ends.
        """
        final = f"{self._root}/{name}"
        path = final + UNFINISHED if self.renames else final
        with self._wrapped(f"{name} cannot be written"):
            self._fs.makedirs(f"{self._root}/{SNAPSHOTS}", exist_ok=True)
            with self._fs.open(path, "ab" if offset else "wb") as file:
                yield file
            if self.renames:
                self._fs.mv(path, final)

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
        hint = "Check the URL, its driver's settings, and the storage"
        return FeedError(f"{self.url}: {what}: {why}", hint=hint)


@contextlib.contextmanager
def _private_files() -> Iterator[None]:
    """Create files at a URL that is a path so that only their owner can read them."""
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)


@_private_files()
def push(
    store: SnapshotStore,
    remote: Remote,
    *,
    verify: bool = False,
    progress: Progress | None = None,
) -> Transfer:
    """Copy the store's current snapshot to the remote and make it current there.

    An upload that broke off continues where it stopped, if the storage can append; the result is
    then read back and compared, with ``verify`` always. At most ``KEEP`` snapshots stay there.
    Raises FeedError or StoreError.
    """
    with store.open() as snapshot:
        path, metadata = snapshot.path, snapshot.metadata
        size = path.stat().st_size
        pointer = Pointer(
            snapshot=metadata.snapshot_id,
            file_bytes=size,
            sha256=sha256_file(path, size).hex(),
            as_of=metadata.as_of.isoformat(),
        )
        name, sizes = f"{pointer.snapshot}{SUFFIX}", remote.sizes()
        sent = 0
        if sizes.get(name) != size or (verify and not _is_right(remote, pointer)):
            begun = sizes.get(f"{name}{UNFINISHED}", 0) if remote.renames else 0
            # What was continued and is not right is sent once more from its beginning.
            for offset in (begun if begun <= size else 0, 0):
                with (
                    path.open("rb", buffering=0) as local,
                    remote.writing(f"{SNAPSHOTS}/{name}", offset) as target,
                ):
                    local.seek(offset)
                    sent += _copy(local, target, offset, size, progress) - offset
                is_whole = remote.sizes().get(name) == size
                if is_whole and (not (begun or verify) or _is_right(remote, pointer)):
                    break
            else:
                raise FeedError(
                    f"{remote.url}: snapshot {pointer.snapshot} does not read as it was sent",
                    hint="The pointer was not changed. Push again, and check the storage",
                )
        with remote.writing(POINTER) as file:
            file.write(msgspec.json.encode(pointer) + b"\n")
    there = sorted(remote.sizes().keys() - {name}, reverse=True)
    others = [each for each in there if each.endswith(SUFFIX)]
    for each in there:
        if each not in others[: KEEP - 1]:
            remote.remove(each)
    return Transfer(pointer=pointer, moved_bytes=sent)


def _copy(source: Any, target: Any, done: int, total: int, progress: Progress | None) -> int:  # noqa: ANN401 - files of any driver
    """Copy up to ``total`` bytes, of which some are done; return how many are done then."""
    while done < total and (piece := source.read(min(PIECE_BYTES, total - done))):
        target.write(piece)
        done += len(piece)
        if progress is not None:
            progress(done, total)
    return done


def _is_right(remote: Remote, pointer: Pointer) -> bool:
    with remote.reading(pointer.snapshot) as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == pointer.sha256


def pull(
    store: SnapshotStore, remote: Remote, *, asked_by: str = "", progress: Progress | None = None
) -> Transfer:
    """Make current in the store what is current at the remote.

    A download that broke off continues where it stopped. Nothing is published before all of its
    bytes match the digest in the pointer, and each array its own. A snapshot that the store still
    has is not fetched again, unless it is damaged.

    Raises FeedError when the remote fails or its bytes are not those that were pushed,
    NoSnapshotError when nothing has been pushed yet, StoreError.
    """
    pointer = remote.read_pointer()
    if pointer is None:
        hint = "Run `numroute-load push` on the machine that builds the snapshots"
        raise NoSnapshotError(remote.url, "nothing has been pushed here yet", hint=hint)
    spool = store.path / SPOOL
    part = spool / f"{pointer.snapshot}-{pointer.sha256}"
    for each in spool.glob("*"):
        if each != part:
            each.unlink()
    if pointer.snapshot in store.ids():
        with contextlib.suppress(NoSnapshotError):
            if store.current_id() == pointer.snapshot:
                return Transfer(pointer=pointer, moved_bytes=0)
        # A damaged one is fetched again below, and takes its place.
        with contextlib.suppress(SnapshotCorruptError):
            with writing(store) as writer:
                reason = f"current at {remote.url}"
                writer.roll_back(pointer.snapshot, asked_by=asked_by, reason=reason)
            return Transfer(pointer=pointer, moved_bytes=0, changed=True)
    spool.mkdir(mode=0o700, exist_ok=True)
    fetched = _fetch(remote, pointer, part, progress)
    with Snapshot(part) as snapshot:
        metadata = snapshot.metadata
    if metadata.snapshot_id != pointer.snapshot:
        part.unlink()
        reason = f"the pointer names {pointer.snapshot}, the file is {metadata.snapshot_id}"
        raise FeedError(f"{remote.url}: {reason}", hint=_PUSH_AGAIN)
    with writing(store) as writer:
        writer.publish_pulled(part, metadata, url=remote.url, asked_by=asked_by)
    return Transfer(pointer=pointer, moved_bytes=fetched, changed=True)


def _fetch(remote: Remote, pointer: Pointer, part: Path, progress: Progress | None) -> int:
    """Fetch the rest of a snapshot's file; return how many bytes that was."""
    part.touch(0o600)
    begun = part.stat().st_size
    with part.open("ab") as local:
        with remote.reading(pointer.snapshot, begun) as source:
            done = _copy(source, local, begun, pointer.file_bytes, progress)
        local.flush()
        os.fsync(local.fileno())
    if done < pointer.file_bytes:
        reason = f"{done} bytes came of {pointer.file_bytes} of snapshot {pointer.snapshot}"
        raise FeedError(f"{remote.url}: {reason}", hint=f"Pull again. {_PUSH_AGAIN}, if it stays")
    if sha256_file(part, done).hex() != pointer.sha256:
        part.unlink()
        raise FeedError(
            f"{remote.url}: snapshot {pointer.snapshot} is not what was pushed: its bytes have "
            "another digest",
            hint=_PUSH_AGAIN,
        )
    return done - begun


@dataclass
class Follower(Feed):
    """Keeps a store at what is current at the remote."""

    remote: Remote
    asked_by: str

    def __post_init__(self) -> None:
        """Continue from the store's health record."""
        self._health = Health(self.store.path, self.remote.url)

    def _work(self) -> None:
        pulled = pull(self.store, self.remote, asked_by=self.asked_by)
        self._health.set(polled_at=now())
        if pulled.changed:
            as_of = datetime.fromisoformat(pulled.pointer.as_of)
            snapshot = pulled.pointer.snapshot
            self._health.set(published_at=now(), snapshot_id=snapshot, as_of=as_of)
            self.log.info(
                "snapshot pulled",
                snapshot=snapshot,
                as_of=pulled.pointer.as_of,
                bytes=pulled.moved_bytes,
            )
