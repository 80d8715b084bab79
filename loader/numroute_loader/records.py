"""What every registry's files become: columns of records, and the small tables they point into.

These types know no country. Per-number data are numpy arrays; everything else is a frozen value.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from numroute.model import LineType


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteKey:
    """What a row of a dump or of a plan says about where its number is served; may be empty."""

    operator_code: str = ""
    operator_name: str = ""
    tax_number: str = ""
    registry_mnc: str = ""
    routing_number: str = ""
    region_code: str = ""
    region_name: str = ""
    line_type: LineType = LineType.UNSPECIFIED


@dataclass(frozen=True, slots=True, kw_only=True)
class PortedRecords:
    """The ported numbers of a full dump.

    ``numbers``: uint64[n], whole E.164 numbers, ascending and unique.
    ``route``: unsigned integer[n], index into ``keys``.
    ``ported_at``: uint32[n], seconds since 1970-01-01 UTC (0 = not known), or None.
    ``donor``: unsigned integer[n], index into ``donor_codes`` (operator codes), or None.
    ``returned_home``: rows that were left out because owner and range holder are the same.
    """

    numbers: NDArray[np.uint64]
    route: NDArray[np.unsignedinteger]
    keys: Sequence[RouteKey]
    ported_at: NDArray[np.uint32] | None = None
    donor: NDArray[np.unsignedinteger] | None = None
    donor_codes: Sequence[str] = ()
    returned_home: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class IncrementRows:
    """The rows of an increment, in the order of the file; a number may occur in several.

    ``numbers``: uint64[n], whole E.164 numbers.
    ``returns``: bool[n], whether the number is back with its range holder after the row.
    ``route``: uint32[n], index into ``keys``; says nothing where the row is a return.
    ``changed_at``: uint32[n], seconds since 1970-01-01 UTC (0 = not known).
    ``order_id``: uint64[n], the registry's id of the porting order.
    ``donor``: uint32[n], index into ``donor_codes``, or None.
    """

    numbers: NDArray[np.uint64]
    returns: NDArray[np.bool_]
    route: NDArray[np.uint32]
    changed_at: NDArray[np.uint32]
    order_id: NDArray[np.uint64]
    keys: Sequence[RouteKey] = ()
    donor: NDArray[np.uint32] | None = None
    donor_codes: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranges:
    """A numbering plan, or one file of it.

    ``first``, ``last``: uint64[m], whole E.164 numbers, inclusive, ascending, not overlapping.
    ``key``: uint32[m], index into ``keys``.
    """

    first: NDArray[np.uint64]
    last: NDArray[np.uint64]
    key: NDArray[np.uint32]
    keys: Sequence[RouteKey]
