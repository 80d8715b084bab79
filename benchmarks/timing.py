"""Measuring a subject beside its yardstick, turn by turn, so that a drift hits both alike."""

from __future__ import annotations

import gc
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """Something to be timed.

    Attributes:
        run: What is timed.
        check: Asserts what ``run`` returned; called after the clock has stopped.
        count: By how many units of work (numbers, calls) to divide the time.
    """

    run: Callable[[], Any]
    check: Callable[[Any], None]
    count: int

    def seconds(self) -> float:
        """Run once, check the answers, and return the seconds per unit of work."""
        enabled = gc.isenabled()
        gc.disable()
        try:
            begin = time.perf_counter()
            result = self.run()
            seconds = time.perf_counter() - begin
        finally:
            if enabled:
                gc.enable()
        self.check(result)
        return seconds / self.count


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A subject, its yardstick, and their times in seconds per unit, one of each per round."""

    yardstick: Side
    subject: Side
    yardstick_seconds: list[float] = field(default_factory=list)
    subject_seconds: list[float] = field(default_factory=list)

    def speed_shares(self) -> list[float]:
        """Return, per round, which share of the yardstick's speed the subject reached."""
        return [
            yardstick / subject
            for yardstick, subject in zip(self.yardstick_seconds, self.subject_seconds, strict=True)
        ]

    def time_ratios(self) -> list[float]:
        """Return, per round, how many times the yardstick's time the subject took."""
        return [1 / share for share in self.speed_shares()]


def take_turns(pairs: Sequence[Pair], rounds: int) -> None:
    """Time every pair once to warm up, then ``rounds`` times: yardstick, subject, next pair."""
    for turn in range(-1, rounds):
        for pair in pairs:
            times = (pair.yardstick.seconds(), pair.subject.seconds())
            if turn >= 0:
                pair.yardstick_seconds.append(times[0])
                pair.subject_seconds.append(times[1])
