"""What becomes of each route: decided once per route, then taken for every number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from numroute_campaign.rejects import Reject

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from numroute.model import Route


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What becomes of the numbers of one route.

    Attributes:
        destination: The output route's name; empty when they do not leave.
        reject: Why they do not leave.
        rule: The name of the rule that decided.
        send_from: UTC time of day, ``HH:MM``, from which sending is allowed; empty = any time.
        send_until: UTC time of day at which sending ends.
    """

    destination: str = ""
    reject: Reject = Reject.NONE
    rule: str = ""
    send_from: str = ""
    send_until: str = ""


class Rules(Protocol):
    """A policy: decides about a route."""

    def decide(self, route: Route, *, foreign: bool) -> Decision:
        """Say what becomes of numbers of this route; ``foreign``: of another country."""


class Decisions:
    """The decisions about the routes that were met, as arrays by code.

    A code is twice the row of the router's table, and one more for foreign numbers.

    Attributes:
        destinations: The names of the output routes, in the order in which they were met.
        destination: int32[codes], places in ``destinations``; -1 = rejected, -2 = not met.
    """

    REJECTED = -1
    NOT_MET = -2

    def __init__(self, routes: Sequence[Route], rules: Rules) -> None:
        """Start with nothing decided. ``routes`` may grow."""
        self._routes, self._rules = routes, rules
        self.destinations: list[str] = []
        self._places: dict[str, int] = {}
        self.destination = np.empty(0, np.int32)
        self.decided: dict[int, Decision] = {}

    def settle(self, codes: NDArray[np.int64]) -> bool:
        """Decide about the codes (int64[n]) that were not met before; whether there were any."""
        if 2 * len(self._routes) > len(self.destination):
            more = 2 * len(self._routes) - len(self.destination)
            self.destination = np.concatenate(
                [self.destination, np.full(more, self.NOT_MET, np.int32)]
            )
        missing = codes[self.destination.take(codes) == self.NOT_MET]
        if not len(missing):
            return False
        # In the order of their codes, not of the rows: destinations get the same places whether
        # the work was resumed or not.
        for code in np.unique(missing).tolist():
            self._decide(code)
        return True

    def state(self) -> dict[str, Any]:
        """Return what was met so far."""
        return {"destinations": self.destinations, "codes": sorted(self.decided)}

    def restore(self, state: dict[str, Any]) -> None:
        """Know what an interrupted run had met, the output routes at the same places."""
        self.destinations[:] = state["destinations"]
        self._places = {name: place for place, name in enumerate(self.destinations)}
        self.settle(np.array(state["codes"], np.int64))

    def _decide(self, code: int) -> None:
        decision = self._rules.decide(self._routes[code // 2], foreign=bool(code % 2))
        self.decided[code] = decision
        if decision.reject is not Reject.NONE:
            self.destination[code] = self.REJECTED
            return
        name = decision.destination
        if name not in self._places:
            self._places[name] = len(self.destinations)
            self.destinations.append(name)
        self.destination[code] = self._places[name]
