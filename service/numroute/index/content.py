"""What a snapshot holds, and its tables: routes, changed numbers and metadata."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from operator import attrgetter
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from numroute.errors import NumrouteError
from numroute.index import layout
from numroute.model import Changes, Coverage, LineType, Operator, Region, Route, Source, Status

FIXED_STATUSES = (Status.NOT_COVERED, Status.INVALID, Status.UNALLOCATED)
"""The statuses of the rows that the route table of a plan begins with."""

TABLES_KEPT_MAX = 16
"""Decoded tables that are kept: most increments leave them as they are, and to decode them again
would hold up the answers of a service for some milliseconds at each change."""


class ContentError(NumrouteError):
    """The content breaks a rule of the format: a fault of the program that made it."""


MALFORMED = (KeyError, TypeError, ValueError, ContentError, msgspec.DecodeError)
"""What decoding raises when the bytes are not what was written."""


def require(rules: Mapping[str, bool], whose: str = "the snapshot's content") -> None:
    """Raise ContentError for the first rule that is not kept."""
    for rule, kept in rules.items():
        if not kept:
            raise ContentError(f"{whose} breaks the rule: {rule}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """The whole content of a snapshot.

    ``routes``: the route table. Row 0 answers for all numbers outside the pieces, ``NOT_COVERED``
    or, where everything is covered, ``UNALLOCATED``; row 1 is ``INVALID``. A row alone says
    everything about a number, its status included.
    ``numbers``: uint64[n], the ported numbers, whole E.164, ascending and unique.
    ``number_route``: unsigned integer[n], rows of ``routes``.
    ``ported_at``: uint32[n], seconds since 1970-01-01 UTC, 0 = not known; None = no such column.
    ``donor``: unsigned integer[n], indexes into ``donors``; None = no such column.
    ``range_start``: uint64[m], ascending and unique, the first is 0. Piece i runs from
    ``range_start[i]`` to ``range_start[i + 1] - 1``; numbers that nobody holds are pieces too.
    ``coverage``: the numbers that the plans describe, ascending; empty where it is not stated.
    ``range_route``: unsigned integer[m], rows of ``routes``.
    """

    routes: Sequence[Route]
    numbers: NDArray[np.uint64]
    number_route: NDArray[np.unsignedinteger]
    range_start: NDArray[np.uint64]
    range_route: NDArray[np.unsignedinteger]
    ported_at: NDArray[np.uint32] | None = None
    donor: NDArray[np.unsignedinteger] | None = None
    donors: Sequence[Operator] = ()
    coverage: tuple[Coverage, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Patch:
    """What becomes of some numbers of a snapshot.

    ``numbers``: uint64[k], whole E.164 numbers, ascending and unique.
    ``present``: bool[k], whether the number has a record afterwards; what follows says something
    only where it has.
    ``number_route``: uint32[k], rows of ``routes``.
    ``ported_at``: uint32[k], seconds since 1970-01-01 UTC, 0 = not known; None = none is known.
    ``donor``: uint32[k], indexes into ``donors``; None = none is known.
    ``routes``, ``donors``: the whole tables afterwards; they begin with the snapshot's rows.
    ``source``: uint32[k], which of the sources in the new snapshot's metadata says so; None where
    nobody needs to know.
    """

    numbers: NDArray[np.uint64]
    present: NDArray[np.bool_]
    number_route: NDArray[np.uint32]
    routes: Sequence[Route]
    ported_at: NDArray[np.uint32] | None = None
    donor: NDArray[np.uint32] | None = None
    donors: Sequence[Operator] = ()
    source: NDArray[np.uint32] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """What a snapshot says of itself.

    ``as_of``: the time up to which the registry's data is known. ``built_at``: when the snapshot
    was written. Both are aware, in UTC. ``counts``: numbers of things by name. ``changes``: against
    the snapshot that was current before; None where there was none or nobody compared.
    ``coverage``: as in :class:`Content`.
    """

    format_version: int
    snapshot_id: str
    as_of: datetime
    built_at: datetime
    sources: tuple[Source, ...]
    counts: Mapping[str, int] = field(default_factory=dict)
    changes: Changes | None = None
    coverage: tuple[Coverage, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueSpec:
    """What is stored under a key: ``dtype`` is empty for a JSON table; ``length`` in elements."""

    dtype: str
    length: int
    sha256: str


def encode_metadata(metadata: Metadata, specs: Mapping[str, ValueSpec]) -> bytes:
    """Return the metadata as UTF-8 JSON."""
    document = msgspec.to_builtins(metadata) | {"values": msgspec.to_builtins(specs)}
    stated = {key: value for key, value in document.items() if value is not None}
    return msgspec.json.format(msgspec.json.encode(stated), indent=1)


def decode_metadata(text: bytes) -> tuple[Metadata, dict[str, ValueSpec]]:
    """Return the metadata and the specification of every stored value.

    Raises one of ``MALFORMED`` when the document is not what was written.
    """
    document = msgspec.json.decode(text, type=dict[str, Any])
    return (
        msgspec.convert(document, Metadata),
        msgspec.convert(document["values"], dict[str, ValueSpec]),
    )


class Network(NamedTuple):
    """What of a route is neither its operator nor its region."""

    mcc: str
    mnc: str
    registry_mnc: str
    routing_number: str
    line_type: str


_network_of = attrgetter("mcc", "mnc", "registry_mnc", "routing_number", "line_type.name")


def encode_routes(
    routes: Sequence[Route], donors: Sequence[Operator]
) -> tuple[dict[str, NDArray[np.unsignedinteger]], dict[str, bytes]]:
    """Return the route table as arrays by key and tables by key."""
    operators: dict[Operator, int] = {}
    networks: dict[Network, int] = {}
    regions: dict[Region, int] = {}
    columns = np.zeros((4, len(routes)), "<u4")
    for row, route in enumerate(routes):
        columns[:, row] = (
            route.status,
            operators.setdefault(route.operator, len(operators)),
            networks.setdefault(Network(*_network_of(route)), len(networks)),
            regions.setdefault(route.region, len(regions)),
        )
    arrays: dict[str, NDArray[np.unsignedinteger]] = {
        layout.ROUTES_STATUS: columns[0].astype("|u1"),
        layout.ROUTES_OPERATOR: columns[1],
        layout.ROUTES_NETWORK: columns[2],
        layout.ROUTES_REGION: columns[3],
    }
    tables: dict[str, Iterable[Any]] = {
        layout.OPERATORS: operators,
        layout.NETWORKS: [network._asdict() for network in networks],
        layout.REGIONS: regions,
        layout.DONORS: donors,
    }
    return arrays, {key: msgspec.json.encode(list(rows)) for key, rows in tables.items()}


@functools.lru_cache(TABLES_KEPT_MAX)
def _decoded(kind: Callable[..., Any], table: bytes) -> tuple[Any, ...]:
    return tuple(kind(**row) for row in msgspec.json.decode(table))


class RouteTable:
    """The routes of a snapshot; a row becomes a :class:`Route` when it is first asked for.

    Attributes:
        status: uint8[rows].
        operator_of_row, network_of_row, region_of_row: uint32[rows], places in ``operators``,
            ``networks`` and ``regions``.
        operators, networks, regions, donors: Each distinct one once.
    """

    def __init__(
        self,
        arrays: Mapping[str, NDArray[np.unsignedinteger]],
        tables: Mapping[str, bytes | memoryview],
    ) -> None:
        """Copy the columns and decode the tables, so that nothing refers to the file's map.

        Raises one of ``MALFORMED`` when a table is not what was written.
        """
        self.status = arrays[layout.ROUTES_STATUS].copy()
        self.operator_of_row = arrays[layout.ROUTES_OPERATOR].copy()
        self.network_of_row = arrays[layout.ROUTES_NETWORK].copy()
        self.region_of_row = arrays[layout.ROUTES_REGION].copy()
        self.operators: tuple[Operator, ...] = _decoded(Operator, bytes(tables[layout.OPERATORS]))
        self.networks: tuple[Network, ...] = _decoded(Network, bytes(tables[layout.NETWORKS]))
        self.regions: tuple[Region, ...] = _decoded(Region, bytes(tables[layout.REGIONS]))
        self.donors: tuple[Operator, ...] = _decoded(Operator, bytes(tables[layout.DONORS]))
        if not {each.line_type for each in self.networks} <= LineType.__members__.keys():
            raise ValueError("a network has an unknown line type")
        self._routes: dict[int, Route] = {}

    def __len__(self) -> int:
        return len(self.status)

    def __getitem__(self, row: int) -> Route:
        route = self._routes.get(row)
        if route is None:
            network = self.networks[self.network_of_row[row]]
            route = self._routes[row] = Route(
                status=Status(int(self.status[row])),
                operator=self.operators[self.operator_of_row[row]],
                region=self.regions[self.region_of_row[row]],
                **network._asdict() | {"line_type": LineType[network.line_type]},
            )
        return route

    def __iter__(self) -> Iterator[Route]:
        return map(self.__getitem__, range(len(self)))


_ENTRY = np.dtype([("number", "<u8"), ("source", "<u4")])


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedBy:
    """``numbers``: uint64[n], ascending and unique; ``source``: uint32[n], indexes of sources."""

    numbers: NDArray[np.uint64]
    source: NDArray[np.uint32]

    @classmethod
    def decode(cls, data: bytes) -> ChangedBy:
        """Return the entries of a file, none where it keeps none."""
        entries = np.frombuffer(data, _ENTRY)
        return cls(numbers=entries["number"].copy(), source=entries["source"].copy())

    def find(self, number: int) -> int | None:
        """Return the index of the source that had the last word, None where none is known."""
        at = int(self.numbers.searchsorted(np.uint64(number)))
        known = at < len(self.numbers) and int(self.numbers[at]) == number
        return int(self.source[at]) if known else None

    def encode_with(self, numbers: NDArray[np.uint64], source: NDArray[np.uint32]) -> bytes:
        """Return the entries after later sources as a file keeps them: 12 bytes each."""
        # Of equal numbers the first is taken: the later source.
        both, first = np.unique(np.concatenate([numbers, self.numbers]), return_index=True)
        entries = np.empty(len(both), _ENTRY)
        entries["number"], entries["source"] = both, np.concatenate([source, self.source])[first]
        return entries.tobytes()
