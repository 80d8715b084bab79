"""How long opening a snapshot and its first answers take, in the page cache and not."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from benchmarks.pagecache import forget, warm
from benchmarks.small import all_routes
from numroute.index import SnapshotStore

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pytest_benchmark.fixture import BenchmarkFixture

    from benchmarks.small import Small

NUMBERS = 1_000
ROUNDS = 20


@pytest.mark.parametrize("prepare", [warm, forget], ids=["cached", "not cached"])
def test_open_and_answer(
    benchmark: BenchmarkFixture, small: Small, tmp_path: Path, prepare: Callable[[Path], None]
) -> None:
    """A snapshot opens and answers whether or not its file is in the page cache."""
    # A file of its own: what another process has mapped cannot be dropped from the page cache.
    store = SnapshotStore(shutil.copytree(small.store.path, tmp_path / "store"))
    path = store.snapshot_path(store.current_id())
    queries = small.part(NUMBERS)

    def open_and_answer() -> None:
        with store.open() as snapshot:
            found.append(snapshot.lookup(queries.numbers).route)

    found: list[object] = []
    benchmark.pedantic(open_and_answer, setup=lambda: prepare(path), rounds=ROUNDS)
    with store.open() as snapshot:
        routes = all_routes(snapshot)
    assert found
    for answer in found:
        small.truth.check(queries.expected, answer, routes)
