"""Every error that numroute raises on purpose, as one tree with ``NumrouteError`` as its root.

An error's text says what is wrong and where; ``hint`` says what to do. No error text holds a full
phone number.
"""

from __future__ import annotations

import errno
from dataclasses import KW_ONLY, dataclass
from pathlib import Path


@dataclass(eq=False, repr=False)
class NumrouteError(Exception):
    """The root of the tree. ``str()`` gives the message and, after it, the hint."""

    message: str
    _: KW_ONLY
    hint: str = ""

    def __post_init__(self) -> None:
        super().__init__(self.message)

    def __str__(self) -> str:
        return f"{self.message}. {self.hint}" if self.hint else self.message


class _FileError(NumrouteError):
    def __init__(
        self, path: Path | str, reason: str, *, line: int | None = None, hint: str = ""
    ) -> None:
        """Build the message ``path: reason``, or ``path:line: reason``."""
        where = f"{path}:{line}" if line is not None else f"{path}"
        super().__init__(f"{where}: {reason}", hint=hint)
        self.path = path
        self.line = line
        self.reason = reason


class InputError(_FileError):
    """A user's file is not what it should be; ``line`` counts from 1, None for the whole file."""


class SettingError(NumrouteError):
    """A setting or an argument is wrong."""


class LimitExceededError(NumrouteError):
    """A request is larger than the named limit allows."""

    def __init__(self, field: str, *, actual: int, limit: int, hint: str = "") -> None:
        """Name the field, what it held and what it may hold."""
        super().__init__(f"{field} has {actual} entries, the limit is {limit}", hint=hint)
        self.field = field
        self.actual = actual
        self.limit = limit


@dataclass(eq=False, repr=False, kw_only=True)
class UnauthenticatedError(NumrouteError):
    """The service does not know the client, or no longer admits it.

    ``reason`` is one word for metrics. Nothing in it holds any part of a token.
    """

    reason: str
    client: str = ""


@dataclass(eq=False, repr=False, kw_only=True)
class TryLaterError(NumrouteError):
    """The service refuses a request for now; ``retry_after_seconds`` says when to try again.

    ``reason`` is one word for metrics.
    """

    retry_after_seconds: float
    reason: str = ""


class OverloadedError(TryLaterError):
    """The service has as much work as it can do in time."""


class QuotaExceededError(TryLaterError):
    """The client has asked for as many numbers as it may."""


class DeadlinePassedError(NumrouteError):
    """The caller's deadline has passed."""


class WorkerError(NumrouteError):
    """The processes of the service cannot be kept alive."""


class StoreError(_FileError):
    """Something is wrong with a snapshot store or with a file in it."""


class StoreMissingError(StoreError):
    """There is no store at this path."""


class NoSnapshotError(StoreError):
    """The store has no current snapshot, or not the requested one."""


class SnapshotNotKeptError(StoreError):
    """No snapshot was current at the requested time, or the store no longer keeps it."""


class OtherSnapshotError(StoreError):
    """The service answers from another snapshot than the request names."""


class StoreBusyError(StoreError):
    """Another process is writing to the store."""


class StoreAccessError(StoreError):
    """The operating system refused to read or write the store."""

    @classmethod
    def unreadable(cls, path: Path | str, error: OSError) -> StoreAccessError:
        """Return the error of a file that cannot be read."""
        hint = (
            "Check owner and mode of the file and its folders: the user that runs the program "
            "must be able to read it"
            if error.errno in {errno.EACCES, errno.EPERM}
            else "Mend what the system says, then try again"
        )
        return cls(path, f"cannot be read: {error.strerror}", hint=hint)


class SnapshotVersionError(StoreError):
    """The file is of a format version that this program does not read."""

    def __init__(self, path: Path | str, *, expected: int, actual: int) -> None:
        """Say which version is read and which was found."""
        super().__init__(
            path,
            f"format version {actual}, this program reads version {expected}",
            hint="Build it again from the registry's files"
            if actual < expected
            else "Use the numroute version that wrote it, or roll back to an older snapshot",
        )
        self.expected = expected
        self.actual = actual


class SnapshotCorruptError(StoreError):
    """The file is not what was written."""

    def __init__(self, path: Path | str, reason: str) -> None:
        """Say what is wrong; the remedy is always the same."""
        hint = "Make another snapshot current or build this one again"
        super().__init__(path, reason, hint=hint)


class StoppingError(NumrouteError):
    """The service is stopping and takes no new requests."""


class FeedError(NumrouteError):
    """Files could not be fetched from where they are delivered, or brought there."""


class HostKeyError(FeedError):
    """The host's key is not the pinned one: it is another host, or one in between."""


class LoginRefusedError(FeedError):
    """The host refused user, password or key."""


@dataclass(eq=False, repr=False, kw_only=True)
class ServiceError(NumrouteError):
    """The service could not be reached, or answered with an error.

    ``code`` is the gRPC status name, e.g. ``UNAVAILABLE``.
    """

    code: str
