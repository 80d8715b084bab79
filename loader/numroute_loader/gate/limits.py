"""What the gate judges by: its limits, the files that set them, and what may fail all the same."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, get_type_hints

import msgspec

from numroute.errors import InputError, SettingError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

DAYS_MAX = 10
"""Limits per day are multiplied by the days since the current snapshot, up to this many: after a
long gap the gate would let everything through."""


_Count = Annotated[int, msgspec.Meta(ge=0)]
_Measure = Annotated[float, msgspec.Meta(ge=0)]
_Share = Annotated[float, msgspec.Meta(ge=0, le=1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class GateLimits:
    """The limits of the checks by name: counts, shares or hours, with their meanings.

    The values come from the registry's file of limits.
    """

    rejected_rows: Annotated[
        _Count, "malformed rows of a dump that are skipped; more end the build"
    ]
    unknown_operators_share: Annotated[
        _Share,
        "ported numbers, or ranges, of operators that the operator table lacks, as a share of all",
    ]
    unknown_operators_numbers_min: Annotated[
        _Count, "this many ported numbers of operators that the table lacks are never too many"
    ]
    outside_plan_share: Annotated[
        _Share,
        "ported numbers that no range covers, as a share of all: the plan and the dump of one "
        "day are made minutes apart",
    ]
    routing_numbers_share: Annotated[
        _Share, "routing numbers that do not agree with region and MNC, as a share of all"
    ]
    ported_min: Annotated[_Count, "the least ported numbers of a snapshot"]
    shrinkage_share: Annotated[
        _Share, "how many fewer ported numbers than in the current snapshot, as a share of its"
    ]
    plan_shrinkage_share: Annotated[
        _Share,
        "how many fewer numbers in the numbering plan than in the current one, as a share of its",
    ]
    range_holders_share: Annotated[
        _Share, "numbers of the plan that changed their range holder, as a share of all"
    ]
    range_holders_operator_share: Annotated[
        _Share, "numbers that one range holder lost to others, as a share of those it had"
    ]
    range_holders_numbers_min: Annotated[
        _Count, "a change of this many numbers of the plan is never too much"
    ]
    growth_share_per_day: Annotated[
        _Share, "how many more ported numbers than in the current snapshot, as a share of its"
    ]
    growth_numbers_min: Annotated[_Count, "growth by this many numbers is never too much"]
    operator_change_share_per_day: Annotated[
        _Share, "how many numbers one operator may gain or lose, as a share of those it had"
    ]
    operator_change_numbers_min: Annotated[
        _Count, "a gain or loss of this many numbers is never too much for an operator"
    ]
    movement_share_per_day: Annotated[
        _Share,
        "numbers that went home or to another operator since the current snapshot, as a share "
        "of its ported numbers",
    ]
    movement_numbers_min: Annotated[_Count, "a movement of this many numbers is never too much"]
    updates_share_per_day: Annotated[
        _Share,
        "numbers that got another route of the same operator since the current snapshot, as a "
        "share of its ported numbers",
    ]
    updates_numbers_min: Annotated[_Count, "an update of this many numbers is never too much"]
    unchanged_numbers_min: Annotated[
        _Count, "with this many ported numbers, a day without any change is not a new dump"
    ]
    clock_ahead_hours: Annotated[_Measure, "how far the data's time may lie ahead of the clock"]
    clock_behind_hours: Annotated[
        _Measure, "how far the data's time may lie behind the clock before a warning"
    ]
    increment_dates_ahead_minutes: Annotated[
        _Measure, "how far half of a window's changes may lie ahead of the time in its name"
    ]
    increment_dates_behind_hours: Annotated[
        _Measure, "how far half of a window's changes may lie behind the time in its name"
    ]
    increment_dates_numbers_min: Annotated[
        _Count, "with fewer dated changes in a window, its dates are not compared with its name"
    ]
    port_dates_ahead_hours: Annotated[
        _Measure, "how far a number's port may lie ahead of the data's time"
    ]
    port_dates_ahead_share: Annotated[
        _Share, "ports that may lie further ahead, as a share of all with a date"
    ]
    port_dates_behind_hours: Annotated[
        _Measure, "how far the newest port may lie behind the data's time"
    ]
    port_dates_numbers_min: Annotated[
        _Count, "with fewer ported numbers, the newest port may be of long ago"
    ]
    drift_share: Annotated[
        _Share,
        "numbers in which a full dump may differ from the state built from increments, as a "
        "share of its ported numbers",
    ]
    drift_numbers_min: Annotated[_Count, "a drift of this many numbers is never too much"]
    chosen_numbers: Annotated[_Count, "chosen numbers that may have another operator than expected"]


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


def meanings() -> Mapping[str, str]:
    """Return the meaning of each limit by its name, in order."""
    hints = get_type_hints(GateLimits, include_extras=True)
    return {name: hint.__metadata__[-1] for name, hint in hints.items()}


def read_limits(built_in: str, path: Path | None) -> GateLimits:
    """Return the limits of a TOML text, which gives all of them, changed by a user's file.

    Raises InputError, which names the key, when the file cannot be read, names an unknown limit, or
    gives a wrong value.
    """
    values = tomllib.loads(built_in)
    if path is None:
        return msgspec.convert(values, GateLimits)
    hint = "`numroute-load check --show-limits` lists the names and their values"
    try:
        own = tomllib.loads(path.read_text("utf-8-sig"))
        for unknown in own.keys() - values.keys():
            raise InputError(path, f"there is no limit {unknown!r}", hint=hint)
        return msgspec.convert(values | own, GateLimits)
    except OSError as error:
        reason = f"the limits cannot be read: {error.strerror}"
        raise InputError(path, reason, hint="Check the path") from None
    except UnicodeDecodeError:
        raise InputError(path, "the limits are not UTF-8", hint="Save the file as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        hint = "A line reads NAME = VALUE, e.g. shrinkage_share = 0.1"
        raise InputError(path, f"not TOML: {error}", hint=hint) from None
    except msgspec.ValidationError as error:
        raise InputError(path, f"wrong limit: {error}", hint=hint) from None
