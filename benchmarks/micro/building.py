"""``numroute-load build`` and ``apply``, each as a user runs it."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.material import Material
from benchmarks.micro.reading import parse_seconds
from benchmarks.processes import BIN, run
from benchmarks.report import Figure, beside, rounds
from numroute.index import SnapshotStore

BUFFER_BYTES = 1 << 22
PROBES = 100_000


def build(material: Material, seconds: float) -> Sequence[Figure]:
    """Build a snapshot, beside pyarrow's own time to parse the same dump."""
    section = "Building a snapshot"
    parsing, building = "pyarrow parses the dump", "`numroute-load build`"
    times: dict[str, list[float]] = {parsing: [], building: []}
    peaks = []
    with tempfile.TemporaryDirectory(dir=material.work) as folder:
        store = Path(folder) / "store"
        for _ in rounds(seconds):
            times[parsing].append(parse_seconds(material.dump, len(material.truth.ported)))
            shutil.rmtree(store, ignore_errors=True)
            done = run(
                BIN / "numroute-load", "build", "--json", "--store", store, *material.registry
            )
            times[building].append(done.seconds)
            peaks.append(done.peak_rss_bytes / 1e9)
            assert json.loads(done.output)["report"]["ported"] == len(material.truth.ported)
        _check(material, store)
        with SnapshotStore(store).open() as snapshot:
            size = snapshot.path.stat().st_size / len(material.truth.ported)
    return [
        *beside(section, times, unit="s"),
        Figure(section=section, name="most memory resident", unit="GB", values=peaks),
        Figure(section=section, name="file size", unit="bytes a ported number", values=[size]),
    ]


def apply(material: Material, seconds: float) -> Sequence[Figure]:
    """Apply one window of increments, beside a plain copy of the snapshot's file."""
    section = "Applying one window of increments"
    copying, applying = "copying the file and flushing it", "`numroute-load apply`"
    times: dict[str, list[float]] = {copying: [], applying: []}
    peaks = []
    after = material.truth.after(material.window)
    changed = np.setxor1d(after.ported, material.truth.ported)
    with tempfile.TemporaryDirectory(dir=material.work) as folder:
        store = Path(folder) / "store"
        for _ in rounds(seconds):
            times[copying].append(_copy_seconds(material.snapshot, Path(folder) / "copy"))
            _link_store(material.store, store)
            done = run(BIN / "numroute-load", "apply", "--store", store, *material.window)
            times[applying].append(done.seconds)
            peaks.append(done.peak_rss_bytes / material.snapshot.stat().st_size)
        with SnapshotStore(store).open() as snapshot:
            routes = [snapshot.route(row) for row in range(snapshot.route_count)]
            for numbers in (changed, after.ported[:: max(1, len(after.ported) // PROBES)]):
                after.check(numbers, snapshot.lookup(numbers).route, routes)
    return [
        *beside(section, times, unit="s"),
        Figure(section=section, name="most memory resident", unit="times the file", values=peaks),
    ]


def _check(material: Material, store: Path) -> None:
    numbers = material.draw(PROBES, share=0.5)
    with SnapshotStore(store).open() as snapshot:
        routes = [snapshot.route(row) for row in range(snapshot.route_count)]
        material.truth.check(numbers, snapshot.lookup(numbers).route, routes)


def _link_store(store: Path, copy: Path) -> None:
    """Make a store with the same snapshot; its large file is linked, since it never changes."""
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(
        store,
        copy,
        copy_function=lambda a, b: os.link(a, b) if a.endswith(".lmdb") else shutil.copy2(a, b),
    )


def _copy_seconds(path: Path, copy: Path) -> float:
    buffer = memoryview(bytearray(BUFFER_BYTES))
    begin = time.perf_counter()
    with path.open("rb", buffering=0) as source, copy.open("wb", buffering=0) as target:
        while count := source.readinto(buffer):
            target.write(buffer[:count])
        os.fsync(target.fileno())
    seconds = time.perf_counter() - begin
    copy.unlink()
    return seconds
