"""The route table: a few thousand distinct routes, stored as columns into small JSON tables."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from numroute.index.layout import (
    DONORS,
    NETWORKS,
    OPERATORS,
    REGIONS,
    ROUTES_NETWORK,
    ROUTES_OPERATOR,
    ROUTES_REGION,
    ROUTES_STATUS,
)
from numroute.model import LineType, Operator, Region, Route, Status

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    Row = TypeVar("Row")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Network:
    """What of a route is neither its operator nor its region."""

    mcc: str
    mnc: str
    registry_mnc: str
    routing_number: str
    line_type: str


def encode_routes(
    routes: Sequence[Route], donors: Sequence[Operator]
) -> tuple[dict[str, NDArray[np.unsignedinteger]], dict[str, bytes]]:
    """Return the route table as arrays by key and tables by key."""
    operators: dict[Operator, int] = {}
    networks: dict[_Network, int] = {}
    regions: dict[Region, int] = {}
    columns = np.zeros((4, len(routes)), "<u4")
    for row, route in enumerate(routes):
        network = _Network(
            mcc=route.mcc,
            mnc=route.mnc,
            registry_mnc=route.registry_mnc,
            routing_number=route.routing_number,
            line_type=route.line_type.name,
        )
        columns[:, row] = (
            route.status,
            operators.setdefault(route.operator, len(operators)),
            networks.setdefault(network, len(networks)),
            regions.setdefault(route.region, len(regions)),
        )
    arrays: dict[str, NDArray[np.unsignedinteger]] = {
        ROUTES_STATUS: columns[0].astype("|u1"),
        ROUTES_OPERATOR: columns[1],
        ROUTES_NETWORK: columns[2],
        ROUTES_REGION: columns[3],
    }
    tables = {
        OPERATORS: _to_json(operators),
        NETWORKS: _to_json(networks),
        REGIONS: _to_json(regions),
        DONORS: _to_json(donors),
    }
    return arrays, tables


def _to_json(rows: Mapping[Any, int] | Sequence[Any]) -> bytes:
    """Return the rows as a JSON array of objects, UTF-8, without spaces."""
    objects = [asdict(row) for row in rows]
    return json.dumps(objects, ensure_ascii=False, separators=(",", ":")).encode()


class RouteTable:
    """The routes of a snapshot; a row becomes a :class:`Route` when it is first asked for."""

    def __init__(
        self,
        arrays: Mapping[str, NDArray[np.unsignedinteger]],
        tables: Mapping[str, bytes | memoryview],
    ) -> None:
        """Copy the columns and decode the tables, so that nothing refers to the file's map."""
        self.status = arrays[ROUTES_STATUS].copy()
        self._operator = arrays[ROUTES_OPERATOR].copy()
        self._network = arrays[ROUTES_NETWORK].copy()
        self._region = arrays[ROUTES_REGION].copy()
        self.operators = tuple(Operator(**row) for row in json.loads(bytes(tables[OPERATORS])))
        self.regions = tuple(Region(**row) for row in json.loads(bytes(tables[REGIONS])))
        self.donors = tuple(Operator(**row) for row in json.loads(bytes(tables[DONORS])))
        self._networks = tuple(_Network(**row) for row in json.loads(bytes(tables[NETWORKS])))
        self._routes: dict[int, Route] = {}

    def __len__(self) -> int:
        return len(self.status)

    def __getitem__(self, row: int) -> Route:
        route = self._routes.get(row)
        if route is None:
            network = self._networks[self._network[row]]
            route = Route(
                status=Status(int(self.status[row])),
                operator=self.operators[self._operator[row]],
                mcc=network.mcc,
                mnc=network.mnc,
                registry_mnc=network.registry_mnc,
                routing_number=network.routing_number,
                region=self.regions[self._region[row]],
                line_type=LineType[network.line_type],
            )
            self._routes[row] = route
        return route
