"""Looking numbers up in process, and opening a snapshot."""

from __future__ import annotations

import functools
import importlib.util
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from benchmarks.material import Material
from benchmarks.processes import drop_from_page_cache
from benchmarks.report import Figure, Side, beside, rounds, take_turns
from numroute.index import Answers, Snapshot, SnapshotStore
from numroute.index.kernel import use_compiled

if TYPE_CHECKING:
    from numroute.index.compiled import Compiled  # an extra

BATCHES = (1, 1_000, 65_536, 500_000)
NUMBERS_PER_TURN = 500_000
CALLS_PER_TURN_MAX = 300
BATCH = 65_536
CELLS_PER_CHUNK, CHUNK_SHIFT = 2_048, 16
"""The index has 16 KiB of cells for each 65,536 numbers of which one is ported."""


def kernel(material: Material, seconds: float) -> Sequence[Figure]:
    """Compare ``Snapshot.lookup`` with ``numpy.take`` of as many words: the memory's limit."""
    chunks = len(np.unique(material.truth.ported >> np.uint64(CHUNK_SHIFT)))
    words = np.random.default_rng(1).integers(0, 1 << 63, chunks * CELLS_PER_CHUNK, np.uint64)
    figures: list[Figure] = []
    with SnapshotStore(material.store).open() as snapshot:
        for batch in BATCHES:
            numbers = material.draw(_numbers_per_turn(batch))
            name = f"{batch:,} a batch: "
            figures += take_turns(
                "Lookup in process, over the size of a batch",
                {
                    f"{name}`numpy.take`": _take_side(words, len(numbers), batch),
                    **_lookup_sides(material, snapshot, name, numbers, batch),
                },
                unit="ns/number",
                scale=1e9,
                seconds=seconds / len(BATCHES) / 2,
            )
        one_by_one = material.draw(NUMBERS_PER_TURN // 50)
        figures += take_turns(
            "One number in process",
            _single_sides(snapshot, one_by_one),
            unit="ns/number",
            scale=1e9,
            seconds=seconds / len(BATCHES) / 2,
        )
        kinds = {
            "mobile, 7 % ported": material.draw(NUMBERS_PER_TURN),
            "mobile, sorted": np.sort(material.draw(NUMBERS_PER_TURN)),
            "mobile, all ported": material.draw(NUMBERS_PER_TURN, share=1),
            "fixed": material.draw(NUMBERS_PER_TURN, share=0, fixed=True),
        }
        sides = {"`numpy.take`": _take_side(words, NUMBERS_PER_TURN, BATCH)}
        for name, numbers in kinds.items():
            sides |= _lookup_sides(material, snapshot, f"{name}: ", numbers, BATCH)
        figures += take_turns(
            f"Lookup in process, {BATCH:,} numbers a batch, over the kind of numbers",
            sides,
            unit="ns/number",
            scale=1e9,
            seconds=seconds / 2,
        )
    return figures


def opening(material: Material, seconds: float) -> Sequence[Figure]:
    """Open a snapshot and look 1,000 numbers up, with its file in the page cache and without."""
    numbers = material.draw(1_000)
    times: dict[str, list[float]] = {"in the page cache": [], "not in the page cache": []}
    # A copy: a file that another process has mapped stays in the page cache.
    with tempfile.TemporaryDirectory(dir=material.work) as folder:
        store = SnapshotStore(shutil.copytree(material.store, Path(folder) / "store"))
        path = store.snapshot_path(store.current_id())
        with store.open() as snapshot:
            right = snapshot.lookup(numbers).route
            routes = [snapshot.route(row) for row in range(snapshot.route_count)]
            material.truth.check(numbers, right, routes)
        for _ in rounds(seconds):
            for name, values in times.items():
                if name.startswith("not"):
                    drop_from_page_cache(path)
                else:
                    path.read_bytes()
                begin = time.perf_counter()
                with store.open() as snapshot:
                    found = snapshot.lookup(numbers)
                    values.append((time.perf_counter() - begin) * 1e3)
                    assert np.array_equal(found.route, right)
    return beside("Opening a snapshot and looking 1,000 numbers up", times, unit="ms")


def _numbers_per_turn(batch: int) -> int:
    return batch * max(1, min(CALLS_PER_TURN_MAX, NUMBERS_PER_TURN // batch))


def _lookup_sides(
    material: Material, snapshot: Snapshot, name: str, numbers: NDArray[np.uint64], batch: int
) -> dict[str, Side]:
    """Return a side for each kernel; without numba there is one."""
    batches = np.array_split(numbers, max(1, len(numbers) // batch))
    right = snapshot.lookup(numbers).route
    routes = [snapshot.route(row) for row in range(snapshot.route_count)]
    material.truth.check(numbers, right, routes)

    def check(found: Sequence[Answers]) -> None:
        assert np.array_equal(np.concatenate([each.route for each in found]), right)

    def look_up(functions: Compiled | None) -> list[Answers]:
        use_compiled(functions)
        return [snapshot.lookup(each) for each in batches]

    return {
        f"{name}{which}": Side(
            run=functools.partial(look_up, functions), check=check, count=len(numbers)
        )
        for which, functions in _kernels().items()
    }


def _single_sides(snapshot: Snapshot, numbers: NDArray[np.uint64]) -> dict[str, Side]:
    """Return a dict of every number asked, and the lookup of one number."""
    expected = snapshot.lookup(numbers).route.tolist()
    asked = numbers.tolist()
    rows = dict(zip(asked, expected, strict=True))

    def right(found: Sequence[int]) -> None:
        assert found == expected

    return {
        "a dict's `get`": Side(
            run=lambda: [rows.get(number) for number in asked], check=right, count=len(asked)
        ),
        "`Snapshot.lookup_one`": Side(
            run=lambda: [snapshot.lookup_one(number)[0] for number in asked],
            check=right,
            count=len(asked),
        ),
    }


@functools.cache
def _kernels() -> dict[str, Compiled | None]:
    if importlib.util.find_spec("numba") is None:
        print("numba is not installed: measuring without it", file=sys.stderr)
        return {"numpy": None}
    from numroute.index.compiled import compile_all  # noqa: PLC0415 - an extra

    return {"compiled": compile_all(), "numpy": None}


def _take_side(words: NDArray[np.uint64], count: int, batch: int) -> Side:
    places = np.random.default_rng(2).integers(0, len(words), count)
    batches = np.array_split(places, max(1, count // batch))
    expected = words[places]

    def right(found: Sequence[NDArray[np.uint64]]) -> None:
        assert np.array_equal(np.concatenate(found), expected)

    return Side(run=lambda: [words.take(each) for each in batches], check=right, count=count)
