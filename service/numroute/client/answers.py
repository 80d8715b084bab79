"""What a client's methods return."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    import numpy as np
    from numpy.typing import NDArray

    from numroute.model import InvalidReason, Operator, Route, SnapshotRef, Status


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BulkAnswer:
    """The answers to a batch of n numbers, in its order, all from one snapshot.

    Attributes:
        route_index: uint32[n], for each number its place in ``routes``.
        routes: The distinct routes; a route carries the status of its numbers.
        snapshot: Which snapshot answered.
        ported_at: uint32[n], seconds since 1970-01-01 UTC, 0 where the number is not ported or
            the time is not known; None when not asked for.
        range_holder_index: uint32[n], for each number its place in ``range_holders``; None when
            not asked for.
        range_holders: The distinct range holders; an empty operator stands for "nobody".
    """

    route_index: NDArray[np.uint32]
    routes: tuple[Route, ...]
    snapshot: SnapshotRef
    ported_at: NDArray[np.uint32] | None = None
    range_holder_index: NDArray[np.uint32] | None = None
    range_holders: tuple[Operator, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberAnswer:
    """The answer to one number.

    Numbers of one route that were asked for together share it when it has neither ``ported_at``
    nor ``range_holder``.

    Attributes:
        status: What the registry says of the number.
        route: Where a message to it must go; None when the status is UNALLOCATED or INVALID.
        snapshot: Which snapshot answered.
        ported_at: When it was ported (UTC); None when it was not, the time is not known, or it was
            not asked for.
        range_holder: Who holds its range; None when nobody does or it was not asked for.
    """

    status: Status
    route: Route | None
    snapshot: SnapshotRef
    ported_at: datetime | None = None
    range_holder: Operator | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceInfo:
    """A file that a snapshot was built from; ``sequence`` is 0 when it has none."""

    name: str
    registry: str
    kind: str
    sequence: int
    rows: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotInfo:
    """What a service says of the snapshot that it answers from.

    Attributes:
        snapshot: Its id, the time up to which its data is known, and whether that is too old.
        built_at: When it was built (UTC).
        age_seconds: Seconds from ``snapshot.as_of`` to the time of the answer.
        format_version: The version of the file's format.
        sources: The files that it was built from.
        counts: Numbers of things in it, by name.
        changes: What it changed; None when it does not know.
    """

    snapshot: SnapshotRef
    built_at: datetime
    age_seconds: float
    format_version: int
    sources: tuple[SourceInfo, ...]
    counts: Mapping[str, int]
    changes: SnapshotChanges | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotChanges:
    """How many numbers a snapshot answers otherwise than the one whose id ``against`` is.

    ``ported`` have become ported, ``returned`` have gone back to their range holder, ``moved`` have
    gone to another operator, ``updated`` have another route of the same operator.
    """

    against: str
    ported: int
    returned: int
    moved: int
    updated: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotNews:
    """A snapshot that answers from now on.

    ``changes`` is None when it does not know what it changed. When ``changes.against`` is not the
    snapshot of the news before, others came between, or an older one is current again.
    """

    snapshot: SnapshotRef
    built_at: datetime
    counts: Mapping[str, int]
    changes: SnapshotChanges | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorInfo:
    """An operator under one of its brands.

    Attributes:
        operator: Its code, name, brand and tax number.
        networks: Pairs of MCC and MNC that its routes name, in order.
        serves_ported_numbers: A ported number has one of its routes.
        holds_ranges: A range is its own.
    """

    operator: Operator
    networks: tuple[tuple[str, str], ...]
    serves_ported_numbers: bool
    holds_ranges: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerInfo:
    """What one layer of the snapshot says of a number; ``route`` is None when it says nothing.

    ``name`` is "override", "ported record" or "range". ``first`` and ``last`` bound the range;
    ``last`` is None when it has no end. ``ported_at`` and ``donor`` belong to a ported record,
    ``reason``, ``author`` and ``expires`` (None: never) to an override.
    """

    name: str
    decides: bool
    route: Route | None
    sources: tuple[SourceInfo, ...]
    first: int | None = None
    last: int | None = None
    ported_at: datetime | None = None
    donor: Operator | None = None
    reason: str = ""
    author: str = ""
    expires: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Why a text is answered as it is.

    ``decided_by`` names the layer that decided, "nothing" when none knows the number. ``route`` is
    None when the status is UNALLOCATED or INVALID.
    """

    input: str
    number: int
    status: Status
    invalid_reason: InvalidReason
    decided_by: str
    route: Route | None
    layers: tuple[LayerInfo, ...]
    snapshot: SnapshotRef
