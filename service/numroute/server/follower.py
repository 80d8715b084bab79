"""Follow the store's ``CURRENT``: put each new snapshot into service, else keep the old one."""

from __future__ import annotations

import asyncio
import errno
import resource
from typing import TYPE_CHECKING, Any

from numroute.errors import NoSnapshotError, NumrouteError
from numroute.logs import error_fields, fault_fields
from numroute.server.answer_counts import AnswerCounts
from numroute.server.served import ServedSnapshot
from numroute.server.settings import POLL_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import timedelta

    from structlog.typing import FilteringBoundLogger

    from numroute.index import SnapshotStore

_MORE_FILES = (
    "Look who keeps so many connections open; raise the limit (LimitNOFILE of systemd, ulimit -Hn)"
)


class Follower:
    """Keeps one snapshot in service: the store's current one, or the last that could be opened.

    Attributes:
        answers: Counts of all answers, whichever snapshot gave them.
        swaps: How many snapshots were put into service, the first one included.
        failures: How often one newly could not be, or could not be looked for; faults included.
    """

    def __init__(
        self,
        store: SnapshotStore,
        log: FilteringBoundLogger,
        *,
        max_age: timedelta | None,
        on_state: Callable[[str], None],
    ) -> None:
        """Follow a store.

        ``on_state`` is told after each poll why the service is not ready, nothing when it is.
        """
        self._store = store
        self._log = log
        self._max_age = max_age
        self._on_state = on_state
        self._was_stale = False
        self.answers = AnswerCounts()
        self.swaps = 0
        self.failures = 0
        self._served: ServedSnapshot | None = None
        self._problem: NumrouteError | None = None
        self._fault: Mapping[str, Any] | None = None
        self._changed = asyncio.Event()

    def serving(self) -> ServedSnapshot:
        """Return the snapshot in service, to be used at once in a ``with`` statement.

        Raises:
            NoSnapshotError: There is none yet; the message says why and what to do.
        """
        if self._served is None:
            problem = self._problem
            raise NoSnapshotError(
                self._store.path,
                "no snapshot is in service"
                + (f": {getattr(problem, 'reason', problem.message)}" if problem else ""),
                hint=problem.hint if problem else "",
            )
        return self._served

    @property
    def store(self) -> SnapshotStore:
        """The store that is followed."""
        return self._store

    @property
    def max_age(self) -> timedelta | None:
        """How old data may be before answers from it are marked stale."""
        return self._max_age

    @property
    def served(self) -> ServedSnapshot | None:
        """The snapshot in service, None when there is none yet."""
        return self._served

    async def next_after(self, snapshot_id: str | None) -> ServedSnapshot:
        """Return the snapshot in service once there is one with another id than this.

        To be used at once in a ``with`` statement. Whoever comes back late gets the latest.
        """
        while self._served is None or self._served.id == snapshot_id:
            await self._changed.wait()
        return self._served

    async def run(self, stop: asyncio.Event) -> None:
        """Poll until ``stop`` is set."""
        while not stop.is_set():
            await self.poll()
            try:
                await asyncio.wait_for(stop.wait(), POLL_SECONDS)
            except TimeoutError:
                continue

    async def poll(self) -> None:
        """Ask the store once, and put its current snapshot into service if that is another.

        What goes wrong is logged once per change and remembered for ``serving``; it never ends
        the service.
        """
        try:
            # In a thread: the disk may be slow, and requests go on meanwhile.
            opened = await asyncio.to_thread(self._open_if_new)
        except NumrouteError as error:
            if self._problem is None or str(self._problem) != str(error):
                if isinstance(error, NoSnapshotError) and self._served is None:
                    self._log.info("waiting for a snapshot", **error_fields(error))
                else:
                    self.failures += 1
                    self._tell_failure(error)
            self._problem = error
            self._fault = None
        except Exception as fault:  # noqa: BLE001 - a fault here must not stop the polling
            fields = fault_fields(fault)
            if fields != self._fault:
                self.failures += 1
                self._log.error("polling failed", serving=self._served_id, **fields)
            self._fault = fields
        else:
            self._problem = self._fault = None
            if opened is not None:
                before = self._take_over(opened)
                if before is not None:
                    # In a thread: to unmap a large file takes milliseconds.
                    await asyncio.to_thread(before.retire)
        self._tell_state()

    def close(self) -> None:
        """Take the snapshot out of service; it closes when its last request ends."""
        if self._served is not None:
            self._served.retire()
            self._served = None

    @property
    def _served_id(self) -> str | None:
        return None if self._served is None else self._served.id

    def _open_if_new(self) -> ServedSnapshot | None:
        if self._store.current_id() == self._served_id:
            return None
        return ServedSnapshot(self._store.open(), max_age=self._max_age, answers=self.answers)

    def _take_over(self, opened: ServedSnapshot) -> ServedSnapshot | None:
        """Put a snapshot into service and return the one before."""
        before = self._served
        self._served = opened
        self._changed.set()
        self._changed = asyncio.Event()
        self._log.info(
            "snapshot in service",
            snapshot=self._served.id,
            as_of=opened.snapshot.metadata.as_of.isoformat(),
            before=None if before is None else before.id,
        )
        self.swaps += 1
        return before

    def _tell_failure(self, error: NumrouteError) -> None:
        if _no_files_left(error):
            self._log.error(
                "open files run out",
                limit=resource.getrlimit(resource.RLIMIT_NOFILE)[0],
                **{**error_fields(error), "remedy": _MORE_FILES},
            )
        else:
            self._log.error("snapshot refused", serving=self._served_id, **error_fields(error))

    def _tell_state(self) -> None:
        if self._served is None:
            self._on_state("there is no snapshot yet")
            return
        stale = self._served.stale()
        if stale != self._was_stale:
            self._was_stale = stale
            as_of = self._served.snapshot.metadata.as_of.isoformat()
            if stale:
                self._log.error("data too old", snapshot=self._served.id, as_of=as_of)
            else:
                self._log.info("data recent again", snapshot=self._served.id, as_of=as_of)
        self._on_state("the data is older than --max-age" if stale else "")


def _no_files_left(error: NumrouteError) -> bool:
    cause = error.__context__
    return isinstance(cause, OSError) and cause.errno in {errno.EMFILE, errno.ENFILE}
