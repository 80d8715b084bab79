"""A snapshot's records with some of them changed: what increments make of a snapshot.

Nothing is rebuilt from numbers. The bitmap is copied with the ranks moved on by as many records as
came or went before, and only the chunks in which something changed are worked out again; columns
are copied in the stretches between the changes. Ranges stay as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from numroute.index.compare import Kind, operator_key, route_key
from numroute.index.layout import (
    BIT_BITS,
    CELLS,
    CELLS_PER_CHUNK,
    CHUNK_SHIFT,
    CHUNKS,
    CHUNKS_PER_PAGE,
    PAGE_SHIFT,
    PAGES,
    ROUTE,
)

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator, Mapping

    from numpy.typing import NDArray

    from numroute.index.content import Patch
    from numroute.index.snapshot import Snapshot

_BLOCKS_AT_ONCE = 256
"""Chunks copied together: 4 MiB of cells, which stay in cache while their ranks are moved on."""

_ONE = np.uint64(1)
_LOW_HALF = np.uint64(0xFFFF_FFFF)
_RANK_SHIFT = np.uint64(32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where numbers stand in the records of a snapshot.

    ``member``: bool[n], whether the number has a record. ``rank``: int64[n], how many records lie
    before it. ``block``: int64[n], the block of cells of its chunk, 0 = the chunk is not in use.
    """

    member: NDArray[np.bool_]
    rank: NDArray[np.int64]
    block: NDArray[np.int64]


class RecordMap:
    """The records' bitmap of a snapshot, for finding many numbers and for changing some."""

    def __init__(self, arrays: Mapping[str, NDArray[Any]], records: int) -> None:
        """Read the page and chunk tables; ``arrays`` are a snapshot's, by key."""
        self._pages = arrays[PAGES]
        self._chunks = arrays[CHUNKS]
        self._cells = arrays[CELLS]
        self.records = records
        # The chunks in use, in number order, whatever the order of their blocks is.
        ids, blocks = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
        for page in np.flatnonzero(self._pages).tolist():
            begin = int(self._pages[page]) * CHUNKS_PER_PAGE
            table = self._chunks[begin : begin + CHUNKS_PER_PAGE]
            used = np.flatnonzero(table)
            ids.append(used + (page << (PAGE_SHIFT - CHUNK_SHIFT)))
            blocks.append(table[used].astype(np.int64))
        self.chunk_ids = np.concatenate(ids)
        self.chunk_blocks = np.concatenate(blocks)
        self.first_ranks = (self._cells[self.chunk_blocks * CELLS_PER_CHUNK] >> _RANK_SHIFT).astype(
            np.int64
        )

    def find(self, numbers: NDArray[np.uint64]) -> Places:
        """Return the places of numbers (uint64[n])."""
        chunk = (numbers >> np.uint64(CHUNK_SHIFT)).astype(np.int64)
        at = self.chunk_ids.searchsorted(chunk)
        # Behind the last chunk in use nothing follows: all records lie before.
        ids = np.append(self.chunk_ids, -1)
        in_use = ids[at] == chunk
        block = np.where(in_use, np.append(self.chunk_blocks, 0)[at], 0)
        cell = self._cells[block * CELLS_PER_CHUNK + _cell_in_chunk(numbers)]
        below = (_ONE << _bit(numbers)) - _ONE
        within = (cell >> _RANK_SHIFT) + np.bitwise_count(cell & below)
        return Places(
            member=(cell >> _bit(numbers)) & _ONE != 0,
            rank=np.where(
                in_use, within.astype(np.int64), np.append(self.first_ranks, self.records)[at]
            ),
            block=block,
        )

    def blocks(self, chunks_at_once: int = 16) -> Iterator[tuple[NDArray[np.uint64], int]]:
        """Yield the numbers of all records, ascending, with the rank of the first of each piece."""
        for begin in range(0, len(self.chunk_ids), chunks_at_once):
            ids = self.chunk_ids[begin : begin + chunks_at_once]
            blocks = self.chunk_blocks[begin : begin + chunks_at_once]
            cells = self._cells.reshape(-1, CELLS_PER_CHUNK)[blocks]
            bits = np.unpackbits(cells.astype("<u4").view(np.uint8), axis=1, bitorder="little")
            row, within = np.nonzero(bits)
            numbers = (ids[row] << CHUNK_SHIFT) + within
            yield numbers.view(np.uint64), int(self.first_ranks[begin])


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """A patch held against a snapshot: only what makes a difference to which numbers have records.

    ``rank``: int64[c], ascending: the position of each change among the old records.
    ``replaces``: bool[c], whether the record at that position goes. ``source``: int64[c], the entry
    of the patch whose values stand there afterwards, -1 where none does.
    """

    rank: NDArray[np.int64]
    replaces: NDArray[np.bool_]
    source: NDArray[np.int64]


CONFIRMED = 255
"""The kind of a number that a patch leaves as it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What a patch changes in a snapshot; all arrays have an entry per number of the patch.

    ``kind``: uint8, values of :class:`Kind`, or ``CONFIRMED``. ``before``, ``after``: int64, rows
    of the patch's route table; where there is no record, what the ranges say.
    ``ported_before``: how many records the snapshot has.
    """

    kind: NDArray[np.uint8]
    before: NDArray[np.int64]
    after: NDArray[np.int64]
    ported_before: int

    def count(self, kind: int) -> int:
        """Return how many numbers of a kind there are."""
        return int(np.count_nonzero(self.kind == kind))

    @property
    def ported_after(self) -> int:
        """How many records there are after the patch."""
        return self.ported_before + self.count(Kind.PORTED) - self.count(Kind.RETURNED)


def effect_of(patch: Patch, snapshot: Snapshot) -> Effect:
    """Return what a patch changes in a snapshot."""
    route = snapshot.arrays[ROUTE]
    member = RecordMap(snapshot.arrays, len(route)).find(patch.numbers).member
    answers = snapshot.lookup(patch.numbers, range_route=True, overrides=False)
    if answers.range_route is None:
        raise AssertionError("it was asked for")
    before = answers.route.astype(np.int64)
    after = np.where(patch.present, patch.number_route, answers.range_route).astype(np.int64)
    operator = _ids(operator_key(route.operator) for route in patch.routes)
    whole = _ids(route_key(route) for route in patch.routes)
    kind = np.full(len(patch.numbers), CONFIRMED, np.uint8)
    both = member & patch.present
    kind[both & (whole[before] != whole[after])] = Kind.UPDATED
    kind[both & (operator[before] != operator[after])] = Kind.MOVED
    kind[~member & patch.present] = Kind.PORTED
    kind[member & ~patch.present] = Kind.RETURNED
    return Effect(kind=kind, before=before, after=after, ported_before=len(route))


def _ids(keys: Iterable[Hashable]) -> NDArray[np.int64]:
    place: dict[Hashable, int] = {}
    return np.array([place.setdefault(key, len(place)) for key in keys], np.int64)


class PatchedRecords:
    """The arrays of the records after a patch."""

    def __init__(self, arrays: Mapping[str, NDArray[Any]], records: int, patch: Patch) -> None:
        """Hold the patch against the snapshot's ``arrays``, which have so many ``records``."""
        self._patch = patch
        self._map = RecordMap(arrays, records)
        self.places = self._map.find(patch.numbers)
        member, present = self.places.member, patch.present
        changed = np.flatnonzero(member | present)
        self.changes = Changes(
            rank=self.places.rank[changed],
            replaces=member[changed],
            source=np.where(present[changed], changed, -1),
        )
        self._gain = present.astype(np.int64) - member
        self.records = records + int(self._gain.sum())
        self.pages, self.chunks, self._new_block = self._with_new_chunks(arrays)
        self._cells = arrays[CELLS]

    @property
    def cell_count(self) -> int:
        """How many cells there are afterwards."""
        return len(self._cells) + len(self._new_chunks) * CELLS_PER_CHUNK

    def column(
        self,
        old: NDArray[np.unsignedinteger],
        values: NDArray[np.unsignedinteger] | None,
        dtype: np.dtype[Any],
    ) -> Iterator[NDArray[np.unsignedinteger]]:
        """Yield the pieces of a column: stretches of the old one, and values of the patch.

        ``values`` has an entry per number of the patch; None stands for zeros. ``dtype`` is what
        the column becomes, at least as wide as it was.
        """
        source = self.changes.source
        fresh = (
            np.zeros(len(source), dtype) if values is None else values.astype(dtype).take(source)
        )
        begin = 0
        for i, (rank, replaces, entry) in enumerate(
            zip(
                self.changes.rank.tolist(),
                self.changes.replaces.tolist(),
                source.tolist(),
                strict=True,
            )
        ):
            if rank > begin:
                yield old[begin:rank].astype(dtype, copy=False)
            if entry >= 0:
                yield fresh[i : i + 1]
            begin = rank + replaces
        yield old[begin:].astype(dtype, copy=False)

    def cells(self) -> Iterator[NDArray[np.uint64]]:
        """Yield the cells, some blocks at a time."""
        blocks = len(self._cells) // CELLS_PER_CHUNK
        gained = self._gained_before(blocks + len(self._new_chunks))
        touched = np.unique(self._block_of_entry[self._gain != 0])
        for begin in range(0, blocks, _BLOCKS_AT_ONCE):
            end = min(begin + _BLOCKS_AT_ONCE, blocks)
            part = self._cells[begin * CELLS_PER_CHUNK : end * CELLS_PER_CHUNK]
            here = touched[(touched >= begin) & (touched < end)]
            if len(here) or gained[begin:end].any():
                grid = part.reshape(-1, CELLS_PER_CHUNK)
                grid = grid + (gained[begin:end, None] << 32).view(np.uint64)
                if len(here):
                    grid[here - begin] = self._reworked(here, grid[here - begin])
                part = grid.reshape(-1)
            yield part
        if len(self._new_chunks):
            fresh = np.arange(blocks, blocks + len(self._new_chunks))
            first = self._first_rank_of_new + gained[fresh]
            empty = np.zeros((len(fresh), CELLS_PER_CHUNK), np.uint64)
            empty |= (first.astype(np.uint64) << _RANK_SHIFT)[:, None]
            yield self._reworked(fresh, empty).reshape(-1)

    def _with_new_chunks(
        self, arrays: Mapping[str, NDArray[Any]]
    ) -> tuple[NDArray[np.uint32], NDArray[np.uint32], int]:
        """Give a slot to each page and a block to each chunk that comes into use.

        New slots and blocks follow the old ones, so that nothing moves.
        """
        patch = self._patch
        pages, chunks = arrays[PAGES], arrays[CHUNKS]
        chunk_of_entry = (patch.numbers >> np.uint64(CHUNK_SHIFT)).astype(np.int64)
        comes = patch.present & (self.places.block == 0)
        self._new_chunks, first = np.unique(chunk_of_entry[comes], return_index=True)
        self._first_rank_of_new = self.places.rank[comes][first]
        page_of_new = self._new_chunks >> (PAGE_SHIFT - CHUNK_SHIFT)
        if len(page_of_new):
            pages = np.append(
                pages, np.zeros(max(0, int(page_of_new[-1]) + 1 - len(pages)), pages.dtype)
            )
            new_pages = np.unique(page_of_new[pages[page_of_new] == 0])
            slots = len(chunks) // CHUNKS_PER_PAGE
            pages[new_pages] = np.arange(slots, slots + len(new_pages))
            chunks = np.append(chunks, np.zeros(len(new_pages) * CHUNKS_PER_PAGE, chunks.dtype))
            first_block = len(arrays[CELLS]) // CELLS_PER_CHUNK
            within = self._new_chunks & (CHUNKS_PER_PAGE - 1)
            chunks[pages[page_of_new].astype(np.int64) * CHUNKS_PER_PAGE + within] = np.arange(
                first_block, first_block + len(self._new_chunks)
            )
        self.new_slots = len(chunks) // CHUNKS_PER_PAGE - len(arrays[CHUNKS]) // CHUNKS_PER_PAGE
        self._block_of_entry = self.places.block.copy()
        if len(self._new_chunks):
            at = self._new_chunks.searchsorted(chunk_of_entry[comes])
            self._block_of_entry[comes] = len(arrays[CELLS]) // CELLS_PER_CHUNK + at
        return pages, chunks, len(self._new_chunks)

    def _gained_before(self, blocks: int) -> NDArray[np.int64]:
        """Return int64[blocks]: how many records more lie before each block than did."""
        gained = np.zeros(blocks, np.int64)
        before = np.concatenate([[0], np.cumsum(self._gain)])
        for chunk_ids, at in (
            (self._map.chunk_ids, self._map.chunk_blocks),
            (self._new_chunks, np.arange(blocks - len(self._new_chunks), blocks)),
        ):
            first_number = chunk_ids.astype(np.uint64) << np.uint64(CHUNK_SHIFT)
            gained[at] = before[self._patch.numbers.searchsorted(first_number)]
        return gained

    def _reworked(self, blocks: NDArray[np.int64], grid: NDArray[np.uint64]) -> NDArray[np.uint64]:
        """Set and clear the bits of blocks (uint64[blocks, 2048]) and count their ranks again.

        The rank in the first cell of each is right already.
        """
        block = self._block_of_entry
        entries = np.flatnonzero((self._gain != 0) & np.isin(block, blocks))
        numbers = self._patch.numbers[entries]
        row = np.searchsorted(blocks, block[entries])
        bits = grid & _LOW_HALF
        # What comes was not there and what goes was: turning the bit over does both.
        np.bitwise_xor.at(bits, (row, _cell_in_chunk(numbers)), _ONE << _bit(numbers))
        count = np.bitwise_count(bits).astype(np.uint64)
        rank = np.cumsum(count, axis=1)
        rank -= count
        rank += grid[:, :1] >> _RANK_SHIFT
        return bits | (rank << _RANK_SHIFT)


def _cell_in_chunk(numbers: NDArray[np.uint64]) -> NDArray[np.int64]:
    return ((numbers >> np.uint64(BIT_BITS)) & np.uint64(CELLS_PER_CHUNK - 1)).astype(np.int64)


def _bit(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    return numbers & np.uint64((1 << BIT_BITS) - 1)
