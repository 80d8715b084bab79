"""Follow the store's ``CURRENT``: put each new snapshot into service, else keep the old one.

Past snapshots are opened to answer questions with ``as_of``.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

from structlog.typing import FilteringBoundLogger

from numroute.errors import (
    NoSnapshotError,
    NumrouteError,
    SnapshotCorruptError,
    SnapshotNotKeptError,
)
from numroute.index import Snapshot, SnapshotStore, verify_snapshot
from numroute.logs import error_fields, fault_fields
from numroute.server.limits import PAST_IDLE_SECONDS, PAST_SNAPSHOTS_MAX
from numroute.server.view import AnswerCounts, View

POLL_SECONDS = 0.2
"""How often the store's small pointer file is read. A new snapshot must answer within a second of
its publication; a fifth of that leaves room for opening it."""

FALL_BACK_SECONDS = 10.0
"""How long to wait, when no other snapshot opens either, before they are tried again."""

VERIFY_DELAY_SECONDS = 30.0
"""How long a snapshot has been in service when its file is first read whole: a restart of all
workers is over by then."""

VERIFY_SECONDS = 86_400.0
"""How often the file in service is read whole after that."""

IDLE_PRIORITY = 19


class Follower:
    """Keeps one snapshot in service: the store's current one, or the last that could be opened.

    It also opens the snapshots that ``as_of`` asks for, and closes them when they are unused.

    Attributes:
        view: The snapshot in service, None before the first.
        answers: Counts of all answers, whichever snapshot gave them.
        swaps: How many snapshots were put into service, the first one included.
        failures: How often a snapshot could not be opened, or the store not be read.
        verified_at: When the file in service was last found undamaged, in seconds since the epoch.
    """

    def __init__(
        self,
        store: SnapshotStore,
        log: FilteringBoundLogger,
        *,
        max_age: timedelta | None,
        on_state: Callable[[str], None],
    ) -> None:
        """Follow a store; answers from data older than ``max_age`` are marked stale.

        After each poll ``on_state`` is told why the service is not ready, or an empty text.
        """
        self.store = store
        self.view: View | None = None
        self.answers = AnswerCounts()
        self.swaps = 0
        self.failures = 0
        self.verified_at: float | None = None
        self._max_age = max_age
        self._log = log
        self._on_state = on_state
        self._was_stale = False
        self._problem: NumrouteError | None = None
        self._logged = ""
        self._next_fall_back = 0.0
        self._changed = asyncio.Event()
        self._damaged: dict[str, SnapshotCorruptError] = {}
        self._opening = asyncio.Lock()
        # Past snapshots, in the order of their last use.
        self._past: dict[str, tuple[View, asyncio.TimerHandle]] = {}

    def current(self) -> View:
        """Return the snapshot in service, for use at once; raise NoSnapshotError without one."""
        if self.view is None:
            reason, hint = "no snapshot is in service", ""
            if self._problem is not None:
                why = getattr(self._problem, "reason", self._problem.message)
                reason, hint = f"{reason}: {why}", self._problem.hint
            raise NoSnapshotError(self.store.path, reason, hint=hint)
        return self.view

    async def next_after(self, snapshot_id: str | None) -> View:
        """Return the snapshot in service as soon as it has another id, for use at once."""
        while self.view is None or self.view.id == snapshot_id:
            await self._changed.wait()
        return self.view

    async def at(self, moment: datetime) -> View:
        """Return the snapshot current then, for use at once; raises SnapshotNotKeptError."""
        # One at a time: a hundred questions about one day open one file.
        async with self._opening:
            try:
                return await self._at(moment)
            except NoSnapshotError as error:
                raise SnapshotNotKeptError(error.path, error.reason, hint=error.hint) from None

    async def run(self, stop: asyncio.Event) -> None:
        """Poll until ``stop`` is set; verify the file in service now and then."""
        verifying = asyncio.create_task(self._verify_now_and_then())
        try:
            while not stop.is_set():
                await self.poll()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), POLL_SECONDS)
        finally:
            verifying.cancel()

    async def poll(self) -> None:
        """Read the store once, and put its current snapshot into service if it is another.

        A problem is logged once and remembered for ``current``; it never ends the service.
        """
        try:
            # In a thread: the disk may be slow, and requests go on meanwhile.
            opened = await asyncio.to_thread(self._open_if_new)
        except NumrouteError as error:
            await self._fall_back()
            self._problem = error
            self._log_problem(error)
        except Exception as fault:  # noqa: BLE001 - a fault here must not stop the polling
            fields = fault_fields(fault)
            if self._is_new(str(fields)):
                self.failures += 1
                self._log.error("polling failed", serving=self._view_id, **fields)
        else:
            self._problem, self._logged = None, ""
            if opened is not None:
                await self._take_over(opened)
        self._report_state()

    def close(self) -> None:
        """Take all snapshots out of service; each closes when its last request ends."""
        for snapshot_id in list(self._past):
            self._retire(snapshot_id)
        if self.view is not None:
            self.view.release()
            self.view = None

    @property
    def _view_id(self) -> str | None:
        return None if self.view is None else self.view.id

    def _view(self, snapshot: Snapshot) -> View:
        return View(snapshot, max_age=self._max_age, answers=self.answers)

    async def _at(self, moment: datetime) -> View:
        # In threads: the disk may be slow, and requests go on meanwhile.
        snapshot_id = await asyncio.to_thread(self.store.current_at, moment)
        if self.view is not None and self.view.id == snapshot_id:
            return self.view
        if snapshot_id in self._past:
            view, closing = self._past.pop(snapshot_id)
            closing.cancel()
        else:
            opened = await asyncio.to_thread(self.store.open_past, snapshot_id, moment)
            if len(self._past) >= PAST_SNAPSHOTS_MAX:
                self._retire(next(iter(self._past)))
            view = self._view(opened)
        # An open file keeps its disk space, even after it was pruned.
        closing = asyncio.get_running_loop().call_later(
            PAST_IDLE_SECONDS, self._retire, snapshot_id
        )
        self._past[snapshot_id] = view, closing
        return view

    def _retire(self, snapshot_id: str) -> None:
        view, closing = self._past.pop(snapshot_id)
        closing.cancel()
        view.release()

    def _open_if_new(self) -> View | None:
        current = self.store.current_id()
        if damage := self._damaged.get(current):
            raise damage
        return None if current == self._view_id else self._view(self.store.open())

    async def _fall_back(self) -> None:
        """Put the newest other snapshot that opens into service, where none or a damaged one is."""
        is_good = self.view is not None and self.view.id not in self._damaged
        if is_good or time.monotonic() < self._next_fall_back:
            return
        opened = await asyncio.to_thread(self._open_other)
        if opened is None:
            self._next_fall_back = time.monotonic() + FALL_BACK_SECONDS
        else:
            await self._take_over(opened)

    def _open_other(self) -> View | None:
        # An error says that nothing has been published, or that the store is being written.
        with contextlib.suppress(NumrouteError):
            opened = self.store.open_last({self.store.current_id(), *self._damaged})
            return None if opened is None else self._view(opened)
        return None

    async def _verify_now_and_then(self) -> None:
        """Read the file in service whole some time after it was taken over, then daily.

        A damaged one is replaced by the newest that opens, and is not taken again.
        """
        # On Linux 0 is the calling thread, not the whole process.
        pool = ThreadPoolExecutor(
            1, initializer=os.setpriority, initargs=(os.PRIO_PROCESS, 0, IDLE_PRIORITY)
        )
        loop = asyncio.get_running_loop()
        try:
            while True:
                await asyncio.sleep(VERIFY_DELAY_SECONDS)
                view, since = self.view, time.time() - (self.verified_at or 0)
                if view is None or view.id in self._damaged or since < VERIFY_SECONDS:
                    continue
                try:
                    await loop.run_in_executor(pool, verify_snapshot, view.snapshot.path)
                    if self.view is view:
                        self.verified_at = time.time()
                except SnapshotCorruptError as error:
                    # A file that was removed meanwhile is not damaged.
                    if view.snapshot.path.exists():
                        self._damaged[view.id] = error
                except NumrouteError:
                    continue
        finally:
            pool.shutdown(wait=False)

    async def _take_over(self, opened: View) -> None:
        before = self.view
        self.view = opened
        self.verified_at = None
        self._changed.set()
        self._changed = asyncio.Event()
        self._log.info(
            "snapshot in service",
            snapshot=opened.id,
            as_of=opened.snapshot.metadata.as_of.isoformat(),
            before=None if before is None else before.id,
        )
        self.swaps += 1
        if before is not None:
            # In a thread: to unmap a large file takes milliseconds.
            await asyncio.to_thread(before.release)

    def _is_new(self, problem: str) -> bool:
        """Return whether another problem, or none, was logged last."""
        last, self._logged = self._logged, problem
        return last != problem

    def _log_problem(self, error: NumrouteError) -> None:
        if isinstance(error, NoSnapshotError) and self.view is None:
            # Once, though the reason changes: a publication puts the file there before CURRENT.
            if self._is_new("waiting"):
                self._log.info("waiting for a snapshot", **error_fields(error))
        elif self._is_new(error.message):
            self.failures += 1
            self._log.error("snapshot refused", serving=self._view_id, **error_fields(error))

    def _report_state(self) -> None:
        if self.view is None:
            self._on_state("there is no snapshot yet")
            return
        stale = self.view.stale()
        if stale != self._was_stale:
            self._was_stale = stale
            as_of = self.view.snapshot.metadata.as_of.isoformat()
            if stale:
                self._log.error("data too old", snapshot=self.view.id, as_of=as_of)
            else:
                self._log.info("data recent again", snapshot=self.view.id, as_of=as_of)
        damaged = "the snapshot is damaged, and there is no other" * (self.view.id in self._damaged)
        self._on_state("the data is older than --max-age" if stale else damaged)
