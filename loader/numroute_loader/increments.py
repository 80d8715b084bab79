"""Increments: which windows follow a snapshot, and the patch that they make of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from numroute.errors import InputError, NumrouteError
from numroute.index import Metadata, Patch, Snapshot, Source
from numroute.model import Status
from numroute_loader.brands import BrandTable
from numroute_loader.gate.findings import named
from numroute_loader.merge.routes import RouteTable, donor_rows, known_operators
from numroute_loader.reading.description import (
    FeedLayout,
    IncrementRows,
    RegistryFile,
    Role,
    RouteKey,
)
from numroute_loader.registries import FEEDS

_NAME_HINT = "Restore the name that the registry gave it"

WINDOWS_MAX = 100_000
"""A sequence so many windows ahead, twenty years, is a mistake in a name."""

GAP_HINT = (
    "`apply` the missing files together with those that wait; if they cannot be had, build the "
    "next full dump. After a rollback `watch` applies nothing again: `apply` the files by hand, or "
    "`rollback` to the newer snapshot. The current snapshot is still served"
)

_Entry = TypeVar("_Entry", bound="Hashable")


class ChainError(NumrouteError):
    """These increments cannot follow the current snapshot."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """Where a snapshot stands in the chain of a feed's increments.

    ``base`` is the full dump that it was built from, ``first`` the sequence of the first window on
    top of it, ``following`` that of the window that must come next. ``applied``: the digest of each
    increment applied since, by kind and sequence.
    """

    feed: FeedLayout
    base: Source
    first: int
    following: int
    applied: Mapping[tuple[str, int], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """A file that need not be applied, and why."""

    name: str
    sequence: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """Missing increments, and those that cannot be applied without them.

    ``expected`` is the sequence of the window that must come next. ``missing`` names the missing
    files, as the registry names them, without a suffix; ``files`` names those that wait for them.
    """

    expected: int
    missing: tuple[str, ...]
    files: tuple[str, ...]

    @property
    def message(self) -> str:
        """What is missing, and what waits for it."""
        return (
            f"window {self.expected} must come next; missing: {named(self.missing)}; "
            f"waiting for it: {named(self.files)}"
        )


class GapError(NumrouteError):
    """Increments are missing; what came before them has been applied."""

    def __init__(self, gap: Gap) -> None:
        """Name what is missing."""
        super().__init__(f"a gap in the increments: {gap.message}", hint=GAP_HINT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrangement:
    """The files of the windows to apply, in order; those to skip; what is missing, if anything."""

    windows: tuple[tuple[RegistryFile, ...], ...]
    skipped: tuple[Skipped, ...]
    gap: Gap | None


def position_of(metadata: Metadata) -> Position:
    """Return the position of a snapshot; raises ChainError when no chain continues it."""
    bases = [
        (feed, base)
        for feed in FEEDS.values()
        for base in metadata.sources
        if base.kind in feed.names(Role.DUMP)
    ]
    if not bases:
        raise ChainError(
            f"the current snapshot {metadata.snapshot_id} was not built from a full dump that "
            "increments continue",
            hint="Build one, under the name that the registry gave the file, from "
            + ", ".join(kind for feed in FEEDS.values() for kind in feed.names(Role.DUMP)),
        )
    feed, base = bases[0]
    first = feed.first_window(base, metadata.as_of)
    applied = {
        (source.kind, source.sequence): source.sha256
        for source in metadata.sources
        if source.kind in feed.names(Role.WINDOW) and source.sequence is not None
    }
    last = max((sequence for _, sequence in applied), default=first - 1)
    return Position(feed=feed, base=base, first=first, following=last + 1, applied=applied)


def arrange(files: Sequence[RegistryFile], position: Position) -> Arrangement:
    """Return the windows that follow the position without a gap.

    Raises InputError for an increment of another chain or under another name than the registry's,
    and for two different files of one kind and sequence.
    """
    skipped: list[Skipped] = []
    waiting: dict[int, dict[str, RegistryFile]] = defaultdict(dict)
    for file in sorted(files, key=lambda file: (file.sequence or 0, file.path.name)):
        sequence = _sequence(file, position)
        first = waiting[sequence].get(file.kind.name)
        if sequence < position.following or first is not None:
            reason = _skipping(file, sequence, first, position)
            skipped.append(Skipped(name=file.path.name, sequence=sequence, reason=reason))
        else:
            waiting[sequence][file.kind.name] = file
    kinds, expected = position.feed.names(Role.WINDOW), position.following
    windows: list[tuple[RegistryFile, ...]] = []
    while len(waiting.get(expected, {})) == len(kinds):
        found = waiting.pop(expected)
        windows.append(tuple(found[kind] for kind in kinds))
        expected += 1
    left = {sequence: found for sequence, found in sorted(waiting.items()) if found}
    gap = _gap(position.feed, expected, left) if left else None
    return Arrangement(windows=tuple(windows), skipped=tuple(skipped), gap=gap)


def _sequence(file: RegistryFile, position: Position) -> int:
    """Return the sequence of an increment of the chain under its own name."""
    sequence, kinds = file.sequence, position.feed.names(Role.WINDOW)
    if file.kind.name not in kinds:
        reason = f"{file.kind.name} does not continue {position.base.name}, from which the current "
        hint = f"Give {' and '.join(kinds)}"
        raise InputError(file.path, f"{reason}snapshot was built", hint=hint)
    if sequence is None:
        reason = "the name does not state the time and the sequence"
    elif sequence - position.following > WINDOWS_MAX:
        reason = "its sequence is years from that of the next window"
    elif file.as_of != position.feed.window_time(sequence):
        reason = "time and sequence in its name do not belong together: the file was renamed"
    else:
        return sequence
    raise InputError(file.path, reason, hint=_NAME_HINT)


def _skipping(
    file: RegistryFile, sequence: int, first: RegistryFile | None, position: Position
) -> str:
    """Return why a file is skipped; refuse it where its like has another content."""
    if first is not None:
        if file.archive.sha256() == first.archive.sha256():
            return f"the same as {first.path.name}"
        reason = f"it has the kind and the sequence of {first.path.name}, but another content"
    else:
        applied = position.applied.get((file.kind.name, sequence))
        if applied is None:
            return f"older than the full dump {position.base.name}"
        if applied == file.archive.sha256():
            return "applied already"
        reason = f"window {sequence} has been applied from a file of another content"
    hint = "Ask the registry which of the two is right, and leave the other out; the next full "
    raise InputError(
        file.path, reason, hint=f"{hint}dump brings what was applied wrongly into order"
    )


def _gap(feed: FeedLayout, expected: int, waiting: Mapping[int, Mapping[str, RegistryFile]]) -> Gap:
    """Name what is missing up to the first complete window, or the last one."""
    kinds = feed.kinds[Role.WINDOW]
    whole = [sequence for sequence, found in waiting.items() if len(found) == len(kinds)]
    files = [file for found in waiting.values() for file in found.values()]
    return Gap(
        expected=expected,
        missing=tuple(
            f"{kind.file_type}_{feed.window_time(sequence) + kind.utc_offset:%Y%m%d%H%M}_{sequence}"
            for sequence in range(expected, min(whole, default=max(waiting) + 1))
            for kind in kinds
            if kind.name not in waiting.get(sequence, {})
        ),
        files=tuple(file.path.name for file in files),
    )


def net_changes(
    windows: Sequence[Sequence[IncrementRows]],
) -> tuple[IncrementRows, NDArray[np.int64]]:
    """Merge the files of windows, which are in order, and keep the last row of each number.

    Within a window rows are ordered by time, then by the order's id, then by file and line. Returns
    the rows in ascending order of their numbers, and which of the files each is from.
    """
    files = [(at, rows) for at, window in enumerate(windows) for rows in window]
    counts = [len(rows.numbers) for _, rows in files]
    numbers = _joined([rows.numbers for _, rows in files], np.uint64)
    changed_at = _joined([rows.changed_at for _, rows in files], np.uint32)
    order_id = _joined([rows.order_id for _, rows in files], np.uint64)
    window = np.repeat(np.array([at for at, _ in files], np.int64), counts)
    file = np.repeat(np.arange(len(files)), counts)
    # The last key sorts first, and equal rows keep their order.
    order = np.lexsort((order_id, changed_at, window, numbers))
    ordered = numbers[order]
    chosen = order[np.append(ordered[1:] != ordered[:-1], np.ones(min(1, len(order)), np.bool_))]
    keys, route = _together([(rows.keys, rows.route) for _, rows in files])
    donor_codes, donor = _together([(rows.donor_codes, rows.donor) for _, rows in files])
    net = IncrementRows(
        numbers=numbers[chosen],
        returns=_joined([rows.returns for _, rows in files], np.bool_)[chosen],
        route=route[chosen],
        keys=keys,
        changed_at=changed_at[chosen],
        order_id=order_id[chosen],
        donor=donor[chosen],
        donor_codes=donor_codes,
    )
    return net, file[chosen]


def patch_of(
    windows: Sequence[Sequence[IncrementRows]],
    snapshot: Snapshot,
    *,
    brands: BrandTable,
    regions: Mapping[str, str],
) -> Patch:
    """Return what windows make of a snapshot; their files become sources behind those that it has.

    A route that the snapshot has is taken as it is. What is new is put together as a build does it:
    the operator's name and tax number as the snapshot knows them, the brand by the brand table.
    """
    net, file = net_changes(windows)
    known = list(snapshot.routes)
    directory = known_operators(snapshot.routes.operators)
    row_of: dict[tuple[object, ...], int] = {}
    for row, route in enumerate(known):
        if route.status is Status.PORTED:
            of_route = (route.operator.code, route.registry_mnc, route.routing_number)
            row_of.setdefault((*of_route, route.region.code, route.line_type), row)
    table = RouteTable(brands, regions, known=known)
    new = [key for key in net.keys if _facts(key) not in row_of]
    rows = table.rows(Status.PORTED, [(key, directory.serving(key)) for key in new])
    row_of |= {_facts(key): row for key, row in zip(new, rows.tolist(), strict=True)}
    rows_of_keys = np.array([row_of[_facts(key)] for key in net.keys] or [0], np.uint32)
    donors, row_of_code = donor_rows(net.donor_codes, directory, brands, snapshot.routes.donors)
    return Patch(
        numbers=net.numbers,
        present=~net.returns,
        number_route=np.where(net.returns, 0, rows_of_keys[net.route]).astype(np.uint32),
        ported_at=net.changed_at,
        donor=row_of_code.astype(np.uint32).take(net.donor),
        routes=table.routes,
        donors=donors,
        source=(file + len(snapshot.metadata.sources)).astype(np.uint32),
    )


def _joined(arrays: Sequence[NDArray[Any]], dtype: type[np.generic]) -> NDArray[Any]:
    return np.concatenate([np.empty(0, dtype), *arrays])


def _together(
    parts: Sequence[tuple[Sequence[_Entry], NDArray[np.uint32]]],
) -> tuple[tuple[_Entry, ...], NDArray[np.uint32]]:
    """Join tables and the indexes into them; equal entries share an index."""
    place: dict[_Entry, int] = {}
    indexes = [np.empty(0, np.uint32)]
    for table, index in parts:
        at = np.array([place.setdefault(entry, len(place)) for entry in table] or [0], np.uint32)
        indexes.append(at[index])
    return tuple(place), np.concatenate(indexes)


def _facts(key: RouteKey) -> tuple[object, ...]:
    """Return the fields of a key that are the registry's own: they identify a ported route."""
    operator = (key.operator_code, key.registry_mnc, key.routing_number)
    return (*operator, key.region_code, key.line_type)
