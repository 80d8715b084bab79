"""A hundred changes of snapshot and a rolling restart under sustained load from several clients."""

from __future__ import annotations

import dataclasses
import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.figures import Figure, at_most
from benchmarks.production.askers import Task, ask_all
from benchmarks.production.vintages import BULK, SINGLE
from benchmarks.production.workers import production

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from benchmarks.production.vintages import Vintages

    Times = NDArray[np.float64]

SECTION = "Changes of snapshot and a rolling restart, at half of the capacity"
SWAPS = 100
SWAPS_PER_TURN = 10
SWAP_SECONDS = 1.0
CALM_SECONDS = 10.0
WARM_SECONDS = 5.0
RESTART_SECONDS = 10.0
CAPACITY_SECONDS = 6.0
SHARE = 0.5


@dataclass(slots=True)
class Turn:
    """When a calm stretch began, when the changes after it did, and when they were over."""

    calm: float
    swaps: float
    over: float


def measure(vintages: Vintages, workers: int, swaps: int = SWAPS) -> list[Figure]:
    """Compare the latencies while nothing changes with those while snapshots do, by turns."""
    tasks = [
        Task(name="single numbers", questions=vintages.questions[SINGLE]),
        Task(name="batches of 1,000", questions=vintages.questions[BULK]),
        Task(name="stream of 1,000", questions=vintages.questions[BULK], stream=True),
    ]
    turns: list[Turn] = []
    restarted: list[float] = []
    count = max(1, swaps // SWAPS_PER_TURN)

    with production(vintages.store, workers) as service:
        found = ask_all(tasks, service.address, CAPACITY_SECONDS)
        timed = [
            dataclasses.replace(task, rate=SHARE * found[task.name].answers / CAPACITY_SECONDS)
            for task in tasks
        ]

        def during() -> None:
            # Connections are made, caches filled, both snapshots read from the disk.
            for _ in range(2):
                vintages.swap()
                time.sleep(WARM_SECONDS / 2)
            for _ in range(count):
                calm = time.time()
                time.sleep(CALM_SECONDS)
                begin = time.time()
                for _ in range(SWAPS_PER_TURN):
                    vintages.swap()
                    time.sleep(SWAP_SECONDS)
                turns.append(Turn(calm, begin, time.time()))
            restarted.append(time.time())
            if workers > 1:
                service.replace_workers()

        seconds = WARM_SECONDS + RESTART_SECONDS
        seconds += count * (CALM_SECONDS + SWAPS_PER_TURN * (SWAP_SECONDS + 0.05))
        reports = ask_all(timed, service.address, seconds, during)
    swapped = len(turns) * SWAPS_PER_TURN
    figures = []
    for name, report in reports.items():
        due, latency = np.array(report.due), np.array(report.latency) * 1e3

        def p99(begin: float, end: float, due: Times = due, latency: Times = latency) -> float:
            return float(np.percentile(latency[(due >= begin) & (due < end)], 99))

        calm = [p99(turn.calm, turn.swaps) for turn in turns]
        busy = [p99(turn.swaps, turn.over) for turn in turns]
        figures += [
            Figure(
                section=SECTION,
                name=f"{name}: failed or wrong of {report.answers:,}",
                unit="calls",
                values=[float(report.failed_calls + report.wrong)],
                target=at_most(0),
            ),
            Figure(section=SECTION, name=f"{name}: p99, calm", unit="ms", values=calm),
            Figure(
                section=SECTION,
                name=f"{name}: p99 while {swapped} snapshots change",
                unit="ms",
                values=busy,
            ),
            Figure(
                section=SECTION,
                name=f"{name}: p99 while they change, against calm",
                unit="",
                values=[b / a for a, b in zip(calm, busy, strict=True)],
                target=at_most(2.0),
            ),
            Figure(
                section=SECTION,
                name=f"{name}: p99 of the rolling restart",
                unit="ms",
                values=[p99(restarted[0], math.inf)],
            ),
        ]
    return figures
