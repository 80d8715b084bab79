"""A snapshot's content with some of its records changed: what increments make of a snapshot.

Nothing is rebuilt from numbers. The bitmap is copied with the ranks moved on by as many records as
came or went before, and only the chunks in which something changed are worked out again; columns
are copied in the stretches between the changes. Ranges stay as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from numroute.index import kernel
from numroute.index.file import ContentError, StoredArray
from numroute.index.layout import (
    BIT_BITS,
    CELLS,
    CELLS_PER_CHUNK,
    CHANGED,
    CHUNK_SHIFT,
    CHUNKS,
    CHUNKS_PER_PAGE,
    DONOR,
    GRANULES,
    GRANULES_PER_PAGE,
    PAGE_SHIFT,
    PAGES,
    PORTED_AT,
    RANGE_ROUTE,
    RECORDS_MAX,
    ROUTE,
    UNALLOCATED_ROW,
    mixed_marker,
    route_dtype,
    smallest_unsigned,
)
from numroute.index.tables import encode_routes
from numroute.model import NUMBER_MAX

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from numroute.index.content import Patch
    from numroute.index.snapshot import Snapshot

_BLOCKS_AT_ONCE = 256
"""Chunks copied together: 4 MiB of cells, which stay in cache while their ranks are moved on."""

_ONE = np.uint64(1)
_LOW_HALF = np.uint64(0xFFFF_FFFF)
_RANK_SHIFT = np.uint64(32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Patched:
    """The content of a snapshot with a patch applied; ``base`` must stay open until it is written.

    A column that the base does not have is not added.
    """

    base: Snapshot
    patch: Patch


def check_patch(content: Patched) -> None:
    """Raise ContentError when a patch breaks a rule of the format."""
    patch, base = content.patch, content.base
    rows, numbers = len(base.routes), patch.numbers
    rules = {
        "the route table begins with the rows of the snapshot": tuple(patch.routes[:rows])
        == tuple(base.routes[row] for row in range(rows)),
        "the donors begin with those of the snapshot": patch.donor is None
        or tuple(patch.donors[: len(base.routes.donors)]) == base.routes.donors,
        "numbers ascend and are unique": bool((numbers[1:] > numbers[:-1]).all()),
        "numbers are whole E.164 numbers": len(numbers) == 0
        or (numbers[0] > 0 and int(numbers[-1]) <= NUMBER_MAX),
        "routes of numbers are rows": int(patch.number_route.max(initial=0)) < len(patch.routes),
        "one state, route, time and donor per number": all(
            values is None or len(values) == len(numbers)
            for values in (patch.present, patch.number_route, patch.ported_at, patch.donor)
        ),
    }
    for rule, kept in rules.items():
        if not kept:
            raise ContentError(f"the patch breaks the rule: {rule}")


def encode_patched(content: Patched) -> tuple[dict[str, StoredArray], dict[str, bytes]]:
    """Return every array and every table of a patched snapshot by key.

    Raises ContentError when the patch breaks a rule of the format.
    """
    check_patch(content)
    base, patch = content.base, content.patch
    old = base.arrays
    records = _PatchedRecords(base, patch)
    if records.records > RECORDS_MAX:
        raise ContentError(f"the snapshot's content breaks the rule: at most {RECORDS_MAX} records")
    of_ranges = route_dtype(len(patch.routes))
    new_granules = records.new_slots * GRANULES_PER_PAGE
    columns, tables = _new_routes(content)
    arrays = {key: StoredArray.of(array) for key, array in old.items()}
    arrays |= {key: StoredArray.of(array) for key, array in columns.items()}
    arrays |= {
        PAGES: StoredArray.of(records.pages),
        CHUNKS: StoredArray.of(records.chunks),
        CELLS: StoredArray(dtype=old[CELLS].dtype, length=records.cell_count, make=records.cells),
        RANGE_ROUTE: StoredArray.of(old[RANGE_ROUTE].astype(of_ranges, copy=False)),
        GRANULES: StoredArray(
            dtype=of_ranges,
            length=len(old[GRANULES]) + new_granules,
            make=partial(_granules, old[GRANULES], of_ranges, new_granules),
        ),
    }
    for key, values in (
        (ROUTE, patch.number_route),
        (PORTED_AT, patch.ported_at),
        (DONOR, patch.donor),
    ):
        if key in old:
            largest = int(values.max(initial=0)) if values is not None else 0
            dtype = np.promote_types(old[key].dtype, smallest_unsigned(largest))
            arrays[key] = StoredArray(
                dtype=dtype,
                length=records.records,
                make=partial(records.column, old[key], values, dtype),
            )
    if patch.source is not None:
        changed = base.changed_by().then(patch.numbers, patch.source)
        tables |= {CHANGED: changed.encode()}
    return arrays, base.tables_stored() | tables


def _new_routes(
    content: Patched,
) -> tuple[dict[str, NDArray[np.unsignedinteger]], dict[str, bytes]]:
    """Return the route table where the patch adds to it; else what is stored already will do."""
    routes, patch = content.base.routes, content.patch
    donors = patch.donors or routes.donors
    if len(patch.routes) == len(routes) and len(donors) == len(routes.donors):
        return {}, {}
    return encode_routes(patch.routes, donors)


def _granules(
    granules: NDArray[np.unsignedinteger], dtype: np.dtype[Any], new: int
) -> NDArray[np.unsignedinteger]:
    """Return granules in a type whose marker may be another one, and those of new slots."""
    if granules.dtype == dtype and not new:
        return granules
    all_granules = np.full(len(granules) + new, UNALLOCATED_ROW, dtype)
    all_granules[: len(granules)] = granules
    if granules.dtype != dtype:
        old_marker = mixed_marker(granules.dtype)
        all_granules[all_granules == old_marker] = mixed_marker(dtype)
    return all_granules


class _PatchedRecords:
    """The arrays of the records after a patch.

    ``_rank``, ``_replaces``, ``_entry``: for each change of the records, its position among the old
    ones, whether the record at that position goes, and the entry of the patch whose values stand
    there afterwards, -1 where none does.
    """

    def __init__(self, base: Snapshot, patch: Patch) -> None:
        self._patch = patch
        self._tables = base.tables
        self._cells = base.arrays[CELLS]
        member, rank = kernel.locate(base.tables, patch.numbers)
        changed = np.flatnonzero(member | patch.present)
        self._rank, self._replaces = rank[changed], member[changed]
        self._entry = np.where(patch.present[changed], changed, -1)
        self._gain = patch.present.astype(np.int64) - member
        self.records = len(base.arrays[ROUTE]) + int(self._gain.sum())
        self._chunk_ids, self._chunk_blocks = kernel.chunks_in_use(base.tables)
        self.pages, self.chunks = self._with_new_chunks(base.arrays, rank)

    @property
    def cell_count(self) -> int:
        """How many cells there are afterwards."""
        return len(self._cells) + len(self._new_chunks) * CELLS_PER_CHUNK

    def column(
        self,
        old: NDArray[np.unsignedinteger],
        values: NDArray[np.unsignedinteger] | None,
        dtype: np.dtype[Any],
    ) -> NDArray[np.unsignedinteger]:
        """Return a column: stretches of the old one, and values of the patch.

        ``values`` has an entry per number of the patch; None stands for zeros. ``dtype`` is what
        the column becomes, at least as wide as it was.
        """
        column = np.empty(self.records, dtype)
        begin = at = 0
        for rank, replaces, entry in zip(
            self._rank.tolist(), self._replaces.tolist(), self._entry.tolist(), strict=True
        ):
            column[at : at + rank - begin] = old[begin:rank]
            at += rank - begin
            begin = rank + replaces
            if entry >= 0:
                column[at] = 0 if values is None else values[entry]
                at += 1
        column[at:] = old[begin:]
        return column

    def cells(self) -> NDArray[np.uint64]:
        """Return the cells."""
        cells = np.empty(self.cell_count, np.uint64)
        blocks = len(self._cells) // CELLS_PER_CHUNK
        gained = self._gained_before(blocks + len(self._new_chunks))
        touched = np.unique(self._block_of_entry[self._gain != 0])
        for begin in range(0, blocks, _BLOCKS_AT_ONCE):
            end = min(begin + _BLOCKS_AT_ONCE, blocks)
            place = slice(begin * CELLS_PER_CHUNK, end * CELLS_PER_CHUNK)
            part = self._cells[place]
            here = touched[(touched >= begin) & (touched < end)]
            if len(here) or gained[begin:end].any():
                grid = part.reshape(-1, CELLS_PER_CHUNK)
                grid = grid + (gained[begin:end, None] << 32).view(np.uint64)
                if len(here):
                    grid[here - begin] = self._reworked(here, grid[here - begin])
                part = grid.reshape(-1)
            cells[place] = part
        if len(self._new_chunks):
            fresh = np.arange(blocks, blocks + len(self._new_chunks))
            first = self._first_rank_of_new + gained[fresh]
            empty = np.zeros((len(fresh), CELLS_PER_CHUNK), np.uint64)
            empty |= (first.astype(np.uint64) << _RANK_SHIFT)[:, None]
            cells[len(self._cells) :] = self._reworked(fresh, empty).reshape(-1)
        return cells

    def _with_new_chunks(
        self, arrays: Mapping[str, NDArray[Any]], rank: NDArray[np.int64]
    ) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
        """Give a slot to each page and a block to each chunk that comes into use.

        New slots and blocks follow the old ones, so that nothing moves.
        """
        patch = self._patch
        pages, chunks = arrays[PAGES], arrays[CHUNKS]
        chunk_of_entry = (patch.numbers >> np.uint64(CHUNK_SHIFT)).astype(np.int64)
        at = self._chunk_ids.searchsorted(chunk_of_entry)
        in_use = np.append(self._chunk_ids, -1)[at] == chunk_of_entry
        self._block_of_entry = np.where(in_use, np.append(self._chunk_blocks, 0)[at], 0)
        comes = patch.present & ~in_use
        self._new_chunks, first = np.unique(chunk_of_entry[comes], return_index=True)
        self._first_rank_of_new = rank[comes][first]
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
        if len(self._new_chunks):
            at = self._new_chunks.searchsorted(chunk_of_entry[comes])
            self._block_of_entry[comes] = len(arrays[CELLS]) // CELLS_PER_CHUNK + at
        return pages, chunks

    def _gained_before(self, blocks: int) -> NDArray[np.int64]:
        """Return int64[blocks]: how many records more lie before each block than did."""
        gained = np.zeros(blocks, np.int64)
        before = np.concatenate([[0], np.cumsum(self._gain)])
        for chunk_ids, at in (
            (self._chunk_ids, self._chunk_blocks),
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
