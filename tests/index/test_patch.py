"""A patched snapshot answers as a plain dict does to which the same changes were made."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.snapshots import make_content, make_metadata, make_routes

from numroute.index import Patch, Patched, Snapshot, numpy_kernel, verify_snapshot
from numroute.index.compare import CONFIRMED, Kind, compare, effect_of
from numroute.index.content import ContentError
from numroute.index.layout import LMDB_PAGE
from numroute.index.numpy_kernel import all_records
from numroute.index.writer import write_snapshot
from numroute.model import Operator

EDGE = 79_000_002_560
"""Within the plan below; a page of 2**30 numbers ends at 79,456,894,976."""
NUMBERS = st.one_of(
    st.integers(EDGE - 3, EDGE + 40),
    st.integers(EDGE - 70_000, EDGE + 200_000),
    st.integers(0, 9).map(lambda block: 79_000_400_000 + block * 262_144),
    st.sampled_from([1, 65_536, 79_456_894_975, 79_456_894_976, 10**14, 10**15 - 1]),
)
ROUTES = make_routes(5, 5)
PIECES = {79_000_000_000: 8, 79_000_100_000: 9, 79_000_200_000: 7, 79_003_000_000: 0}
"""Ten blocks of the last piece share a place until they get records."""
State = dict[int, tuple[int, int]]


def held(number: int) -> int:
    """Return the row that the ranges give to a number."""
    return next((row for first, row in reversed(PIECES.items()) if first <= number), 0)


def patch_of(changes: dict[int, tuple[int, int] | None], **more: object) -> Patch:
    """Return a patch of number -> (row, time), None = no record."""
    numbers = sorted(changes)
    states = [changes[number] for number in numbers]
    given = {"routes": ROUTES} | more
    return Patch(
        numbers=np.array(numbers, np.uint64),
        present=np.array([state is not None for state in states], np.bool_),
        number_route=np.array([state[0] if state else 0 for state in states], np.uint32),
        ported_at=np.array([state[1] if state else 0 for state in states], np.uint32),
        **given,
    )


def write(path: Path, state: State) -> Path:
    """Write a snapshot of number -> (row, time)."""
    path.unlink(missing_ok=True)
    content = make_content(
        {number: row for number, (row, _) in state.items()},
        PIECES,
        ROUTES,
        times={number: time for number, (_, time) in state.items()},
    )
    write_snapshot(path, content, make_metadata())
    return path


def patched(path: Path, base: Snapshot, patch: Patch) -> Path:
    """Write the patched snapshot and prove its bytes."""
    path.unlink(missing_ok=True)
    write_snapshot(path, Patched(base=base, patch=patch), make_metadata())
    verify_snapshot(path)
    return path


VALUES = st.tuples(st.integers(2, 6), st.integers(1, 2**32 - 1))


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    state=st.dictionaries(NUMBERS, VALUES, max_size=30),
    rounds=st.lists(
        st.dictionaries(NUMBERS, st.none() | VALUES, max_size=12), min_size=1, max_size=3
    ),
    data=st.data(),
)
def test_patches_equal_a_plain_dict(
    tmp_path: Path, state: State, rounds: list[dict], data: st.DataObject
) -> None:
    """Records come, go and change, chunks and pages come into use, patch after patch."""
    path = write(tmp_path / "0", state)
    for turn, changes in enumerate(rounds, 1):
        # Numbers that have a record are changed, too, not only by chance.
        for number in data.draw(
            st.lists(st.sampled_from(sorted(state)), max_size=5) if state else st.just([])
        ):
            changes[number] = data.draw(st.none() | VALUES)
        before = dict(state)
        with Snapshot(path) as base:
            effect = effect_of(patch_of(changes), base)
            path = patched(tmp_path / str(turn), base, patch_of(changes))
            for number, now in changes.items():
                state.pop(number, None)
                if now is not None:
                    state[number] = now
            with Snapshot(path) as after:
                check(after, state, {*state, *before})
                counts = compare(base, after).changes
        assert effect.ported_after == len(state)
        found = [effect.count(kind) for kind in Kind]
        assert found == [counts.ported, counts.returned, counts.moved, counts.updated]
        assert sum(found) + effect.count(CONFIRMED) == len(changes)
    with Snapshot(write(tmp_path / "fresh", state)) as fresh, Snapshot(path) as after:
        assert compare(fresh, after).changes == compare(fresh, fresh).changes


def check(snapshot: Snapshot, state: State, asked: set[int]) -> None:
    """Compare every answer about some numbers and their neighbours, and the list of all records."""
    numbers = sorted({n for each in asked for n in (each - 1, each, each + 1) if 0 < n < 10**15})
    answers = snapshot.lookup(np.array(numbers, np.uint64), ported_at=True, range_route=True)
    assert answers.ported_at is not None
    assert answers.range_route is not None
    assert answers.route.tolist() == [state.get(n, (held(n),))[0] for n in numbers]
    assert answers.ported_at.tolist() == [state.get(n, (0, 0))[1] for n in numbers]
    assert answers.range_route.tolist() == [held(n) for n in numbers]
    listed = all_records(snapshot.tables)[0].tolist()
    assert listed == sorted(state)
    member, rank = numpy_kernel.locate(snapshot.tables, np.array(numbers, np.uint64))
    assert member.tolist() == [n in state for n in numbers]
    assert rank.tolist() == np.searchsorted(listed, numbers).tolist()


def test_many_chunks_and_a_block_boundary(tmp_path: Path) -> None:
    """Ranks move on over more chunks than are copied together."""
    state = {EDGE + 65_536 * i: (2 + i % 5, i + 1) for i in range(600)}
    changes: dict[int, tuple[int, int] | None] = {
        EDGE + 65_536 * i + 1: (3, 7) for i in range(0, 600, 7)
    }
    changes |= {EDGE + 65_536 * i: None for i in range(3, 600, 11)}
    with Snapshot(write(tmp_path / "a", state)) as base:
        path = patched(tmp_path / "b", base, patch_of(changes))
    for number, now in changes.items():
        state.pop(number, None)
        if now is not None:
            state[number] = now
    with Snapshot(path) as snapshot:
        check(snapshot, state, set(state))


def test_routes_and_donors_grow(tmp_path: Path) -> None:
    """New routes go into new dictionaries, and donors into a wider column."""
    many = [*ROUTES, *make_routes(3_000, 0)[2:]]
    content = make_content({EDGE: 2}, PIECES | {EDGE + 1: 10}, ROUTES)
    donors = [Operator(code=f"m{i}") for i in range(300)]
    wide = {
        "donor": np.zeros(1, np.uint8),
        "donors": donors[:1],
    }
    write_snapshot(
        tmp_path / "a",
        type(content)(
            **{name: getattr(content, name) for name in content.__dataclass_fields__} | wide
        ),
        make_metadata(),
    )
    patch = patch_of(
        {EDGE - 5: (len(many) - 1, 0)},
        routes=many,
        donors=donors,
        donor=np.array([299], np.uint32),
    )
    with Snapshot(tmp_path / "a") as base:
        path = patched(tmp_path / "b", base, patch)
    with Snapshot(path) as snapshot:
        answers = snapshot.lookup(np.array([EDGE - 5, EDGE, EDGE + 1, EDGE - 4], np.uint64))
        assert answers.route.tolist() == [len(many) - 1, 2, 10, 8]
        assert snapshot.donor(EDGE - 5) == donors[299]
        assert snapshot.donor(EDGE) == donors[0]


@pytest.mark.parametrize("spread", [1, 700, 70_000])
def test_more_routes_than_a_dictionary_holds_come_by_patches(tmp_path: Path, spread: int) -> None:
    """Codes are given anew, for smaller groups of granules or as whole rows."""
    routes = make_routes(1_000, 5)
    start = EDGE - EDGE % 1024
    state = {start + spread * i: (2 + i % 200, 1) for i in range(300)}
    pieces = {79_000_000_000: 1_003, 79_000_100_000: 1_004, 79_000_200_000: 0}
    content = make_content(
        {number: row for number, (row, _) in state.items()},
        pieces,
        routes,
        times={number: time for number, (_, time) in state.items()},
    )
    write_snapshot(tmp_path / "0", content, make_metadata())
    path = tmp_path / "0"
    for turn in range(1, 4):
        changes = {start + spread * i + turn: (2 + 200 * turn + i % 250, 7) for i in range(300)}
        changes |= {start + spread * i: None for i in range(turn, 300, 9)}
        with Snapshot(path) as base:
            path = patched(tmp_path / str(turn), base, patch_of(changes, routes=routes))
        for number, now in changes.items():
            state.pop(number, None)
            if now is not None:
                state[number] = now
    with Snapshot(path) as snapshot:
        asked = np.array(sorted({n + d for n in state for d in (-1, 0, 1)}), np.uint64)
        answers = snapshot.lookup(asked, ported_at=True)
        ranges = snapshot.lookup(asked, range_route=True).range_route
        assert ranges is not None
        expected = [
            state.get(n, (row,))[0] for n, row in zip(asked.tolist(), ranges.tolist(), strict=True)
        ]
        assert answers.route.tolist() == expected
        listed = all_records(snapshot.tables)[0].tolist()
        assert sorted(state) == listed


def test_what_is_not_changed_is_copied(tmp_path: Path) -> None:
    """An empty patch leaves every array as it is, byte for byte."""
    with Snapshot(write(tmp_path / "a", {EDGE: (2, 5), EDGE + 90_000: (3, 6)})) as base:
        path = patched(tmp_path / "b", base, patch_of({}))
        with Snapshot(path) as snapshot:
            digests = {key: spec.sha256 for key, spec in snapshot.value_specs.items()}
            assert digests == {key: spec.sha256 for key, spec in base.value_specs.items()}
    assert path.stat().st_size % LMDB_PAGE == 0


def test_a_snapshot_without_times_is_patched(tmp_path: Path) -> None:
    """Records are counted where no ranks are stored, and the patched file stores none either."""
    state = {EDGE + 700 * i: 2 for i in range(50)}
    changes = {EDGE: None, EDGE + 5: (3, 1), EDGE + 1_400: (4, 1), 79_001_000_000: (5, 1)}
    write_snapshot(tmp_path / "a", make_content(state, PIECES, ROUTES), make_metadata())
    with Snapshot(tmp_path / "a") as base:
        effect = effect_of(patch_of(changes), base)
        patched(tmp_path / "b", base, patch_of(changes))
    after = {number: (row, 0) for number, row in state.items()}
    after |= {number: (value[0], 0) for number, value in changes.items() if value}
    del after[EDGE]
    with Snapshot(tmp_path / "b") as snapshot:
        assert "ranks_within" not in snapshot.arrays
        check(snapshot, after, {*after, EDGE})
        assert effect.ported_after == snapshot.ported_count == len(after)


def test_more_records_than_the_format_holds_are_refused(tmp_path: Path, monkeypatch) -> None:
    """A patch may not make what a build may not."""
    monkeypatch.setattr("numroute.index.layout.RECORDS_MAX", 1)
    with (
        Snapshot(write(tmp_path / "a", {EDGE: (3, 1)})) as base,
        pytest.raises(ContentError, match="at most 1 records"),
    ):
        patched(tmp_path / "b", base, patch_of({EDGE + 1: (2, 1)}))


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"routes": ROUTES[:4]}, "the route table begins with the rows of the snapshot"),
        ({"routes": [*ROUTES[:3], ROUTES[2], *ROUTES[4:]]}, "the route table begins"),
        ({"number_route": np.array([99], np.uint32)}, "routes of numbers are rows"),
        ({"numbers": np.array([5, 5], np.uint64)}, "numbers ascend and are unique"),
        ({"numbers": np.array([10**15], np.uint64)}, "whole E.164 numbers"),
        ({"present": np.array([True, False])}, "one state, route, time and donor per number"),
    ],
)
def test_a_patch_that_breaks_a_rule_is_refused(tmp_path: Path, change: dict, rule: str) -> None:
    """A patch is held against the rules before anything is written."""
    patch = patch_of({EDGE: (2, 1)})
    fields = {name: getattr(patch, name) for name in patch.__dataclass_fields__} | change
    with (
        Snapshot(write(tmp_path / "a", {EDGE: (3, 1)})) as base,
        pytest.raises(ContentError, match=rule),
    ):
        write_snapshot(tmp_path / "b", Patched(base=base, patch=Patch(**fields)), make_metadata())
    assert not (tmp_path / "b").exists()


def test_the_last_word_is_kept_with_its_source(tmp_path: Path) -> None:
    """Which source changed a number last is known over several patches, also of what went home."""
    with Snapshot(write(tmp_path / "a", {EDGE: (2, 1), EDGE + 1: (2, 1)})) as base:
        first = patch_of({EDGE: (3, 2), EDGE + 2: (4, 2)}, source=np.array([2, 3], np.uint32))
        path = patched(tmp_path / "b", base, first)
    with Snapshot(path) as base:
        second = patch_of({EDGE - 9: (3, 2), EDGE: None}, source=np.array([4, 5], np.uint32))
        path = patched(tmp_path / "c", base, second)
    with Snapshot(path) as snapshot:
        changed = snapshot.changed_by
        asked = [EDGE - 9, EDGE, EDGE + 1, EDGE + 2]
        assert [changed.find(number) for number in asked] == [4, 5, None, 3]
        assert snapshot.changed_by is changed  # not copied for each question
