"""How many numbers got which status, counted as whole arrays."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np

from numroute.model import Status

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

_KINDS = max(Status) + 1


class AnswerCounts:
    """Counts of all answers of a process, from whichever snapshot; any thread may count."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._sums = np.zeros(_KINDS, np.int64)
        self._lock = threading.Lock()

    def add(self, statuses: NDArray[np.uint8]) -> None:
        """Count answers by their statuses, uint8[n]."""
        self._add(np.bincount(statuses, minlength=_KINDS))

    def add_counted(self, statuses: NDArray[np.uint8], counts: NDArray[np.intp]) -> None:
        """Count answers of which ``counts[i]`` have ``statuses[i]``: uint8[d], intp[d]."""
        # Weights are floats, which are exact for counts of one request.
        self._add(np.bincount(statuses, counts, _KINDS).astype(np.int64))

    def add_few(self, statuses: Iterable[Status]) -> None:
        """Count a few answers one by one."""
        with self._lock:
            for status in statuses:
                self._sums[status] += 1

    def by_status(self) -> dict[str, int]:
        """Return the counts by the status's name."""
        with self._lock:
            sums = self._sums.copy()
        return {status.name.lower(): int(sums[status]) for status in Status}

    def _add(self, counts: NDArray[np.int64]) -> None:
        with self._lock:
            np.add(self._sums, counts, out=self._sums)
