"""What windows of increments change together, as a patch of a snapshot."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from numroute.index import Patch, Snapshot
from numroute.model import Operator, Status
from numroute_loader.brands import BrandTable
from numroute_loader.merge.routes import OperatorDirectory, RouteTable, branded, known_operators
from numroute_loader.records import IncrementRows, RouteKey

_Entry = TypeVar("_Entry", bound="Hashable")


def net_changes(
    windows: Sequence[Sequence[IncrementRows]],
) -> tuple[IncrementRows, NDArray[np.int64]]:
    """Merge the files of windows, which are in order, and keep the last row of each number.

    Within a window rows are ordered by time, then by the order's id, then by file and line. Returns
    the rows in ascending order of their numbers, and which of the files each is from.
    """
    files = [(at, rows) for at, window in enumerate(windows) for rows in window]
    counts = [len(rows.numbers) for _, rows in files]
    numbers = _joined([rows.numbers for _, rows in files], np.uint64)
    changed_at = _joined([rows.changed_at for _, rows in files], np.uint32)
    order_id = _joined([rows.order_id for _, rows in files], np.uint64)
    window = np.repeat(np.array([at for at, _ in files], np.int64), counts)
    file = np.repeat(np.arange(len(files)), counts)
    # The last key sorts first, and equal rows keep their order.
    order = np.lexsort((order_id, changed_at, window, numbers))
    ordered = numbers[order]
    chosen = order[np.append(ordered[1:] != ordered[:-1], np.ones(min(1, len(order)), np.bool_))]
    keys, route = _together([(rows.keys, rows.route) for _, rows in files])
    donor_codes, donor = _together(
        [
            (rows.donor_codes, rows.donor)
            if rows.donor is not None
            else (("",), np.zeros(len(rows.numbers), np.uint32))
            for _, rows in files
        ]
    )
    net = IncrementRows(
        numbers=numbers[chosen],
        returns=_joined([rows.returns for _, rows in files], np.bool_)[chosen],
        route=route[chosen],
        keys=keys,
        changed_at=changed_at[chosen],
        order_id=order_id[chosen],
        donor=donor[chosen] if any(rows.donor is not None for _, rows in files) else None,
        donor_codes=donor_codes,
    )
    return net, file[chosen]


def patch_of(
    net: IncrementRows,
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
    row_of: dict[tuple[object, ...], int] = {}
    for row, route in enumerate(known):
        if route.status is Status.PORTED:
            of_route = (route.operator.code, route.registry_mnc, route.routing_number)
            row_of.setdefault((*of_route, route.region.code, route.line_type), row)
    table = RouteTable(brands, regions, known=known)
    new = [key for key in net.keys if _facts(key) not in row_of]
    rows = table.rows(Status.PORTED, [(key, directory.serving(key)) for key in new])
    row_of |= {_facts(key): row for key, row in zip(new, rows.tolist(), strict=True)}
    rows_of_keys = np.array([row_of[_facts(key)] for key in net.keys] or [0], np.uint32)
    donors, donor = _donors(net, snapshot, directory, brands)
    return Patch(
        numbers=net.numbers,
        present=~net.returns,
        number_route=np.where(net.returns, 0, rows_of_keys[net.route]).astype(np.uint32),
        ported_at=net.changed_at,
        donor=donor,
        routes=table.routes,
        donors=donors,
        source=source,
    )


def _joined(arrays: Sequence[NDArray[Any]], dtype: type[np.generic]) -> NDArray[Any]:
    return np.concatenate([np.empty(0, dtype), *arrays])


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
    operator = (key.operator_code, key.registry_mnc, key.routing_number)
    return (*operator, key.region_code, key.line_type)


def _donors(
    net: IncrementRows, snapshot: Snapshot, directory: OperatorDirectory, brands: BrandTable
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
