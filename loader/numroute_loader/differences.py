"""What differs from the current snapshot: range holders, drift, routing numbers, file names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from numroute.index import Content, Metadata, Patch, Snapshot, SnapshotStore, Source
from numroute.index.bitmap import records_by_row
from numroute.index.compare import (
    Effect,
    Kind,
    changed_numbers,
    operator_name,
    range_rows,
)
from numroute.model import NUMBER_MAX, Operator, Route, mask_number
from numroute_loader.gate.findings import NAMED_MAX, Drift, RangeHolders, RoutingNumbers
from numroute_loader.increments import ChainError, position_of
from numroute_loader.reading.description import ParsedFile, Role
from numroute_loader.registries import kind_of

_UNUSUAL_SHARE = 0.05
"""A registry whose routing numbers disagree with region and MNC more often has another rule."""

_EXAMPLES_PER_KIND = 2

_WORDS = {
    Kind.PORTED: "only in the dump",
    Kind.RETURNED: "not in the dump",
    Kind.MOVED: "another operator",
    Kind.UPDATED: "another route",
}


def range_holders(old: Snapshot, new: Snapshot | Content) -> RangeHolders:
    """Compare the range holders of the numbers that two plans have in common.

    Holders are the same by code or tax number, by name where one side has neither.
    """
    ranges = [side if isinstance(side, Content) else side.tables for side in (old, new)]
    starts = np.unique(np.concatenate([each.range_start for each in ranges]))
    lengths = np.diff(np.append(starts, np.uint64(NUMBER_MAX + 1))).astype(np.float64)
    before, after = old.routes, new.routes
    rows = range_rows(old, starts) * len(after) + range_rows(new, starts)
    pairs, place = np.unique(rows, return_inverse=True)
    # Sums of whole numbers below 2**53 are exact.
    sums = np.bincount(place, lengths).astype(np.int64)
    had, lost, flows = Counter[str](), Counter[str](), Counter[str]()
    for pair, numbers in zip(pairs.tolist(), sums.tolist(), strict=True):
        one, other = before[pair // len(after)], after[pair % len(after)]
        if one.status.has_route and other.status.has_route:
            giver, taker = operator_name(one.operator), operator_name(other.operator)
            had[giver] += numbers
            if not _is_same(one.operator, other.operator):
                lost[giver] += numbers
                flows[f"{giver} to {taker}"] += numbers
    return RangeHolders(
        numbers=had.total(),
        changed=lost.total(),
        lost={name: (numbers, had[name]) for name, numbers in lost.most_common()},
        flows=[f"{flow} {numbers:,}" for flow, numbers in flows.most_common(NAMED_MAX)],
    )


def _is_same(one: Operator, other: Operator) -> bool:
    """Compare operators by code and tax number, by name where one has neither."""
    codes = ((one.code, other.code), (one.tax_number, other.tax_number))
    known = [mine == theirs for mine, theirs in codes if mine and theirs]
    return one == other or any(known) or (not known and one.name == other.name != "")


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
        position = None
    if position is None or not position.applied:
        return "the current snapshot was not made by increments"
    dump = next((dump for dump in dumps if dump.kind in position.feed.names(Role.DUMP)), None)
    following = position.feed.first_window(dump, as_of) if dump is not None else None
    if following is None or not position.first < following <= position.following:
        return "increments have not led the current snapshot to the time of the dump"
    # What windows from there on changed last.
    since = [
        (source.kind, source.sequence) in position.applied and (source.sequence or 0) >= following
        for source in current.metadata.sources
    ]
    changed = current.changed_by
    later = changed.numbers[np.array(since, np.bool_)[changed.source]]
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
        changed_since=len(later),
        examples=tuple(examples),
        **{kind.name.lower(): count for kind, count in counts.items()},
    )


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
    sources = current.sources if current is not None else ()
    before = {source.kind: source for source in sources}
    # A file that was given under several names has the first. The history may have been lost; the
    # snapshot itself names its sources.
    names: dict[str, str] = {}
    for entry in store.history() if store is not None else ():
        for each in entry.get("sources", ()):
            names.setdefault(each["sha256"], each["name"])
    for source in sources:
        names.setdefault(source.sha256, source.name)
    faults = []
    for file in files:
        name, member = file.source.path.name, Path(file.source.member or "").name
        kind = kind_of(file.source.kind)
        outer, inner = kind.stated(name), kind.stated(member)
        if outer and inner and outer != inner:
            faults.append(f"{name} holds {member}: the zip was renamed")
        # An operator table or a plan is often the same for days. Two increments without rows are
        # alike, and neither is wrong.
        if file.source.rows and (file.ported is not None or file.increment is not None):
            known = names.setdefault(file.source.sha256, name)
            if Path(known).stem.lower() != Path(name).stem.lower():
                faults.append(
                    f"{name} is byte for byte {known}, which was given before: one of the names is "
                    "wrong"
                )
        if kind.name in before:
            faults += _out_of_sequence(file, before[kind.name])
    return faults


def _out_of_sequence(file: ParsedFile, before: Source) -> list[str]:
    source, kind = file.source, kind_of(file.source.kind)
    if source.sequence is None or before.sequence is None:
        return []
    name, steps = source.path.name, source.sequence - before.sequence
    if steps < 0:
        return [
            f"{name} has sequence {source.sequence}, the current snapshot is made of {before.name}"
        ]
    then = kind.stated(before.name)
    if kind.every is None or source.as_of is None or then is None:
        return []
    times = (source.as_of - then[0]) / kind.every
    fault = f"{name} is {steps} in sequence and {times:g} in time after {before.name}: one is wrong"
    return [fault] if steps != times else []


def routing_numbers(content: Content, current: Snapshot | None) -> RoutingNumbers:
    """Compare routing numbers with region and MNC, and judge by the current snapshot what is usual.

    Without a current snapshot, what most of the content's own routing numbers do is usual.
    """
    uses = records_by_row(content.number_route, len(content.routes))
    numbers, disagreeing = _agreement(content.routes, uses)
    usual = disagreeing.total() * 2 <= numbers
    if current is not None:
        before, not_before = _agreement(current.routes, current.records_by_row)
        usual = not_before.total() <= _UNUSUAL_SHARE * before if before else usual
    return RoutingNumbers(
        numbers=numbers,
        disagreeing=disagreeing.total(),
        usual=usual,
        examples=[example for example, _ in disagreeing.most_common(NAMED_MAX)],
    )


def _agreement(routes: Iterable[Route], records: NDArray[np.integer]) -> tuple[int, Counter[str]]:
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
    had = np.isin(effect.kind, (Kind.RETURNED, Kind.MOVED))
    has = np.isin(effect.kind, (Kind.PORTED, Kind.MOVED))
    for rows, step in ((effect.before[had], -1), (effect.after[has], 1)):
        for row, numbers in enumerate(np.bincount(rows).tolist()):
            after[operator_name(patch.routes[row].operator)] += step * numbers
    return after
