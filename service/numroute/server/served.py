"""A snapshot in service: the open file with the encoded pieces of the answers given from it."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Self

from numroute import wire
from numroute.model import SnapshotRef
from numroute.server.answer_counts import AnswerCounts
from numroute.server.describe import operator_list
from numroute.server.route_fields import RouteFields
from numroute.v1 import number_routing_pb2 as pb

if TYPE_CHECKING:
    from datetime import timedelta

    import numpy as np
    from numpy.typing import NDArray

    from numroute.index import Snapshot


_SNAPSHOT = pb.BulkLookupResponse.SNAPSHOT_FIELD_NUMBER


class ServedSnapshot:
    """A snapshot and what is encoded once for all answers from it.

    A request holds a lease on it, by ``with served:`` or by ``acquire`` and ``release``. After
    ``retire`` the snapshot is closed when its last lease ends, and never before: LMDB's memory must
    not go away under a lookup. Any thread may use all of it.

    Attributes:
        snapshot: The open snapshot.
        id: The snapshot's id.
        answers: Where the answers given from it are counted.
        fields: Its routes as fields of bulk answers.
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
        self.fields = RouteFields(snapshot)
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

    def count_answers(
        self,
        rows: NDArray[np.intp],
        distinct: NDArray[np.intp],
        counts: NDArray[np.intp] | None,
    ) -> None:
        """Count an answer by its statuses.

        Args:
            rows: The row of each number, intp[n].
            distinct: The distinct ones, intp[d].
            counts: How often each row of the snapshot occurs, where that is known; it saves time.
        """
        if counts is None:
            self.answers.add(self.fields.status.take(rows))
        else:
            self.answers.add_counted(self.fields.status.take(distinct), counts.take(distinct))

    def operators(self) -> bytes:
        """Return the ``operators`` field of a ``ListOperatorsResponse``."""
        if self._operators is None:
            self._operators = operator_list(self.snapshot).SerializeToString()
        return self._operators
