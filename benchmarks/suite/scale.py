"""How large a run of the suite is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.speed.options import PORTED_DEFAULT, QUERIES_DEFAULT

if TYPE_CHECKING:
    from pathlib import Path

MIX_BATCH = 65_536
"""Numbers per lookup wherever the batch size is not what varies."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """What a run measures, and how often.

    Attributes:
        name: ``suite`` or ``suite-quick``: how its results are called.
        work: Folder of everything that is made.
        sizes: Ported numbers of each index, ascending; all sweeps but that over sizes use ``main``.
        main: One of ``sizes``.
        batches: Numbers per lookup or call, ascending.
        store_keys_max: Keys in a yardstick's store: Python dict and LMDB.
        small_store_keys_max: Keys in SQLite and in Redis, which are slower to fill.
        rounds: Repetitions of each measurement.
        grpc_rounds: Repetitions of each measurement over gRPC, which vary more.
        load_batches: Numbers per call under open load.
        load_seconds: How long each load lasts.
    """

    name: str
    work: Path
    sizes: tuple[int, ...]
    main: int
    batches: tuple[int, ...]
    store_keys_max: int
    small_store_keys_max: int
    rounds: int
    grpc_rounds: int
    load_batches: tuple[int, ...]
    load_seconds: float

    def folder(self, ported: int) -> Path:
        """Return the work folder of one size; the largest shares that of ``benchmarks.speed``."""
        return self.work if ported == PORTED_DEFAULT else self.work / "sizes" / str(ported)


def quick(work: Path) -> Scale:
    """Return the scale of ``make bench-quick``."""
    return Scale(
        name="suite-quick",
        work=work,
        sizes=(1_000_000, 10_000_000),
        main=10_000_000,
        batches=(1, 100, 1_000, 10_000, 65_536, 500_000),
        store_keys_max=1_000_000,
        small_store_keys_max=200_000,
        rounds=3,
        grpc_rounds=5,
        load_batches=(1_000,),
        load_seconds=2.0,
    )


def full(work: Path, *, with_100m: bool) -> Scale:
    """Return the scale of ``make bench``; 100 million ported numbers on request."""
    sizes = (1_000_000, 10_000_000, 50_000_000)
    return Scale(
        name="suite",
        work=work,
        sizes=(*sizes, 100_000_000) if with_100m else sizes,
        main=50_000_000,
        batches=(1, 10, 100, 1_000, 10_000, 65_536, 200_000, 500_000),
        store_keys_max=10_000_000,
        small_store_keys_max=1_000_000,
        rounds=7,
        grpc_rounds=15,
        load_batches=(1, 1_000, 65_536),
        load_seconds=5.0,
    )


def query_count(ported: int) -> int:
    """Return how many numbers of each set are made for an index of this size."""
    return QUERIES_DEFAULT if ported == PORTED_DEFAULT else 1 << 20
