"""Errors as problem details (RFC 9457), each kind with a lasting ``type``.

A ``type`` is a URN, ``urn:numroute:problem:`` and one word; docs/web.md lists them.
"""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final, Self

import msgspec

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
from numroute.model import mask_digits
from numroute.server.guard import details_of

TYPE_PREFIX: Final = "urn:numroute:problem:"

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


_NO_TOKEN: Final = ("no_token", "malformed_token")
"""Reasons whose hint is another over HTTP."""


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What went wrong (RFC 9457); ``hint`` says what to do about it."""

    type: str
    title: str
    status: int
    detail: str = ""
    hint: str = ""


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


def problem_of(error: BaseException) -> Problem:
    """Return an error as a problem; it quotes nothing that may hold a number."""
    if isinstance(error, ProblemError):
        return make_problem(error.word, error.status, error.message, error.hint)
    if isinstance(error, NumrouteError):
        word, status = next(OF_ERROR[kind] for kind in type(error).__mro__ if kind in OF_ERROR)
        # Clients must not learn the path of the store.
        reason = details_of(error) if isinstance(error, StoreError) else error.message
        hint = "" if isinstance(error, StoreError) else error.hint
        if isinstance(error, UnauthenticatedError) and error.reason in _NO_TOKEN:
            hint = "Send it as the header `Authorization: Bearer TOKEN`"
        return make_problem(word, status, mask_digits(reason), hint)
    if _is_full_disk(error):
        return make_problem(
            "storage-full",
            HTTPStatus.INSUFFICIENT_STORAGE,
            "the service has no room for the list",
            "Try again later, or tell the service's operators",
        )
    return make_problem(
        "internal",
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "the service failed on this request; its log names the place",
    )


def make_problem(word: str, status: HTTPStatus, detail: str, hint: str = "") -> Problem:
    """Return a problem by the last word of its type."""
    return Problem(
        type=TYPE_PREFIX + word,
        title=status.phrase,
        status=int(status),
        detail=detail,
        hint=hint,
    )


def _is_full_disk(error: BaseException) -> bool:
    if isinstance(error, OSError):
        return error.errno in {errno.ENOSPC, errno.EDQUOT}
    return isinstance(error, sqlite3.Error) and (
        getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
    )
