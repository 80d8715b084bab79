"""Write a snapshot file: arrays and tables into a fresh LMDB environment, then the seal."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import lmdb
import numpy as np

from numroute.errors import NumrouteError, StoreAccessError
from numroute.index.content import FIXED_STATUSES, UNALLOCATED_ROW, Content, Metadata, Patched
from numroute.index.digest import sha256, sha256_file
from numroute.index.layout import (
    CELLS,
    CHUNKS,
    DONOR,
    FORMAT_VERSION,
    GRANULES,
    GRANULES_PER_PAGE,
    HEAD_BYTES,
    LMDB_PAGE,
    META,
    PAGES,
    PORTED_AT,
    RANGE_ROUTE,
    RANGE_START,
    RECORDS_MAX,
    ROUTE,
    VALUE_BYTES_MAX,
    Seal,
    mixed_marker,
    route_dtype,
    smallest_unsigned,
)
from numroute.index.metadata import ValueSpec, encode_metadata
from numroute.index.patch import PatchedRecords
from numroute.index.range_table import build_granules, held_pieces
from numroute.index.ranked_bitmap import build_bitmap, build_pages
from numroute.index.tables import encode_routes
from numroute.model import NUMBER_MAX

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

_LMDB_DATA_VERSION = 1
"""The data version that LMDB 0.9 writes into bytes 20 to 23 of its meta page."""


class ContentError(NumrouteError):
    """The content breaks a rule of the format: a fault of the program that made it."""


def write_snapshot(path: Path, content: Content | Patched, metadata: Metadata) -> None:
    """Write the content to a new file at ``path`` (0600) and flush it to disk.

    Raises ContentError when the content breaks a rule of the format, StoreAccessError when the
    file cannot be written; what was written so far is left to the caller to remove.
    """
    if isinstance(content, Patched):
        arrays, tables = _encode_patched(content)
    else:
        check_content(content)
        arrays, tables = _encode(content)
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        meta = _write_environment(path, arrays, tables, metadata)
        _write_seal(path, meta)
    except lmdb.Error as error:
        raise StoreAccessError(
            path, f"LMDB cannot write it: {error}", hint="Is the disk full?"
        ) from None
    except OSError as error:
        raise StoreAccessError(
            path, f"cannot be written: {error.strerror}", hint="Is the disk full or read-only?"
        ) from None


def check_content(content: Content) -> None:
    """Raise ContentError when the content breaks a rule of the format."""
    statuses = tuple(route.status for route in content.routes[: len(FIXED_STATUSES)])
    rules = {
        "the route table begins with UNALLOCATED and INVALID": statuses == FIXED_STATUSES,
        f"at most {RECORDS_MAX} records": len(content.numbers) <= RECORDS_MAX,
        "numbers ascend and are unique": _ascends(content.numbers),
        "numbers are whole E.164 numbers": len(content.numbers) == 0
        or (content.numbers[0] > 0 and int(content.numbers[-1]) <= NUMBER_MAX),
        "one route per number": len(content.number_route) == len(content.numbers),
        "routes of numbers are rows": int(content.number_route.max(initial=0))
        < len(content.routes),
        "one time per number": content.ported_at is None
        or len(content.ported_at) == len(content.numbers),
        "one donor per number": content.donor is None
        or (
            len(content.donor) == len(content.numbers)
            and (len(content.donor) == 0 or int(content.donor.max(initial=0)) < len(content.donors))
        ),
        "the first piece starts at 0 and is unallocated": len(content.range_start) > 0
        and content.range_start[0] == 0
        and content.range_route[0] == UNALLOCATED_ROW,
        "the last piece is unallocated": len(content.range_route) > 0
        and content.range_route[-1] == UNALLOCATED_ROW,
        "pieces ascend and are unique": _ascends(content.range_start),
        "pieces start at whole E.164 numbers": int(content.range_start.max(initial=0))
        <= NUMBER_MAX + 1,
        "one route per piece": len(content.range_route) == len(content.range_start),
        "routes of pieces are rows": int(content.range_route.max(initial=0)) < len(content.routes),
    }
    for rule, kept in rules.items():
        if not kept:
            raise ContentError(f"the snapshot's content breaks the rule: {rule}")


def _check_patch(content: Patched) -> None:
    """Raise ContentError when a patch breaks a rule of the format."""
    patch, base = content.patch, content.base
    rules = {
        "the route table begins with the rows of the snapshot": len(patch.routes)
        >= base.route_count
        and tuple(patch.routes[: base.route_count])
        == tuple(base.route(row) for row in range(base.route_count)),
        "the donors begin with those of the snapshot": patch.donor is None
        or tuple(patch.donors[: len(base.routes.donors)]) == base.routes.donors,
        "numbers ascend and are unique": _ascends(patch.numbers),
        "numbers are whole E.164 numbers": len(patch.numbers) == 0
        or (patch.numbers[0] > 0 and int(patch.numbers[-1]) <= NUMBER_MAX),
        "routes of numbers are rows": int(patch.number_route.max(initial=0)) < len(patch.routes),
    }
    for rule, kept in rules.items():
        if not kept:
            raise ContentError(f"the patch breaks the rule: {rule}")


def _ascends(values: NDArray[np.uint64]) -> bool:
    step = 1 << 20
    return all(
        bool((part[1:] > part[:-1]).all())
        for begin in range(0, len(values), step)
        for part in (values[begin : begin + step + 1],)
    )


def _encode(
    content: Content,
) -> tuple[dict[str, NDArray[np.unsignedinteger]], dict[str, bytes]]:
    """Return every array and every table of the file by key."""
    of_ranges = route_dtype(len(content.routes))
    of_records = smallest_unsigned(int(content.number_route.max(initial=0)))
    range_route = content.range_route.astype(of_ranges, copy=False)
    held = held_pieces(content.range_start, range_route, NUMBER_MAX)
    pages, slots = build_pages(content.numbers, held)
    if slots * GRANULES_PER_PAGE * of_ranges.itemsize > VALUE_BYTES_MAX:
        raise ContentError(f"{slots} pages of 2^30 numbers are in use: more than the format holds")
    bitmap = build_bitmap(content.numbers, pages, slots)
    if bitmap.cells.nbytes > VALUE_BYTES_MAX:
        raise ContentError("the records are scattered over more chunks than the format holds")
    columns, tables = encode_routes(content.routes, content.donors)
    arrays: dict[str, NDArray[np.unsignedinteger]] = {
        PAGES: pages,
        CHUNKS: bitmap.chunks,
        CELLS: bitmap.cells,
        ROUTE: content.number_route.astype(of_records, copy=False),
        RANGE_START: content.range_start,
        RANGE_ROUTE: range_route,
        GRANULES: build_granules(content.range_start, range_route, pages, slots),
        **columns,
    }
    if content.ported_at is not None:
        arrays[PORTED_AT] = content.ported_at
    if content.donor is not None:
        of_donors = smallest_unsigned(max(0, len(content.donors) - 1))
        arrays[DONOR] = content.donor.astype(of_donors, copy=False)
    return arrays, tables


def _encode_patched(
    content: Patched,
) -> tuple[dict[str, NDArray[np.unsignedinteger]], dict[str, bytes]]:
    """Return every array and every table of a patched snapshot by key."""
    _check_patch(content)
    base, patch = content.base, content.patch
    old = base.arrays
    records = PatchedRecords(old, len(old[ROUTE]), patch)
    if records.records > RECORDS_MAX:
        raise ContentError(f"the snapshot's content breaks the rule: at most {RECORDS_MAX} records")
    of_ranges = route_dtype(len(patch.routes))
    columns, tables = encode_routes(patch.routes, patch.donors or base.routes.donors)
    granules = np.append(
        _as_routes(old[GRANULES], of_ranges),
        np.full(records.new_slots * GRANULES_PER_PAGE, UNALLOCATED_ROW, of_ranges),
    )
    arrays: dict[str, NDArray[np.unsignedinteger]] = {
        PAGES: records.pages,
        CHUNKS: records.chunks,
        CELLS: np.concatenate(list(records.cells())),
        RANGE_START: old[RANGE_START],
        RANGE_ROUTE: old[RANGE_ROUTE].astype(of_ranges, copy=False),
        GRANULES: granules,
        **columns,
    }
    for key, values in (
        (ROUTE, patch.number_route),
        (PORTED_AT, patch.ported_at),
        (DONOR, patch.donor),
    ):
        if key in old:
            largest = int(values.max(initial=0)) if values is not None else 0
            wide = np.promote_types(old[key].dtype, smallest_unsigned(largest))
            column = old[key].astype(wide, copy=False)
            arrays[key] = np.concatenate(list(records.column(column, values)))
    return arrays, tables


def _as_routes(
    granules: NDArray[np.unsignedinteger], dtype: np.dtype[np.unsignedinteger]
) -> NDArray[np.unsignedinteger]:
    """Return granules in another type, whose marker is another."""
    if granules.dtype == dtype:
        return granules
    wide = granules.astype(dtype)
    wide[granules == mixed_marker(granules.dtype)] = mixed_marker(dtype)
    return wide


def _write_environment(
    path: Path,
    arrays: dict[str, NDArray[np.unsignedinteger]],
    tables: dict[str, bytes],
    metadata: Metadata,
) -> bytes:
    """Write all values in one transaction; return the metadata as stored."""
    values: dict[str, memoryview] = {}
    specs: dict[str, ValueSpec] = {}
    for key, array in arrays.items():
        stored = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
        values[key] = stored.data.cast("B")
        specs[key] = ValueSpec(
            dtype=stored.dtype.str, length=len(stored), sha256=sha256(values[key]).hex()
        )
    for key, table in tables.items():
        values[key] = memoryview(table)
        specs[key] = ValueSpec(dtype="", length=len(table), sha256=sha256(table).hex())
    meta = encode_metadata(metadata, specs)
    values[META] = memoryview(meta)

    # Each value takes whole pages of its own; the tree itself takes a few more.
    pages = sum(value.nbytes // LMDB_PAGE + 2 for value in values.values()) + 16
    with (
        lmdb.open(
            str(path),
            map_size=pages * LMDB_PAGE,
            subdir=False,
            lock=False,
            max_dbs=0,
            mode=0o600,
        ) as environment,
        environment.begin(write=True) as transaction,
    ):
        for key in sorted(values):
            transaction.put(key.encode(), values[key], append=True)
    return meta


def _write_seal(path: Path, meta: bytes) -> None:
    """Append the seal and flush the file."""
    with path.open("r+b") as file:
        head = file.read(HEAD_BYTES)
        found = int.from_bytes(head[20:24], "little")
        if found != _LMDB_DATA_VERSION:
            raise ContentError(
                f"this lmdb library writes data version {found}, the format asks for version "
                f"{_LMDB_DATA_VERSION}",
                hint="Install an lmdb package that is built with LMDB 0.9",
            )
        environment_bytes = file.seek(0, os.SEEK_END)
        seal = Seal(
            format_version=FORMAT_VERSION,
            environment_bytes=environment_bytes,
            head_sha256=sha256(head),
            meta_sha256=sha256(meta),
            environment_sha256=sha256_file(path, environment_bytes),
        )
        file.write(seal.pack())
        file.flush()
        os.fsync(file.fileno())
