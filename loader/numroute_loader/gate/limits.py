"""What the gate judges by: its limits, the files that set them, and what may fail all the same."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec

from numroute.errors import InputError, SettingError
from numroute_loader.commented_csv import read_text

DAYS_MAX = 10
"""Limits per day are multiplied by the days since the current snapshot, up to this many: otherwise
the gate would let everything through after a long gap."""


_Count = Annotated[int, msgspec.Meta(ge=0)]
_Measure = Annotated[float, msgspec.Meta(ge=0)]
_Share = Annotated[float, msgspec.Meta(ge=0, le=1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class GateLimits:
    """The limits of the checks by name: counts, shares, minutes or hours.

    Their values and meanings are in the registry's file of limits.
    """

    rejected_rows: _Count
    unknown_operators_share: _Share
    unknown_operators_numbers_min: _Count
    outside_plan_share: _Share
    routing_numbers_share: _Share
    ported_min: _Count
    shrinkage_share: _Share
    plan_shrinkage_share: _Share
    range_holders_share: _Share
    range_holders_operator_share: _Share
    range_holders_numbers_min: _Count
    growth_share_per_day: _Share
    growth_numbers_min: _Count
    operator_change_share_per_day: _Share
    operator_change_numbers_min: _Count
    movement_share_per_day: _Share
    movement_numbers_min: _Count
    updates_share_per_day: _Share
    updates_numbers_min: _Count
    unchanged_numbers_min: _Count
    clock_ahead_hours: _Measure
    clock_behind_hours: _Measure
    increment_dates_ahead_minutes: _Measure
    increment_dates_behind_hours: _Measure
    increment_dates_numbers_min: _Count
    port_dates_ahead_hours: _Measure
    port_dates_ahead_share: _Share
    port_dates_behind_hours: _Measure
    port_dates_numbers_min: _Count
    drift_share: _Share
    drift_numbers_min: _Count
    chosen_numbers: _Count


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
        own = tomllib.loads(read_text(path))
        for unknown in own.keys() - values.keys():
            raise InputError(path, f"there is no limit {unknown!r}", hint=hint)
        return msgspec.convert(values | own, GateLimits)
    except tomllib.TOMLDecodeError as error:
        hint = "A line reads NAME = VALUE, e.g. shrinkage_share = 0.1"
        raise InputError(path, f"not TOML: {error}", hint=hint) from None
    except msgspec.ValidationError as error:
        raise InputError(path, f"wrong limit: {error}", hint=hint) from None
