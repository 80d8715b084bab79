"""Write a snapshot file: new content, or a snapshot with some of its records changed.

Of a changed snapshot, only granules in which something changed are encoded again; between them the
heap and the columns are copied in long stretches. Ranges stay as they are. A group of granules that
gets a route which its dictionary lacks gets a new dictionary, behind the others; where one group
needs several, all records are laid out anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from numroute.index import kernel, layout, numpy_kernel
from numroute.index.bitmap import (
    Codes,
    Dictionaries,
    TooManyRoutesError,
    build_bitmap,
    codes_of,
    encode,
    page_tables,
    places_of,
    ranks_of,
    records_by_row,
)
from numroute.index.content import Content, ContentError, Metadata, Patch, encode_routes, require
from numroute.index.file import write_file
from numroute.index.numpy_kernel import Index, Rows, Tables, Words
from numroute.index.overrides import Override, check_overrides, encode_overrides
from numroute.index.snapshot import Snapshot
from numroute.model import NUMBER_MAX, Status

_CELLS = np.uint64(layout.CELL_MASK)
_ROW_SHIFT = np.uint64(layout.ROW_SHIFT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Patched:
    """The content of a snapshot with a patch applied; ``base`` must stay open until it is written.

    A column that the base does not have is not added. Without a patch it is the base's content.
    """

    base: Snapshot
    patch: Patch | None = None


def write_snapshot(
    path: Path,
    content: Content | Patched,
    metadata: Metadata,
    overrides: Sequence[Override] = (),
) -> None:
    """Write the content to a new file at ``path`` (0600) and flush it to disk.

    Raises ContentError when the content breaks a rule of the format, StoreAccessError when the
    file cannot be written; what was written so far is left to the caller to remove.
    """
    if isinstance(content, Patched):
        arrays, tables = encode_patched(content)
    else:
        check_content(content)
        arrays, tables = _encode(content)
    check_overrides(overrides)
    version = layout.FORMAT_VERSION
    require({f"a file is of version {version}": metadata.format_version == version})
    tables.pop(layout.OVERRIDES, None)
    if overrides:
        tables[layout.OVERRIDES] = encode_overrides(overrides)
    if not layout.RECORD_COLUMNS & arrays.keys():
        arrays.pop(layout.RANKS_WITHIN, None)
    write_file(path, arrays, tables, metadata)


def check_content(content: Content) -> None:
    """Raise ContentError when the content breaks a rule of the format."""
    statuses = tuple(route.status for route in content.routes[: layout.INVALID_ROW + 1])
    count, rows, pieces = len(content.numbers), len(content.routes), len(content.range_start)
    require(
        {
            "the route table begins with NOT_COVERED or UNALLOCATED, then INVALID": statuses
            in {(Status.NOT_COVERED, Status.INVALID), (Status.UNALLOCATED, Status.INVALID)},
            f"at most {layout.RECORDS_MAX} records": count <= layout.RECORDS_MAX,
            "numbers ascend and are unique": _ascends(content.numbers),
            "numbers are whole E.164 numbers": count == 0
            or (content.numbers[0] > 0 and int(content.numbers[-1]) <= NUMBER_MAX),
            "one route per number": len(content.number_route) == count,
            "routes of numbers are rows": int(content.number_route.max(initial=0)) < rows,
            "one time per number": content.ported_at is None or len(content.ported_at) == count,
            "one donor per number": content.donor is None
            or (len(content.donor) == count and bool((content.donor < len(content.donors)).all())),
            "the first piece starts at 0 and has row 0": pieces > 0
            and content.range_start[0] == 0
            and content.range_route[0] == layout.OUTSIDE_ROW,
            "the last piece has row 0": pieces > 0
            and content.range_route[-1] == layout.OUTSIDE_ROW,
            "pieces ascend and are unique": _ascends(content.range_start),
            "pieces start at whole E.164 numbers": int(content.range_start.max(initial=0))
            <= NUMBER_MAX + 1,
            "one route per piece": len(content.range_route) == pieces,
            "routes of pieces are rows": int(content.range_route.max(initial=0)) < rows,
        }
    )


def _ascends(values: NDArray[np.uint64]) -> bool:
    return bool((values[1:] > values[:-1]).all())


def _encode(content: Content) -> tuple[dict[str, NDArray[Any]], dict[str, bytes]]:
    """Return every array and every table of the file by key."""
    columns, tables = encode_routes(content.routes, content.donors)
    arrays: dict[str, NDArray[Any]] = {
        **build_bitmap(
            content.numbers,
            content.number_route,
            content.range_start,
            content.range_route,
            len(content.routes),
        ),
        **columns,
        layout.RANGE_START: content.range_start,
        layout.RANGE_ROUTE: content.range_route.astype(np.uint16),
        layout.ROUTES_RECORDS: records_by_row(content.number_route, len(content.routes)),
    }
    if content.ported_at is not None:
        arrays[layout.PORTED_AT] = content.ported_at
    if content.donor is not None:
        of_donors = np.min_scalar_type(max(0, len(content.donors) - 1))
        arrays[layout.DONOR] = content.donor.astype(of_donors, copy=False)
    return arrays, tables


def check_patch(base: Snapshot, patch: Patch) -> None:
    """Raise ContentError when a patch breaks a rule of the format."""
    rows, numbers = len(base.routes), patch.numbers
    require(
        {
            "the route table begins with the rows of the snapshot": tuple(patch.routes[:rows])
            == tuple(base.routes),
            "the donors begin with those of the snapshot": patch.donor is None
            or tuple(patch.donors[: len(base.routes.donors)]) == base.routes.donors,
            "numbers ascend and are unique": _ascends(numbers),
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
    # Where a column holds what a change replaces, and what it gets.
    gone, edges = rank[changed], np.append(0, patch.present[changed].cumsum())
    for key, values in ((layout.PORTED_AT, patch.ported_at), (layout.DONOR, patch.donor)):
        if key in arrays:
            known = np.zeros(len(changed), np.uint32) if values is None else values
            fresh = known[patch.present]
            fitting = np.min_scalar_type(int(fresh.max(initial=0)))
            fresh = fresh.astype(np.promote_types(arrays[key].dtype, fitting))
            arrays[key] = _spliced(arrays[key], gone, gone + member[changed], fresh, edges)
    if patch.source is not None:
        tables[layout.CHANGED] = base.changed_by.encode_with(patch.numbers, patch.source)
    return arrays, tables


def _patched_bitmap(
    base: Snapshot, patch: Patch, changed: NDArray[np.bool_]
) -> dict[str, NDArray[Any]]:
    """Return the records' arrays after a patch. Raises ContentError."""
    numbers, present = patch.numbers[changed], patch.present[changed]
    rows = patch.number_route[changed].astype(np.uint16)
    try:
        tables = _with_own_blocks(base, numbers[present])
        return _reencoded(tables, numbers, present, rows, len(patch.routes))
    except TooManyRoutesError:
        pass
    return build_bitmap(
        *_merged(*numpy_kernel.all_records(base.tables), numbers, present, rows),
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
    index, shift = numpy_kernel.entries_of(tables, numbers), tables.group_shift
    _, known = _known_codes(tables, index >> shift, rows)
    # All records of a group that lacks a route get codes of a new dictionary.
    lacking = np.unique((index >> shift)[present & ~known])
    used = np.flatnonzero(tables.entries & _CELLS)
    entries = np.union1d(index, used[np.isin(used >> shift, lacking)])
    numbers, rows = _merged(*numpy_kernel.decode(tables, entries), numbers, present, rows)
    of_record = numpy_kernel.entries_of(tables, numbers)
    codes, _ = _known_codes(tables, of_record >> shift, rows)
    fresh = np.isin(of_record >> shift, lacking)
    dictionaries = Dictionaries(routes, len(tables.dictionary))
    codes[fresh], (groups, start) = codes_of(of_record[fresh] >> shift, rows[fresh], dictionaries)
    starts = tables.dictionary_start.copy()
    starts[groups] = start
    mixed = tables.entries[entries] >> _ROW_SHIFT == layout.MIXED
    place = numpy_kernel.places_of_entries(tables.entries[entries[mixed]])
    strips = tables.strips[
        ((place - layout.STRIP_WORDS) * 4)[:, None] + np.arange(layout.STRIPS_PER_GRANULE)
    ]
    granule = entries.searchsorted(of_record)
    records = tables.records_of_granules.copy()
    records[entries] = np.bincount(granule, minlength=len(entries))
    top, sub = page_tables(*tables.places)
    arrays: dict[str, NDArray[Any]] = {
        layout.TOP: top,
        layout.SUB: sub,
        layout.DICTIONARY_START: starts,
        **_laid_out(tables, entries, *encode(granule, numbers, codes, mixed, strips)),
        **ranks_of(records),
    }
    if dictionaries.pieces:
        dictionary = np.concatenate([tables.dictionary, *dictionaries.pieces])
        arrays[layout.DICTIONARY] = dictionary.astype(np.uint16)
    return arrays


def _with_own_blocks(base: Snapshot, numbers: Words) -> Tables:
    """Return tables in which each block with one of the numbers has a place of its own.

    Their ranks are those of the base.
    """
    tables = base.tables
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
    arrays = dict(base.arrays)
    arrays[layout.TOP], arrays[layout.SUB] = page_tables(blocks, places)
    for key, of_block in (
        (layout.ENTRIES, layout.GRANULES_PER_BLOCK),
        (layout.DICTIONARY_START, layout.GRANULES_PER_BLOCK >> tables.group_shift),
    ):
        # One dictionary for all blocks stays as it is.
        if of_block:
            arrays[key] = arrays[key].reshape(-1, of_block)[source].reshape(-1)
    return Tables(arrays)


def _merged(
    old: Words, old_rows: Rows, numbers: Words, present: NDArray[np.bool_], rows: Rows
) -> tuple[Words, Rows]:
    """Return records with changes applied: numbers, ascending, and rows."""
    stay = ~np.isin(old, numbers, assume_unique=True)
    merged = np.concatenate([old[stay], numbers[present]])
    order = merged.argsort(kind="stable")
    return merged[order], np.concatenate([old_rows[stay], rows[present]])[order]


def _known_codes(tables: Tables, group: Index, rows: Rows) -> tuple[Codes, NDArray[np.bool_]]:
    """Return the code of each record, and whether the dictionary of its group has one."""
    if len(tables.dictionary_start) == 1:
        return rows, np.ones(len(rows), np.bool_)
    opens = np.flatnonzero(np.diff(group, prepend=-1))
    starts, which = np.unique(tables.dictionary_start[group[opens]], return_inverse=True)
    which = which.repeat(np.diff(opens, append=len(group)))
    # What follows the last dictionary is no row.
    dictionary = np.append(tables.dictionary, np.uint16(layout.MIXED))
    routes = dictionary.take(starts[:, None] + np.arange(layout.CODES), mode="clip")
    keys = (np.arange(len(starts))[:, None] * (layout.MIXED + 1) + routes).reshape(-1)
    order = keys.argsort(kind="stable")
    wanted = which * (layout.MIXED + 1) + rows
    places = order.take(keys[order].searchsorted(wanted), mode="clip")
    return (places % layout.CODES).astype(np.uint8), keys.take(places) == wanted


def _spliced(
    old: NDArray[Any], begin: Index, end: Index, fresh: NDArray[Any], edges: Index
) -> NDArray[Any]:
    """Return an array with the pieces from each begin to its end replaced.

    ``edges``: where the pieces that replace them lie in ``fresh``.
    """
    pieces, cursor = [], 0
    for first, last, (new, new_end) in zip(
        begin.tolist(), end.tolist(), pairwise(edges.tolist()), strict=True
    ):
        pieces += [old[cursor:first], fresh[new:new_end]]
        cursor = last
    return np.concatenate([*pieces, old[cursor:]])


def _laid_out(
    tables: Tables, changed: Index, words: Words, mask: Words, place: Index
) -> dict[str, NDArray[Any]]:
    """Return the heap and the entries with what :func:`encode` made of changed entries."""
    entries = tables.entries
    mixed = entries >> _ROW_SHIFT == layout.MIXED
    cells = entries & _CELLS
    filled = np.flatnonzero(mixed | (cells != 0))
    edges = np.append(
        numpy_kernel.places_of_entries(entries[filled]) - layout.STRIP_WORDS * mixed[filled],
        len(tables.heap),
    )
    at = filled.searchsorted(changed)
    begin, end = edges[at], edges[at + (np.append(filled, -1)[at] == changed)]
    fresh = np.append(place - layout.STRIP_WORDS * mixed[changed], len(words))
    heap = _spliced(tables.heap, begin, end, words, fresh)
    if len(heap) > layout.PLACE_MASK:
        raise ContentError("the records take more room than the heap has")
    gained = np.append(0, (np.diff(fresh) - (end - begin)).cumsum())
    # What lies behind a changed granule moves by what it and those before it gained.
    places = numpy_kernel.places_of_entries(entries)
    places += gained.repeat(np.diff(changed + 1, prepend=0, append=len(entries)))
    places[changed] = begin + gained[:-1] + place - fresh[:-1]
    cells[changed] = mask
    held = cells | (places.view(np.uint64) << np.uint64(layout.PLACE_SHIFT))
    held[(cells == 0) & ~mixed] = 0
    return {layout.HEAP: heap, layout.ENTRIES: entries >> _ROW_SHIFT << _ROW_SHIFT | held}
