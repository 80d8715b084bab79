"""A snapshot in service: the open file with the encoded pieces of the answers given from it."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Self

import numpy as np

from numroute import wire
from numroute.model import Operator, SnapshotRef
from numroute.server.answer_counts import AnswerCounts
from numroute.server.describe import operator_list
from numroute.v1 import number_routing_pb2 as pb

if TYPE_CHECKING:
    from datetime import timedelta

    from numpy.typing import NDArray

    from numroute.index import Snapshot


_ROUTES = pb.BulkLookupResponse.ROUTES_FIELD_NUMBER
_RANGE_HOLDERS = pb.BulkLookupResponse.RANGE_HOLDERS_FIELD_NUMBER
_SNAPSHOT = pb.BulkLookupResponse.SNAPSHOT_FIELD_NUMBER
_HOLDER_UNKNOWN = -1

ROUTES_IN_ADVANCE_MAX = 16_384
"""How many routes are encoded before a snapshot replaces another; a real one has some 6,000."""

_SLICE = 32
"""Routes encoded at a time: about 0.3 ms."""

_SLICE_PAUSE_SECONDS = 0.001


class ServedSnapshot:
    """A snapshot and what is encoded once for all answers from it.

    Every route and every operator is encoded when it first occurs in an answer, so that opening
    costs the same whatever the snapshot's size.

    A request holds a lease on it, by ``with served:`` or by ``acquire`` and ``release``. After
    ``retire`` the snapshot is closed when its last lease ends, and never before: LMDB's memory must
    not go away under a lookup. Any thread may use all of it.

    Attributes:
        snapshot: The open snapshot.
        id: The snapshot's id.
        answers: Where the answers given from it are counted.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        *,
        max_age: timedelta | None,
        answers: AnswerCounts | None = None,
    ) -> None:
        """Serve an open snapshot; answers are marked stale ``max_age`` after its ``as_of``."""
        self.snapshot = snapshot
        self.answers = AnswerCounts() if answers is None else answers
        self.id = snapshot.metadata.snapshot_id
        self._lock = threading.Lock()
        self._leases = 0
        self._retired = False
        as_of = snapshot.metadata.as_of
        self._stale_from = None if max_age is None else (as_of + max_age).timestamp()
        self._ref_fields = tuple(
            wire.message_field(
                _SNAPSHOT,
                wire.snapshot_ref_message(
                    SnapshotRef(id=self.id, as_of=as_of, stale=stale)
                ).SerializeToString(),
            )
            for stale in (False, True)
        )
        self._status_of_row = np.zeros(snapshot.route_count, np.uint8)
        self._route_fields = np.full(snapshot.route_count, None, object)
        self._holder_of_row = np.full(snapshot.route_count, _HOLDER_UNKNOWN, np.int32)
        self._holder_ids: dict[Operator, int] = {}
        self._holder_fields: list[bytes] = []
        self._operators: bytes | None = None

    def acquire(self) -> None:
        """Begin a lease; the snapshot must not be retired."""
        with self._lock:
            self._leases += 1

    def release(self) -> None:
        """End a lease; the last one of a retired snapshot closes it."""
        with self._lock:
            self._leases -= 1
            unused = self._retired and not self._leases
        if unused:
            self.snapshot.close()

    def retire(self) -> None:
        """Close the snapshot now, or when its last lease ends. Called once."""
        with self._lock:
            self._retired = True
            unused = not self._leases
        if unused:
            self.snapshot.close()

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def stale(self) -> bool:
        """Return whether the data is older than the service's limit now."""
        return self._stale_from is not None and time.time() >= self._stale_from

    def ref(self) -> SnapshotRef:
        """Return which snapshot this is, and whether it is stale now."""
        return SnapshotRef(id=self.id, as_of=self.snapshot.metadata.as_of, stale=self.stale())

    def ref_field(self) -> bytes:
        """Return the ``snapshot`` field of a bulk answer given now."""
        return self._ref_fields[self.stale()]

    def route_fields(self, rows: NDArray[np.intp]) -> bytes:
        """Return the ``routes`` field of a bulk answer: the routes of these rows, in order."""
        # Taking from an array of objects is three times as fast as asking a dict for each.
        fields = self._route_fields.take(rows).tolist()
        try:
            return b"".join(fields)
        except TypeError:
            # Some were never asked for before: they are None.
            return b"".join([self._route_field(row) for row in rows.tolist()])

    def count_answers(
        self,
        rows: NDArray[np.intp],
        distinct: NDArray[np.intp],
        counts: NDArray[np.intp] | None,
    ) -> None:
        """Count an answer by its statuses, after its ``route_fields`` were asked for.

        Args:
            rows: The row of each number, intp[n].
            distinct: The distinct ones, intp[d].
            counts: How often each row of the snapshot occurs, where that is known; it saves time.
        """
        if counts is None:
            self.answers.add(self._status_of_row.take(rows))
        else:
            self.answers.add_counted(self._status_of_row.take(distinct), counts.take(distinct))

    def encode_routes(self) -> None:
        """Encode the routes in advance, slowly: whoever holds the interpreter holds up answers.

        To be called in a thread of its own, before the snapshot comes into service.
        """
        for start in range(0, min(self.snapshot.route_count, ROUTES_IN_ADVANCE_MAX), _SLICE):
            rows = np.arange(start, min(start + _SLICE, self.snapshot.route_count))
            self.route_fields(rows)
            self.holders(rows)
            time.sleep(_SLICE_PAUSE_SECONDS)

    def holders(self, rows: NDArray[np.intp]) -> NDArray[np.int32]:
        """Return who holds a range of each route: int32[n], ids for ``holder_fields``.

        Routes of one operator share an id. Ids count from 0 in the order of first use.
        """
        ids: NDArray[np.int32] = self._holder_of_row.take(rows)
        unknown = np.flatnonzero(ids == _HOLDER_UNKNOWN).tolist()
        if unknown:
            # Two threads must not give two operators the same id.
            with self._lock:
                for place in unknown:
                    row = int(rows[place])
                    ids[place] = self._holder_of_row[row] = self._holder_id(row)
        return ids

    @property
    def holder_count(self) -> int:
        """One more than the largest id that ``holders`` has returned."""
        return len(self._holder_fields)

    def holder_fields(self, ids: NDArray[np.intp]) -> bytes:
        """Return the ``range_holders`` field of a bulk answer: these operators, in order."""
        return b"".join(map(self._holder_fields.__getitem__, ids.tolist()))

    def operators(self) -> bytes:
        """Return the ``operators`` field of a ``ListOperatorsResponse``."""
        if self._operators is None:
            self._operators = operator_list(self.snapshot).SerializeToString()
        return self._operators

    def _route_field(self, row: int) -> bytes:
        field: bytes | None = self._route_fields[row]
        if field is None:
            route = self.snapshot.route(row)
            self._status_of_row[row] = route.status
            message = wire.route_message(route, with_status=True)
            field = wire.message_field(_ROUTES, message.SerializeToString())
            self._route_fields[row] = field
        return field

    def _holder_id(self, row: int) -> int:
        operator = self.snapshot.route(row).operator
        holder = self._holder_ids.setdefault(operator, len(self._holder_ids))
        if holder == len(self._holder_fields):
            message = wire.operator_message(operator).SerializeToString()
            self._holder_fields.append(wire.message_field(_RANGE_HOLDERS, message))
        return holder
