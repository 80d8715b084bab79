"""What a client's methods return."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from numroute.model import Operator, Route, SnapshotRef


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
