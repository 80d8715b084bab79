"""The records of a file while they are gathered: growing columns, keys, and the final order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np

from numroute.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable
    from pathlib import Path

    from numpy.typing import DTypeLike, NDArray

    from numroute_loader.reading.columns import Codes

KEYS_MAX = 2**20
"""How many distinct routes, names or codes one file may have. Real dumps have a few thousand."""

_ROOM_MIN = 1024
_WIDE = 2**16

_Key = TypeVar("_Key", bound="Hashable")


class Column:
    """An array that grows by doubling. Reserved room that is not filled takes no memory."""

    def __init__(self, dtype: DTypeLike, room: int = 0) -> None:
        """Reserve ``room`` entries."""
        self._array: NDArray[Any] = np.empty(max(room, _ROOM_MIN), dtype)
        self._size = 0

    def append(self, values: NDArray[Any], kept: NDArray[np.bool_] | None = None) -> None:
        """Add the values, or those that are ``kept``, at the end."""
        if kept is not None:
            values = values[kept]
        end = self._size + len(values)
        if end > len(self._array):
            grown = np.empty(max(end, 2 * len(self._array)), self._array.dtype)
            grown[: self._size] = self.filled
            self._array = grown
        self._array[self._size : end] = values
        self._size = end

    def widen(self, largest: int) -> None:
        """Make the entries four bytes wide when ``largest`` needs it."""
        if largest >= _WIDE and self._array.dtype != np.uint32:
            self._array = self._array.astype(np.uint32)

    def reorder(self, order: NDArray[np.intp]) -> None:
        """Keep the entries at these places only, in this order."""
        kept = self.filled[order]
        self._size = len(kept)
        self._array[: self._size] = kept

    @property
    def filled(self) -> NDArray[Any]:
        """The entries so far, as a view."""
        return self._array[: self._size]


class KeyColumn(Column, Generic[_Key]):
    """A column of indexes into ``keys``: the distinct keys that the texts of the rows stand for.

    ``make`` turns texts into a key, once for each distinct combination.
    """

    def __init__(
        self, path: Path, make: Callable[[tuple[bytes, ...]], _Key], room: int = 0
    ) -> None:
        """Reserve ``room`` entries."""
        super().__init__(np.uint16, room)
        self._path = path
        self._make = make
        self._index_of_texts: dict[tuple[bytes, ...], int] = {}
        self._index_of_key: dict[_Key, int] = {}

    @property
    def keys(self) -> tuple[_Key, ...]:
        """The keys so far, in the order in which they were first seen."""
        return tuple(self._index_of_key)

    def append_texts(self, texts: Codes, kept: NDArray[np.bool_] | None = None) -> None:
        """Add the rows of a block; raises InputError for more combinations than any dump has."""
        known = self._index_of_texts
        indexes = [known.get(cells, -1) for cells in texts.texts]
        for place, index in enumerate(indexes):
            if index < 0:
                key = self._make(texts.texts[place])
                indexes[place] = self._index_of_key.setdefault(key, len(self._index_of_key))
                known[texts.texts[place]] = indexes[place]
        if len(known) > KEYS_MAX:
            raise InputError(
                self._path,
                f"the rows have more than {KEYS_MAX} distinct combinations of codes or names",
                hint="This is not a registry's dump",
            )
        self.widen(max(indexes, default=0))
        self.append(np.array(indexes, self._array.dtype).take(texts.index), kept)


class RecordOrder:
    """Numbers in the order of the file, those that went home apart, and whether they ascend."""

    def __init__(self, room: int) -> None:
        """Reserve ``room`` rows; more may come."""
        self.numbers = Column(np.uint64, room)
        self.home = Column(np.uint64)
        self._ascending = True
        self._last = -1

    @property
    def rows(self) -> int:
        """How many rows there are, those that went home among them."""
        return len(self.numbers.filled) + len(self.home.filled)

    def append(self, numbers: NDArray[np.uint64], kept: NDArray[np.bool_] | None = None) -> None:
        """Add the numbers of a block's rows; those not ``kept`` are only remembered as seen."""
        if not numbers.size:
            return
        self._ascending &= int(numbers[0]) > self._last and bool((numbers[1:] > numbers[:-1]).all())
        self._last = int(numbers[-1])
        self.numbers.append(numbers, kept)
        if kept is not None:
            self.home.append(numbers, ~kept)

    def drop_earlier(self, time: NDArray[np.uint32] | None, *columns: Column) -> int:
        """Keep of each number the record with the latest time, and sort; return how many went.

        Where two have the same time, or none, the one that comes later in the file is kept.
        """
        if self._ascending:
            return 0
        numbers = self.numbers.filled
        order = np.lexsort((np.zeros_like(numbers) if time is None else time, numbers))
        ordered = numbers[order]
        last = np.append(ordered[1:] != ordered[:-1], np.ones(min(1, len(ordered)), np.bool_))
        dropped = len(numbers) - int(np.count_nonzero(last))
        for column in (self.numbers, *columns):
            column.reorder(order[last])
        return dropped

    def sort(self, *columns: Column) -> int | None:
        """Put the numbers and the columns in ascending order; return a duplicate number, if any.

        A dump that ascends already is left as it is, and holds no duplicate.
        """
        if self._ascending:
            return None
        order = np.argsort(self.numbers.filled)
        for column in (self.numbers, *columns):
            column.reorder(order)
        del order
        numbers, home = self.numbers.filled, np.sort(self.home.filled)
        for ordered in (numbers, home):
            same = np.flatnonzero(ordered[1:] == ordered[:-1])
            if same.size:
                return int(ordered[same[0]])
        both = np.intersect1d(numbers, home, assume_unique=True) if home.size else home
        return int(both[0]) if both.size else None
