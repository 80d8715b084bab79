"""What every registry's files become: columns of records, and the small tables they point into.

These types know no country. Per-number data are numpy arrays; everything else is a frozen value.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from numroute.model import LineType

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteKey:
    """Everything that a row of a dump or of a plan says about where its number is served.

    Rows that say the same share one key. Empty fields are what the source does not give.
    ``operator_code`` is the registry's code, ``operator_name`` the name where a source names
    operators by name only, ``region_code`` and ``region_name`` likewise.
    """

    operator_code: str = ""
    operator_name: str = ""
    tax_number: str = ""
    registry_mnc: str = ""
    routing_number: str = ""
    region_code: str = ""
    region_name: str = ""
    line_type: LineType = LineType.UNSPECIFIED


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFile:
    """One input file as read: what it is, how much it held, and its digest.

    ``kind`` is the kind's full name, e.g. ``ru-bdpn/port-all``.
    ``as_of`` is the time the file's name states (aware, UTC), None where it states none.
    ``sequence`` is None where the kind has no sequence. ``sha256`` is of the file as it lies on
    disk (the zip, not its member). ``rows`` counts data rows.
    """

    path: Path
    registry: str
    kind: str
    sequence: int | None = None
    as_of: datetime | None = None
    rows: int = 0
    sha256: str = ""


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
    """The rows of an increment, in the order of the file; a number may stand in several.

    ``numbers``: uint64[n], whole E.164 numbers.
    ``returns``: bool[n], whether the number is back with its range holder after the row.
    ``route``: uint32[n], index into ``keys``; says nothing where the row is a return.
    ``changed_at``: uint32[n], seconds since 1970-01-01 UTC (0 = not known), None where the file has
    no times. ``order_id``: uint64[n], the registry's id of the porting order, which settles the
    order of rows of one second; None where the file has none.
    ``donor``: uint32[n], index into ``donor_codes``, or None.
    """

    numbers: NDArray[np.uint64]
    returns: NDArray[np.bool_]
    route: NDArray[np.uint32]
    keys: Sequence[RouteKey] = ()
    changed_at: NDArray[np.uint32] | None = None
    order_id: NDArray[np.uint64] | None = None
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


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorRow:
    """One row of a registry's operator table. (``code``, ``mnc``) is its key."""

    code: str
    mnc: str
    tax_number: str
    name: str
    line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedFile:
    """A file with what was read from it; exactly one of the four contents is set.

    ``stated_rows``: how many rows the file says it has, None where it does not say.
    ``rejected_rows``: malformed rows that were skipped; ``rejected`` names the first of them.
    ``duplicates``: rows that were skipped because another has the same number and a later time.
    """

    source: SourceFile
    ported: PortedRecords | None = None
    ranges: Ranges | None = None
    operators: Sequence[OperatorRow] | None = None
    increment: IncrementRows | None = None
    warnings: Sequence[str] = field(default=())
    stated_rows: int | None = None
    rejected_rows: int = 0
    rejected: Sequence[str] = ()
    duplicates: int = 0
