"""Overrides: numbers and ranges whose route somebody set by hand, asked before every other layer.

They are few, and stored as a table (docs/format.md). Of several that hold a number the narrowest
decides; two that cross, or are the same range, are refused. An override stops applying when its
time comes, without a new snapshot.
"""

from __future__ import annotations

import bisect
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import msgspec
import numpy as np
from numpy.typing import NDArray

from numroute.index.content import require
from numroute.model import NUMBER_MAX, LineType, Operator, Region, Route, Status

Unsigned = NDArray[np.unsignedinteger]

OVERRIDES_MAX = 10_000
"""More belong into the registry's data: each opening and each expiry lays all of them out."""

_FLAGS = 1 << 18
"""A byte each: they stay in the second-level cache beside what a piece of a batch needs."""

_FLAG_SHIFT = 10
_FLAG_MASK, _SHIFT = np.array(_FLAGS - 1, np.uint64), np.array(_FLAG_SHIFT, np.uint64)

_NOTHING = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """A range of whole E.164 numbers, ``first`` to ``last`` inclusive, and where they go.

    ``reason`` and ``author`` say why and by whom; ``expires`` (aware, UTC) when it stops applying,
    None = never.
    """

    first: int
    last: int
    operator: Operator
    mcc: str = ""
    mnc: str = ""
    routing_number: str = ""
    region: Region = field(default_factory=Region)
    line_type: LineType = LineType.UNSPECIFIED
    reason: str
    author: str
    expires: datetime | None = None

    def active(self, now: datetime) -> bool:
        """Return whether it applies at a time."""
        return self.expires is None or now < self.expires

    def route(self, status: Status) -> Route:
        """Return the route of its numbers whose status is this one."""
        return Route(
            status=status,
            operator=self.operator,
            mcc=self.mcc,
            mnc=self.mnc,
            routing_number=self.routing_number,
            region=self.region,
            line_type=self.line_type,
            overridden=True,
        )


def encode_overrides(overrides: Sequence[Override]) -> bytes:
    """Return the overrides as a JSON array of objects, UTF-8, without spaces."""
    rows = [
        msgspec.to_builtins(each)
        | {
            "line_type": each.line_type.name,
            "expires": each.expires and each.expires.astimezone(UTC),
        }
        for each in sorted(overrides, key=_outer_first)
    ]
    return msgspec.json.encode(rows)


def decode_overrides(table: bytes) -> tuple[Override, ...]:
    """Return stored overrides, in the order of their numbers, the wider of nested ones first.

    Raises one of ``MALFORMED`` when the table is damaged.
    """
    overrides = tuple(
        Override(
            **row
            | {
                "operator": Operator(**row["operator"]),
                "region": Region(**row["region"]),
                "line_type": LineType[row["line_type"]],
                "expires": row["expires"] and datetime.fromisoformat(row["expires"]),
            }
        )
        for row in msgspec.json.decode(table)
    )
    check_overrides(overrides)
    return overrides


def check_overrides(overrides: Sequence[Override]) -> None:
    """Raise ContentError when overrides break a rule of the format."""
    require(
        {
            f"at most {OVERRIDES_MAX} overrides": len(overrides) <= OVERRIDES_MAX,
            "overrides are ranges of whole E.164 numbers": all(
                0 < each.first <= each.last <= NUMBER_MAX for each in overrides
            ),
            "overrides do not cross": find_crossing(overrides) is None,
        }
    )


def find_crossing(overrides: Iterable[Override]) -> tuple[Override, Override] | None:
    """Return two overrides that cross or are of the same range; None when all are apart or nested.

    Of a narrower one within a wider one it is clear which decides; of these it is not.
    """
    around: list[Override] = []
    for each in sorted(overrides, key=_outer_first):
        while around and around[-1].last < each.first:
            around.pop()
        if around and (
            each.last > around[-1].last
            or (each.first, each.last) == (around[-1].first, around[-1].last)
        ):
            return around[-1], each
        around.append(each)
    return None


def _outer_first(override: Override) -> tuple[int, int]:
    return override.first, -override.last


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layout:
    """The overrides that apply from ``since`` until ``until`` (seconds since 1970), laid out.

    ``start``: uint64[k], first number of each piece, the first is 0; ``row``: int64[k], the row of
    its numbers that are not ported, ``_NOTHING`` where no override applies. ``flags``: bool, by a
    number's bits from ``_FLAG_SHIFT`` on: whether an override may hold it.
    """

    since: float
    until: float
    start: NDArray[np.uint64]
    row: NDArray[np.int64]
    flags: NDArray[np.bool_]


class OverrideTable:
    """The overrides of an open snapshot, as the first layer of its lookups.

    Each distinct route has two rows behind those of the snapshot's route table: one for numbers
    without a ported record, the next one for numbers with one.
    """

    def __init__(
        self, overrides: tuple[Override, ...], registry_status: NDArray[np.unsignedinteger]
    ) -> None:
        """Number the rows from ``len(registry_status)``, the status of every row before, on."""
        self.all = overrides
        self.routes: list[Route] = []
        self._ported = registry_status == Status.PORTED
        # A snapshot that does not know ported numbers does not claim that one is not ported.
        range_only = not np.isin([Status.PORTED, Status.NOT_PORTED], registry_status).any()
        self.status = Status.RANGE_ONLY if range_only else Status.NOT_PORTED
        rows: dict[Route, int] = {}
        self._rows: list[int] = []
        for each in overrides:
            route = each.route(self.status)
            if route not in rows:
                rows[route] = len(registry_status) + len(self.routes)
                self.routes += [route, each.route(Status.PORTED)]
            self._rows.append(rows[route])
        self._layout = self._lay_out(time.time())

    def apply(self, numbers: NDArray[np.uint64], rows: Unsigned) -> NDArray[np.intp]:
        """Replace the rows of overridden numbers, in place; return their positions.

        ``rows`` are what the registry says of the numbers, and of a type that holds all rows.
        """
        layout = self._current()
        flag = numbers >> _SHIFT
        np.bitwise_and(flag, _FLAG_MASK, out=flag)
        candidates = layout.flags.take(flag.view(np.int64), mode="clip").nonzero()[0]
        pieces = layout.start.searchsorted(numbers.take(candidates), side="right") - 1
        fresh = layout.row.take(pieces)
        held = (fresh != _NOTHING).nonzero()[0]
        positions: NDArray[np.intp] = candidates.take(held)
        rows[positions] = fresh.take(held) + self._ported.take(rows.take(positions))
        return positions

    def row_of(self, number: int, row: int) -> int:
        """Return the row of one number, given what the registry says."""
        layout = self._current()
        fresh = int(layout.row[bisect.bisect_right(layout.start.data, number) - 1])
        return row if fresh == _NOTHING else fresh + bool(self._ported[row])

    def _current(self) -> _Layout:
        now, layout = time.time(), self._layout
        if not layout.since <= now < layout.until:
            # Several threads may do it at once: each gets a whole layout, and all are alike.
            layout = self._layout = self._lay_out(now)
        return layout

    def _lay_out(self, now: float) -> _Layout:
        moment = datetime.fromtimestamp(now, UTC)
        ends = sorted({each.expires.timestamp() for each in self.all if each.expires})
        passed = bisect.bisect_right(ends, now)
        active = [
            (each, row)
            for each, row in zip(self.all, self._rows, strict=True)
            if each.active(moment)
        ]
        first = np.array([each.first for each, _ in active], np.uint64)
        behind = np.array([each.last + 1 for each, _ in active], np.uint64)
        start = np.unique(np.concatenate([np.zeros(1, np.uint64), first, behind]))
        rows = np.full(len(start), _NOTHING)
        twice = np.zeros(2 * _FLAGS, np.bool_)
        # The wider one of nested ones comes first: the narrower overwrites it.
        for begin, end, (each, row) in zip(
            start.searchsorted(first), start.searchsorted(behind), active, strict=True
        ):
            rows[begin:end] = row
            granule, last = each.first >> _FLAG_SHIFT, each.last >> _FLAG_SHIFT
            flag = granule % _FLAGS
            twice[flag : flag + min(last - granule + 1, _FLAGS)] = True
        return _Layout(
            since=ends[passed - 1] if passed else -np.inf,
            until=ends[passed] if passed < len(ends) else np.inf,
            start=start,
            row=rows,
            flags=twice[:_FLAGS] | twice[_FLAGS:],
        )
