"""The gate's limits: one table of names, types and meanings, and the file that changes them."""

from __future__ import annotations

import dataclasses
import re
import tomllib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from numroute.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

DAYS_MAX = 10
"""Limits per day are multiplied by the days since the current snapshot, but by no more than this:
after a long gap the gate would let everything through."""


def _limit(meaning: str) -> float:
    value: float = field(metadata={"meaning": meaning})
    return value


def _count(meaning: str) -> int:
    value: int = field(metadata={"meaning": meaning})
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class GateLimits:
    """How much of each finding a snapshot may have; integers are counts, others shares or hours.

    The values come from the registry's file of limits, see ``LimitsFile``.
    """

    rejected_rows: int = _count("malformed rows of a dump that are skipped; more end the build")
    unknown_operators: int = _count("operator codes that the operator table may lack")
    outside_plan_share: float = _limit(
        "ported numbers that no range covers, as a share of all: the plan and the dump of one day "
        "are made minutes apart"
    )
    ported_min: int = _count("ported numbers that a snapshot must have at least")
    shrinkage_share: float = _limit(
        "how many fewer ported numbers than in the current snapshot, as a share of its"
    )
    plan_shrinkage_share: float = _limit(
        "how many fewer numbers in the numbering plan than in the current one, as a share of its"
    )
    growth_share_per_day: float = _limit(
        "how many more ported numbers than in the current snapshot, as a share of its"
    )
    growth_numbers_min: int = _count("growth by so many numbers is never too much")
    operator_change_share_per_day: float = _limit(
        "how many numbers one operator may gain or lose, as a share of those it had"
    )
    operator_change_numbers_min: int = _count(
        "a gain or loss of so many numbers is never too much for an operator"
    )
    movement_share_per_day: float = _limit(
        "numbers that went home or to another operator since the current snapshot, as a share of "
        "its ported numbers"
    )
    movement_numbers_min: int = _count("a movement of so many numbers is never too much")
    unchanged_numbers_min: int = _count(
        "with so many ported numbers, a day without any change is no day's dump"
    )
    clock_ahead_hours: float = _limit("how far the data's time may lie ahead of the clock")
    clock_behind_hours: float = _limit(
        "how far the data's time may lie behind the clock before a warning"
    )
    increment_dates_ahead_minutes: float = _limit(
        "how far half of a window's changes may lie ahead of the time in its name"
    )
    increment_dates_behind_hours: float = _limit(
        "how far half of a window's changes may lie behind the time in its name"
    )
    increment_dates_numbers_min: int = _count(
        "with fewer dated changes in a window, its dates are not compared with its name"
    )
    port_dates_ahead_hours: float = _limit(
        "how far a number's port may lie ahead of the data's time"
    )
    port_dates_ahead_share: float = _limit(
        "ports that may lie further ahead, as a share of all with a date"
    )
    port_dates_behind_hours: float = _limit(
        "how far the newest port may lie behind the data's time"
    )
    port_dates_numbers_min: int = _count(
        "with fewer ported numbers than this, a newest port of long ago is no wonder"
    )
    drift_share: float = _limit(
        "numbers in which a full dump may differ from the state built from increments, as a share "
        "of its ported numbers"
    )
    drift_numbers_min: int = _count("a drift of so many numbers is never too much")
    chosen_numbers: int = _count("chosen numbers that may have another operator than expected")


_TYPES = {
    each.name: int if each.type == "int" else float for each in dataclasses.fields(GateLimits)
}

_LINE = re.compile(r"^\s*[\"']?([A-Za-z0-9_.-]+)[\"']?\s*=|^\s*\[+([^\]]*)\]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitsFile:
    """The text of a TOML file of limits; ``path`` names it in messages."""

    path: str
    text: str


def meanings() -> Mapping[str, str]:
    """Return what each limit means, by its name, in the order of the table."""
    return {each.name: each.metadata["meaning"] for each in dataclasses.fields(GateLimits)}


def limits_from(defaults: LimitsFile, *own: LimitsFile) -> GateLimits:
    """Return the limits of ``defaults``, which gives all of them, changed by each file of a user's.

    Raises InputError, which names file and line, when a file is not TOML, names an unknown limit,
    gives a value of a wrong type or a negative one.
    """
    values: dict[str, float] = {}
    for file in (defaults, *own):
        values |= _values(file)
    return GateLimits(**values)  # type: ignore[arg-type] # each value has the type of its field


def _values(file: LimitsFile) -> Mapping[str, float]:
    try:
        document = tomllib.loads(file.text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"line (\d+)", str(error))
        raise InputError(
            file.path,
            f"not TOML: {str(error).partition(' (at')[0]}",
            line=int(found.group(1)) if found else None,
            hint="A line reads NAME = VALUE, e.g. shrinkage_share = 0.1",
        ) from None
    values: dict[str, float] = {}
    for name, value in document.items():
        fault = _fault(name, value)
        if fault:
            raise InputError(
                file.path,
                fault,
                line=_line_of(file.text, name),
                hint="`numroute-load check --show-limits` lists the names and their values",
            )
        values[name] = _TYPES[name](value)
    return values


def _fault(name: str, value: object) -> str:
    if name not in _TYPES:
        return f"there is no limit {name!r}"
    whole = isinstance(value, int) and not isinstance(value, bool)
    if _TYPES[name] is int and not whole:
        return f"{name} is not a whole number"
    if not whole and not isinstance(value, float):
        return f"{name} is not a number"
    # Written so that nan, which compares with nothing, is refused too.
    if not value >= 0:  # type: ignore[operator] # a number by now
        return f"{name} is negative or no number"
    if name.endswith(("_share", "_share_per_day")) and value > 1:  # type: ignore[operator]
        return f"{name} is a share: it lies between 0 and 1"
    return ""


def _line_of(text: str, name: str) -> int | None:
    for line, content in enumerate(text.splitlines(), 1):
        found = _LINE.match(content)
        if found and name == (found.group(1) or found.group(2)).partition(".")[0].strip():
            return line
    return None
