"""Numbers the distinct things that a file's rows say, in the order in which they first come."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np

from numroute.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

KEYS_MAX = 2**20
"""How many distinct routes, names or codes one file may have. Real dumps have a few thousand."""

_Key = TypeVar("_Key", bound="Hashable")


class KeyTable(Generic[_Key]):
    """From the texts of a row's cells to an index into ``keys``, where no two are the same.

    ``make`` turns the texts into a key, once for each distinct combination, and returns None when
    one of them is not what it should be.
    """

    def __init__(self, path: Path, make: Callable[[tuple[bytes, ...]], _Key | None]) -> None:
        """Begin without any key."""
        self._path = path
        self._make = make
        self._index_of_texts: dict[tuple[bytes, ...], int] = {}
        self._index_of_key: dict[_Key, int] = {}

    @property
    def keys(self) -> tuple[_Key, ...]:
        """The keys so far."""
        return tuple(self._index_of_key)

    def indexes_of(self, rows: Sequence[tuple[bytes, ...]]) -> NDArray[np.uint32] | None:
        """Return the index of each combination, uint32; None when one of them is bad.

        Raises ``InputError`` when the file has more distinct combinations than any dump.
        """
        known = self._index_of_texts.get
        indexes = [known(texts, -1) for texts in rows]
        for place, index in enumerate(indexes):
            if index < 0:
                key = self._make(rows[place])
                if key is None:
                    return None
                indexes[place] = self._add(rows[place], key)
        return np.array(indexes, np.uint32)

    def _add(self, texts: tuple[bytes, ...], key: _Key) -> int:
        index = self._index_of_key.setdefault(key, len(self._index_of_key))
        self._index_of_texts[texts] = index
        if len(self._index_of_texts) > KEYS_MAX:
            raise InputError(
                self._path,
                f"the rows have more than {KEYS_MAX} distinct combinations of codes or names",
                hint="This is not a registry's dump",
            )
        return index
