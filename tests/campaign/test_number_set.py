"""The set of numbers against Python's own."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numroute_campaign import number_set
from numroute_campaign.number_set import NumberSet, first_of_equal

NUMBERS = st.one_of(
    st.integers(1, 300),
    st.integers(79_000_000_000, 79_000_200_000),
    st.integers(1, 10**15 - 1),
)
BATCHES = st.lists(st.lists(NUMBERS, max_size=60), max_size=8)


def check(numbers: NumberSet, batches: list[list[int]]) -> None:
    """Add the batches and compare each answer with a set's."""
    known: set[int] = set()
    for batch in batches:
        array = np.array(batch, np.uint64)
        expected = []
        for number in batch:
            expected.append(number not in known)
            known.add(number)
        np.testing.assert_array_equal(numbers.add(array), np.array(expected, np.bool_))
        asked = np.array([*batch, 1, 79_000_000_001, 10**15 - 1], np.uint64)
        np.testing.assert_array_equal(
            numbers.contains(asked), np.array([n in known for n in asked.tolist()])
        )


@settings(deadline=None, max_examples=50)
@given(BATCHES)
def test_set_equals_a_python_set(batches: list[list[int]]) -> None:
    """Every number is new exactly when no equal one came before it, within a batch too."""
    check(NumberSet(), batches)


@settings(deadline=None, max_examples=50)
@given(BATCHES, st.integers(1, 4))
def test_set_stays_exact_when_bitmaps_run_out(batches: list[list[int]], chunks: int) -> None:
    """Numbers that find no bitmap any more are kept in sorted runs, and answers stay exact."""
    check(NumberSet(bitmap_bytes_max=chunks * 8192), batches)


@settings(deadline=None, max_examples=30)
@given(BATCHES)
def test_runs_of_the_longest_length_are_all_asked(batches: list[list[int]]) -> None:
    """Runs that are not merged any further are many, and answers stay exact."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(number_set, "RUN_NUMBERS_MAX", 20)
        check(NumberSet(bitmap_bytes_max=8192), batches)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(1, 40), max_size=200))
def test_first_of_equal(values: list[int]) -> None:
    """The first of equal numbers is marked, no other."""
    first = first_of_equal(np.array(values, np.uint64))
    assert first.tolist() == [value not in values[:i] for i, value in enumerate(values)]
