"""LMDB with one key per number: the way without an index of our own."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, TypeVar

import lmdb
import numpy as np

from benchmarks.registry import MANIFEST

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from benchmarks.oracle import Truth

_Scalar = TypeVar("_Scalar", bound=np.generic)

KEYS_MAX = 10_000_000
KEY_BYTES = 8
VALUE = np.dtype("<u4")
MAP_BYTES = 1 << 32
_KEYS_PER_PUT = 100_000


def ensure_database(work: Path, truth: Truth) -> Path:
    """Return a database of at most ``KEYS_MAX`` ported numbers, made unless it is there already.

    Key: the number as eight bytes, big-endian, so that keys stand in number order. Value: the place
    in the oracle's ``facts`` as four bytes.
    """
    numbers, facts = stored_part(truth.ported), stored_part(truth.ported_fact)
    folder = work / "lmdb-per-number"
    manifest = folder / MANIFEST
    wanted = {"keys": len(numbers), "sum": int(numbers.sum()), "facts": int(facts.sum())}
    if manifest.is_file() and json.loads(manifest.read_text("utf-8")) == wanted:
        return folder
    print(f"filling an LMDB database with {len(numbers):,} keys", file=sys.stderr)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    with (
        lmdb.open(str(folder), map_size=MAP_BYTES, sync=False) as environment,
        environment.begin(write=True) as transaction,
        transaction.cursor() as cursor,
    ):
        for begin in range(0, len(numbers), _KEYS_PER_PUT):
            part = slice(begin, begin + _KEYS_PER_PUT)
            pairs = zip(keys_of(numbers[part]), _values_of(facts[part]), strict=True)
            # The numbers ascend: LMDB may append, which is fastest and fills its pages.
            cursor.putmulti(pairs, append=True)
    manifest.write_text(json.dumps(wanted), "utf-8")
    return folder


@dataclass(frozen=True, slots=True, kw_only=True)
class PerNumber:
    """The open database and a reading transaction."""

    environment: lmdb.Environment
    transaction: lmdb.Transaction

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Open for reading; ``readahead`` is off as LMDB advises for random access."""
        environment = lmdb.open(str(folder), readonly=True, lock=False, readahead=False)
        return cls(environment=environment, transaction=environment.begin())

    def get(self, keys: Sequence[bytes]) -> list[Any]:
        """Look keys up one by one: bytes, or None where there is none.

        The keys are made beforehand, so that only LMDB is timed.
        """
        get = self.transaction.get
        return [get(key) for key in keys]

    def get_sorted(self, keys: Sequence[bytes]) -> list[Any]:
        """Look keys up with one call of LMDB's ``getmulti``, in the keys' own order.

        The keys ascend, so that one search ends near where the next begins. Each must be there:
        ``getmulti`` leaves out what is not.
        """
        with self.transaction.cursor() as cursor:
            return [value for _, value in cursor.getmulti(keys)]

    def check(self, values: Sequence[Any], expected: NDArray[np.uint32]) -> None:
        """Assert that these are the values of numbers with these facts."""
        found = np.frombuffer(b"".join(value or b"" for value in values), VALUE)
        assert np.array_equal(found, expected)

    def close(self) -> None:
        """Close the database."""
        self.transaction.abort()
        self.environment.close()


def stored_part(column: NDArray[_Scalar]) -> NDArray[_Scalar]:
    """Return what the database holds of one of the oracle's columns of ported numbers."""
    return column[:: -(-len(column) // KEYS_MAX)]


def keys_of(numbers: NDArray[np.uint64]) -> list[bytes]:
    """Return numbers as keys."""
    data = numbers.astype(">u8").tobytes()
    return [data[i : i + KEY_BYTES] for i in range(0, len(data), KEY_BYTES)]


def _values_of(facts: NDArray[np.uint32]) -> list[bytes]:
    data = facts.astype(VALUE).tobytes()
    return [data[i : i + VALUE.itemsize] for i in range(0, len(data), VALUE.itemsize)]
