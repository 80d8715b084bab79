"""What the handlers share: the parts of the service, and problems as responses."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException
from litestar.openapi import ResponseSpec
from structlog.typing import FilteringBoundLogger

from numroute.errors import SettingError
from numroute.logs import fault_fields
from numroute.model import mask_digits
from numroute.server.follower import Follower
from numroute.server.view import View
from numroute_web.admission import Admission, Sessions
from numroute_web.answers import Encoder
from numroute_web.jobs import JobStore
from numroute_web.problems import Problem, make_problem, problem_of
from numroute_web.runner import Runner
from numroute_web.settings import WebSettings
from numroute_web.webhooks import Webhooks

if TYPE_CHECKING:
    from litestar.types import ExceptionHandlersMap

Respond = Callable[[Request[Any, Any, Any], Problem, Exception], Response[Any]]

MEDIA_TYPE: Final = "application/problem+json"

_OF_STATUS: Final = {
    400: "invalid-request",
    401: "unauthenticated",
    403: "forbidden",
    404: "not-found",
    405: "method-not-allowed",
    406: "not-acceptable",
    409: "conflict",
    413: "too-large",
    415: "unsupported-media-type",
    422: "invalid-list",
    429: "too-many-lists",
    503: "overloaded",
    507: "storage-full",
}


PROBLEMS: Final = {
    400: ResponseSpec(Problem, media_type=MEDIA_TYPE, description="The request is wrong"),
    401: ResponseSpec(Problem, media_type=MEDIA_TYPE, description="No token, or not a valid one"),
    404: ResponseSpec(Problem, media_type=MEDIA_TYPE, description="There is no such thing"),
    413: ResponseSpec(Problem, media_type=MEDIA_TYPE, description="The request is too large"),
    429: ResponseSpec(Problem, media_type=MEDIA_TYPE, description="Try again after Retry-After"),
    503: ResponseSpec(Problem, media_type=MEDIA_TYPE, description="Try again after Retry-After"),
}
"""What any request may be answered."""


@dataclass(slots=True, kw_only=True)
class Service:
    """The parts of a running service; ``stopping`` ends what would stay open."""

    settings: WebSettings
    log: FilteringBoundLogger
    follower: Follower
    admission: Admission
    jobs: JobStore
    runner: Runner
    sessions: Sessions
    webhooks: Webhooks
    stopping: bool = False
    _encoder: Encoder | None = field(default=None, init=False)

    @property
    def is_secure(self) -> bool:
        """Whether it serves TLS itself, so that cookies may insist on it."""
        return self.settings.security.tls is not None

    def encoder(self, view: View) -> Encoder:
        """Return the encoder of a view; that of the latest view is kept."""
        if self._encoder is None or self._encoder.view is not view:
            self._encoder = Encoder(view)
        return self._encoder

    async def view_at(self, as_of: datetime | None) -> View:
        """Return the snapshot that was current then, to be used at once in a ``with`` statement.

        Raises:
            NoSnapshotError: There is none in service.
            SettingError: The time has no time zone.
            SnapshotNotKeptError: The store no longer keeps that of the time.
        """
        if as_of is None:
            return self.follower.current()
        if as_of.tzinfo is None:
            raise SettingError("as_of has no time zone", hint="Write it as 2026-08-23T00:00:00Z")
        return await self.follower.at(as_of)


def service_of(request: Request[Any, Any, Any]) -> Service:
    """Return the service that a request came to."""
    return cast("Service", request.app.state.service)


def problem_response(
    _request: Request[Any, Any, Any], problem: Problem, error: Exception
) -> Response[bytes]:
    """Return the response for a problem, with the headers that its error asks for."""
    headers: dict[str, str] = {}
    if isinstance(error, HTTPException) and error.headers:
        headers.update(error.headers)
    seconds = getattr(error, "retry_after_seconds", None)
    if seconds is not None:
        headers["Retry-After"] = str(max(1, math.ceil(seconds)))
    elif problem.status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers["Retry-After"] = "1"
    if problem.status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = 'Bearer realm="numroute"'
    return Response(
        msgspec.json.encode(problem),
        status_code=problem.status,
        media_type=MEDIA_TYPE,
        headers=headers,
    )


def exception_handlers(
    log: FilteringBoundLogger, respond: Respond = problem_response
) -> ExceptionHandlersMap:
    """Return the handler that answers every exception with its problem; faults are logged."""

    def answer(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
        if (
            isinstance(error, HTTPException)
            and error.status_code < HTTPStatus.INTERNAL_SERVER_ERROR
        ):
            status = HTTPStatus(error.status_code)
            word = _OF_STATUS.get(status, "invalid-request")
            problem = make_problem(word, status, _http_detail(error))
        else:
            problem = problem_of(error)
        if problem.status == HTTPStatus.INTERNAL_SERVER_ERROR:
            log.error("request failed", method=request.method, **fault_fields(error))
        return respond(request, problem, error)

    return {Exception: answer, HTTPException: answer}


def _http_detail(error: HTTPException) -> str:
    """Return the framework's text and, for a malformed request, which keys are wrong."""
    extra = error.extra if isinstance(error.extra, list) else []
    keys = [f"{each['key']}: {each['message']}" for each in extra if "key" in each]
    return mask_digits("; ".join(keys) or str(error.detail))
