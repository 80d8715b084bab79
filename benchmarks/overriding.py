"""``python -m benchmarks.overriding``: what overrides cost a lookup, and what having none costs.

Needs what ``python -m benchmarks.speed`` leaves in its work folder: a store without overrides and
the oracle. ``--before DIR`` is the ``service`` folder of another commit, whose lookups are measured
beside those of this one, in the same process, on the same file.
"""

from __future__ import annotations

import argparse
import importlib
import itertools
import json
import shutil
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.figures import Figure, markdown
from benchmarks.machine import CpuUse, facts
from benchmarks.plans import ROOT
from benchmarks.queries import (
    ALL_PORTED,
    FIXED,
    MOBILE_MIX,
    Queries,
    load_queries,
    load_truth,
)
from benchmarks.timing import Pair, Side, take_turns
from numroute.index import Override, SnapshotStore, writing
from numroute.model import Operator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from benchmarks.oracle import Truth
    from numroute.index import Answers, Snapshot

SETS = {
    MOBILE_MIX: "mobile numbers, 7 % ported",
    ALL_PORTED: "mobile numbers, all ported",
    FIXED: "fixed-line numbers",
}
OVERRIDES = (100, 10_000)
BATCH = 65_536
ASKED = 8 * BATCH
"""Numbers of each set: every turn asks the next batch of them."""
SMALL_BATCHES = (1, 1_000)
SMALL_CALLS = 100
SEED = 4
OPERATOR = Operator(code="mBENCH")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.overriding", description=__doc__)
    parser.add_argument("--work", type=Path, default=ROOT / ".benchmarks" / "speed")
    parser.add_argument("--store", type=Path, help="a store without overrides, default WORK/store")
    parser.add_argument("--before", type=Path, help="the folder `service` of another commit")
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--results", type=Path, help="folder for overrides.json")
    given = parser.parse_args(arguments)
    store = SnapshotStore(given.store or given.work / "store")
    truth = load_truth(given.work)
    use = CpuUse.now()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as opened:
        plain = opened.enter_context(store.open())
        pairs: dict[str, dict[str, Pair]] = {}
        if given.before:
            # LMDB opens no file twice in one process.
            copy = shutil.copy(store.snapshot_path(plain.metadata.snapshot_id), folder)
            before = _snapshot_of(given.before, Path(copy))
            pairs["no overrides, against the other commit"] = _pairs(
                given.work, truth, before, plain
            )
        for count in OVERRIDES:
            overrides = _drawn(truth, count)
            path = _published(store, Path(folder) / str(count), overrides)
            held = np.array([each.first for each in overrides], np.uint64)
            subject = opened.enter_context(path.open())
            pairs[f"{count:,} overrides, against none"] = _pairs(
                given.work, truth, plain, subject, held
            )
        take_turns([pair for of in pairs.values() for pair in of.values()], given.rounds)
    figures = [f for section, of in pairs.items() for f in _figures(section, of)]
    others = CpuUse.now().others_share(use)
    document = {
        "rounds": given.rounds,
        "machine": facts(),
        "others_cpu_share": others,
        "figures": [figure.document() for figure in figures],
    }
    if given.results:
        (given.results / "overrides.json").write_text(json.dumps(document, indent=1) + "\n")
    print(markdown(figures))
    print(f"CPU time that other processes used meanwhile: {others:.0%}")
    return 0


def _snapshot_of(root: Path, path: Path) -> Snapshot:
    """Return a snapshot opened by the package as it is under another source root."""
    ours = {name: module for name, module in sys.modules.items() if _is_ours(name)}
    for name in ours:
        del sys.modules[name]
    sys.path.insert(0, str(root))
    try:
        package = importlib.import_module("numroute.index")
        assert package.__file__ is not None
        assert Path(package.__file__).is_relative_to(root.resolve()), package.__file__
        opened: Snapshot = package.Snapshot(path)
        return opened
    finally:
        sys.path.remove(str(root))
        for name in [name for name in sys.modules if _is_ours(name)]:
            del sys.modules[name]
        sys.modules.update(ours)


def _is_ours(name: str) -> bool:
    return name.partition(".")[0] == "numroute"


def _drawn(truth: Truth, count: int) -> tuple[Override, ...]:
    """Return overrides of so many different numbers, half of them ported."""
    rng = np.random.default_rng(SEED)
    # Of twice as many drawn enough are different; neighbours of ported numbers are mostly home.
    drawn = rng.permutation(np.unique(truth.ported[rng.integers(0, len(truth.ported), 2 * count)]))
    home = np.unique(drawn + np.uint64(1))
    home = rng.permutation(home[~truth.is_ported(home)])
    numbers = np.concatenate((drawn[: count // 2], home[: count - count // 2]))
    assert len(np.unique(numbers)) == count
    return tuple(
        Override(
            first=number, last=number, operator=OPERATOR, mcc="250", mnc="99",
            reason="measured", author="benchmark",
        )
        for number in sorted(numbers.tolist())
    )  # fmt: skip


def _published(
    store: SnapshotStore, folder: Path, overrides: tuple[Override, ...]
) -> SnapshotStore:
    """Return a store of its own with the snapshot and overrides."""
    copy = SnapshotStore(folder, create=True)
    current = store.current_id()
    copy.snapshot_path(current).parent.mkdir(exist_ok=True)
    shutil.copy(store.snapshot_path(current), copy.snapshot_path(current))
    (folder / "CURRENT").write_text(f"{current}\n")
    with writing(copy) as writer:
        writer.publish_overrides(overrides)
    return copy


def _pairs(
    work: Path,
    truth: Truth,
    yardstick: Snapshot,
    subject: Snapshot,
    held: NDArray[np.uint64] | None = None,
) -> dict[str, Pair]:
    """Return whole sets of queries, and many small batches of the real mix, asked of both sides.

    ``held``: the numbers that the subject overrides; None when both must answer with the same rows.
    """
    pairs = {}
    for name, said in SETS.items():
        queries = load_queries(work, name)
        queries = Queries(numbers=queries.numbers[:ASKED], expected=queries.expected[:ASKED])
        rows = _checked(subject, queries, truth, held)
        rows_before = rows if held is None else _checked(yardstick, queries, truth, None)
        pairs[said] = Pair(
            yardstick=_batches(yardstick, queries.numbers, rows_before, BATCH, 1),
            subject=_batches(subject, queries.numbers, rows, BATCH, 1),
        )
        if name == MOBILE_MIX:
            for size in SMALL_BATCHES:
                pairs[f"{said}, in batches of {size:,}"] = Pair(
                    yardstick=_batches(yardstick, queries.numbers, rows_before, size, SMALL_CALLS),
                    subject=_batches(subject, queries.numbers, rows, size, SMALL_CALLS),
                )
    return pairs


def _checked(
    snapshot: Snapshot, queries: Queries, truth: Truth, held: NDArray[np.uint64] | None
) -> NDArray[np.unsignedinteger]:
    """Return the rows of a set: the oracle's answers, but the overrides' for what they hold."""
    rows = snapshot.lookup(queries.numbers).route
    routes = [snapshot.route(row) for row in range(snapshot.route_count)]
    overridden = np.isin(queries.numbers, [] if held is None else held)
    assert {routes[row].operator for row in set(rows[overridden].tolist())} <= {OPERATOR}
    truth.check(queries.expected[~overridden], rows[~overridden], routes)
    return rows


def _batches(
    snapshot: Snapshot,
    numbers: NDArray[np.uint64],
    rows: NDArray[np.unsignedinteger],
    size: int,
    calls: int,
) -> Side:
    """Return so many lookups of such batches, each time of the next numbers of the set."""
    step = size * calls
    begins = itertools.cycle(range(0, len(numbers) - step + 1, step))
    batches: list[NDArray[np.uint64]] = []
    expected: NDArray[np.unsignedinteger] = rows[:0]

    def choose() -> None:
        nonlocal expected
        begin = next(begins)
        batches[:] = numbers[begin : begin + step].reshape(calls, size)
        expected = rows[begin : begin + step]

    def check(answers: list[Answers]) -> None:
        assert np.array_equal(np.concatenate([each.route for each in answers]), expected)
        choose()

    choose()
    return Side(run=lambda: [snapshot.lookup(batch) for batch in batches], check=check, count=step)


def _figures(section: str, pairs: dict[str, Pair]) -> list[Figure]:
    figures = []
    for name, pair in pairs.items():
        seconds = {"": pair.subject_seconds, ", the other side": pair.yardstick_seconds}
        figures += [
            Figure(
                section=section,
                name=f"{name}{side}",
                unit="ns/number",
                values=[second * 1e9 for second in values],
            )
            for side, values in seconds.items()
        ]
        figures.append(
            Figure(
                section=section,
                name=f"{name}: times the other side's time",
                unit="",
                values=pair.time_ratios(),
            )
        )
    return figures


if __name__ == "__main__":
    sys.exit(main())
