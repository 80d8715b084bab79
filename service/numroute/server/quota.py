"""The guard that holds clients to their limits."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from numroute.errors import OverloadedError, QuotaExceededError
from numroute.server.guard import Guard
from numroute.server.usage import DAILY_QUOTA, SECONDS_PER_DAY

if TYPE_CHECKING:
    from grpc import StatusCode
    from structlog.typing import FilteringBoundLogger

    from numroute.server.clients import Clients
    from numroute.server.guard import Call
    from numroute.server.tokens import Limits
    from numroute.server.usage import SharedUsage

REQUESTS_AHEAD = 15
"""For how many more requests of the same size numbers are counted ahead: the shared counts are
locked once for all of them."""

AHEAD_SECONDS = 0.1
"""How long what was counted ahead may be given out; then it is given back."""


@dataclass(slots=True)
class _Reserve:
    """Numbers of a client that are counted already and not given out.

    Times are in seconds since the epoch.
    """

    limits: Limits
    left: int
    counted_at: float
    until: float


class Quota(Guard):
    """A guard that counts what clients ask for against their limits.

    A process that is killed takes with it what it had counted ahead. A call that the service then
    has no time for is sent again by its client: it costs nothing.
    """

    def __init__(self, clients: Clients, usage: SharedUsage, log: FilteringBoundLogger) -> None:
        """Take the limits from the table of the moment; exhausted quotas go to the log."""
        self._clients = clients
        self._usage = usage
        self._log = log
        self._reserves: dict[str, _Reserve] = {}
        self._told: dict[str, int] = {}

    def numbers(self, call: Call, count: int) -> None:
        """Count numbers, or refuse them."""
        client = self._clients.table.clients.get(call.client)
        if client is None or not client.limits.any:
            return
        now = time.time()
        reserve = self._reserves.get(client.name)
        if reserve is not None:
            if count <= reserve.left and now < reserve.until and reserve.limits is client.limits:
                reserve.left -= count
                return
            self._give_back(client.name)
        try:
            ahead = self._usage.take(client.name, client.limits, count, REQUESTS_AHEAD * count)
        except QuotaExceededError as error:
            if error.reason == DAILY_QUOTA:
                self._tell(client.name, client.limits, now, error.retry_after_seconds)
            raise
        if ahead >= count > 0:
            # What was counted today is not given out tomorrow.
            midnight = (now // SECONDS_PER_DAY + 1) * SECONDS_PER_DAY
            until = min(now + AHEAD_SECONDS, midnight)
            self._reserves[client.name] = _Reserve(client.limits, ahead, now, until)
        elif ahead:
            self._usage.give_back(client.name, client.limits, ahead, now)

    def end(self, call: Call, status: StatusCode) -> None:  # noqa: ARG002 - as a guard has it
        """Give back what was counted for a call that nobody looked up."""
        # Of a stream some questions may have been answered; but those wait and are never refused.
        if isinstance(call.error, OverloadedError):
            client = self._clients.table.clients.get(call.client)
            if client is not None:
                self._usage.give_back(client.name, client.limits, call.numbers, time.time())

    def release(self, *, everything: bool = False) -> None:
        """Give back what was counted ahead and has not been asked for in time, or all of it."""
        now = time.time()
        for client in [
            name for name, each in self._reserves.items() if everything or now >= each.until
        ]:
            self._give_back(client)

    def _tell(self, client: str, limits: Limits, now: float, seconds: float) -> None:
        """Log that a client's quota is used up, once a day: the client may ask on and on."""
        today = int(now // SECONDS_PER_DAY)
        if self._told.get(client) == today:
            return
        self._told[client] = today
        until = datetime.fromtimestamp(round(now + seconds), UTC)
        self._log.warning(
            "daily quota used up", client=client, daily=limits.daily, until=until.isoformat()
        )

    def _give_back(self, client: str) -> None:
        reserve = self._reserves.pop(client)
        self._usage.give_back(client, reserve.limits, reserve.left, reserve.counted_at)
