"""The ways without an index of our own, over batch size and in bytes per number."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.queries import ALL_PORTED, load_queries, load_truth
from benchmarks.suite.in_process import batches_of, lookup_side
from benchmarks.suite.prepare import store_of
from benchmarks.suite.results import Row, in_turn, rows_against
from benchmarks.timing import Side
from benchmarks.yardsticks import lmdb_per_number, python_dict, redis_server
from benchmarks.yardsticks.lmdb_per_number import PerNumber, ensure_database
from benchmarks.yardsticks.python_dict import DictPerNumber
from benchmarks.yardsticks.sqlite_table import SqlitePerNumber
from numroute.index import SnapshotStore

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from benchmarks.oracle import Truth
    from benchmarks.suite.scale import Scale
    from benchmarks.yardsticks.redis_server import RedisServer

NUMROUTE = "numroute"
SECTION = "Other stores, over batch size: numbers that are ported"
MEMORY = "Other stores: bytes per ported number"
REDIS_COUNT = 1_000_000
REDIS_PIPELINE = 64
SLOW_ROUNDS = 3
SEED = 6


def over_batches(scale: Scale) -> list[Row]:
    """Measure a dict, LMDB, SQLite and Redis beside the index, over the batch size."""
    folder = scale.folder(scale.main)
    truth = load_truth(folder)
    large, small = (
        _some(truth, keys) for keys in (scale.store_keys_max, scale.small_store_keys_max)
    )
    per_number = PerNumber.open(ensure_database(folder, truth))
    in_lmdb = (
        lmdb_per_number.stored_part(truth.ported),
        lmdb_per_number.stored_part(truth.ported_fact),
    )
    in_dict = DictPerNumber(*large)
    sqlite_path = folder / "numbers.sqlite"
    in_sqlite = SqlitePerNumber(sqlite_path, *small)
    queries = load_queries(folder, ALL_PORTED)
    rows: list[Row] = []
    with (
        SnapshotStore(store_of(scale, scale.main)).open() as snapshot,
        redis_server.redis_server(folder) as redis,
    ):
        if redis is not None:
            redis.fill(*small)
        for batch in scale.batches:
            sides = {
                NUMROUTE: lookup_side(snapshot, truth, queries, batch),
                f"Python dict, {len(large[0]):,} keys": _side(
                    in_dict.get, large, python_dict.keys_of, python_dict.check, batch
                ),
                f"LMDB `get`, {len(in_lmdb[0]):,} keys": _side(
                    per_number.get, in_lmdb, lmdb_per_number.keys_of, per_number.check, batch
                ),
                f"LMDB `getmulti` of sorted keys, {len(in_lmdb[0]):,} keys": _side(
                    per_number.get_sorted,
                    in_lmdb,
                    lmdb_per_number.keys_of,
                    per_number.check,
                    batch,
                    in_order=True,
                ),
                f"SQLite, {len(small[0]):,} rows": _side(
                    in_sqlite.get, small, python_dict.keys_of, python_dict.check, batch
                ),
            }
            if redis is not None:
                sides[_redis_name(small)] = _side(
                    redis.get, small, redis_server.keys_of, redis_server.check, batch
                )
            rows += rows_against(
                SECTION,
                NUMROUTE,
                in_turn(sides, SLOW_ROUNDS),
                label=f", {batch:,} at once",
                where={"batch": batch, "ported": scale.main},
            )
        sizes = {
            NUMROUTE: snapshot.file_bytes / scale.main,
            "LMDB": (folder / "lmdb-per-number" / "data.mdb").stat().st_size / len(in_lmdb[0]),
            "SQLite": sqlite_path.stat().st_size / len(small[0]),
            "Python dict": _dict_bytes(large),
        }
        if redis is not None:
            sizes["Redis"] = redis.memory_bytes() / len(small[0])
        rows += _redis_rows(redis, small)
    per_number.close()
    in_sqlite.close()
    return rows + rows_against(
        MEMORY,
        NUMROUTE,
        {name: [size] for name, size in sizes.items()},
        label="",
        where={"ported": scale.main},
        scale=1,
        unit="bytes",
    )


def _redis_rows(
    redis: RedisServer | None, stored: tuple[NDArray[np.uint64], NDArray[np.uint32]]
) -> list[Row]:
    name = f"`redis-benchmark -P {REDIS_PIPELINE}` GET, 50 connections"
    if redis is None:
        return [
            Row(section=SECTION, name=each, unit="ns/number", note=redis_server.MISSING)
            for each in (_redis_name(stored), name)
        ]
    # The command draws its keys from 0 up, of twelve digits: let each be there.
    every = np.arange(len(stored[0]), dtype=np.uint64)
    redis.fill(every, every.astype(np.uint32))
    rate = redis.gets_per_second(pipeline=REDIS_PIPELINE, keys=len(stored[0]), count=REDIS_COUNT)
    return [
        Row(
            section=SECTION,
            name=name,
            unit="ns/number",
            values=[1e9 / rate],
            where={"subject": name},
            note="keys and connections of its own, answers unread",
        )
    ]


def _redis_name(stored: tuple[NDArray[np.uint64], NDArray[np.uint32]]) -> str:
    return f"Redis MGET through redis-py, {len(stored[0]):,} keys"


def _some(truth: Truth, count: int) -> tuple[NDArray[np.uint64], NDArray[np.uint32]]:
    """Return at most ``count`` ported numbers, evenly spread, ascending, and their facts."""
    step = -(-len(truth.ported) // count)
    return np.array(truth.ported[::step]), np.array(truth.ported_fact[::step])


def _side(
    get: Callable[[Any], Any],
    stored: tuple[NDArray[np.uint64], NDArray[np.uint32]],
    keys_of: Callable[[NDArray[np.uint64]], Any],
    check_values: Callable[[Any, NDArray[np.uint32]], None],
    batch: int,
    *,
    in_order: bool = False,
) -> Side:
    """Return gets of random stored numbers in batches; keys are made beforehand."""
    numbers, facts = stored
    rng = np.random.default_rng(SEED)
    wanted = max(batch, min(len(numbers), 1 << 16))
    chosen = batches_of(rng.integers(0, len(numbers), wanted), batch)
    if in_order:
        # A repeated key would be answered once.
        chosen = [np.unique(part) for part in chosen]
    keys = [keys_of(numbers[part]) for part in chosen]

    def check(found: Sequence[Any]) -> None:
        for part, values in zip(chosen, found, strict=True):
            check_values(values, facts[part])

    return Side(run=lambda: [get(part) for part in keys], check=check, count=sum(map(len, chosen)))


def _dict_bytes(stored: tuple[NDArray[np.uint64], NDArray[np.uint32]]) -> float:
    """Return the bytes per entry of a dict: its table, and the number, which is an object."""
    number = int(stored[0][0])
    table = sys.getsizeof(dict.fromkeys(range(len(stored[0]))))
    return table / len(stored[0]) + sys.getsizeof(number)
