"""Decisions: where the numbers of each route go, or why they are rejected.

A route is decided once; its numbers take the decision over, one small integer per row.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from numroute.model import Status
from numroute_campaign.vocabulary import Reject

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from numroute.model import Route


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The decision about the numbers of one route.

    Attributes:
        destination: The output route's name; empty if they are rejected.
        reject: Why they are rejected.
        rule: The name of the rule that decided.
        send_from: UTC time of day, ``HH:MM``, from which sending is allowed; empty = any time.
        send_until: UTC time of day at which sending ends.
        group: The name of the output files, if they are not named for the route.
    """

    destination: str = ""
    reject: Reject = Reject.NONE
    rule: str = ""
    send_from: str = ""
    send_until: str = ""
    group: str = ""


class Rules(Protocol):
    """A policy."""

    @property
    def ported_within_seconds(self) -> int:
        """How long a number counts as recently ported; 0 if no rule asks."""

    def decide(self, route: Route, *, foreign: bool, recently_ported: bool = False) -> Decision:
        """Decide about the numbers of a route, of another country or recently ported."""


class ByOperator:
    """The policy without a file: one output route per brand, or per operator without a brand."""

    ported_within_seconds = 0

    def decide(self, route: Route, *, foreign: bool, recently_ported: bool = False) -> Decision:  # noqa: ARG002 - a rule may ask
        """Decide about the numbers of a route; foreign and unknown ones are rejected."""
        if foreign:
            return Decision(reject=Reject.FOREIGN)
        if not route.status.has_route:
            return Decision(reject=without_route(route.status))
        operator = route.operator
        return Decision(
            destination=operator.brand or operator.name or operator.code or "unknown-operator"
        )


def without_route(status: Status) -> Reject:
    """Return why numbers of a status without a route are rejected."""
    return Reject.NOT_COVERED if status is Status.NOT_COVERED else Reject.UNALLOCATED


def decide(rules: Rules, route: Route, *, marked: bool) -> Decision:
    """Decide about the numbers of a route; ``marked`` is what the code of ``Decisions`` adds."""
    is_ported = route.status is Status.PORTED
    return rules.decide(
        route, foreign=marked and not is_ported, recently_ported=marked and is_ported
    )


def ported_since(rules: Rules) -> int:
    """Return since when a number counts as recently ported, in seconds of the Unix clock.

    0 if no rule asks.
    """
    return int(time.time()) - rules.ported_within_seconds if rules.ported_within_seconds else 0


class Decisions:
    """The decisions so far, as arrays by code.

    A code is twice the row in the router's table, plus one for foreign numbers (of routes that are
    not ported) and for recently ported ones (of routes that are).

    Attributes:
        destinations: The names of the groups of output files, in order of first use.
        first: For each of them a decision that leads there.
        destination: int32[codes], places in ``destinations``; -1 = rejected, -2 = not decided yet.
        is_foreign: bool[codes], whether the numbers are of another country.
    """

    REJECTED = -1
    NOT_MET = -2

    def __init__(self, routes: Sequence[Route], rules: Rules) -> None:
        """Start with nothing decided. ``routes`` may grow."""
        self._routes, self._rules = routes, rules
        self.destinations: list[str] = []
        self.first: list[Decision] = []
        self._places: dict[str, int] = {}
        self.destination = np.empty(0, np.int32)
        self.is_foreign = np.empty(0, np.bool_)
        self.decided: dict[int, Decision] = {}

    def settle(self, codes: NDArray[np.int64]) -> bool:
        """Decide about new codes among int64[n]; return whether there were any."""
        if 2 * len(self._routes) > len(self.destination):
            more = 2 * len(self._routes) - len(self.destination)
            self.destination = np.append(self.destination, np.full(more, self.NOT_MET, np.int32))
            self.is_foreign = np.append(self.is_foreign, np.zeros(more, np.bool_))
        missing = codes[self.destination.take(codes) == self.NOT_MET]
        if not len(missing):
            return False
        for code in np.unique(missing).tolist():
            self._decide(code)
        return True

    def _decide(self, code: int) -> None:
        route = self._routes[code // 2]
        decision = decide(self._rules, route, marked=bool(code % 2))
        self.is_foreign[code] = code % 2 and route.status is not Status.PORTED
        self.decided[code] = decision
        if decision.reject is not Reject.NONE:
            self.destination[code] = self.REJECTED
            return
        name = decision.group or decision.destination
        if name not in self._places:
            self._places[name] = len(self.destinations)
            self.destinations.append(name)
            self.first.append(decision)
        self.destination[code] = self._places[name]
