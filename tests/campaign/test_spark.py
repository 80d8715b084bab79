"""Campaign lists on a real local Spark: two executors, each a process of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from numroute.index import SnapshotStore
from numroute_campaign import ANSWER_COLUMNS, read_policy, route_batches, spark

pytest.importorskip("pyspark", reason="pyspark is not installed")
pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.skipif(shutil.which("java") is None, reason="Spark needs Java"),
]

POLICY = """
[[rule]]
name = "one gateway for all"
route = "gateway"
"""

PROGRAM = """
import json, os, sys
from pyspark.sql import SparkSession
from pyspark.sql.functions import spark_partition_id
from pathlib import Path
from numroute_campaign import read_policy
from numroute_campaign.spark import route_dataframe

lists, out, store, policy = sys.argv[1:]
session = (
    SparkSession.builder.master("local-cluster[2,1,1024]")
    .config("spark.executor.memory", "512m")
    .config("spark.ui.enabled", "false")
    .config("spark.driver.host", "127.0.0.1")
    .config("spark.driver.bindAddress", "127.0.0.1")
    .getOrCreate()
)
frame = session.read.parquet(lists).repartition(8)
routed = route_dataframe(
    frame, store=store, column="phone", region="RU", policy=read_policy(Path(policy))
)

def executor(batches):
    import pyarrow as pa
    for batch in batches:
        yield pa.RecordBatch.from_pydict({"executor": [os.getppid()] * batch.num_rows})

routed.write.parquet(out)
print(json.dumps([row.executor for row in
                  frame.mapInArrow(executor, "executor long").distinct().collect()]))
session.stop()
"""


def run(words: list[object], folder: Path) -> str:
    """Run a program of Spark's and return what it printed."""
    done = subprocess.run(
        [str(word) for word in words],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env={
            **os.environ,
            "PYSPARK_PYTHON": sys.executable,
            "PYSPARK_DRIVER_PYTHON": sys.executable,
            "SPARK_LOCAL_IP": "127.0.0.1",
            "SPARK_LOCAL_HOSTNAME": "localhost",
        },
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


def rows(table: pa.Table) -> list[tuple[object, ...]]:
    """Return a table's rows in one order, whatever theirs was."""
    names = sorted(table.schema.names)
    columns = [table.column(name).to_pylist() for name in names]
    return sorted(zip(*columns, strict=True), key=repr)


@pytest.fixture(scope="module")
def lists(planted, tmp_path_factory) -> Path:
    """Return a folder with a list of some thousand phones of every planted form."""
    folder = tmp_path_factory.mktemp("spark") / "lists"
    folder.mkdir()
    phones = planted.table.column("phone").slice(0, 4_000)
    table = pa.table({"phone": phones, "id": list(range(len(phones)))})
    pq.write_table(table, folder / "a.parquet")
    return folder


def test_two_executors_answer_as_one_process_does(lists: Path, store: Path, tmp_path: Path) -> None:
    """Every row has the same answers, and both executors had a share in them."""
    policy = tmp_path / "policy.toml"
    policy.write_text(POLICY)
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    printed = run([sys.executable, program, lists, tmp_path / "out", store, policy], tmp_path)
    assert len(printed.strip().split(",")) == 2
    table = pq.read_table(lists)
    alone = pa.Table.from_batches(
        route_batches(
            table.to_batches(), store=store, column="phone", region="RU", policy=read_policy(policy)
        )
    )
    together = pq.read_table(tmp_path / "out")
    assert together.schema.names == ["phone", "id", *(name for name, _ in ANSWER_COLUMNS)]
    assert rows(together) == rows(alone)


def test_the_job_writes_a_folder_per_route(lists: Path, store: Path, tmp_path: Path) -> None:
    """spark-submit runs it; one row of each number leaves, and no column that was not asked for."""
    spark_submit = Path(sys.executable).with_name("spark-submit")
    run(
        [
            spark_submit, "--master", "local[2]", "--conf", "spark.ui.enabled=false",
            "--conf", "spark.driver.host=127.0.0.1", spark.__file__,
            "--store", store, "--region", "RU", "--column", "phone", "--deduplicate",
            lists, tmp_path / "out",
        ],
        tmp_path,
    )  # fmt: skip
    written = ds.dataset(tmp_path / "out", format="parquet", partitioning="hive").to_table()
    assert set(written.schema.names) == {"number", "route", "reject", "rule", "invalid_reason"}
    table = pq.read_table(lists)
    routed = pa.Table.from_batches(
        route_batches(table.to_batches(), store=store, column="phone", region="RU")
    )
    numbers = [number for number in routed.column("number").to_pylist() if number is not None]
    found = [number for number in written.column("number").to_pylist() if number is not None]
    assert sorted(found) == sorted(set(numbers))
    assert written.num_rows - len(found) == routed.num_rows - len(numbers)
    assert SnapshotStore(store).current_id()
