"""How fast a batch is looked up in process, and the memory's limit beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from benchmarks.small import BATCH, all_routes
from numroute.index.layout import CELLS

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture

    from benchmarks.small import Small
    from numroute.index import Snapshot


@pytest.mark.parametrize("count", [1, 1_000, BATCH])
def test_lookup(benchmark: BenchmarkFixture, small: Small, snapshot: Snapshot, count: int) -> None:
    """Every answer of a batch is the oracle's."""
    benchmark.extra_info["numbers"] = count
    queries = small.part(count)
    answers = benchmark(snapshot.lookup, queries.numbers)
    small.truth.check(queries.expected, answers.route, all_routes(snapshot))


def test_take(benchmark: BenchmarkFixture, snapshot: Snapshot) -> None:
    """The yardstick: as many random words from an array as large as the index's cells."""
    benchmark.extra_info["numbers"] = BATCH
    rng = np.random.default_rng(1)
    words = rng.integers(0, 1 << 63, snapshot.value_specs[CELLS].length, dtype=np.uint64)
    places = rng.integers(0, len(words), BATCH)
    found = benchmark(words.take, places)
    np.testing.assert_array_equal(found, words[places])
