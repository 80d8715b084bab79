"""The route table of a snapshot: the keys of the files with operator, brand and region."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from numroute.index.content import FIXED_STATUSES
from numroute.model import LineType, Operator, Region, Route

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from numroute.model import Status
    from numroute_loader.brands import BrandTable
    from numroute_loader.records import RouteKey

_BLOCK = 1 << 20
"""Entries mapped at once: numpy widens indexes to eight bytes, which must not happen to all."""

# A fixed line or a service has no MCC-MNC, even where its operator has a mobile network too.
_MOBILE_LINES = frozenset({LineType.MOBILE, LineType.UNSPECIFIED})


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
        return np.array(
            [self._row(self._route(status, key, operator)) for key, operator in named],
            dtype=np.int64,
        )

    def _row(self, route: Route) -> int:
        row = self._row_of.setdefault(route, len(self._routes))
        if row == len(self._routes):
            self._routes.append(route)
        return row

    def _route(self, status: Status, key: RouteKey, operator: Operator) -> Route:
        brand = self._brands.find(
            code=operator.code,
            tax_number=operator.tax_number,
            registry_mnc=key.registry_mnc,
        )
        mobile = key.line_type in _MOBILE_LINES
        return Route(
            status=status,
            operator=replace(operator, brand=brand.brand),
            mcc=brand.mcc if mobile else "",
            mnc=brand.mnc if mobile else "",
            registry_mnc=key.registry_mnc,
            routing_number=key.routing_number,
            region=Region(
                code=key.region_code,
                # The table's name takes precedence over that of another plan.
                name=self._regions.get(key.region_code, key.region_name),
            ),
            line_type=key.line_type,
        )


def branded(operator: Operator, brands: BrandTable) -> Operator:
    """Return the operator with its brand."""
    brand = brands.find(code=operator.code, tax_number=operator.tax_number)
    return replace(operator, brand=brand.brand)


def mapped(rows: NDArray[np.int64], index: NDArray[np.integer]) -> NDArray[np.unsignedinteger]:
    """Return ``rows[index]`` in the smallest unsigned type, without wide temporaries."""
    small = rows.astype(np.min_scalar_type(int(rows.max(initial=0))))
    result = np.empty(len(index), dtype=small.dtype)
    for begin in range(0, len(index), _BLOCK):
        block = slice(begin, begin + _BLOCK)
        result[block] = small[index[block]]
    return result


def counted(index: NDArray[np.unsignedinteger], length: int) -> NDArray[np.int64]:
    """Return int64[length]: how often each index occurs, without wide temporaries."""
    counts = np.zeros(length, dtype=np.int64)
    for begin in range(0, len(index), _BLOCK):
        counts += np.bincount(index[begin : begin + _BLOCK], minlength=length)
    return counts
