"""The oracle finds what the files say, and wrong answers."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from benchmarks.oracle import Held, Nobody, Ported, Truth
from benchmarks.oracle_files import read_truth
from benchmarks.plans import Plans
from benchmarks.registry import Registry
from numroute.model import LineType, Operator, Region, Route, Status

if TYPE_CHECKING:
    from pathlib import Path

DUMP = """Number,OwnerId,MNC,Route,RegionCode,PortDate,RowCount\r
9000000007,mB,02,D7702,77,2020-01-01T00:00:00+03:00,2\r
9000000003,mA,01,D7701,77,2020-01-01T00:00:00+03:00,\r
"""
MOBILE = """\ufeffАВС/ DEF;От;До;Емкость;Оператор;Регион;Территория ГАР;ИНН
900;0000000;0000009;10;ООО "А";-;Край;7700000000
900;0000020;0000029;10;ООО  "Б";Область;Область;
"""
FIXED = "301;0000000;0000009;10;ООО «В»  ;г. Город\n800;0000000;0000000;1;ООО «В»;Страна\n"

ROUTES = (
    Route(status=Status.UNALLOCATED),
    Route(
        status=Status.PORTED,
        operator=Operator(code="mA"),
        registry_mnc="01",
        routing_number="D7701",
        region=Region(code="77"),
    ),
    Route(
        status=Status.NOT_PORTED,
        operator=Operator(code="mC", tax_number="7700000000"),
        region=Region(name="Край"),
        line_type=LineType.MOBILE,
    ),
)


@pytest.fixture
def truth(tmp_path: Path) -> Truth:
    """The contents of a tiny dump and of tiny plans."""
    files = {name: tmp_path / name for name in ("dump.csv", "mobile.csv", "fixed.csv")}
    for path, text in zip(files.values(), (DUMP, MOBILE, FIXED), strict=True):
        path.write_text(text, "utf-8", newline="")
    dump, mobile, fixed = files.values()
    return read_truth(
        Registry(
            port_all=dump,
            operators=dump,
            plans=Plans(mobile=mobile, fixed=(fixed,)),
            ported=2,
        )
    )


@pytest.mark.parametrize(
    ("number", "fact"),
    [
        (79000000003, Ported("mA", "01", "D7701", "77")),
        (79000000007, Ported("mB", "02", "D7702", "77")),
        (79000000000, Held('ООО "А"', "7700000000", "Край", LineType.MOBILE)),
        (79000000009, Held('ООО "А"', "7700000000", "Край", LineType.MOBILE)),
        (79000000020, Held('ООО "Б"', "", "Область", LineType.MOBILE)),
        (73010000009, Held("ООО «В»", "", "г. Город", LineType.FIXED)),
        (78000000000, Held("ООО «В»", "", "Страна", LineType.TOLL_FREE)),
        (79000000010, Nobody()),
        (79000000030, Nobody()),
        (73009999999, Nobody()),
        (1, Nobody()),
        (10**15 - 1, Nobody()),
    ],
)
def test_expects_what_the_files_say(truth: Truth, number: int, fact: object) -> None:
    """A number is expected to be what its row, or the lack of one, says."""
    (expected,) = truth.expected(np.array([number], np.uint64))
    assert truth.facts[expected] == fact


def test_survives_being_saved(truth: Truth, tmp_path: Path) -> None:
    """A saved oracle expects the same as before."""
    truth.save(tmp_path)
    loaded = Truth.load(tmp_path)
    numbers = np.arange(79000000000, 79000000040, dtype=np.uint64)
    assert loaded.facts == truth.facts
    np.testing.assert_array_equal(loaded.expected(numbers), truth.expected(numbers))


def test_accepts_right_answers(truth: Truth) -> None:
    """Answers that say what the files say pass, whatever the order of the routes."""
    numbers = np.array([79000000003, 79000000000, 79000000015, 79000000003], np.uint64)
    truth.check(truth.expected(numbers), np.array([1, 2, 0, 1]), ROUTES)


@pytest.mark.parametrize("wrong", [0, 1, 2, 3])
def test_finds_one_wrong_answer(truth: Truth, wrong: int) -> None:
    """A single number with another's route is found."""
    numbers = np.array([79000000003, 79000000000, 79000000015, 79000000003], np.uint64)
    answers = np.array([1, 2, 0, 1])
    answers[wrong] = (answers[wrong] + 1) % 3
    with pytest.raises(AssertionError, match="kinds of answers are wrong"):
        truth.check(truth.expected(numbers), answers, ROUTES)


@pytest.mark.parametrize(
    "change",
    [
        {"status": Status.NOT_PORTED},
        {"operator": Operator(code="mB")},
        {"registry_mnc": "02"},
        {"routing_number": "D7702"},
        {"region": Region(code="78")},
    ],
)
def test_compares_every_field_of_a_record(truth: Truth, change: dict[str, Any]) -> None:
    """A ported number's route must agree in each field that the dump gives."""
    expected = truth.expected(np.array([79000000003], np.uint64))
    with pytest.raises(AssertionError):
        truth.check(expected, np.array([0]), [replace(ROUTES[1], **change)])


def test_an_answer_must_be_as_long_as_the_question(truth: Truth) -> None:
    """A missing answer is found."""
    expected = truth.expected(np.array([79000000003, 79000000003], np.uint64))
    with pytest.raises(AssertionError):
        truth.check(expected, np.array([1]), ROUTES)
