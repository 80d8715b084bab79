"""Bytes a ported number, beside the least that any index could take."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.material import SEED, Material
from benchmarks.oracle import COUNTRY
from benchmarks.report import Figure
from numroute.index import Snapshot, SnapshotStore
from numroute.index.bitmap import build_bitmap
from numroute.index.layout import PORTED_AT, RANGE_ROUTE, RANGE_START, RANKS_WITHIN
from numroute.index.numpy_kernel import all_records
from numroute_loader.generate.plan import load_market, read_real_plan, synthetic_plan
from numroute_loader.generate.ports import Ports

MILLIONS = (1, 5, 20, 50, 100)
NUMBERS_MAX = 1_000_000
"""How many records say how much a route tells beyond the plan."""

DUMP_DATE = date(2026, 4, 2)
TIMES_AS_MANY = 2
"""The largest file that is laid out, in times of the material's own numbers."""


def size(material: Material, seconds: float) -> Sequence[Figure]:  # noqa: ARG001 - no time passes
    """Measure the file and its layout at several sizes, beside the limit by entropy.

    The limit: log2 of the number of ways to choose the ported ones of the plan's mobile numbers,
    plus the entropy of their routes given the route of their range. The plan itself is not in it.
    """
    section = "Bytes a ported number"
    mobile = material.truth.first >= 79 * 10**9
    held = int((material.truth.last - material.truth.first + np.uint64(1))[mobile].sum())
    with SnapshotStore(material.store).open() as snapshot:
        bits = _route_bits(material, snapshot)
        count, file_bytes = snapshot.ported_count, snapshot.path.stat().st_size
        # A file without times has no ranks within groups either.
        times = sum(snapshot.arrays[key].nbytes for key in (PORTED_AT, RANKS_WITHIN))
        sizes = {
            "the snapshot's file": file_bytes / count,
            "the snapshot's file without times": (file_bytes - times) / count,
        }
        laid_out = _laid_out(snapshot, material.truth.ported)
        assert all(np.array_equal(snapshot.arrays[key], laid_out[key]) for key in laid_out)
        rest = file_bytes - times - _bytes(laid_out)
        for ported in (10**6 * each for each in MILLIONS):
            if ported != count and ported <= TIMES_AS_MANY * count:
                numbers = _drawn(material, ported)
                arrays = _laid_out(snapshot, numbers)
                sizes[f"a file without times, {len(numbers):,}"] = (rest + _bytes(arrays)) / len(
                    numbers
                )
    for ported in (count, *(10**6 * each for each in MILLIONS)):
        if ported <= held:
            sizes[f"limit by entropy, {ported:,} of {held:,}"] = (
                _binomial_bits(held, ported) / ported + bits
            ) / 8
    return [
        Figure(section=section, name=name, unit="bytes", values=[value])
        for name, value in sizes.items()
    ]


def _bytes(arrays: Mapping[str, NDArray[Any]]) -> int:
    """Return what arrays take in a file without times."""
    return sum(array.nbytes for key, array in arrays.items() if key != RANKS_WITHIN)


def _drawn(material: Material, ported: int) -> NDArray[np.uint64]:
    """Return ``count`` ported numbers, drawn from this plan as ``numroute-load generate`` does."""
    market = load_market()
    if material.real_plan:
        ranges, market = read_real_plan(material.plans[:1], market)
    else:
        ranges, _ = synthetic_plan(market, SEED)
    ports = Ports(market, ranges, ported=ported, returned_home=0, dump_date=DUMP_DATE, seed=SEED)
    numbers = [ports.draw(chunk)["number"].astype(np.uint64) for chunk in range(ports.chunk_count)]
    return np.concatenate(numbers) + np.uint64(COUNTRY)


def _laid_out(
    snapshot: Snapshot, numbers: NDArray[np.uint64]
) -> dict[str, NDArray[np.unsignedinteger]]:
    """Lay records out over the snapshot's plan, each with the route of its next ported number."""
    known, rows = all_records(snapshot.tables)
    return build_bitmap(
        numbers,
        rows.take(known.searchsorted(numbers), mode="clip"),
        snapshot.arrays[RANGE_START],
        snapshot.arrays[RANGE_ROUTE],
        len(snapshot.routes),
    )


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
