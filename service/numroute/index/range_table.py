"""The ranges: the numbering plan as a piecewise-constant function, and a granule table over it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from numroute.index.content import UNALLOCATED_ROW
from numroute.index.layout import GRANULE_SHIFT, GRANULES_PER_PAGE, PAGE_SHIFT, mixed_marker

if TYPE_CHECKING:
    from numpy.typing import NDArray


def held_pieces(
    range_start: NDArray[np.uint64], range_route: NDArray[np.unsignedinteger], number_max: int
) -> NDArray[np.uint64]:
    """Return uint64[k, 2]: first and last number of each piece that somebody holds."""
    held = np.flatnonzero(range_route != UNALLOCATED_ROW)
    after = np.append(range_start[1:], np.uint64(number_max + 1))
    return np.stack([range_start[held], after[held] - np.uint64(1)], axis=1)


def build_granules(
    range_start: NDArray[np.uint64],
    range_route: NDArray[np.unsignedinteger],
    pages: NDArray[np.uint32],
    slots: int,
) -> NDArray[np.unsignedinteger]:
    """Return, per granule of 1,024 numbers of each slot, its route or the marker.

    The marker stands where the granule does not lie in one piece. The result has the type of
    ``range_route`` and slots * 2**20 entries; those of slot 0 are the unallocated row.
    """
    granules = np.full(slots * GRANULES_PER_PAGE, UNALLOCATED_ROW, range_route.dtype)
    marker = mixed_marker(range_route.dtype)
    inside = (1 << GRANULE_SHIFT) - 1
    for page in np.flatnonzero(pages).tolist():
        first_number = np.uint64(page << PAGE_SHIFT)
        # The piece that the page begins in, and the pieces that begin later within the page.
        entering = int(range_start.searchsorted(first_number, side="right")) - 1
        leaving = int(range_start.searchsorted(np.uint64((page + 1) << PAGE_SHIFT), side="left"))
        offsets = (range_start[entering + 1 : leaving] - first_number).astype(np.int64)
        # A piece decides from the first granule that begins at or after its own beginning.
        decides_from = np.concatenate([[0], (offsets + inside) >> GRANULE_SHIFT])
        lengths = np.diff(np.append(decides_from, GRANULES_PER_PAGE))
        slot = int(pages[page]) * GRANULES_PER_PAGE
        granules[slot : slot + GRANULES_PER_PAGE] = np.repeat(
            range_route[entering:leaving], lengths
        )
        granules[slot + (offsets[(offsets & inside) != 0] >> GRANULE_SHIFT)] = marker
    return granules
