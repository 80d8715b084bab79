"""A hundred changes of snapshot and a rolling restart under sustained load from several clients."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.figures import Figure, at_most
from benchmarks.production.askers import Task, ask_all
from benchmarks.production.vintages import BULK, SINGLE
from benchmarks.production.workers import production

if TYPE_CHECKING:
    from benchmarks.production.vintages import Vintages

SECTION = "Changes of snapshot and a rolling restart, at half of the capacity"
SWAPS = 100
SWAP_SECONDS = 1.0
CALM_SECONDS = 20.0
CAPACITY_SECONDS = 6.0
SHARE = 0.5


def measure(vintages: Vintages, workers: int, swaps: int = SWAPS) -> list[Figure]:
    """Compare the latencies while nothing changes with those while snapshots do."""
    tasks = [
        Task(name="single numbers", questions=vintages.questions[SINGLE]),
        Task(name="batches of 1,000", questions=vintages.questions[BULK]),
        Task(name="stream of 1,000", questions=vintages.questions[BULK], stream=True),
    ]
    restarted: list[float] = []
    swapped: list[float] = []

    with production(vintages.store, workers) as service:
        found = ask_all(tasks, service.address, CAPACITY_SECONDS)
        timed = [
            dataclasses.replace(task, rate=SHARE * found[task.name].answers / CAPACITY_SECONDS)
            for task in tasks
        ]

        def during() -> None:
            time.sleep(CALM_SECONDS)
            for _ in range(swaps):
                vintages.swap()
                swapped.append(time.time())
                time.sleep(SWAP_SECONDS)
            restarted.append(time.time())
            if workers > 1:
                service.replace_workers()

        seconds = CALM_SECONDS + swaps * (SWAP_SECONDS + 0.2) + 15
        reports = ask_all(timed, service.address, seconds, during)
    figures = []
    for name, report in reports.items():
        due, latency = np.array(report.due), np.array(report.latency) * 1e3
        calm = latency[due < swapped[0] - 1]
        busy = latency[(due >= swapped[0]) & (due < restarted[0])]
        restart = latency[due >= restarted[0]]
        p99 = float(np.percentile(calm, 99))
        figures += [
            Figure(
                section=SECTION,
                name=f"{name}: failed or wrong of {report.answers:,}",
                unit="calls",
                values=[float(report.failed_calls + report.wrong)],
                target=at_most(0),
            ),
            Figure(section=SECTION, name=f"{name}: p99, calm", unit="ms", values=[p99]),
            Figure(
                section=SECTION,
                name=f"{name}: p99 while {swaps} snapshots change, against calm",
                unit="",
                values=[float(np.percentile(busy, 99)) / p99],
                target=at_most(2.0),
            ),
            Figure(
                section=SECTION,
                name=f"{name}: p99 of the rolling restart, against calm",
                unit="",
                values=[float(np.percentile(restart, 99)) / p99],
            ),
        ]
    return figures
