"""A snapshot's content with some of its records changed: what increments make of a snapshot.

Only granules in which something changed are encoded again; between them the heap and the columns
are copied in long stretches. Ranges stay as they are. A group of granules that gets a route which
its dictionary lacks gets a new dictionary, behind the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from numroute.index import kernel, layout, numpy_kernel
from numroute.index.bitmap import (
    Bitmap,
    Dictionaries,
    LayoutLimitError,
    Segments,
    TooManyRoutesError,
    bitmap_arrays,
    build_bitmap,
    codes_of,
    encode,
    page_tables,
    places_of,
    ranks_of,
)
from numroute.index.content import Patch
from numroute.index.file import ContentError, StoredArray
from numroute.index.numpy_kernel import Tables
from numroute.index.records import all_records, decode
from numroute.index.snapshot import Snapshot
from numroute.index.tables import encode_routes
from numroute.model import NUMBER_MAX

Index = NDArray[np.int64]
Words = NDArray[np.uint64]
Rows = NDArray[np.uint16]

_LOOKED_UP_AT_ONCE = 16_384

_PLACES = np.uint64(layout.PLACE_MASK << layout.PLACE_SHIFT)


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
    member, rank = numpy_kernel.locate(base.tables, patch.numbers)
    splice = _Splice.of(patch, member, rank, base.ported_count)
    if splice.length > layout.RECORDS_MAX:
        raise ContentError(
            f"the snapshot's content breaks the rule: at most {layout.RECORDS_MAX} records"
        )
    before = kernel.lookup(base.tables, patch.numbers[member])
    records = np.zeros(len(patch.routes), np.int64)
    records[: len(base.routes)] = base.arrays[layout.ROUTES_RECORDS]
    records -= np.bincount(before, minlength=len(records))
    records += np.bincount(patch.number_route[patch.present], minlength=len(records))
    columns, tables = _new_routes(content)
    arrays = {key: StoredArray.of(array) for key, array in base.arrays.items()}
    arrays |= {key: StoredArray.of(array) for key, array in columns.items()}
    bitmap = _patched_bitmap(base, patch, member)
    arrays |= {key: StoredArray.of(array) for key, array in bitmap_arrays(bitmap).items()}
    arrays[layout.ROUTES_RECORDS] = StoredArray.of(records.astype(np.uint32))
    for key, values in ((layout.PORTED_AT, patch.ported_at), (layout.DONOR, patch.donor)):
        if key in base.arrays:
            old = base.arrays[key]
            largest = int(values.max(initial=0)) if values is not None else 0
            dtype = np.promote_types(old.dtype, layout.smallest_unsigned(largest))
            arrays[key] = StoredArray(
                dtype=dtype, length=splice.length, make=partial(splice.column, old, values, dtype)
            )
    if patch.source is not None:
        changed = base.changed_by().then(patch.numbers, patch.source)
        tables |= {layout.CHANGED: changed.encode()}
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Splice:
    """How a column of the records changes, and its ``length`` afterwards.

    ``rank``, ``replaces``, ``entry``: for each change, its position among the old records, whether
    the record at that position goes, and the entry of the patch whose value stands there
    afterwards, -1 where none does.
    """

    rank: Index
    replaces: NDArray[np.bool_]
    entry: Index
    length: int

    @classmethod
    def of(cls, patch: Patch, member: NDArray[np.bool_], rank: Index, records: int) -> _Splice:
        """Return the changes that a patch makes to a snapshot with this number of records."""
        changed = np.flatnonzero(member | patch.present)
        return cls(
            rank=rank[changed],
            replaces=member[changed],
            entry=np.where(patch.present[changed], changed, -1),
            length=records + int(np.count_nonzero(patch.present)) - int(np.count_nonzero(member)),
        )

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
        column = np.empty(self.length, dtype)
        begin = at = 0
        for rank, replaces, entry in zip(
            self.rank.tolist(), self.replaces.tolist(), self.entry.tolist(), strict=True
        ):
            column[at : at + rank - begin] = old[begin:rank]
            at += rank - begin
            begin = rank + replaces
            if entry >= 0:
                column[at] = 0 if values is None else values[entry]
                at += 1
        column[at:] = old[begin:]
        return column


def _patched_bitmap(base: Snapshot, patch: Patch, member: NDArray[np.bool_]) -> Bitmap:
    """Return the records' arrays after a patch. Raises ContentError."""
    if len(patch.routes) > layout.ROWS_MAX:
        raise ContentError(
            f"{len(patch.routes)} routes are more than {layout.ROWS_MAX}",
            hint="Build again from a full dump: routes that no number has any more go then",
        )
    tables = _with_own_blocks(base.tables, patch)
    if len(tables.blocks) > layout.BLOCKS_MAX:
        raise ContentError("the records are scattered over more blocks than the format holds")
    changes = member | patch.present
    numbers, present = patch.numbers[changes], patch.present[changes]
    rows = patch.number_route[changes].astype(np.uint16)
    index = numpy_kernel.entries_of(tables, numbers)
    try:
        return _reencoded(tables, index, numbers, present, rows, len(patch.routes))
    except TooManyRoutesError:
        # The groups of granules are too large for their routes: all are encoded anew.
        pieces = [piece for piece, _ in all_records(base.tables)]
        whole = _merged(
            np.concatenate([piece.numbers for piece in pieces]),
            np.concatenate([piece.rows for piece in pieces]),
            numbers,
            present,
            rows,
        )
        try:
            return build_bitmap(
                *whole,
                base.arrays[layout.RANGE_START],
                base.arrays[layout.RANGE_ROUTE],
                len(patch.routes),
            )
        except LayoutLimitError as error:
            raise ContentError(f"the snapshot's content breaks the rule: {error}") from None


def _reencoded(
    tables: Tables,
    index: Index,
    numbers: Words,
    present: NDArray[np.bool_],
    rows: Rows,
    routes: int,
) -> Bitmap:
    """Return the arrays after changes to records, given the entry, number, ... of each change.

    Raises TooManyRoutesError when a group of granules needs more than one dictionary.
    """
    shift, wide = tables.group_shift, len(tables.dictionary_start) == 1
    lacking = (
        np.empty(0, np.int64)
        if wide
        else np.unique((index >> shift)[present & ~_has_code(tables, index >> shift, rows)])
    )
    in_groups = (lacking[:, None] << (0 if wide else shift)) + np.arange(1 if wide else 1 << shift)
    entries = np.union1d(
        index, in_groups[tables.entries[in_groups] & np.uint64(layout.CELL_MASK) != 0]
    )
    old = decode(tables, entries, _granules_of(tables, entries))
    numbers, rows = _merged(*old, numbers, present, rows)
    of_record = numpy_kernel.entries_of(tables, numbers)
    codes: NDArray[np.uint8] | Rows = rows
    starts, dictionaries = tables.dictionary_start, Dictionaries(routes, len(tables.dictionary))
    if not wide:
        group = of_record >> shift
        fresh = np.isin(group, lacking)
        codes = np.empty(len(rows), np.uint8)
        codes[fresh], (groups, start) = codes_of(group[fresh], rows[fresh], dictionaries)
        starts = starts.copy()
        starts[groups] = start
        codes[~fresh] = _known_codes(tables, group[~fresh], rows[~fresh])
    mixed = tables.entries[entries] >> np.uint64(layout.ROW_SHIFT) == layout.MIXED
    place = _places(tables.entries[entries[mixed]])
    strips = tables.strips[
        ((place - layout.STRIP_WORDS) * 4)[:, None] + np.arange(layout.STRIPS_PER_GRANULE)
    ]
    granule = entries.searchsorted(of_record)
    segments = encode(granule, numbers, codes, mixed, strips)
    records = tables.records_of_granules.copy()
    records[entries] = np.bincount(granule, minlength=len(entries))
    ranks, within = ranks_of(records)
    heap, new_entries = _spliced(tables, entries, segments)
    return Bitmap(
        **dict(zip(("top", "sub"), page_tables(*tables.places), strict=True)),
        entries=new_entries,
        ranks=ranks,
        ranks_within=within,
        heap=heap,
        dictionary=np.empty(0, np.uint16)
        if wide
        else np.concatenate([tables.dictionary, *dictionaries.pieces]).astype(np.uint16),
        dictionary_start=starts,
    )


def _with_own_blocks(tables: Tables, patch: Patch) -> Tables:
    """Return tables in which each block with a new record has a place that no other shares."""
    wanted = np.unique(
        (patch.numbers[patch.present] >> np.uint64(layout.BLOCK_SHIFT)).astype(np.int64)
    )
    old_blocks, old_places = tables.places
    alone = old_blocks[np.bincount(old_places)[old_places] == 1]
    wanted = wanted[~np.isin(wanted, alone)]
    if not len(wanted):
        return tables
    blocks = np.union1d(old_blocks, wanted)
    # A block outside the plan begins as block 0 is: without a range.
    content = np.zeros(len(blocks), np.int64)
    content[blocks.searchsorted(old_blocks)] = old_places
    places = places_of(np.where(np.isin(blocks, wanted), len(old_blocks) + 1 + blocks, content))
    source = np.append(0, content[np.unique(places, return_index=True)[1]])

    def moved(values: NDArray[Any], of_block: int) -> NDArray[Any]:
        grid: NDArray[Any] = values.reshape(-1, of_block)[source]
        return grid.reshape(-1)

    starts = tables.dictionary_start
    if len(starts) > 1:
        starts = moved(starts, layout.GRANULES_PER_BLOCK >> tables.group_shift)
    top, sub = page_tables(blocks, places)
    return numpy_kernel.prepare(
        {
            layout.TOP: top,
            layout.SUB: sub,
            layout.ENTRIES: moved(tables.entries, layout.GRANULES_PER_BLOCK),
            layout.RANKS: tables.ranks,
            layout.HEAP: tables.heap,
            layout.DICTIONARY: tables.dictionary,
            layout.DICTIONARY_START: starts,
            layout.RANGE_START: tables.range_start,
            layout.RANGE_ROUTE: tables.range_route,
        }
    )


def _granules_of(tables: Tables, entries: Index) -> Index:
    """Return the granules of entries: numbers without their low 10 bits."""
    block = tables.blocks[entries // layout.GRANULES_PER_BLOCK - 1]
    return (
        block << (layout.BLOCK_SHIFT - layout.GRANULE_SHIFT)
    ) + entries % layout.GRANULES_PER_BLOCK


def _merged(
    old: Words, old_rows: Rows, numbers: Words, present: NDArray[np.bool_], rows: Rows
) -> tuple[Words, Rows]:
    """Return records with changes applied: numbers, ascending, and rows."""
    stay = ~np.isin(old, numbers, assume_unique=True)
    merged = np.concatenate([old[stay], numbers[present]])
    order = merged.argsort(kind="stable")
    return merged[order], np.concatenate([old_rows[stay], rows[present]])[order]


def _has_code(tables: Tables, group: Index, rows: Rows) -> NDArray[np.bool_]:
    """Return whether the dictionary of each record's group has the record's row."""
    found = np.zeros(len(rows), np.bool_)
    if not len(tables.dictionary):
        return found
    for begin in range(0, len(rows), _LOOKED_UP_AT_ONCE):
        part = slice(begin, begin + _LOOKED_UP_AT_ONCE)
        places = tables.dictionary_start[group[part], None] + np.arange(layout.CODES)
        found[part] = (tables.dictionary.take(places, mode="clip") == rows[part, None]).any(axis=1)
    return found


def _known_codes(tables: Tables, group: Index, rows: Rows) -> NDArray[np.uint8]:
    """Return the code of each record, whose row the dictionary of its group has."""
    codes, code_of = np.empty(len(rows), np.uint8), np.empty(layout.MIXED + 1, np.uint8)
    opens = np.flatnonzero(np.diff(group, prepend=-1)).tolist()
    for begin, end in pairwise([*opens, len(group)]):
        start = int(tables.dictionary_start[group[begin]])
        known = tables.dictionary[start : start + layout.CODES]
        code_of[known] = np.arange(len(known))
        codes[begin:end] = code_of[rows[begin:end]]
    return codes


def _places(entries: Words) -> Index:
    return ((entries & _PLACES) >> np.uint64(layout.PLACE_SHIFT)).astype(np.int64)


def _spliced(tables: Tables, changed: Index, segments: Segments) -> tuple[Words, Words]:
    """Return the heap and the entries with new segments for the granules of changed entries."""
    entries = tables.entries.copy()
    mixed = entries >> np.uint64(layout.ROW_SHIFT) == layout.MIXED
    filled = np.flatnonzero(mixed | (entries & np.uint64(layout.CELL_MASK) != 0))
    begins = _places(entries[filled]) - layout.STRIP_WORDS * mixed[filled]
    edges = np.append(begins, len(tables.heap))
    at = filled.searchsorted(changed)
    begin = edges[at]
    end = np.where(
        np.append(filled, -1)[at] == changed, edges[np.minimum(at + 1, len(begins))], begin
    )
    fresh = np.append(segments.place - layout.STRIP_WORDS * mixed[changed], len(segments.words))
    gained = np.append(0, (np.diff(fresh) - (end - begin)).cumsum())
    heap, cursor = [], 0
    for first, last, new, new_end in zip(
        begin.tolist(), end.tolist(), fresh[:-1].tolist(), fresh[1:].tolist(), strict=True
    ):
        heap += [tables.heap[cursor:first], segments.words[new:new_end]]
        cursor = last
    whole = np.concatenate([*heap, tables.heap[cursor:]])
    if len(whole) > layout.PLACE_MASK:
        raise ContentError("the records take more room than the heap has")
    places = _places(entries[filled]) + gained[changed.searchsorted(filled)]
    entries[filled] = (entries[filled] & ~_PLACES) | (
        places.astype(np.uint64) << np.uint64(layout.PLACE_SHIFT)
    )
    row = entries[changed] & ~np.uint64((1 << layout.ROW_SHIFT) - 1)
    places = begin + gained[:-1] + segments.place - fresh[:-1]
    empty = (segments.mask == 0) & ~mixed[changed]
    entries[changed] = row | np.where(
        empty,
        np.uint64(0),
        segments.mask | (places.astype(np.uint64) << np.uint64(layout.PLACE_SHIFT)),
    )
    return whole, entries
