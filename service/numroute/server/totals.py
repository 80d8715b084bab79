"""The counts of all workers added up, those of workers that have ended included."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from numroute.server.metrics import METRICS, Distribution
from numroute.server.tally import Histogram
from numroute.server.worker_state import forget_state, read_states

if TYPE_CHECKING:
    from pathlib import Path

    from numroute.server.tally import Labels
    from numroute.server.worker_state import WorkerState

_BOUNDS = {metric.name: metric.bounds for metric in METRICS if isinstance(metric, Distribution)}


class Sums:
    """Counters and histograms by name and labels."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.counters: dict[str, dict[Labels, int]] = {}
        self.histograms: dict[str, dict[Labels, Histogram]] = {}

    def add(self, state: WorkerState) -> None:
        """Add a worker's counts."""
        self._add(state.counters)
        self._merge(state.histograms)

    def copy(self) -> Sums:
        """Return a copy that can be added to."""
        copy = Sums()
        copy._add({name: list(values.items()) for name, values in self.counters.items()})
        copy._merge(
            {
                name: [(labels, each.counts, each.total) for labels, each in values.items()]
                for name, values in self.histograms.items()
            }
        )
        return copy

    def _add(self, counters: dict[str, list[tuple[Labels, int]]]) -> None:
        for name, values in counters.items():
            sums = self.counters.setdefault(name, {})
            for labels, value in values:
                sums[labels] = sums.get(labels, 0) + value

    def _merge(self, histograms: dict[str, list[tuple[Labels, list[int], float]]]) -> None:
        for name, values in histograms.items():
            sums = self.histograms.setdefault(name, {})
            for labels, counts, total in values:
                if labels not in sums:
                    sums[labels] = Histogram(_BOUNDS[name])
                sums[labels].merge(counts, total)


class Totals:
    """Reads the workers' files; any thread may."""

    def __init__(self, folder: Path) -> None:
        """Read from the folder that the workers write to."""
        self._folder = folder
        self._ended = Sums()
        self._lock = threading.Lock()

    def read(self) -> tuple[Sums, list[WorkerState]]:
        """Return the sums over all workers ever, and the states of those alive."""
        with self._lock:
            alive = []
            for state, runs in read_states(self._folder):
                if runs:
                    alive.append(state)
                else:
                    # Its counts stay, its file goes: it would be read forever.
                    self._ended.add(state)
                    forget_state(self._folder, state)
            sums = self._ended.copy()
        for state in alive:
            sums.add(state)
        return sums, alive
