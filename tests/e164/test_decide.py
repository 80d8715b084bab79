"""Decisions for classes of numbers, against the library's decision for each number."""

from __future__ import annotations

import phonenumbers
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numroute.e164.decide import DIGITS_MAX, KNOWN_DIGITS_MAX, decide, decide_class
from numroute.e164.metadata import country_plan, misleading_trunk_plans, region_plan
from numroute.model import InvalidReason

REGIONS = sorted(phonenumbers.SUPPORTED_REGIONS)
HARD_REGIONS = ["RU", "KZ", "DE", "US", "BR", "IN", "AR", "JP", "MX", "IT", "BY", "GB", "CN", "GG"]
KINDS = [
    phonenumbers.PhoneNumberType.MOBILE,
    phonenumbers.PhoneNumberType.FIXED_LINE,
    phonenumbers.PhoneNumberType.TOLL_FREE,
]


def library_answer(digits: str, region: str, *, plus: bool) -> int:
    """Return the library's number, 0 when it finds none or one that cannot be whole."""
    try:
        found = phonenumbers.parse(("+" if plus else "") + digits, region)
    except phonenumbers.NumberParseException:
        return 0
    possible = phonenumbers.is_possible_number_with_reason(found)
    number = int(phonenumbers.format_number(found, phonenumbers.PhoneNumberFormat.E164)[1:])
    if possible != phonenumbers.ValidationResult.IS_POSSIBLE or number >= 10**15:
        return 0
    return number


@st.composite
def dialled(draw):
    """A region and digits that resemble one of its numbers, with a prefix that may fit or not."""
    region = draw(st.sampled_from(HARD_REGIONS) | st.sampled_from(REGIONS))
    metadata = phonenumbers.PhoneMetadata.metadata_for_region(region, None)
    shown = phonenumbers.example_number_for_type(region, draw(st.sampled_from(KINDS)))
    national = phonenumbers.national_significant_number(shown) if shown else ""
    kept = national[: draw(st.integers(0, len(national)))]
    room = len(national) - len(kept)
    tail = draw(st.text("0123456789", min_size=max(0, room - 2), max_size=room + 2))
    code, trunk = str(metadata.country_code), metadata.national_prefix or "0"
    prefix = draw(
        st.sampled_from(["", trunk, code, code + trunk, "00" + code, "011" + code, "810" + code])
        | st.text("0123456789", max_size=5)
    )
    return region, (prefix + kept + tail)[:DIGITS_MAX]


@settings(max_examples=400)
@given(dialled(), st.booleans())
def test_every_decision_is_the_librarys(number, plus):
    """Whatever the region and the prefix, the number is the one that the library finds."""
    region, digits = number
    outcome = decide(digits, region, plus=plus)
    assert outcome is not None
    if len(digits) > 2:  # the library reads no text of fewer digits with a plus
        assert outcome.number(digits) == library_answer(digits, region, plus=plus)


@settings(max_examples=300)
@given(dialled(), st.booleans(), st.integers(0, KNOWN_DIGITS_MAX), st.data())
def test_a_class_is_decided_only_when_all_its_numbers_agree(number, plus, count, data):
    """A decision on the leading digits holds whatever the others are."""
    region, digits = number
    known = digits[:count]
    outcome = decide_class(known, len(digits), region, plus=plus)
    if outcome is None:
        return
    length = len(digits) - len(known)
    other = known + data.draw(st.text("0123456789", min_size=length, max_size=length))
    exact = decide(other, region, plus=plus)
    assert exact is not None
    assert outcome.reason == exact.reason
    assert outcome.number(other) == exact.number(other)


@pytest.mark.parametrize(
    ("region", "texts"),
    [
        ("RU", ["89160000012", "79160000012", "9160000012", "88000000012"]),
        ("KZ", ["87010000012", "77010000012", "7010000012"]),
        ("DE", ["015112345678", "4915112345678", "03012345678"]),
        ("US", ["2025550123", "12025550123"]),
        ("BR", ["11961234567", "5511961234567", "011961234567", "01511961234567"]),
        ("IN", ["9876543210", "09876543210", "919876543210"]),
    ],
)
def test_five_digits_decide_everyday_numbers(region, texts):
    """The usual formats never need the whole number, so a column never leaves its arrays."""
    for digits in texts:
        outcome = decide_class(digits[:KNOWN_DIGITS_MAX], len(digits), region, plus=False)
        assert outcome is not None
        assert outcome.reason is InvalidReason.UNSPECIFIED


def test_every_regions_metadata_is_understood():
    """No region and no country code falls back to asking the library for every text."""
    assert all(region_plan(region) is not None for region in REGIONS)
    assert all(
        country_plan(str(code)) is not None for code in phonenumbers.COUNTRY_CODE_TO_REGION_CODE
    )


def test_the_misleading_trunk_prefix_is_the_soviet_eight():
    """Countries that dial 8 before a national number are found in the metadata."""
    eights = {plan.country_code for plan in misleading_trunk_plans() if plan.trunk_digits == "8"}
    assert "7" in eights


@given(st.text("0123456789", min_size=1, max_size=DIGITS_MAX + 2))
def test_without_a_region_a_number_is_what_is_written_or_nothing(digits):
    """Nothing is added and nothing is taken away where no region explains a prefix."""
    outcome = decide(digits, None, plus=False)
    assert outcome is not None
    assert outcome.number(digits) in (0, int(digits))
    if outcome.reason is InvalidReason.UNSPECIFIED:
        assert 11 <= len(digits) <= 15
        assert phonenumbers.is_possible_number(phonenumbers.parse("+" + digits))
