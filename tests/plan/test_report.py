"""Figures as people write them."""

from __future__ import annotations

import pytest

from numroute.errors import SettingError
from numroute.plan.report import parse_count, parse_quantity, parse_seconds


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
def test_an_invalid_quantity_is_refused(text: str) -> None:
    """The refusal says how to write one."""
    with pytest.raises(SettingError, match=r"(too large|not a quantity)\. Write it like"):
        parse_quantity(text)


@pytest.mark.parametrize("text", ["5", "5 minutes", "ms", "-5ms"])
def test_an_invalid_duration_is_refused(text: str) -> None:
    """A bare number is refused too: its unit is unknown."""
    with pytest.raises(SettingError, match="not a duration"):
        parse_seconds(text)


def test_counts_are_whole() -> None:
    """Half a number cannot be ported."""
    assert parse_count("30e6") == 30_000_000
    with pytest.raises(SettingError, match="whole"):
        parse_count("0.5")
