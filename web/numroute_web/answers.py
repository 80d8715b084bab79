"""Answers as JSON and CSV, with the field names of the wire contract.

Thousands of numbers share a few routes: a route is encoded once per snapshot.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import msgspec
import numpy as np
from litestar import Response
from numpy.typing import NDArray

from numroute.cli.console import plain
from numroute.cli.encoding import CSV_COLUMNS, escape_formula, route_cells
from numroute.e164.rows import parse_texts
from numroute.model import InvalidReason, Operator, Region, Status
from numroute.server.view import View

if TYPE_CHECKING:
    from litestar.response.base import ASGIResponse
    from litestar.types import Receive, Scope, Send

Body = TypeVar("Body")

_NOBODY: Final = Operator()
_MISSING: Any = None

_STATUSES: Final = np.array([None, *(status.name for status in Status)], object)
_REASONS: Final = np.array([reason.name if reason else None for reason in InvalidReason], object)
"""The names by value."""


class RouteBody(msgspec.Struct, frozen=True, kw_only=True):
    """Where a message to a number must go."""

    operator: Operator
    mcc: str
    mnc: str
    registry_mnc: str
    routing_number: str
    region: Region
    line_type: str
    overridden: bool


class SnapshotBody(msgspec.Struct, frozen=True, kw_only=True):
    """Which snapshot answered, and how old its data is."""

    id: str
    as_of: datetime
    stale: bool


class AnswerBody(msgspec.Struct, frozen=True, gc=False):
    """The answer to one text.

    ``status`` is PORTED, NOT_PORTED, RANGE_ONLY, UNALLOCATED, NOT_COVERED or INVALID; ``number``
    is 0 when it is INVALID, ``route`` null unless it is one of the first three.
    """

    input: str
    number: int
    status: str
    invalid_reason: str | None
    route: RouteBody | None
    ported_at: datetime | None
    range_holder: Operator | None


class AnswersBody(msgspec.Struct, frozen=True, kw_only=True):
    """One answer per text, in order."""

    answers: list[AnswerBody]
    snapshot: SnapshotBody


class OneAnswerBody(AnswerBody, frozen=True, kw_only=True):
    """The answer to one text, with its snapshot."""

    snapshot: SnapshotBody


class Encoder:
    """Encodes answers from one snapshot; keeps each route's JSON.

    Encoded values stand where bodies have theirs: msgspec copies a ``Raw`` as it is.
    """

    def __init__(self, view: View) -> None:
        """Encode answers from this view."""
        self.view = view
        count = view.snapshot.route_count
        # Arrays of objects: taking a hundred from one is as fast as asking a dict for two.
        self._routes = np.full(count, None, object)
        self._holders = np.full(count, None, object)

    def one(self, text: str, default_country: str | None) -> bytes:
        """Return the answer to one text as JSON. Raises SettingError for an unknown country."""
        (answer,) = self._answers([text], default_country)
        return msgspec.json.encode(
            OneAnswerBody(**msgspec.structs.asdict(answer), snapshot=snapshot_body(self.view))
        )

    def many(self, texts: Sequence[str], default_country: str | None) -> bytes:
        """Return the answers to texts as JSON. Raises SettingError for an unknown country."""
        answers = self._answers(texts, default_country)
        return msgspec.json.encode(AnswersBody(answers=answers, snapshot=snapshot_body(self.view)))

    def _answers(self, texts: Sequence[str], default_country: str | None) -> list[AnswerBody]:
        """Return answers whose routes, range holders and times are encoded."""
        numbers, reasons, rows, seconds, range_rows = self._look_up(texts, default_country)
        columns: tuple[list[Any], ...] = (
            numbers.tolist(),
            _STATUSES.take(self.view.status.take(rows)).tolist(),
            _REASONS.take(reasons).tolist(),
            _taken(self._routes, rows, self._route),
            [_time(each) if each else None for each in seconds.tolist()],
            _taken(self._holders, range_rows, self._holder),
        )
        return list(map(AnswerBody, texts, *columns))

    def csv(self, texts: Sequence[str], default_country: str | None) -> bytes:
        """Return the answers to texts as CSV. Raises SettingError for an unknown country."""
        ref = self.view.ref()
        output = io.StringIO()
        writer = csv.writer(output, lineterminator="\r\n")
        writer.writerow(CSV_COLUMNS)
        columns = (column.tolist() for column in self._look_up(texts, default_country))
        for text, number, reason, row, seconds, range_row in zip(texts, *columns, strict=True):
            route = self.view.snapshot.route(row)
            holder = self.view.snapshot.route(range_row).operator
            cells = (
                text,
                f"{number or ''}",
                route.status.name,
                _REASONS[reason] or "",
                *route_cells(route),
                _time(seconds) if seconds else "",
                holder.code,
                holder.name,
                ref.id,
                ref.as_of.isoformat(),
                str(ref.stale).lower(),
            )
            writer.writerow([escape_formula(cell) for cell in cells])
        return output.getvalue().encode()

    def _look_up(
        self, texts: Sequence[str], default_country: str | None
    ) -> tuple[NDArray[Any], ...]:
        """Return numbers, reasons, rows, times of porting and rows of the ranges."""
        view = self.view
        parsed = parse_texts(texts, default_country)
        numbers, reasons = parsed.numbers, parsed.reasons
        found = view.snapshot.lookup(numbers, ported_at=True, range_route=True)
        if found.ported_at is None or found.range_route is None:
            raise AssertionError("both columns were asked for")
        view.answers.add(view.status.take(found.route))
        return numbers, reasons, found.route, found.ported_at, found.range_route

    def _route(self, row: int) -> msgspec.Raw:
        route = self.view.snapshot.route(row)
        return _raw(body_of(route, RouteBody) if route.status.has_route else None)

    def _holder(self, row: int) -> msgspec.Raw:
        operator = self.view.snapshot.route(row).operator
        return _raw(None if operator == _NOBODY else operator)


def snapshot_body(view: View) -> SnapshotBody:
    """Return the snapshot of a view as clients see it."""
    return msgspec.convert(view.ref(), SnapshotBody, from_attributes=True)


class Encoded(Response[Body]):
    """An answer that is encoded already, sent without the framework's own encoding.

    It is its own ASGI response: what the framework would do for its headers alone takes longer
    than a hundred lookups.
    """

    def __init__(self, content: bytes, media_type: str, headers: dict[str, str]) -> None:
        """Answer with this content; nothing else of a response is used."""
        self._content = content
        self._headers = [
            (b"content-type", media_type.encode()),
            (b"content-length", b"%d" % len(content)),
            (b"vary", b"Accept"),
            *((name.lower().encode(), value.encode()) for name, value in headers.items()),
        ]

    def to_asgi_response(self, *_: object, **__: object) -> ASGIResponse:
        """Return itself."""
        return cast("ASGIResponse", self)

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        """Send the answer."""
        await send({"type": "http.response.start", "status": 200, "headers": self._headers})
        await send({"type": "http.response.body", "body": self._content, "more_body": False})


def body_of(value: object, kind: type[Body]) -> Body:
    """Return a value of the model as the body of this kind; names match, enums become names."""
    document = plain(value)
    if isinstance(document, dict) and document.get("invalid_reason") == "UNSPECIFIED":
        document["invalid_reason"] = None
    return msgspec.convert(document, kind)


def _taken(
    encoded: NDArray[Any], rows: NDArray[np.integer], encode: Callable[[int], msgspec.Raw]
) -> list[Any]:
    """Return what is encoded for these rows; encode what has not been met before."""
    taken: list[Any] = encoded.take(rows).tolist()
    if None in taken:
        for row in set(rows[np.equal(encoded.take(rows), _MISSING)].tolist()):
            encoded[row] = encode(row)
        taken = encoded.take(rows).tolist()
    return taken


def _raw(body: object) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(body))


def _time(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()
