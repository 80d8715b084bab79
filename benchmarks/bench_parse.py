"""How fast a dump is read and checked, and pyarrow's own time to parse the same file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from benchmarks.yardsticks.pyarrow_parse import stream_seconds
from numroute_loader.registries import read

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture

    from benchmarks.small import Small


def test_parse_a_dump(benchmark: BenchmarkFixture, small: Small) -> None:
    """``read`` of Port_All gives every number of the file."""
    benchmark.extra_info["rows"] = small.registry.ported
    parsed = benchmark(read, small.registry.port_all)
    assert parsed.ported is not None
    np.testing.assert_array_equal(np.sort(parsed.ported.numbers), small.truth.ported)


def test_pyarrow_parses_the_same(benchmark: BenchmarkFixture, small: Small) -> None:
    """The yardstick: the same columns, types and block size, and nothing checked."""
    benchmark.extra_info["rows"] = small.registry.ported
    benchmark(stream_seconds, small.registry.port_all, small.registry.ported)


def test_parse_a_plan(benchmark: BenchmarkFixture, small: Small) -> None:
    """``read`` of a file of the plan gives ranges that the oracle found too."""
    parsed = benchmark(read, small.registry.plans.mobile)
    assert parsed.ranges is not None
    assert np.isin(parsed.ranges.first, small.truth.first).all()
    assert len(parsed.ranges.first) > 1_000
