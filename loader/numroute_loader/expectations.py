"""Chosen numbers whose operators are known from elsewhere, and what content says of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from numroute.errors import InputError
from numroute.index.compare import operator_name
from numroute.model import mask_digits, mask_number
from numroute_loader.commented_csv import read_table

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numroute.model import Route

NUMBERS_MAX = 100_000
"""The most numbers in a file: they are looked up one by one."""

NOBODY = "-"
"""The operator code of a number that nobody holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """A number, the code of the operator that should serve it, and where that is written."""

    where: str
    number: int
    operator: str


def read_expectations(path: Path) -> Sequence[Expectation]:
    """Read a file of ``number,operator`` lines, with or without that header.

    Raises InputError, which names file and line and masks the number.
    """
    expectations = []
    for row in read_table(path, ("number", "operator"), header=False):
        number, operator = row.number("number"), row.cells["operator"]
        if not operator:
            raise row.error("operator is empty", hint=f"Write {NOBODY} where nobody is expected")
        expectations.append(
            Expectation(where=f"{path}:{row.line}", number=number, operator=operator)
        )
        if len(expectations) > NUMBERS_MAX:
            raise row.error(f"there are more than {NUMBERS_MAX:,} numbers")
    if not expectations:
        raise InputError(
            path, "there are no numbers in it", hint="A line reads +79160000000,OPERATOR CODE"
        )
    return expectations


def unmet(expectations: Sequence[Expectation], routes: Sequence[Route]) -> Sequence[str]:
    """Say which expectations are not met; ``routes`` are the answers to them, in order."""
    served = [
        operator_name(route.operator) if route.status.has_route else NOBODY for route in routes
    ]
    return [
        f"{expectation.where}: {mask_number(expectation.number)} is served by {_shown(operator)}, "
        f"{_shown(expectation.operator)} is expected"
        for expectation, operator in zip(expectations, served, strict=True)
        if operator != expectation.operator
    ]


def _shown(operator: str) -> str:
    return "nobody" if operator == NOBODY else mask_digits(operator)
