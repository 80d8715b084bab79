"""What the user asks for: quantities as people write them, and the question as a whole."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from numroute.errors import SettingError
from numroute.plan.sizing import RU_PLAN_NUMBERS
from numroute.server.settings import NUMBERS_PER_BULK_MAX

_SCALES = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9}
_SECONDS = {"us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0}
_QUANTITY = re.compile(r"([0-9][0-9_,]*\.?[0-9]*(?:[eE][+-]?[0-9]+)?) ?([A-Za-zµ]*)")

LOAD_MAX = 0.7
"""Share of a core's capacity that is planned to be used: the rest is for bursts and swaps."""

NETWORK_BITS = 10e9


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirements:
    """A load and its conditions.

    ``rate``: numbers per second. ``ported``: ported numbers in the index. ``batch``: numbers a
    call. ``p99_seconds``: what 99 % of calls must stay below; None when it does not matter.
    ``spare``: machines more than the load needs. ``plan_numbers``: size of the numbering plan.
    ``ported_share``: share of ported numbers among those asked for; None = as in the plan.
    ``load_max``: share of a core's capacity that may be used. ``network_bits``: bits per second
    that a machine can send, and receive.
    """

    rate: float
    ported: int
    batch: int
    p99_seconds: float | None = None
    spare: int = 0
    plan_numbers: int = RU_PLAN_NUMBERS
    ported_share: float | None = None
    load_max: float = LOAD_MAX
    network_bits: float = NETWORK_BITS

    def __post_init__(self) -> None:
        """Raise SettingError when a figure cannot be meant."""
        _require("the rate", self.rate > 0, "more than 0 numbers a second")
        _require("the count of ported numbers", self.ported >= 0, "0 or more")
        _require(
            "the batch",
            1 <= self.batch <= NUMBERS_PER_BULK_MAX,
            f"from 1 to {NUMBERS_PER_BULK_MAX:,}, the service's limit",
        )
        _require(
            "the p99", self.p99_seconds is None or self.p99_seconds > 0, "more than 0, or none"
        )
        _require("the count of spare machines", self.spare >= 0, "0 or more")
        _require("the plan's size", self.plan_numbers > 0, "more than 0 numbers")
        share = self.ported_share
        _require("the ported share", share is None or 0 <= share <= 1, "from 0 to 1")
        _require("the load", 0 < self.load_max < 1, "more than 0 and less than 1")
        _require("the network", self.network_bits > 0, "more than 0 bits a second")

    @property
    def share(self) -> float:
        """The share of ported numbers among those asked for."""
        if self.ported_share is not None:
            return self.ported_share
        return min(1.0, self.ported / self.plan_numbers)


def parse_quantity(text: str) -> float:
    """Read ``2e6``, ``2M``, ``1,000`` or ``1_000``; raise SettingError on anything else."""
    number, unit = _split(text)
    if unit.lower() not in _SCALES:
        raise SettingError(
            f"{text!r} is not a quantity", hint="Write it like 2e6, 2M, 30m, 500k or 1,000"
        )
    return _finite(text, number * _SCALES[unit.lower()])


def parse_count(text: str) -> int:
    """Read a quantity that must be whole."""
    value = parse_quantity(text)
    if value != int(value):
        raise SettingError(f"{text!r} is not a whole number")
    return int(value)


def parse_seconds(text: str) -> float:
    """Read ``5ms``, ``800us`` or ``0.5s``; raise SettingError on anything else, a bare 5 too."""
    number, unit = _split(text)
    if unit not in _SECONDS:
        raise SettingError(f"{text!r} is not a duration", hint="Write it like 5ms, 800us or 0.5s")
    return _finite(text, number * _SECONDS[unit])


def _split(text: str) -> tuple[float, str]:
    match = _QUANTITY.fullmatch(text.strip())
    if match is None:
        raise SettingError(f"{text!r} is not a quantity", hint="Write it like 2e6, 30M or 5ms")
    return float(match[1].replace(",", "").replace("_", "")), match[2]


def _finite(text: str, value: float) -> float:
    if not math.isfinite(value):
        raise SettingError(f"{text!r} is too large")
    return value


def _require(what: str, kept: bool, allowed: str) -> None:  # noqa: FBT001 - reads as a sentence
    if not kept:
        raise SettingError(f"{what} is out of range", hint=f"Give {allowed}")
