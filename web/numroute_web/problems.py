"""Errors as problem details (RFC 9457), each kind with a lasting ``type``.

A ``type`` is a URN, ``urn:numroute:problem:`` and one word; docs/web.md lists them.
"""

from __future__ import annotations

import errno
import math
import sqlite3
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, Self

import msgspec
from litestar import Response
from litestar.exceptions import HTTPException
from litestar.openapi import ResponseSpec

from numroute.errors import (
    InputError,
    LimitExceededError,
    NoSnapshotError,
    NumrouteError,
    OverloadedError,
    QuotaExceededError,
    SettingError,
    SnapshotNotKeptError,
    StoppingError,
    StoreError,
    TryLaterError,
    UnauthenticatedError,
)
from numroute.logs import fault_fields
from numroute.model import mask_digits
from numroute.server.statuses import details_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from litestar import Request
    from litestar.types import ExceptionHandlersMap
    from structlog.typing import FilteringBoundLogger

TYPE_PREFIX: Final = "urn:numroute:problem:"
MEDIA_TYPE: Final = "application/problem+json"

OF_ERROR: Final[Mapping[type[NumrouteError], tuple[str, HTTPStatus]]] = {
    InputError: ("invalid-list", HTTPStatus.UNPROCESSABLE_ENTITY),
    SettingError: ("invalid-request", HTTPStatus.BAD_REQUEST),
    LimitExceededError: ("too-many-numbers", HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
    UnauthenticatedError: ("unauthenticated", HTTPStatus.UNAUTHORIZED),
    QuotaExceededError: ("quota-exceeded", HTTPStatus.TOO_MANY_REQUESTS),
    OverloadedError: ("overloaded", HTTPStatus.SERVICE_UNAVAILABLE),
    TryLaterError: ("overloaded", HTTPStatus.SERVICE_UNAVAILABLE),
    StoppingError: ("stopping", HTTPStatus.SERVICE_UNAVAILABLE),
    SnapshotNotKeptError: ("snapshot-not-kept", HTTPStatus.NOT_FOUND),
    NoSnapshotError: ("no-snapshot", HTTPStatus.SERVICE_UNAVAILABLE),
    StoreError: ("store", HTTPStatus.SERVICE_UNAVAILABLE),
    NumrouteError: ("internal", HTTPStatus.INTERNAL_SERVER_ERROR),
}
"""The word and the status of each kind of error; others take those of their nearest ancestor."""

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


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What went wrong (RFC 9457); ``hint`` says what to do about it."""

    type: str
    title: str
    status: int
    detail: str = ""
    hint: str = ""


PROBLEMS: Final = {
    400: ResponseSpec(Problem, media_type=MEDIA_TYPE, description="The request is wrong"),
    401: ResponseSpec(Problem, media_type=MEDIA_TYPE, description="No token, or not a valid one"),
    404: ResponseSpec(Problem, media_type=MEDIA_TYPE, description="There is no such thing"),
    413: ResponseSpec(Problem, media_type=MEDIA_TYPE, description="The request is too large"),
    429: ResponseSpec(Problem, media_type=MEDIA_TYPE, description="Try again after Retry-After"),
    503: ResponseSpec(Problem, media_type=MEDIA_TYPE, description="Try again after Retry-After"),
}
"""What any request may be answered."""


class ProblemError(NumrouteError):
    """A problem of the HTTP face itself: ``word`` ends its type."""

    def __init__(
        self,
        word: str,
        status: HTTPStatus,
        message: str,
        *,
        hint: str = "",
        retry_after_seconds: float | None = None,
    ) -> None:
        """Keep word and status beside the message."""
        super().__init__(message, hint=hint)
        self.word = word
        self.status = status
        self.retry_after_seconds = retry_after_seconds

    @classmethod
    def of(cls, problem: Problem) -> Self:
        """Return the error for a problem that another process reported."""
        word = problem.type.removeprefix(TYPE_PREFIX)
        return cls(word, HTTPStatus(problem.status), problem.detail, hint=problem.hint)


def problem_of(error: Exception) -> Problem:
    """Return an error as a problem; it quotes nothing that may hold a number."""
    if isinstance(error, ProblemError):
        return _problem(error.word, error.status, error.message, error.hint)
    if isinstance(error, NumrouteError):
        word, status = next(OF_ERROR[kind] for kind in type(error).__mro__ if kind in OF_ERROR)
        # The path of a store is nobody's business.
        reason = details_of(error) if isinstance(error, StoreError) else error.message
        hint = "" if isinstance(error, StoreError) else error.hint
        return _problem(word, status, mask_digits(reason), hint)
    if _is_full_disk(error):
        return _problem(
            "storage-full",
            HTTPStatus.INSUFFICIENT_STORAGE,
            "the service has no room for the list",
            "Try again later, or tell the service's operators",
        )
    if isinstance(error, HTTPException) and error.status_code < HTTPStatus.INTERNAL_SERVER_ERROR:
        status = HTTPStatus(error.status_code)
        return _problem(_OF_STATUS.get(status, "invalid-request"), status, _http_detail(error))
    return _problem(
        "internal",
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "the service failed on this request; its log names the place",
    )


def exception_handlers(log: FilteringBoundLogger) -> ExceptionHandlersMap:
    """Return the handler that answers every exception with a problem."""

    def answer(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
        problem = problem_of(error)
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


def _problem(word: str, status: HTTPStatus, detail: str, hint: str = "") -> Problem:
    return Problem(
        type=TYPE_PREFIX + word,
        title=status.phrase,
        status=int(status),
        detail=detail,
        hint=hint,
    )


def _is_full_disk(error: Exception) -> bool:
    if isinstance(error, OSError):
        return error.errno in {errno.ENOSPC, errno.EDQUOT}
    return isinstance(error, sqlite3.Error) and (
        getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
    )


def _http_detail(error: HTTPException) -> str:
    """Return the framework's text and, for a malformed request, which keys are wrong."""
    extra = error.extra if isinstance(error.extra, list) else []
    keys = [f"{each['key']}: {each['message']}" for each in extra if "key" in each]
    return mask_digits("; ".join(keys) or str(error.detail))
