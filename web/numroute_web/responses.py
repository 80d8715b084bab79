"""Problems as responses; apart from ``problems``, for the framework is slow to import."""

from __future__ import annotations

import math
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

import msgspec
from litestar import Response
from litestar.exceptions import HTTPException
from litestar.openapi import ResponseSpec

from numroute.logs import fault_fields
from numroute.model import mask_digits
from numroute_web.problems import Problem, make_problem, problem_of

if TYPE_CHECKING:
    from litestar import Request
    from litestar.types import ExceptionHandlersMap
    from structlog.typing import FilteringBoundLogger

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


def problem_of_request(error: Exception) -> Problem:
    """Return what ends a request as a problem, the framework's own errors among them."""
    if isinstance(error, HTTPException) and error.status_code < HTTPStatus.INTERNAL_SERVER_ERROR:
        status = HTTPStatus(error.status_code)
        word = _OF_STATUS.get(status, "invalid-request")
        return make_problem(word, status, _http_detail(error))
    return problem_of(error)


def exception_handlers(log: FilteringBoundLogger) -> ExceptionHandlersMap:
    """Return the handler that answers every exception with a problem."""

    def answer(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
        problem = problem_of_request(error)
        if problem.status == HTTPStatus.INTERNAL_SERVER_ERROR:
            log.error("request failed", method=request.method, **fault_fields(error))
        return problem_response(problem, error)

    return {Exception: answer, HTTPException: answer}


def problem_response(problem: Problem, error: Exception | None = None) -> Response[bytes]:
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


def _http_detail(error: HTTPException) -> str:
    """Return the framework's text and, for a malformed request, which keys are wrong."""
    extra = error.extra if isinstance(error.extra, list) else []
    keys = [f"{each['key']}: {each['message']}" for each in extra if "key" in each]
    return mask_digits("; ".join(keys) or str(error.detail))
