"""What differs from the current snapshot: range holders, drift, routing numbers, file names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from numroute.index import Metadata, Patch, Snapshot, SnapshotStore, Source
from numroute.index.compare import (
    Effect,
    Kind,
    changed_numbers,
    operator_name,
    range_rows,
    routes_of,
)
from numroute.index.content import Content
from numroute.model import NUMBER_MAX, Operator, Route, mask_number
from numroute_loader.gate.findings import NAMED_MAX, Drift, RangeHolders, RoutingNumbers
from numroute_loader.increments.windows import ChainError, Position, first_after, position_of
from numroute_loader.merge.routes import counted
from numroute_loader.reading.description import FileKind, ParsedFile
from numroute_loader.registries import kind_of, stated

_FLOWS = 5
"""How many changes are named."""

_UNUSUAL_SHARE = 0.05
"""Up to this share of disagreeing routing numbers, agreement is usual in a registry."""


def range_holders(old: Snapshot, new: Snapshot | Content) -> RangeHolders:
    """Compare the range holders of the numbers that two plans have in common.

    Holders are the same by code or tax number, by name where one side has neither.
    """
    sides = (old, new)
    ranges = [side if isinstance(side, Content) else side.tables for side in sides]
    starts = np.unique(np.concatenate([each.range_start for each in ranges]))
    lengths = np.diff(np.append(starts, np.uint64(NUMBER_MAX + 1))).astype(np.float64)
    routes = [routes_of(side) for side in sides]
    rows = [range_rows(side, starts) for side in sides]
    held = [
        np.array([route.status.has_route for route in table], np.bool_).take(of_side)
        for table, of_side in zip(routes, rows, strict=True)
    ]
    both = held[0] & held[1]
    lengths = lengths[both]
    operators: dict[Operator, int] = {}
    before, after = (
        np.array(
            [operators.setdefault(route.operator, len(operators)) for route in table], np.intp
        ).take(of_side[both])
        for table, of_side in zip(routes, rows, strict=True)
    )
    listed = list(operators)
    pairs, place = np.unique(before * len(listed) + after, return_inverse=True)
    # Sums of whole numbers below 2**53 are exact.
    sums = np.bincount(place, lengths, minlength=len(pairs)).astype(np.int64)
    had, lost = Counter[str](), Counter[str]()
    flows = Counter[tuple[str, str]]()
    for pair, numbers in zip(pairs.tolist(), sums.tolist(), strict=True):
        one, other = listed[pair // len(listed)], listed[pair % len(listed)]
        giver, taker = operator_name(one), operator_name(other)
        had[giver] += numbers
        if one != other and not _is_same(one, other):
            lost[giver] += numbers
            flows[giver, taker] += numbers
    losers = sorted(lost, key=lambda name: (-lost[name], name))
    return RangeHolders(
        numbers=had.total(),
        changed=lost.total(),
        lost={name: (lost[name], had[name]) for name in losers},
        flows=[
            f"{giver} to {taker} {numbers:,}"
            for (giver, taker), numbers in flows.most_common(_FLOWS)
        ],
    )


def _is_same(one: Operator, other: Operator) -> bool:
    """Compare operators by code and tax number, by name where one has neither."""
    codes = ((one.code, other.code), (one.tax_number, other.tax_number))
    known = [mine == theirs for mine, theirs in codes if mine and theirs]
    return any(known) if known else bool(one.name) and one.name == other.name


_EXAMPLES_PER_KIND = 2

_WORDS = {
    Kind.PORTED: "only in the dump",
    Kind.RETURNED: "not in the dump",
    Kind.MOVED: "another operator",
    Kind.UPDATED: "another route",
}


def drift_of(
    current: Snapshot, content: Content, dumps: Sequence[Source], as_of: datetime
) -> Drift | str:
    """Return how a dump's content differs from the current snapshot, or why it cannot be compared.

    It can when increments led to the snapshot and past the dump's time. Numbers that windows after
    the dump changed last are left out, since their state at its time is no longer known. So is what
    the brand table adds, which may have changed since. ``dumps`` are the dumps that the content was
    built from, ``as_of`` is the time of the content.
    """
    try:
        position = position_of(current.metadata)
    except ChainError:
        return "the current snapshot was not made by increments"
    dump = next((dump for dump in dumps if dump.kind in position.chain.bases), None)
    following = first_after(position.chain, dump, as_of) if dump is not None else None
    if not position.applied:
        return "the current snapshot was not made by increments"
    if following is None:
        return "there is no full dump that the increments lead to"
    if following > position.following:
        windows = following - position.following
        return f"{windows} windows of increments up to the dump have not been applied"
    if following <= position.first:
        return f"the current snapshot was built from {position.base.name}, which is no older"
    later = _changed_since(current, position, following)
    counts = dict.fromkeys(Kind, 0)
    examples: list[str] = []
    for piece in changed_numbers(current, content, as_registry=True):
        compared = ~np.isin(piece.numbers, later)
        for kind in Kind:
            numbers = piece.numbers[compared & (piece.kind == kind)]
            missing = max(0, _EXAMPLES_PER_KIND - counts[kind])
            examples += [
                f"{mask_number(number)} ({_WORDS[kind]})" for number in numbers[:missing].tolist()
            ]
            counts[kind] += len(numbers)
    return Drift(
        against=current.metadata.snapshot_id,
        ported=counts[Kind.PORTED],
        returned=counts[Kind.RETURNED],
        moved=counts[Kind.MOVED],
        updated=counts[Kind.UPDATED],
        changed_since=len(later),
        examples=tuple(examples),
    )


def _changed_since(current: Snapshot, position: Position, following: int) -> NDArray[np.uint64]:
    """Return the numbers that windows from this sequence on changed last, ascending."""
    if following == position.following:
        return np.empty(0, np.uint64)
    later = [
        source.kind in position.chain.kinds
        and source.sequence is not None
        and source.sequence >= following
        for source in current.metadata.sources
    ]
    changed = current.changed_by()
    return changed.numbers[np.array(later, np.bool_)[changed.source]]


def contradictions(
    files: Sequence[ParsedFile], current: Metadata | None, store: SnapshotStore | None
) -> Sequence[str] | None:
    """Return all contradictions in words; None where no file states a sequence.

    A file must not have an earlier sequence than one of its kind in the current snapshot; where the
    kind appears at a fixed pace, sequence and time must have advanced alike. A full dump or an
    increment must not have been given before under another name, of which the store's history
    knows. A zip must hold the file that it is named for. Raises StoreAccessError.
    """
    if all(file.source.sequence is None for file in files):
        return None
    before = {source.kind: source for source in current.sources} if current is not None else {}
    # A file that was given under several names has the first. The history may have been lost; the
    # snapshot itself names its sources.
    digests: dict[str, str] = {}
    for entry in store.history() if store is not None else ():
        for source in entry.get("sources", ()):
            digests.setdefault(source["sha256"], source["name"])
    for each in current.sources if current is not None else ():
        digests.setdefault(each.sha256, each.name)
    faults = []
    for file in files:
        kind = kind_of(file.source.kind)
        faults += _member(file, kind)
        faults += _again(file, digests)
        if kind.name in before:
            faults += _against(file, kind, before[kind.name])
    return faults


def _member(file: ParsedFile, kind: FileKind) -> list[str]:
    path, member = file.source.path, file.source.member
    if member is None:
        return []
    outer, inner = stated(path.name, kind), stated(member, kind)
    if inner == (None, None) or outer in ((None, None), inner):
        return []
    return [f"{path.name} holds {Path(member).name}: the zip was renamed"]


def _again(file: ParsedFile, digests: dict[str, str]) -> list[str]:
    """Report a file that has another name than when it was seen, and remember it."""
    source, name = file.source, file.source.path.name
    # An operator table or a plan is often the same for days. Two increments without rows are alike,
    # and neither is wrong.
    if not source.rows or (file.ported is None and file.increment is None):
        return []
    known = digests.setdefault(source.sha256, name)
    if _stem(known) == _stem(name):
        return []
    return [f"{name} is byte for byte {known}, which was given before: one of the names is wrong"]


def _stem(name: str) -> str:
    return (name.rpartition(".")[0] or name).lower()


def _against(file: ParsedFile, kind: FileKind, before: Source) -> list[str]:
    source, name = file.source, file.source.path.name
    if source.sequence is None or before.sequence is None:
        return []
    if source.sequence < before.sequence:
        return [
            f"{name} has sequence {source.sequence}, the current snapshot is made of {before.name}"
        ]
    then, _ = stated(before.name, kind)
    if kind.every is None or source.as_of is None or then is None:
        return []
    steps = source.sequence - before.sequence
    times = (source.as_of - then) / kind.every
    if steps == times:
        return []
    fault = f"{name} is {steps} in sequence and {times:g} in time after {before.name}: one is wrong"
    return [fault]


def routing_numbers(content: Content, current: Snapshot | None) -> RoutingNumbers:
    """Compare routing numbers with region and MNC, and judge by the current snapshot what is usual.

    Without a current snapshot, what most of the content's own routing numbers do is usual.
    """
    numbers, disagreeing = _agreement(
        content.routes, counted(content.number_route, len(content.routes))
    )
    usual = sum(disagreeing.values()) * 2 <= numbers
    if current is not None:
        before, not_before = _agreement(routes_of(current), current.records_by_row)
        if before:
            usual = sum(not_before.values()) <= _UNUSUAL_SHARE * before
    return RoutingNumbers(
        numbers=numbers,
        disagreeing=sum(disagreeing.values()),
        usual=usual,
        examples=[example for example, _ in disagreeing.most_common(NAMED_MAX)],
    )


def _agreement(routes: Sequence[Route], records: NDArray[np.integer]) -> tuple[int, Counter[str]]:
    """Count the numbers with routing number, region and MNC, and those where they disagree."""
    numbers, disagreeing = 0, Counter[str]()
    for route, uses in zip(routes, records.tolist(), strict=True):
        region, mnc = route.region.code, route.registry_mnc
        if uses and route.routing_number and region and mnc:
            numbers += uses
            if region + mnc not in route.routing_number:
                disagreeing[f"{route.routing_number} with region {region} and MNC {mnc}"] += uses
    return numbers, disagreeing


def by_operator_after(before: Mapping[str, int], effect: Effect, patch: Patch) -> Mapping[str, int]:
    """Return the ported numbers by operator after the patch."""
    after = Counter(before)
    names = [operator_name(route.operator) for route in patch.routes]
    had = np.isin(effect.kind, (Kind.RETURNED, Kind.MOVED))
    has = np.isin(effect.kind, (Kind.PORTED, Kind.MOVED))
    for rows, step in ((effect.before[had], -1), (effect.after[has], 1)):
        distinct, counts = np.unique(rows, return_counts=True)
        for row, numbers in zip(distinct.tolist(), counts.tolist(), strict=True):
            after[names[row]] += step * numbers
    return after
