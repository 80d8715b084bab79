"""Arrow columns as numpy arrays: digits, and one code per distinct combination of texts."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numroute_loader.reading import columns
from numroute_loader.reading.description import NumberFormat

ANY_DIGITS = 8, 9, 10, 11, 15


def _format(digits: int) -> NumberFormat:
    return NumberFormat(
        country_code="7", digits=digits, lowest=0, highest=10**digits - 1, shape="digits"
    )


@settings(max_examples=100, deadline=None)
@given(st.data(), st.sampled_from(ANY_DIGITS))
def test_digits(data, digits):
    """Cells of digits become whole numbers, whatever the width and wherever the slice begins."""
    written = data.draw(st.lists(st.integers(0, 10**digits - 1), min_size=1, max_size=20))
    skipped = data.draw(st.integers(0, len(written) - 1))
    column = pa.array([f"{value:0{digits}d}".encode() for value in written])[skipped:]
    numbers, bad = columns.numbers_of(column, _format(digits))
    assert not bad.any()
    assert numbers.dtype == np.uint64
    assert numbers.tolist() == [7 * 10**digits + value for value in written[skipped:]]


@settings(max_examples=200, deadline=None)
@given(st.data(), st.sampled_from(ANY_DIGITS))
def test_one_byte_that_is_no_digit(data, digits):
    """One byte that is no digit, any byte in any place, makes its cell bad and no other."""
    place = data.draw(st.integers(0, digits - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda byte: not 48 <= byte <= 57))
    cell = bytearray(b"9" * digits)
    cell[place] = byte
    column = pa.array([b"1" * digits, bytes(cell), b"0" * digits])
    assert columns.numbers_of(column, _format(digits))[1].tolist() == [False, True, False]


@pytest.mark.parametrize("most", [2**62, 2**10, 1])
@settings(max_examples=100, deadline=None)
@given(
    rows=st.lists(
        st.tuples(
            st.binary(max_size=3),
            st.binary(min_size=2, max_size=2),
            st.binary(min_size=1, max_size=1),
            st.binary(max_size=2),
        ),
        min_size=1,
        max_size=40,
    )
)
def test_combinations(most, rows):
    """Each row's index gives its texts again, also where the codes do not fit one integer."""
    before = columns.COMBINATIONS_MAX
    columns.COMBINATIONS_MAX = most
    try:
        codes = [columns.codes_of(pa.array(list(cells))) for cells in zip(*rows, strict=True)]
        combined = columns.combined(codes)
    finally:
        columns.COMBINATIONS_MAX = before
    assert [combined.texts[index] for index in combined.index] == rows
    assert len(combined.texts) == len(set(rows))


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.binary(max_size=12),
            st.sampled_from([b"1234567890", b"12345678901", b"", b"2016-09-07T12:00:17+03:00"]),
        ),
        min_size=1,
        max_size=20,
    )
)
def test_masks_of_bad_cells(cells):
    """The mask of a column marks the cells that are bad on their own, and only those."""
    column = pa.array(cells, pa.binary())
    _, numbers = columns.numbers_of(column, _format(10))
    assert numbers.tolist() == [len(cell) != 10 or not cell.isdigit() for cell in cells]
    for parse in (columns.seconds_of, columns.ids_of):
        _, bad = parse(column)
        alone = [bool(parse(pa.array([cell], pa.binary()))[1][0]) for cell in cells]
        assert bad.tolist() == alone
