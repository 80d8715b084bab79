"""The file of overrides: number or range, operator, reason, author, expiry; one a line.

Columns: ``number`` and, for a range, ``last`` (whole E.164 numbers of a country that the snapshot
covers, inclusive), ``operator`` (a code that the snapshot knows), ``reason``, ``author``; and, if
needed, ``expires`` (ISO 8601 with time zone), ``mcc`` and ``mnc``, ``routing_number``, ``region``
(a code or a name that the snapshot knows; without it the numbers keep the registry's region).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import msgspec
import numpy as np
from phonenumbers import region_code_for_country_code

from numroute.e164 import parse
from numroute.e164.metadata import country_codes, country_plan
from numroute.errors import InputError
from numroute.index import Override, Snapshot
from numroute.index.layout import BLOCK_SHIFT
from numroute.index.overrides import OVERRIDES_MAX, find_crossing
from numroute.model import (
    InvalidReason,
    LineType,
    Operator,
    Region,
    mask_digits,
    mask_number,
)
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


@dataclass(frozen=True, slots=True, kw_only=True)
class OverrideFile:
    """The overrides of a file in its order, and how many of its lines have expired."""

    overrides: tuple[Override, ...]
    expired: int


def read_overrides(path: Path, snapshot: Snapshot) -> OverrideFile:
    """Read a file of overrides; names and networks of operators are those of the snapshot.

    Raises InputError, which names the line and masks numbers.
    """
    known = _Known(snapshot)
    now = datetime.now(UTC)
    overrides: dict[int, Override] = {}
    expired = 0
    for row in read_table(path, _Cells):
        override = _Line(row, known).override()
        if not override.active(now):
            expired += 1
            continue
        overrides[row.line] = override
        if len(overrides) > OVERRIDES_MAX:
            raise row.error(
                f"more than {OVERRIDES_MAX} overrides",
                hint="So many belong in the registry's data, or in one range",
            )
    crossing = find_crossing(overrides.values())
    if crossing:
        first, second = (
            line for line, each in overrides.items() if any(each is one for one in crossing)
        )
        raise InputError(
            path,
            f"crosses the override in line {first}, or repeats it: which one decides?",
            line=second,
            hint="Split the ranges so that they are apart, or one lies within the other",
        )
    return OverrideFile(overrides=tuple(overrides.values()), expired=expired)


class _Known:
    """The operators, their networks, the regions and the country codes of a snapshot."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.operators: dict[str, Operator] = {}
        self.networks: dict[str, set[tuple[str, str]]] = {}
        self.line_types: dict[str, set[LineType]] = {}
        self.regions: dict[str, Region] = {}
        for row in range(len(snapshot.routes)):
            route = snapshot.routes[row]
            code = route.operator.code
            if code:
                self.operators.setdefault(code, route.operator)
                self.networks.setdefault(code, set()).add((route.mcc, route.mnc))
                self.line_types.setdefault(code, set()).add(route.line_type)
            for name in (route.region.code, route.region.name):
                if name:
                    self.regions.setdefault(name, route.region)
        # Without a plan there is no coverage, but blocks of ported numbers.
        firsts = [each.first for each in snapshot.metadata.coverage] or [
            block << BLOCK_SHIFT for block in snapshot.tables.blocks.tolist()
        ]
        beginnings = {_country_code(str(first)) for first in firsts}
        self.country_codes = sorted(beginnings - {""})
        self._snapshot = snapshot

    def covered(self, first: int, last: int) -> tuple[Region, LineType]:
        """Return the region and the line type of numbers, each where all of them have the same.

        One number has those of its own record; of several, those of the plan's ranges count.
        """
        tables, routes = self._snapshot.tables, self._snapshot.routes
        if first == last:
            numbers = np.array([first], np.uint64)
            rows = self._snapshot.lookup(numbers, overrides=False).route
        else:
            begin = int(tables.range_start.searchsorted(np.uint64(first), side="right")) - 1
            end = int(tables.range_start.searchsorted(np.uint64(last), side="right"))
            rows = tables.range_route[max(begin, 0) : end]
        covered = [routes[row] for row in np.unique(rows).tolist()]
        regions = {route.region for route in covered}
        line_types = {route.line_type for route in covered}
        return (
            regions.pop() if len(regions) == 1 else Region(),
            line_types.pop() if len(line_types) == 1 else LineType.UNSPECIFIED,
        )


def _country_code(digits: str) -> str:
    """Return the country code that a number begins with, empty where no country has it."""
    return next((digits[:n] for n in (1, 2, 3) if digits[:n] in country_codes()), "")


@dataclass(frozen=True, slots=True)
class _Line:
    """One line of the file."""

    row: Row[_Cells]
    known: _Known

    def override(self) -> Override:
        """Return what the line says. Raises InputError."""
        cells = self.row.cells
        first = self._covered("number", cells.number)
        last = self._covered("last", cells.last) if cells.last is not None else first
        if last < first:
            raise self.row.error("last lies before number")
        code = cells.operator
        operator = self.known.operators.get(code)
        if operator is None:
            reason = f"operator {mask_digits(code)!r} is not an operator of the snapshot"
            raise self.row.error(reason, hint=self._code_hint(code))
        mcc, mnc = self._network(self.known.networks[code])
        if cells.region and cells.region not in self.known.regions:
            reason = f"region {mask_digits(cells.region)!r} is not a region of the snapshot"
            raise self.row.error(reason, hint="Give its code or name")
        covered_region, covered_type = self.known.covered(first, last)
        line_types = self.known.line_types[code] - {LineType.UNSPECIFIED}
        if covered_type is LineType.UNSPECIFIED and len(line_types) == 1:
            (covered_type,) = line_types
        return Override(
            first=first,
            last=last,
            operator=operator,
            mcc=mcc,
            mnc=mnc,
            routing_number=cells.routing_number,
            region=self.known.regions[cells.region] if cells.region else covered_region,
            line_type=covered_type,
            reason=cells.reason,
            author=cells.author,
            expires=cells.expires and cells.expires.astimezone(UTC),
        )

    def _covered(self, column: str, number: int) -> int:
        """Return a number of a country that the snapshot covers; raises InputError for another."""
        digits = str(number)
        code, covered = _country_code(digits), self.known.country_codes
        plan = country_plan(code) if code else None
        fault = InvalidReason.UNSPECIFIED
        if plan is not None:
            fault = plan.judge_length(len(digits) - len(code))
        if not code:
            reason = "begins with no country code"
        elif covered and code not in covered:
            reason = f"begins with country code {code}; the snapshot covers {', '.join(covered)}"
        elif fault is not InvalidReason.UNSPECIFIED:
            word = "short" if fault is InvalidReason.TOO_SHORT else "long"
            reason = f"is too {word} for a number with country code {code}"
        else:
            return int(number)
        reason = f"{column} {mask_number(number)!r} {reason}"
        raise self.row.error(reason, hint=self._meant(digits, code))

    def _meant(self, digits: str, code: str) -> str:
        """Return a hint: the whole number that a national number probably stands for, masked."""
        covered = self.known.country_codes
        for home in () if code in covered else covered:
            meant = parse(digits, region_code_for_country_code(int(home))).number
            if meant and str(meant) != digits:
                return (
                    f"If it is a national number of country code {home}, write it as "
                    f"{mask_number(meant)}, with all {len(str(meant))} digits"
                )
        return "Write a whole international number, as 79161234567 or +79161234567"

    def _code_hint(self, name: str) -> str:
        """Return where codes are found: those of the operators with this brand or name, if any."""
        codes = [
            code
            for code, operator in self.known.operators.items()
            if name and name.casefold() in {operator.brand.casefold(), operator.name.casefold()}
        ]
        if codes:
            return f"Write its code: {' or '.join(sorted(codes))}"
        return "Take a code from the operator table, or from `numroute lookup NUMBER --json`"

    def _network(self, of_operator: set[tuple[str, str]]) -> tuple[str, str]:
        cells = self.row.cells
        if cells.mcc:
            return cells.mcc, cells.mnc
        named = sorted(each for each in of_operator if each[0])
        if len(named) > 1:
            networks = ", ".join("-".join(each) for each in named)
            reason = f"mcc is empty, and the operator has several networks: {networks}"
            raise self.row.error(reason, hint="Give mcc and mnc")
        return named[0] if named else ("", "")
