"""Map numroute's errors to gRPC statuses and texts; this is the only such table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from grpc import StatusCode

from numroute.errors import (
    DeadlinePassedError,
    InputError,
    LimitExceededError,
    NoSnapshotError,
    NumrouteError,
    OtherSnapshotError,
    SettingError,
    SnapshotCorruptError,
    SnapshotNotKeptError,
    SnapshotVersionError,
    StoppingError,
    StoreAccessError,
    StoreBusyError,
    StoreError,
    StoreMissingError,
    TryLaterError,
    UnauthenticatedError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

STATUS_OF_ERROR: Mapping[type[NumrouteError], StatusCode] = {
    # The request is wrong: asking again does not help.
    InputError: StatusCode.INVALID_ARGUMENT,
    SettingError: StatusCode.INVALID_ARGUMENT,
    LimitExceededError: StatusCode.INVALID_ARGUMENT,
    # The client needs another token or certificate.
    UnauthenticatedError: StatusCode.UNAUTHENTICATED,
    # The request is right but comes too early: trailing metadata say when to ask again.
    TryLaterError: StatusCode.RESOURCE_EXHAUSTED,
    # There is nothing to answer from yet: clients retry UNAVAILABLE.
    StoreMissingError: StatusCode.UNAVAILABLE,
    NoSnapshotError: StatusCode.UNAVAILABLE,
    StoreBusyError: StatusCode.UNAVAILABLE,
    StoreAccessError: StatusCode.UNAVAILABLE,
    StoppingError: StatusCode.UNAVAILABLE,
    # Asking again does not help.
    SnapshotNotKeptError: StatusCode.NOT_FOUND,
    # Another replica may have it; a client that splits questions asks there or starts again.
    OtherSnapshotError: StatusCode.FAILED_PRECONDITION,
    # This program cannot read the data until somebody acts.
    SnapshotVersionError: StatusCode.FAILED_PRECONDITION,
    SnapshotCorruptError: StatusCode.DATA_LOSS,
    DeadlinePassedError: StatusCode.DEADLINE_EXCEEDED,
    # Everything else.
    NumrouteError: StatusCode.INTERNAL,
}
"""The status of each class of errors; other classes take that of their nearest ancestor."""


def status_of(error: NumrouteError) -> StatusCode:
    """Return the status of an error."""
    return next(STATUS_OF_ERROR[kind] for kind in type(error).__mro__ if kind in STATUS_OF_ERROR)


def details_of(error: NumrouteError) -> str:
    """Return the text of an error for a client, without the path of the store."""
    if isinstance(error, StoreError):
        return f"{error.reason}. {error.hint}" if error.hint else error.reason
    return str(error)
