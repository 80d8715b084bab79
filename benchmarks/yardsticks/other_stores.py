"""The same ported numbers in a dict, LMDB with a key a number, SQLite, Redis, DuckDB and chDB."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import lmdb
import numpy as np
import redis
from numpy.typing import NDArray

from benchmarks.material import Material
from benchmarks.processes import free_address, wait_until_listening
from benchmarks.report import Figure, Side, take_turns
from benchmarks.yardsticks.columnar import batch_table, engines, facts_of
from numroute.index import SnapshotStore

BATCHES = (1_000, 65_536)
KEYS_MAX = 1_000_000
"""Fewer numbers than the index holds, which favours these stores."""

VALUE = np.dtype("<u4")
LMDB_BYTES = 1 << 30
NUMBERS_PER_MGET = 1_000
"""A longer batch goes as several MGETs in one pipeline; one of 500,000 would stop all others."""

REDIS = "redis-server"


def stores(material: Material, seconds: float) -> Sequence[Figure]:
    """Ask each store for numbers that it has; keys are made beforehand, so that none pays for it.

    The yardstick here is ``Snapshot.lookup`` itself: ratios say how many times its time each takes.
    """
    step = -(-len(material.truth.ported) // KEYS_MAX)
    numbers, facts = material.truth.ported[::step], material.truth.ported_fact[::step]
    figures: list[Figure] = []
    rng = np.random.default_rng(5)
    with (
        tempfile.TemporaryDirectory(dir=material.work) as folder,
        SnapshotStore(material.store).open() as snapshot,
        _stores(Path(folder), numbers, facts) as others,
    ):
        routes = [snapshot.route(row) for row in range(snapshot.route_count)]
        for batch in BATCHES:
            places = rng.integers(0, len(numbers), batch)
            asked, expected = numbers[places], facts[places]

            def right(found: Any, asked: NDArray[np.uint64] = asked) -> None:  # noqa: ANN401
                material.truth.check(asked, found.route, routes)

            sides = {
                f"{batch:,} a batch: `Snapshot.lookup`": Side(
                    run=lambda asked=asked: snapshot.lookup(asked), check=right, count=batch
                )
            }
            for name, (keys_of, get, values_of) in others.items():
                sides[f"{batch:,} a batch: {name}"] = _side(
                    keys_of(asked), get, values_of, expected
                )
            figures += take_turns(
                f"Other stores of {len(numbers):,} ported numbers",
                sides,
                unit="ns/number",
                scale=1e9,
                seconds=seconds / len(BATCHES),
            )
    return figures


def _side(
    keys: Sequence[Any],
    get: Callable[[Sequence[Any]], Sequence[Any]],
    values_of: Callable[[Sequence[Any]], NDArray[np.uint32]],
    expected: NDArray[np.uint32],
) -> Side:
    def right(found: Sequence[Any]) -> None:
        assert np.array_equal(values_of(found), expected), "a store answers otherwise"

    return Side(run=lambda: get(keys), check=right, count=len(keys))


@contextlib.contextmanager
def _stores(
    folder: Path, numbers: NDArray[np.uint64], facts: NDArray[np.uint32]
) -> Iterator[dict[str, tuple[Callable[..., Any], Callable[..., Any], Callable[..., Any]]]]:
    """Fill every store; yield how each makes keys, finds them, and gives their values."""
    with contextlib.ExitStack() as stack:
        table = dict(zip(numbers.tolist(), facts.tolist(), strict=True))
        get_lmdb, get_sorted = stack.enter_context(_lmdb(folder, numbers, facts))
        get_row = stack.enter_context(_sqlite(folder, numbers, facts))
        found = {
            "Python dict": (_integers, lambda keys: list(map(table.get, keys)), np.array),
            "LMDB, `get` of a key a number": (_big_endian, get_lmdb, _from_bytes),
            "LMDB, `getmulti`": (_big_endian, get_sorted, _from_bytes),
            "SQLite, by primary key": (_integers, get_row, np.array),
        }
        if shutil.which(REDIS):
            mget = stack.enter_context(_redis(folder, numbers, facts))
            found["Redis, `MGET`"] = (_digits, mget, _from_bytes)
        else:
            print(f"{REDIS} is not installed: measuring without Redis", file=sys.stderr)
        for name, ask in stack.enter_context(engines(folder, numbers, facts)).items():
            found[name] = (batch_table, ask, facts_of)
        yield found


@contextlib.contextmanager
def _lmdb(
    folder: Path, numbers: NDArray[np.uint64], facts: NDArray[np.uint32]
) -> Iterator[tuple[Callable[..., Any], Callable[..., Any]]]:
    path = folder / "lmdb"
    path.mkdir()
    with (
        lmdb.open(str(path), map_size=LMDB_BYTES, sync=False) as environment,
        environment.begin(write=True) as writing,
        writing.cursor() as cursor,
    ):
        # The numbers ascend: LMDB may append, which is fastest and fills its pages.
        cursor.putmulti(zip(_big_endian(numbers), _values(facts), strict=True), append=True)
    with (
        lmdb.open(str(path), readonly=True, lock=False, readahead=False) as environment,
        environment.begin() as transaction,
    ):

        def get(keys: Sequence[bytes]) -> list[Any]:
            find = transaction.get
            return [find(key) for key in keys]

        def get_multi(keys: Sequence[bytes]) -> list[Any]:
            with transaction.cursor() as cursor:
                return [value for _, value in cursor.getmulti(keys)]

        yield get, get_multi


@contextlib.contextmanager
def _sqlite(
    folder: Path, numbers: NDArray[np.uint64], facts: NDArray[np.uint32]
) -> Iterator[Callable[[Sequence[int]], list[int]]]:
    with contextlib.closing(sqlite3.connect(folder / "numbers.sqlite")) as connection:
        connection.execute(f"PRAGMA mmap_size = {1 << 32}")
        connection.execute("PRAGMA journal_mode = OFF")
        connection.execute("PRAGMA synchronous = OFF")
        # The primary key is the table's own tree: one search per number, no second index.
        connection.execute("CREATE TABLE ported (number INTEGER PRIMARY KEY, fact INTEGER)")
        rows = zip(numbers.tolist(), facts.tolist(), strict=True)
        connection.executemany("INSERT INTO ported VALUES (?, ?)", rows)
        connection.commit()

        def get(keys: Sequence[int]) -> list[int]:
            statement = "SELECT fact FROM ported WHERE number = ?"
            execute = connection.execute
            return [execute(statement, (key,)).fetchone()[0] for key in keys]

        yield get


@contextlib.contextmanager
def _redis(
    folder: Path, numbers: NDArray[np.uint64], facts: NDArray[np.uint32]
) -> Iterator[Callable[[Sequence[bytes]], list[Any]]]:
    address = free_address()
    host, _, port = address.rpartition(":")
    words = [REDIS, "--bind", host, "--port", port, "--save", "", "--appendonly", "no"]
    words += ["--dir", str(folder), "--loglevel", "warning", "--logfile", "redis.log"]
    with subprocess.Popen(words) as child:
        try:
            wait_until_listening(address)
            with redis.Redis(host, int(port)) as connection:
                keys, values = _digits(numbers), _values(facts)
                for begin in range(0, len(keys), 10 * NUMBERS_PER_MGET):
                    part = slice(begin, begin + 10 * NUMBERS_PER_MGET)
                    connection.mset(dict(zip(keys[part], values[part], strict=True)))

                def get(keys: Sequence[bytes]) -> list[Any]:
                    pipeline = connection.pipeline(transaction=False)
                    for begin in range(0, len(keys), NUMBERS_PER_MGET):
                        pipeline.mget(keys[begin : begin + NUMBERS_PER_MGET])
                    return [value for values in pipeline.execute() for value in values]

                yield get
        finally:
            child.terminate()


def _integers(numbers: NDArray[np.uint64]) -> list[int]:
    keys: list[int] = numbers.tolist()
    return keys


def _big_endian(numbers: NDArray[np.uint64]) -> list[bytes]:
    """Return numbers as keys that ascend as they do."""
    data = numbers.astype(">u8").tobytes()
    return [data[i : i + 8] for i in range(0, len(data), 8)]


def _digits(numbers: NDArray[np.uint64]) -> list[bytes]:
    return [b"%d" % number for number in numbers.tolist()]


def _values(facts: NDArray[np.uint32]) -> list[bytes]:
    data = facts.astype(VALUE).tobytes()
    return [data[i : i + 4] for i in range(0, len(data), 4)]


def _from_bytes(found: Sequence[bytes | None]) -> NDArray[np.uint32]:
    return np.frombuffer(b"".join(value or b"" for value in found), VALUE)
