"""The loop of a feed: it polls until it is stopped, survives failures, and records its health."""

from __future__ import annotations

import abc
import contextlib
import signal
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from structlog.typing import FilteringBoundLogger

from numroute.errors import HostKeyError, LoginRefusedError, NumrouteError, StoreAccessError
from numroute.feed import (
    FeedState,
    Quarantined,
    Refused,
    Trouble,
    read_feed_state,
    write_feed_state,
)
from numroute.index import SnapshotStore
from numroute.index.store import locked
from numroute.logs import error_fields, fault_fields

RETRY_SECONDS_FIRST = 5.0
RETRY_SECONDS_MAX = 900.0
"""Waits after a failure: they double from the first to the longest."""

LOGIN_RETRY_SECONDS_FIRST = 300.0
LOGIN_RETRY_SECONDS_MAX = 3600.0
"""Waits after a refused login or a wrong host key: hosts lock accounts that try too often."""

ENTRIES_MAX = 50
"""Unusable and refused files that the health record keeps; the oldest go first."""


@contextlib.contextmanager
def feeding(store: Path) -> Iterator[None]:
    """Hold the lock of the store's feed, and let SIGTERM interrupt the main thread, as Ctrl-C does.

    Nothing needs to be finished first: the store and the spool are consistent after every system
    call. So a signal cuts off a build or a download.

    Raises StoreBusyError when another process holds the lock, StoreAccessError when the store
    cannot be written.
    """
    busy = "another `watch` or `pull` feeds this store"
    hint = "A store has one feed; `numroute info` shows its state"
    with locked(store, "feed.lock", busy=busy, hint=hint):
        before = signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, before)


def retry_seconds(
    failures: int, *, first: float = RETRY_SECONDS_FIRST, longest: float = RETRY_SECONDS_MAX
) -> float:
    """Return how long to wait after the n-th failure in a row, from 1."""
    # The exponent is bounded: a float has no room for a year of failures.
    return min(longest, first * 2.0 ** min(failures - 1, 64))


def now() -> datetime:
    """Return the time in UTC."""
    return datetime.now(UTC)


class Health:
    """The health record of a feed, kept in the store so that a restart continues from it."""

    def __init__(self, store: Path, source: str) -> None:
        """Continue from an earlier feed of the same store, without its troubles."""
        self._store = store
        old = FeedState(source=source, started_at=now())
        with contextlib.suppress(StoreAccessError):
            old = read_feed_state(store) or old
        self.state = replace(old, source=source, started_at=now(), error=None, gap=None, waiting=())

    def set(self, **changes: Any) -> None:  # noqa: ANN401 - fields of FeedState
        """Change fields of the record."""
        self.state = replace(self.state, **changes)

    def write(self) -> None:
        """Write the record; raises StoreAccessError."""
        write_feed_state(self._store, self.state)

    def trouble(self, field: str, message: str, hint: str) -> Trouble:
        """Record a trouble as the field ``error`` or ``gap``, and return it with its count."""
        before: Trouble | None = getattr(self.state, field)
        since, count = (before.since, before.count) if before else (now(), 0)
        trouble = Trouble(message=message, hint=hint, since=since, last_at=now(), count=count + 1)
        self.set(**{field: trouble})
        return trouble

    def quarantined(self, name: str, identity: str) -> Quarantined | None:
        """Return the entry of an unusable delivery."""
        entries = self.state.quarantined
        return next((e for e in entries if (e.name, e.identity) == (name, identity)), None)

    def quarantine(self, name: str, identity: str, reason: str) -> Quarantined:
        """Record an unusable file in place of an earlier entry of its name."""
        before, at = self.quarantined(name, identity), now()
        tries = before.tries + 1 if before is not None else 1
        retry_at = at + timedelta(seconds=retry_seconds(tries))
        entry = Quarantined(
            name=name, identity=identity, reason=reason, at=at, tries=tries, retry_at=retry_at
        )
        others = [each for each in self.state.quarantined if each.name != name]
        self.set(quarantined=(*others, entry)[-ENTRIES_MAX:])
        return entry

    def refuse(self, entry: Refused) -> None:
        """Record files that the gate refused in place of an earlier entry of the same files."""
        others = [each for each in self.state.refused if each.names != entry.names]
        self.set(refused=(*others, entry)[-ENTRIES_MAX:])

    def forget(self, names: Collection[str]) -> None:
        """Remove the entries of files that were used, or are no longer needed."""
        self.set(
            quarantined=tuple(e for e in self.state.quarantined if e.name not in names),
            refused=tuple(e for e in self.state.refused if not set(e.names) & set(names)),
        )


@dataclass
class Feed(abc.ABC):
    """A feed of a store: it does its work again and again."""

    store: SnapshotStore
    log: FilteringBoundLogger
    interval_seconds: float
    _health: Health = field(init=False)

    @abc.abstractmethod
    def _work(self) -> None:
        """Look at the source and do all that follows from it."""

    def _report(self) -> None:
        """Write the health record after the work, whether it failed or not."""
        self._health.write()

    def run(self) -> None:
        """Poll until a signal asks to stop."""
        self.log.info("watching", source=self._health.state.source, store=str(self.store.path))
        try:
            while True:
                time.sleep(self._wait_seconds(self.poll()))
        except KeyboardInterrupt:
            self.log.info("stopped")

    def poll(self) -> Exception | None:
        """Work once and write the health record; return what went wrong.

        A record that cannot be written, because the disk is full, does not end the feed either.
        """
        failure = self._failure_of(self._work)
        if failure is None:
            self._health.set(error=None, succeeded_at=now())
        unwritten = self._failure_of(self._report)
        return failure or unwritten

    def _failure_of(self, work: Callable[[], None]) -> Exception | None:
        failure: Exception
        fields: Mapping[str, Any]
        try:
            work()
        except NumrouteError as error:
            failure, message, hint, fields = error, error.message, error.hint, error_fields(error)
        except OSError as error:
            message = f"{error.filename or 'the disk'}: {error.strerror or type(error).__name__}"
            hint = "Check the disk's free space, owner and mount"
            failure, fields = error, {"reason": message}
        except Exception as fault:  # noqa: BLE001 - a fault of ours must not end the feed
            message, hint = f"unforeseen fault {type(fault).__name__}", "Report the log line"
            failure, fields = fault, fault_fields(fault)
        else:
            return None
        # Without a trace: it could quote a phone number.
        trouble = self._health.trouble("error", message, hint)
        self.log.error("poll failed", failures=trouble.count, **fields)
        return failure

    def _wait_seconds(self, error: Exception | None) -> float:
        """Return how long to wait before the next poll."""
        trouble = self._health.state.error
        if error is None or trouble is None:
            return self.interval_seconds
        if isinstance(error, HostKeyError | LoginRefusedError):
            first, longest = LOGIN_RETRY_SECONDS_FIRST, LOGIN_RETRY_SECONDS_MAX
            return retry_seconds(trouble.count, first=first, longest=longest)
        return retry_seconds(trouble.count, first=min(RETRY_SECONDS_FIRST, self.interval_seconds))
