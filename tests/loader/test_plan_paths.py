"""The rows of a plan against a plain reading of its lines, for files right and wrong."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from numroute.errors import InputError
from numroute_loader.registries.ru_numbering_plan import read_rows

SIX = "АВС/ DEF;От;До;Емкость;Оператор;Регион"
SEVEN = SIX + ";ИНН"

TAX_NUMBER = "[0-9]{10}(?:[0-9]{2})?"
FIGURES = ("[3489][0-9]{2}", "[0-9]{1,7}", "[0-9]{1,7}", "[0-9]{1,8}")


def has_no_quoted_cell(row: str) -> bool:
    """Whole cells in quotes say that a spreadsheet saved the file: another test's subject."""
    return not re.search(r'(?:^|;)\s*".*"\s*(?:;|$)', row)


TEXTS = st.text(alphabet='А" б«1.\t', max_size=5).filter(has_no_quoted_cell)


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
        regular_rows().filter(has_no_quoted_cell),
        regular_rows().filter(has_no_quoted_cell),
        st.text(alphabet='901 ;"Аx-+\t', max_size=40).filter(has_no_quoted_cell),
    ),
    max_size=5,
)


def plain_reading(body: list[str], *, seven: bool) -> list[tuple[object, ...]] | int:
    """Return the rows by nothing but ``split``, or the first line that is not a row."""
    rows: list[tuple[object, ...]] = []
    width = 7 if seven else 6
    for line, record in enumerate(body, start=2):
        if not record.strip(" \t\r"):
            continue
        fields = [field.strip(" \t\r") for field in record.split(";")]
        if not seven and len(fields) > width and not re.fullmatch(TAX_NUMBER, fields[-1]):
            fields[5:] = [";".join(fields[5:])]
        if len(fields) != width or not all(map(re.fullmatch, FIGURES, fields)):
            return line
        code, start, end, capacity = map(int, fields[:4])
        if start > end or end - start + 1 != capacity:
            return line
        texts = (*fields[4:6], "", fields[6] if seven else "")
        rows.append((line, code, start, end, *(text.strip() for text in texts)))
    return rows


@given(rows=ROWS, end=st.sampled_from(["\n", "\r\n"]), seven=st.booleans())
def test_rows_are_those_of_a_plain_reading(rows: list[str], end: str, *, seven: bool):
    """What is read, and the first line that is refused, are those of a reading by ``split``."""
    header = SEVEN if seven else SIX
    body = [f"{row};7700000001" if seven else row for row in rows]
    raw = end.join([header, *body, ""]).encode()
    expected = plain_reading(body, seven=seven)
    if isinstance(expected, int):
        with pytest.raises(InputError) as refused:
            read_rows(Path("plan.csv"), raw)
        assert refused.value.line == expected
        return
    found = read_rows(Path("plan.csv"), raw)
    cells = [found.texts.texts[place][1:] for place in found.texts.index.tolist()]
    texts = [[cell.decode().replace("\x1f", ";").strip() for cell in row] for row in cells]
    figures = [found.line, *(found.figures[name] for name in ("code", "start", "end"))]
    columns = zip(*(column.tolist() for column in figures), strict=True)
    assert [(*row, *words) for row, words in zip(columns, texts, strict=True)] == expected
