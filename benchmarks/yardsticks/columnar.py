"""Columnar engines over the same numbers: DuckDB and chDB, where they are installed.

Both are asked as they do best: the batch is an Arrow column, the answer another. They return pairs
of number and fact, for neither engine promises an order.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

Ask = Callable[[pa.Table], Any]

DICTIONARY = (
    "CREATE DICTIONARY d (number UInt64, fact UInt32) PRIMARY KEY number "
    "SOURCE(CLICKHOUSE(TABLE 'ported')) LAYOUT(HASHED()) LIFETIME(0)"
)


def batch_table(numbers: NDArray[np.uint64]) -> pa.Table:
    """Return a batch with the place of each number, which the answer repeats."""
    return pa.table({"place": pa.array(np.arange(len(numbers))), "number": pa.array(numbers)})


def facts_of(found: pa.Table) -> NDArray[np.uint32]:
    """Return the facts of an answer, in the order of the question."""
    order = found["place"].to_numpy().argsort()
    facts: NDArray[np.uint32] = found["fact"].to_numpy()[order]
    return facts


@contextlib.contextmanager
def engines(
    folder: Path, numbers: NDArray[np.uint64], facts: NDArray[np.uint32]
) -> Iterator[dict[str, Ask]]:
    """Fill each engine that is installed; yield how each is asked."""
    table = pa.table({"number": pa.array(numbers), "fact": pa.array(facts)})
    with contextlib.ExitStack() as stack:
        found: dict[str, Ask] = {}
        for name, fill in (("duckdb", _duckdb), ("chdb", _chdb)):
            try:
                module = importlib.import_module(name)
            except ImportError:
                print(f"{name} is not installed: measuring without it", file=sys.stderr)
            else:
                found |= stack.enter_context(fill(module, folder, table))
        yield found


@contextlib.contextmanager
def _duckdb(module: Any, _: Path, table: pa.Table) -> Iterator[dict[str, Ask]]:  # noqa: ANN401
    with contextlib.closing(module.connect()) as connection:
        connection.register("filled", table)
        connection.execute("CREATE TABLE ported AS SELECT * FROM filled")

        def join(batch: pa.Table) -> pa.Table:
            connection.register("batch", batch)
            return connection.sql(
                "SELECT place, fact FROM batch LEFT JOIN ported USING (number)"
            ).to_arrow_table()

        yield {"DuckDB, join": join}


@contextlib.contextmanager
def _chdb(module: Any, folder: Path, table: pa.Table) -> Iterator[dict[str, Ask]]:  # noqa: ANN401
    with contextlib.closing(module.connect(str(folder / "chdb"))) as connection:
        path = folder / "ported.parquet"
        pq.write_table(table, path)
        connection.query(
            "CREATE TABLE ported (number UInt64, fact UInt32) "  # noqa: S608 - our own path
            "ENGINE = MergeTree ORDER BY number "
            f"AS SELECT number, fact FROM file('{path}', Parquet)"
        )
        connection.query(DICTIONARY)

        def get(batch: pa.Table) -> pa.Table:  # noqa: ARG001 - chDB finds it by its name
            data = connection.query(
                "SELECT place, dictGet('d', 'fact', number) AS fact FROM Python(batch)",
                "ArrowStream",
            )
            return pa.ipc.open_stream(data.bytes()).read_all()

        yield {"chDB, `dictGet`": get}
