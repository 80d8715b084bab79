"""Map numroute's errors to gRPC statuses and texts; this is the only such table."""

from __future__ import annotations

from grpc import StatusCode

from numroute import errors

STATUS_OF_ERROR: dict[type[errors.NumrouteError], StatusCode] = {
    # The request is wrong: asking again does not help.
    errors.InputError: StatusCode.INVALID_ARGUMENT,
    errors.SettingError: StatusCode.INVALID_ARGUMENT,
    errors.LimitExceededError: StatusCode.INVALID_ARGUMENT,
    # The client needs another token or certificate.
    errors.UnauthenticatedError: StatusCode.UNAUTHENTICATED,
    # The request is right but comes too early: trailing metadata say when to ask again.
    errors.TryLaterError: StatusCode.RESOURCE_EXHAUSTED,
    # There is nothing to answer from yet: clients retry UNAVAILABLE.
    errors.StoreMissingError: StatusCode.UNAVAILABLE,
    errors.NoSnapshotError: StatusCode.UNAVAILABLE,
    errors.StoreBusyError: StatusCode.UNAVAILABLE,
    errors.StoreAccessError: StatusCode.UNAVAILABLE,
    errors.StoppingError: StatusCode.UNAVAILABLE,
    # Asking again does not help.
    errors.SnapshotNotKeptError: StatusCode.NOT_FOUND,
    # Another replica may have it; a client that splits questions asks there or starts again.
    errors.OtherSnapshotError: StatusCode.FAILED_PRECONDITION,
    # This program cannot read the data until somebody acts.
    errors.SnapshotVersionError: StatusCode.FAILED_PRECONDITION,
    errors.SnapshotCorruptError: StatusCode.DATA_LOSS,
    errors.DeadlinePassedError: StatusCode.DEADLINE_EXCEEDED,
    # Everything else.
    errors.NumrouteError: StatusCode.INTERNAL,
}
"""The status of each class of errors; other classes take that of their nearest ancestor."""


def status_of(error: errors.NumrouteError) -> StatusCode:
    """Return the status of an error."""
    return next(STATUS_OF_ERROR[kind] for kind in type(error).__mro__ if kind in STATUS_OF_ERROR)


def details_of(error: errors.NumrouteError) -> str:
    """Return the text of an error for a client, without the path of the store."""
    if isinstance(error, errors.StoreError):
        return f"{error.reason}. {error.hint}" if error.hint else error.reason
    return str(error)
