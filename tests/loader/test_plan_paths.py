"""The two ways to read a plan, whole columns and line by line, agree on every file."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from numroute.errors import InputError
from numroute_loader.registries.ru_numbering_plan import rows as plan_rows
from numroute_loader.registries.ru_numbering_plan.columns import read_layout
from numroute_loader.registries.ru_numbering_plan.text import PlanText

SIX = "АВС/ DEF;От;До;Емкость;Оператор;Регион"
SEVEN = SIX + ";ИНН"

TEXTS = st.text(alphabet='А" б«1.\t', max_size=5)


@st.composite
def regular_rows(draw: st.DrawFn) -> str:
    """Draw a row that is right, padded or not."""
    start = draw(st.integers(0, 9_999_999))
    end = draw(st.integers(start, 9_999_999))
    figures = [
        draw(st.sampled_from(["301", "800", "999"])),
        draw(st.sampled_from([str(start), f"{start:07}"])),
        f"{end:07}",
        str(end - start + 1),
    ]
    pad = draw(st.sampled_from(["", " ", "\t"]))
    return ";".join([*(cell + pad for cell in figures), draw(TEXTS), draw(TEXTS)])


ROWS = st.lists(
    st.one_of(
        regular_rows(),
        regular_rows(),
        st.text(alphabet='901 ;"Аx-+\t', max_size=40),
    ),
    max_size=5,
)


def table_of(rows: plan_rows.PlanRows) -> list[tuple[object, ...]]:
    """Return the rows as tuples, whichever way they were read."""
    texts = [
        [column.values[place].strip() for place in column.index.tolist()]
        for column in rows.texts.values()
    ]
    figures = [rows.line, rows.code, rows.start, rows.end]
    return list(zip(*(column.tolist() for column in figures), *texts, strict=True))


@given(rows=ROWS, end=st.sampled_from(["\n", "\r\n"]), seven=st.booleans())
def test_both_ways_read_the_same(rows: list[str], end: str, *, seven: bool):
    """What the columnar reading accepts is what the reading by lines makes of the same file."""
    header = SEVEN if seven else SIX
    body = [f"{row};7700000001" if seven else row for row in rows]
    text = PlanText(path=Path("plan.csv"), data=end.join([header, *body, ""]).encode())
    layout = read_layout(text)
    regular = plan_rows._read_regular(text, layout)
    if regular is not None:
        assert table_of(regular) == table_of(plan_rows._read_irregular(text, layout))


@given(rows=st.lists(regular_rows(), min_size=1, max_size=8))
def test_regular_rows_take_the_columnar_way(rows: list[str]):
    """A file of regular rows never falls back to the reading by lines."""
    text = PlanText(path=Path("plan.csv"), data="\n".join([SIX, *rows]).encode())
    assert plan_rows._read_regular(text, read_layout(text)) is not None


def test_an_irregular_row_takes_the_way_by_lines():
    """A defect that the columnar reading meets is told by the reading by lines."""
    text = PlanText(path=Path("plan.csv"), data=f"{SIX}\n900;0;9;10;А\n".encode())
    layout = read_layout(text)
    assert plan_rows._read_regular(text, layout) is None
    with pytest.raises(InputError) as caught:
        plan_rows.read_rows(text, layout)
    assert caught.value.line == 2
