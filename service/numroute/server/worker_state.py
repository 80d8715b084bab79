"""What a worker process tells of itself: one small file, written anew every second.

A worker that is killed takes the last second's counts with it, and nothing else: its file stays,
and is added to those of the others for as long as the service runs.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numroute.server.tally import Labels, Tally

SUFFIX = ".worker"
WRITE_SECONDS = 1.0
"""How often a worker writes its file."""

SILENT_SECONDS_MAX = 30.0
"""A worker that has not written its file for so long is stuck: nothing on its loop runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedFacts:
    """Which snapshot a worker answers from; ``as_of`` in seconds since the epoch."""

    id: str
    path: str
    as_of: float


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerState:
    """What stands in a worker's file.

    Attributes:
        process: The worker's process id.
        started: When that process began, by the system's clock ticks: ids are used again.
        worker: Which of the workers it is, for people.
        written_at: When the file was written, in seconds since the epoch.
        unready: Why it should get no calls; empty when it is ready.
        in_flight: Calls that have begun and not ended.
        served: Its snapshot; None before the first.
        certificate_expires: When its certificate ends, in seconds since the epoch; None without.
        counters: By counter's name: labels and value.
        histograms: By distribution's name: labels, counts and sum.
    """

    process: int
    started: int
    worker: int
    written_at: float
    unready: str
    in_flight: int
    served: ServedFacts | None = None
    certificate_expires: float | None = None
    counters: dict[str, list[tuple[Labels, int]]] = field(default_factory=dict)
    histograms: dict[str, list[tuple[Labels, list[int], float]]] = field(default_factory=dict)

    @property
    def silent(self) -> bool:
        """Whether it is stuck: it has not written for longer than ``SILENT_SECONDS_MAX``."""
        return time.time() - self.written_at > SILENT_SECONDS_MAX

    @property
    def problem(self) -> str:
        """Why it would not answer now; empty when it would."""
        return "it has been silent for too long" if self.silent else self.unready


def state_of(
    tally: Tally,
    *,
    worker: int,
    unready: str,
    served: ServedFacts | None,
    certificate_expires: float | None,
) -> WorkerState:
    """Return the state of this process."""
    process = os.getpid()
    return WorkerState(
        process=process,
        started=process_started(process) or 0,
        worker=worker,
        written_at=time.time(),
        unready=unready,
        in_flight=tally.in_flight,
        served=served,
        certificate_expires=certificate_expires,
        counters={name: list(values.items()) for name, values in tally.counters.items()},
        histograms={
            name: [(labels, each.counts, each.total) for labels, each in histograms.items()]
            for name, histograms in tally.histograms.items()
        },
    )


def write_state(folder: Path, state: WorkerState) -> None:
    """Write a worker's file, whole or not at all."""
    path = folder / f"{state.process}-{state.started}{SUFFIX}"
    fresh = path.with_suffix(".unfinished")
    document = {
        name: getattr(state, name) for name in WorkerState.__dataclass_fields__ if name != "served"
    }
    if state.served is not None:
        document["served"] = {
            "id": state.served.id,
            "path": state.served.path,
            "as_of": state.served.as_of,
        }
    fresh.write_text(json.dumps(document), "utf-8")
    fresh.replace(path)


def read_states(folder: Path) -> list[tuple[WorkerState, bool]]:
    """Return what all workers have written, and whether each still ran before its file was read.

    In that order, what is read of a worker that has ended is what it wrote last.
    """
    states = []
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        process, _, started = path.stem.partition("-")
        alive = process_started(int(process)) == int(started)
        try:
            document = json.loads(path.read_text("utf-8"))
        except FileNotFoundError:
            continue
        states.append((_state(document), alive))
    return states


def forget_state(folder: Path, state: WorkerState) -> None:
    """Remove the file of a worker that has ended."""
    (folder / f"{state.process}-{state.started}{SUFFIX}").unlink(missing_ok=True)


def process_started(process: int) -> int | None:
    """Return when a process began, in clock ticks since the machine's start; None if it is gone."""
    try:
        text = Path(f"/proc/{process}/stat").read_text("ascii", "replace")
    except OSError:
        return None
    # The name in parentheses may hold anything; the 22nd field of proc(5) is the 20th after it.
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in {"Z", "X"} else int(fields[19])


def _state(document: dict[str, Any]) -> WorkerState:
    served = document.pop("served", None)
    document["counters"] = {
        name: [(tuple(labels), value) for labels, value in values]
        for name, values in document["counters"].items()
    }
    document["histograms"] = {
        name: [(tuple(labels), counts, total) for labels, counts, total in values]
        for name, values in document["histograms"].items()
    }
    return WorkerState(served=None if served is None else ServedFacts(**served), **document)
