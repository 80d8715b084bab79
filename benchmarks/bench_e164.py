"""How fast human formats become whole numbers: a column, one text, and the library beside them.

Every round's answers are checked. Compare the ratios, not the times.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import phonenumbers
import pyarrow as pa
import pytest

from numroute.e164 import parse, parse_column

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pytest_benchmark.fixture import BenchmarkFixture

ROWS = 500_000
ROWS_ONE_BY_ONE = 2_000
CODES = np.array([901, 903, 910, 915, 916, 925, 926, 960, 977, 985, 999, 495, 812, 843])
FORMATS = (
    "8 ({0}) {1}-{2}-{3}",
    "+7{0}{1}{2}{3}",
    "7{0}{1}{2}{3}",
    "{0}{1}{2}{3}",
    "8{0}{1}{2}{3}",
    "+7 {0} {1}-{2}-{3}",
    "8-{0}-{1}-{2}-{3}",
)


@pytest.fixture(scope="module")
def numbers() -> NDArray[np.uint64]:
    """Made-up whole Russian numbers: uint64[ROWS]."""
    rng = np.random.default_rng(164)
    national = rng.choice(CODES, ROWS) * 10**7 + rng.integers(0, 10**7, ROWS)
    return (national + 7 * 10**10).astype(np.uint64)


@pytest.fixture(scope="module")
def texts(numbers: NDArray[np.uint64]) -> list[str]:
    """The numbers in a mix of formats."""
    rng = np.random.default_rng(2)
    return [
        FORMATS[style].format(digits[1:4], digits[4:7], digits[7:9], digits[9:])
        for style, digits in zip(
            rng.integers(0, len(FORMATS), ROWS).tolist(), numbers.astype(str).tolist(), strict=True
        )
    ]


def test_column_of_mixed_formats(
    benchmark: BenchmarkFixture, texts: list[str], numbers: NDArray[np.uint64]
) -> None:
    """A column of everyday formats."""
    benchmark.extra_info["rows"] = ROWS
    found = benchmark(parse_column, pa.array(texts), "RU")
    np.testing.assert_array_equal(found.numbers, numbers)


def test_column_of_typeset_formats(
    benchmark: BenchmarkFixture, texts: list[str], numbers: NDArray[np.uint64]
) -> None:
    """The same with no-break spaces and en dashes."""
    typeset = [text.replace(" ", "\u00a0").replace("-", "\u2013") for text in texts]
    benchmark.extra_info["rows"] = ROWS
    found = benchmark(parse_column, pa.array(typeset), "RU")
    np.testing.assert_array_equal(found.numbers, numbers)


def test_column_of_integers(benchmark: BenchmarkFixture, numbers: NDArray[np.uint64]) -> None:
    """Whole numbers as integers, without a default region."""
    benchmark.extra_info["rows"] = ROWS
    found = benchmark(parse_column, pa.array(numbers))
    np.testing.assert_array_equal(found.numbers, numbers)


def test_one_by_one(
    benchmark: BenchmarkFixture, texts: list[str], numbers: NDArray[np.uint64]
) -> None:
    """The same texts through ``parse``."""
    benchmark.extra_info["rows"] = ROWS_ONE_BY_ONE
    some = texts[:ROWS_ONE_BY_ONE]
    found = benchmark(lambda: [parse(text, "RU").number for text in some])
    assert found == numbers[:ROWS_ONE_BY_ONE].tolist()


def test_library_one_by_one(
    benchmark: BenchmarkFixture, texts: list[str], numbers: NDArray[np.uint64]
) -> None:
    """The yardstick: the same texts through phonenumbers, parsed and found possible."""

    def read(text: str) -> int:
        number = phonenumbers.parse(text, "RU")
        possible = phonenumbers.is_possible_number(number)
        return number.country_code * 10**10 + number.national_number if possible else 0

    benchmark.extra_info["rows"] = ROWS_ONE_BY_ONE
    some = texts[:ROWS_ONE_BY_ONE]
    found = benchmark(lambda: [read(text) for text in some])
    assert found == numbers[:ROWS_ONE_BY_ONE].tolist()
