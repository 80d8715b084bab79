"""Write a snapshot file: content into arrays and tables, and these into a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from numroute.index import layout
from numroute.index.bitmap import build_bitmap, records_by_row
from numroute.index.content import Content, ContentError, Metadata, encode_routes, require
from numroute.index.file import write_file
from numroute.index.overrides import Override, broken_rule, encode_overrides
from numroute.index.patch import Patched, encode_patched
from numroute.model import NUMBER_MAX, Status


def write_snapshot(
    path: Path,
    content: Content | Patched,
    metadata: Metadata,
    overrides: Sequence[Override] = (),
) -> None:
    """Write the content to a new file at ``path`` (0600) and flush it to disk.

    Raises ContentError when the content breaks a rule of the format, StoreAccessError when the
    file cannot be written; what was written so far is left to the caller to remove.
    """
    if isinstance(content, Patched):
        arrays, tables = encode_patched(content)
    else:
        check_content(content)
        arrays, tables = _encode(content)
    broken = broken_rule(overrides)
    if metadata.format_version != layout.FORMAT_VERSION:
        broken = f"a file is of version {layout.FORMAT_VERSION}"
    if broken:
        raise ContentError(f"the snapshot's content breaks the rule: {broken}")
    tables.pop(layout.OVERRIDES, None)
    if overrides:
        tables[layout.OVERRIDES] = encode_overrides(overrides)
    if not layout.RECORD_COLUMNS & arrays.keys():
        arrays.pop(layout.RANKS_WITHIN, None)
    write_file(path, arrays, tables, metadata)


def check_content(content: Content) -> None:
    """Raise ContentError when the content breaks a rule of the format."""
    statuses = tuple(route.status for route in content.routes[: layout.INVALID_ROW + 1])
    require(
        {
            "the route table begins with NOT_COVERED or UNALLOCATED, then INVALID": statuses
            in {(Status.NOT_COVERED, Status.INVALID), (Status.UNALLOCATED, Status.INVALID)},
            f"at most {layout.RECORDS_MAX} records": len(content.numbers) <= layout.RECORDS_MAX,
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
                and (
                    len(content.donor) == 0
                    or int(content.donor.max(initial=0)) < len(content.donors)
                )
            ),
            "the first piece starts at 0 and has row 0": len(content.range_start) > 0
            and content.range_start[0] == 0
            and content.range_route[0] == layout.OUTSIDE_ROW,
            "the last piece has row 0": len(content.range_route) > 0
            and content.range_route[-1] == layout.OUTSIDE_ROW,
            "pieces ascend and are unique": _ascends(content.range_start),
            "pieces start at whole E.164 numbers": int(content.range_start.max(initial=0))
            <= NUMBER_MAX + 1,
            "one route per piece": len(content.range_route) == len(content.range_start),
            "routes of pieces are rows": int(content.range_route.max(initial=0))
            < len(content.routes),
        }
    )


def _ascends(values: NDArray[np.uint64]) -> bool:
    return bool((values[1:] > values[:-1]).all())


def _encode(content: Content) -> tuple[dict[str, NDArray[Any]], dict[str, bytes]]:
    """Return every array and every table of the file by key."""
    columns, tables = encode_routes(content.routes, content.donors)
    arrays: dict[str, NDArray[Any]] = {
        **build_bitmap(
            content.numbers,
            content.number_route,
            content.range_start,
            content.range_route,
            len(content.routes),
        ),
        **columns,
        layout.RANGE_START: content.range_start,
        layout.RANGE_ROUTE: content.range_route.astype(np.uint16),
        layout.ROUTES_RECORDS: records_by_row(content.number_route, len(content.routes)).astype(
            np.uint32
        ),
    }
    if content.ported_at is not None:
        arrays[layout.PORTED_AT] = content.ported_at
    if content.donor is not None:
        of_donors = np.min_scalar_type(max(0, len(content.donors) - 1))
        arrays[layout.DONOR] = content.donor.astype(of_donors, copy=False)
    return arrays, tables
