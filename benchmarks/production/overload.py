"""Twice the load that can be answered, sent by the clock: how much is still answered in time."""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.figures import Figure, at_least
from benchmarks.production.askers import Task, ask_all
from benchmarks.production.vintages import BULK, LARGE, SINGLE, SIZES
from benchmarks.production.workers import production

if TYPE_CHECKING:
    from benchmarks.production.reports import Report
    from benchmarks.production.vintages import Vintages

SECTION = "Twice the capacity, open load"
GOODPUT_MIN = 0.8
SECONDS = 8.0
IN_TIME_SECONDS = 1.0
"""What is answered later than this after it was due is not counted."""


def measure(vintages: Vintages, workers: int) -> list[Figure]:
    """Measure the capacity, then send twice as much, over the batch size."""
    figures = []
    for kind in (SINGLE, BULK, LARGE):
        task = Task(name=kind, questions=vintages.questions[kind], under_way=16, retry=False)
        with production(vintages.store, workers) as service:
            capacity = _in_time(ask_all([task], service.address, SECONDS)[kind]) / SECONDS
            pressed = dataclasses.replace(task, rate=2 * capacity)
            report = ask_all([pressed], service.address, SECONDS)[kind]
        assert not report.wrong
        answered = _in_time(report) / SECONDS
        name = f"{SIZES[kind]:,} number{'s' * (SIZES[kind] > 1)} a call"
        others = Counter(report.failed)
        figures += [
            Figure(section=SECTION, name=f"{name}: capacity", unit="calls/s", values=[capacity]),
            Figure(
                section=SECTION,
                name=f"{name}: answered within {IN_TIME_SECONDS:g} s, share of the capacity",
                unit="",
                values=[answered / capacity],
                target=at_least(GOODPUT_MIN),
            ),
            Figure(
                section=SECTION,
                name=f"{name}: median latency of the answers",
                unit="ms",
                values=[report.percentile_ms(50)],
            ),
            *(
                Figure(
                    section=SECTION,
                    name=f"{name}: ended with {status}",
                    unit="calls",
                    values=[float(count)],
                )
                for status, count in others.items()
            ),
        ]
    return figures


def _in_time(report: Report) -> int:
    return int((np.array(report.latency) <= IN_TIME_SECONDS).sum())
