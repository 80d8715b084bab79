"""Routing Arrow batches inside another program."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from numroute.campaign import answer_fields, route_batches
from numroute.errors import SettingError


def test_batches_answer_as_the_command_does(route, store: Path, list_csv: Path, planted) -> None:
    """Each row keeps its place and gets the route that ``numroute route`` gives its number."""
    routed = {int(row["row_id"]): row for row in route(list_csv).routed()}
    batches = planted.table.to_batches(max_chunksize=7000)
    answers = list(route_batches(batches, store=store, region="RU"))
    assert [batch.num_rows for batch in answers] == [batch.num_rows for batch in batches]
    rows = pa.Table.from_batches(answers).to_pylist()
    for row_id, row in routed.items():
        answer = rows[row_id - 1]
        assert str(answer["number"]) == row["number"]
        assert answer["route"] == row["route"]
        assert answer["status"] == row["status"]
    invalid = [row for row in rows if row["number"] is None]
    assert len(invalid) == sum(planted.rejects.values())
    assert all(row["status"] == "INVALID" and row["invalid_reason"] for row in invalid)


def test_no_batches_give_no_batches(store: Path) -> None:
    """An empty partition is no error."""
    assert list(route_batches([], store=store)) == []


def test_a_column_of_an_answer_s_name(store: Path) -> None:
    """A name that is taken is refused; a prefix helps."""
    batch = pa.record_batch({"number": ["+79161234567"]})
    with pytest.raises(SettingError, match="prefix"):
        list(route_batches([batch], store=store))
    (answer,) = route_batches([batch], store=store, prefix="nr_")
    assert answer.schema.names == ["number", *(field.name for field in answer_fields("nr_"))]
    assert answer["nr_number"].to_pylist() == [79161234567]


def test_rows_that_must_not_leave_say_why(store: Path) -> None:
    """Every row has a route or a reject; blank and missing cells have the command's reason."""
    texts = [None, "", "  ", "нет", "12", "+79161234567", "+15005550006"]
    batch = pa.record_batch({"phone": pa.array(texts, pa.string())})
    (answer,) = route_batches([batch], store=store, column="phone", region="RU")
    rows = answer.to_pylist()
    assert [row["reject"] for row in rows[:5]] == ["EMPTY"] * 3 + ["NOT_A_NUMBER", "TOO_SHORT"]
    assert [row["invalid_reason"] for row in rows[:5]] == [row["reject"] for row in rows[:5]]
    assert all((row["route"] is None) == (row["reject"] is not None) for row in rows)
