"""Figures are judged as their targets say, and shown as they were measured."""

from __future__ import annotations

import pytest

from benchmarks.figures import Figure, Target, at_least, at_most, markdown
from benchmarks.timing import Pair, Side, take_turns


def figure(values: list[float], target: Target | None, *, worst_counts: bool = False) -> Figure:
    """Return a figure that differs in what is judged."""
    return Figure(
        section="Section",
        name="thing",
        unit="s",
        values=values,
        target=target,
        worst_counts=worst_counts,
    )


@pytest.mark.parametrize(
    ("values", "target", "worst_counts", "verdict"),
    [
        ([1.0, 2.0, 9.0], at_most(2), False, "met"),
        ([1.0, 2.0, 9.0], at_most(2), True, "missed"),
        ([1.0, 2.1, 9.0], at_most(2), False, "missed"),
        ([1.0, 2.0, 9.0], at_least(2), False, "met"),
        ([1.0, 2.0, 9.0], at_least(2), True, "missed"),
        ([1.9999], at_least(2), False, "missed"),
        ([5.0], None, False, ""),
    ],
)
def test_verdict(
    values: list[float], target: Target | None, *, worst_counts: bool, verdict: str
) -> None:
    """The median is judged unless every repetition must do; what rounds to a target may miss it."""
    assert figure(values, target, worst_counts=worst_counts).verdict == verdict


def test_table_shows_median_spread_target_and_verdict() -> None:
    """A row of the table says all that was found."""
    text = markdown([figure([1.0, 20.0, 1234.5], at_most(2.5))])
    assert "### Section" in text
    assert "| thing | 20.0 s | 1.00 … 1,234 | ≤ 2.50 | missed |" in text


def test_turns_are_taken_and_every_result_is_checked() -> None:
    """Yardstick and subject run in turn, once more than is counted, and each result is checked."""
    log: list[str] = []

    def side(name: str) -> Side:
        return Side(run=lambda: name, check=log.append, count=1)

    pair = Pair(yardstick=side("yardstick"), subject=side("subject"))
    take_turns([pair], rounds=2)
    assert log == ["yardstick", "subject"] * 3
    assert len(pair.yardstick_seconds) == len(pair.subject_seconds) == 2


def test_ratios_are_of_one_round_each() -> None:
    """A subject is compared with the yardstick of its own round."""
    idle = Side(run=lambda: None, check=lambda _: None, count=1)
    pair = Pair(
        yardstick=idle, subject=idle, yardstick_seconds=[1.0, 3.0], subject_seconds=[2.0, 2.0]
    )
    assert pair.speed_shares() == [0.5, 1.5]
    assert pair.time_ratios() == [2.0, pytest.approx(2 / 3)]
