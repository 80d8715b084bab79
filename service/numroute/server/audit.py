"""The audit: a log line per client and hour with counts, never with a number."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from numroute.server.metrics import NUMBERS, REFUSED, REQUESTS, split

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

    from numroute.server.metrics import Counts, Reports

AUDIT_SECONDS = 3_600.0
"""The length of a period; the last one ends with the service."""


class Audit:
    """Logs the counts of each client, period by period."""

    def __init__(self, reports: Reports, log: FilteringBoundLogger) -> None:
        """Begin the first period; to be called on the event loop."""
        self._reports = reports
        self._log = log
        self._before: dict[str, dict[str, int]] = {}
        self._since = datetime.now(UTC)
        self._next = asyncio.get_running_loop().call_later(AUDIT_SECONDS, self._end_period)

    def close(self) -> None:
        """End the last period, after the last call."""
        self._next.cancel()
        self.log_period()

    def log_period(self) -> None:
        """Log each client that asked in this period, and begin the next one."""
        counts, _ = self._reports.read()
        now = datetime.now(UTC)
        after = _by_client(counts)
        for client, sums in sorted(after.items()):
            before = self._before.get(client, {})
            grown = {name: count - before.get(name, 0) for name, count in sums.items()}
            if any(grown.values()):
                self._log.info(
                    "audit",
                    client=client or None,
                    since=self._since.isoformat(timespec="seconds"),
                    until=now.isoformat(timespec="seconds"),
                    **grown,
                )
        self._before, self._since = after, now

    def _end_period(self) -> None:
        self._next = asyncio.get_running_loop().call_later(AUDIT_SECONDS, self._end_period)
        self.log_period()


def _by_client(counts: Counts) -> dict[str, dict[str, int]]:
    """Return calls, refusals and numbers by client; unknown clients share the name ``""``."""
    clients: dict[str, dict[str, int]] = {}
    for field, counter in (("calls", REQUESTS), ("numbers", NUMBERS), ("refused", REFUSED)):
        for key, value in counts.counter(counter).items():
            # The client is the second label of all three.
            sums = clients.setdefault(split(key)[1], {"calls": 0, "numbers": 0, "refused": 0})
            sums[field] += value
    return clients
