"""A published snapshot, opened for reading."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from numroute.errors import SnapshotCorruptError
from numroute.index import kernel, layout, numpy_kernel
from numroute.index.content import (
    MALFORMED,
    ChangedBy,
    Metadata,
    RouteTable,
    ValueSpec,
    decode_metadata,
)
from numroute.index.file import Environment, open_environment, read_seal, sha256, sha256_file
from numroute.index.overrides import Override, OverrideTable, decode_overrides
from numroute.model import Operator, Route

Unsigned = NDArray[np.unsignedinteger]


class Answers(NamedTuple):
    """The answers to a batch of n numbers, in its order. All arrays belong to the caller.

    ``route``: uint16[n] or uint32[n], rows of the snapshot's route table.
    ``ported_at``: uint32[n], seconds since 1970-01-01 UTC, 0 where the number is not ported, is
    overridden, or the time is not known; None when not asked for.
    ``range_route``: like ``route``, what the ranges alone say; None when not asked for.
    """

    route: Unsigned
    ported_at: NDArray[np.uint32] | None = None
    range_route: Unsigned | None = None

    @classmethod
    def joined(cls, pieces: Sequence[Self]) -> Self:
        """Return the answers to several batches, in which the same was asked for, as one."""
        joined: list[Any] = [
            None if column[0] is None else np.concatenate(column)
            for column in zip(*pieces, strict=True)
        ]
        return cls(*joined)


class Snapshot:
    """A snapshot that answers lookups from the memory map of its file.

    Any number of threads may read it at once. Nothing that it returns refers to the map, so it may
    be closed as soon as no call is under way.

    Attributes:
        metadata: What it says of itself.
        routes: Its route table.
        values, arrays, tables: What is stored by key, the arrays among it, and these as the kernel
            reads them: views of the map, which must not outlive the snapshot.
        value_specs: Type, length and digest of what is stored.
    """

    def __init__(self, path: Path) -> None:
        """Open the file; costs the same for any size.

        Raises SnapshotCorruptError, SnapshotVersionError or StoreAccessError.
        """
        self.path = path
        self._environment: Environment | None = open_environment(path)
        try:
            self._load(self._environment)
        except BaseException:
            self.close()
            raise

    def _load(self, environment: Environment) -> None:
        part = "metadata are"
        try:
            self.metadata, specs = decode_metadata(bytes(environment.values[layout.META]))
            self.value_specs = specs
            stored = environment.values
            values = {key: self._value(stored, key, spec) for key, spec in specs.items()}
            self.values = values
            arrays = {
                key: np.frombuffer(values[key], spec.dtype)
                for key, spec in specs.items()
                if spec.dtype
            }
            required = layout.REQUIRED_ARRAYS | (
                {layout.RANKS_WITHIN} if layout.RECORD_COLUMNS & arrays.keys() else set()
            )
            missing = (required - arrays.keys()) | (layout.TABLES - values.keys())
            if missing:
                raise SnapshotCorruptError(self.path, f"it lacks {', '.join(sorted(missing))}")
            part = "operators, networks or regions are"
            self.routes = RouteTable(arrays, values)
            part = "overrides are"
            overrides = decode_overrides(bytes(values.get(layout.OVERRIDES, b"[]")))
        except MALFORMED:
            fault = f"the {part} not of version {environment.seal.format_version}"
            raise SnapshotCorruptError(self.path, fault) from None
        self._overrides = OverrideTable(overrides, self.routes.status) if overrides else None
        self.arrays: Mapping[str, NDArray[Any]] = arrays
        self._ported_at = arrays.get(layout.PORTED_AT)
        self._row_dtype = np.promote_types(np.uint16, np.min_scalar_type(self.route_count))
        self.tables = numpy_kernel.Tables(arrays)
        self._find = kernel.finder(self.tables)

    def _value(self, stored: Mapping[str, memoryview], key: str, spec: ValueSpec) -> memoryview:
        """Return a value that the metadata describe, without its padding."""
        value = stored.get(key, memoryview(b""))
        nbytes = spec.length * (np.dtype(spec.dtype).itemsize if spec.dtype else 1)
        if spec.dtype and spec.dtype not in layout.DTYPES.get(key, ()):
            fault = f"{key} is unknown, or of an unknown type"
        elif value.nbytes != max(nbytes, layout.VALUE_BYTES_MIN):
            fault = f"{key} holds {value.nbytes} bytes, {nbytes} were written"
        else:
            return value[:nbytes]
        raise SnapshotCorruptError(self.path, fault)

    @property
    def route_count(self) -> int:
        """The number of rows that answers may have: the route table's and those of overrides."""
        return len(self.routes) + (len(self._overrides.routes) if self._overrides else 0)

    @property
    def ported_count(self) -> int:
        """The number of ported numbers."""
        return int(self.tables.ranks[-1])

    @property
    def records_by_row(self) -> NDArray[np.uint32]:
        """How many ported numbers have each row of the route table: uint32[rows]."""
        return self.arrays[layout.ROUTES_RECORDS].copy()

    @property
    def overrides(self) -> tuple[Override, ...]:
        """The overrides, expired ones among them, in the order of their numbers."""
        return self._overrides.all if self._overrides else ()

    @cached_property
    def changed_by(self) -> ChangedBy:
        """Which source had the last word on each number that increments have changed."""
        # Copied once: to explain a number must not take longer the more have changed.
        return ChangedBy.decode(bytes(self.values.get(layout.CHANGED, b"")))

    def tables_stored(self) -> dict[str, bytes]:
        """Return everything stored but the arrays and the metadata, by key."""
        return {key: bytes(value) for key, value in self.values.items() if key not in self.arrays}

    def route(self, row: int) -> Route:
        """Return a row of the route table, or one of the overrides' behind it."""
        if self._overrides and row >= len(self.routes):
            return self._overrides.routes[row - len(self.routes)]
        return self.routes[row]

    def lookup(
        self,
        numbers: NDArray[np.uint64],
        *,
        ported_at: bool = False,
        range_route: bool = False,
        overrides: bool = True,
    ) -> Answers:
        """Answer a batch: uint64[n] whole E.164 numbers, in any order, repeated or not.

        0 and numbers of more than 15 digits are answered with the row of status INVALID. Without
        ``overrides`` the answers are what the registry says.
        """
        if len(numbers) == 1:
            row, seconds, range_row = self.lookup_one(numbers.item(), overrides=overrides)
            return Answers(
                np.array((row,), self._row_dtype),
                np.array((seconds,), np.uint32) if ported_at else None,
                np.array((range_row,), np.uint16) if range_route else None,
            )
        rows: Unsigned
        ranges: Unsigned | None
        found: tuple[NDArray[np.integer], NDArray[np.integer]] | None
        times = np.zeros(len(numbers), np.uint32) if ported_at else None
        rows_only = not (ported_at or range_route)
        fields = kernel.find_fields(self.tables, self._find, numbers, rows_only=rows_only)
        if fields is not None:
            rows, ranges, ranks = fields
            with_record = (ranks >= 0).nonzero()[0]
            found = with_record, ranks.take(with_record)
        else:
            rows = kernel.lookup(self.tables, numbers)
            ranges = numpy_kernel.range_lookup(self.tables, numbers) if range_route else None
            wanted = ported_at and self._ported_at is not None
            found = numpy_kernel.find_records(self.tables, numbers) if wanted else None
        if times is not None and found is not None and self._ported_at is not None:
            times[found[0]] = self._ported_at.take(found[1])
        if overrides and self._overrides:
            rows = rows.astype(self._row_dtype, copy=False)
            overridden = self._overrides.apply(numbers, rows)
            if times is not None:
                # The time belongs to the record, which is not what answers.
                times[overridden] = 0
        return Answers(rows, times, ranges if range_route else None)

    def lookup_one(self, number: int, *, overrides: bool = True) -> tuple[int, int, int]:
        """Answer one number (below 2**64): ``route``, ``ported_at`` and ``range_route``."""
        row, range_row, rank = self._find(number)
        if overrides and self._overrides:
            fresh = self._overrides.row_of(number, row)
            if fresh != row:
                return fresh, 0, range_row
        if rank < 0 or self._ported_at is None:
            return row, 0, range_row
        return row, self._ported_at.item(rank), range_row

    def donor(self, number: int) -> Operator | None:
        """Return who served a ported number before, where the registry says so."""
        _, _, rank = self._find(number)
        if rank < 0 or layout.DONOR not in self.arrays:
            return None
        return self.routes.donors[int(self.arrays[layout.DONOR][rank])]

    def close(self) -> None:
        """Give the file up. No call may be under way, and none may follow."""
        if self._environment is None:
            return
        for name in ("_find", "tables", "arrays", "values", "_ported_at"):
            self.__dict__.pop(name, None)
        environment, self._environment = self._environment, None
        environment.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def verify_snapshot(path: Path) -> Metadata:
    """Read the whole file and check its digest; return the metadata.

    Raises SnapshotCorruptError naming the values that differ, SnapshotVersionError or
    StoreAccessError.
    """
    with Snapshot(path) as snapshot:
        # From the disk: a reader that has the file open already remembers only an earlier seal.
        seal = read_seal(path)
        if sha256_file(path, seal.environment_bytes) != seal.environment_sha256:
            damaged = [
                key
                for key, spec in snapshot.value_specs.items()
                if sha256(snapshot.values[key]).hex() != spec.sha256
            ]
            fault = f"{', '.join(damaged) or 'bytes outside the arrays'}: not what was written"
            raise SnapshotCorruptError(path, fault)
        return snapshot.metadata
