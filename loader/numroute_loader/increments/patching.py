"""What windows of increments change together, as a patch of a snapshot."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from numroute.index import Patch
from numroute.model import Operator, Status
from numroute_loader.merge.routes import RouteTable, branded, known_operators
from numroute_loader.records import RouteKey

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence

    from numpy.typing import NDArray

    from numroute.index import Snapshot
    from numroute.model import Route
    from numroute_loader.brands import BrandTable
    from numroute_loader.merge.routes import OperatorDirectory
    from numroute_loader.records import IncrementRows

_Entry = TypeVar("_Entry", bound="Hashable")


@dataclass(frozen=True, slots=True, kw_only=True)
class NetChanges:
    """The state after all rows of every number that occurs in them.

    ``numbers``: uint64[k], ascending and unique. ``returned``: bool[k], whether the number is back
    with its range holder. ``route``: uint32[k], index into ``keys``, of the others.
    ``changed_at``: uint32[k], seconds since the epoch.
    ``donor``: uint32[k], index into ``donor_codes``, or None where no file has donors.
    ``file``: int64[k], which of the files changed the number last.
    ``rows`` counts the rows of all files.
    """

    numbers: NDArray[np.uint64]
    returned: NDArray[np.bool_]
    route: NDArray[np.uint32]
    keys: Sequence[RouteKey]
    changed_at: NDArray[np.uint32]
    donor: NDArray[np.uint32] | None
    donor_codes: Sequence[str]
    file: NDArray[np.int64]
    rows: int


def net_changes(windows: Sequence[Sequence[IncrementRows]]) -> NetChanges:
    """Merge the files of windows, which are in order, and keep the last row of each number.

    Within a window rows are ordered by time, then by the order's id, then by file and line.
    """
    files = [(at, rows) for at, window in enumerate(windows) for rows in window]
    counts = [len(rows.numbers) for _, rows in files]
    total = sum(counts)
    numbers = _joined([rows.numbers for _, rows in files])
    returned = _joined([rows.returns for _, rows in files]).astype(np.bool_)
    changed_at = _joined([rows.changed_at for _, rows in files]).astype(np.uint32)
    order_id = _joined([rows.order_id for _, rows in files])
    window = np.repeat(np.array([at for at, _ in files], np.int64), counts)
    file = np.repeat(np.arange(len(files)), counts)
    # The last key sorts first.
    order = np.lexsort((np.arange(total), order_id, changed_at, window, numbers))
    ordered = numbers[order]
    last = np.append(ordered[1:] != ordered[:-1], np.ones(min(1, total), np.bool_))
    chosen = order[last]
    keys, route = _together([(rows.keys, rows.route) for _, rows in files])
    donor_codes, donor = _together(
        [
            (rows.donor_codes, rows.donor)
            if rows.donor is not None
            else (("",), np.zeros(len(rows.numbers), np.uint32))
            for _, rows in files
        ]
    )
    return NetChanges(
        numbers=numbers[chosen],
        returned=returned[chosen],
        route=route[chosen],
        keys=keys,
        changed_at=changed_at[chosen],
        donor=donor[chosen] if any(rows.donor is not None for _, rows in files) else None,
        donor_codes=donor_codes,
        file=file[chosen],
        rows=total,
    )


def patch_of(
    net: NetChanges,
    snapshot: Snapshot,
    *,
    brands: BrandTable,
    regions: Mapping[str, str],
    source: NDArray[np.uint32],
) -> Patch:
    """Return what the changes make of a snapshot; ``source`` is the file of each, as an index.

    A route that the snapshot has is taken as it is. What is new is put together as a build does it:
    the operator's name and tax number as the snapshot knows them, the brand by the brand table.
    """
    known = [snapshot.routes[row] for row in range(len(snapshot.routes))]
    directory = known_operators(snapshot.routes.operators)
    row_of = _rows_by_key(known)
    table = RouteTable(brands, regions, known=known)
    new = [key for key in net.keys if _facts(key) not in row_of]
    rows = table.rows(Status.PORTED, [(key, directory.serving(key)) for key in new])
    row_of |= {_facts(key): row for key, row in zip(new, rows.tolist(), strict=True)}
    rows_of_keys = np.array([row_of[_facts(key)] for key in net.keys] or [0], np.uint32)
    donors, donor = _donors(net, snapshot, directory, brands)
    return Patch(
        numbers=net.numbers,
        present=~net.returned,
        number_route=np.where(net.returned, 0, rows_of_keys[net.route]).astype(np.uint32),
        ported_at=net.changed_at,
        donor=donor,
        routes=table.routes,
        donors=donors,
        source=source,
    )


def _joined(arrays: Sequence[NDArray[Any]]) -> NDArray[np.uint64]:
    return np.concatenate([np.empty(0, np.uint64), *(array.astype(np.uint64) for array in arrays)])


def _together(
    parts: Sequence[tuple[Sequence[_Entry], NDArray[np.uint32]]],
) -> tuple[tuple[_Entry, ...], NDArray[np.uint32]]:
    """Join tables and the indexes into them; equal entries share an index."""
    place: dict[_Entry, int] = {}
    indexes = [np.empty(0, np.uint32)]
    for table, index in parts:
        at = np.array([place.setdefault(entry, len(place)) for entry in table] or [0], np.uint32)
        indexes.append(at[index])
    return tuple(place), np.concatenate(indexes)


def _facts(key: RouteKey) -> tuple[object, ...]:
    """Return the fields of a key that are the registry's own: they identify a ported route."""
    return (
        key.operator_code,
        key.registry_mnc,
        key.routing_number,
        key.region_code,
        key.line_type,
    )


def _rows_by_key(routes: Sequence[Route]) -> dict[tuple[object, ...], int]:
    """Return the row of each ported route by the registry's facts."""
    rows: dict[tuple[object, ...], int] = {}
    for row, route in enumerate(routes):
        if route.status is not Status.PORTED:
            continue
        key = RouteKey(
            operator_code=route.operator.code,
            registry_mnc=route.registry_mnc,
            routing_number=route.routing_number,
            region_code=route.region.code,
            line_type=route.line_type,
        )
        rows.setdefault(_facts(key), row)
    return rows


def _donors(
    net: NetChanges, snapshot: Snapshot, directory: OperatorDirectory, brands: BrandTable
) -> tuple[Sequence[Operator], NDArray[np.uint32] | None]:
    """Return the donors of the snapshot and after, and an index per change."""
    if net.donor is None:
        return snapshot.routes.donors, None
    place = {operator: at for at, operator in enumerate(snapshot.routes.donors)}
    by_code = {operator.code: at for operator, at in place.items()}
    at = [
        by_code[code]
        if code in by_code
        else place.setdefault(
            branded(directory.holder(RouteKey(operator_code=code)), brands), len(place)
        )
        for code in net.donor_codes
    ]
    return tuple(place), np.array(at or [0], np.uint32)[net.donor]
