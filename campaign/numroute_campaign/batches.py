"""Routing inside other people's programs: Arrow batches in, the same batches with answers out.

::

    for batch in route_batches(reader, store="/var/lib/numroute", column="phone", region="RU"):
        ...

Each row keeps its place; nothing is dropped and nothing is remembered from batch to batch, so that
any part of a data set may be routed by any process: duplicates are the caller's to find.
"""

from __future__ import annotations

import threading
import weakref
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from numroute.e164 import parse_column
from numroute.errors import SettingError
from numroute.index import SnapshotStore
from numroute.model import InvalidReason, Status
from numroute_campaign.decisions import ByOperator, Reject
from numroute_campaign.home import Home
from numroute_campaign.lists.arrow_list import SAMPLE_ROWS, may_hold_numbers, readable
from numroute_campaign.lists.phone_column import choose_phone_column
from numroute_campaign.preparing import is_empty, look_up
from numroute_campaign.routers import SnapshotRouter

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from numroute.index import Snapshot
    from numroute.model import Route
    from numroute_campaign.decisions import Decision, Rules

ANSWER_COLUMNS: Final = (
    ("number", pa.int64()),
    ("status", pa.string()),
    ("invalid_reason", pa.string()),
    ("operator_code", pa.string()),
    ("operator", pa.string()),
    ("mcc", pa.string()),
    ("mnc", pa.string()),
    ("routing_number", pa.string()),
    ("region", pa.string()),
    ("line_type", pa.string()),
    ("route", pa.string()),
    ("reject", pa.string()),
    ("rule", pa.string()),
)
"""What is added to every row.

``number`` is null where the text is none, ``invalid_reason`` and ``reject`` say why. ``operator``
is the brand, or the name where there is none. ``route`` is the output route by the policy, null
where the row should not leave: then ``reject`` says why, and ``rule`` names the rule that
excluded it.
"""

_TEXTS: Final = tuple(name for name, kind in ANSWER_COLUMNS if kind == pa.string())


def answer_fields(prefix: str = "") -> list[pa.Field]:
    """Return the fields that ``route_batches`` adds, in order."""
    return [pa.field(prefix + name, kind) for name, kind in ANSWER_COLUMNS]


def route_batches(
    batches: Iterable[pa.RecordBatch],
    *,
    store: Path | str,
    snapshot: str | None = None,
    column: str | None = None,
    region: str | None = None,
    policy: Rules | None = None,
    prefix: str = "",
) -> Iterator[pa.RecordBatch]:
    """Yield each batch with the columns ``ANSWER_COLUMNS`` added, row by row in its order.

    Any number of threads may do so at once; a process opens a snapshot once.

    Args:
        batches: Batches of one schema.
        store: The snapshot store; one snapshot of it answers for all batches of this call.
        snapshot: Its id, so that several processes answer alike; the current one when None.
        column: The phone column; None finds it by names and by the first batch's content.
        region: Country whose national formats are understood, e.g. ``RU``.
        policy: What ``numroute_campaign.read_policy`` returned; None makes a route per operator.
        prefix: Put before the names of the added columns.

    Raises:
        InputError: The phone column cannot be told.
        SettingError: The region is unknown, or a batch has a column of an added one's name.
        StoreError: There is no snapshot, or it cannot be read.
    """
    home = Home(region)
    answers: _Answers | None = None
    place = -1
    for batch in batches:
        if answers is None:
            answers = _Answers(_router(Path(store), snapshot), policy or ByOperator())
            place = _place(batch, column, home.region, prefix)
        yield _routed(batch, place, home, answers, prefix)


@dataclass(frozen=True, slots=True)
class _Opened:
    snapshot_id: str
    router: SnapshotRouter


_opened: dict[Path, _Opened] = {}
_opening = threading.Lock()
_left: deque[Snapshot] = deque()
"""Snapshots whose router nobody uses any more.

The next call closes them: a finalizer may run anywhere, also where closing would wait for itself.
"""


def _router(store: Path, snapshot_id: str | None) -> SnapshotRouter:
    """Return the router of a store's snapshot; opened once per process and snapshot.

    An older one stays open as long as someone uses it; the next call behind that closes it.
    """
    with _opening:
        path = store.absolute()
        opened = SnapshotStore(path)
        wanted = snapshot_id or opened.current_id()
        known = _opened.get(path)
        if known is None or known.snapshot_id != wanted:
            known = _opened[path] = _Opened(wanted, _made(opened.open(wanted)))
        while _left:
            _left.popleft().close()
        return known.router


def _made(snapshot: Snapshot) -> SnapshotRouter:
    router = SnapshotRouter(snapshot)
    weakref.finalize(router, _left.append, snapshot).atexit = False
    return router


class _Answers:
    """The texts of each code, made when it is first met."""

    def __init__(self, router: SnapshotRouter, rules: Rules) -> None:
        self.router, self._rules = router, rules
        self._place = np.full(2 * len(router.routes), -1, np.int64)
        self._rows: dict[str, list[str | None]] = {name: [] for name in _TEXTS}
        for reason in InvalidReason:
            self._add_invalid(reason.name)
        self._empty = self._add_invalid(Reject.EMPTY.name)

    def texts(
        self, codes: NDArray[np.int64], at: NDArray[np.int64], reasons: NDArray[np.uint8]
    ) -> dict[str, pa.Array]:
        """Return the text columns of n rows: ``codes`` at the places ``at``, the others invalid."""
        for code in np.unique(codes[self._place.take(codes) < 0]).tolist():
            route = self.router.routes[code // 2]
            self._place[code] = self._add_route(
                route, self._rules.decide(route, foreign=bool(code % 2))
            )
        place = reasons.astype(np.int64)
        place[reasons == Reject.EMPTY] = self._empty
        place[at] = self._place.take(codes)
        rows = pa.array(place)
        return {name: pa.array(texts, pa.string()).take(rows) for name, texts in self._rows.items()}

    def _add_route(self, route: Route, decision: Decision) -> int:
        leaves = decision.reject is Reject.NONE
        operator, region = route.operator, route.region
        return self._add(
            route.status.name,
            None,
            operator.code or None,
            operator.brand or operator.name or operator.code or None,
            route.mcc or None,
            route.mnc or None,
            route.routing_number or None,
            region.name or region.code or None,
            route.line_type.name,
            decision.destination if leaves else None,
            None if leaves else decision.reject.name,
            decision.rule or None,
        )

    def _add_invalid(self, reason: str) -> int:
        between = _TEXTS.index("reject") - 2
        return self._add(Status.INVALID.name, reason, *(None for _ in range(between)), reason)

    def _add(self, *texts: str | None) -> int:
        filled = (*texts, *(None for _ in range(len(_TEXTS) - len(texts))))
        for name, text in zip(_TEXTS, filled, strict=True):
            self._rows[name].append(text)
        return len(self._rows["status"]) - 1


def _place(batch: pa.RecordBatch, column: str | None, region: str | None, prefix: str) -> int:
    names = batch.schema.names
    clash = [name for name in names if name in {prefix + each for each, _ in ANSWER_COLUMNS}]
    if clash:
        raise SettingError(
            f"the batches have a column {clash[0]!r} already",
            hint="Give prefix='numroute_' or rename the column",
        )
    samples = [
        readable(values.slice(0, SAMPLE_ROWS)) if may_hold_numbers(values.type) else None
        for values in batch.columns
    ]
    return choose_phone_column(names, samples, region, "the batches", wanted=column)


def _routed(
    batch: pa.RecordBatch, place: int, home: Home, answers: _Answers, prefix: str
) -> pa.RecordBatch:
    phone = readable(batch.column(place))
    parsed = parse_column(phone, home.region)
    at = np.flatnonzero(parsed.numbers)
    invalid = np.flatnonzero(parsed.numbers == 0)
    reasons = parsed.reasons.copy()
    if len(invalid):
        reasons[invalid[is_empty(phone.take(pa.array(invalid)))]] = Reject.EMPTY
    codes, _ = look_up(parsed.numbers.take(at), answers.router, home)
    numbers = pa.array(parsed.numbers.view(np.int64))  # at most 15 digits: no sign is needed
    columns = {
        "number": pc.if_else(pc.equal(numbers, 0), pa.scalar(None, pa.int64()), numbers),
        **answers.texts(codes, at, reasons),
    }
    return pa.RecordBatch.from_arrays(
        [*batch.columns, *(columns[name] for name, _ in ANSWER_COLUMNS)],
        schema=pa.schema([*batch.schema, *answer_fields(prefix)]),
    )
