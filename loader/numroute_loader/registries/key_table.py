"""Numbers the distinct things that the rows of a file say, in the order in which they first come."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

KEYS_MAX = 2**20
"""How many distinct routes, names or codes one file may have. Real dumps have a few thousand."""

_Key = TypeVar("_Key")


class KeyTable(Generic[_Key]):
    """From the texts of a row's cells to an index into ``keys``.

    ``make`` turns the texts into a key, once for each distinct combination, and returns None when
    one of them is not what it should be.
    """

    def __init__(self, make: Callable[[tuple[bytes, ...]], _Key | None]) -> None:
        """Begin without any key."""
        self._make = make
        self._index: dict[tuple[bytes, ...], int] = {}
        self.keys: list[_Key] = []

    def indexes_of(self, rows: Sequence[tuple[bytes, ...]]) -> NDArray[np.uint32] | None:
        """Return the index of each combination, uint32; None when one is bad or they are too many.

        Combinations that were not bad before the bad one stay in the table.
        """
        indexes = np.empty(len(rows), np.uint32)
        for place, texts in enumerate(rows):
            index = self._index.get(texts)
            if index is None:
                key = self._make(texts)
                if key is None or len(self.keys) >= KEYS_MAX:
                    return None
                index = self._index[texts] = len(self.keys)
                self.keys.append(key)
            indexes[place] = index
        return indexes
