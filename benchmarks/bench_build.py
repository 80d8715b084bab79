"""How long merging and publishing take, apart from each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.small import all_routes
from numroute.index import SnapshotStore
from numroute_loader.inputs import InputFile
from numroute_loader.pipeline import check, publish

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_benchmark.fixture import BenchmarkFixture

    from benchmarks.small import Small


def test_read_and_merge(benchmark: BenchmarkFixture, small: Small) -> None:
    """Reading, merging and judging finds every ported number and lets it pass."""
    inputs = [InputFile(path=path) for path in small.registry.paths]
    checked = benchmark(check, inputs)
    assert checked.passed
    assert checked.report.ported == small.registry.ported


def test_publish(benchmark: BenchmarkFixture, small: Small, tmp_path: Path) -> None:
    """Writing, verifying and publishing leaves a snapshot whose answers are the oracle's."""
    checked = check([InputFile(path=path) for path in small.registry.paths])
    store = SnapshotStore(tmp_path / "store", create=True)
    metadata = benchmark(publish, store, checked)
    with store.open() as snapshot:
        assert snapshot.metadata.snapshot_id == metadata.snapshot_id
        found = snapshot.lookup(small.queries.numbers).route
        small.truth.check(small.queries.expected, found, all_routes(snapshot))
