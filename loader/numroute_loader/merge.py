"""From the files that were read to the content of a snapshot."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from numroute.errors import InputError, SettingError
from numroute.index.content import FIXED_STATUSES, UNALLOCATED_ROW, Content
from numroute.model import LineType, Operator, Region, Route, Status, mask_number
from numroute_loader.brands import NO_BRAND
from numroute_loader.merge_operators import OperatorDirectory, build_directory
from numroute_loader.merge_ranges import combined_key, joined_pieces, plan_layer, stack_layers
from numroute_loader.records import PortedRecords, RouteKey

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from numroute_loader.brands import BrandTable
    from numroute_loader.merge_ranges import Layer, Stack
    from numroute_loader.records import OperatorRow, ParsedFile

_BLOCK = 1 << 20
"""Records handled at once: numpy widens indexes to eight bytes, which must not happen to all."""

# A fixed line or a service has no MCC-MNC, even where its operator has a mobile network too.
_MOBILE_LINES = frozenset({LineType.MOBILE, LineType.UNSPECIFIED})


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownOperator:
    """A code that the registry's operator table lacks, and how much refers to it.

    ``numbers``: ported numbers that it serves. ``ranges``: pieces of the plan that it holds.
    """

    code: str
    numbers: int
    ranges: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeReport:
    """What the merge found; the gate judges it.

    ``ranges``: pieces of the merged plan that somebody holds, and ``range_numbers`` the numbers in
    them. ``outside_plan``: ported numbers that no range covers (0 when there is no plan), with the
    position of the first among the ported numbers, and that number masked.
    ``unknown_operators``: only when an operator table was given. ``joined_by_tax_number``: holders
    of the plan that a tax number showed to be operators of the registry.
    """

    ported: int
    returned_home: int
    ranges: int
    range_numbers: int
    routes: int
    operators: int
    outside_plan: int = 0
    outside_plan_index: int | None = None
    outside_plan_example: str = ""
    unknown_operators: Sequence[UnknownOperator] = ()
    joined_by_tax_number: int = 0
    warnings: Sequence[str] = field(default=())


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeResult:
    """The content of a snapshot, and what is to be said about it."""

    content: Content
    report: MergeReport


def merge(
    files: Sequence[ParsedFile], *, brands: BrandTable, regions: Mapping[str, str]
) -> MergeResult:
    """Merge at most one full dump, at most one operator table and any number of plan files.

    The plan of the registry that names holders by its own codes decides where it has a range; the
    other plans fill the rest, and the names it leaves open. ``regions`` gives the names of region
    codes. The dump's arrays are passed through, not copied, except for the route numbers.

    Raises:
        SettingError: there is neither a dump nor a plan.
        InputError: two dumps or two operator tables, or two files of one plan that overlap.
    """
    dump = _only(files, [file for file in files if file.ported is not None], "full dumps")
    table = _only(files, [file for file in files if file.operators is not None], "operator tables")
    layers = _layers(files)
    if dump is None and not layers:
        raise SettingError(
            "there is neither a full dump nor a numbering plan among the files",
            hint="Name at least one of them",
        )
    records = _no_records() if dump is None or dump.ported is None else dump.ported
    rows = () if table is None or table.operators is None else table.operators
    stack = stack_layers(layers)
    directory = build_directory(rows, layers, stack)
    routes = _RouteTable(brands, regions)
    route_of_key = routes.rows(
        Status.PORTED, [(key, directory.serving(key)) for key in records.keys]
    )
    range_start, range_route = _range_layer(stack, directory, routes)
    donors, donor = _donors(records, directory, brands)
    content = Content(
        routes=tuple(routes.table),
        numbers=records.numbers,
        number_route=_mapped(route_of_key, records.route),
        ported_at=records.ported_at,
        donor=donor,
        donors=donors,
        range_start=range_start,
        range_route=range_route,
    )
    report = MergeReport(
        ported=len(records.numbers),
        returned_home=records.returned_home,
        routes=len(content.routes),
        operators=len({route.operator for route in content.routes} - {Operator()}),
        joined_by_tax_number=_joined(directory, layers),
        unknown_operators=_unknown(rows, records, stack),
        warnings=tuple(warning for file in files for warning in file.warnings),
        **_coverage(content),
    )
    return MergeResult(content=content, report=report)
