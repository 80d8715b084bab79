"""From the files that were read to the content of a snapshot."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from numroute.errors import InputError, SettingError
from numroute.index.bitmap import records_by_row
from numroute.index.content import FIXED_STATUSES, Content
from numroute.index.layout import OUTSIDE_ROW
from numroute.model import Coverage, Operator, Status, mask_number
from numroute_loader.brands import BrandTable
from numroute_loader.merge.ranges import NOBODY, Layer, plan_layer, stack_layers
from numroute_loader.merge.routes import (
    OperatorDirectory,
    RouteTable,
    build_directory,
    donor_rows,
    mapped,
)
from numroute_loader.reading.description import ParsedFile, PortedRecords, Ranges, RouteKey


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownOperator:
    """A code that the registry's operator table lacks, with its ported numbers and its ranges."""

    code: str
    numbers: int
    ranges: int = 0

    def __str__(self) -> str:
        ranges = f", {self.ranges} ranges" if self.ranges else ""
        return f"{self.code} ({self.numbers} numbers{ranges})"


@dataclass(frozen=True, slots=True, kw_only=True)
class OutsidePlan:
    """Ported numbers that no range covers: the index of the first, and that number masked."""

    count: int
    first_index: int
    example: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeReport:
    """What the merge found, for the gate to judge.

    ``ranges`` are the pieces of the merged plan that have a holder, ``range_numbers`` the numbers
    in them. ``outside_plan`` is None where every ported number is in a range, or without a plan.
    ``operator_rows`` and ``unknown_operators`` are empty without an operator table.
    ``warnings`` are those of all files.
    """

    ported: int
    returned_home: int
    ranges: int
    range_numbers: int
    routes: int
    operators: int
    operator_rows: int = 0
    outside_plan: OutsidePlan | None = None
    unknown_operators: Sequence[UnknownOperator] = ()
    warnings: Sequence[str] = ()


class MergeResult(NamedTuple):
    """The content of a snapshot, with its report."""

    content: Content
    report: MergeReport


def merge(
    files: Sequence[ParsedFile], *, brands: BrandTable, regions: Mapping[str, str]
) -> MergeResult:
    """Merge at most one full dump, at most one operator table and any number of plan files.

    The plan of the registry that names holders by its own codes decides where it has a range; the
    other plans fill the rest, and the names that it leaves open. ``regions`` maps region codes to
    names. The dump's arrays are not copied, except for the route and donor indexes.

    Raises SettingError when there is neither a dump nor a plan, InputError for two dumps or two
    operator tables, or two files of one plan that overlap.
    """
    dump = _only(files, "ported", "full dump")
    table = _only(files, "operators", "operator table")
    layers = _layers(files)
    if dump is None and not layers:
        raise SettingError(
            "there is neither a full dump nor a numbering plan among the files",
            hint="Name at least one of them",
        )
    records = (dump.ported if dump is not None else None) or PortedRecords(
        numbers=np.empty(0, np.uint64), route=np.empty(0, np.uint8), keys=()
    )
    rows = (table.operators if table is not None else None) or ()
    stack = stack_layers(layers)
    directory = build_directory(rows, layers)
    route_table = RouteTable(brands, regions)
    route_of_key = route_table.rows(
        Status.PORTED, [(key, directory.serving(key)) for key in records.keys]
    )
    coverage = _coverage(files, dump)
    range_start, range_route = _range_layer(stack, directory, route_table, coverage)
    donors, row_of_code = donor_rows(records.donor_codes, directory, brands)
    content = Content(
        routes=route_table.routes,
        numbers=records.numbers,
        number_route=mapped(route_of_key, records.route),
        ported_at=records.ported_at,
        donor=None if records.donor is None else mapped(row_of_code, records.donor),
        donors=donors,
        range_start=range_start,
        range_route=range_route,
        coverage=coverage,
    )
    held = _is_held(content)
    report = MergeReport(
        ported=len(records.numbers),
        returned_home=records.returned_home,
        ranges=int(held.sum()),
        # The last piece has neither end nor holder.
        range_numbers=int(np.diff(range_start)[held[:-1]].sum()),
        routes=len(content.routes),
        operators=len({route.operator for route in content.routes} - {Operator()}),
        operator_rows=len(rows),
        outside_plan=_outside_plan(content) if layers else None,
        unknown_operators=_unknown_operators(rows, records, layers),
        warnings=tuple(warning for file in files for warning in file.warnings),
    )
    return MergeResult(content, report)


def _only(files: Sequence[ParsedFile], layer: str, what: str) -> ParsedFile | None:
    """Return the only file of a layer, or None."""
    matches = [file for file in files if file.source.layer == layer]
    if len(matches) > 1:
        reason = f"a second {what}, the first is {matches[0].source.path}"
        hint = "A snapshot is built from one of them"
        raise InputError(matches[1].source.path, reason, hint=hint)
    return matches[0] if matches else None


def _layers(files: Sequence[ParsedFile]) -> Sequence[Layer]:
    """Return one plan per registry, the one that knows the registry's operator codes first."""
    plans: dict[str, list[tuple[Path, Ranges]]] = defaultdict(list)
    for file in files:
        if file.ranges is not None:
            plans[file.source.registry].append((file.source.path, file.ranges))
    layers = [plan_layer(each) for each in plans.values()]
    return sorted(layers, key=lambda layer: not any(key.operator_code for key in layer.keys))


def _coverage(files: Sequence[ParsedFile], dump: ParsedFile | None) -> tuple[Coverage, ...]:
    """Return the blocks in which a plan has a range, by what their registries cover."""
    with_ported = dump.source.covers if dump is not None else ()
    covered = {
        Coverage(
            first=first,
            last=last,
            ported=any(low <= first and last <= high for low, high in with_ported),
        )
        for file in files
        if file.ranges is not None
        for first, last in file.source.covers
        if file.ranges.first.searchsorted(np.uint64(last), side="right")
        > file.ranges.last.searchsorted(np.uint64(first))
    }
    return tuple(sorted(covered))


def _range_layer(
    stack: Layer,
    directory: OperatorDirectory,
    route_table: RouteTable,
    coverage: Sequence[Coverage],
) -> tuple[NDArray[np.uint64], NDArray[np.unsignedinteger]]:
    """Return the starts and the routes of the merged plan's pieces.

    Within the coverage, numbers that nobody holds are pieces with the row of unallocated numbers.
    """
    edges = [edge for block in coverage for edge in (block.first, block.last + 1)]
    start = np.union1d(stack.start, np.array(edges, np.uint64))
    key = stack.key[stack.start.searchsorted(start, side="right") - 1]
    inside, with_ported = np.zeros((2, len(start)), np.bool_)
    for block in coverage:
        here = (start >= block.first) & (start <= block.last)
        inside |= here
        with_ported |= here & block.ported
    row = np.where(inside, FIXED_STATUSES.index(Status.UNALLOCATED), OUTSIDE_ROW)
    held = key != NOBODY
    for status, here in ((Status.NOT_PORTED, with_ported), (Status.RANGE_ONLY, ~with_ported)):
        used = np.unique(key[held & here]).tolist()
        keys = [stack.keys[at] for at in used]
        rows = np.zeros(len(stack.keys) + 1, np.int64)
        rows[used] = route_table.rows(status, [(each, directory.holder(each)) for each in keys])
        row = np.where(held & here, rows[key], row)
    # Neighbouring pieces with one row are one piece.
    changes = np.append([True], row[1:] != row[:-1])
    return start[changes], row[changes].astype(np.min_scalar_type(int(row.max())))


def _is_held(content: Content) -> NDArray[np.bool_]:
    """Return which pieces of a plan have a holder."""
    held = np.array([route.status.has_route for route in content.routes], np.bool_)
    return held.take(content.range_route)


def _outside_plan(content: Content) -> OutsidePlan | None:
    """Return the ported numbers in pieces without a holder, by the pieces' starts among them."""
    numbers = content.numbers
    position = np.append(np.searchsorted(numbers, content.range_start), len(numbers))
    inside = np.diff(position)
    outside = np.flatnonzero(~_is_held(content) & (inside > 0))
    if not len(outside):
        return None
    first = int(position[outside[0]])
    return OutsidePlan(
        count=int(inside[outside].sum()),
        first_index=first,
        example=mask_number(int(numbers[first])),
    )


def _unknown_operators(
    rows: Sequence[RouteKey], records: PortedRecords, layers: Sequence[Layer]
) -> Sequence[UnknownOperator]:
    """Return the codes that the operator table lacks, those with most ported numbers first."""
    if not rows:
        return ()
    known = {row.operator_code for row in rows} | {""}
    numbers: Counter[str] = Counter()
    ranges: Counter[str] = Counter()
    # Most dumps have no such code and need not be counted.
    if any(key.operator_code not in known for key in records.keys):
        uses = records_by_row(records.route, len(records.keys)).tolist()
        for key, count in zip(records.keys, uses, strict=True):
            numbers[key.operator_code] += count
    for layer in layers:
        ranges.update(layer.keys[at].operator_code for at in layer.key.tolist() if at != NOBODY)
    return tuple(
        UnknownOperator(code=code, numbers=numbers[code], ranges=ranges[code])
        for code in sorted(
            {*numbers, *ranges} - known, key=lambda code: (-numbers[code], -ranges[code], code)
        )
    )
