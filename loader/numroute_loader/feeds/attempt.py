"""One attempt of a feed: whatever goes wrong is told in the state and the log, and survived."""

from __future__ import annotations

from typing import TYPE_CHECKING

from numroute.errors import HostKeyError, LoginRefusedError, NumrouteError
from numroute.logs import error_fields, fault_fields
from numroute_loader.feeds.backoff import Backoff, jittered
from numroute_loader.feeds.options import (
    LOGIN_RETRY_SECONDS_FIRST,
    LOGIN_RETRY_SECONDS_MAX,
    RETRY_SECONDS_FIRST,
    RETRY_SECONDS_MAX,
)
from numroute_loader.feeds.status import now

if TYPE_CHECKING:
    from collections.abc import Callable

    from structlog.typing import FilteringBoundLogger

    from numroute_loader.feeds.status import Status


def attempt(
    work: Callable[[], None],
    tell: Callable[[], None],
    status: Status,
    log: FilteringBoundLogger,
) -> Exception | None:
    """Do the work, write the state by ``tell``, and return what went wrong, None when nothing did.

    A state that cannot be written, because the disk is full, ends no feed either.
    """
    failure = _fault_of(work, status, log)
    if failure is None:
        status.set(error=None, succeeded_at=now())
    unwritten = _fault_of(tell, status, log)
    return failure or unwritten


def _fault_of(
    work: Callable[[], None], status: Status, log: FilteringBoundLogger
) -> Exception | None:
    try:
        work()
    except NumrouteError as error:
        count = status.failed(error.message, error.hint)
        log.error("poll failed", failures=count, **error_fields(error))  # noqa: TRY400 - a trace could quote a value
        return error
    except OSError as error:
        message = f"{error.filename or 'the disk'}: {error.strerror or type(error).__name__}"
        count = status.failed(message, "Check the disk's room, owner and mount")
        log.error("poll failed", failures=count, reason=message)  # noqa: TRY400 - a trace could quote a value
        return error
    except Exception as fault:  # noqa: BLE001 - a fault of ours must not end the feed
        count = status.failed(f"unforeseen fault {type(fault).__name__}", "Report the log line")
        log.error("poll failed", failures=count, **fault_fields(fault))  # noqa: TRY400 - a trace could quote a value
        return fault
    return None


def retry_seconds(error: Exception, failures: int, interval_seconds: float) -> float:
    """Return how long to wait after the n-th failure in a row, from 1."""
    first, last = min(RETRY_SECONDS_FIRST, interval_seconds), RETRY_SECONDS_MAX
    if isinstance(error, HostKeyError | LoginRefusedError):
        first, last = LOGIN_RETRY_SECONDS_FIRST, LOGIN_RETRY_SECONDS_MAX
    return jittered(Backoff(first_seconds=first, max_seconds=last).seconds(failures))
