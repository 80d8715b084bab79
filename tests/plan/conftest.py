"""A made-up calibration, and one that was really measured with tiny settings."""

from __future__ import annotations

import pytest

from numroute.plan.calibration import BatchCost, Calibration, KernelCost, UnderLoad
from numroute.plan.machine import Machine

SPREAD = (0.8, 0.9, 0.95, 1.0, 1.1, 1.3, 1.5, 2.0, 2.5, 3.0)


def cost(batch: int) -> BatchCost:
    busy = (300e-6 if batch <= 4_096 else 600e-6) + batch * 40e-9
    return BatchCost(
        batch=batch,
        busy_cpu_seconds=busy,
        wake_cpu_seconds=200e-6,
        latency_seconds=tuple((busy + 500e-6) * times for times in SPREAD),
        answer_bytes=100 + 5 * batch,
        private_bytes=50_000_000 + 100 * batch,
    )


@pytest.fixture(scope="session")
def calibration() -> Calibration:
    return Calibration(
        made_at="2026-01-01T00:00:00+00:00",
        machine=Machine(
            cpu="Made-up CPU",
            cores=4,
            memory_bytes=32_000_000_000,
            kernel="6.1",
            disk_bytes=500_000_000_000,
        ),
        costs=tuple(map(cost, (1, 1_000, 4_096, 8_192, 100_000, 500_000))),
        kernel=(
            KernelCost(touched_bytes=10_000_000, mixed_seconds=10e-9, ported_seconds=12e-9),
            KernelCost(touched_bytes=200_000_000, mixed_seconds=16e-9, ported_seconds=20e-9),
        ),
        under_load=(
            UnderLoad(batch=1_000, queue_factor=1.0, waking_fade=0.0),
            UnderLoad(batch=8_192, queue_factor=2.0, waking_fade=3.0),
            UnderLoad(batch=100_000, queue_factor=1.5, waking_fade=2.0),
        ),
        others_share=0.0,
        pinned=True,
    )
