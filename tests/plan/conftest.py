"""A made-up calibration whose figures are simple functions of batch and load."""

from __future__ import annotations

import pytest

from numroute.plan.table import BatchRow, Calibration, LoadStep, Machine, Spread

BATCHES = (1, 1_000, 4_000, 5_000, 100_000, 500_000)
LOADS = (0.1, 0.5, 0.8)


def spread(value: float) -> Spread:
    return 0.9 * value, value, 1.5 * value


def busy(batch: int) -> float:
    return (300e-6 if batch <= 4_000 else 600e-6) + batch * 40e-9


def row(batch: int) -> BatchRow:
    cost = busy(batch)
    return BatchRow(
        batch=batch,
        busy_cpu_seconds=(cost, 1.1 * cost, 1.2 * cost),
        answer_bytes=100 + 5 * batch,
        private_bytes=50_000_000 + 100 * batch,
        steps=tuple(
            LoadStep(
                load=load,
                cpu_seconds=spread(cost + 200e-6 * (1 - load)),
                p50_seconds=spread(cost + 500e-6),
                p99_seconds=spread((cost + 500e-6) / (1 - load)),
            )
            for load in LOADS
        ),
    )


@pytest.fixture(scope="session")
def calibration() -> Calibration:
    return Calibration(
        machine=Machine(
            cpu="Made-up CPU",
            cores=4,
            memory_bytes=32_000_000_000,
            disk_bytes=500_000_000_000,
        ),
        ported=300_000_000,
        rows=tuple(map(row, BATCHES)),
        disturbed_steps=0,
    )
