"""Routing Arrow batches inside another program."""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow as pa
import pytest
from support.registry import command

from numroute.errors import SettingError
from numroute.index import SnapshotStore
from numroute_campaign import ANSWER_COLUMNS, route_batches


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
    assert answer.schema.names == ["number", *(f"nr_{name}" for name, _ in ANSWER_COLUMNS)]
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


def test_an_older_snapshot_is_closed_behind_its_last_batch(store: Path, tmp_path: Path) -> None:
    """Who began with a snapshot ends with it; then the next call lets go of its file."""
    own = Path(shutil.copytree(store, tmp_path / "own"))
    with SnapshotStore(own).open() as snapshot:
        old = snapshot.path
        codes = (snapshot.route(row).operator.code for row in range(snapshot.route_count))
        operator = next(filter(None, codes))

    def is_mapped() -> bool:
        return str(old) in Path("/proc/self/maps").read_text("utf-8")

    batch = pa.record_batch({"phone": ["+79161234567"]})
    under_way = route_batches([batch, batch], store=own)
    before = next(under_way)
    overrides = tmp_path / "overrides.csv"
    overrides.write_text(
        f"number,last,operator,mcc,mnc,reason,author\n79161234567,,{operator},999,77,why,me\n"
    )
    applied = command("numroute-load", "override", "apply", "--store", own, overrides)
    assert applied.status == 0, applied.err
    (after,) = route_batches([batch], store=own)
    assert after["mnc"].to_pylist() == ["77"]
    assert is_mapped()
    assert list(under_way) == [before]
    list(route_batches([batch], store=own))
    assert not is_mapped()
