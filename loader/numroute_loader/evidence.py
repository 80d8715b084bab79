"""Gathers what the gate is told of a build: from the files, what they became, and the store."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np

from numroute.index.compare import by_operator
from numroute_loader.gate import (
    Evidence,
    Movement,
    OutsidePlan,
    PortDates,
    Previous,
    Rejected,
    RowCount,
    UnknownOperators,
    WindowDates,
)
from numroute_loader.registries import find_first
from numroute_loader.sequence import contradictions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from numroute.index import Snapshot
    from numroute.index.compare import Difference
    from numroute_loader.gate import ChosenNumbers, GateLimits
    from numroute_loader.merge import MergeResult
    from numroute_loader.reading.description import FileKind
    from numroute_loader.records import ParsedFile


def gather(  # noqa: PLR0913 - each is a fact that its caller knows
    files: Sequence[ParsedFile],
    kinds: Sequence[FileKind],
    merged: MergeResult,
    *,
    as_of: datetime,
    limits: GateLimits,
    current: Snapshot | None = None,
    changed: Difference | None = None,
    chosen: ChosenNumbers | None = None,
    seen: Mapping[str, str] | None = None,
) -> Evidence:
    """Return the evidence of a build.

    ``current`` is the snapshot to compare with, ``changed`` what changed since, None where one of
    the two has no ported numbers. ``seen``: digest and name of the files that were given before.
    """
    content, report = merged.content, merged.report
    dumps = [file for file in files if file.ported is not None]
    return Evidence(
        as_of=as_of,
        now=datetime.now(UTC),
        ported=report.ported,
        by_operator=by_operator(content.routes, content.number_route),
        range_numbers=report.range_numbers,
        previous=Previous(
            ported=len(current.tables.route),
            as_of=current.metadata.as_of,
            range_numbers=current.metadata.counts.get("range_numbers", 0),
            snapshot_id=current.metadata.snapshot_id,
            by_operator=changed.before if changed is not None else None,
        )
        if current is not None
        else None,
        row_counts=row_counts_of(files),
        rejected=_rejected(dumps),
        duplicates=sum(file.duplicates for file in dumps) if dumps else None,
        sequence=contradictions(
            files, kinds, current.metadata if current is not None else None, seen
        ),
        port_dates=port_dates_of(content.ported_at, as_of, limits),
        unknown_operators=_unknown(files, kinds, merged),
        outside_plan=_outside(files, kinds, merged),
        movement=Movement(
            ported=changed.changes.ported,
            returned=changed.changes.returned,
            moved=changed.changes.moved,
            flows=changed.flows,
        )
        if changed is not None
        else None,
        chosen=chosen,
    )


def row_counts_of(files: Sequence[ParsedFile]) -> Sequence[RowCount] | None:
    """Return what the files say of their rows, None where none does."""
    counts = [
        RowCount(file=file.source.path.name, stated=file.stated_rows, actual=file.source.rows)
        for file in files
        if file.stated_rows is not None
    ]
    return counts or None


def _rejected(dumps: Sequence[ParsedFile]) -> Rejected | None:
    if not dumps:
        return None
    return Rejected(
        rows=sum(dump.rejected_rows for dump in dumps),
        of_rows=sum(dump.source.rows for dump in dumps),
        places=[place for dump in dumps for place in dump.rejected],
    )


def port_dates_of(
    ported_at: NDArray[np.uint32] | None, as_of: datetime, limits: GateLimits
) -> PortDates | None:
    """Return when numbers were ported (seconds since the epoch), None where nobody says so."""
    if ported_at is None:
        return None
    ahead = timedelta(hours=limits.port_dates_ahead_hours)
    # A time after 2106 does not fit the column: nothing can then lie ahead.
    latest = np.uint32(min((as_of + ahead).timestamp(), 2**32 - 1))
    dated = int(np.count_nonzero(ported_at))
    newest = int(ported_at.max(initial=0, where=ported_at <= latest))
    return PortDates(
        newest=datetime.fromtimestamp(newest, UTC) if newest else None,
        ahead=int(np.count_nonzero(ported_at > latest)),
        dated=dated,
    )


def window_dates_of(files: Sequence[ParsedFile]) -> Sequence[WindowDates]:
    """Return when the changes of each window took place, as far as its files say."""
    windows: dict[datetime, list[ParsedFile]] = {}
    for file in files:
        if file.source.as_of is not None:
            windows.setdefault(file.source.as_of, []).append(file)
    found = []
    for time, together in windows.items():
        columns = [
            file.increment.changed_at
            for file in together
            if file.increment is not None and file.increment.changed_at is not None
        ]
        changed_at = np.concatenate([np.empty(0, np.uint32), *(each[each > 0] for each in columns)])
        if len(changed_at):
            middle = int(np.sort(changed_at)[(len(changed_at) - 1) // 2])
            found.append(
                WindowDates(
                    name=together[0].source.path.name,
                    time=time,
                    middle=datetime.fromtimestamp(middle, UTC),
                    dated=len(changed_at),
                )
            )
    return found


def _unknown(
    files: Sequence[ParsedFile], kinds: Sequence[FileKind], merged: MergeResult
) -> UnknownOperators | None:
    if not merged.report.operator_rows:
        return None
    report, unknown = merged.report, merged.report.unknown_operators
    return UnknownOperators(
        codes=[f"{each.code} ({each.numbers} numbers, {each.ranges} ranges)" for each in unknown],
        share=max(
            sum(each.numbers for each in unknown) / max(report.ported, 1),
            sum(each.ranges for each in unknown) / max(report.ranges, 1),
        ),
        where=_first_place(files, kinds, unknown[0].code) if unknown else "",
    )


def _outside(
    files: Sequence[ParsedFile], kinds: Sequence[FileKind], merged: MergeResult
) -> OutsidePlan | None:
    if not merged.report.ranges:
        return None
    outside = merged.report.outside_plan
    if outside is None:
        return OutsidePlan(count=0)
    first = int(merged.content.numbers[outside.first_index])
    return OutsidePlan(
        count=outside.count, example=outside.example, where=_first_place(files, kinds, first)
    )


def _first_place(files: Sequence[ParsedFile], kinds: Sequence[FileKind], wanted: str | int) -> str:
    for file, kind in zip(files, kinds, strict=True):
        if file.operators is None:
            line = find_first(file.source.path, kind, wanted)
            if line is not None:
                return f" (first in {file.source.path}:{line})"
    return ""
