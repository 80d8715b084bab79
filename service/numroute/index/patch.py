"""A snapshot's content with some of its records changed: what increments make of a snapshot.

Only granules in which something changed are encoded again; between them the heap and the columns
are copied in long stretches. Ranges stay as they are. A group of granules that gets a route which
its dictionary lacks gets a new dictionary, behind the others; where one group needs several, all
records are laid out anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from numroute.index import kernel, layout, numpy_kernel
from numroute.index.bitmap import (
    Dictionaries,
    Segments,
    TooManyRoutesError,
    build_bitmap,
    codes_of,
    encode,
    page_tables,
    places_of,
    ranks_of,
)
from numroute.index.content import ContentError, Patch, encode_routes, require
from numroute.index.numpy_kernel import Index, Rows, Tables, Words
from numroute.index.records import all_records, decode
from numroute.index.snapshot import Snapshot
from numroute.model import NUMBER_MAX

_LOOKED_UP_AT_ONCE = 16_384

_PLACES = np.uint64(layout.PLACE_MASK << layout.PLACE_SHIFT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Patched:
    """The content of a snapshot with a patch applied; ``base`` must stay open until it is written.

    A column that the base does not have is not added. Without a patch it is the base's content.
    """

    base: Snapshot
    patch: Patch | None = None


def check_patch(base: Snapshot, patch: Patch) -> None:
    """Raise ContentError when a patch breaks a rule of the format."""
    rows, numbers = len(base.routes), patch.numbers
    require(
        {
            "the route table begins with the rows of the snapshot": tuple(patch.routes[:rows])
            == tuple(base.routes[row] for row in range(rows)),
            "the donors begin with those of the snapshot": patch.donor is None
            or tuple(patch.donors[: len(base.routes.donors)]) == base.routes.donors,
            "numbers ascend and are unique": bool((numbers[1:] > numbers[:-1]).all()),
            "numbers are whole E.164 numbers": len(numbers) == 0
            or (numbers[0] > 0 and int(numbers[-1]) <= NUMBER_MAX),
            "routes of numbers are rows": int(patch.number_route.max(initial=0))
            < len(patch.routes),
            "one state, route, time and donor per number": all(
                values is None or len(values) == len(numbers)
                for values in (patch.present, patch.number_route, patch.ported_at, patch.donor)
            ),
        },
        "the patch",
    )
    if len(patch.routes) > layout.ROWS_MAX:
        raise ContentError(
            f"{len(patch.routes)} routes are more than {layout.ROWS_MAX}",
            hint="Build again from a full dump: routes that no number has any more go then",
        )


def encode_patched(content: Patched) -> tuple[dict[str, NDArray[Any]], dict[str, bytes]]:
    """Return every array and every table of a patched snapshot by key.

    Raises ContentError when the patch breaks a rule of the format.
    """
    base, patch = content.base, content.patch
    arrays, tables = dict(base.arrays), base.tables_stored()
    if patch is None:
        return arrays, tables
    check_patch(base, patch)
    member, rank = numpy_kernel.locate(base.tables, patch.numbers)
    changed = member | patch.present
    donors = patch.donors or base.routes.donors
    if len(patch.routes) > len(base.routes) or len(donors) > len(base.routes.donors):
        columns, of_routes = encode_routes(patch.routes, donors)
        arrays |= columns
        tables |= of_routes
    arrays |= _patched_bitmap(base, patch, changed)
    before = kernel.lookup(base.tables, patch.numbers[member])
    records = np.zeros(len(patch.routes), np.int64)
    records[: len(base.routes)] = base.arrays[layout.ROUTES_RECORDS]
    records -= np.bincount(before, minlength=len(records))
    records += np.bincount(patch.number_route[patch.present], minlength=len(records))
    require({f"at most {layout.RECORDS_MAX} records": int(records.sum()) <= layout.RECORDS_MAX})
    arrays[layout.ROUTES_RECORDS] = records.astype(np.uint32)
    for key, values in ((layout.PORTED_AT, patch.ported_at), (layout.DONOR, patch.donor)):
        if key in arrays:
            known = np.zeros(len(changed), np.uint32) if values is None else values
            arrays[key] = _column(
                arrays[key],
                known[changed],
                rank[changed],
                gone=member[changed],
                present=patch.present[changed],
            )
    if patch.source is not None:
        changed_by = base.changed_by().then(patch.numbers, patch.source)
        tables[layout.CHANGED] = changed_by.encode()
    return arrays, tables


def _column(
    old: NDArray[np.unsignedinteger],
    values: NDArray[np.unsignedinteger],
    rank: Index,
    *,
    gone: NDArray[np.bool_],
    present: NDArray[np.bool_],
) -> NDArray[np.unsignedinteger]:
    """Return a column after changes: stretches of the old one, and values of the patch.

    ``rank``: for each change, the position among the old records; ``gone``, whether the record
    there goes; ``present``, whether the change's value stands there afterwards.
    """
    fitting = np.min_scalar_type(int(values.max(initial=0)))
    values = values.astype(np.promote_types(old.dtype, fitting))
    pieces, begin = [], 0
    for at, (first, behind, stays) in enumerate(
        zip(rank.tolist(), (rank + gone).tolist(), present.tolist(), strict=True)
    ):
        pieces += [old[begin:first], values[at : at + stays]]
        begin = behind
    return np.concatenate([*pieces, old[begin:], values[:0]])


def _patched_bitmap(
    base: Snapshot, patch: Patch, changed: NDArray[np.bool_]
) -> dict[str, NDArray[Any]]:
    """Return the records' arrays after a patch. Raises ContentError."""
    numbers, present = patch.numbers[changed], patch.present[changed]
    rows = patch.number_route[changed].astype(np.uint16)
    try:
        tables = _with_own_blocks(base.tables, numbers[present])
        return _reencoded(tables, numbers, present, rows, len(patch.routes))
    except TooManyRoutesError:
        pass
    old, old_rows = (
        np.concatenate(pieces) for pieces in zip(*all_records(base.tables), strict=True)
    )
    return build_bitmap(
        *_merged(old, old_rows, numbers, present, rows),
        base.arrays[layout.RANGE_START],
        base.arrays[layout.RANGE_ROUTE],
        len(patch.routes),
    )


def _reencoded(
    tables: Tables, numbers: Words, present: NDArray[np.bool_], rows: Rows, routes: int
) -> dict[str, NDArray[Any]]:
    """Return the arrays after changes to records, whose blocks share their places with no other.

    Raises TooManyRoutesError when a group of granules needs more than one dictionary.
    """
    index = numpy_kernel.entries_of(tables, numbers)
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
    numbers, rows = _merged(*decode(tables, entries), numbers, present, rows)
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
    heap, new_entries = _spliced(tables, entries, segments)
    arrays: dict[str, NDArray[Any]] = {
        **dict(zip((layout.TOP, layout.SUB), page_tables(*tables.places), strict=True)),
        layout.ENTRIES: new_entries,
        layout.HEAP: heap,
        layout.DICTIONARY_START: starts,
        **ranks_of(records),
    }
    if not wide:
        arrays[layout.DICTIONARY] = np.concatenate(
            [tables.dictionary, *dictionaries.pieces]
        ).astype(np.uint16)
    return arrays


def _with_own_blocks(tables: Tables, numbers: Words) -> Tables:
    """Return tables in which each block with one of the numbers has a place of its own."""
    wanted = np.unique((numbers >> np.uint64(layout.BLOCK_SHIFT)).astype(np.int64))
    old_blocks, old_places = tables.places
    wanted = np.setdiff1d(wanted, old_blocks[np.bincount(old_places)[old_places] == 1])
    if not len(wanted):
        return tables
    blocks = np.union1d(old_blocks, wanted)
    # A block outside the plan begins as block 0 is: without a range.
    content = np.zeros(len(blocks), np.int64)
    content[blocks.searchsorted(old_blocks)] = old_places
    places = places_of(np.where(np.isin(blocks, wanted), len(old_blocks) + 1 + blocks, content))
    if len(blocks) > layout.BLOCKS_MAX:
        raise ContentError("the records are scattered over more blocks than the format holds")
    source = np.append(0, content[np.unique(places, return_index=True)[1]])
    top, sub = page_tables(blocks, places)
    arrays: dict[str, NDArray[Any]] = {
        layout.TOP: top,
        layout.SUB: sub,
        layout.RANKS: tables.ranks,
        layout.HEAP: tables.heap,
        layout.DICTIONARY: tables.dictionary,
        layout.RANGE_START: tables.range_start,
        layout.RANGE_ROUTE: tables.range_route,
    }
    starts = tables.dictionary_start
    for key, values, count in (
        (layout.ENTRIES, tables.entries, layout.GRANULES_PER_BLOCK),
        (layout.DICTIONARY_START, starts, layout.GRANULES_PER_BLOCK >> tables.group_shift),
    ):
        arrays[key] = values.reshape(-1, count)[source].reshape(-1) if len(values) > 1 else values
    return Tables(arrays)


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
