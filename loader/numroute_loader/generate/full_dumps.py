"""Full dumps: the chunks of the base registry, overlaid by the numbers that changed since."""

from __future__ import annotations

import dataclasses
from contextlib import ExitStack
from typing import TYPE_CHECKING

import numpy as np

from numroute_loader.generate.options import Tier
from numroute_loader.generate.ports import PortedChunk
from numroute_loader.generate.randomness import Purpose, Stream
from numroute_loader.generate.rows import HEADERS, ROWS_PER_PIECE, RowFormatter, with_row_count

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numroute_loader.generate.dump_file import DumpFile
    from numroute_loader.generate.ports import Ports
    from numroute_loader.generate.subscribers import Candidates

    Progress = Callable[[str, int, int], None]


class FullDumps:
    """Writes the full dumps of one midnight after another."""

    def __init__(self, ports: Ports, formatter: RowFormatter, *, in_order: bool, seed: int) -> None:
        """Prepare; rows come ``in_order`` of their numbers or shuffled."""
        self._ports = ports
        self._formatter = formatter
        self._in_order = in_order
        self._seed = seed

    def write(
        self,
        open_dump: Callable[[Tier], DumpFile],
        rows_of: Mapping[Tier, int],
        progress: Progress,
        *,
        overlay: PortedChunk | None = None,
        candidates: Candidates | None = None,
    ) -> None:
        """Write every kind of full dump in one pass over the chunks.

        Args:
            open_dump: Opens the file of a kind.
            rows_of: How many rows each kind that is wanted has.
            progress: Told of the chunks done.
            overlay: Numbers that have changed since the base registry.
            candidates: Shown every chunk of the base registry.
        """
        count = self._ports.chunk_count
        shuffle = None if self._in_order else Stream(self._seed, Purpose.ORDER)
        chunks = shuffle.order(count).tolist() if shuffle else range(count)
        left = dict(rows_of)
        with ExitStack() as stack:
            dumps = {tier: stack.enter_context(open_dump(tier)) for tier in rows_of}
            for tier, dump in dumps.items():
                dump.write(HEADERS[tier])
            for done, index in enumerate(chunks):
                progress("ported numbers", done, count)
                chunk = self._ports.draw(index)
                if candidates is not None:
                    candidates.observe(index, chunk)
                if overlay is not None:
                    chunk = self._laid_over(index, chunk, overlay)
                order = (
                    shuffle.order(len(chunk.number)) if shuffle else np.arange(len(chunk.number))
                )
                for tier, dump in dumps.items():
                    kept = order if tier is Tier.PORT_ALL_FULL else order[~chunk.home[order]]
                    for start in range(0, len(kept), ROWS_PER_PIECE):
                        piece = kept[start : start + ROWS_PER_PIECE]
                        first = left[tier] == rows_of[tier]
                        rows = self._formatter.rows(tier, chunk, piece)
                        dump.write(with_row_count(rows, tier, rows_of[tier]) if first else rows)
                        left[tier] -= len(piece)
            progress("ported numbers", count, count)
        if any(left.values()):
            raise AssertionError("the rows are not as many as were counted")

    def _laid_over(self, index: int, chunk: PortedChunk, overlay: PortedChunk) -> PortedChunk:
        """Return the chunk with the overlay's rows of its stretch of numbers."""
        begin = overlay.number.searchsorted(self._ports.first_number(index))
        end = (
            overlay.number.searchsorted(self._ports.first_number(index + 1))
            if index + 1 < self._ports.chunk_count
            else len(overlay.number)
        )
        changed = overlay.number[begin:end]
        kept = np.isin(chunk.number, changed, assume_unique=True, invert=True)
        at = chunk.number[kept].searchsorted(changed)
        return PortedChunk(
            **{
                field.name: np.insert(
                    getattr(chunk, field.name)[kept], at, getattr(overlay, field.name)[begin:end]
                )
                for field in dataclasses.fields(PortedChunk)
            }
        )
