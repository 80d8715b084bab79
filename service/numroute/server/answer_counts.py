"""How many numbers got which status, counted as whole arrays."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np

from numroute.model import Status

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from numroute.index import Snapshot

SCATTERED_MAX = 2_048
"""Up to how many numbers adding one by one is the faster way; above it a histogram is."""


class AnswerCounts:
    """Counts of the answers from one snapshot; any thread may count.

    Rows of the route table are counted, which costs 2 µs for 1,000 numbers; that a row means a
    status is looked up only when somebody asks for the sums.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        """Begin with nothing, for the rows of this snapshot."""
        self._snapshot = snapshot
        self._by_row = np.zeros(snapshot.route_count, np.int64)
        self._status_of_row = np.zeros(snapshot.route_count, np.uint8)
        self._by_status = np.zeros(max(Status) + 1, np.int64)
        self._lock = threading.Lock()

    def add_rows(self, rows: NDArray[np.intp]) -> None:
        """Count the answers of a batch, rows of the route table, intp[n]."""
        if len(rows) <= SCATTERED_MAX:
            with self._lock:
                np.add.at(self._by_row, rows, 1)
            return
        counts = np.bincount(rows, minlength=len(self._by_row))
        with self._lock:
            np.add(self._by_row, counts, out=self._by_row)

    def add_statuses(self, statuses: Iterable[Status]) -> None:
        """Count a few answers one by one."""
        with self._lock:
            for status in statuses:
                self._by_status[status] += 1

    def by_status(self) -> dict[str, int]:
        """Return the counts by the status's name; the snapshot must be open."""
        with self._lock:
            rows = self._by_row.nonzero()[0]
            for row in rows[self._status_of_row[rows] == 0].tolist():
                self._status_of_row[row] = self._snapshot.route(row).status
            sums = self._by_status.copy()
            np.add.at(sums, self._status_of_row[rows], self._by_row[rows])
        return {status.name: int(sums[status]) for status in Status}
