"""A column's answers, row by row against ``parse``."""

from __future__ import annotations

import numpy as np
import phonenumbers
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import numroute.e164.rows as rows_module
from numroute.e164 import Parsed, parse
from numroute.e164.column import parse_column
from numroute.e164.decide import decide_class
from numroute.e164.rows import DecisionTable, parse_texts
from numroute.errors import SettingError
from numroute.model import InvalidReason

MOBILE = 79160000012
NULL = Parsed(0, InvalidReason.NOT_A_NUMBER)
REGIONS = ["RU", "KZ", "DE", "US", "BR", "IN", None]
NASTY = (
    "0123456789" * 8 + "+78" * 8 + " -.()/[]\t\n\r\x00x#,;~*_aZ" + "\u00a0\u2009\u2013\u2212\u202a"
    "\u200b\ufeff\uff0b\uff17\u0668\u06f9\u0967\U0001d7d6\u00b2доб\U0001f600\u0301\ufffd"
)


def rows(parsed) -> list[Parsed]:
    """Turn a column's answer into one value per row."""
    assert parsed.numbers.dtype == np.uint64
    assert parsed.reasons.dtype == np.uint8
    return [
        Parsed(int(number), InvalidReason(int(reason)))
        for number, reason in zip(parsed.numbers, parsed.reasons, strict=True)
    ]


def expected(texts, region) -> list[Parsed]:
    """Parse each text on its own."""
    return [NULL if text is None else parse(text, region) for text in texts]


@settings(max_examples=300)
@given(
    texts=st.lists(
        st.none()
        | st.text(st.sampled_from(NASTY), max_size=30)
        | st.text(max_size=8)
        | st.from_regex(
            r"(\+7|8|7|)[ -]?\(?9[0-9]{2}\)?[ -]?[0-9]{3}[ -]?[0-9]{4}", fullmatch=True
        ),
        max_size=12,
    ),
    region=st.sampled_from(REGIONS),
)
@example(texts=["", "", "+7 916 0000012", ""], region="RU")
@example(texts=["", "(+7) 916 0000012", "7+916", "+7+916"], region="RU")
@example(texts=["a7", ";7916 0000012", "+a79160000012", "9160000012a", "9160000012;"], region="RU")
@example(texts=[";phone-context=+79160000012", "9160000012#", "9160000012/x", "тел"], region="RU")
@example(texts=["+" * 255, "9" * 250, "9" * 251, "\u00a0" * 250, "\u00a0" * 251], region="RU")
@example(texts=["\U0001d7d6" * 250, "\U0001d7d6" * 251, " " * 999 + "é", " " * 1000], region="RU")
@example(texts=["9" * n for n in range(30)], region="RU")
@example(texts=["+7" + "9" * n for n in range(30)], region=None)
def test_a_column_says_what_each_of_its_texts_says(texts, region):
    """Row i equals ``parse`` of row i, whatever the texts hold and whatever stands beside them."""
    column = pa.array(texts, pa.string())
    assert rows(parse_column(column, region)) == expected(texts, region)


@given(
    texts=st.lists(st.from_regex(r"\+?[0-9]{0,20}", fullmatch=True) | st.text(max_size=8)),
    numbers=st.lists(st.from_regex(r"(7|8|7916|49|0|)[0-9]{4,17}", fullmatch=True), max_size=9),
    plus=st.sampled_from(["", "+"]),
    region=st.sampled_from(REGIONS),
)
def test_a_few_texts_say_what_each_of_them_says(texts, numbers, plus, region):
    """What software writes is read in its own way, to the same end."""
    for asked in (texts, [f"{plus}{number}" for number in numbers]):
        assert rows(parse_texts(asked, region)) == expected(asked, region)


def formats(seed: int, region: str, count: int) -> list[str]:
    """Made-up numbers of a region in the formats that people and programs write."""
    rng = np.random.default_rng(seed)
    texts = []
    for kind in (phonenumbers.PhoneNumberType.MOBILE, phonenumbers.PhoneNumberType.FIXED_LINE):
        shown = phonenumbers.example_number_for_type(region, kind)
        national = phonenumbers.national_significant_number(shown)
        for _ in range(count):
            tail = "".join(map(str, rng.integers(0, 10, len(national) - 3)))
            number = phonenumbers.PhoneNumber(shown.country_code, int(national[:3] + tail))
            texts += [phonenumbers.format_number(number, style) for style in range(3)]
            texts.append(f"{number.country_code}{number.national_number}")
    return texts


@pytest.mark.parametrize("region", [region for region in REGIONS if region])
def test_everyday_formats_give_the_librarys_numbers_without_leaving_the_arrays(region, monkeypatch):
    """For the formats of several countries no row is parsed on its own."""

    def never(text, region):
        pytest.fail("a row was parsed on its own")

    monkeypatch.setattr(rows_module, "parse", never)
    texts = formats(7, region, 50)
    found = parse_column(pa.array(texts), region)
    for text, number in zip(texts, found.numbers.tolist(), strict=True):
        library = phonenumbers.parse(text, region)
        assert phonenumbers.is_possible_number(library)
        assert (
            phonenumbers.format_number(library, phonenumbers.PhoneNumberFormat.E164) == f"+{number}"
        )


def test_typeset_separators_foreign_digits_and_surroundings_stay_in_the_arrays(monkeypatch):
    """NBSP, dashes, marks, Unicode digits and what is around a number cost no call per row."""
    monkeypatch.setattr(rows_module, "parse", None)
    texts = [
        "8\u00a0916\u00a0000\u201300\u201312",
        "\ufeff+7\u202f916\u202f0000012",
        "\u202a89160000012\u202c",
        "８９１６０００００１２",
        "٨٩١٦٠٠٠٠٠١٢",
        "89160000012",
        "тел. 8 916 000-00-12",
        "tel:+7-916-000-00-12",
        "'+79160000012",
        '"8 (916) 000-00-12"',
        "89160000012\r\n",
        "8 916 000-00-12,;_*",
    ]
    assert parse_column(pa.array(texts), "RU").numbers.tolist() == [MOBILE] * len(texts)


def test_an_odd_text_is_parsed_once_however_often_it_stands_there(monkeypatch):
    """What the arrays do not know goes through ``parse`` once per distinct text."""
    asked = []

    def counted(text, region):
        asked.append(text)
        return NULL

    monkeypatch.setattr(rows_module, "parse", counted)
    parse_column(pa.array(["8 916 0000012 доб. 1", "8 916 0000012 доб. 2"] * 50), "RU")
    assert sorted(asked) == ["8 916 0000012 доб. 1", "8 916 0000012 доб. 2"]


TEXTS = ["8 916 000-00-12", None, "", "+7 916 0000012", "нет", "8\u00a0916 0000012 доб. 3", "1"] * 3


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.string_view()])
@pytest.mark.parametrize(("start", "length"), [(0, 21), (3, 11), (5, 0), (20, 1)])
def test_every_string_type_and_every_slice_gives_the_same(kind, start, length):
    """Offsets of slices and the widths of the types make no difference."""
    array = pa.array(TEXTS, kind).slice(start, length)
    assert rows(parse_column(array, "RU")) == expected(TEXTS[start : start + length], "RU")


def test_chunks_are_read_in_order():
    """A column in chunks, some of them empty, gives its rows in order."""
    column = pa.chunked_array([TEXTS[:2], [], TEXTS[2:9], TEXTS[9:]], pa.string()).slice(1)
    assert rows(parse_column(column, "RU")) == expected(TEXTS[1:], "RU")
    assert rows(parse_column(pa.chunked_array([], pa.string()), "RU")) == []


def test_a_dictionary_column_equals_its_decoded_column():
    """Nulls of the indices and of the dictionary are both null."""
    indices = pa.array([2, 0, None, 1, 1, 3], pa.int8())
    words = pa.array(["8 916 0000012", "x", None, "+7 916 0000012"])
    column = pa.DictionaryArray.from_arrays(indices, words)
    valid = Parsed(MOBILE, InvalidReason.UNSPECIFIED)
    assert rows(parse_column(column, "RU")) == [NULL, valid, NULL, NULL, NULL, valid]
    assert rows(parse_column(column.slice(1, 2), "RU")) == [valid, NULL]
    empty = pa.DictionaryArray.from_arrays(pa.array([None], pa.int8()), pa.array([], pa.string()))
    assert rows(parse_column(empty, "RU")) == [NULL]


@pytest.mark.parametrize("kind", [pa.int64(), pa.uint64()])
@pytest.mark.parametrize("region", ["RU", None])
def test_an_integer_is_read_as_its_digits(kind, region):
    """Whole numbers and, with a region, national ones; nulls are no numbers."""
    values = [MOBILE, 9160000012, 89160000012, None, 0, 12, 10**15, 10**18]
    texts = [None if value is None else str(value) for value in values]
    assert rows(parse_column(pa.array(values, kind), region)) == expected(texts, region)


def test_a_negative_integer_is_not_a_number():
    """A minus sign is not a separator."""
    assert rows(parse_column(pa.array([-MOBILE]), "RU")) == [NULL]


def test_a_column_of_nulls_is_a_column_of_no_numbers():
    """Arrow's null type holds nothing else."""
    assert rows(parse_column(pa.nulls(3))) == [NULL] * 3


@pytest.mark.parametrize("column", [pa.array([7.0]), pa.array([b"7"]), pa.array([True])])
def test_a_column_of_another_type_is_refused_by_name(column):
    """The error names the type and no value."""
    with pytest.raises(SettingError, match=f"type {column.type} holds no phone numbers"):
        parse_column(column)


def test_an_unknown_default_region_is_refused_even_for_an_empty_column():
    """A wrong setting is found before there is anything to parse."""
    with pytest.raises(SettingError, match="'XX'"):
        parse_column(pa.array([], pa.string()), "XX")


def test_huge_cells_are_refused_unread_and_disturb_no_others():
    """A cell of a million characters is TOO_LONG; its neighbours keep their numbers."""
    texts = ["9160000012", "9" * 1_000_000, "+79160000012", "é" * 600, "я" * 400, "89160000012"]
    found = rows(parse_column(pa.array(texts), "RU"))
    assert found == expected(texts, "RU")
    assert [row.number for row in found] == [MOBILE, 0, MOBILE, 0, 0, MOBILE]
    assert found[1].reason is InvalidReason.TOO_LONG


def test_rows_beyond_one_piece_are_read_too():
    """Pieces follow one another without a seam, odd rows at their edges included."""
    count = 2 * rows_module.PIECE_ROWS + 5
    national = np.arange(9160000000, 9160000000 + count)
    texts = [f"8{number}" for number in national.tolist()]
    edge = rows_module.PIECE_ROWS
    texts[edge - 1], texts[edge], texts[-1] = "нет", "8\u00a09160000012", ""
    numbers = parse_column(pa.array(texts), "RU").numbers
    oracle = (national + 7 * 10**10).astype(np.uint64)
    oracle[[edge - 1, edge, -1]] = [0, MOBILE, 0]
    np.testing.assert_array_equal(numbers, oracle)


def test_bytes_that_are_not_utf8_are_not_numbers():
    """A damaged string array neither fails nor changes its neighbours' answers."""
    cells = [b"9160000012", "8\u00a09160000012".encode(), b"8916\xff0000012", b"8916000\xd0"]
    ends = np.cumsum([0, *map(len, cells)]).astype(np.int32)
    array = pa.StringArray.from_buffers(4, pa.py_buffer(ends), pa.py_buffer(b"".join(cells)))
    found = rows(parse_column(array, "RU"))
    assert [row.number for row in found] == [MOBILE, MOBILE, 0, 0]
    assert found[2] == NULL


def test_what_lies_under_a_null_is_not_read():
    """Arrow allows any bytes under a null."""
    text = b"9160000012" * 2
    ends = pa.py_buffer(np.array([0, 10, 20], np.int32))
    array = pa.StringArray.from_buffers(2, ends, pa.py_buffer(text), pa.py_buffer(b"\x01"))
    assert rows(parse_column(array, "RU")) == [Parsed(MOBILE, InvalidReason.UNSPECIFIED), NULL]


@settings(max_examples=50)
@given(st.sampled_from(REGIONS), st.booleans(), st.text("0123456789", max_size=25))
def test_the_decision_table_holds_the_decisions(region, plus, digits):
    """A class's code leads to the outcome that deciding the class gives."""
    table = DecisionTable(region)
    head = np.array([int(digits[:5].ljust(5, "0"))], np.uint32)
    code = table.codes(np.array([plus]), np.array([len(digits)]), head)[0]
    outcome = decide_class(digits[:5], len(digits), region, plus=plus)
    if outcome is None:
        assert code == 1
    else:
        number, reason = table.outcomes(np.array([code]), np.array([digits[-16:] or 0], np.uint64))
        assert (number[0], reason[0]) == (outcome.number(digits), outcome.reason)
