"""A real Redis server on a loopback socket, one key per number, asked through redis-py."""

from __future__ import annotations

import contextlib
import csv
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import redis

from benchmarks.children import free_address, server, wait_until_listening
from benchmarks.yardsticks.lmdb_per_number import VALUE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

COMMAND = "redis-server"
BENCHMARK = "redis-benchmark"
MISSING = f"{COMMAND} is not installed; Debian has it in the package redis-server"

NUMBERS_PER_MGET = 1_000
"""A longer batch goes as several MGETs in one pipeline; one MGET of 500,000 stops all others."""
_NUMBERS_PER_FILL = 10_000
_SECONDS_MAX = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisServer:
    """A running server and a connection to it."""

    connection: redis.Redis
    host: str
    port: int

    def fill(self, numbers: NDArray[np.uint64], facts: NDArray[np.uint32]) -> None:
        """Store uint64[n] numbers, as decimal texts, and uint32[n] facts, as four bytes."""
        keys = keys_of(numbers)
        data = facts.astype(VALUE).tobytes()
        values = [data[i : i + VALUE.itemsize] for i in range(0, len(data), VALUE.itemsize)]
        for begin in range(0, len(keys), _NUMBERS_PER_FILL):
            part = slice(begin, begin + _NUMBERS_PER_FILL)
            self.connection.mset(dict(zip(keys[part], values[part], strict=True)))

    def get(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Look keys up: one MGET, or several in one pipeline."""
        pipeline = self.connection.pipeline(transaction=False)
        for begin in range(0, len(keys), NUMBERS_PER_MGET):
            pipeline.mget(keys[begin : begin + NUMBERS_PER_MGET])
        return [value for values in pipeline.execute() for value in values]

    def memory_bytes(self) -> int:
        """Return how much memory the server's data takes (``INFO memory``)."""
        return int(self.connection.info("memory")["used_memory_dataset"])

    def gets_per_second(self, *, pipeline: int, keys: int, count: int) -> float:
        """Return what ``redis-benchmark -P`` reaches with GETs of random keys, each of 12 digits.

        Raises:
            CalledProcessError: It failed.
        """
        found = subprocess.run(
            [
                *(str(shutil.which(BENCHMARK)), "-h", self.host, "-p", str(self.port)),
                *("-P", str(pipeline), "-n", str(count), "-r", str(keys), "--csv"),
                *("GET", "__rand_int__"),
            ],
            check=True,
            capture_output=True,
            text=True,
        )
        rows = list(csv.DictReader(found.stdout.splitlines()))
        return float(rows[-1]["rps"])


@contextlib.contextmanager
def redis_server(folder: Path) -> Iterator[RedisServer | None]:
    """Run a server that keeps everything in memory; None where it is not installed."""
    command = shutil.which(COMMAND)
    if command is None:
        yield None
        return
    address = free_address()
    host, _, port = address.rpartition(":")
    words = [command, "--bind", host, "--port", port, "--save", "", "--appendonly", "no"]
    words += ["--dir", str(folder), "--loglevel", "warning", "--logfile", "redis.log"]
    with server(words, folder=folder) as child:
        wait_until_listening(child, address, _SECONDS_MAX)
        with redis.Redis(host, int(port)) as connection:
            yield RedisServer(connection=connection, host=host, port=int(port))


def keys_of(numbers: NDArray[np.uint64]) -> list[bytes]:
    """Return numbers as keys: their digits, twelve with a leading zero as redis-benchmark's."""
    return [b"%012d" % number for number in numbers.tolist()]


def check(values: Sequence[bytes | None], expected: NDArray[np.uint32]) -> None:
    """Assert that these are the values of numbers with these facts."""
    assert np.array_equal(
        np.frombuffer(b"".join(value or b"" for value in values), VALUE), expected
    )
