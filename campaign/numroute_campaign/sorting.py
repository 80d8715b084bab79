"""The steps that need the list's order: duplicates, do-not-send list, decisions, counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from numroute.errors import InputError
from numroute.model import Route
from numroute_campaign.lists import Block
from numroute_campaign.number_set import NumberSet
from numroute_campaign.policy import Policy
from numroute_campaign.preparing import SAMPLES_MAX, Prepared
from numroute_campaign.templates import TEXT_PREFIX
from numroute_campaign.vocabulary import NOBODY, Decision, Reject

BY_POLICY: Final = 256
"""The kind of a reject is a ``Reject`` value, or from here on the code that the policy rejects."""

REJECTED: Final = -1
"""The destination of rejected numbers."""


class Decisions:
    """The decisions so far, as arrays by code.

    A code is twice the row in the router's table, plus one for foreign numbers (of routes that are
    not ported) and for recently ported ones (of routes that are).

    Attributes:
        routes: The router's table.
        policy: What decides.
        first: The first decision that leads to each destination (a group of output files).
        destination: int32[codes], places in ``first``, or ``REJECTED``.
        decided: The decision of each code.
        texts: By code what is said of its numbers, by the names of columns.
    """

    def __init__(self, routes: Sequence[Route], policy: Policy) -> None:
        """``routes`` may grow."""
        self.routes, self.policy = routes, policy
        self.first: list[Decision] = []
        self._places: dict[str, int] = {}
        self.destination = np.empty(0, np.int32)
        self.decided: dict[int, Decision] = {}
        self.texts: dict[int, dict[str, str]] = {}

    def settle(self, codes: NDArray[np.int64]) -> None:
        """Decide about new codes among int64[n]."""
        more = np.full(2 * len(self.routes) - len(self.destination), REJECTED, np.int32)
        self.destination = np.append(self.destination, more)
        for code in np.flatnonzero(np.bincount(codes)).tolist():
            if code in self.decided:
                continue
            route = self.routes[code // 2]
            operator, region = route.operator, route.region
            decision = self.policy.decide(route, is_marked=bool(code % 2))
            self.decided[code] = decision
            self.texts[code] = {
                "status": route.status.name,
                "operator_code": operator.code,
                "operator": operator.brand or operator.name or operator.code,
                "mcc": route.mcc,
                "mnc": route.mnc,
                "routing_number": route.routing_number,
                "region": region.name or region.code,
                "line_type": route.line_type.name,
                "route": decision.destination,
                "reject": decision.reject.name if decision.reject else "",
                "rule": decision.rule,
                "send_from_utc": decision.send_from,
                "send_until_utc": decision.send_until,
            }
            if decision.destination:
                place = self._places.setdefault(decision.files, len(self.first))
                if place == len(self.first):
                    self.first.append(decision)
                self.destination[code] = place

    def column(self, source: str) -> pa.Array:
        """Return string[codes], cells that depend on the route; ``source`` as in ``Template``."""
        cells = [""] * len(self.destination)
        for code, texts in self.texts.items():
            cells[code] = texts.get(source, source.removeprefix(TEXT_PREFIX))
        return pa.array(cells, pa.string())


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sorted:
    """The rows of a block: routed ones by destination, rejected ones in the list's order.

    Attributes:
        block: The prepared block, with the columns that are kept.
        row_id: uint64[n], the row's place in the whole list, counted from 1.
        number: uint64[n].
        code: int64[n], codes of ``Decisions``.
        value: int64[n], places in the block's columns.
        destinations: The destinations that occur, ascending.
        bounds: Where each destination's rows begin, and the end.
        rejected: uint64[k], row ids.
        kind: int64[k], why; see ``BY_POLICY``.
    """

    block: Block
    row_id: NDArray[np.uint64]
    number: NDArray[np.uint64]
    code: NDArray[np.int64]
    value: NDArray[np.int64]
    destinations: list[int]
    bounds: list[int]
    rejected: NDArray[np.uint64]
    kind: NDArray[np.int64]


@dataclass(slots=True, kw_only=True, eq=False)
class Counts:
    """Counts so far; those by code are of numbers that reached the policy.

    Attributes:
        blank: Records without any content; they are rejected as ``EMPTY``.
        rejects: Rows by ``Reject`` value, those of the policy not among them.
        numbers, segments: By code; segments are those of the messages.
        duplicates: By code, segments of numbers that were dropped as duplicates.
        holders, holder_segments: Those of ported numbers, by code and place of the range holder.
        odd_segments: Rows with a valid number but no valid segments; each counts as one.
        several: Cells that hold several numbers.
        further: The numbers that those hold besides the first.
        further_taken: Those that were taken, each as a row.
        samples: By ``Reject`` value the first rejected cells, masked.
    """

    rows: int = 0
    blank: int = 0
    rejects: Counter[int] = field(default_factory=Counter)
    numbers: Counter[int] = field(default_factory=Counter)
    segments: Counter[int] = field(default_factory=Counter)
    duplicates: Counter[int] = field(default_factory=Counter)
    holders: Counter[tuple[int, int]] = field(default_factory=Counter)
    holder_segments: Counter[tuple[int, int]] = field(default_factory=Counter)
    odd_segments: int = 0
    several: int = 0
    further: int = 0
    further_taken: int = 0
    samples: dict[int, list[str]] = field(default_factory=dict)

    @property
    def people(self) -> int:
        """Rows but blank ones, totals and repeated headers."""
        return self.rows - self.blank - sum(self.rejects[each] for each in NOBODY)

    @property
    def rejected(self) -> int:
        """Rows of people without a number, or with a damaged one."""
        invalid = sum(rows for reject, rows in self.rejects.items() if reject < Reject.DUPLICATE)
        return invalid - (self.rows - self.people)


class Sorter:
    """Sorts prepared blocks in the list's order; not thread-safe."""

    def __init__(self, decisions: Decisions, suppressed: NumberSet | None, segments: int) -> None:
        """``segments``: of each message where the list does not say."""
        self._decisions, self._suppressed, self._segments = decisions, suppressed, segments
        self._seen = NumberSet()
        self.counts = Counts()

    def sort(self, prepared: Prepared) -> Sorted:
        """Decide where every row of a block goes."""
        counts, decisions, block = self.counts, self._decisions, prepared.block
        first_id = counts.rows + 1
        segments = self._segments_of(prepared, first_id)
        counts.rows += block.records
        counts.blank += int(np.count_nonzero(block.damage == Reject.EMPTY))
        counts.several += prepared.several
        counts.further += prepared.further
        counts.further_taken += len(prepared.numbers) + len(prepared.rejected) - block.records
        for reject, cells in prepared.samples.items():
            known = counts.samples.get(reject, [])
            counts.samples[reject] = list(dict.fromkeys([*known, *cells]))[:SAMPLES_MAX]

        is_repeated = ~self._seen.add(prepared.numbers)
        is_suppressed = np.zeros_like(is_repeated)
        if self._suppressed is not None:
            is_suppressed = self._suppressed.contains(prepared.numbers)
        reason = np.where(is_suppressed, int(Reject.SUPPRESSED), 0)
        reason[is_repeated] = Reject.DUPLICATE
        counts.rejects.update(_sums(prepared.reasons))
        counts.rejects.update(_sums(reason[reason != 0]))

        decisions.settle(prepared.code)
        costly = is_repeated & ~is_suppressed
        counts.duplicates.update(_sums(prepared.code[costly], segments[costly]))
        self._count(prepared, segments, np.flatnonzero(reason == 0))

        destination = decisions.destination.take(prepared.code)
        destination[reason != 0] = REJECTED
        at = np.flatnonzero(destination >= 0)
        chosen = destination.take(at)
        # numpy sorts sixteen-bit integers by their digits, in one pass, and keeps their order.
        small = chosen.astype(np.uint16) if len(decisions.first) < 1 << 16 else chosen
        at = at.take(small.argsort(kind="stable"))
        sizes = np.bincount(chosen)
        found = np.flatnonzero(sizes)

        stays = np.flatnonzero(destination < 0)
        kind = reason.take(stays)
        kind = np.where(kind == 0, prepared.code.take(stays) + BY_POLICY, kind)
        record = np.concatenate([prepared.rejected, prepared.record.take(stays)])
        order = record.argsort(kind="stable")
        return Sorted(
            block=block,
            row_id=(prepared.record.take(at) + first_id).view(np.uint64),
            number=prepared.numbers.take(at),
            code=prepared.code.take(at),
            value=prepared.record.take(at),
            destinations=found.tolist(),
            bounds=[0, *np.cumsum(sizes[found]).tolist()],
            rejected=(record.take(order) + first_id).view(np.uint64),
            kind=np.concatenate([prepared.reasons, kind]).take(order),
        )

    def _segments_of(self, prepared: Prepared, first_id: int) -> NDArray[np.int64]:
        """Return the segments of each number. Raises InputError if they are a fraction."""
        if prepared.block.segments is None:
            return np.full(len(prepared.numbers), self._segments, np.int64)
        segments = prepared.block.segments.take(prepared.record)
        fractions = np.flatnonzero(segments < 0)
        if len(fractions):
            row = first_id + int(prepared.record[fractions[0]])
            raise InputError(
                "the list",
                f"the segments of row {row:,} are a fraction",
                hint="Give whole numbers in --segments-column",
            )
        self.counts.odd_segments += int(np.count_nonzero(segments == 0))
        return np.maximum(segments, 1)

    def _count(
        self, prepared: Prepared, segments: NDArray[np.int64], at: NDArray[np.int64]
    ) -> None:
        """Count the numbers at some places, which reached the policy."""
        counts = self.counts
        code, segments = prepared.code.take(at), segments.take(at)
        counts.numbers.update(_sums(code))
        counts.segments.update(_sums(code, segments))
        holders = prepared.holders.take(at)
        ported = np.flatnonzero(holders >= 0)
        pairs = code.take(ported) << 32 | holders.take(ported)
        distinct, places = np.unique(pairs, return_inverse=True)
        keys = [(pair >> 32, pair & 0xFFFFFFFF) for pair in distinct.tolist()]
        for place, numbers in _sums(places).items():
            counts.holders[keys[place]] += numbers
        for place, parts in _sums(places, segments.take(ported)).items():
            counts.holder_segments[keys[place]] += parts


def _sums(places: NDArray[np.integer], weights: NDArray[np.int64] | None = None) -> dict[int, int]:
    """Return the sum of the weights, 1 each where there are none, by place."""
    # Sums of a block stay far below 2^53: floating point adds them exactly.
    sums = np.bincount(places, weights)
    at = np.flatnonzero(sums)
    return dict(zip(at.tolist(), sums.take(at).astype(np.int64).tolist(), strict=True))
