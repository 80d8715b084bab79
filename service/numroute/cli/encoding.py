"""Answers as lines of CSV or JSON, by columns.

Thousands of numbers share a few routes. Apart from its text, number and time, an answer depends
only on its route and range holder: those parts are encoded once, and a block of answers is a
single join.
"""

from __future__ import annotations

import csv
import functools
import io
import json
import re
from collections.abc import Sequence
from typing import Final

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
_REASONS: Final = len(InvalidReason)


def escape_formula(cell: str) -> str:
    """Return a cell that no spreadsheet runs as a formula; a phone number stays as it is.

    An apostrophe also goes behind a character at which a spreadsheet may split the cell.
    """
    if _FORMULA.match(cell) and not _NUMBER_LIKE.fullmatch(cell):
        cell = f"'{cell}"
    return _INNER_FORMULA.sub(r"\1'", cell)


def _cells(*cells: str) -> bytes:
    output = io.StringIO()
    csv.writer(output, lineterminator="").writerow([escape_formula(cell) for cell in cells])
    return output.getvalue().encode()


class Csv:
    """CSV that a spreadsheet can open. A line is the text, the number, then the answer."""

    header = ",".join(CSV_COLUMNS).encode() + b"\n"
    before_text = b""
    before_number = b","
    no_number = b""
    no_time = b""
    time_form = "%s+00:00"
    is_plain = re.compile(rb"\+?[0-9\-.() ]*(?:\xff\+?[0-9\-.() ]*)*").fullmatch
    """Whether a text needs no escaping; likewise several texts, joined by the byte FF."""
    text = staticmethod(_cells)

    @functools.cache  # noqa: B019 - one form lives as long as the command
    def route(self, route: Route, reason: InvalidReason) -> bytes:
        """Return the cells between number and time."""
        return b",%b," % _cells(
            route.status.name, reason.name if reason else "", *route_cells(route)
        )

    @functools.cache  # noqa: B019 - likewise
    def holder(self, operator: Operator, snapshot: SnapshotRef) -> bytes:
        """Return the cells after the time."""
        cells = (operator.code, operator.name, snapshot.id, snapshot.as_of.isoformat())
        return b",%b\n" % _cells(*cells, str(snapshot.stale).lower())


class Json:
    """One JSON object a line, with the wire contract's field names."""

    header = b""
    before_text = b'{"input":"'
    before_number = b'","number":'
    no_number = b"0"
    no_time = b"null"
    time_form = '"%s+00:00"'
    is_plain = re.compile(rb'[^\x00-\x1f"\\\x80-\xfe]*').fullmatch

    def text(self, text: str) -> bytes:
        """Return a text without its quotes."""
        return _json(text)[1:-1]

    @functools.cache  # noqa: B019 - likewise
    def route(self, route: Route, reason: InvalidReason) -> bytes:
        """Return the members between number and time."""
        fields = plain(route) if route.status.has_route else None
        if fields:
            del fields["status"]
        return b',"status":"%b","invalid_reason":%b,"route":%b,"ported_at":' % (
            route.status.name.encode(),
            _json(reason.name if reason else None),
            _json(fields),
        )

    @functools.cache  # noqa: B019 - likewise
    def holder(self, operator: Operator, snapshot: SnapshotRef) -> bytes:
        """Return the members after the time."""
        holder = None if operator == Operator() else plain(operator)
        return b',"range_holder":%b,"snapshot":%b}\n' % (_json(holder), _json(plain(snapshot)))


def lines(
    texts: Sequence[bytes],
    numbers: NDArray[np.uint64],
    reasons: NDArray[np.uint8],
    answer: BulkAnswer,
    form: Csv | Json,
) -> bytes:
    """Return one line for each of n texts in UTF-8: the text, its number and its answer.

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
    pieces = (
        [form.before_text] * len(texts),
        _texts(texts, form),
        [form.before_number] * len(texts),
        [b"%d" % number if number else form.no_number for number in numbers.tolist()],
        map(route_texts.__getitem__, routes),
        _times(answer.ported_at, form),
        map(holder_texts.__getitem__, answer.range_holder_index.tolist()),
    )
    line_pieces = [b""] * (len(pieces) * len(texts))
    for i, column in enumerate(pieces):
        line_pieces[i :: len(pieces)] = column
    return b"".join(line_pieces)


def _texts(texts: Sequence[bytes], form: Csv | Json) -> Sequence[bytes]:
    """Return the texts, escaped where necessary; few are, so all are judged at once first."""
    if form.is_plain(b"\xff".join(texts)):  # a byte that UTF-8 never holds
        return texts
    return [text if form.is_plain(text) else form.text(text.decode()) for text in texts]


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


def _times(seconds: NDArray[np.uint32], form: Csv | Json) -> list[bytes]:
    written = [form.no_time] * len(seconds)
    places = np.flatnonzero(seconds)
    known = np.datetime_as_string(seconds[places].astype("datetime64[s]"))
    for place, text in zip(places.tolist(), known.tolist(), strict=True):
        written[place] = (form.time_form % text).encode()
    return written


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
