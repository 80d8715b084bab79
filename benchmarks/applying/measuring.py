"""Building a snapshot and applying a window of increments to it, again and again."""

from __future__ import annotations

import json
import os
import shutil
import time
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.applying.window import RECIPIENT, Window, make_window
from benchmarks.children import BIN, in_own_process, run_measured
from benchmarks.figures import Figure, at_most
from benchmarks.pagecache import warm
from numroute.index import SnapshotStore
from numroute.model import Status

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.registry import Registry

CHANGES = 2_000
SHARE_OF_BUILD_MAX = 0.25
TIMES_INDEX_MAX = 3.0

SECTION = "Increments"
BUFFER = 1 << 22


def measure(
    registry: Registry, store: Path, applied: Path, folder: Path, builds: int, rounds: int
) -> list[Figure]:
    """Build, then apply a window to the result again and again, and check every answer."""
    build_seconds, seconds, peaks, plain = [], [], [], []
    for _ in range(builds):
        for path in registry.paths:
            warm(path)
        shutil.rmtree(store, ignore_errors=True)
        built = run_measured(
            [BIN / "numroute-load", "build", "--json", "--store", store, *registry.paths]
        )
        assert json.loads(built.output)["report"]["ported"] == registry.ported
        build_seconds.append(built.seconds)
    window: Window = in_own_process(make_window, store, folder, CHANGES)
    index_bytes = in_own_process(_index_bytes, store)
    for _ in range(rounds):
        _copy_store(store, applied)
        done = run_measured(
            [BIN / "numroute-load", "apply", "--json", "--store", applied, *window.files]
        )
        counts = json.loads(done.output)["changes"]
        assert counts["returned"] == len(window.returned)
        assert counts["ported"] == CHANGES * 6 // 10
        in_own_process(_check, applied, window, registry.ported)
        seconds.append(done.seconds)
        peaks.append(done.peak_rss_bytes / index_bytes)
        plain.append(in_own_process(_write_plainly, applied))
    base = sorted(build_seconds)[len(build_seconds) // 2]
    return [
        Figure(
            section=SECTION,
            name="`numroute-load build` from csv, the yardstick",
            unit="s",
            values=build_seconds,
        ),
        Figure(
            section=SECTION,
            name=f"`numroute-load apply` of one window with {CHANGES:,} changes, the start of the "
            "interpreter included",
            unit="s",
            values=seconds,
        ),
        Figure(
            section=SECTION,
            name="apply, as a share of the median build",
            unit="",
            values=[each / base for each in seconds],
            target=at_most(SHARE_OF_BUILD_MAX),
        ),
        Figure(
            section=SECTION,
            name="most memory resident during apply, in times of the index file",
            unit="",
            values=peaks,
            target=at_most(TIMES_INDEX_MAX),
            worst_counts=True,
        ),
        Figure(
            section=SECTION,
            name="copying the index file and flushing it, nothing else",
            unit="s",
            values=plain,
        ),
    ]


def _index_bytes(store: Path) -> int:
    with SnapshotStore(store).open() as snapshot:
        return snapshot.file_bytes


def _copy_store(store: Path, copy: Path) -> None:
    """Make a store with the same current snapshot; a link to its file will do."""
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(store, copy, copy_function=os.link)
    for name in ("CURRENT", "history.jsonl"):
        text = (store / name).read_bytes()
        (copy / name).unlink()
        (copy / name).write_bytes(text)


def _check(store: Path, window: Window, ported: int) -> None:
    """Assert that each number of the window is what its row says, and that no other changed."""
    with (
        SnapshotStore(store).open() as snapshot,
        SnapshotStore(store).open(snapshot.metadata.changes.against) as before,
    ):
        routes = snapshot.lookup(window.ported, ported_at=True)
        for row in np.unique(routes.route).tolist():
            route = snapshot.route(row)
            assert route.status is Status.PORTED
            assert route.operator.code == RECIPIENT
            assert route.operator.tax_number
        assert routes.ported_at is not None
        assert len(np.unique(routes.ported_at)) == 1
        for row in np.unique(snapshot.lookup(window.returned).route).tolist():
            assert snapshot.route(row).status is not Status.PORTED
        assert snapshot.metadata.counts["ported"] == ported + CHANGES * 6 // 10 - len(
            window.returned
        )
        rng = np.random.default_rng(11)
        others = rng.integers(79_000_000_000, 80_000_000_000, 2_000_000).astype(np.uint64)
        others = np.setdiff1d(others, np.concatenate([window.ported, window.returned]))
        one, other = (each.lookup(others, ported_at=True) for each in (before, snapshot))
        assert np.array_equal(one.route, other.route)
        assert np.array_equal(one.ported_at, other.ported_at)


def _write_plainly(store: Path) -> float:
    """Return the seconds that a copy of the file takes: what no way of rewriting it can beat."""
    with SnapshotStore(store).open() as snapshot:
        path = snapshot.path
    copy = store / "copy"
    buffer = memoryview(bytearray(BUFFER))
    begin = time.perf_counter()
    with path.open("rb", buffering=0) as source, copy.open("wb", buffering=0) as target:
        while count := source.readinto(buffer):
            target.write(buffer[:count])
        os.fsync(target.fileno())
    seconds = time.perf_counter() - begin
    copy.unlink()
    return seconds
