"""Quantities as people write them."""

from __future__ import annotations

import pytest

from numroute.errors import SettingError
from numroute.plan.requirements import Requirements, parse_count, parse_quantity, parse_seconds


@pytest.mark.parametrize(
    ("text", "value"),
    [("2e6", 2e6), ("2M", 2e6), ("30m", 3e7), ("500k", 5e5), ("1,000", 1e3), ("0.5 G", 5e8)],
)
def test_quantities_are_read_as_people_write_them(text: str, value: float) -> None:
    """Powers of ten, suffixes and separators all work."""
    assert parse_quantity(text) == pytest.approx(value)


@pytest.mark.parametrize(
    ("text", "seconds"), [("5ms", 5e-3), ("800us", 8e-4), ("0.5s", 0.5), ("2 µs", 2e-6)]
)
def test_durations_need_a_unit(text: str, seconds: float) -> None:
    """A duration is a number and its unit."""
    assert parse_seconds(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "many", "-1", "1e999", "5ms", "1x", "nan", "inf"])
def test_what_is_no_quantity_is_refused(text: str) -> None:
    """The refusal repeats what was written."""
    with pytest.raises(SettingError, match=r"too large|not a quantity"):
        parse_quantity(text)


@pytest.mark.parametrize("text", ["5", "5 minutes", "ms", "-5ms"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    """A bare number is refused too: nobody knows its unit."""
    with pytest.raises(SettingError, match="not a"):
        parse_seconds(text)


def test_counts_are_whole() -> None:
    """Half a number cannot be ported."""
    assert parse_count("30e6") == 30_000_000
    with pytest.raises(SettingError, match="whole"):
        parse_count("0.5")


@pytest.mark.parametrize(
    "wrong",
    [
        {"rate": 0},
        {"ported": -1},
        {"batch": 0},
        {"batch": 500_001},
        {"p99_seconds": 0},
        {"spare": -1},
        {"plan_numbers": 0},
        {"ported_share": 1.1},
        {"load_max": 1},
        {"network_bits": 0},
    ],
    ids=str,
)
def test_figures_out_of_range_are_refused(wrong: dict) -> None:
    """Each figure has its range, and the refusal says which it is."""
    with pytest.raises(SettingError, match=r"out of range\. Give"):
        Requirements(**({"rate": 1.0, "ported": 1, "batch": 1} | wrong))


def test_the_share_of_ported_numbers_follows_from_the_plan() -> None:
    """Unless it is given, numbers asked for are a fair sample of the plan."""
    asked = Requirements(rate=1, ported=10, batch=1, plan_numbers=100)
    assert asked.share == pytest.approx(0.1)
    given = Requirements(rate=1, ported=10, batch=1, plan_numbers=100, ported_share=0.5)
    assert given.share == 0.5
