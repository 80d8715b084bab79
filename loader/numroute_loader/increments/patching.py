"""From the net changes of windows to a patch of the snapshot, with the tables that it needs."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from numroute.index import Patch
from numroute.model import Operator, Status
from numroute_loader.merge.operators import known_operators
from numroute_loader.merge.routes import RouteTable, branded
from numroute_loader.records import RouteKey

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from numroute.index import Snapshot
    from numroute.model import Route
    from numroute_loader.brands import BrandTable
    from numroute_loader.increments.net import NetChanges
    from numroute_loader.merge.operators import OperatorDirectory


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


def _facts(key: RouteKey) -> tuple[object, ...]:
    """Return what of a key the registry itself says: what tells one ported route from another."""
    return (
        key.operator_code or ("", key.operator_name),
        key.registry_mnc,
        key.routing_number,
        key.region_code,
        key.line_type,
    )


def _rows_by_key(routes: Sequence[Route]) -> dict[tuple[object, ...], int]:
    """Return the row of each ported route by what the registry says of it, by code and by name."""
    rows: dict[tuple[object, ...], int] = {}
    for row, route in enumerate(routes):
        if route.status is not Status.PORTED:
            continue
        key = RouteKey(
            operator_code=route.operator.code,
            operator_name=route.operator.name,
            registry_mnc=route.registry_mnc,
            routing_number=route.routing_number,
            region_code=route.region.code,
            line_type=route.line_type,
        )
        rows.setdefault(_facts(key), row)
        rows.setdefault(_facts(replace(key, operator_code="")), row)
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
