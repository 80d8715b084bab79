"""Open snapshot files as read-only LMDB environments, each at most once in a process.

LMDB allows one environment per file and process, and a second one in the same process would be
refused by py-lmdb; so readers of the same file share it, and the last to leave closes it.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import lmdb

from numroute.errors import SnapshotCorruptError, SnapshotVersionError, StoreAccessError
from numroute.index.digest import sha256
from numroute.index.layout import (
    FORMAT_VERSION,
    HEAD_BYTES,
    LMDB_PAGE,
    META,
    SEAL_BYTES,
    Seal,
)

if TYPE_CHECKING:
    from pathlib import Path

REBUILD_HINT = "Make another snapshot current or build this one again"


@dataclass(slots=True, kw_only=True)
class Environment:
    """An open snapshot file.

    ``values`` are views into the map: they are valid until :meth:`release` and must not outlive it
    (py-lmdb: a buffer dies with its transaction).
    """

    path: Path
    seal: Seal
    values: dict[str, memoryview]
    _environment: lmdb.Environment
    _transaction: lmdb.Transaction
    _identity: tuple[int, int]
    _readers: int = field(default=1)

    def release(self) -> None:
        """Leave the environment; the last reader closes it."""
        with _lock:
            self._readers -= 1
            if self._readers:
                return
            del _open[self._identity]
            self.values.clear()
            self._transaction.abort()
            self._environment.close()


_lock = threading.Lock()
_open: dict[tuple[int, int], Environment] = {}


def open_environment(path: Path) -> Environment:
    """Open a snapshot file, or join the readers that have it open already.

    Reads the seal, the first three pages and the metadata, nothing else: opening costs the same
    for any size. Raises SnapshotCorruptError, SnapshotVersionError or StoreAccessError.
    """
    try:
        status = path.stat()
        identity = (status.st_dev, status.st_ino)
        with _lock:
            if identity in _open:
                environment = _open[identity]
                environment._readers += 1  # noqa: SLF001 - this module is the owner of the count
                return environment
            environment = _open[identity] = _open_file(path, identity)
            return environment
    except FileNotFoundError:
        raise SnapshotCorruptError(
            path, "the snapshot's file is missing", hint=REBUILD_HINT
        ) from None
    except OSError as error:
        raise StoreAccessError.unreadable(path, error) from None


def read_seal(path: Path) -> Seal:
    """Return the file's seal after checking it against the file's length and first pages."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        if size < HEAD_BYTES + SEAL_BYTES or size % LMDB_PAGE:
            raise SnapshotCorruptError(
                path,
                f"{size} bytes are no whole snapshot: the file is truncated or is none",
                hint=REBUILD_HINT,
            )
        file.seek(size - SEAL_BYTES)
        seal = Seal.unpack(file.read(SEAL_BYTES))
        if seal is None:
            raise SnapshotCorruptError(
                path,
                "no seal on the last page: the file is truncated, damaged or no snapshot",
                hint=REBUILD_HINT,
            )
        if not 1 <= seal.format_version <= FORMAT_VERSION:
            raise SnapshotVersionError(path, expected=FORMAT_VERSION, actual=seal.format_version)
        if seal.environment_bytes != size - SEAL_BYTES:
            raise SnapshotCorruptError(
                path,
                f"the seal tells of {seal.environment_bytes} bytes, "
                f"the file holds {size - SEAL_BYTES} before it",
                hint=REBUILD_HINT,
            )
        file.seek(0)
        if sha256(file.read(HEAD_BYTES)) != seal.head_sha256:
            raise SnapshotCorruptError(
                path, "the first pages are not what was written", hint=REBUILD_HINT
            )
    return seal


def _open_file(path: Path, identity: tuple[int, int]) -> Environment:
    seal = read_seal(path)
    try:
        # No lock file: a published snapshot is never written again, and its folder may be
        # read-only.
        environment = lmdb.open(
            str(path), subdir=False, readonly=True, lock=False, create=False, max_spare_txns=0
        )
    except lmdb.Error as error:
        # The path is told once, and not to clients: LMDB puts it before its reason.
        reason = str(error).removeprefix(f"{path}: ")
        raise SnapshotCorruptError(
            path, f"LMDB cannot open it: {reason}", hint=REBUILD_HINT
        ) from None
    transaction = environment.begin(buffers=True)
    values = {bytes(key).decode(): value for key, value in transaction.cursor()}
    opened = Environment(
        path=path,
        seal=seal,
        values=values,
        _environment=environment,
        _transaction=transaction,
        _identity=identity,
    )
    if META not in values or sha256(values[META]) != seal.meta_sha256:
        values.clear()
        transaction.abort()
        environment.close()
        raise SnapshotCorruptError(path, "the metadata are not what was written", hint=REBUILD_HINT)
    return opened
