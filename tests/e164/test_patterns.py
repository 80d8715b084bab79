"""Digit patterns against the regular expressions that they stand for."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numroute.e164.metadata import DigitPattern, UnsettledError, expand

PATTERNS = [
    r"8\d{13}|[347-9]\d{9}",
    r"(?:000800|[2-9]\d\d)\d{7}|1\d{7,12}",
    r"(?:0|90)(?:(1[245]|2[1-35]|31|4[13]|[56]5|99)(\d{10,11}))?",
    r"([25-8]\d{5})$|0|180020",
    r"0|80?",
    r"00(?:[125689]|3(?:[46]5|91))",
]
DIGITS = st.text("0123456789", max_size=15)


@settings(max_examples=300)
@given(st.sampled_from(PATTERNS), DIGITS, st.integers(0, 15))
def test_what_the_known_digits_settle_holds_for_the_whole_number(source, digits, count):
    """Each query answers as the regular expression does, or says that it cannot."""
    pattern, known = DigitPattern(source), digits[:count]
    try:
        assert pattern.fullmatch(known, len(digits)) == bool(re.fullmatch(source, digits))
    except UnsettledError:
        assert count < len(digits)
    expected = re.match(source, digits)
    try:
        found = pattern.match(known, len(digits))
    except UnsettledError:
        assert count < len(digits)
    else:
        assert (found and found.regs) == (expected and expected.regs)


def test_one_digit_settles_what_depends_on_one_digit():
    """A ten-digit number that starts with 9 matches, one that starts with 5 does not."""
    pattern = DigitPattern(r"8\d{13}|[347-9]\d{9}")
    assert pattern.fullmatch("9", 10)
    assert not pattern.fullmatch("5", 10)
    assert not pattern.fullmatch("", 11)
    with pytest.raises(UnsettledError):
        pattern.fullmatch("", 10)


def test_shapes_are_written_out():
    """A shape is one set of digits per position, one bit per digit."""
    assert expand("1[02]?") == ((0b10,), (0b10, 0b101))


@pytest.mark.parametrize(
    "source", ["1+", "(?=1)2", "[^1]", "a", "1)", "(1", r"\d{2,}", "(?:[12]|[34]){15}"]
)
def test_what_is_not_understood_is_matched_against_whole_numbers_only(source):
    """New syntax in the metadata, or too many shapes, costs speed and not correctness."""
    assert expand(source) is None


def test_a_pattern_that_is_not_understood_still_matches_whole_numbers():
    """The regular expression itself answers when every digit is known."""
    pattern = DigitPattern("1+2")
    assert pattern.fullmatch("112", 3)
    assert pattern.match("1123", 4).end() == 3
    with pytest.raises(UnsettledError):
        pattern.match("11", 4)
    with pytest.raises(UnsettledError):
        pattern.fullmatch("11", 4)
