"""The records of a dump while they are gathered: growing columns, and one order at the end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

_ROOM_MIN = 1024
_WIDE = 2**16


class Column:
    """An array that grows by doubling. Reserved room that is not filled takes no memory."""

    def __init__(self, dtype: DTypeLike, room: int = 0) -> None:
        """Reserve ``room`` entries."""
        self._array: NDArray[Any] = np.empty(max(room, _ROOM_MIN), dtype)
        self._size = 0

    def append(self, values: NDArray[Any]) -> None:
        """Add the values at the end, in the column's type or a wider one when they need it."""
        end = self._size + len(values)
        if end > len(self._array):
            grown = np.empty(max(end, 2 * len(self._array)), self._array.dtype)
            grown[: self._size] = self.filled
            self._array = grown
        self._array[self._size : end] = values
        self._size = end

    def append_taken(self, table: NDArray[np.uint32], index: NDArray[np.int32]) -> None:
        """Add ``table[index]``; the column becomes four bytes wide when the table needs it."""
        if self._array.dtype != np.uint32 and table.size and int(table.max()) >= _WIDE:
            self._array = self._array.astype(np.uint32)
        self.append(table.astype(self._array.dtype).take(index))

    def keep(self, wanted: NDArray[np.intp]) -> None:
        """Keep the entries at these places only, in this order."""
        kept = self.filled[wanted]
        self._size = len(kept)
        self._array[: self._size] = kept

    @property
    def filled(self) -> NDArray[Any]:
        """The entries so far, as a view."""
        return self._array[: self._size]


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockNumbers:
    """The numbers of a block's rows, uint64[n], and whether they ascend without a duplicate."""

    numbers: NDArray[np.uint64]
    ascending: bool

    @classmethod
    def of(cls, numbers: NDArray[np.uint64]) -> BlockNumbers:
        """Look whether the numbers ascend."""
        return cls(numbers=numbers, ascending=bool((numbers[1:] > numbers[:-1]).all()))


class RecordColumns:
    """Numbers with their routes, and the optional columns, in the order of the file.

    ``numbers``: uint64; ``route``, ``donor``: uint16 or uint32; ``ported_at``: uint32. A
    column that the dump does not have is None.
    """

    def __init__(self, room: int, *, ported_at: bool, donor: bool) -> None:
        """Reserve ``room`` rows; more may come."""
        self.numbers = Column(np.uint64, room)
        self.route = Column(np.uint16, room)
        self.ported_at = Column(np.uint32, room) if ported_at else None
        self.donor = Column(np.uint16, room) if donor else None
        self._home = Column(np.uint64, 0)
        self._ascending = True
        self._last = -1
        self.rows = 0

    @property
    def returned_home(self) -> int:
        """How many rows were left out."""
        return len(self._home.filled)

    def append_numbers(self, block: BlockNumbers, kept: NDArray[np.bool_] | None) -> None:
        """Add the numbers of a block's rows; those not ``kept`` are only remembered as seen."""
        numbers = block.numbers
        if not numbers.size:
            return
        self._ascending &= block.ascending and int(numbers[0]) > self._last
        self._last = int(numbers[-1])
        self.rows += len(numbers)
        if kept is None:
            self.numbers.append(numbers)
        else:
            self.numbers.append(numbers[kept])
            self._home.append(numbers[~kept])

    def drop_earlier(self) -> int:
        """Keep of each number the record with the latest time, and sort; return how many went.

        Where two have the same time, or none, the one that stands later in the file is kept.
        """
        if self._ascending:
            return 0
        numbers = self.numbers.filled
        time = self.ported_at.filled if self.ported_at is not None else np.zeros_like(numbers)
        order = np.lexsort((time, numbers))
        ordered = numbers[order]
        last = np.append(ordered[1:] != ordered[:-1], np.ones(min(1, len(ordered)), np.bool_))
        kept = order[last]
        dropped = len(numbers) - len(kept)
        for column in (self.numbers, self.route, self.ported_at, self.donor):
            if column is not None:
                column.keep(kept)
        return dropped

    def sort(self) -> int | None:
        """Put the records in ascending order of number; return a duplicate number if there is one.

        A dump that ascends already is left as it is, and holds no duplicate.
        """
        if self._ascending:
            return None
        numbers = self.numbers.filled
        order = np.argsort(numbers)
        for column in (self.numbers, self.route, self.ported_at, self.donor):
            if column is not None:
                column.filled[:] = column.filled[order]
        del order
        home = np.sort(self._home.filled)
        for ordered in (numbers, home):
            same = np.flatnonzero(ordered[1:] == ordered[:-1])
            if same.size:
                return int(ordered[same[0]])
        if numbers.size and home.size:
            at = np.minimum(np.searchsorted(numbers, home), numbers.size - 1)
            both = home[numbers[at] == home]
            if both.size:
                return int(both[0])
        return None
