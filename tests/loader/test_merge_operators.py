"""One list of operators from a registry's table and from the plans."""

from __future__ import annotations

import numpy as np

from numroute.model import Operator
from numroute_loader.merge.ranges import Layer
from numroute_loader.merge.routes import OperatorDirectory, build_directory
from numroute_loader.reading.description import RouteKey


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


def test_name_alone_finds_an_operator_only_when_it_is_one():
    """The simplified tier's name is looked up in the table; a name of two codes stays a name."""
    directory = directory_of([("mA", "1", "Альфа"), ("mB", "2", "Двойник"), ("mC", "3", "Двойник")])
    assert directory.serving(RouteKey(operator_name="Альфа")).code == "mA"
    assert directory.serving(RouteKey(operator_name="Двойник")) == Operator(name="Двойник")
    assert directory.serving(RouteKey(operator_name="Никто")) == Operator(name="Никто")
    assert directory.holder(RouteKey(operator_name="Альфа")) == Operator(name="Альфа")


def test_every_name_of_the_table_finds_its_operator():
    """A rarer spelling of a name in the table is the registry's own too."""
    directory = directory_of([("mA", "", "Альфа"), ("mA", "", "Альфа"), ("mA", "", "АЛЬФА")])
    assert directory.serving(RouteKey(operator_name="АЛЬФА")).name == "Альфа"
