"""Answers as lines of CSV or JSON, by columns.

Thousands of numbers share a few routes. Apart from its text, number and time, an answer depends
only on its route and range holder: those parts are encoded once.
"""

from __future__ import annotations

import csv
import functools
import io
import json
import re
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from numroute.cli.console import plain
from numroute.client.messages import BulkAnswer
from numroute.model import InvalidReason, Operator, Route, SnapshotRef

CSV_COLUMNS: Final = (
    *("input", "number", "status", "invalid_reason"),
    *("operator_code", "operator_name", "operator_brand", "operator_tax_number"),
    *("mcc", "mnc", "registry_mnc", "routing_number", "region_code", "region_name", "line_type"),
    *("overridden", "ported_at", "range_holder_code", "range_holder_name"),
    *("snapshot_id", "snapshot_as_of", "snapshot_stale"),
)

_FORMULA: Final = re.compile(r"[=+\-@\t\r\n]")
_INNER_FORMULA: Final = re.compile(r"([;|\t\r\n])(?=[=+\-@])")
_NUMBER_LIKE: Final = re.compile(r"[+\-]?[\d ().-]*")
_NOBODY: Final = Operator()
_REASONS: Final = len(InvalidReason)


class Csv:
    """CSV that a spreadsheet can open. A line is the text, the number, then the answer."""

    header = ",".join(CSV_COLUMNS) + "\n"
    line = "%s,%s,%s,%s,%s\n"
    no_number = no_time = ""
    time = "%s+00:00"

    def text(self, text: str) -> str:
        """Return a cell."""
        return text if _NUMBER_LIKE.fullmatch(text) else _cells(text)

    @functools.cache  # noqa: B019 - one form lives as long as the command
    def route(self, route: Route, reason: InvalidReason) -> str:
        """Return the cells between number and time."""
        return _cells(route.status.name, reason.name if reason else "", *route_cells(route))

    @functools.cache  # noqa: B019 - likewise
    def holder(self, operator: Operator, snapshot: SnapshotRef) -> str:
        """Return the cells after the time."""
        cells = (operator.code, operator.name, snapshot.id, snapshot.as_of.isoformat())
        return _cells(*cells, str(snapshot.stale).lower())


class Json:
    """One JSON object a line, with the wire contract's field names."""

    header = ""
    line = '{"input":%s,"number":%s,%s,"ported_at":%s,%s}\n'
    no_number, no_time = "0", "null"
    time = '"%s+00:00"'
    text = staticmethod(json.JSONEncoder(ensure_ascii=False).encode)

    @functools.cache  # noqa: B019 - likewise
    def route(self, route: Route, reason: InvalidReason) -> str:
        """Return the members between number and time."""
        fields = plain(route)
        del fields["status"]
        return _members(
            status=route.status.name,
            invalid_reason=reason.name if reason else None,
            route=fields if route.status.has_route else None,
        )

    @functools.cache  # noqa: B019 - likewise
    def holder(self, operator: Operator, snapshot: SnapshotRef) -> str:
        """Return the members after the time."""
        holder = None if operator == _NOBODY else plain(operator)
        return _members(range_holder=holder, snapshot=plain(snapshot))


def lines(
    texts: Sequence[str],
    numbers: NDArray[np.uint64],
    reasons: NDArray[np.uint8],
    answer: BulkAnswer,
    form: Csv | Json,
) -> str:
    """Return one line for each of n texts: the text, its number and its answer.

    ``numbers``: uint64[n], 0 where a text is invalid. ``reasons``: uint8[n] of InvalidReason
    values. ``answer``: that to the numbers, with times and range holders.
    """
    if answer.ported_at is None or answer.range_holder_index is None:
        raise AssertionError("both columns were asked for")
    routes = (answer.route_index.astype(np.int64) * _REASONS + reasons).tolist()
    route_texts = {
        key: form.route(answer.routes[key // _REASONS], InvalidReason(key % _REASONS))
        for key in set(routes)
    }
    holder_texts = [form.holder(each, answer.snapshot) for each in answer.range_holders]
    times = [form.no_time] * len(texts)
    for place in np.flatnonzero(answer.ported_at).tolist():
        times[place] = form.time % answer.ported_at[place].astype("datetime64[s]")
    rows = zip(
        map(form.text, texts),
        [number or form.no_number for number in numbers.tolist()],
        map(route_texts.__getitem__, routes),
        times,
        map(holder_texts.__getitem__, answer.range_holder_index.tolist()),
        strict=True,
    )
    return "".join(map(form.line.__mod__, rows))


def route_cells(route: Route) -> tuple[str, ...]:
    """Return the columns of a route from ``operator_code`` to ``overridden``."""
    if not route.status.has_route:
        return ("",) * 12
    operator, region = route.operator, route.region
    return (
        *(operator.code, operator.name, operator.brand, operator.tax_number),
        *(route.mcc, route.mnc, route.registry_mnc, route.routing_number),
        *(region.code, region.name, route.line_type.name, str(route.overridden).lower()),
    )


def escape_formula(cell: str) -> str:
    """Return a cell that no spreadsheet runs as a formula; a phone number stays as it is.

    An apostrophe also goes behind a character at which a spreadsheet may split the cell.
    """
    if _FORMULA.match(cell) and not _NUMBER_LIKE.fullmatch(cell):
        cell = f"'{cell}"
    return _INNER_FORMULA.sub(r"\1'", cell)


def _cells(*cells: str) -> str:
    output = io.StringIO()
    csv.writer(output, lineterminator="").writerow(map(escape_formula, cells))
    return output.getvalue()


def _members(**members: Any) -> str:  # noqa: ANN401 - what JSON knows
    return json.dumps(members, ensure_ascii=False, separators=(",", ":"))[1:-1]
