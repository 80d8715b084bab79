"""A published snapshot, opened for reading."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
from numroute.index.file import (
    REBUILD_HINT,
    Environment,
    open_environment,
    read_seal,
    sha256,
    sha256_file,
)
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
        self._changed: ChangedBy | None = None
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
            self.values = values = stored_values(self.path, environment, specs)
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
                lacks = f"it lacks {', '.join(sorted(missing))}"
                raise SnapshotCorruptError(self.path, lacks, hint=REBUILD_HINT)
            part = "operators, networks or regions are"
            self.routes = RouteTable(arrays, values)
            part = "overrides are"
            overrides = decode_overrides(bytes(values.get(layout.OVERRIDES, b"[]")))
        except MALFORMED:
            raise SnapshotCorruptError(
                self.path,
                f"the {part} not of version {environment.seal.format_version}",
                hint=REBUILD_HINT,
            ) from None
        self._overrides = OverrideTable(overrides, self.routes.status) if overrides else None
        self.arrays: Mapping[str, NDArray[Any]] = arrays
        self._ported_at = arrays.get(layout.PORTED_AT)
        self._donor = arrays.get(layout.DONOR)
        self._row_dtype = np.promote_types(np.uint16, np.min_scalar_type(self.route_count))
        self.tables = numpy_kernel.Tables(arrays)
        self._find = kernel.finder(self.tables)

    @property
    def route_count(self) -> int:
        """The number of rows that answers may have: the route table's and those of overrides."""
        return len(self.routes) + (len(self._overrides.routes) if self._overrides else 0)

    @property
    def ported_count(self) -> int:
        """The number of ported numbers."""
        return self.tables.records

    @property
    def records_by_row(self) -> NDArray[np.uint32]:
        """How many ported numbers have each row of the route table: uint32[rows]."""
        return self.arrays[layout.ROUTES_RECORDS].copy()

    @property
    def overrides(self) -> tuple[Override, ...]:
        """The overrides, expired ones among them, in the order of their numbers."""
        return self._overrides.all if self._overrides else ()

    def overrides_of(self, number: int) -> list[Override]:
        """Return the overrides that hold a number, the narrowest first, expired ones too."""
        return [each for each in reversed(self.overrides) if each.first <= number <= each.last]

    def changed_by(self) -> ChangedBy:
        """Return which source had the last word on each number that increments have changed."""
        if self._changed is None:
            # Copied once: to explain a number must not take longer the more have changed.
            self._changed = ChangedBy.decode(bytes(self.values.get(layout.CHANGED, b"")))
        return self._changed

    def tables_stored(self) -> dict[str, bytes]:
        """Return everything stored but the arrays and the metadata, by key."""
        return {key: bytes(value) for key, value in self.values.items() if key not in self.arrays}

    @property
    def file_bytes(self) -> int:
        """The length of the file."""
        return self.path.stat().st_size

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
        fields = None
        if ported_at or range_route or len(numbers) <= kernel.few_numbers():
            fields = kernel.find_fields(self.tables, self._find, numbers)
        if fields is not None:
            rows, ranges, ranks = fields
            with_record = (ranks >= 0).nonzero()[0]
            found = with_record, ranks.take(with_record)
        else:
            rows = kernel.lookup(self.tables, numbers)
            ranges = numpy_kernel.range_lookup(self.tables, numbers) if range_route else None
            wanted = ported_at and self._ported_at is not None
            found = numpy_kernel.find_records(self.tables, numbers) if wanted else None
        times = None
        if ported_at:
            times = np.zeros(len(numbers), np.uint32)
            if found is not None and self._ported_at is not None:
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
        if self._donor is None:
            return None
        _, _, rank = self._find(number)
        return self.routes.donors[int(self._donor[rank])] if rank >= 0 else None

    def piece(self, number: int) -> tuple[int, int | None]:
        """Return the first and last number of the plan's piece that holds the number.

        The last is None for the piece that has no end.
        """
        starts = self.tables.range_start
        after = int(starts.searchsorted(np.uint64(number), side="right"))
        last = int(starts[after]) - 1 if after < len(starts) else None
        return int(starts[after - 1]), last

    def close(self) -> None:
        """Give the file up. No call may be under way, and none may follow."""
        if self._environment is None:
            return
        for name in ("_find", "tables", "arrays", "values", "_ported_at", "_donor"):
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
            raise SnapshotCorruptError(path, fault, hint=REBUILD_HINT)
        return snapshot.metadata


def stored_values(
    path: Path, environment: Environment, specs: Mapping[str, ValueSpec]
) -> dict[str, memoryview]:
    """Return the values that the metadata describe, without their padding.

    Raises SnapshotCorruptError.
    """
    values = {}
    for key, spec in specs.items():
        value = environment.values.get(key, memoryview(b""))
        nbytes = spec.length * (np.dtype(spec.dtype).itemsize if spec.dtype else 1)
        fault = ""
        if spec.dtype and spec.dtype not in layout.DTYPES.get(key, ()):
            fault = f"{key} is unknown, or of an unknown type"
        elif value.nbytes != max(nbytes, layout.VALUE_BYTES_MIN):
            fault = f"{key} holds {value.nbytes} bytes, {nbytes} were written"
        if fault:
            raise SnapshotCorruptError(path, fault, hint=REBUILD_HINT)
        values[key] = value[:nbytes]
    return values
