"""The handlers that answer about numbers: lookups, the snapshot, operators, explanations."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated, Any, Final

import msgspec
from litestar import Request, Response, get, post
from litestar.params import Parameter

from numroute import wire
from numroute.answers import explain_text
from numroute.errors import LimitExceededError
from numroute.model import Operator, Source
from numroute.server.view import operator_list
from numroute_web.answers import (
    AnswersBody,
    Encoded,
    Encoder,
    OneAnswerBody,
    RouteBody,
    SnapshotBody,
    body_of,
    snapshot_body,
)
from numroute_web.service import PROBLEMS, service_of
from numroute_web.settings import NUMBERS_MAX, TEXT_LENGTH_MAX

HttpRequest = Request[Any, Any, Any]

JSON: Final = "application/json"
CSV: Final = "text/csv"

Number = Annotated[
    str,
    Parameter(
        min_length=1,
        max_length=TEXT_LENGTH_MAX,
        description="A number in any human format; write `+` as `%2B`.",
    ),
]
Country = Annotated[
    str | None,
    Parameter(
        pattern="^[A-Z]{2}$",
        description="Country whose national formats are understood, e.g. RU.",
    ),
]
AsOf = Annotated[
    datetime | None,
    Parameter(description="Answer from the snapshot that was current then, with a time zone."),
]


_Text = Annotated[str, msgspec.Meta(max_length=TEXT_LENGTH_MAX)]


class LookupBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Numbers in any human format."""

    numbers: Annotated[list[_Text], msgspec.Meta(min_length=1)]
    region: Annotated[str, msgspec.Meta(pattern="^[A-Z]{2}$")] | None = None
    as_of: Annotated[datetime, msgspec.Meta(tz=True)] | None = None


class SnapshotInfoBody(msgspec.Struct, frozen=True, kw_only=True):
    """The snapshot in service."""

    snapshot: SnapshotBody
    built_at: datetime
    age_seconds: float
    format_version: int
    sources: list[Source]
    counts: dict[str, int]


class NetworkBody(msgspec.Struct, frozen=True, kw_only=True):
    """A mobile network."""

    mcc: str
    mnc: str


class OperatorInfoBody(msgspec.Struct, frozen=True, kw_only=True):
    """An operator under one of its brands."""

    operator: Operator
    networks: list[NetworkBody]
    serves_ported_numbers: bool
    holds_ranges: bool


class OperatorsBody(msgspec.Struct, frozen=True, kw_only=True):
    """The operators of the snapshot's routes."""

    operators: list[OperatorInfoBody]
    snapshot: SnapshotBody


class LayerBody(msgspec.Struct, frozen=True, kw_only=True):
    """What one layer of the snapshot says about a number."""

    name: str
    decides: bool
    route: RouteBody | None
    sources: list[Source]
    first: int | None
    last: int | None
    ported_at: datetime | None
    donor: Operator | None
    reason: str
    author: str
    expires: datetime | None


class ExplanationBody(msgspec.Struct, frozen=True, kw_only=True):
    """Why a number is answered as it is."""

    input: str
    number: int
    status: str
    invalid_reason: str | None
    decided_by: str
    route: RouteBody | None
    layers: list[LayerBody]
    snapshot: SnapshotBody


@get("/v1/lookup", summary="Look one number up", responses=PROBLEMS)
async def lookup_one(
    request: HttpRequest, number: Number, region: Country = None, as_of: AsOf = None
) -> Encoded[OneAnswerBody]:
    """Answer about one number as JSON or, with `Accept: text/csv`, as CSV."""
    async with _asking("GET /v1/lookup", request, 1, as_of) as (encoder, headers):
        if _wants_csv(request):
            return Encoded(encoder.csv([number], region), CSV, headers)
        return Encoded(encoder.one(number, region), JSON, headers)


@post("/v1/lookup", status_code=200, summary="Look up to 1,000 numbers up", responses=PROBLEMS)
async def lookup_many(request: HttpRequest, data: LookupBody) -> Encoded[AnswersBody]:
    """Answer about numbers, in their order, as JSON or, with `Accept: text/csv`, as CSV."""
    if len(data.numbers) > NUMBERS_MAX:
        raise LimitExceededError(
            "numbers",
            actual=len(data.numbers),
            limit=NUMBERS_MAX,
            hint="Split the request into several, or send a list to /v1/lists",
        )
    count = len(data.numbers)
    async with _asking("POST /v1/lookup", request, count, data.as_of) as (encoder, headers):
        if _wants_csv(request):
            return Encoded(encoder.csv(data.numbers, data.region), CSV, headers)
        return Encoded(encoder.many(data.numbers, data.region), JSON, headers)


@get("/v1/explain", summary="Say why a number is answered as it is", responses=PROBLEMS)
async def explain(
    request: HttpRequest, number: Number, region: Country = None, as_of: AsOf = None
) -> Response[ExplanationBody]:
    """Say which layer of the snapshot decides about a number, and what the others say."""
    async with _asking("GET /v1/explain", request, 1, as_of) as (encoder, headers):
        view = encoder.view
        explanation = explain_text(view.snapshot, view.ref(), number, region)
        return Response(body_of(explanation, ExplanationBody), headers=headers)


@get("/v1/snapshot", summary="Describe the snapshot in service", responses=PROBLEMS)
async def snapshot(request: HttpRequest) -> Response[SnapshotInfoBody]:
    """Say which snapshot answers, how old its data is, and what it was built from."""
    async with _asking("GET /v1/snapshot", request, 0, None) as (encoder, headers):
        view = encoder.view
        metadata = view.snapshot.metadata
        body = SnapshotInfoBody(
            snapshot=snapshot_body(view),
            built_at=metadata.built_at,
            age_seconds=time.time() - metadata.as_of.timestamp(),
            format_version=metadata.format_version,
            sources=list(metadata.sources),
            counts=dict(metadata.counts),
        )
        return Response(body, headers=headers)


@get("/v1/operators", summary="List the operators", responses=PROBLEMS)
async def operators(request: HttpRequest) -> Response[OperatorsBody]:
    """List the operators that serve ported numbers or hold ranges."""
    async with _asking("GET /v1/operators", request, 0, None) as (encoder, headers):
        view = encoder.view
        # Beside the event loop: it walks thousands of routes.
        listed = await asyncio.to_thread(operator_list, view.snapshot)
        body = OperatorsBody(
            operators=[
                OperatorInfoBody(
                    operator=wire.value(Operator, each.operator),
                    networks=[NetworkBody(mcc=one.mcc, mnc=one.mnc) for one in each.networks],
                    serves_ported_numbers=each.serves_ported_numbers,
                    holds_ranges=each.holds_ranges,
                )
                for each in listed.operators
            ],
            snapshot=snapshot_body(view),
        )
        return Response(body, headers=headers)


HANDLERS: Final = (lookup_one, lookup_many, explain, snapshot, operators)


@contextlib.asynccontextmanager
async def _asking(
    method: str, request: HttpRequest, count: int, as_of: datetime | None
) -> AsyncIterator[tuple[Encoder, dict[str, str]]]:
    """Admit a call about ``count`` numbers; yield the encoder of its snapshot, and headers."""
    service = service_of(request)
    with service.admission.call(method, request) as call:
        if count:
            call.ask(count)
        with await service.view_at(as_of) as view:
            yield service.encoder(view), service.admission.limit_headers(call.client)


def _wants_csv(request: HttpRequest) -> bool:
    accept = request.headers.get("accept", "")
    return "csv" in accept and request.accept.best_match([JSON, CSV], default=JSON) == CSV
