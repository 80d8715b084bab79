"""A view of a snapshot: the open file, what is said of it, and serialised answers from it.

A bulk answer is columns of bytes and encoded routes, joined without a message object per number.

A snapshot has thousands of routes, but far fewer operators, networks and regions. Each of those is
encoded once, when a route of it first occurs in an answer, so that the first answers from a new
snapshot take little longer than others; in advance it would hold up answers from the one before.
"""

from __future__ import annotations

import functools
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from numroute import wire
from numroute.index import Snapshot
from numroute.index.content import Network
from numroute.index.kernel import distinct_rows
from numroute.index.snapshot import Answers
from numroute.model import LineType, Operator, SnapshotRef, Status
from numroute.server.limits import NUMBERS_PER_BULK_PREFERRED
from numroute.v1 import number_routing_pb2 as pb

_SNAPSHOT = pb.BulkLookupResponse.SNAPSHOT_FIELD_NUMBER
_ROUTES = pb.BulkLookupResponse.ROUTES_FIELD_NUMBER
_RANGE_HOLDERS = pb.BulkLookupResponse.RANGE_HOLDERS_FIELD_NUMBER
_ROUTE_INDEXES = pb.BulkLookupResponse.ROUTE_INDEXES_FIELD_NUMBER
_HOLDER_INDEXES = pb.BulkLookupResponse.RANGE_HOLDER_INDEXES_FIELD_NUMBER
_PORTED_AT = pb.BulkLookupResponse.PORTED_AT_FIELD_NUMBER

_ONE_NUMBER = bytes((pb.BulkLookupRequest.NUMBERS_FIELD_NUMBER << 3 | 2, 8))
"""How a request of one number that asks for nothing else begins: the number follows."""
_FIRST_ROUTE = b"".join(wire.packed_field(_ROUTE_INDEXES, np.zeros(1, wire.FIXED32)))

PIECE_NUMBERS = 131_072
"""How many numbers are looked up between two checks that somebody still waits: some 5 ms."""

_MISSING: Any = None


class AnswerCounts:
    """Counts of a process's answers by status, over all snapshots; any thread may count."""

    def __init__(self) -> None:
        """Start at zero."""
        self._sums = np.zeros(max(Status) + 1, np.int64)
        self._lock = threading.Lock()

    def add(self, statuses: NDArray[np.uint8], times: NDArray[np.int64] | None = None) -> None:
        """Count answers of which ``times[i]``, None = one, have ``statuses[i]``."""
        with self._lock:
            np.add.at(self._sums, statuses, 1 if times is None else times)

    def add_one(self, status: int) -> None:
        """Count one answer."""
        with self._lock:
            self._sums[status] += 1

    def by_status(self) -> dict[str, int]:
        """Return the counts by the status's name."""
        return {status.name.lower(): int(self._sums[status]) for status in Status}


class View:
    """A snapshot and everything encoded once for all answers from it.

    A request holds a lease on it, by ``with view:`` or by ``acquire`` and ``release``. The maker of
    the view holds the first one. The snapshot is closed when its last lease ends,
    and never before: LMDB's memory must not go away under a lookup. Any thread may use all of it:
    two that encode the same thing at once get the same bytes.

    Attributes:
        answers: Where the answers given from it are counted.
        status: uint8[rows], the status of each row that answers may have.
        operators: The serialised list of its operators; None until somebody asked for it.
    """

    def __init__(
        self, snapshot: Snapshot, *, max_age: timedelta | None, answers: AnswerCounts
    ) -> None:
        """View an open snapshot; answers are marked stale ``max_age`` after its ``as_of``."""
        self.snapshot = snapshot
        self.answers = answers
        self.id = snapshot.metadata.snapshot_id
        self.operators: bytes | None = None
        self._lock = threading.Lock()
        self._leases = 1
        as_of = snapshot.metadata.as_of
        self._stale_from = None if max_age is None else (as_of + max_age).timestamp()
        self._refs = [SnapshotRef(id=self.id, as_of=as_of, stale=stale) for stale in (False, True)]
        self._ref_fields = [
            wire.message_field(_SNAPSHOT, wire.message(ref).SerializeToString())
            for ref in self._refs
        ]
        self._table = table = snapshot.routes
        # The rows of overrides lie behind those of the route table.
        others = [snapshot.route(row).status for row in range(len(table), snapshot.route_count)]
        self.status = np.concatenate((table.status, np.array(others, np.uint8)))
        self._fields = np.full(snapshot.route_count, None, object)
        # They refer to the table alone: a circle would keep it until the next collection.
        self._operator = functools.cache(
            lambda at: _part(operator=wire.message(table.operators[at]))
        )
        self._region = functools.cache(lambda at: _part(region=wire.message(table.regions[at])))
        self._network = functools.cache(lambda at: _network_part(table.networks[at]))
        self._holder = functools.cache(lambda at: _holder_field(table.operators[at]))

    def acquire(self) -> Self:
        """Begin a lease; another one must be held."""
        with self._lock:
            self._leases += 1
        return self

    __enter__ = acquire

    def release(self) -> None:
        """End a lease; the last one closes the snapshot."""
        with self._lock:
            self._leases -= 1
            unused = not self._leases
        if unused:
            self.snapshot.close()

    def __exit__(self, *_: object) -> None:
        self.release()

    def stale(self) -> bool:
        """Return whether the data is older than the service's limit now."""
        return self._stale_from is not None and time.time() >= self._stale_from

    def ref(self) -> SnapshotRef:
        """Return which snapshot this is, and whether it is stale now."""
        return self._refs[self.stale()]

    def ref_field(self) -> bytes:
        """Return the ``snapshot`` field of a bulk answer given now."""
        return self._ref_fields[self.stale()]

    def description(self, *, now: float) -> pb.GetSnapshotResponse:
        """Return the answer to ``GetSnapshot``; ``now`` is in seconds since 1970-01-01 UTC."""
        metadata = self.snapshot.metadata
        return pb.GetSnapshotResponse(
            snapshot=wire.message(self.ref()),
            built_at=wire.time_message(metadata.built_at),
            age_seconds=now - metadata.as_of.timestamp(),
            format_version=metadata.format_version,
            sources=map(wire.message, metadata.sources),
            counts=metadata.counts,
            changes=wire.message(metadata.changes),
            preferred_numbers_per_call=NUMBERS_PER_BULK_PREFERRED,
            coverage=map(wire.message, metadata.coverage),
        )

    def announcement(self) -> pb.WatchSnapshotsResponse:
        """Return the ``WatchSnapshots`` message for a snapshot that answers from now on."""
        metadata = self.snapshot.metadata
        return pb.WatchSnapshotsResponse(
            snapshot=wire.message(self.ref()),
            built_at=wire.time_message(metadata.built_at),
            counts=metadata.counts,
            changes=wire.message(metadata.changes),
        )

    def answer_one(self, number: int) -> bytes:
        """Return what :meth:`bulk_answer` returns for one number, in a tenth of its time."""
        row, _, _ = self.snapshot.lookup_one(number)
        self.answers.add_one(self.status.item(row))
        field: bytes | None = self._fields[row]
        if field is None:
            field = self._route_fields(np.array((row,)))
        return _FIRST_ROUTE + field + self.ref_field()

    def bulk_answer(
        self,
        numbers: NDArray[np.uint64],
        *,
        with_range_holder: bool,
        with_ported_at: bool,
        require_wanted: Callable[[], None] = lambda: None,
    ) -> bytes:
        """Return the serialised ``BulkLookupResponse`` for uint64[n] numbers.

        The caller holds a lease until this returns. ``require_wanted`` is called before each piece
        of a large batch; an exception that it raises ends the work.
        """
        pieces = []
        for start in range(0, max(1, len(numbers)), PIECE_NUMBERS):
            require_wanted()
            pieces.append(
                self.snapshot.lookup(
                    numbers[start : start + PIECE_NUMBERS],
                    ported_at=with_ported_at,
                    range_route=with_range_holder,
                )
            )
        answers = pieces[0] if len(pieces) == 1 else Answers.joined(pieces)
        distinct, times, indexes = distinct_rows(answers.route, self.snapshot.route_count)
        fields: list[bytes | memoryview] = [
            *wire.packed_field(_ROUTE_INDEXES, indexes),
            self._route_fields(distinct),
            self.ref_field(),
        ]
        if answers.range_route is not None:
            # Ranges have no overrides: their rows are those of the route table.
            operators = self._table.operator_of_row.take(answers.range_route)
            holders, _, indexes = distinct_rows(operators, len(self._table.operators))
            fields += wire.packed_field(_HOLDER_INDEXES, indexes)
            fields += map(self._holder, holders.tolist())
        if answers.ported_at is not None:
            ported_at = answers.ported_at.astype(wire.FIXED32, copy=False)
            fields += wire.packed_field(_PORTED_AT, ported_at)
        self.answers.add(self.status.take(distinct), times)
        return b"".join(fields)

    def _route_fields(self, rows: NDArray[np.intp]) -> bytes:
        # Taking from an array of objects is three times as fast as asking a dict for each.
        fields: NDArray[Any] = self._fields.take(rows)
        try:
            return b"".join(fields.tolist())
        except TypeError:
            # Rows that occur for the first time are None.
            for row in rows[np.equal(fields, _MISSING)].tolist():
                self._fields[row] = wire.message_field(_ROUTES, self._encode(row))
            return b"".join(self._fields.take(rows).tolist())

    def _encode(self, row: int) -> bytes:
        """Return a serialised route: its parts one after the other, which protobuf merges."""
        table = self._table
        if row >= len(table):
            return wire.message(self.snapshot.route(row)).SerializeToString()  # type: ignore[no-any-return]
        return (
            self._operator(table.operator_of_row.item(row))
            + self._network(table.network_of_row.item(row))
            + self._region(table.region_of_row.item(row))
            + _STATUS_PARTS[table.status.item(row)]
        )


def _part(**fields: Any) -> bytes:  # noqa: ANN401 - those of a route
    return pb.Route(**fields).SerializeToString()


_STATUS_PARTS = [_part(status=status) for status in range(max(Status) + 1)]


def _network_part(network: Network) -> bytes:
    return _part(**network._asdict() | {"line_type": LineType[network.line_type]})


def _holder_field(operator: Operator) -> bytes:
    return wire.message_field(_RANGE_HOLDERS, wire.message(operator).SerializeToString())


def only_number(request: bytes) -> int | None:
    """Return the number of a serialised ``BulkLookupRequest`` that has one and no options."""
    if len(request) == len(_ONE_NUMBER) + 8 and request.startswith(_ONE_NUMBER):
        return int.from_bytes(request[len(_ONE_NUMBER) :], "little")
    return None


def operator_list(snapshot: Snapshot) -> pb.ListOperatorsResponse:
    """Return the operators of a snapshot's routes, without the reference to the snapshot."""
    entries: dict[Operator, pb.OperatorEntry] = defaultdict(pb.OperatorEntry)
    networks: dict[Operator, set[tuple[str, str]]] = defaultdict(set)
    for route in snapshot.routes:
        if route.status.has_route:
            entry = entries[route.operator]
            entry.serves_ported_numbers |= route.status is Status.PORTED
            entry.holds_ranges |= route.status is not Status.PORTED
            if route.mcc:
                networks[route.operator].add((route.mcc, route.mnc))
    order = sorted(entries, key=lambda each: (each.code, each.brand, each.name, each.tax_number))
    for operator in order:
        entry = entries[operator]
        entry.operator.CopyFrom(wire.message(operator))
        entry.networks.extend(
            pb.Network(mcc=mcc, mnc=mnc) for mcc, mnc in sorted(networks[operator])
        )
    return pb.ListOperatorsResponse(operators=[entries[operator] for operator in order])
