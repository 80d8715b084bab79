"""What the gate judges by: its limits, the files that set them, and what may fail all the same."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, get_type_hints

from numroute.errors import InputError, SettingError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

DAYS_MAX = 10
"""Limits per day are multiplied by the days since the current snapshot, up to this many: after a
long gap the gate would let everything through."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GateLimits:
    """The limits of the checks by name: counts, shares or hours, with their meanings.

    The values come from the registry's file of limits, see ``LimitsFile``.
    """

    rejected_rows: Annotated[int, "malformed rows of a dump that are skipped; more end the build"]
    unknown_operators_share: Annotated[
        float,
        "ported numbers, or ranges, of operators that the operator table lacks, as a share of all",
    ]
    unknown_operators_numbers_min: Annotated[
        int, "this many ported numbers of operators that the table lacks are never too many"
    ]
    outside_plan_share: Annotated[
        float,
        "ported numbers that no range covers, as a share of all: the plan and the dump of one "
        "day are made minutes apart",
    ]
    routing_numbers_share: Annotated[
        float, "routing numbers that do not agree with region and MNC, as a share of all"
    ]
    ported_min: Annotated[int, "the least ported numbers of a snapshot"]
    shrinkage_share: Annotated[
        float, "how many fewer ported numbers than in the current snapshot, as a share of its"
    ]
    plan_shrinkage_share: Annotated[
        float,
        "how many fewer numbers in the numbering plan than in the current one, as a share of its",
    ]
    range_holders_share: Annotated[
        float, "numbers of the plan that changed their range holder, as a share of all"
    ]
    range_holders_operator_share: Annotated[
        float, "numbers that one range holder lost to others, as a share of those it had"
    ]
    range_holders_numbers_min: Annotated[
        int, "a change of this many numbers of the plan is never too much"
    ]
    growth_share_per_day: Annotated[
        float, "how many more ported numbers than in the current snapshot, as a share of its"
    ]
    growth_numbers_min: Annotated[int, "growth by this many numbers is never too much"]
    operator_change_share_per_day: Annotated[
        float, "how many numbers one operator may gain or lose, as a share of those it had"
    ]
    operator_change_numbers_min: Annotated[
        int, "a gain or loss of this many numbers is never too much for an operator"
    ]
    movement_share_per_day: Annotated[
        float,
        "numbers that went home or to another operator since the current snapshot, as a share "
        "of its ported numbers",
    ]
    movement_numbers_min: Annotated[int, "a movement of this many numbers is never too much"]
    updates_share_per_day: Annotated[
        float,
        "numbers that got another route of the same operator since the current snapshot, as a "
        "share of its ported numbers",
    ]
    updates_numbers_min: Annotated[int, "an update of this many numbers is never too much"]
    unchanged_numbers_min: Annotated[
        int, "with this many ported numbers, a day without any change is not a new dump"
    ]
    clock_ahead_hours: Annotated[float, "how far the data's time may lie ahead of the clock"]
    clock_behind_hours: Annotated[
        float, "how far the data's time may lie behind the clock before a warning"
    ]
    increment_dates_ahead_minutes: Annotated[
        float, "how far half of a window's changes may lie ahead of the time in its name"
    ]
    increment_dates_behind_hours: Annotated[
        float, "how far half of a window's changes may lie behind the time in its name"
    ]
    increment_dates_numbers_min: Annotated[
        int, "with fewer dated changes in a window, its dates are not compared with its name"
    ]
    port_dates_ahead_hours: Annotated[
        float, "how far a number's port may lie ahead of the data's time"
    ]
    port_dates_ahead_share: Annotated[
        float, "ports that may lie further ahead, as a share of all with a date"
    ]
    port_dates_behind_hours: Annotated[
        float, "how far the newest port may lie behind the data's time"
    ]
    port_dates_numbers_min: Annotated[
        int, "with fewer ported numbers, the newest port may be of long ago"
    ]
    drift_share: Annotated[
        float,
        "numbers in which a full dump may differ from the state built from increments, as a "
        "share of its ported numbers",
    ]
    drift_numbers_min: Annotated[int, "a drift of this many numbers is never too much"]
    chosen_numbers: Annotated[int, "chosen numbers that may have another operator than expected"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """The files to judge by and the checks that may fail.

    ``brands``, ``limits`` and ``expect`` are files or None; they are read for each judgement, so
    that ``watch`` follows their changes. ``allowed`` names checks of the gate that may fail;
    ``reason`` says why, and is recorded in the history. Raises SettingError when something is
    allowed without a reason.
    """

    brands: Path | None = None
    limits: Path | None = None
    expect: Path | None = None
    allowed: tuple[str, ...] = ()
    reason: str = ""

    def __post_init__(self) -> None:
        if self.allowed and not self.reason.strip():
            raise SettingError("--allow needs a reason", hint="Give it with --reason TEXT")


_HINTS = {
    name: (hint.__origin__, hint.__metadata__[0])
    for name, hint in get_type_hints(GateLimits, include_extras=True).items()
}

_LINE = re.compile(r"^\s*[\"']?([A-Za-z0-9_.-]+)[\"']?\s*=|^\s*\[+([^\]]*)\]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitsFile:
    """The text of a TOML file of limits; ``path`` names it in messages."""

    path: str
    text: str


def meanings() -> Mapping[str, str]:
    """Return the meaning of each limit by its name, in order."""
    return {name: meaning for name, (_, meaning) in _HINTS.items()}


def limits_from(defaults: LimitsFile, *own: LimitsFile) -> GateLimits:
    """Return the limits of ``defaults``, which gives all of them, changed by each user's file.

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
        values[name] = _HINTS[name][0](value)
    return values


def _fault(name: str, value: object) -> str:
    if name not in _HINTS:
        return f"there is no limit {name!r}"
    whole = isinstance(value, int) and not isinstance(value, bool)
    if _HINTS[name][0] is int and not whole:
        return f"{name} is not a whole number"
    if not whole and not isinstance(value, float):
        return f"{name} is not a number"
    # Written so that nan, which compares with nothing, is refused too.
    if not value >= 0:  # type: ignore[operator] # a number by now
        return f"{name} is negative or not a number"
    if name.endswith(("_share", "_share_per_day")) and value > 1:  # type: ignore[operator]
        return f"{name} is a share: it lies between 0 and 1"
    return ""


def _line_of(text: str, name: str) -> int | None:
    for line, content in enumerate(text.splitlines(), 1):
        found = _LINE.match(content)
        if found and name == (found.group(1) or found.group(2)).partition(".")[0].strip():
            return line
    return None
