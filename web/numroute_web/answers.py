"""Answers as JSON and CSV, with the field names of the wire contract.

Thousands of numbers share a few routes: a route is encoded once per snapshot, and an answer joins
the encoded pieces.
"""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec
import numpy as np

from numroute import e164
from numroute.cli.console import plain
from numroute.cli.encoding import escape_formula
from numroute.model import InvalidReason, Operator

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numroute.model import Route
    from numroute.server.view import View

Body = TypeVar("Body")

CSV_COLUMNS: Final = (
    *("input", "number", "status", "invalid_reason"),
    *("operator_code", "operator_name", "operator_brand", "operator_tax_number"),
    *("mcc", "mnc", "registry_mnc", "routing_number", "region_code", "region_name", "line_type"),
    *("overridden", "ported_at", "range_holder_code", "range_holder_name"),
    *("snapshot_id", "snapshot_as_of", "snapshot_stale"),
)

_NOBODY: Final = Operator()


class OperatorBody(msgspec.Struct, frozen=True, kw_only=True):
    """An operator as the registry and the numbering plan name it."""

    code: str
    name: str
    brand: str
    tax_number: str


class RegionBody(msgspec.Struct, frozen=True, kw_only=True):
    """A region: its code in the registry, and its name."""

    code: str
    name: str


class RouteBody(msgspec.Struct, frozen=True, kw_only=True):
    """Where a message to a number must go."""

    operator: OperatorBody
    mcc: str
    mnc: str
    registry_mnc: str
    routing_number: str
    region: RegionBody
    line_type: str
    overridden: bool


class SnapshotBody(msgspec.Struct, frozen=True, kw_only=True):
    """Which snapshot answered, and how old its data is."""

    id: str
    as_of: datetime
    stale: bool


class AnswerBody(msgspec.Struct, frozen=True, kw_only=True):
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
    range_holder: OperatorBody | None


class AnswersBody(msgspec.Struct, frozen=True, kw_only=True):
    """One answer per text, in order."""

    answers: list[AnswerBody]
    snapshot: SnapshotBody


class OneAnswerBody(AnswerBody, frozen=True, kw_only=True):
    """The answer to one text, with its snapshot."""

    snapshot: SnapshotBody


class Encoder:
    """Encodes answers from one snapshot; keeps each route's JSON."""

    def __init__(self, view: View) -> None:
        """Encode answers from this view."""
        self.view = view
        self._routes: dict[int, str] = {}
        self._holders: dict[int, str] = {}

    def one(self, text: str, default_country: str | None) -> bytes:
        """Return the answer to one text as JSON. Raises SettingError for an unknown country."""
        (answer,) = self._encode([text], default_country)
        return f'{answer[:-1]},"snapshot":{self._snapshot()}}}'.encode()

    def many(self, texts: Sequence[str], default_country: str | None) -> bytes:
        """Return the answers to texts as JSON. Raises SettingError for an unknown country."""
        answers = ",".join(self._encode(texts, default_country))
        return f'{{"answers":[{answers}],"snapshot":{self._snapshot()}}}'.encode()

    def _encode(self, texts: Sequence[str], default_country: str | None) -> Iterable[str]:
        inputs, parsed, columns = self._look_up(texts, default_country)
        routes, holders = self._routes, self._holders
        for text, (number, reason), row, seconds, range_row in zip(
            inputs, parsed, *columns, strict=True
        ):
            route = routes.get(row) or self._route(row)
            holder = holders.get(range_row) or self._holder(range_row)
            why = f'"{reason.name}"' if reason else "null"
            ported_at = f'"{_time(seconds)}"' if seconds else "null"
            yield (
                f'{{"input":{text},"number":{number},"invalid_reason":{why},{route},'
                f'"ported_at":{ported_at},"range_holder":{holder}}}'
            )

    def csv(self, texts: Sequence[str], default_country: str | None) -> bytes:
        """Return the answers to texts as CSV. Raises SettingError for an unknown country."""
        _, parsed, columns = self._look_up(texts, default_country)
        ref = self.view.ref()
        output = io.StringIO()
        writer = csv.writer(output, lineterminator="\r\n")
        writer.writerow(CSV_COLUMNS)
        for text, (number, reason), row, seconds, range_row in zip(
            texts, parsed, *columns, strict=True
        ):
            route = self.view.snapshot.route(row)
            holder = self.view.snapshot.route(range_row).operator
            cells = (
                text,
                f"{number or ''}",
                route.status.name,
                reason.name if reason else "",
                *_route_cells(route),
                _time(seconds) if seconds else "",
                holder.code,
                holder.name,
                ref.id,
                ref.as_of.isoformat(),
                _word(ref.stale),
            )
            writer.writerow([escape_formula(cell) for cell in cells])
        return output.getvalue().encode()

    def _look_up(
        self, texts: Sequence[str], default_country: str | None
    ) -> tuple[list[str], list[tuple[int, InvalidReason]], tuple[list[int], list[int], list[int]]]:
        """Return the texts as JSON, what they say, and rows, times and rows of range holders."""
        view = self.view
        found = [e164.parse(text, default_country) for text in texts]
        numbers = np.array([each.number for each in found], np.uint64)
        answers = view.snapshot.lookup(numbers, ported_at=True, range_route=True)
        if answers.ported_at is None or answers.range_route is None:
            raise AssertionError("both columns were asked for")
        view.answers.add(view.fields.status.take(answers.route))
        return (
            [msgspec.json.encode(text).decode() for text in texts],
            [(each.number, each.reason) for each in found],
            (answers.route.tolist(), answers.ported_at.tolist(), answers.range_route.tolist()),
        )

    def _route(self, row: int) -> str:
        route = self.view.snapshot.route(row)
        body = body_of(route, RouteBody) if route.status.has_route else None
        text = msgspec.json.encode(body).decode()
        text = self._routes[row] = f'"status":"{route.status.name}","route":{text}'
        return text

    def _holder(self, row: int) -> str:
        operator = self.view.snapshot.route(row).operator
        body = None if operator == _NOBODY else body_of(operator, OperatorBody)
        text = self._holders[row] = msgspec.json.encode(body).decode()
        return text

    def _snapshot(self) -> str:
        return msgspec.json.encode(body_of(self.view.ref(), SnapshotBody)).decode()


def body_of(value: object, kind: type[Body]) -> Body:
    """Return a value of the model as the body of this kind; names match, enums become names."""
    document = plain(value)
    if isinstance(document, dict) and document.get("invalid_reason") == "UNSPECIFIED":
        document["invalid_reason"] = None
    return msgspec.convert(document, kind)


def _route_cells(route: Route) -> tuple[str, ...]:
    if not route.status.has_route:
        return ("",) * 12
    operator, region = route.operator, route.region
    return (
        *(operator.code, operator.name, operator.brand, operator.tax_number),
        *(route.mcc, route.mnc, route.registry_mnc, route.routing_number),
        *(region.code, region.name, route.line_type.name, _word(route.overridden)),
    )


def _time(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()


def _word(value: bool) -> str:  # noqa: FBT001 - a truth value as text
    return "true" if value else "false"
