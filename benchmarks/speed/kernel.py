"""Lookups in process, one thread, beside the memory's limit and beside LMDB."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from benchmarks.figures import Figure, at_least
from benchmarks.queries import ALL_PORTED, FIXED, MOBILE_MIX, load_queries, load_truth
from benchmarks.timing import Pair, Side, take_turns
from benchmarks.yardsticks.lmdb_per_number import (
    PerNumber,
    ensure_database,
    keys_of,
    stored_part,
)
from numroute.index import SnapshotStore
from numroute.index.layout import CELLS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from benchmarks.oracle import Truth
    from benchmarks.speed.options import Options
    from numroute.index import Answers, Snapshot

SECTION = "In process, one thread"
SHARE_MIN = {MOBILE_MIX: 0.45, ALL_PORTED: 0.28}
TIMES_LMDB_MIN = 30.0
LMDB_GETS = 200_000
SEED = 3

NAMES = {
    MOBILE_MIX: "mobile numbers, 7 % ported",
    ALL_PORTED: "mobile numbers, all ported",
    FIXED: "fixed-line numbers",
}


def measure(options: Options) -> list[Figure]:
    """Time every set of queries in turn with ``numpy.take``, and the real mix with LMDB."""
    truth = load_truth(options.work)
    per_number = PerNumber.open(ensure_database(options.work, truth))
    with SnapshotStore(options.store).open() as snapshot:
        word_count = snapshot.value_specs[CELLS].length
        memory = _random_words(word_count, options.queries)
        subjects = {name: _lookups(options, snapshot, truth, name) for name in NAMES}
        pairs = {name: Pair(yardstick=memory, subject=subjects[name]) for name in NAMES}
        against_lmdb = Pair(yardstick=_gets(per_number, truth), subject=subjects[MOBILE_MIX])
        take_turns([*pairs.values(), against_lmdb], options.rounds)
    per_number.close()
    return [
        Figure(
            section=SECTION,
            name=f"`numpy.take` of random 8-byte words from {word_count * 8 / 1e6:.0f} MB of "
            "anonymous memory, as many as the index has cells",
            unit="ns/number",
            values=_nanoseconds(t for pair in pairs.values() for t in pair.yardstick_seconds),
        ),
        *(figure for name, pair in pairs.items() for figure in _figures(name, pair)),
        Figure(
            section=SECTION,
            name=f"LMDB `get`, one key per number, {len(stored_part(truth.ported)):,} keys",
            unit="ns/number",
            values=_nanoseconds(against_lmdb.yardstick_seconds),
        ),
        Figure(
            section=SECTION,
            name=f"{NAMES[MOBILE_MIX]}: times the speed of LMDB `get`",
            unit="",
            values=against_lmdb.speed_shares(),
            target=at_least(TIMES_LMDB_MIN),
        ),
    ]


def _random_words(word_count: int, count: int) -> Side:
    """Return the yardstick: the memory's own limit for one random access per number."""
    rng = np.random.default_rng(SEED)
    words = rng.integers(0, 1 << 63, word_count, dtype=np.uint64)
    places = rng.integers(0, word_count, count)
    expected = words[places]

    def check(found: NDArray[np.uint64]) -> None:
        assert np.array_equal(found, expected)

    return Side(run=lambda: words.take(places), check=check, count=count)


def _lookups(options: Options, snapshot: Snapshot, truth: Truth, name: str) -> Side:
    """Return lookups of a set of queries.

    All answers of a first one are compared with the oracle; every later one must give the same.
    """
    queries = load_queries(options.work, name)
    first = snapshot.lookup(queries.numbers).route
    routes = [snapshot.route(row) for row in range(snapshot.route_count)]
    truth.check(queries.expected, first, routes)

    def check(answers: Answers) -> None:
        assert np.array_equal(answers.route, first)

    return Side(
        run=lambda: snapshot.lookup(queries.numbers), check=check, count=len(queries.numbers)
    )


def _gets(per_number: PerNumber, truth: Truth) -> Side:
    """Return gets of random numbers, each of which is in the database."""
    numbers, facts = stored_part(truth.ported), stored_part(truth.ported_fact)
    chosen = np.random.default_rng(SEED).integers(0, len(numbers), LMDB_GETS)
    keys, expected = keys_of(numbers[chosen]), facts[chosen]
    return Side(
        run=lambda: per_number.get(keys),
        check=lambda values: per_number.check(values, expected),
        count=len(keys),
    )


def _figures(name: str, pair: Pair) -> list[Figure]:
    limit = SHARE_MIN.get(name)
    return [
        Figure(
            section=SECTION,
            name=NAMES[name],
            unit="ns/number",
            values=_nanoseconds(pair.subject_seconds),
        ),
        Figure(
            section=SECTION,
            name=f"{NAMES[name]}: share of the speed of `numpy.take`",
            unit="",
            values=pair.speed_shares(),
            target=None if limit is None else at_least(limit),
        ),
    ]


def _nanoseconds(seconds: Iterable[float]) -> list[float]:
    return [second * 1e9 for second in seconds]
