"""Overrides in every lookup path, against a plain scan; nesting, expiry, carrying over."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.snapshots import AS_OF, make_content, make_metadata, make_routes

import numroute.index.overrides as overrides_module
from numroute.errors import SnapshotCorruptError
from numroute.index import (
    Override,
    Snapshot,
    SnapshotStore,
    compare,
    explain,
    verify_snapshot,
    writing,
)
from numroute.index.content import ContentError
from numroute.index.overrides import (
    OVERRIDES_MAX,
    decode_overrides,
    encode_overrides,
    find_crossing,
)
from numroute.index.writer import write_snapshot
from numroute.model import NUMBER_MAX, LineType, Operator, Region, Status

ROUTES = make_routes(3, 2)
RECORDS = {79_000_000_000 + 7 * i: 2 + i % 3 for i in range(300)}
PIECES = {79_000_000_000: 5, 79_000_001_500: 6, 79_000_003_000: 0}
NOW = datetime(2026, 9, 1, tzinfo=UTC)

positions = st.one_of(
    st.integers(79_000_000_000, 79_000_004_000),
    st.integers(79_000_065_000, 79_000_066_000),
    st.integers(1, NUMBER_MAX),
)


def override(first: int, last: int | None = None, **facts) -> Override:
    """Return an override to an operator of its own."""
    return Override(
        first=first,
        last=first if last is None else last,
        operator=Operator(code=facts.pop("code", "mX")),
        mcc="250",
        mnc="77",
        reason=facts.pop("reason", "a wrong port"),
        author="me",
        **facts,
    )


@st.composite
def override_sets(draw) -> tuple[Override, ...]:
    """Draw overrides that are apart or nested."""
    kept: list[Override] = []
    for _ in range(draw(st.integers(0, 12))):
        first = draw(positions)
        length = draw(st.sampled_from([1, 1, 2, 40, 1000, 70_000, 10**10]))
        code = f"m{draw(st.integers(0, 3))}"
        expires = draw(st.sampled_from([None, None, -1, 1, 2]))
        each = override(
            first,
            min(NUMBER_MAX, first + length - 1),
            code=code,
            expires=None if expires is None else NOW + timedelta(hours=expires),
        )
        if find_crossing([*kept, each]) is None:
            kept.append(each)
    return tuple(kept)


def expected(overrides: tuple[Override, ...], number: int, now: datetime) -> Override | None:
    """Return the narrowest override that holds a number and has not expired."""
    if not 0 < number <= NUMBER_MAX:
        return None
    held = [each for each in overrides if each.first <= number <= each.last and each.active(now)]
    return min(held, key=lambda each: each.last - each.first, default=None)


@settings(max_examples=80, deadline=None)
@given(overrides=override_sets(), asked=st.lists(positions, max_size=90), many=st.booleans())
def test_lookup_with_overrides_equals_a_scan(overrides, asked, many) -> None:
    """The narrowest one that has not expired decides, now and after each expiry, in any batch."""
    edges = [each.first + step for each in overrides for step in (-1, 0, 1)]
    edges += [each.last + step for each in overrides for step in (-1, 0, 1)]
    asked = [*asked, *(n for n in edges if n >= 0), 0, NUMBER_MAX + 1, *list(RECORDS)[:40]]
    numbers = np.array(asked * (40 if many else 1), np.uint64)
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        path = Path(folder) / "s.lmdb"
        times = dict.fromkeys(RECORDS, 1700000000)
        write_snapshot(
            path, make_content(RECORDS, PIECES, ROUTES, times=times), make_metadata(), overrides
        )
        patch.setattr(overrides_module.time, "time", NOW.timestamp)
        with Snapshot(path) as snapshot:
            registry = snapshot.lookup(numbers, ported_at=True, range_route=True, overrides=False)
            # Backwards too: a clock that is set back brings an override back.
            for hours in (0, 1, 2, 3, 0, -2):
                now = NOW + timedelta(hours=hours)
                patch.setattr(overrides_module.time, "time", now.timestamp)
                answers = snapshot.lookup(numbers, ported_at=True, range_route=True)
                assert (answers.range_route == registry.range_route).all()
                for i, number in enumerate(asked):
                    assert snapshot.lookup_one(number) == tuple(
                        int(column[i]) for column in answers
                    )
                    route = snapshot.route(int(answers.route[i]))
                    before = snapshot.route(int(registry.route[i]))
                    decides = expected(overrides, number, now)
                    if decides is None:
                        assert route is before
                        assert answers.ported_at[i] == registry.ported_at[i]
                    else:
                        ported = before.status is Status.PORTED
                        assert route == decides.route(
                            Status.PORTED if ported else Status.NOT_PORTED
                        )
                        assert route.overridden
                        assert answers.ported_at[i] == 0


@settings(max_examples=100, deadline=None)
@given(ranges=st.lists(st.tuples(st.integers(1, 30), st.integers(0, 9)), max_size=6))
def test_crossing_is_what_is_neither_apart_nor_nested(ranges) -> None:
    """Two are refused when they share numbers and neither lies within a wider other."""
    overrides = [override(first, first + more) for first, more in ranges]

    def clash(a: Override, b: Override) -> bool:
        if a.last < b.first or b.last < a.first:
            return False
        same = (a.first, a.last) == (b.first, b.last)
        nested = (a.first <= b.first and b.last <= a.last) or (
            b.first <= a.first and a.last <= b.last
        )
        return same or not nested

    clashes = any(clash(a, b) for i, a in enumerate(overrides) for b in overrides[:i])
    found = find_crossing(overrides)
    assert (found is not None) == clashes
    if found:
        assert clash(*found)


def test_what_is_stored_comes_back(tmp_path: Path) -> None:
    """Every field survives."""
    full = override(
        79_000_000_000,
        79_000_000_999,
        routing_number="D7701",
        region=Region(code="77", name="Москва"),
        line_type=LineType.MOBILE,
        expires=NOW,
    )
    single = override(79_000_000_005, reason="«сбой»")
    assert decode_overrides(encode_overrides([single, full])) == (full, single)
    elsewhere = replace(full, expires=NOW.astimezone(timezone(timedelta(hours=3))))
    assert encode_overrides([elsewhere]) == encode_overrides([full])  # always in UTC
    store = SnapshotStore(tmp_path, create=True)
    content = make_content(RECORDS, PIECES, ROUTES)
    with writing(store) as writer:
        plain = writer.publish(content, as_of=AS_OF, sources=(), counts={"ported": 300})
        made = writer.publish_overrides((single, full))
    with store.open() as snapshot:
        assert snapshot.overrides == (full, single)
        assert snapshot.metadata.counts == {"ported": 300, "overrides": 2}
        assert snapshot.metadata.as_of == plain.as_of
        with store.open(plain.snapshot_id) as before:
            assert compare(before, snapshot).changes == snapshot.metadata.changes
    verify_snapshot(store.snapshot_path(made.snapshot_id))


def test_overrides_are_carried_over_until_they_are_replaced(tmp_path: Path) -> None:
    """A new build keeps them; clearing removes them; a damaged current snapshot does not."""
    store = SnapshotStore(tmp_path, create=True)
    content = make_content(RECORDS, PIECES, ROUTES)
    each = override(79_000_000_005)

    def build() -> tuple[Override, ...]:
        with writing(store) as writer:
            writer.publish(content, as_of=AS_OF, sources=(), counts={})
        with store.open() as snapshot:
            return snapshot.overrides

    assert build() == ()
    with writing(store) as writer:
        writer.publish_overrides((each,))
    assert build() == (each,)
    assert build() == (each,)
    store.snapshot_path(store.current_id()).write_bytes(b"x")
    assert build() == (each,)
    with writing(store) as writer:
        writer.publish_overrides(())
    assert build() == ()


def test_explain_shows_the_override_and_what_it_overrules(tmp_path: Path, monkeypatch) -> None:
    """Reason, author and expiry of each, which one decides, and what registry and plan say."""
    monkeypatch.setattr(overrides_module.time, "time", NOW.timestamp)
    number = 79_000_000_007
    wide = override(79_000_000_000, 79_000_000_999, code="mWide", reason="all of it")
    narrow = override(number, code="mNarrow", expires=datetime.now(UTC) + timedelta(days=1))
    gone = override(number, number + 1, code="mGone", expires=NOW - timedelta(days=1))
    path = tmp_path / "s.lmdb"
    write_snapshot(
        path, make_content(RECORDS, PIECES, ROUTES), make_metadata(), (wide, narrow, gone)
    )
    with Snapshot(path) as snapshot:
        told = explain(snapshot, number)
        assert told.decided_by == "override"
        assert (told.route.operator.code, told.route.status) == ("mNarrow", Status.PORTED)
        assert [(layer.name, layer.decides) for layer in told.layers] == [
            ("override", True),
            ("override", False),
            ("override", False),
            ("ported record", False),
            ("range", False),
        ]
        assert [layer.route.operator.code for layer in told.layers[:3]] == [
            "mNarrow", "mGone", "mWide",
        ]  # fmt: skip
        assert (told.layers[2].reason, told.layers[2].author) == ("all of it", "me")
        assert told.layers[1].expires == gone.expires
        assert told.layers[3].route == snapshot.routes[3]
        besides = explain(snapshot, 79_000_001_000)
        assert [layer.name for layer in besides.layers] == ["ported record", "range"]


def test_a_number_that_nobody_holds_gets_a_route(tmp_path: Path) -> None:
    """Its status becomes NOT_PORTED, for it has a route; its range holder stays unknown."""
    number = 79_990_000_000
    path = tmp_path / "s.lmdb"
    write_snapshot(
        path, make_content(RECORDS, PIECES, ROUTES), make_metadata(), (override(number),)
    )
    with Snapshot(path) as snapshot:
        answers = snapshot.lookup(np.array([number, number + 1], np.uint64), range_route=True)
        routes = [snapshot.route(int(row)) for row in answers.route]
        assert [route.status for route in routes] == [Status.NOT_PORTED, Status.UNALLOCATED]
        assert [route.overridden for route in routes] == [True, False]
        assert answers.range_route.tolist() == [0, 0]


def test_more_rows_than_two_bytes_hold_are_answered(tmp_path: Path) -> None:
    """Rows of overrides behind a route table that just fits two bytes get wider answers."""
    routes = make_routes(65_000, 2)
    overrides = tuple(override(79_000_000_000 + i, code=f"m{i}") for i in range(600))
    path = tmp_path / "s.lmdb"
    pieces = {79_000_000_000: 65_002, 79_000_003_000: 0}
    write_snapshot(
        path, make_content({79_000_000_001: 2}, pieces, routes), make_metadata(), overrides
    )
    with Snapshot(path) as snapshot:
        answers = snapshot.lookup(np.array([79_000_000_599, 79_000_000_001], np.uint64))
        assert [snapshot.route(int(row)).operator.code for row in answers.route] == ["m599", "m1"]
        assert snapshot.route(int(answers.route[1])).status is Status.PORTED


@pytest.mark.parametrize(
    ("overrides", "rule"),
    [
        ((override(5, 4),), "ranges of whole E.164 numbers"),
        ((override(0),), "ranges of whole E.164 numbers"),
        ((override(NUMBER_MAX + 1),), "ranges of whole E.164 numbers"),
        ((override(5), override(5, code="mY")), "do not cross"),
        ((override(5, 9), override(7, 12)), "do not cross"),
        (tuple(override(i + 1) for i in range(OVERRIDES_MAX + 1)), "at most 10000 overrides"),
    ],
)
def test_overrides_that_break_a_rule_are_not_written(tmp_path: Path, overrides, rule: str) -> None:
    """The writer refuses them before it writes anything."""
    path = tmp_path / "s.lmdb"
    with pytest.raises(ContentError, match=rule):
        write_snapshot(path, make_content(RECORDS, PIECES, ROUTES), make_metadata(), overrides)
    assert not path.exists()


def test_a_table_of_overrides_that_is_none_is_refused(tmp_path: Path, monkeypatch) -> None:
    """A file whose overrides cannot be read is not opened without them."""
    path = tmp_path / "s.lmdb"
    monkeypatch.setattr("numroute.index.writer.encode_overrides", lambda _: b'[{"first":1}]')
    write_snapshot(path, make_content(RECORDS, PIECES, ROUTES), make_metadata(), (override(5),))
    with pytest.raises(SnapshotCorruptError, match="overrides are not of version 4"):
        Snapshot(path)
