"""``numroute route`` on a list in which everything is planted."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from numroute.index import SnapshotStore


@pytest.fixture
def routed(route, list_csv: Path):
    """Return the planted list, routed."""
    return route(list_csv)


def test_counts_are_the_planted_ones(routed, planted) -> None:
    """Rejects by reason, duplicates and valid numbers are exactly those that were planted."""
    steps = routed.summary["steps"]
    assert steps["rows"] == planted.table.num_rows
    assert steps["rejected"] == sum(planted.rejects.values())
    assert steps["duplicates"] == planted.duplicates
    assert steps["unique"] == np.count_nonzero(planted.is_first)
    for reason, rows in planted.rejects.items():
        assert routed.reasons[reason] == rows


def test_every_row_is_in_exactly_one_output(routed, planted) -> None:
    """Outputs and rejects, read again, hold each row of the list once, with its own number."""
    rows = routed.routed()
    rejects = routed.rows("rejects.csv")
    ids = [int(row["row_id"]) for row in rows] + [int(row["row_id"]) for row in rejects]
    assert sorted(ids) == list(range(1, planted.table.num_rows + 1))
    for row in rows:
        assert planted.numbers[int(row["row_id"]) - 1] == int(row["number"])
        assert planted.is_first[int(row["row_id"]) - 1]


def test_every_number_goes_to_the_operator_that_serves_it(routed, store: Path) -> None:
    """The route of each row is the brand or name that the snapshot answers for its number."""
    rows = routed.routed()
    numbers = np.array([int(row["number"]) for row in rows], np.uint64)
    with SnapshotStore(store).open() as snapshot:
        for row, answer in zip(rows, snapshot.lookup(numbers).route.tolist(), strict=True):
            operator = snapshot.route(answer).operator
            assert row["route"] == (operator.brand or operator.name or operator.code)
            assert row["status"] == snapshot.route(answer).status.name


def test_a_file_per_route_holds_its_rows_in_the_list_s_order(routed) -> None:
    """The summary names each route's file, which holds as many rows as it says, in order."""
    for each in routed.summary["routes"]:
        (name,) = each["files"]
        rows = routed.rows(name)
        assert len(rows) == each["numbers"]
        assert {row["route"] for row in rows} == {each["name"]}
        ids = [int(row["row_id"]) for row in rows]
        assert ids == sorted(ids)


def test_rejects_file_agrees_with_the_summary(routed) -> None:
    """Counting the reject file's reasons gives the summary's figures."""
    counted = Counter(row["reason"] for row in routed.rows("rejects.csv"))
    assert counted == routed.reasons


def test_nothing_but_number_route_and_row_id_leaves(routed) -> None:
    """Names, cities and comments stay; the summary says which columns were dropped."""
    assert set(routed.routed()[0]) == {
        "row_id", "number", "route", "operator", "mcc", "mnc", "status",
    }  # fmt: skip
    assert routed.summary["dropped_columns"] == ["client", "name", "city", "amount", "comment"]
    text = "".join(path.read_text("utf-8") for path in routed.folder.iterdir())
    assert "Иванова" not in text


def test_outputs_are_private(routed) -> None:
    """Files are 0600, the folder 0700."""
    assert routed.folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in routed.folder.iterdir()} == {0o600}


def test_nothing_is_left_beside_the_output(routed) -> None:
    """The work folder is gone at the end."""
    assert [path.name for path in routed.folder.parent.iterdir()] == ["out"]
