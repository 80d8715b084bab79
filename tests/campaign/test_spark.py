"""Campaign lists on a real local Spark: two workers, each a process of its own."""

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
from numroute_campaign import ANSWER_COLUMNS, read_policy, route_batches

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
from pathlib import Path
from numroute_campaign import read_policy, spark

lists, out, job_out, store, policy = sys.argv[1:]
session = (
    SparkSession.builder.master("local[2]")
    .config("spark.driver.memory", "512m")
    .config("spark.sql.shuffle.partitions", "2")
    .config("spark.ui.enabled", "false")
    .config("spark.driver.host", "127.0.0.1")
    .config("spark.driver.bindAddress", "127.0.0.1")
    .getOrCreate()
)
frame = session.read.parquet(lists).repartition(4)
routed = spark.route_dataframe(
    frame, store=store, column="phone", region="RU", policy=read_policy(Path(policy))
)

def worker(batches):
    import pyarrow as pa
    for batch in batches:
        yield pa.RecordBatch.from_pydict({"worker": [os.getpid()] * batch.num_rows})

routed.write.parquet(out)
print(json.dumps([row.worker for row in
                  frame.mapInArrow(worker, "worker long").distinct().collect()]))
# The job takes the session that is there, and ends it.
words = ["--store", store, "--region", "RU", "--column", "phone", "--deduplicate", lists, job_out]
sys.exit(spark.main(words))
"""


def rows(table: pa.Table) -> list[tuple[object, ...]]:
    """Return a table's rows in one order, whatever theirs was."""
    names = sorted(table.schema.names)
    columns = [table.column(name).to_pylist() for name in names]
    return sorted(zip(*columns, strict=True), key=repr)


@pytest.fixture(scope="module")
def table(planted) -> pa.Table:
    """Return a list of a thousand phones of every planted form."""
    phones = planted.table.column("phone").slice(0, 1_000)
    return pa.table({"phone": phones, "id": list(range(len(phones)))})


@pytest.fixture(scope="module")
def done(table: pa.Table, store: Path, tmp_path_factory) -> Path:
    """Run the program, once for all tests: most of its time is Spark's start."""
    folder = tmp_path_factory.mktemp("spark")
    (folder / "lists").mkdir()
    pq.write_table(table, folder / "lists" / "a.parquet")
    (folder / "policy.toml").write_text(POLICY)
    (folder / "program.py").write_text(PROGRAM)
    words = ["program.py", "lists", "out", "job", store, "policy.toml"]
    ended = subprocess.run(
        [sys.executable, *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env={
            **os.environ,
            "PYSPARK_PYTHON": sys.executable,
            "PYSPARK_DRIVER_PYTHON": sys.executable,
            "SPARK_LOCAL_IP": "127.0.0.1",
            # Half of a short program's time is Java's second compiler.
            "JAVA_TOOL_OPTIONS": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
            "SPARK_LOCAL_HOSTNAME": "localhost",
        },
    )
    assert ended.returncode == 0, ended.stderr[-4000:]
    (folder / "printed").write_text(ended.stdout)
    return folder


def test_two_workers_answer_as_one_process_does(done: Path, table: pa.Table, store: Path) -> None:
    """Every row has the same answers, and both workers had a share in them."""
    assert len((done / "printed").read_text().strip().split(",")) == 2
    alone = pa.Table.from_batches(
        route_batches(
            table.to_batches(),
            store=store,
            column="phone",
            region="RU",
            policy=read_policy(done / "policy.toml"),
        )
    )
    together = pq.read_table(done / "out")
    assert together.schema.names == ["phone", "id", *(name for name, _ in ANSWER_COLUMNS)]
    assert rows(together) == rows(alone)


def test_the_job_writes_a_folder_per_route(done: Path, table: pa.Table, store: Path) -> None:
    """One row of each number leaves, and no column that was not asked for."""
    written = ds.dataset(done / "job", format="parquet", partitioning="hive").to_table()
    assert set(written.schema.names) == {"number", "route", "reject", "rule", "invalid_reason"}
    routed = pa.Table.from_batches(
        route_batches(table.to_batches(), store=store, column="phone", region="RU")
    )
    numbers = [number for number in routed.column("number").to_pylist() if number is not None]
    found = [number for number in written.column("number").to_pylist() if number is not None]
    assert sorted(found) == sorted(set(numbers))
    assert written.num_rows - len(found) == routed.num_rows - len(numbers)
    assert SnapshotStore(store).current_id()
