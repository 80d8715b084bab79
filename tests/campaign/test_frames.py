"""Routing inside other people's data frames."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from numroute.errors import InputError, SettingError
from numroute_campaign import ANSWER_COLUMNS, route_batches
from numroute_campaign.frames import route_pandas, route_polars

PHONES = [
    "8 (900) 000-16-70",
    "+79161234567",
    "9187874960",
    "no number",
    "",
    None,
    "+1 202 555 0123",
]
NAMES = [name for name, _ in ANSWER_COLUMNS]


@pytest.fixture(scope="module")
def expected(store: Path) -> list[dict[str, object]]:
    """Return what the function underneath answers, row by row."""
    batch = pa.RecordBatch.from_pydict({"phone": PHONES})
    (routed,) = route_batches([batch], store=store, column="phone", region="RU")
    return routed.select(NAMES).to_pylist()


def test_a_polars_frame_gets_the_answers(store: Path, expected: list[dict[str, object]]) -> None:
    """Its own columns stay as they were; the answers stand beside them."""
    frame = pl.DataFrame({"city": [str(i) for i in range(len(PHONES))], "phone": PHONES})
    routed = route_polars(frame, store=store, column="phone", region="RU")
    assert routed.columns == ["city", "phone", *NAMES]
    assert routed.select("city", "phone").equals(frame)
    assert routed.select(NAMES).to_dicts() == expected


def test_a_pandas_frame_gets_the_answers(store: Path, expected: list[dict[str, object]]) -> None:
    """Its index stays; a missing number is missing and not a float."""
    frame = pd.DataFrame({"phone": PHONES}, index=[f"row{i}" for i in range(len(PHONES))])
    routed = route_pandas(frame, store=store, column="phone", region="RU", prefix="to_")
    assert list(routed.index) == list(frame.index)
    assert routed["to_number"].dtype == pd.Int64Dtype()
    answers = routed.drop(columns="phone").astype(object)
    found = answers.where(answers.notna(), None).rename(columns=lambda name: name[3:])
    assert found.to_dict("records") == expected


def test_a_frame_of_several_chunks_is_one_list(
    store: Path, expected: list[dict[str, object]]
) -> None:
    """Chunks are an accident of how a frame was made."""
    frame = pl.concat([pl.DataFrame({"phone": [phone]}) for phone in PHONES], rechunk=False)
    assert route_polars(frame, store=store, region="RU", column="phone").height == len(expected)


def test_an_empty_frame_stays_empty(store: Path) -> None:
    """The columns are there all the same."""
    frame = pl.DataFrame({"phone": []}, schema={"phone": pl.String})
    assert route_polars(frame, store=store, column="phone").columns == ["phone", *NAMES]
    empty = route_pandas(
        pd.DataFrame({"phone": pd.Series([], dtype=str)}), store=store, column="phone"
    )
    assert list(empty.columns) == ["phone", *NAMES]


def test_a_wrong_column_is_refused(store: Path) -> None:
    """One that is not there is named; one that the answers would replace is too."""
    with pytest.raises(InputError, match="telephone"):
        route_polars(pl.DataFrame({"phone": PHONES}), store=store, column="telephone")
    with pytest.raises(SettingError, match="status"):
        route_pandas(pd.DataFrame({"phone": PHONES, "status": 1}), store=store, column="phone")
    single = pl.DataFrame({"phone": pl.Series([79161234567.0], dtype=pl.Float32)})
    with pytest.raises(InputError, match="'phone' is of single precision"):
        route_polars(single, store=store)
