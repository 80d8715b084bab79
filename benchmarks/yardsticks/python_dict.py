"""A Python dict of the ported numbers: the way without any library."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


class DictPerNumber:
    """A dict from number to fact, held in memory."""

    def __init__(self, numbers: NDArray[np.uint64], facts: NDArray[np.uint32]) -> None:
        """Fill it with uint64[n] numbers and uint32[n] facts."""
        self._facts = dict(zip(numbers.tolist(), facts.tolist(), strict=True))

    def get(self, numbers: Sequence[int]) -> list[int | None]:
        """Look numbers up; they are Python integers beforehand, so that only the dict is timed."""
        return list(map(self._facts.get, numbers))


def keys_of(numbers: NDArray[np.uint64]) -> list[int]:
    """Return numbers as keys."""
    keys: list[int] = numbers.tolist()
    return keys


def check(values: Sequence[int | None], expected: NDArray[np.uint32]) -> None:
    """Assert that these are the values of numbers with these facts."""
    assert np.array_equal(np.array(values, np.uint32), expected)
