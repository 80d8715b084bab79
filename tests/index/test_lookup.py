"""Every lookup path against a plain dict and a plain scan of the ranges."""

from __future__ import annotations

import tempfile
import threading
from bisect import bisect_right
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from support.snapshots import make_content, make_metadata, make_routes

from numroute.index import Snapshot, kernel, numpy_kernel
from numroute.index.content import ContentError
from numroute.index.kernel import FEW_NUMBERS
from numroute.index.numpy_kernel import PIECE_NUMBERS, all_records
from numroute.index.writer import write_snapshot
from numroute.model import NUMBER_MAX, Status

PORTED_ROWS = range(2, 12)
RANGE_ROWS = range(12, 30)
ROUTES = make_routes(len(PORTED_ROWS), len(RANGE_ROWS))

# Numbers that meet the borders of cells, granules, chunks and pages.
BORDERS = [1, 31, 32, 1023, 1024, 65_535, 65_536, (1 << 30) - 1, 1 << 30, 73 << 30, (75 << 30) - 1]
near_border = st.builds(
    lambda base, step: min(NUMBER_MAX, max(1, base + step)),
    st.sampled_from(BORDERS),
    st.integers(-40, 2100),
)
number = st.one_of(
    near_border,
    st.integers(79_000_000_000, 79_000_005_000),
    st.integers(1, 100 << 30),
)
question = st.one_of(number, st.integers(0, (1 << 64) - 1), st.sampled_from([0, NUMBER_MAX + 1]))


@pytest.fixture(scope="module", params=["numpy", "compiled"])
def each_kernel(request):
    """Look batches up by numpy, then by the compiled kernel, where numba is installed."""
    if request.param == "numpy":
        yield
        return
    compiled = pytest.importorskip("numroute.index.compiled", reason="numba is not installed")
    kernel.use_compiled(compiled.compile_all())
    yield
    kernel.use_compiled(None)


def test_many_numbers_switch_to_the_compiled_kernel(open_content, monkeypatch) -> None:
    """Numpy answers at once; the compiled kernel takes over when it is ready."""
    pytest.importorskip("numba")
    kernel.use_compiled(None)
    monkeypatch.setattr(kernel, "_compiling", threading.Lock())
    monkeypatch.setattr(kernel, "COMPILE_AFTER_NUMBERS", 1_000)
    snapshot = open_content(make_content({79_000_000_001: 2}, {}, ROUTES))
    asked = np.full(2_000, 79_000_000_001, np.uint64)
    assert snapshot.lookup(asked).route.tolist() == [2] * 2_000
    for thread in threading.enumerate():
        if thread.name == "compile-kernel":
            thread.join()
    assert kernel._compiled is not None
    assert snapshot.lookup(asked).route.tolist() == [2] * 2_000
    kernel.use_compiled(None)


def oracle(records: dict[int, int], pieces: dict[int, int], n: int) -> tuple[int, int]:
    """Return the expected row and the row of the ranges alone."""
    if not 0 < n <= NUMBER_MAX:
        return 1, 1
    starts = sorted({0: 0} | pieces)
    in_range = ({0: 0} | pieces)[starts[bisect_right(starts, n) - 1]]
    return records.get(n, in_range), in_range


FIXTURE_KEPT = [HealthCheck.function_scoped_fixture]


@settings(max_examples=60, deadline=None, suppress_health_check=FIXTURE_KEPT)
@given(
    records=st.dictionaries(number, st.sampled_from(PORTED_ROWS), max_size=60),
    pieces=st.dictionaries(number, st.sampled_from([0, *RANGE_ROWS]), max_size=40),
    questions=st.lists(question, max_size=80),
)
@example(records={}, pieces={}, questions=[0, 1, NUMBER_MAX, NUMBER_MAX + 1, (1 << 64) - 1])
def test_lookup_equals_a_dict(
    each_kernel, records: dict[int, int], pieces: dict[int, int], questions: list[int]
) -> None:
    """Rows, rows of the ranges and times equal a dict's, members or not, in any order."""
    # Held ranges of at most some blocks: each granule that somebody holds has an entry.
    pieces = {start + 300_000: 0 for start in pieces if start + 300_000 <= NUMBER_MAX} | pieces
    asked = questions + list(records) + list(pieces) + [n + 1 for n in records]
    times = {n: i + 1 for i, n in enumerate(records)}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "s.lmdb"
        write_snapshot(path, make_content(records, pieces, ROUTES, times=times), make_metadata())
        with Snapshot(path) as snapshot:
            few = [asked[i : i + FEW_NUMBERS] for i in range(0, len(asked), FEW_NUMBERS)]
            check(snapshot, few, records, pieces, times)
            check(snapshot, [asked, asked * (1 + 2 * FEW_NUMBERS)], records, pieces, times)


def check(snapshot: Snapshot, batches: list[list[int]], records, pieces, times) -> None:
    """Compare all answers to some batches with the oracle's."""
    for asked in batches:
        answers = snapshot.lookup(np.array(asked, np.uint64), ported_at=True, range_route=True)
        expected = [oracle(records, pieces, n) for n in asked]
        assert answers.route.tolist() == [row for row, _ in expected]
        assert answers.range_route.tolist() == [row for _, row in expected]
        assert answers.ported_at.tolist() == [times.get(n, 0) for n in asked]
        alone = [snapshot.lookup_one(n) for n in asked[:40]]
        assert alone == [
            (row, times.get(n, 0), range_row)
            for n, (row, range_row) in zip(asked[:40], expected, strict=False)
        ]


FIRST = 79_000_000_512
"""The middle of a granule."""
DENSE = range(FIRST - 512, FIRST + 512)
ADVERSARIAL: dict[str, tuple[dict[int, int], dict[int, int]]] = {
    "all numbers of a granule": (dict.fromkeys(DENSE, 2), {FIRST - 512: 900, FIRST + 512: 0}),
    "one number in each granule": (
        {FIRST + 1024 * i: 2 + i % 7 for i in range(600)},
        {FIRST: 900, FIRST + 700_000: 0},
    ),
    "257 routes in a granule": (
        {number: 2 + i % 257 for i, number in enumerate(DENSE)},
        {FIRST: 900, FIRST + 9: 901, FIRST + 2_000: 0},
    ),
    "300 routes in two granules": (
        {FIRST - 512 + 5 * i: 2 + i % 300 for i in range(400)},
        {FIRST: 900, FIRST + 5_000: 0},
    ),
    "another route in each granule": (
        {FIRST + 1024 * i: 2 + i for i in range(800)},
        {FIRST: 900, FIRST + 900_000: 0},
    ),
    "ranges of one number": ({}, {FIRST + i: 900 + i % 90 for i in range(300)} | {FIRST + 300: 0}),
    "15 digits": (
        {NUMBER_MAX: 2, NUMBER_MAX - 1024: 3, 10**14: 4},
        {NUMBER_MAX - 3_000: 900, NUMBER_MAX: 0},
    ),
    "nothing": ({}, {}),
    "only a plan": ({}, {FIRST: 900, FIRST + 10_000: 901, FIRST + 300_000: 0}),
    "only records": ({FIRST + 37 * i: 2 + i % 3 for i in range(500)}, {}),
}


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_a_registry_of_an_odd_shape_is_answered(open_content, each_kernel, name: str) -> None:
    """Whatever its shape, every lookup path gives a dict's answers, and all records are listed."""
    records, pieces = ADVERSARIAL[name]
    times = {number: i + 1 for i, number in enumerate(records)}
    snapshot = open_content(make_content(records, pieces, make_routes(898, 100), times=times))
    asked = sorted({n + d for n in (*records, *pieces, 1, NUMBER_MAX) for d in (-1, 0, 1, 54)})
    check(snapshot, [asked, asked[:5], asked[-5:]], records, pieces, times)
    listed = all_records(snapshot.tables)[0].tolist()
    assert listed == sorted(records)
    assert snapshot.ported_count == len(records)
    member, rank = numpy_kernel.locate(snapshot.tables, np.array(asked, np.uint64))
    assert member.tolist() == [n in records for n in asked]
    assert rank.tolist() == np.searchsorted(listed, asked).tolist()


@pytest.mark.parametrize("ported_share", [0.0, 0.07, 0.6, 1.0])
@pytest.mark.parametrize("count", [0, 1, PIECE_NUMBERS - 1, PIECE_NUMBERS, 2 * PIECE_NUMBERS + 17])
def test_every_share_and_length_equals_a_dict(
    open_content, each_kernel, ported_share: float, count: int
):
    """The dense and the sparse way through a piece, and its borders, give a dict's answers."""
    rng = np.random.default_rng(5)
    base = 79_000_000_000
    every = np.arange(base, base + 200_000, dtype=np.uint64)
    ported = rng.choice(every, 20_000, replace=False)
    records = dict(zip(ported.tolist(), rng.choice(PORTED_ROWS, len(ported)).tolist(), strict=True))
    starts = np.unique(rng.integers(base, base + 200_000, 300))
    pieces = dict(zip(starts.tolist(), rng.choice(RANGE_ROWS, len(starts)).tolist(), strict=True))
    pieces[base + 200_000] = 0
    snapshot = open_content(make_content(records, pieces, ROUTES))
    from_ported = rng.random(count) < ported_share
    rest = np.setdiff1d(every, ported)
    asked = np.where(from_ported, rng.choice(ported, count), rng.choice(rest, count))
    got = snapshot.lookup(asked, range_route=True)
    starts_all = np.array(sorted({0: 0} | pieces))
    in_range = np.array([({0: 0} | pieces)[s] for s in starts_all.tolist()])
    expected_range = in_range[np.searchsorted(starts_all, asked, side="right") - 1]
    expected = [
        records.get(n, r) for n, r in zip(asked.tolist(), expected_range.tolist(), strict=True)
    ]
    assert got.route.tolist() == expected
    assert got.range_route.tolist() == expected_range.tolist()


@settings(deadline=None, suppress_health_check=FIXTURE_KEPT)
@given(
    rows=st.lists(st.integers(0, 60_000), max_size=60),
    repeat=st.sampled_from([1, 7, 300]),
    kind=st.sampled_from([np.uint16, np.uint32]),
)
def test_distinct_rows_equal_unique(each_kernel, rows: list[int], repeat: int, kind) -> None:
    """The distinct rows, their counts and each number's place are those of numpy.unique."""
    array = np.array(rows * repeat, kind)
    distinct, times, places = kernel.distinct_rows(array, 70_001)
    expected = np.unique(array, return_inverse=True, return_counts=True)
    assert distinct.tolist() == expected[0].tolist()
    assert places.tolist() == expected[1].tolist()
    assert times.tolist() == expected[2].tolist()
    assert places.dtype == np.uint32


def test_numbers_of_a_request_need_not_be_aligned(open_content, each_kernel) -> None:
    """Numbers are read where they stand in a message, at an odd address and read-only."""
    snapshot = open_content(
        make_content({FIRST: 2, FIRST + 9: 3}, {FIRST: 12, FIRST + 99: 0}, ROUTES)
    )
    for count in (1, 50, 3 * PIECE_NUMBERS):
        asked = np.arange(FIRST, FIRST + count, dtype=np.uint64)
        read = np.frombuffer(b"-" + asked.tobytes(), np.uint64, count, 1)
        assert not read.flags.aligned
        found = snapshot.lookup(read, ported_at=True, range_route=True)
        expected = snapshot.lookup(asked, ported_at=True, range_route=True)
        assert found.route.tolist() == expected.route.tolist()
        assert found.range_route.tolist() == expected.range_route.tolist()


def test_more_routes_than_the_format_holds_are_refused(open_content) -> None:
    """A row takes two bytes, one value of which marks what lies in several pieces."""
    pieces = {79_000_000_000 + i: 4 + i for i in range(70_000)} | {79_000_070_000: 0}
    content = make_content({79_000_000_001: 3}, pieces, make_routes(2, 70_000))
    with pytest.raises(ContentError, match="70004 routes are more than 65535"):
        open_content(content)


def test_answers_outlive_the_snapshot(open_content):
    """Arrays of an answer belong to the caller: they survive the closing of the file."""
    snapshot = open_content(
        make_content({79_000_000_001: 2}, {79_000_000_000: 12, 79_000_001_000: 0}, ROUTES)
    )
    answers = snapshot.lookup(np.array([79_000_000_001], np.uint64), ported_at=True)
    route = snapshot.route(2)
    snapshot.close()
    assert answers.route.tolist() == [2]
    assert route.status is Status.PORTED


def test_times_that_are_not_stored_cost_nothing(open_content) -> None:
    """Where there are no times, nobody counts the records of the whole heap to find one."""
    content = make_content({FIRST + i: 2 for i in range(600)}, {}, make_routes(1, 1))
    snapshot = open_content(content)
    answers = snapshot.lookup(np.arange(FIRST, FIRST + 600, dtype=np.uint64), ported_at=True)
    assert not answers.ported_at.any()
    assert not {"_within", "records_of_granules"} & vars(snapshot.tables).keys()
