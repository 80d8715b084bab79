"""How long to wait before trying again what did not work."""

from __future__ import annotations

import random
from dataclasses import dataclass

JITTER = 0.2
"""By how much of itself a wait varies: many watchers must not come at once."""

_chance = random.SystemRandom()


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Waits that double from ``first_seconds`` to ``max_seconds``."""

    first_seconds: float
    max_seconds: float

    def seconds(self, failures: int) -> float:
        """Return how long to wait after the n-th failure in a row, from 1, without jitter."""
        # The exponent is bounded: a float has no room for a year of failures.
        doubled = self.first_seconds * 2.0 ** min(failures - 1, 64)
        return min(max(self.max_seconds, self.first_seconds), doubled)


def jittered(seconds: float) -> float:
    """Return about so many seconds."""
    return seconds * _chance.uniform(1 - JITTER, 1 + JITTER)
