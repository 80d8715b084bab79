"""The operators and routes of a snapshot.

The registry's code identifies an operator. A holder in a plan is the registry's operator with the
same tax number; without one it is identified by its own tax number, or else by its name.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from numroute.index.content import FIXED_STATUSES
from numroute.model import LineType, Operator, Region, Route, Status
from numroute_loader.brands import BrandTable
from numroute_loader.merge.ranges import Layer
from numroute_loader.reading.description import RouteKey

_BLOCK = 1 << 20
"""Entries mapped at once: numpy widens indexes to eight bytes, which must not happen to all."""

# A fixed line or a service has no MCC-MNC, even where its operator has a mobile network too.
_MOBILE_LINES = frozenset({LineType.MOBILE, LineType.UNSPECIFIED})

_CONTROL = dict.fromkeys((*range(0x20), *range(0x7F, 0xA0)), "\N{REPLACEMENT CHARACTER}")
"""Characters that a terminal may take as commands."""

_FIXED = tuple(Route(status=status) for status in FIXED_STATUSES)


class RouteTable:
    """The distinct routes, in the order in which they were added."""

    def __init__(
        self,
        brands: BrandTable,
        regions: Mapping[str, str],
        *,
        known: Sequence[Route] = _FIXED,
    ) -> None:
        """Start with the ``known`` rows, by default those of every table.

        ``regions`` maps region codes to names.
        """
        self._brands = brands
        self._regions = regions
        self._routes = list(known)
        self._row_of = {route: row for row, route in enumerate(known)}

    @property
    def routes(self) -> Sequence[Route]:
        """The routes by row."""
        return tuple(self._routes)

    def rows(self, status: Status, named: Iterable[tuple[RouteKey, Operator]]) -> NDArray[np.int64]:
        """Return the row of each key with its operator; equal routes share a row."""
        rows = []
        for key, operator in named:
            route = self._route(status, key, operator)
            rows.append(self._row_of.setdefault(route, len(self._routes)))
            if rows[-1] == len(self._routes):
                self._routes.append(route)
        return np.array(rows, dtype=np.int64)

    def _route(self, status: Status, key: RouteKey, operator: Operator) -> Route:
        brand = self._brands.find(
            code=operator.code,
            tax_number=operator.tax_number,
            registry_mnc=key.registry_mnc,
        )
        mobile = key.line_type in _MOBILE_LINES
        return Route(
            status=status,
            operator=_named(operator, brand.brand),
            mcc=brand.mcc if mobile else "",
            mnc=brand.mnc if mobile else "",
            registry_mnc=key.registry_mnc.translate(_CONTROL),
            routing_number=key.routing_number.translate(_CONTROL),
            region=Region(
                code=key.region_code.translate(_CONTROL),
                # The table's name takes precedence over that of another plan.
                name=self._regions.get(key.region_code, key.region_name).translate(_CONTROL),
            ),
            line_type=key.line_type,
        )


def _named(operator: Operator, brand: str) -> Operator:
    return Operator(
        code=operator.code.translate(_CONTROL),
        name=operator.name.translate(_CONTROL),
        brand=brand,
        tax_number=operator.tax_number.translate(_CONTROL),
    )


def mapped(rows: NDArray[np.int64], index: NDArray[np.integer]) -> NDArray[np.unsignedinteger]:
    """Return ``rows[index]`` in the smallest unsigned type, without wide temporaries."""
    small = rows.astype(np.min_scalar_type(int(rows.max(initial=0))))
    result = np.empty(len(index), dtype=small.dtype)
    for begin in range(0, len(index), _BLOCK):
        block = slice(begin, begin + _BLOCK)
        result[block] = small[index[block]]
    return result


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorDirectory:
    """The operators by code, tax number and name.

    ``by_code``: the registry's operators.
    ``code_of_tax_number``, ``code_of_name``: codes of ``by_code``; a name is here only when the
    registry's table gives it to one operator. ``name_of_tax_number``: a holder's name in the plans.
    """

    by_code: Mapping[str, Operator] = field(default_factory=dict)
    code_of_tax_number: Mapping[str, str] = field(default_factory=dict)
    code_of_name: Mapping[str, str] = field(default_factory=dict)
    name_of_tax_number: Mapping[str, str] = field(default_factory=dict)

    def serving(self, key: RouteKey) -> Operator:
        """Return the operator that a registry's record names, without brand.

        A record of the simplified tier has only a name: that of the registry's operator table.
        """
        if key.operator_code or key.tax_number:
            return self.holder(key)
        code = self.code_of_name.get(key.operator_name, "")
        return self.by_code[code] if code else Operator(name=key.operator_name)

    def holder(self, key: RouteKey) -> Operator:
        """Return the operator that holds a range, without brand."""
        code = key.operator_code or self.code_of_tax_number.get(key.tax_number, "")
        if code:
            unlisted = Operator(code=code, name=key.operator_name, tax_number=key.tax_number)
            return self.by_code.get(code, unlisted)
        if key.tax_number:
            name = self.name_of_tax_number.get(key.tax_number, key.operator_name)
            return Operator(code=key.tax_number, name=name, tax_number=key.tax_number)
        return Operator(name=key.operator_name)


def build_directory(rows: Sequence[RouteKey], layers: Sequence[Layer]) -> OperatorDirectory:
    """Return the directory of a registry's operator table and all plans.

    An operator has a row per MNC. Its name and its tax number are the most frequent non-empty ones
    of its rows, the first of them in a tie.
    """
    name_of_tax_number = _usual_names(layers)
    names: dict[str, Counter[str]] = defaultdict(Counter)
    tax_numbers: dict[str, Counter[str]] = defaultdict(Counter)
    codes_of_name: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        names[row.operator_code][row.operator_name] += 1
        tax_numbers[row.operator_code][row.tax_number] += 1
        codes_of_name[row.operator_name].add(row.operator_code)
    by_code: dict[str, Operator] = {}
    for code, counts in names.items():
        tax_number = _most_frequent(tax_numbers[code])
        name = _most_frequent(counts) or name_of_tax_number.get(tax_number, "")
        by_code[code] = Operator(code=code, name=name, tax_number=tax_number)
    return OperatorDirectory(
        by_code=by_code,
        # Of several codes with one tax number the first counts.
        code_of_tax_number={
            operator.tax_number: code
            for code, operator in reversed(by_code.items())
            if operator.tax_number
        },
        code_of_name={
            name: min(codes) for name, codes in codes_of_name.items() if name and len(codes) == 1
        },
        name_of_tax_number=name_of_tax_number,
    )


def known_operators(operators: Iterable[Operator]) -> OperatorDirectory:
    """Return the directory of a snapshot's operators, which have been joined already."""
    first = {operator.code: operator for operator in reversed([*operators]) if operator.code}
    return OperatorDirectory(
        by_code={code: replace(operator, brand="") for code, operator in first.items()}
    )


def donor_rows(
    codes: Sequence[str],
    directory: OperatorDirectory,
    brands: BrandTable,
    known: Sequence[Operator] = (),
) -> tuple[tuple[Operator, ...], NDArray[np.int64]]:
    """Return the donors, the ``known`` ones first, and the row of each code."""
    row_of = {operator: row for row, operator in enumerate(known)}
    by_code = {operator.code: row for operator, row in row_of.items()}
    for code in codes:
        if code not in by_code:
            operator = directory.holder(RouteKey(operator_code=code))
            brand = brands.find(code=operator.code, tax_number=operator.tax_number).brand
            by_code[code] = row_of.setdefault(_named(operator, brand), len(row_of))
    return tuple(row_of), np.array([by_code[code] for code in codes], np.int64)


def _usual_names(layers: Iterable[Layer]) -> Mapping[str, str]:
    """Return for each tax number the spelling of its name that covers most numbers."""
    covered: dict[str, Counter[str]] = defaultdict(Counter)
    for layer in layers:
        # NOBODY is -1 and comes first.
        sums = np.bincount(layer.key[:-1] + 1, np.diff(layer.start), len(layer.keys) + 1)[1:]
        for key, numbers in zip(layer.keys, sums.tolist(), strict=True):
            if key.tax_number and key.operator_name:
                covered[key.tax_number][key.operator_name] += numbers
    return {tax_number: _most_frequent(names) for tax_number, names in covered.items()}


def _most_frequent(counts: Counter[str]) -> str:
    """Return the most frequent non-empty text, the first one in a tie."""
    return max((text for text in counts if text), key=counts.__getitem__, default="")
