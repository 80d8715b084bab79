"""Routing inside other programs: Arrow batches, pandas and Polars frames.

::

    for batch in route_batches(reader, store="/var/lib/numroute", column="phone", region="RU"):
        ...

Each row keeps its place. Nothing is dropped and nothing is remembered from batch to batch, so any
process may route any part of a data set; the caller finds duplicates. Only the phone column is
read; the others pass through untouched.
"""

from __future__ import annotations

import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, Required, TypedDict, Unpack

import numpy as np
import pyarrow as pa

from numroute.errors import InputError, SettingError
from numroute.index import Snapshot, SnapshotStore
from numroute.model import Status
from numroute_campaign.lists.cells import SAMPLE_ROWS, readable
from numroute_campaign.lists.columns import choose_phone_column, find_column, shown_name
from numroute_campaign.policy import BY_OPERATOR, Policy
from numroute_campaign.preparing import read_cells
from numroute_campaign.routers import DefaultCountry, SnapshotRouter
from numroute_campaign.sorting import BY_POLICY, Decisions
from numroute_campaign.vocabulary import Reject

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl

_WHERE: Final = "the frame"

Cells = Callable[[int], pa.Array]
"""Gives a column by its place."""

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
"""The columns added to every row.

``number`` is null where there is no number; ``invalid_reason`` and ``reject`` say why. ``operator``
is the brand, or the name where there is none. ``route`` is the output route by the policy, null
where the row is rejected: then ``reject`` says why, and ``rule`` names the rule that
excluded it.
"""


def route_batches(
    batches: Iterable[pa.RecordBatch],
    *,
    store: Path | str,
    snapshot: str | None = None,
    column: str | int | None = None,
    region: str | None = None,
    policy: Policy | None = None,
    prefix: str = "",
) -> Iterator[pa.RecordBatch]:
    """Yield each batch with the columns ``ANSWER_COLUMNS`` added, row by row in its order.

    Any number of threads may do so at once; a process opens a snapshot once.

    Args:
        batches: Batches of one schema.
        store: The snapshot store; one snapshot of it answers for all batches of this call.
        snapshot: Its id, so that several processes answer alike; the current one when None.
        column: The phone column: its name, or as an integer its place counted from 0; None finds
            it by names and by the first batch's content.
        region: Country whose national formats are understood, e.g. ``RU``.
        policy: A policy from ``numroute_campaign.read_policy``; None makes a route per operator.
        prefix: Put before the names of the added columns.

    Raises:
        InputError: The phone column is in doubt, or its type cannot hold phone numbers.
        SettingError: The region is unknown, or a batch has a column of an added one's name.
        StoreError: There is no snapshot, or it cannot be read.
    """
    country, policy = DefaultCountry(region), policy or BY_OPERATOR
    router, since = _router(Path(store), snapshot), policy.ported_since()
    decisions = Decisions(router.routes, policy)
    place = -1
    for batch in batches:
        names = batch.schema.names
        if place < 0:
            refuse_clash(names, prefix)
            first = batch.slice(0, SAMPLE_ROWS)
            place = _place(names, first.column, column, country.region)
        cells = _readable(batch.column, place, names[place])
        phones = read_cells(cells, country.region)
        at = np.flatnonzero(phones.numbers)
        codes, _ = router.look_up(phones.numbers.take(at), country, since)
        decisions.settle(codes)
        kind = phones.reasons.astype(np.int64)
        kind[at] = codes + BY_POLICY
        kinds, rows = np.unique(kind, return_inverse=True)
        texts = [
            decisions.texts[each - BY_POLICY]
            if each >= BY_POLICY
            else dict.fromkeys(("invalid_reason", "reject"), Reject(each).name)
            | {"status": Status.INVALID.name}
            for each in kinds.tolist()
        ]
        columns = ([each.get(name) or None for each in texts] for name, _ in ANSWER_COLUMNS[1:])
        added = [
            # At most 15 digits: no sign is needed.
            pa.array(phones.numbers.view(np.int64), mask=phones.numbers == 0),
            *(pa.array(each, pa.string()).take(pa.array(rows)) for each in columns),
        ]
        fields = (pa.field(prefix + name, kind) for name, kind in ANSWER_COLUMNS)
        schema = pa.schema([*batch.schema, *fields])
        yield pa.RecordBatch.from_arrays([*batch.columns, *added], schema=schema)


class RouteOptions(TypedDict, total=False):
    """The arguments of ``route_batches``, for data frames."""

    store: Required[Path | str]
    snapshot: str | None
    column: str | int | None
    region: str | None
    policy: Policy | None
    prefix: str


def route_polars(frame: pl.DataFrame, **options: Unpack[RouteOptions]) -> pl.DataFrame:
    """Return a Polars frame with the answers; the arguments and errors are ``route_batches``'s."""
    import polars as pl  # noqa: PLC0415 - optional

    if not isinstance(frame, pl.DataFrame):
        raise SettingError(
            f"a {type(frame).__name__} is not a DataFrame", hint="Call its collect() first"
        )

    def cells(place: int) -> pa.Array:
        series = frame.to_series(place)
        is_odd = series.dtype in (pl.Object, pl.Int128)
        return _texts_of(series.to_list()) if is_odd else series.to_arrow()

    return frame.hstack(pl.DataFrame(_answer(list(frame.columns), cells, options)))


def route_pandas(frame: pd.DataFrame, **options: Unpack[RouteOptions]) -> pd.DataFrame:
    """Return a pandas frame with the answers and its own index; see ``route_polars``.

    A column's label comes before its place. A column of mixed objects is read cell by cell. The
    numbers are of pandas' ``Int64``, which knows missing values.
    """
    import pandas as pd  # noqa: PLC0415 - optional

    def cells(place: int) -> pa.Array:
        series = frame.iloc[:, place]
        is_odd = series.dtype == object
        return _texts_of(series.tolist()) if is_odd else pa.Array.from_pandas(series)

    labels, column = list(frame.columns), options.get("column")
    if column is not None and not isinstance(column, str) and labels.count(column) == 1:
        options["column"] = labels.index(column)
    names = [" ".join(map(str, n)) if isinstance(n, tuple) else str(n) for n in labels]
    answers = _answer(names, cells, options).to_pandas(
        types_mapper={pa.int64(): pd.Int64Dtype()}.get
    )
    return pd.concat([frame, answers.set_axis(frame.index, axis=0)], axis=1)


def _answer(names: Sequence[str], cells: Cells, options: RouteOptions) -> pa.Table:
    """Return the answers to a frame's phone column."""
    refuse_clash(names, options.get("prefix", ""))
    place = _place(names, cells, options.get("column"), options.get("region"))
    phones = _readable(cells, place, names[place])
    options["column"] = 0
    batch = pa.RecordBatch.from_arrays([phones], [names[place]])
    (routed,) = route_batches([batch], **options)
    return pa.Table.from_batches([routed.select(range(1, routed.num_columns))])


def _place(names: Sequence[str], cells: Cells, column: str | int | None, region: str | None) -> int:
    """Return the phone column's place: given, named, or found in the first rows."""
    if column is None:
        sample: list[pa.Array | InputError] = []
        for place, name in enumerate(names):
            try:
                sample.append(_readable(cells, place, name).slice(0, SAMPLE_ROWS))
            except InputError as error:
                sample.append(error)
        return choose_phone_column(names, sample, region, _WHERE, option="column")[0]
    if isinstance(column, str):
        return find_column(names, column, _WHERE)
    if 0 <= column < len(names):
        return int(column)
    raise InputError(
        _WHERE,
        f"there is no column {column}: there are {len(names)}, counted from 0",
        hint="Give the phone column by its name, or its place from 0",
    )


def _readable(cells: Cells, place: int, name: str) -> pa.Array:
    """Return a column in a type that numbers are read from."""
    try:
        values = cells(place)
        if isinstance(values, pa.ChunkedArray):
            values = values.combine_chunks()
        return readable(values, shown_name(name), _WHERE)
    except (pa.ArrowException, TypeError, ValueError) as error:
        # Its own message may quote cells, and cells hold people's numbers.
        raise InputError(
            _WHERE,
            f"the column {shown_name(name)} cannot be read ({type(error).__name__})",
            hint="Give a column of texts or of whole numbers",
        ) from None


def _texts_of(cells: list[object]) -> pa.Array:
    return pa.array(list(map(_text_of, cells)), pa.string())


def _text_of(cell: object) -> str | None:
    """Return a cell of mixed objects as text; one that is neither text nor number is null."""
    if isinstance(cell, str):
        return cell
    if isinstance(cell, bytes):
        return cell.decode(errors="replace")
    if isinstance(cell, np.float32 | np.float16):
        return "?"  # its last digits are lost
    if isinstance(cell, bool):
        return None
    try:
        return str(int(cell) if int(cell) == cell else cell)  # type: ignore[call-overload]
    except (TypeError, ValueError, OverflowError):
        return None


_opened: dict[Path, SnapshotRouter] = {}
_opening = threading.Lock()
_left: deque[Snapshot] = deque()
"""Snapshots whose router is gone, to be closed by the next call: a finalizer may run anywhere."""


def _router(store: Path, snapshot_id: str | None) -> SnapshotRouter:
    """Return the router of a store's snapshot; opened once per process and snapshot."""
    with _opening:
        path = store.absolute()
        opened = SnapshotStore(path)
        wanted = snapshot_id or opened.current_id()
        router = _opened.get(path)
        if router is None or router.snapshots != [wanted]:
            snapshot = opened.open(wanted)
            _opened[path] = router = SnapshotRouter(snapshot)
            weakref.finalize(router, _left.append, snapshot).atexit = False
        while _left:
            _left.popleft().close()
        return router


def refuse_clash(names: Sequence[str], prefix: str) -> None:
    """Raise SettingError if a column has the name of an added one."""
    clash = [name for name in names if name in {prefix + each for each, _ in ANSWER_COLUMNS}]
    if clash:
        raise SettingError(
            f"there is a column {clash[0]!r} already",
            hint="Give prefix='numroute_' or rename the column",
        )
