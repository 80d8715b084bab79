"""Lookups in process, one thread: over batch size, kind of numbers, and index size."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.pagecache import forget
from benchmarks.queries import ALL_PORTED, FIXED, MOBILE_MIX, Queries, load_queries, load_truth
from benchmarks.suite.prepare import store_of
from benchmarks.suite.question_sets import question_sets
from benchmarks.suite.results import Row, in_turn, rows_against
from benchmarks.suite.scale import MIX_BATCH
from benchmarks.timing import Side
from numroute.index import SnapshotStore
from numroute.index.layout import CELLS
from numroute.server.memory import resident_share

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from benchmarks.oracle import Truth
    from benchmarks.suite.scale import Scale
    from numroute.index import Snapshot

TAKE = "`numpy.take`"
LABELS = {
    MOBILE_MIX: "mobile, 7 % ported",
    ALL_PORTED: "mobile, all ported",
    FIXED: "fixed",
}

NUMBERS_PER_TURN = 1 << 18
CALLS_PER_TURN_MAX = 200
MIX_NUMBERS = 1 << 20
SEED = 3


def over_batches(scale: Scale) -> list[Row]:
    """Measure the kernel beside the memory's limit, over the batch size."""
    with SnapshotStore(store_of(scale, scale.main)).open() as snapshot:
        truth = load_truth(scale.folder(scale.main))
        sets = {
            name: load_queries(scale.folder(scale.main), name) for name in (MOBILE_MIX, ALL_PORTED)
        }
        rows: list[Row] = []
        for batch in scale.batches:
            sides = {TAKE: take_side(snapshot, batch)}
            sides |= {
                LABELS[name]: lookup_side(snapshot, truth, queries, batch)
                for name, queries in sets.items()
            }
            rows += rows_against(
                "In process, over batch size",
                TAKE,
                in_turn(sides, scale.rounds),
                label=f", {batch:,} a lookup",
                where={"batch": batch, "ported": scale.main},
            )
        return rows


def over_kinds(scale: Scale) -> list[Row]:
    """Measure the kernel over kinds of numbers and their order."""
    with SnapshotStore(store_of(scale, scale.main)).open() as snapshot:
        truth = load_truth(scale.folder(scale.main))
        sides = {TAKE: take_side(snapshot, MIX_BATCH, MIX_NUMBERS)}
        for name, queries in question_sets(
            scale.folder(scale.main), truth, MIX_NUMBERS // 2
        ).items():
            sides[name] = lookup_side(snapshot, truth, queries, MIX_BATCH, MIX_NUMBERS)
        return rows_against(
            f"In process, over kinds of numbers, {MIX_BATCH:,} a lookup",
            TAKE,
            in_turn(sides, scale.rounds),
            label="",
            where={"batch": MIX_BATCH, "ported": scale.main},
        )


def over_sizes(scale: Scale) -> list[Row]:
    """Measure the kernel over the size of the index; the memory's limit is of that size too."""
    rows: list[Row] = []
    for ported in scale.sizes:
        truth = load_truth(scale.folder(ported))
        with SnapshotStore(store_of(scale, ported)).open() as snapshot:
            sides = {TAKE: take_side(snapshot, MIX_BATCH, MIX_NUMBERS)}
            for name, label in LABELS.items():
                queries = load_queries(scale.folder(ported), name)
                sides[label] = lookup_side(snapshot, truth, queries, MIX_BATCH, MIX_NUMBERS)
            rows += rows_against(
                f"In process, over index size, {MIX_BATCH:,} a lookup",
                TAKE,
                in_turn(sides, scale.rounds),
                label=f", {ported:,} ported numbers",
                where={"ported": ported, "batch": MIX_BATCH},
            )
    return rows


def over_page_cache(scale: Scale) -> list[Row]:
    """Measure the first lookup after opening, with the file in the page cache and without."""
    section = f"First lookup of {MIX_BATCH:,} numbers after opening"
    store = SnapshotStore(store_of(scale, scale.main))
    path = store.snapshot_path(store.current_id())
    truth = load_truth(scale.folder(scale.main))
    queries = load_queries(scale.folder(scale.main), MOBILE_MIX)
    part = Queries(numbers=queries.numbers[:MIX_BATCH], expected=queries.expected[:MIX_BATCH])
    first: dict[str, list[float]] = {"in the page cache": [], "not in the page cache": []}
    opening: dict[str, list[float]] = {name: [] for name in first}
    shares: list[float] = []
    for _ in range(scale.rounds):
        for name in reversed(first):
            if name == "not in the page cache":
                forget(path)
            begin = time.perf_counter()
            with store.open() as snapshot:
                opened = time.perf_counter()
                found = snapshot.lookup(part.numbers).route
                end = time.perf_counter()
                truth.check(part.expected, found, _routes(snapshot))
            opening[name].append(opened - begin)
            first[name].append((end - opened) / MIX_BATCH)
            if name == "not in the page cache":
                shares.append(resident_share(path))
    where = {"ported": scale.main}
    return [
        *rows_against(section, "in the page cache", first, label="", where=where),
        *rows_against(
            section,
            "in the page cache",
            opening,
            label=": opening",
            where=where,
            scale=1e3,
            unit="ms",
        ),
        Row(
            section=section,
            name="share of the file that such a lookup brings into the page cache",
            unit="%",
            values=[share * 100 for share in shares],
            where=where,
        ),
    ]


def lookup_side(
    snapshot: Snapshot, truth: Truth, queries: Queries, batch: int, numbers_max: int = 0
) -> Side:
    """Return lookups of a set in batches, each answer compared with the oracle's.

    All answers of a first turn are compared with the oracle; later ones must give the same.
    """
    parts = batches_of(queries.numbers, batch, numbers_max)
    count = len(parts) * batch
    first = [snapshot.lookup(part).route for part in parts]
    truth.check(queries.expected[:count], np.concatenate(first), _routes(snapshot))

    def check(found: Sequence[Any]) -> None:
        for answers, expected in zip(found, first, strict=True):
            assert np.array_equal(answers.route, expected)

    return Side(run=lambda: [snapshot.lookup(part) for part in parts], check=check, count=count)


def take_side(snapshot: Snapshot, batch: int, numbers_max: int = 0) -> Side:
    """Return the memory's limit: one random access per number among as many words as the index."""
    rng = np.random.default_rng(SEED)
    words = rng.integers(0, 1 << 63, snapshot.value_specs[CELLS].length, dtype=np.uint64)
    places = rng.integers(0, len(words), max(batch, numbers_max, NUMBERS_PER_TURN))
    return batched_side(
        words.take, batches_of(places, batch, numbers_max), lambda part: words[part], batch
    )


def batched_side(
    look_up: Callable[[Any], Any],
    parts: Sequence[Any],
    expected: Callable[[Any], Any],
    batch: int,
) -> Side:
    """Return a side that looks parts up one after the other, and compares arrays."""

    def check(found: Sequence[Any]) -> None:
        for part, values in zip(parts, found, strict=True):
            assert np.array_equal(values, expected(part))

    return Side(
        run=lambda: [look_up(part) for part in parts], check=check, count=len(parts) * batch
    )


def batches_of(numbers: NDArray[Any], batch: int, numbers_max: int = 0) -> list[NDArray[Any]]:
    """Cut numbers into the batches of one turn: as many as make it long enough to be timed."""
    wanted = max(1, min(CALLS_PER_TURN_MAX, (numbers_max or NUMBERS_PER_TURN) // batch))
    count = min(wanted, len(numbers) // batch)
    return list(numbers[: count * batch].reshape(count, batch))


def _routes(snapshot: Snapshot) -> list[Any]:
    return [snapshot.route(row) for row in range(snapshot.route_count)]
