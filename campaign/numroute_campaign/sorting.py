"""The steps that need the list's order: duplicates, do-not-send list, decisions, counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from numroute.errors import InputError
from numroute.model import Route, Status
from numroute_campaign.number_set import NumberSet
from numroute_campaign.policy import Policy
from numroute_campaign.preparing import SAMPLES_MAX, Prepared
from numroute_campaign.templates import TEXT_PREFIX
from numroute_campaign.vocabulary import NOBODY, Decision, Reject


class Decisions:
    """The decisions so far, as arrays by code.

    A code is twice the row in the router's table, plus one for foreign numbers (of routes that are
    not ported) and for recently ported ones (of routes that are).

    Attributes:
        routes: The router's table.
        policy: What decides.
        destinations: The names of the groups of output files, in order of first use.
        first: For each of them a decision that leads there.
        destination: int32[codes], places in ``destinations``; -1 = rejected, -2 = not decided yet.
        is_foreign: bool[codes], whether the numbers are of another country.
        decided: By code, in order of first use.
    """

    REJECTED = -1
    NOT_MET = -2

    def __init__(self, routes: Sequence[Route], policy: Policy) -> None:
        """``routes`` may grow."""
        self.routes, self.policy = routes, policy
        self.destinations: list[str] = []
        self.first: list[Decision] = []
        self._places: dict[str, int] = {}
        self.destination = np.empty(0, np.int32)
        self.is_foreign = np.empty(0, np.bool_)
        self.decided: dict[int, Decision] = {}

    def settle(self, codes: NDArray[np.int64]) -> bool:
        """Decide about new codes among int64[n]; return whether there were any."""
        if 2 * len(self.routes) > len(self.destination):
            more = 2 * len(self.routes) - len(self.destination)
            self.destination = np.append(self.destination, np.full(more, self.NOT_MET, np.int32))
            self.is_foreign = np.append(self.is_foreign, np.zeros(more, np.bool_))
        missing = codes[self.destination.take(codes) == self.NOT_MET]
        if not len(missing):
            return False
        for code in np.unique(missing).tolist():
            self._decide(code)
        return True

    def cell(self, source: str, code: int) -> str:
        """Return a cell that depends on the route alone; ``source`` as in ``Template.columns``."""
        route, decision = self.routes[code // 2], self.decided[code]
        operator = route.operator
        return {
            "route": decision.destination,
            "operator": operator.brand or operator.name or operator.code,
            "mcc": route.mcc,
            "mnc": route.mnc,
            "status": route.status.name,
            "send_from_utc": decision.send_from,
            "send_until_utc": decision.send_until,
        }.get(source, source.removeprefix(TEXT_PREFIX))

    def _decide(self, code: int) -> None:
        route = self.routes[code // 2]
        decision = self.policy.decide(route, is_marked=bool(code % 2))
        self.is_foreign[code] = code % 2 and route.status is not Status.PORTED
        self.decided[code] = decision
        if decision.reject is not Reject.NONE:
            self.destination[code] = self.REJECTED
            return
        name = decision.group or decision.destination
        if name not in self._places:
            self._places[name] = len(self.destinations)
            self.destinations.append(name)
            self.first.append(decision)
        self.destination[code] = self._places[name]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Leaving:
    """The rows of a block that are routed, by destination and then in the list's order.

    Attributes:
        row_id: uint64[n], the row's place in the whole list, counted from 1.
        number: uint64[n].
        code: int64[n], codes of ``Decisions``.
        value: int64[n], places in the block's columns.
        destinations: The destinations that occur, ascending.
        bounds: Where each destination's rows begin, and the end.
    """

    row_id: NDArray[np.uint64]
    number: NDArray[np.uint64]
    code: NDArray[np.int64]
    value: NDArray[np.int64]
    destinations: list[int]
    bounds: list[int]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Staying:
    """The rows of a block that are rejected, in the list's order.

    Attributes:
        row_id: uint64[k].
        reason: uint8[k], ``Reject`` values.
        code: int64[k], the code of rows that the policy rejected; -1 for the others.
    """

    row_id: NDArray[np.uint64]
    reason: NDArray[np.uint8]
    code: NDArray[np.int64]


@dataclass(slots=True, kw_only=True, eq=False)
class Counts:
    """Counts so far. Arrays are indexed by code of ``Decisions`` and grow with it.

    Attributes:
        rows: Records read.
        blank: Records without any content; they are rejected as ``EMPTY``.
        rejects: Rows per ``Reject`` value, those of the policy not among them.
        decided: int64[codes], numbers that reached the policy.
        parts: int64[codes], message parts of those; as ``decided`` where every message has one.
        duplicates: int64[codes], message parts of numbers that were dropped as duplicates.
        holders: Ported numbers that reached the policy, by (code, place of the range holder).
        holder_parts: Message parts of those.
        odd_segments: Rows with a valid number but no valid segments; each counts as one.
        several: Cells that hold several numbers.
        further: The numbers that those hold besides the first.
        further_taken: Those that were taken, each as a row.
        samples: By ``Reject`` value the first rejected cells, masked.
    """

    rows: int = 0
    blank: int = 0
    rejects: NDArray[np.int64] = field(default_factory=lambda: np.zeros(256, np.int64))
    decided: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    parts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    duplicates: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    holders: Counter[tuple[int, int]] = field(default_factory=Counter)
    holder_parts: Counter[tuple[int, int]] = field(default_factory=Counter)
    odd_segments: int = 0
    several: int = 0
    further: int = 0
    further_taken: int = 0
    samples: dict[int, list[str]] = field(default_factory=dict)

    @property
    def nobody(self) -> int:
        """Rows without a person: blank ones, totals, repeated headers."""
        return self.blank + int(self.rejects[list(NOBODY)].sum())

    @property
    def rejected(self) -> int:
        """Rows of people without a number, or with a damaged one."""
        return int(self.rejects[: Reject.DUPLICATE].sum()) - self.nobody

    def grow(self, codes: int) -> None:
        """Make room for ``codes`` codes."""
        for name in ("decided", "parts", "duplicates"):
            array = getattr(self, name)
            if len(array) < codes:
                setattr(self, name, np.concatenate([array, np.zeros(codes - len(array), np.int64)]))


class Sorter:
    """Sorts prepared blocks in the list's order; not thread-safe."""

    def __init__(
        self,
        decisions: Decisions,
        seen: NumberSet,
        suppressed: NumberSet | None = None,
    ) -> None:
        """Number sets: ``seen`` receives every number; ``suppressed`` must not be sent to."""
        self._decisions, self._seen, self._suppressed = decisions, seen, suppressed
        self.counts = Counts()

    def sort(self, prepared: Prepared) -> tuple[Leaving, Staying]:
        """Decide where every row of a block goes."""
        counts = self.counts
        first_id = counts.rows + 1
        _refuse_fractions(prepared, first_id)
        counts.rows += prepared.block.records
        counts.blank += prepared.block.blank
        counts.rejects += np.bincount(prepared.reasons, minlength=256)
        for reject, cells in prepared.samples.items():
            known = counts.samples.get(reject, [])
            if len(known) < SAMPLES_MAX:
                counts.samples[reject] = list(dict.fromkeys([*known, *cells]))[:SAMPLES_MAX]
        counts.several += prepared.several
        counts.further += prepared.further
        counts.further_taken += len(prepared.numbers) + len(prepared.rejected)
        counts.further_taken -= prepared.block.records

        new = self._seen.add(prepared.numbers)
        reason = np.zeros(len(new), np.uint8)
        reason[~new] = Reject.DUPLICATE
        repeated = ~new
        if self._suppressed is not None:
            suppressed = self._suppressed.contains(prepared.numbers)
            reason[new & suppressed] = Reject.SUPPRESSED
            repeated &= ~suppressed  # these would have cost nothing
        counts.rejects += np.bincount(reason[reason != 0], minlength=256)

        self._decisions.settle(prepared.code)
        counts.grow(len(self._decisions.destination))
        self._count(prepared, np.flatnonzero(repeated), np.flatnonzero(reason == 0))

        destination = self._decisions.destination.take(prepared.code)
        destination[reason != 0] = self._decisions.REJECTED
        leaving = self._leaving(prepared, destination, first_id)
        return leaving, self._staying(prepared, destination, reason, first_id)

    def _count(
        self, prepared: Prepared, repeated: NDArray[np.int64], reached: NDArray[np.int64]
    ) -> None:
        counts, codes = self.counts, len(self._decisions.destination)
        segments = prepared.block.segments
        if segments is not None:
            segments = segments.take(prepared.value)
            counts.odd_segments += int(np.count_nonzero(segments == 0))
            segments = np.maximum(segments, 1)

        def parts_of(at: NDArray[np.int64]) -> NDArray[np.int64] | None:
            return None if segments is None else segments.take(at)

        counts.duplicates += _summed(prepared.code.take(repeated), parts_of(repeated), codes)
        code, parts = prepared.code.take(reached), parts_of(reached)
        decided = np.bincount(code, minlength=codes)
        counts.decided += decided
        counts.parts += decided if parts is None else _summed(code, parts, codes)
        holders = prepared.holders.take(reached)
        ported = np.flatnonzero(holders >= 0)
        pairs, inverse = np.unique(
            code.take(ported) << 32 | holders.take(ported), return_inverse=True
        )
        numbers = _summed(inverse, None, len(pairs))
        sums = _summed(inverse, None if parts is None else parts.take(ported), len(pairs))
        for i, pair in enumerate(pairs.tolist()):
            key = (pair >> 32, pair & 0xFFFFFFFF)
            counts.holders[key] += int(numbers[i])
            counts.holder_parts[key] += int(sums[i])

    def _leaving(
        self, prepared: Prepared, destination: NDArray[np.int32], first_id: int
    ) -> Leaving:
        at = np.flatnonzero(destination >= 0)
        chosen = destination.take(at)
        # numpy sorts sixteen-bit integers by their digits, in one pass, and keeps their order.
        small = chosen.astype(np.uint16) if len(self._decisions.destinations) < 1 << 16 else chosen
        order = small.argsort(kind="stable")
        at = at.take(order)
        sizes = np.bincount(chosen)
        found = np.flatnonzero(sizes)
        return Leaving(
            row_id=(prepared.record.take(at) + first_id).view(np.uint64),
            number=prepared.numbers.take(at),
            code=prepared.code.take(at),
            value=prepared.value.take(at),
            destinations=found.tolist(),
            bounds=[0, *np.cumsum(sizes[found]).tolist()],
        )

    def _staying(
        self,
        prepared: Prepared,
        destination: NDArray[np.int32],
        reason: NDArray[np.uint8],
        first_id: int,
    ) -> Staying:
        at = np.flatnonzero(destination < 0)
        record = np.concatenate([prepared.rejected, prepared.record.take(at)])
        reasons = np.concatenate([prepared.reasons, reason.take(at)])
        code = np.full(len(record), -1, np.int64)
        by_policy = reason.take(at) == 0
        code[len(prepared.rejected) :][by_policy] = prepared.code.take(at)[by_policy]
        order = record.argsort(kind="stable")
        return Staying(
            row_id=(record.take(order) + first_id).view(np.uint64),
            reason=reasons.take(order),
            code=code.take(order),
        )


def _refuse_fractions(prepared: Prepared, first_id: int) -> None:
    """Raise InputError if the segments of a row with a number are a fraction."""
    segments = prepared.block.segments
    if segments is not None and segments.min(initial=0) < 0:
        at = np.flatnonzero(segments.take(prepared.value) < 0)
        if len(at):
            raise InputError(
                "the list",
                f"the segments of row {first_id + int(prepared.record[at[0]]):,} are a fraction",
                hint="Give whole numbers in --segments-column",
            )


def _summed(
    places: NDArray[np.int64], weights: NDArray[np.int64] | None, length: int
) -> NDArray[np.int64]:
    """Return int64[length]: the sum of the weights, 1 each where there are none, at each place."""
    # Sums of a block stay far below 2^53: floating point adds them exactly.
    return np.bincount(places, weights, minlength=length).astype(np.int64)
