"""What differs between two snapshots, against plain dicts."""

from __future__ import annotations

import dataclasses
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from support.snapshots import make_content, make_metadata, make_routes

from numroute.index import Changes, Snapshot, compare
from numroute.index.compare import Kind, changed_numbers
from numroute.index.writer import write_snapshot
from numroute.model import Operator, Route

ROUTES = [make_routes(6, 4), make_routes(9, 2)]
numbers = st.one_of(
    st.integers(79_000_000_000, 79_000_000_100),
    st.integers(79_000_060_000, 79_000_070_000),
    st.integers(1, 100 << 30),
)
records = st.dictionaries(numbers, st.integers(2, 7), max_size=80)
PIECES = {79_000_000_000: 8, 79_000_065_536: 9, 79_000_069_000: 0}


def facts(route: Route) -> tuple[object, ...]:
    """Return what of a route counts as another route."""
    return (
        route.operator.code,
        route.mcc,
        route.mnc,
        route.registry_mnc,
        route.routing_number,
        route.region.code,
        route.line_type,
    )


def expected_kinds(old: dict[int, Route], new: dict[int, Route]) -> dict[int, Kind]:
    """Return what became of each number that changed."""
    kinds = {}
    for number in old.keys() | new.keys():
        if number not in old:
            kinds[number] = Kind.PORTED
        elif number not in new:
            kinds[number] = Kind.RETURNED
        elif old[number].operator.code != new[number].operator.code:
            kinds[number] = Kind.MOVED
        elif facts(old[number]) != facts(new[number]):
            kinds[number] = Kind.UPDATED
    return kinds


@settings(max_examples=80, deadline=None)
@given(
    old=records,
    edits=st.dictionaries(numbers, st.one_of(st.none(), st.integers(2, 7)), max_size=40),
    changed=st.lists(st.one_of(st.none(), st.integers(2, 7)), max_size=40),
    shared=st.booleans(),
)
def test_a_comparison_equals_that_of_two_dicts(old, edits, changed, shared) -> None:
    """Kinds, numbers, counts, rows and matrix are those of the records as dicts."""
    new = dict(old)
    edits = edits | dict(zip(old, changed, strict=False))
    for number, row in edits.items():
        if row is None:
            new.pop(number, None)
        else:
            new[number] = row
    tables = [ROUTES[0], ROUTES[0] if shared else ROUTES[1]]
    with tempfile.TemporaryDirectory() as folder:
        sides = []
        for name, each, routes in zip("ab", (old, new), tables, strict=True):
            path = Path(folder) / name
            write_snapshot(path, make_content(each, PIECES, routes), make_metadata(name))
            sides.append(Snapshot(path))
        got = compare(*sides)
        unpublished = compare(sides[0], make_content(new, PIECES, tables[1]))
        rows, listed = {}, {}
        for piece in changed_numbers(*sides):
            assert (np.diff(piece.numbers.astype(np.int64)) > 0).all()
            listed |= dict(zip(piece.numbers.tolist(), piece.kind.tolist(), strict=True))
            for number, before, after in zip(
                piece.numbers.tolist(), piece.before.tolist(), piece.after.tolist(), strict=True
            ):
                rows[number] = (sides[0].route(before), sides[1].route(after))
        asked = np.array(sorted(rows), np.uint64)
        answered = [[side.route(int(row)) for row in side.lookup(asked).route] for side in sides]
        for side in sides:
            side.close()
    assert unpublished.changes == got.changes
    assert (unpublished.matrix == got.matrix).all()
    kinds = expected_kinds(
        {n: tables[0][row] for n, row in old.items()}, {n: tables[1][row] for n, row in new.items()}
    )
    assert listed == kinds
    of_kind = Counter(kinds.values())
    assert got.changes == Changes(
        against="a",
        ported=of_kind[Kind.PORTED],
        returned=of_kind[Kind.RETURNED],
        moved=of_kind[Kind.MOVED],
        updated=of_kind[Kind.UPDATED],
    )
    assert sorted(rows) == sorted(kinds)
    assert [rows[n] for n in asked.tolist()] == list(zip(*answered, strict=True))
    flows: dict[tuple[str, str], int] = {}
    for number, kind in kinds.items():
        if kind is not Kind.UPDATED:
            flow = tuple(route.operator.code for route in rows[number])
            flows[flow] = flows.get(flow, 0) + 1
    codes = [operator.code for operator in got.operators]
    matrix = {
        (codes[i], codes[j]): int(got.matrix[i, j])
        for i, j in zip(*got.matrix.nonzero(), strict=True)
    }
    assert matrix == flows


def test_many_changes_in_one_slab_are_all_found(tmp_path: Path) -> None:
    """Tens of thousands of moved numbers between unmoved ones, found by listing a whole slab."""
    start = 79_000_000_000
    old = {start + 3 * i: 2 for i in range(30_000)}
    new = {number: 2 + (i % 3 == 0) for i, number in enumerate(old)}
    for name, each in (("a", old), ("b", new)):
        write_snapshot(tmp_path / name, make_content(each, PIECES, ROUTES[0]), make_metadata(name))
    with Snapshot(tmp_path / "a") as a, Snapshot(tmp_path / "b") as b:
        moved = [piece for piece in changed_numbers(a, b) if (piece.kind == Kind.MOVED).all()]
        assert [n for piece in moved for n in piece.numbers.tolist()] == list(old)[::3]
        assert compare(a, b).changes == Changes(against="a", moved=10_000)
        assert compare(a, a).changes == Changes(against="a")


def test_flows_between_operators_of_one_name_are_added_up(tmp_path: Path) -> None:
    """Operators without a code are told apart by tax number, and named alike."""
    routes = make_routes(4, 1)
    for row, tax_number in ((2, "1"), (3, "2")):
        operator = Operator(name="Сириус", tax_number=tax_number)
        routes[row] = dataclasses.replace(routes[row], operator=operator)
    start = 79_000_000_000
    old = {start: 2, start + 1: 2, start + 2: 3, start + 3: 4}
    new = {start: 4, start + 1: 4, start + 2: 4}
    write_snapshot(tmp_path / "a", make_content(old, {}, routes), make_metadata())
    with Snapshot(tmp_path / "a") as a:
        assert compare(a, make_content(new, {}, routes)).flows == [
            "Сириус to mPORTED2 3",
            "mPORTED2 to nobody 1",
        ]
