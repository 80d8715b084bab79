"""Which source had the last word on a number, for numbers that increments have changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ENTRY = np.dtype([("number", "<u8"), ("source", "<u4")])


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedBy:
    """``numbers``: uint64[n], ascending and unique; ``source``: uint32[n], indexes of sources."""

    numbers: NDArray[np.uint64]
    source: NDArray[np.uint32]

    def find(self, number: int) -> int | None:
        """Return the index of the source that had the last word, None where none is known."""
        at = int(self.numbers.searchsorted(np.uint64(number)))
        if at < len(self.numbers) and int(self.numbers[at]) == number:
            return int(self.source[at])
        return None

    def then(self, numbers: NDArray[np.uint64], source: NDArray[np.uint32]) -> ChangedBy:
        """Return what holds after later sources: uint64[k] ascending and unique, uint32[k]."""
        older = ~np.isin(self.numbers, numbers)
        both = np.concatenate([self.numbers[older], numbers])
        order = both.argsort()
        return ChangedBy(
            numbers=both[order], source=np.concatenate([self.source[older], source])[order]
        )

    def encode(self) -> bytes:
        """Return the entries as the file keeps them: 12 bytes each."""
        entries = np.empty(len(self.numbers), _ENTRY)
        entries["number"] = self.numbers
        entries["source"] = self.source
        return entries.tobytes()


def decode_changed(data: bytes) -> ChangedBy:
    """Return the entries of a file, none where it keeps none."""
    entries = np.frombuffer(data, _ENTRY)
    return ChangedBy(
        numbers=np.ascontiguousarray(entries["number"], np.uint64),
        source=np.ascontiguousarray(entries["source"], np.uint32),
    )
