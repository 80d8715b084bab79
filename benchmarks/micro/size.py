"""Bytes a ported number, beside the least that any index could take."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.report import Figure
from numroute.index import SnapshotStore
from numroute.index.layout import PORTED_AT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from benchmarks.material import Material
    from numroute.index import Snapshot

MILLIONS = (1, 5, 20, 50, 100)
NUMBERS_MAX = 1_000_000
"""How many records say how much a route tells beyond the plan."""


def size(material: Material, seconds: float) -> Sequence[Figure]:  # noqa: ARG001 - no time passes
    """Compute the limit at several sizes, and measure the file at the material's own.

    The limit: log2 of the number of ways to choose the ported ones of the plan's mobile numbers,
    plus the entropy of their routes given the route of their range. The plan itself is not in it.
    """
    section = "Bytes a ported number"
    mobile = material.truth.first >= 79 * 10**9
    held = int((material.truth.last - material.truth.first + np.uint64(1))[mobile].sum())
    with SnapshotStore(material.store).open() as snapshot:
        bits = _route_bits(material, snapshot)
        count = snapshot.ported_count
        times = snapshot.arrays[PORTED_AT].nbytes if PORTED_AT in snapshot.arrays else 0
        sizes = {
            "the snapshot's file": snapshot.file_bytes / count,
            "the snapshot's file without times": (snapshot.file_bytes - times) / count,
        }
    for ported in (count, *(10**6 * each for each in MILLIONS)):
        if ported <= held:
            sizes[f"limit by entropy, {ported:,} of {held:,}"] = (
                _binomial_bits(held, ported) / ported + bits
            ) / 8
    return [
        Figure(section=section, name=name, unit="bytes", values=[value])
        for name, value in sizes.items()
    ]


def _route_bits(material: Material, snapshot: Snapshot) -> float:
    """Return the entropy of a record's route given the route of its range, in bits."""
    ported = material.truth.ported
    found = snapshot.lookup(ported[:: max(1, len(ported) // NUMBERS_MAX)], range_route=True)
    assert found.range_route is not None
    ranges = found.range_route.astype(np.int64)
    return _entropy(ranges * snapshot.route_count + found.route) - _entropy(ranges)


def _entropy(values: NDArray[np.int64]) -> float:
    share = np.unique(values, return_counts=True)[1] / len(values)
    return float(-(share * np.log2(share)).sum())


def _binomial_bits(held: int, ported: int) -> float:
    ways = math.lgamma(held + 1) - math.lgamma(ported + 1) - math.lgamma(held - ported + 1)
    return ways / math.log(2)
