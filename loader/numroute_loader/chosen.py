"""Checks on chosen numbers: a file of numbers whose operators are known from elsewhere."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from numroute.errors import InputError
from numroute.model import NUMBER_MAX, Status, mask_digits, mask_number
from numroute_loader.gate import ChosenNumbers, WrongNumber
from numroute_loader.movement import operator_name

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from numroute.index import Content
    from numroute.model import Route

NUMBERS_MAX = 100_000
"""How many numbers a file may choose: each is looked at one by one."""

NOBODY = "-"
"""What a file writes for a number that nobody holds."""

_NUMBER = re.compile(r"\+?[1-9][0-9]{0,14}", re.ASCII)
_HEADER = "number,"
_HINT = "A line reads NUMBER,OPERATOR CODE with the whole number, e.g. +79160000000,mMTS"


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """A number, the code of the operator that should serve it, and where that is written."""

    where: str
    number: int
    operator: str


def read_expectations(path: Path) -> Sequence[Expectation]:
    """Read a file of ``number,operator code`` lines; ``-`` stands for a number that nobody holds.

    A header line that begins with ``number,``, blank lines and lines that begin with ``#`` are
    passed over. Raises InputError when the file cannot be read or a line is wrong; names file and
    line, and never quotes a number.
    """
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except OSError as error:
        reason = f"the chosen numbers cannot be read: {error.strerror}"
        raise InputError(path, reason, hint="Check the path") from None
    except UnicodeDecodeError:
        raise InputError(path, "the chosen numbers are not UTF-8", hint=_HINT) from None
    found = []
    for line, text in enumerate(lines, 1):
        if not text.strip() or text.startswith("#") or text.lower().startswith(_HEADER):
            continue
        number, comma, operator = (part.strip() for part in text.partition(","))
        if not _NUMBER.fullmatch(number) or int(number) > NUMBER_MAX:
            reason = "the first column is not a whole international number"
            raise InputError(path, reason, line=line, hint=_HINT)
        if not comma or not operator or "," in operator:
            raise InputError(path, "there are not two columns", line=line, hint=_HINT)
        found.append(Expectation(where=f"{path}:{line}", number=int(number), operator=operator))
        if len(found) > NUMBERS_MAX:
            raise InputError(path, f"there are more than {NUMBERS_MAX} numbers", line=line)
    if not found:
        raise InputError(path, "there are no numbers in it", hint=_HINT)
    return found


def judged(expectations: Sequence[Expectation], routes: Sequence[Route]) -> ChosenNumbers:
    """Return the facts for the gate: ``routes`` are the answers to the expectations, in order."""
    served = [
        NOBODY if route.status is Status.UNALLOCATED else operator_name(route.operator)
        for route in routes
    ]
    return ChosenNumbers(
        numbers=len(expectations),
        wrong=[
            WrongNumber(
                where=each.where,
                number=mask_number(each.number),
                expected="nobody" if each.operator == NOBODY else mask_digits(each.operator),
                actual="nobody" if operator == NOBODY else operator,
            )
            for each, operator in zip(expectations, served, strict=True)
            if operator != each.operator
        ],
    )


def routes_in(content: Content, expectations: Sequence[Expectation]) -> Sequence[Route]:
    """Return the route that content, not yet written, gives to each number."""
    numbers = np.array([each.number for each in expectations], np.uint64)
    pieces = content.range_start.searchsorted(numbers, side="right") - 1
    rows: NDArray[np.int64] = content.range_route[pieces].astype(np.int64)
    at = content.numbers.searchsorted(numbers)
    at[at == len(content.numbers)] = 0
    if len(content.numbers):
        ported = content.numbers[at] == numbers
        rows[ported] = content.number_route[at[ported]]
    return [content.routes[row] for row in rows.tolist()]
