"""Twice the load that can be answered, sent by the clock: how much is still answered in time.

Small calls are sent by h2load from a core of its own to one worker on another: the client would
else take from the service what is measured. Large batches cost the client little.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.figures import Figure, at_least
from benchmarks.production import h2load
from benchmarks.production.askers import Task, ask_all
from benchmarks.production.scaling import PATH, right_answer
from benchmarks.production.vintages import BULK, LARGE, SINGLE, SIZES
from benchmarks.production.workers import pin, production

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.production.reports import Report
    from benchmarks.production.vintages import Question, Vintages

SECTION = "Twice the capacity, open load"
GOODPUT_MIN = 0.8
SECONDS = 8.0
ROUNDS = 3
IN_TIME_SECONDS = 1.0
"""What is answered later than this after it was due is not counted."""

CONNECTIONS_MANY = 256
"""Each with a few calls under way: more wait in the service than it lets."""

CLOSED = h2load.Load(core=1)
SERVICE_CORE = 0


def measure(vintages: Vintages, work: Path, workers: int) -> list[Figure]:
    """Measure the capacity, then send twice as much, over the batch size."""
    figures = []
    for kind in (SINGLE, BULK):
        figures += _small(vintages, work, kind)
    return figures + _large(vintages, workers)


def _small(vintages: Vintages, work: Path, kind: str) -> list[Figure]:
    question: Question = vintages.questions[kind][0]
    body = work / f"{kind}.frame"
    body.write_bytes(h2load.frame(question.request))
    capacities, shares, refused, worst = [], [], [], []
    with production(vintages.store, 1) as service:
        for pid in service.workers():
            pin(pid, SERVICE_CORE)
        size = len(right_answer(service.address, question))
        for _ in range(ROUNDS):
            capacity = h2load.run(service.address, PATH, body, size, CLOSED).answered
            pressed = dataclasses.replace(
                CLOSED, connections=CONNECTIONS_MANY, streams=100, rate=2 * capacity
            )
            seen = h2load.run(service.address, PATH, body, size, pressed)
            capacities.append(capacity)
            shares.append(seen.answered / capacity)
            refused.append((seen.ended - seen.answered) / seen.ended)
            worst.append(seen.worst_ms)
    name = f"{SIZES[kind]:,} number{'s' * (SIZES[kind] > 1)} a call"
    return [
        Figure(section=SECTION, name=f"{name}: capacity", unit="calls/s", values=capacities),
        Figure(
            section=SECTION,
            name=f"{name}: answered, share of the capacity",
            unit="",
            values=shares,
            target=at_least(GOODPUT_MIN),
        ),
        Figure(
            section=SECTION,
            name=f"{name}: ended by gRPC (CANCELLED), share of the calls",
            unit="",
            values=refused,
        ),
        Figure(section=SECTION, name=f"{name}: longest call", unit="ms", values=worst),
    ]


def _large(vintages: Vintages, workers: int) -> list[Figure]:
    task = Task(name=LARGE, questions=vintages.questions[LARGE], under_way=16, retry=False)
    with production(vintages.store, workers) as service:
        capacity = _in_time(ask_all([task], service.address, SECONDS)[LARGE]) / SECONDS
        pressed = dataclasses.replace(task, rate=2 * capacity)
        report = ask_all([pressed], service.address, SECONDS)[LARGE]
    assert not report.wrong
    name = f"{SIZES[LARGE]:,} numbers a call"
    return [
        Figure(section=SECTION, name=f"{name}: capacity", unit="calls/s", values=[capacity]),
        Figure(
            section=SECTION,
            name=f"{name}: answered within {IN_TIME_SECONDS:g} s, share of the capacity",
            unit="",
            values=[_in_time(report) / SECONDS / capacity],
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
            for status, count in report.failed.items()
        ),
    ]


def _in_time(report: Report) -> int:
    return int((np.array(report.latency) <= IN_TIME_SECONDS).sum())
