"""A policy: rules in order, the first that matches a route decides about its numbers."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from numroute.model import Status
from numroute_campaign.decisions import Decision, Reject
from numroute_campaign.time_zones import offset_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numroute.model import Route

_DAY_MINUTES = 24 * 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """When messages may arrive, in minutes of the receiver's day.

    ``unknown_offset``: minutes east of UTC that a region without a known time zone counts as; None
    rejects its numbers.
    """

    name: str
    begin: int
    end: int
    unknown_offset: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule. A condition that is empty matches everything; texts may hold ``*`` and ``?``.

    Attributes:
        name: For reports.
        line: Where it stands in the file.
        destination: The output route; empty where the rule excludes.
        operators: The registry's code, the name or the tax number.
        networks: MCC and MNC, with or without a dash.
        regions: The code or the name.
        statuses: Names of ``Status``.
        line_types: Names of ``LineType``.
    """

    name: str
    line: int
    destination: str = ""
    window: Window | None = None
    brands: tuple[str, ...] = ()
    operators: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()
    statuses: frozenset[str] = frozenset()
    line_types: frozenset[str] = frozenset()

    @property
    def matches_everything(self) -> bool:
        """Whether the rule has no condition."""
        return not (
            self.brands
            or self.operators
            or self.networks
            or self.regions
            or self.statuses
            or self.line_types
        )

    def matches(self, route: Route) -> bool:
        """Whether the rule is about this route."""
        operator, region = route.operator, route.region
        return (
            (not self.statuses or route.status.name in self.statuses)
            and (not self.line_types or route.line_type.name in self.line_types)
            and _any(self.brands, operator.brand)
            and _any(self.operators, operator.code, operator.name, operator.tax_number)
            and _any(self.networks, f"{route.mcc}{route.mnc}", f"{route.mcc}-{route.mnc}")
            and _any(self.regions, region.code, region.name)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """All rules of a file, and what becomes of numbers that none of them is about.

    Attributes:
        unallocated: The output route of numbers that nobody holds; empty rejects them.
        foreign: That of numbers of other countries.
        unmatched: That of numbers that no rule matches.
        offsets: Minutes east of UTC by region name or code, before the built-in table.
    """

    name: str
    rules: tuple[Rule, ...]
    unallocated: str = ""
    foreign: str = ""
    unmatched: str = ""
    offsets: Mapping[str, int] = field(default_factory=dict)

    @property
    def has_windows(self) -> bool:
        """Whether some rule limits the time of sending."""
        return any(rule.window is not None for rule in self.rules)

    def decide(self, route: Route, *, foreign: bool) -> Decision:
        """Say what becomes of numbers of this route; ``foreign``: of another country."""
        if foreign:
            return _fallback("foreign", self.foreign, Reject.FOREIGN)
        if route.status not in {Status.PORTED, Status.NOT_PORTED}:
            return _fallback("unallocated", self.unallocated, Reject.UNALLOCATED)
        for rule in self.rules:
            if rule.matches(route):
                return self._by(rule, route)
        return _fallback("unmatched", self.unmatched, Reject.NO_RULE)

    def _by(self, rule: Rule, route: Route) -> Decision:
        if not rule.destination:
            return Decision(reject=Reject.EXCLUDED, rule=rule.name)
        window = rule.window
        if window is None:
            return Decision(destination=rule.destination, rule=rule.name)
        offset = self._offset(route)
        if offset is None:
            offset = window.unknown_offset
        if offset is None:
            return Decision(reject=Reject.NO_TIME_ZONE, rule=rule.name)
        return Decision(
            destination=rule.destination,
            rule=rule.name,
            send_from=_clock(window.begin - offset),
            send_until=_clock(window.end - offset),
        )

    def _offset(self, route: Route) -> int | None:
        for key in (route.region.name, route.region.code):
            if key and key.casefold() in self.offsets:
                return self.offsets[key.casefold()]
        return offset_of(route.region)


def _fallback(name: str, destination: str, reject: Reject) -> Decision:
    if destination:
        return Decision(destination=destination, rule=f"fallback.{name}")
    return Decision(reject=reject)


def _any(patterns: tuple[str, ...], *values: str) -> bool:
    """Whether some value matches some pattern, without regard to case; no pattern matches all."""
    return not patterns or any(
        _pattern(pattern).fullmatch(value) for pattern in patterns for value in values if value
    )


@functools.cache
def _pattern(text: str) -> re.Pattern[str]:
    """Return what matches a condition's text: ``*`` stands for any characters, ``?`` for one."""
    escaped = re.escape(text).replace(r"\*", ".*").replace(r"\?", ".")
    return re.compile(escaped, re.IGNORECASE | re.DOTALL)


def _clock(minutes: int) -> str:
    hours, rest = divmod(minutes % _DAY_MINUTES, 60)
    return f"{hours:02}:{rest:02}"
