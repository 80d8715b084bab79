"""One list of operators from a registry's table and from the plans."""

from __future__ import annotations

import numpy as np

from numroute.model import Operator
from numroute_loader.merge.ranges import Layer, stack_layers
from numroute_loader.merge.routes import OperatorDirectory, build_directory
from numroute_loader.records import RouteKey


def directory_of(
    rows: list[tuple[str, str, str]], *layers: list[tuple[int, int, RouteKey]]
) -> OperatorDirectory:
    """Build a directory from (code, tax number, name) and from plans without gaps."""
    made = []
    for layer in layers:
        start = [0, *(first for first, _, _ in layer), layer[-1][1] + 1]
        made.append(
            Layer(
                start=np.array(start, np.uint64),
                key=np.array([-1, *range(len(layer)), -1]),
                keys=[key for _, _, key in layer],
            )
        )
    return build_directory(
        [
            RouteKey(
                operator_code=code, registry_mnc="01", tax_number=tax_number, operator_name=name
            )
            for code, tax_number, name in rows
        ],
        made,
        stack_layers(made),
    )


def test_most_frequent_name_and_tax_number_win():
    """An operator is called what most of its rows call it; empty cells do not count."""
    directory = directory_of(
        [
            ("mA", "", ""),
            ("mA", "", ""),
            ("mA", "1", "Альфа"),
            ("mA", "2", "АЛЬФА"),
            ("mA", "2", "Альфа"),
        ]
    )
    assert directory.by_code["mA"] == Operator(code="mA", name="Альфа", tax_number="2")


def test_first_of_equally_frequent_names_wins():
    """Where two spellings are as frequent, the first of the table is taken."""
    directory = directory_of([("mA", "1", "Б"), ("mA", "2", "А")])
    assert directory.by_code["mA"] == Operator(code="mA", name="Б", tax_number="1")


def test_shared_tax_number_goes_to_the_first_code():
    """Where several codes have one tax number, a plan's holder is the first of the table."""
    directory = directory_of([("mZ", "1", "Я"), ("mA", "1", "А")])
    holder = directory.holder(RouteKey(operator_name="x", tax_number="1"))
    assert holder == Operator(code="mZ", name="Я", tax_number="1")
    assert directory.holder(RouteKey(operator_code="mA")).name == "А"


def test_plans_tell_a_tax_number_that_the_table_lacks():
    """The holder of most of a code's numbers in another plan gives the code its tax number."""
    directory = directory_of(
        [("mA", "", "")],
        [(10, 19, RouteKey(operator_code="mA"))],
        [
            (10, 15, RouteKey(operator_name="Альфа", tax_number="1")),
            (16, 30, RouteKey(operator_name="Бета", tax_number="2")),
        ],
    )
    assert directory.by_code["mA"] == Operator(code="mA", name="Альфа", tax_number="1")
    assert directory.holder(RouteKey(tax_number="1")).code == "mA"
    assert directory.holder(RouteKey(tax_number="2")) == Operator(
        code="2", name="Бета", tax_number="2"
    )


def test_half_of_the_numbers_tell_nothing():
    """Where no holder has more than half of a code's numbers, its tax number stays unknown."""
    directory = directory_of(
        [("mA", "", "А")],
        [(10, 19, RouteKey(operator_code="mA"))],
        [
            (10, 14, RouteKey(operator_name="Альфа", tax_number="1")),
            (15, 30, RouteKey(operator_name="Бета", tax_number="2")),
        ],
    )
    assert directory.by_code["mA"] == Operator(code="mA", name="А")
    assert directory.holder(RouteKey(tax_number="1")).code == "1"


def test_table_is_believed_before_the_plans():
    """A tax number that the operator table gives is not replaced by another plan's."""
    directory = directory_of(
        [("mA", "9", "А")],
        [(10, 19, RouteKey(operator_code="mA"))],
        [(10, 19, RouteKey(operator_name="Альфа", tax_number="1"))],
    )
    assert directory.by_code["mA"].tax_number == "9"


def test_name_alone_finds_an_operator_only_when_it_is_one():
    """The simplified tier's name is looked up in the table; a name of two codes stays a name."""
    directory = directory_of([("mA", "1", "Альфа"), ("mB", "2", "Двойник"), ("mC", "3", "Двойник")])
    assert directory.serving(RouteKey(operator_name="Альфа")).code == "mA"
    assert directory.serving(RouteKey(operator_name="Двойник")) == Operator(name="Двойник")
    assert directory.serving(RouteKey(operator_name="Никто")) == Operator(name="Никто")
    assert directory.holder(RouteKey(operator_name="Альфа")) == Operator(name="Альфа")


def test_name_lent_by_a_plan_does_not_compete_with_the_table():
    """The table's operator is found by its name though a plan calls another code the same."""
    directory = directory_of(
        [("mC", "", "Гамма")],
        [(10, 19, RouteKey(operator_code="mX"))],
        [(10, 19, RouteKey(operator_name="Гамма", tax_number="1"))],
    )
    assert directory.by_code["mX"] == Operator(code="mX", name="Гамма", tax_number="1")
    assert directory.serving(RouteKey(operator_name="Гамма")).code == "mC"


def test_every_name_of_the_table_finds_its_operator():
    """A rarer spelling of a name in the table is the registry's own too."""
    directory = directory_of([("mA", "", "Альфа"), ("mA", "", "Альфа"), ("mA", "", "АЛЬФА")])
    assert directory.serving(RouteKey(operator_name="АЛЬФА")).name == "Альфа"
