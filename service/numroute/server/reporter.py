"""A worker's reports: what it counts and how it is, once a second, for whoever adds them up."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from numroute.server.metrics import ANSWERS, FAILURES, SWAPS
from numroute.server.tally import Admitted, Metering, Tally
from numroute.server.worker_state import WRITE_SECONDS, ServedFacts, state_of, write_state

if TYPE_CHECKING:
    from pathlib import Path

    from structlog.typing import FilteringBoundLogger

    from numroute.server.certificates import Certificates
    from numroute.server.follower import Follower
    from numroute.server.health import Health
    from numroute.server.worker_state import WorkerState


class Reporter:
    """Counts calls by two guards, and writes the counts of the process to a folder.

    Attributes:
        first: The guard to stand before all others.
        last: The guard to stand behind all others.
    """

    def __init__(
        self,
        folder: Path,
        worker: int,
        *,
        follower: Follower,
        health: Health,
        certificates: Certificates | None,
        log: FilteringBoundLogger,
    ) -> None:
        """Report for this worker, with what the others know."""
        self._folder = folder
        self._worker = worker
        self._follower = follower
        self._health = health
        self._certificates = certificates
        self._log = log
        self._failing = False
        self._tally = Tally()
        self.first = Metering(self._tally)
        self.last = Admitted(self._tally)

    async def run(self, stop: asyncio.Event) -> None:
        """Write until ``stop`` is set; ``write`` once more when all calls have ended."""
        while not stop.is_set():
            self.write()
            try:
                await asyncio.wait_for(stop.wait(), WRITE_SECONDS)
            except TimeoutError:
                continue

    def write(self) -> None:
        """Write the counts and the state of this moment.

        A disk that takes no file, e.g. a full one, is logged once: calls are answered all the same,
        and probes find the worker silent.
        """
        try:
            write_state(self._folder, self._state())
        except OSError as error:
            if not self._failing:
                self._failing = True
                self._log.error(
                    "counts not written", folder=str(self._folder), reason=error.strerror
                )
        else:
            self._failing = False

    def _state(self) -> WorkerState:
        follower = self._follower
        self._tally.counter(SWAPS)[()] = follower.swaps
        self._tally.counter(FAILURES)[()] = follower.failures
        answers = self._tally.counter(ANSWERS)
        for status, count in follower.answers.by_status().items():
            answers[(status,)] = count
        served = None
        if follower.served is not None:
            snapshot = follower.served.snapshot
            served = ServedFacts(
                id=follower.served.id,
                path=str(snapshot.path),
                as_of=snapshot.metadata.as_of.timestamp(),
            )
        expires = None
        if self._certificates is not None:
            expires = self._certificates.credentials.expires.timestamp()
        return state_of(
            self._tally,
            worker=self._worker,
            unready=self._health.unready,
            served=served,
            certificate_expires=expires,
        )
