"""The values of a patched snapshot: records copied with changes, ranges as they are."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from numroute.index.content import UNALLOCATED_ROW
from numroute.index.layout import (
    CELLS,
    CHANGED,
    CHUNKS,
    DONOR,
    GRANULES,
    GRANULES_PER_PAGE,
    PAGES,
    PORTED_AT,
    RANGE_ROUTE,
    RECORDS_MAX,
    ROUTE,
    mixed_marker,
    route_dtype,
    smallest_unsigned,
)
from numroute.index.patch import PatchedRecords
from numroute.index.stored import ContentError, StoredArray
from numroute.index.tables import encode_routes
from numroute.model import NUMBER_MAX

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from numroute.index.content import Patched

_GRANULES_AT_ONCE = 1 << 20


def check_patch(content: Patched) -> None:
    """Raise ContentError when a patch breaks a rule of the format."""
    patch, base = content.patch, content.base
    rows, numbers = len(base.routes), patch.numbers
    rules = {
        "the route table begins with the rows of the snapshot": tuple(patch.routes[:rows])
        == tuple(base.routes[row] for row in range(rows)),
        "the donors begin with those of the snapshot": patch.donor is None
        or tuple(patch.donors[: len(base.routes.donors)]) == base.routes.donors,
        "numbers ascend and are unique": bool((numbers[1:] > numbers[:-1]).all()),
        "numbers are whole E.164 numbers": len(numbers) == 0
        or (numbers[0] > 0 and int(numbers[-1]) <= NUMBER_MAX),
        "routes of numbers are rows": int(patch.number_route.max(initial=0)) < len(patch.routes),
        "one state, route, time and donor per number": all(
            values is None or len(values) == len(numbers)
            for values in (patch.present, patch.number_route, patch.ported_at, patch.donor)
        ),
    }
    for rule, kept in rules.items():
        if not kept:
            raise ContentError(f"the patch breaks the rule: {rule}")


def encode_patched(content: Patched) -> tuple[dict[str, StoredArray], dict[str, bytes]]:
    """Return every array and every table of a patched snapshot by key.

    Raises ContentError when the patch breaks a rule of the format.
    """
    check_patch(content)
    base, patch = content.base, content.patch
    old = base.arrays
    records = PatchedRecords(old, len(old[ROUTE]), patch)
    if records.records > RECORDS_MAX:
        raise ContentError(f"the snapshot's content breaks the rule: at most {RECORDS_MAX} records")
    of_ranges = route_dtype(len(patch.routes))
    new_granules = records.new_slots * GRANULES_PER_PAGE
    columns, tables = _new_routes(content)
    arrays = {key: StoredArray.of(array) for key, array in old.items()}
    arrays |= {key: StoredArray.of(array) for key, array in columns.items()}
    arrays |= {
        PAGES: StoredArray.of(records.pages),
        CHUNKS: StoredArray.of(records.chunks),
        CELLS: StoredArray(dtype=old[CELLS].dtype, length=records.cell_count, pieces=records.cells),
        RANGE_ROUTE: StoredArray.of(old[RANGE_ROUTE].astype(of_ranges, copy=False)),
        GRANULES: StoredArray(
            dtype=of_ranges,
            length=len(old[GRANULES]) + new_granules,
            pieces=partial(_granules, old[GRANULES], of_ranges, new_granules),
        ),
    }
    for key, values in (
        (ROUTE, patch.number_route),
        (PORTED_AT, patch.ported_at),
        (DONOR, patch.donor),
    ):
        if key in old:
            largest = int(values.max(initial=0)) if values is not None else 0
            dtype = np.promote_types(old[key].dtype, smallest_unsigned(largest))
            arrays[key] = StoredArray(
                dtype=dtype,
                length=records.records,
                pieces=partial(records.column, old[key], values, dtype),
            )
    if patch.source is not None:
        changed = base.changed_by().then(patch.numbers, patch.source)
        tables |= {CHANGED: changed.encode()}
    return arrays, base.other_tables(tables) | tables


def _new_routes(
    content: Patched,
) -> tuple[dict[str, NDArray[np.unsignedinteger]], dict[str, bytes]]:
    """Return the route table where the patch adds to it; else what is stored already will do."""
    routes, patch = content.base.routes, content.patch
    donors = patch.donors or routes.donors
    if len(patch.routes) == len(routes) and len(donors) == len(routes.donors):
        return {}, {}
    return encode_routes(patch.routes, donors)


def _granules(
    granules: NDArray[np.unsignedinteger], dtype: np.dtype[Any], new: int
) -> Iterable[NDArray[np.unsignedinteger]]:
    """Yield granules in a type whose marker may be another, and those of slots that are new."""
    if granules.dtype == dtype:
        yield granules
    else:
        for begin in range(0, len(granules), _GRANULES_AT_ONCE):
            part = granules[begin : begin + _GRANULES_AT_ONCE]
            wide = part.astype(dtype)
            wide[part == mixed_marker(part.dtype)] = mixed_marker(dtype)
            yield wide
    yield np.full(new, UNALLOCATED_ROW, dtype)
