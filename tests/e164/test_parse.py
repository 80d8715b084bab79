"""What one text means."""

from __future__ import annotations

import subprocess
import sys

import phonenumbers
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from numroute.e164 import TEXT_CHARS_MAX, Parsed, parse
from numroute.errors import SettingError
from numroute.model import InvalidReason

MOBILE = 79160000012
VALID = Parsed(MOBILE, InvalidReason.UNSPECIFIED)


def refused(reason: InvalidReason) -> Parsed:
    """What parsing gives for a text that is no number."""
    return Parsed(0, reason)


@pytest.mark.parametrize(
    "text",
    [
        "+79160000012",
        "79160000012",
        "89160000012",
        "9160000012",
        "8 (916) 000-00-12",
        "8-916-000-00-12",
        "8.916.000.00.12",
        "8/916/0000012",
        "[8] 916 000 00 12",
        "+7 (916) 000-00-12",
        "(+7) 916 000-00-12",
        "  +7 916 0000012  ",
        "++7 916 0000012",
        "+7 8 916 000-00-12",
        "810 7 916 000-00-12",
        "8~10 7 916 000-00-12",
        "tel:+7-916-000-00-12",
        "tel:8-916-000-00-12;phone-context=+7",
        "тел. 8 916 000-00-12",
        "8 916 000-00-12 доб. 12",
        "+7 916 000-00-12 ext. 12",
        "+7 916 000-00-12;ext=12",
        "+7 916 000-00-12 x12",
        "8\u00a0916\u00a0000\u201300\u201312",
        "8\u2009916\u202f000\u221200\u201112",
        "\ufeff+7 916 000 00 12",
        "\u202a+7 916 000-00-12\u202c",
        "+7\u200b916\u00ad0000012",
        "\t+7\t916\t0000012\r\n",
        "＋７（９１６）０００－００－１２",
        "٨٩١٦٠٠٠٠٠١٢",
        "۸۹۱۶۰۰۰۰۰۱۲",
        "८९१६०००००१२",
        "\U0001d7d6\U0001d7d7\U0001d7cf\U0001d7d4 0000012",
    ],
)
def test_every_way_of_writing_a_russian_number_gives_that_number(text):
    """With the default region RU, all of these are one and the same number."""
    assert parse(text, "RU") == VALID


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", InvalidReason.NOT_A_NUMBER),
        ("   ", InvalidReason.NOT_A_NUMBER),
        ("+", InvalidReason.NOT_A_NUMBER),
        ("нет телефона", InvalidReason.NOT_A_NUMBER),
        ("\x00", InvalidReason.NOT_A_NUMBER),
        ("8916\x000000012", InvalidReason.NOT_A_NUMBER),
        ("8 916 0000012 Иван", InvalidReason.NOT_A_NUMBER),
        ("8 916 0000012\n8 916 0000013", InvalidReason.NOT_A_NUMBER),
        ("8 916 +7 0000012", InvalidReason.NOT_A_NUMBER),
        ("1", InvalidReason.TOO_SHORT),
        ("112", InvalidReason.TOO_SHORT),
        ("000-00-12", InvalidReason.TOO_SHORT),
        ("+7 916 000-00-1", InvalidReason.TOO_SHORT),
        ("8 916 000-00-123", InvalidReason.TOO_LONG),
        ("+7 916 000-00-123", InvalidReason.TOO_LONG),
        ("7" * 25, InvalidReason.TOO_LONG),
        ("+999 123 456 789", InvalidReason.UNKNOWN_COUNTRY),
        ("+0 916 000-00-12", InvalidReason.UNKNOWN_COUNTRY),
        ("810 999 123 456 789", InvalidReason.UNKNOWN_COUNTRY),
        ("9" * (TEXT_CHARS_MAX + 1), InvalidReason.TOO_LONG),
        (" " * 1_000_000 + "89160000012", InvalidReason.TOO_LONG),
    ],
)
def test_what_is_no_number_is_refused_with_its_reason(text, reason):
    """Each kind of defect has its reason, and the number is 0."""
    assert parse(text, "RU") == refused(reason)


def test_a_subscriber_number_without_its_area_code_is_too_short():
    """The library calls it possible within its area; a whole number it is not."""
    local = phonenumbers.parse("0000012", "RU")
    assert phonenumbers.is_possible_number(local)
    assert parse("0000012", "RU") == refused(InvalidReason.TOO_SHORT)


def test_a_whole_number_has_at_most_fifteen_digits_even_where_a_plan_allows_more():
    """Germany's plan allows 15 digits after the country code; E.164 allows 15 with it."""
    assert parse("+49 30 00000000000", "DE").number == 493000000000000
    assert parse("+49 30 0000000000012", "DE") == refused(InvalidReason.TOO_LONG)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("79160000012", MOBILE),
        ("7 (916) 000-00-12", MOBILE),
        ("+7 916 000-00-12", MOBILE),
        ("77010000012", 77010000012),
        ("12025550123", 12025550123),
        ("4915112345678", 4915112345678),
        ("5511961234567", 5511961234567),
        ("+6591234567", 6591234567),
    ],
)
def test_a_whole_number_needs_no_default_region(text, number):
    """What starts with a plus, or is whole beyond doubt, is read without a region."""
    assert parse(text) == Parsed(number, InvalidReason.UNSPECIFIED)
    assert parse(text, "") == parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "8 916 000-00-12",
        "9160000012",  # India's 91 and eight digits that are possible there
        "8 495 000-00-12",  # Vietnam's 84 and nine digits that are possible there
        "8 (800) 000-00-12",
        "0151 12345678",
        "007 916 0000012",
        "810 7 916 0000012",
        "6591234567",  # Singapore, or Alabama without its country code
        "7 216 000-00-12",  # Russia's country code, but no Russian number looks so
        "000-00-12",
        "8 916 000-00-12 доб. 12",
        "7 916 000-00-12 доб. 12",
        "99912345678",
    ],
)
def test_what_may_be_a_national_format_needs_a_default_region(text):
    """No text silently becomes a number of a country that its writer did not mean."""
    assert parse(text) == refused(InvalidReason.NO_DEFAULT_REGION)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("123", InvalidReason.TOO_SHORT),
        ("7916000001234567", InvalidReason.TOO_LONG),
        ("+999 123 456 789", InvalidReason.UNKNOWN_COUNTRY),
        ("+7 916", InvalidReason.TOO_SHORT),
        ("tel. unknown", InvalidReason.NOT_A_NUMBER),
    ],
)
def test_what_no_region_could_make_a_number_says_so_without_one(text, reason):
    """NO_DEFAULT_REGION is kept for texts that a region might explain."""
    assert parse(text) == refused(reason)


@pytest.mark.parametrize(
    ("region", "text", "number"),
    [
        ("DE", "0151 12345678", 4915112345678),
        ("DE", "00 7 916 000-00-12", MOBILE),
        ("US", "(202) 555-0123", 12025550123),
        ("US", "011 7 916 000-00-12", MOBILE),
        ("US", "1-800-FLOWERS", 18003569377),
        ("BR", "0 15 11 96123-4567", 5511961234567),
        ("IN", "0 98765 43210", 919876543210),
        ("KZ", "8 701 000-00-12", 77010000012),
        ("IT", "06 0000 0012", 390600000012),
        ("AR", "011 15-2000-0012", 5491120000012),
        ("kz", "7010000012", 77010000012),
    ],
)
def test_each_region_has_its_own_prefixes(region, text, number):
    """Trunk, carrier and international prefixes are those of the region's metadata."""
    assert parse(text, region) == Parsed(number, InvalidReason.UNSPECIFIED)


@pytest.mark.parametrize("region", ["XX", "RUS", "7", "001", "ZZ", "Россия"])
def test_an_unknown_default_region_is_named(region):
    """The error names the value and says what to give."""
    with pytest.raises(SettingError, match="ISO 3166") as caught:
        parse("+79160000012", region)
    assert region[:3] in caught.value.message


def test_a_number_given_as_the_region_is_masked():
    """Arguments in the wrong order do not put a number into a log."""
    with pytest.raises(SettingError) as caught:
        parse("RU", "79160000012")
    assert "79160000012" not in str(caught.value)
    assert "7916*" in str(caught.value)


def test_importing_the_package_loads_nothing_heavy():
    """numpy, pyarrow and phonenumbers load when something is parsed, not before."""
    program = (
        "import sys, numroute.e164; "
        "print([m for m in ('numpy', 'pyarrow', 'phonenumbers') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def library_answer(text: str, region: str) -> int:
    """Return the library's number, 0 when it finds none or one that cannot be whole."""
    try:
        found = phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        return 0
    possible = phonenumbers.is_possible_number_with_reason(found)
    number = int(phonenumbers.format_number(found, phonenumbers.PhoneNumberFormat.E164)[1:])
    if possible != phonenumbers.ValidationResult.IS_POSSIBLE or number >= 10**15:
        return 0
    return number


REGIONS = sorted(phonenumbers.SUPPORTED_REGIONS)


WRITTEN = st.from_regex(
    r"(\(|tel: ?|')?(\+|00|011|810)?[0178]?[ -]?(7|49|55|91)?[ (-]?[0-9]{2,4}[ )/-]?"
    r"[0-9]{3}[ .-]?[0-9]{2}[ -]?[0-9]{2}( ext\. ?12|;ext=5| x7|,,3| #|\)|;|a)?",
    fullmatch=True,
)
JUNK = st.text(
    st.sampled_from("0123456789" * 6 + "78" * 10 + " -.()/[]+x#,;~*_\\\x00a"), max_size=32
)


@settings(max_examples=500)
@given(
    text=WRITTEN | JUNK,
    region=st.sampled_from(["RU", "KZ", "DE", "US", "BR", "IN", "AR"]) | st.sampled_from(REGIONS),
)
@example(text="8 916 000-00-12 (+", region="RU")
@example(text="8 916 000-00-12 /x5", region="RU")
def test_an_ascii_text_means_what_the_library_says(text, region):
    """For every region, prefixes, junk and extensions are read as the library reads them."""
    assert parse(text, region).number == library_answer(text, region)
