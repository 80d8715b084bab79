"""The route table, stored as columns into small JSON tables, and the table of changed numbers."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from operator import itemgetter
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from numroute.index import layout
from numroute.model import LineType, Operator, Region, Route, Status

Row = TypeVar("Row")


TABLES_KEPT_MAX = 4
"""Decoded tables of each kind that are kept: most increments leave them as they are, and to decode
them again would hold up the answers of a service for some milliseconds at each change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """What of a route is neither its operator nor its region."""

    mcc: str
    mnc: str
    registry_mnc: str
    routing_number: str
    line_type: str


_OF_NETWORK = itemgetter(*(field.name for field in fields(Network)))
"""What a row of networks holds, the line type last; KeyError where the row lacks something."""


def encode_routes(
    routes: Sequence[Route], donors: Sequence[Operator]
) -> tuple[dict[str, NDArray[np.unsignedinteger]], dict[str, bytes]]:
    """Return the route table as arrays by key and tables by key."""
    operators: dict[Operator, int] = {}
    networks: dict[Network, int] = {}
    regions: dict[Region, int] = {}
    columns = np.zeros((4, len(routes)), "<u4")
    for row, route in enumerate(routes):
        network = Network(
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
        layout.ROUTES_STATUS: columns[0].astype("|u1"),
        layout.ROUTES_OPERATOR: columns[1],
        layout.ROUTES_NETWORK: columns[2],
        layout.ROUTES_REGION: columns[3],
    }
    tables = {
        layout.OPERATORS: _to_json(operators),
        layout.NETWORKS: _to_json(networks),
        layout.REGIONS: _to_json(regions),
        layout.DONORS: _to_json(donors),
    }
    return arrays, tables


def _to_json(rows: Mapping[Any, int] | Sequence[Any]) -> bytes:
    """Return the rows as a JSON array of objects, UTF-8, without spaces."""
    objects = [asdict(row) for row in rows]
    return json.dumps(objects, ensure_ascii=False, separators=(",", ":")).encode()


# A snapshot has a table of operators and one of donors.
@functools.lru_cache(2 * TABLES_KEPT_MAX)
def _operators(table: bytes) -> tuple[Operator, ...]:
    return tuple(Operator(**row) for row in json.loads(table))


@functools.lru_cache(TABLES_KEPT_MAX)
def _regions(table: bytes) -> tuple[Region, ...]:
    return tuple(Region(**row) for row in json.loads(table))


@functools.lru_cache(TABLES_KEPT_MAX)
def _networks(table: bytes) -> Sequence[Mapping[str, str]]:
    # There are ten times as many as of the others: each becomes a value when it is asked for.
    rows: list[dict[str, str]] = json.loads(table)
    line_types = {of_network[-1] for of_network in map(_OF_NETWORK, rows)}
    if not line_types <= LineType.__members__.keys():
        raise ValueError("a network has an unknown line type")
    return rows


class RouteTable:
    """The routes of a snapshot; a row becomes a :class:`Route` when it is first asked for.

    Attributes:
        status: uint8[rows].
        operator_of_row, network_of_row, region_of_row: uint32[rows], places in ``operators``, of
            ``network`` and in ``regions``.
        operators, regions, donors: Each distinct one once.
    """

    def __init__(
        self,
        arrays: Mapping[str, NDArray[np.unsignedinteger]],
        tables: Mapping[str, bytes | memoryview],
    ) -> None:
        """Copy the columns and decode the tables, so that nothing refers to the file's map.

        Raises KeyError, TypeError or ValueError when a table is not what was written.
        """
        self.status = arrays[layout.ROUTES_STATUS].copy()
        self.operator_of_row = arrays[layout.ROUTES_OPERATOR].copy()
        self.network_of_row = arrays[layout.ROUTES_NETWORK].copy()
        self.region_of_row = arrays[layout.ROUTES_REGION].copy()
        self.operators = _operators(bytes(tables[layout.OPERATORS]))
        self.regions = _regions(bytes(tables[layout.REGIONS]))
        self.donors = _operators(bytes(tables[layout.DONORS]))
        self._networks = _networks(bytes(tables[layout.NETWORKS]))
        self._routes: dict[int, Route] = {}

    def __len__(self) -> int:
        return len(self.status)

    def __getitem__(self, row: int) -> Route:
        route = self._routes.get(row)
        if route is None:
            network = self.network(self.network_of_row[row])
            route = Route(
                status=Status(int(self.status[row])),
                operator=self.operators[self.operator_of_row[row]],
                mcc=network.mcc,
                mnc=network.mnc,
                registry_mnc=network.registry_mnc,
                routing_number=network.routing_number,
                region=self.regions[self.region_of_row[row]],
                line_type=LineType[network.line_type],
            )
            self._routes[row] = route
        return route

    def network(self, place: int) -> Network:
        """Return what the routes with this entry in ``network_of_row`` have in common."""
        return Network(**self._networks[place])


_ENTRY = np.dtype([("number", "<u8"), ("source", "<u4")])


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedBy:
    """``numbers``: uint64[n], ascending and unique; ``source``: uint32[n], indexes of sources."""

    numbers: NDArray[np.uint64]
    source: NDArray[np.uint32]

    def find(self, number: int) -> int | None:
        """Return the index of the source that had the last word, None where none is known."""
        at = int(self.numbers.searchsorted(np.uint64(number)))
        if at < len(self.numbers) and int(self.numbers[at]) == number:
            return int(self.source[at])
        return None

    def then(self, numbers: NDArray[np.uint64], source: NDArray[np.uint32]) -> ChangedBy:
        """Return what holds after later sources: uint64[k] ascending and unique, uint32[k]."""
        older = ~np.isin(self.numbers, numbers)
        both = np.concatenate([self.numbers[older], numbers])
        order = both.argsort()
        return ChangedBy(
            numbers=both[order], source=np.concatenate([self.source[older], source])[order]
        )

    def encode(self) -> bytes:
        """Return the entries as the file keeps them: 12 bytes each."""
        entries = np.empty(len(self.numbers), _ENTRY)
        entries["number"] = self.numbers
        entries["source"] = self.source
        return entries.tobytes()


def decode_changed(data: bytes) -> ChangedBy:
    """Return the entries of a file, none where it keeps none."""
    entries = np.frombuffer(data, _ENTRY)
    return ChangedBy(
        numbers=np.ascontiguousarray(entries["number"], np.uint64),
        source=np.ascontiguousarray(entries["source"], np.uint32),
    )
