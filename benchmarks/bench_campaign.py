"""How long a campaign list takes in this process: to files per operator, and batch by batch."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from benchmarks.campaign.lists import PHONE
from benchmarks.campaign.prepare import ensure
from benchmarks.campaign.running import check
from numroute.index import SnapshotStore
from numroute_campaign import Campaign, route_batches, run_campaign
from numroute_campaign.lists.opening import ReadOptions
from numroute_campaign.outputs import OutputSettings
from numroute_campaign.routers import SnapshotRouter

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytest_benchmark.fixture import BenchmarkFixture

    from benchmarks.campaign.prepare import Material

ROWS = 50_000
PORTED = 20_000


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Material:
    """Return lists in which everything is planted, a store, and what must come out."""
    return ensure(tmp_path_factory.mktemp("campaign"), ROWS, PORTED, ("csv", "parquet"))


@pytest.fixture(scope="module")
def router(material: Material) -> Iterator[SnapshotRouter]:
    """Return what answers for the store's snapshot."""
    with SnapshotStore(material.store).open() as snapshot:
        yield SnapshotRouter(snapshot)


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_run_campaign(
    benchmark: BenchmarkFixture,
    material: Material,
    router: SnapshotRouter,
    tmp_path: Path,
    form: str,
) -> None:
    """Every row is in one output, with what was planted."""
    benchmark.extra_info["rows"] = ROWS
    folders = (tmp_path / str(turn) for turn in itertools.count())
    list_file = material.csv if form == "csv" else material.parquet

    def run() -> Path:
        out = next(folders)
        run_campaign(
            Campaign(
                lists=(str(list_file),),
                out=out,
                options=ReadOptions(region="RU"),
                output=OutputSettings(form=form),
            ),
            router,
        )
        return out

    check(material, benchmark(run))


def test_route_batches(benchmark: BenchmarkFixture, material: Material) -> None:
    """Every row of a batch gets its number, and the operator that the snapshot names."""
    benchmark.extra_info["rows"] = ROWS
    batches = pq.read_table(material.parquet).to_batches()
    planted = np.load(material.numbers)

    def run() -> list[pa.RecordBatch]:
        return list(route_batches(batches, store=material.store, column=PHONE, region="RU"))

    routed = pa.Table.from_batches(benchmark(run))
    numbers = routed["number"].fill_null(0).to_numpy().astype(np.uint64)
    np.testing.assert_array_equal(numbers, planted)
    first = routed.filter(pa.array(np.load(material.is_first)))
    counted = pc.value_counts(first["operator"].combine_chunks()).to_pylist()
    expected = json.loads(material.expected.read_text("utf-8"))["routes"]
    assert {each["values"]: each["counts"] for each in counted if each["values"]} == expected
