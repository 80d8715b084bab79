"""Snapshot files: an LMDB environment, written in one transaction, and the seal behind it.

LMDB allows one environment per file and process, and py-lmdb refuses a second one; so readers of
the same file share it, and the last to leave closes it.
"""

from __future__ import annotations

import ctypes
import hashlib
import mmap
import os
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import lmdb
import numpy as np
from numpy.typing import NDArray

from numroute.errors import SnapshotCorruptError, SnapshotVersionError, StoreAccessError
from numroute.files import create_private
from numroute.index import layout
from numroute.index.content import ContentError, Metadata, ValueSpec, encode_metadata

_READ_BYTES: Final = 1 << 20


_NO_DIGEST = "0" * 64
"""Stands for a digest that is not known yet, and has its length."""


def sha256(data: bytes | memoryview) -> bytes:
    """Return the digest of bytes in memory, 32 bytes."""
    return hashlib.sha256(data).digest()


def sha256_file(path: Path, length: int) -> bytes:
    """Return the digest of the first ``length`` bytes of a file, 32 bytes."""
    digest = hashlib.sha256()
    buffer = memoryview(bytearray(_READ_BYTES))
    with path.open("rb", buffering=0) as file:
        while length and (count := file.readinto(buffer[: min(length, _READ_BYTES)])):
            digest.update(buffer[:count])
            length -= count
    return digest.digest()


def write_file(
    path: Path,
    arrays: Mapping[str, NDArray[Any]],
    tables: Mapping[str, bytes],
    metadata: Metadata,
) -> None:
    """Write a new file at ``path`` (0600) and flush it to disk.

    Raises ContentError when an array is larger than the format holds, StoreAccessError when the
    file cannot be written; the caller removes what was written so far.
    """
    values: dict[str, memoryview] = {key: memoryview(table) for key, table in tables.items()}
    specs = {
        key: ValueSpec(dtype="", length=len(table), sha256=_NO_DIGEST)
        for key, table in tables.items()
    }
    for key, array in arrays.items():
        stored = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
        if stored.nbytes > layout.VALUE_BYTES_MAX:
            raise ContentError(f"{key} takes more bytes than the format holds")
        values[key] = stored.view(np.uint8).data
        specs[key] = ValueSpec(dtype=stored.dtype.str, length=len(stored), sha256=_NO_DIGEST)
    # The digests in the metadata have a fixed length, so its own is known before they are.
    lengths = [*(value.nbytes for value in values.values()), len(_encoded(metadata, specs))]
    size = layout.HEAD_BYTES + sum(map(_value_pages, lengths)) * layout.LMDB_PAGE
    try:
        with create_private(path) as file, ThreadPoolExecutor(1) as pool:
            meta = _write_environment(path, file.fileno(), size, values, metadata, specs)
            # The disk works while the digest is made.
            flushing = pool.submit(os.fsync, file.fileno())
            with path.open("rb") as written:
                head = written.read(layout.HEAD_BYTES)
            seal = layout.Seal(
                format_version=metadata.format_version,
                environment_bytes=size,
                head_sha256=sha256(head),
                meta_sha256=sha256(meta),
                environment_sha256=sha256_file(path, size),
            )
            flushing.result()
            file.seek(size)
            file.write(seal.pack())
            file.flush()
            os.fsync(file.fileno())
    except (OSError, lmdb.Error) as error:
        # Either puts the path before or behind its reason; the error has it already.
        reason = error.strerror if isinstance(error, OSError) else _reason(path, error)
        raise StoreAccessError(
            path, f"cannot be written: {reason}", hint="Is the disk full or read-only?"
        ) from None


def _write_environment(
    path: Path,
    descriptor: int,
    size: int,
    values: Mapping[str, memoryview],
    metadata: Metadata,
    specs: dict[str, ValueSpec],
) -> bytes:
    """Write all values in one transaction, the metadata last; return the metadata as written."""
    # Through the map, the pages are the file's own and no private copy of them exists. LMDB wants
    # a page more than it uses.
    environment = lmdb.open(
        str(path),
        subdir=False,
        lock=False,
        map_size=size + layout.LMDB_PAGE,
        writemap=True,
        sync=False,
        max_dbs=0,
    )
    try:
        # A page that finds no room on the disk when it is touched would kill the process.
        os.posix_fallocate(descriptor, 0, size)
        with environment.begin(write=True) as transaction, ThreadPoolExecutor(1) as pool:
            for key, data in sorted(values.items()):
                digest = pool.submit(sha256, data)
                transaction.put(key.encode("ascii"), _padded(data))
                specs[key] = replace(specs[key], sha256=digest.result().hex())
            meta = _encoded(metadata, specs)
            transaction.put(layout.META.encode("ascii"), meta)
        if environment.info()["last_pgno"] + 1 != size // layout.LMDB_PAGE:
            raise ContentError("LMDB laid the file out in another way than the format says")
    finally:
        environment.close()
    os.ftruncate(descriptor, size)
    return meta


def _encoded(metadata: Metadata, specs: dict[str, ValueSpec]) -> bytes:
    """Return the metadata at a length that gives them pages of their own; JSON ignores spaces."""
    return encode_metadata(metadata, specs).ljust(layout.VALUE_BYTES_MIN)


def _value_pages(length: int) -> int:
    return -(-(layout.VALUE_OFFSET + max(length, layout.VALUE_BYTES_MIN)) // layout.LMDB_PAGE)


def _padded(data: memoryview) -> memoryview | bytes:
    """Return data that LMDB stores on pages of its own: aligned, and out of the root page."""
    if len(data) >= layout.VALUE_BYTES_MIN:
        return data
    return bytes(data).ljust(layout.VALUE_BYTES_MIN, b"\0")


def _reason(path: Path, error: lmdb.Error) -> str:
    return str(error).removeprefix(f"{path}: ")


class Environment:
    """An open snapshot file.

    ``values`` are views into the map: they are valid until :meth:`release` and must not outlive it
    (py-lmdb: a buffer dies with its transaction). A short value may be followed by padding.
    """

    def __init__(self, path: Path, identity: tuple[int, int]) -> None:
        """Open the file for :func:`open_environment`, which says what it raises."""
        self.seal = read_seal(path)
        self.readers = 0
        self._identity = identity
        try:
            # No lock file: a published snapshot is never written again, and its folder may be
            # read-only.
            self._environment = lmdb.open(
                str(path), subdir=False, readonly=True, lock=False, create=False, max_spare_txns=0
            )
        except lmdb.Error as error:
            fault = f"LMDB cannot open it: {_reason(path, error)}"
            raise SnapshotCorruptError(path, fault) from None
        self._transaction = self._environment.begin(buffers=True)
        self.values = {bytes(key).decode(): value for key, value in self._transaction.cursor()}
        _advise_huge_pages(self.values)
        if sha256(self.values.get(layout.META, b"")) != self.seal.meta_sha256:
            self._close()
            raise SnapshotCorruptError(path, "the metadata are not what was written")

    def release(self) -> None:
        """Leave the environment; the last reader closes it."""
        with _lock:
            self.readers -= 1
            if not self.readers:
                del _open[self._identity]
                self._close()

    def _close(self) -> None:
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
            environment = _open.get(identity)
            if environment is None:
                environment = _open[identity] = Environment(path, identity)
            environment.readers += 1
            return environment
    except FileNotFoundError:
        raise SnapshotCorruptError(path, "the snapshot's file is missing") from None
    except OSError as error:
        raise StoreAccessError.unreadable(path, error) from None


def read_seal(path: Path) -> layout.Seal:
    """Return the file's seal after checking it against the file's length and first pages."""
    with path.open("rb") as file:
        size = file.seek(0, 2) - layout.SEAL_BYTES
        file.seek(max(0, size))
        seal = layout.Seal.unpack(file.read(layout.SEAL_BYTES))
        file.seek(0)
        head = file.read(layout.HEAD_BYTES)
    if size < layout.HEAD_BYTES or size % layout.LMDB_PAGE:
        whole = size + layout.SEAL_BYTES
        fault = f"{whole} bytes are not a whole snapshot: truncated, or another kind of file"
    elif seal is None:
        fault = "no seal on the last page: truncated, damaged, or another kind of file"
    elif seal.format_version != layout.FORMAT_VERSION:
        raise SnapshotVersionError(path, expected=layout.FORMAT_VERSION, actual=seal.format_version)
    elif seal.environment_bytes != size:
        fault = f"the seal covers {seal.environment_bytes} bytes, the file holds {size} before it"
    elif sha256(head) != seal.head_sha256:
        fault = "the first pages are not what was written"
    else:
        return seal
    raise SnapshotCorruptError(path, fault)


def _advise_huge_pages(values: Mapping[str, memoryview]) -> None:
    """Ask the kernel to map the whole file by pages of 2 MiB, before the first of them is touched.

    Small pages cost a lookup about a third more. Where the kernel cannot, nothing happens.
    """
    places = [
        (np.frombuffer(value, np.uint8).ctypes.data, value.nbytes) for value in values.values()
    ]
    if places and hasattr(mmap, "MADV_HUGEPAGE"):
        first = min(address for address, _ in places) // mmap.PAGESIZE * mmap.PAGESIZE
        end = max(address + length for address, length in places)
        madvise = ctypes.CDLL(None).madvise
        madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
        madvise(first, end - first, mmap.MADV_HUGEPAGE)
