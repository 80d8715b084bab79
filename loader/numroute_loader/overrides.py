"""The file of overrides: number or range, operator, reason, author, expiry; one a line.

Columns: ``number`` and, for a range, ``last`` (whole E.164 numbers of a country that the snapshot
covers, inclusive), ``operator`` (a code that the snapshot knows), ``reason``, ``author``; and, if
needed, ``expires`` (ISO 8601 with time zone), ``mcc`` and ``mnc``, ``routing_number``, ``region``
(a code or a name that the snapshot knows; without it the numbers keep the registry's region).
"""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import msgspec
import numpy as np
from phonenumbers import region_code_for_country_code

from numroute.e164 import parse
from numroute.e164.metadata import country_codes
from numroute.errors import InputError
from numroute.index import Override, Snapshot
from numroute.index.overrides import OVERRIDES_MAX, find_crossing
from numroute.model import LineType, Region, Route, mask_digits, mask_number
from numroute_loader.commented_csv import Number, Row, read_table

REASON_CHARS_MAX = 500
AUTHOR_CHARS_MAX = 100


class _Cells(msgspec.Struct, kw_only=True):
    number: Number
    operator: str
    reason: Annotated[str, msgspec.Meta(max_length=REASON_CHARS_MAX)]
    author: Annotated[str, msgspec.Meta(max_length=AUTHOR_CHARS_MAX)]
    last: Number | None = None
    expires: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    mcc: Annotated[str, msgspec.Meta(pattern=r"\A[0-9]{3}\Z")] = ""
    mnc: Annotated[str, msgspec.Meta(pattern=r"\A[0-9]{2,3}\Z")] = ""
    routing_number: Annotated[str, msgspec.Meta(pattern=r"\A[0-9A-Za-z]{1,32}\Z")] = ""
    region: str = ""

    def __post_init__(self) -> None:
        if bool(self.mcc) != bool(self.mnc):
            raise ValueError("mcc and mnc stand together or not at all")
        if not (self.reason + self.author).isprintable():
            raise ValueError("reason and author must be printable text")


def read_overrides(path: Path, snapshot: Snapshot) -> tuple[tuple[Override, ...], int]:
    """Return the overrides of a file in its order, and how many of its lines have expired.

    Names and networks of operators are those of the snapshot. Raises InputError, which names the
    line and masks numbers.
    """
    reader = _Reader(snapshot)
    now = datetime.now(UTC)
    overrides: list[Override] = []
    lines: dict[int, int] = {}
    expired = 0
    for row in read_table(path, _Cells):
        override = reader.override(row)
        if not override.active(now):
            expired += 1
            continue
        overrides.append(override)
        lines[id(override)] = row.line
        if len(overrides) > OVERRIDES_MAX:
            hint = "So many belong in the registry's data, or in one range"
            raise row.error(f"more than {OVERRIDES_MAX} overrides", hint=hint)
    crossing = find_crossing(overrides)
    if crossing:
        first, second = sorted(lines[id(each)] for each in crossing)
        raise InputError(
            path,
            f"crosses the override in line {first}, or repeats it: which one decides?",
            line=second,
            hint="Split the ranges so that they are apart, or one lies within the other",
        )
    return tuple(overrides), expired


class _Reader:
    """Turns lines into overrides by what a snapshot knows."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._routes: dict[str, list[Route]] = defaultdict(list)
        self._regions: dict[str, Region] = {}
        for route in snapshot.routes:
            if route.operator.code:
                self._routes[route.operator.code].append(route)
            for name in (route.region.code, route.region.name):
                self._regions.setdefault(name, route.region)
        firsts = [str(each.first) for each in snapshot.metadata.coverage]
        self._countries = tuple(
            code for code in country_codes() if any(each.startswith(code) for each in firsts)
        )

    def override(self, row: Row[_Cells]) -> Override:
        """Return what a line says. Raises InputError."""
        cells = row.cells
        first, last = int(cells.number), int(cells.last or cells.number)
        self._refuse_others(row, "number", first)
        self._refuse_others(row, "last", last)
        if last < first:
            raise row.error("last lies before number")
        if cells.operator not in self._routes:
            reason = f"operator {mask_digits(cells.operator)!r} is not an operator of the snapshot"
            hint = "Write its code as the operator table or `numroute lookup NUMBER --json` has it"
            raise row.error(reason, hint=hint)
        if cells.region and cells.region not in self._regions:
            reason = f"region {mask_digits(cells.region)!r} is not a region of the snapshot"
            raise row.error(reason, hint="Give its code or name")
        routes = self._routes[cells.operator]
        networks = sorted({(route.mcc, route.mnc) for route in routes if route.mcc})
        if cells.mcc:
            networks = [(cells.mcc, cells.mnc)]
        if len(networks) > 1:
            listed = ", ".join("-".join(each) for each in networks)
            reason = f"mcc is empty, and the operator has several networks: {listed}"
            raise row.error(reason, hint="Give mcc and mnc")
        mcc, mnc = networks[0] if networks else ("", "")
        region, line_type = self._covered(first, last)
        line_types = {route.line_type for route in routes} - {LineType.UNSPECIFIED}
        if line_type is LineType.UNSPECIFIED and len(line_types) == 1:
            (line_type,) = line_types
        return Override(
            first=first,
            last=last,
            operator=routes[0].operator,
            mcc=mcc,
            mnc=mnc,
            routing_number=cells.routing_number,
            region=self._regions[cells.region] if cells.region else region,
            line_type=line_type,
            reason=cells.reason,
            author=cells.author,
            expires=cells.expires and cells.expires.astimezone(UTC),
        )

    def _covered(self, first: int, last: int) -> tuple[Region, LineType]:
        """Return the region and the line type of numbers, each where all of them have the same.

        One number has those of its own record; of several, those of the plan's ranges count.
        """
        numbers = np.array([first, last], np.uint64)
        rows = self._snapshot.lookup(numbers[:1], overrides=False).route
        if first < last:
            tables = self._snapshot.tables
            begin, end = tables.range_start.searchsorted(numbers, "right")
            rows = tables.range_route[begin - 1 : end]
        routes = [self._snapshot.routes[row] for row in np.unique(rows).tolist()]
        regions = {route.region for route in routes}
        line_types = {route.line_type for route in routes}
        return (
            regions.pop() if len(regions) == 1 else Region(),
            line_types.pop() if len(line_types) == 1 else LineType.UNSPECIFIED,
        )

    def _refuse_others(self, row: Row[_Cells], column: str, number: int) -> None:
        """Refuse a number that is not a whole one of a country that the snapshot covers."""
        digits = str(number)
        if parse(f"+{digits}").number == number and digits.startswith(self._countries or ""):
            return
        countries = " or ".join(self._countries) or "any country"
        hint = "Write a whole international number, as 79161234567 or +79161234567"
        for code in self._countries:
            meant = parse(digits, region_code_for_country_code(int(code))).number
            if meant and not digits.startswith(code):
                hint = f"If it is a national number, write it as {mask_number(meant)}, with all "
                hint += f"{len(str(meant))} digits"
        reason = (
            f"{column} {mask_number(number)!r} is not a whole number of country code {countries}"
        )
        raise row.error(reason, hint=hint)
