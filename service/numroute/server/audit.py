"""Who asked for how much: a log line per client and period, with counts and never a number."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from numroute.logs import fault_fields
from numroute.server.metrics import NUMBERS, REFUSED, REQUESTS

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

    from numroute.server.totals import Sums, Totals

AUDIT_SECONDS = 3_600.0
"""How long a period is; the last one ends with the service."""


class Audit:
    """Logs what each client did, period by period, in a thread of its own."""

    def __init__(self, totals: Totals, log: FilteringBoundLogger) -> None:
        """Begin the first period."""
        self._totals = totals
        self._log = log
        self._before: dict[str, dict[str, int]] = {}
        self._since = datetime.now(UTC)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="audit")
        self._thread.start()

    def close(self) -> None:
        """End the last period, after the last call."""
        self._stop.set()
        self._thread.join()
        self.tell()

    def tell(self) -> None:
        """End a period: log each client that asked, and begin the next one."""
        sums, _ = self._totals.read()
        now = datetime.now(UTC)
        after = _by_client(sums)
        for client, counts in sorted(after.items()):
            before = self._before.get(client, {})
            grown = {name: count - before.get(name, 0) for name, count in counts.items()}
            if any(grown.values()):
                self._log.info(
                    "audit",
                    client=client or None,
                    since=self._since.isoformat(timespec="seconds"),
                    until=now.isoformat(timespec="seconds"),
                    **grown,
                )
        self._before, self._since = after, now

    def _run(self) -> None:
        while not self._stop.wait(AUDIT_SECONDS):
            try:
                self.tell()
            except Exception as fault:  # noqa: BLE001 - the next period is told nevertheless
                self._log.error("audit failed", **fault_fields(fault))


def _by_client(sums: Sums) -> dict[str, dict[str, int]]:
    """Return each client's calls, refused calls and numbers; unknown clients are one, ``""``."""
    clients: dict[str, dict[str, int]] = {}
    for field, counter, place in (
        ("calls", REQUESTS, 1),
        ("numbers", NUMBERS, 1),
        ("refused", REFUSED, 1),
    ):
        for labels, value in sums.counters.get(counter.name, {}).items():
            counts = clients.setdefault(labels[place], {"calls": 0, "numbers": 0, "refused": 0})
            counts[field] += value
    return clients
