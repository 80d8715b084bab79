"""Arrays and tables into a snapshot file: the environment with the metadata, then the seal."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from numroute.errors import NumrouteError, StoreAccessError
from numroute.index.digest import sha256
from numroute.index.layout import META, VALUE_BYTES_MAX, Seal
from numroute.index.lmdb_file import EnvironmentWriter, LeafFullError, Value
from numroute.index.metadata import ValueSpec, encode_metadata

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from numroute.index.content import Metadata

_NO_DIGEST = "0" * 64
"""Stands for a digest that is not known yet, and has its length."""


class ContentError(NumrouteError):
    """The content breaks a rule of the format: a fault of the program that made it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredArray:
    """An array that is to be stored, whole or as pieces that follow one another.

    ``pieces`` yields arrays of ``dtype`` with ``length`` entries in all.
    """

    dtype: np.dtype[Any]
    length: int
    pieces: Callable[[], Iterable[NDArray[Any]]]

    @classmethod
    def of(cls, array: NDArray[Any]) -> StoredArray:
        """Store a whole array."""
        return cls(dtype=array.dtype, length=len(array), pieces=lambda: (array,))

    @property
    def spec(self) -> ValueSpec:
        """What the metadata say of it, but for the digest."""
        dtype = self.dtype.newbyteorder("<")
        return ValueSpec(dtype=dtype.str, length=self.length, sha256=_NO_DIGEST)

    def value(self, key: str) -> Value:
        """Return it as the environment takes it."""
        return Value(key=key, length=self.length * self.dtype.itemsize, pieces=self._bytes)

    def _bytes(self) -> Iterable[memoryview]:
        dtype = self.dtype.newbyteorder("<")
        for piece in self.pieces():
            if len(piece):
                yield np.ascontiguousarray(piece, dtype).data.cast("B")


def write_file(
    path: Path,
    arrays: Mapping[str, StoredArray],
    tables: Mapping[str, bytes],
    metadata: Metadata,
) -> None:
    """Write a new file at ``path`` (0600) and flush it to disk.

    Raises ContentError when an array is larger than the format holds, StoreAccessError when the
    file cannot be written; what was written so far is left to the caller to remove.
    """
    for key, array in arrays.items():
        if array.length * array.dtype.itemsize > VALUE_BYTES_MAX:
            raise ContentError(f"{key} takes more bytes than the format holds")
    specs = {key: array.spec for key, array in arrays.items()}
    specs |= {
        key: ValueSpec(dtype="", length=len(table), sha256=_NO_DIGEST)
        for key, table in tables.items()
    }
    values = [array.value(key) for key, array in arrays.items()]
    values += [_table(key, table) for key, table in tables.items()]
    values.sort(key=lambda value: value.key)
    # The metadata hold the digests of all others: they come last, at a length known before.
    length = len(encode_metadata(metadata, specs))
    meta = Value(key=META, length=length, pieces=lambda: (memoryview(encode()),))
    if meta.small:
        raise ContentError("the metadata are too short for pages of their own")

    def encode() -> bytes:
        return encode_metadata(metadata, specs)

    def digested(key: str, digest: bytes) -> None:
        if key != META:
            specs[key] = replace(specs[key], sha256=digest.hex())

    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with os.fdopen(descriptor, "wb", buffering=0) as file:
            written = EnvironmentWriter(file, [*values, meta]).write(digested)
            seal = Seal(
                format_version=metadata.format_version,
                environment_bytes=written.length,
                head_sha256=sha256(written.head),
                meta_sha256=sha256(encode()),
                environment_sha256=written.sha256,
            )
            file.write(seal.pack())
            os.fsync(file.fileno())
    except LeafFullError as error:
        raise ContentError(f"the snapshot's content breaks the rule: {error}") from None
    except OSError as error:
        raise StoreAccessError(
            path, f"cannot be written: {error.strerror}", hint="Is the disk full or read-only?"
        ) from None


def _table(key: str, table: bytes) -> Value:
    return Value(key=key, length=len(table), pieces=lambda: (memoryview(table),))
