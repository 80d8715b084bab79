"""An exact set of phone numbers that takes a bit per number where a list is dense.

A stretch of 65,536 numbers gets a bitmap of 8 KiB when one of them first occurs: lists of one
country touch a few thousand stretches. When the memory set aside for bitmaps is used up (a list of
scattered foreign numbers), numbers of new stretches go into sorted runs, eight bytes each, merged
as they grow. So do numbers of more than 13 digits, which are rare. Both answers are exact.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

_CHUNK_BITS: Final = 16
_CHUNK_BYTES: Final = (1 << _CHUNK_BITS) // 8
_STRETCHES: Final = 10**13 >> _CHUNK_BITS
_GROWTH_CHUNKS: Final = 1024

BITMAP_BYTES_MAX: Final = 512 * 2**20
"""Memory of all bitmaps: stretches of 4.3 billion numbers, three times the Russian plan."""

RUN_NUMBERS_MAX: Final = 16_000_000
"""Runs are merged up to this length: sorting one takes 192 MB at most, and a list of a hundred
million scattered numbers has a dozen of them."""

_PIECE_NUMBERS: Final = 16_384
"""Numbers worked on at once: their temporaries stay in cache."""

_NOWHERE: Final = 0
"""The chunk of stretches without a bitmap; it stays empty."""


class NumberSet:
    """A set of whole numbers of at most 15 digits; one thread at a time may change it."""

    def __init__(self, *, bitmap_bytes_max: int = BITMAP_BYTES_MAX) -> None:
        """Start empty."""
        self._chunks_max = max(1, bitmap_bytes_max // _CHUNK_BYTES - 1)
        # The chunk of each stretch; untouched zero pages take no memory. The last one stays free.
        self._chunks = np.zeros(_STRETCHES + 1, np.uint16)
        self._bits = np.zeros(_GROWTH_CHUNKS * _CHUNK_BYTES, np.uint8)
        self._used_chunks = 1
        self._runs: list[NDArray[np.uint64]] = []

    def contains(self, numbers: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Return bool[n], which of the numbers (uint64[n]) are in the set."""
        chunk = self._chunk_of(numbers)
        place, bit = _place(chunk, numbers)
        found: NDArray[np.bool_] = (self._bits.take(place) & bit) != 0
        if self._runs:
            sparse = np.flatnonzero(chunk == _NOWHERE)
            found[sparse] = self._in_runs(numbers.take(sparse))
        return found

    def add(self, numbers: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Add numbers (uint64[n]); return bool[n], which were new, only the first of equal ones."""
        new = np.empty(len(numbers), np.bool_)
        for begin in range(0, len(numbers), _PIECE_NUMBERS):
            piece = slice(begin, begin + _PIECE_NUMBERS)
            new[piece] = self._add_piece(numbers[piece])
        return new

    def _add_piece(self, numbers: NDArray[np.uint64]) -> NDArray[np.bool_]:
        new = first_of_equal(numbers)
        chunk = self._chunk_of(numbers)
        if (chunk == _NOWHERE).any():
            self._open_chunks(numbers[chunk == _NOWHERE])
            chunk = self._chunk_of(numbers)
        place, bit = _place(chunk, numbers)
        new &= (self._bits.take(place) & bit) == 0
        sparse = np.flatnonzero(new & (chunk == _NOWHERE))
        if len(sparse):
            is_known = self._in_runs(numbers.take(sparse))
            new[sparse[is_known]] = False
            self._add_run(numbers.take(sparse[~is_known]))
        chosen = np.flatnonzero(new & (chunk != _NOWHERE))
        self._set(place.take(chosen), bit.take(chosen))
        return new

    def _chunk_of(self, numbers: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Return each number's chunk; _NOWHERE where its stretch has no bitmap."""
        stretch = (numbers >> np.uint64(_CHUNK_BITS)).view(np.int64)
        return self._chunks.take(stretch, mode="clip").astype(np.int64)

    def _open_chunks(self, numbers: NDArray[np.uint64]) -> None:
        """Give bitmaps to the stretches of these numbers, in ascending order, as far as they go."""
        stretches = np.unique(numbers >> np.uint64(_CHUNK_BITS)).view(np.int64)
        stretches = stretches[stretches < _STRETCHES]
        stretches = stretches[: max(0, self._chunks_max - self._used_chunks + 1)]
        end = self._used_chunks + len(stretches)
        self._chunks[stretches] = np.arange(self._used_chunks, end)
        self._used_chunks = end
        if end * _CHUNK_BYTES > len(self._bits):
            grown = max(end, min(2 * len(self._bits) // _CHUNK_BYTES, self._chunks_max + 1))
            # Untouched zero pages take no memory; what is in use is copied once per doubling.
            bits = np.zeros(grown * _CHUNK_BYTES, np.uint8)
            bits[: len(self._bits)] = self._bits
            self._bits = bits

    def _set(self, place: NDArray[np.int64], bit: NDArray[np.uint8]) -> None:
        """Set bits. Of those that share a byte only one is set at a time: at most eight rounds."""
        while len(place):
            self._bits[place] |= bit
            missing = np.flatnonzero((self._bits.take(place) & bit) == 0)
            place, bit = place.take(missing), bit.take(missing)

    def _in_runs(self, numbers: NDArray[np.uint64]) -> NDArray[np.bool_]:
        found = np.zeros(len(numbers), np.bool_)
        order = numbers.argsort()
        keys = numbers.take(order)
        for run in self._runs:
            at = run.searchsorted(keys)
            found[order] |= run.take(at, mode="clip") == keys
        return found

    def _add_run(self, numbers: NDArray[np.uint64]) -> None:
        """Add distinct new numbers as a run; merge runs until each is twice the next, or long."""
        if not len(numbers):
            return
        self._runs.append(np.sort(numbers))
        while len(self._runs) > 1:
            before, last = self._runs[-2:]
            length = len(before) + len(last)
            if len(before) >= 2 * len(last) or length > RUN_NUMBERS_MAX:
                return
            # A stable sort finds the two runs and merges them.
            self._runs[-2:] = [np.sort(np.concatenate([before, last]), kind="stable")]


def first_of_equal(numbers: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Return bool[n]: whether each number (uint64[n]) is the first of its equals.

    Every number writes its place into a slot of a table, the last ones first, so that each slot
    holds the first of its numbers. Different numbers that share a slot are few and take another
    round.
    """
    n = len(numbers)
    first = np.zeros(n, np.bool_)
    size_bits = max(4, int(n - 1).bit_length() + 2) if n else 4
    table = np.empty(1 << size_bits, np.int32)
    places = np.arange(n, dtype=np.int32)
    keys, multiplier = numbers, 0x9E3779B97F4A7C15
    while len(keys):
        slot = ((keys * np.uint64(multiplier)) >> np.uint64(64 - size_bits)).view(np.int64)
        here = np.arange(len(keys), dtype=np.int32)
        # Of equal indexes numpy leaves the last value behind.
        table[slot[::-1]] = here[::-1]
        owner = table.take(slot)
        first[places[owner == here]] = True
        others = np.flatnonzero(keys.take(owner) != keys)
        places, keys = places.take(others), keys.take(others)
        multiplier = (multiplier * 0x2545F4914F6CDD1D + 2) & 0xFFFFFFFFFFFFFFFF | 1
    return first


def _place(
    chunk: NDArray[np.int64], numbers: NDArray[np.uint64]
) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Return each number's byte in the bitmaps and its bit in the byte."""
    within = (numbers & np.uint64((1 << _CHUNK_BITS) - 1)).view(np.int64)
    bit = np.left_shift(np.uint8(1), (within & 7).astype(np.uint8))
    return chunk * _CHUNK_BYTES + (within >> 3), bit
