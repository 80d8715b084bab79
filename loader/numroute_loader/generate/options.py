"""What to generate, and what was generated."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING

from numroute.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

PORTED_MAX = 100_000_000
"""The largest dump that can be asked for: about one number in seven of the whole mobile plan."""

SEED_MAX = 2**63 - 1

DAYS_MAX = 366
CHANGES_MAX = 100_000
"""The largest window that can be asked for; a registry's has about two thousand rows."""

_Date = date
"""The type, where a field of that name hides it."""

DATE_DEFAULT = date(2026, 8, 1)
DATE_FIRST = date(2014, 7, 1)
"""Numbers are ported since 2013-12-01; a dump needs some months of history behind it."""
DATE_LAST = date(2039, 12, 31)


class Tier(enum.StrEnum):
    """A kind of full dump, spelled as its file name begins."""

    PORT_ALL = "Port_All"
    PORT_ALL_FULL = "Port_All_Full"
    PORT_ALL_NEW = "Port_All_New"


class PlanEncoding(enum.StrEnum):
    """The era of the open-data plan files: the encoding decides the columns too."""

    UTF_8 = "utf-8"
    """2026: UTF-8 with BOM, eight columns."""
    WINDOWS_1251 = "windows-1251"
    """2014-2018: six columns without territory and tax number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerateOptions:
    """What to generate; equal options give equal files.

    Attributes:
        ported: Rows of Port_All, at most ``PORTED_MAX``.
        seed: Any whole number from 0 to ``SEED_MAX``.
        date: The day in the dumps' names (midnight, Moscow time); no port is later.
        tiers: The kinds of full dump to write.
        zipped: One zip per dump with one CSV in it, as the registry sends them; else plain CSV.
        plan_encoding: The era of the open-data plan files that are written.
        plan: Real plan files (DEF and ABC of any vintage) to lay the ported numbers over; then no
            plan files are written. None makes a whole synthetic plan.
        sorted: Rows of the full dumps in number order; else shuffled.
        days: Days of increments, twelve windows each, before ``date``. The first full dump is that
            of ``date - days``, and every midnight until ``date`` has one.
        changes_per_window: Rows of both increments of a window together.
        later_dumps: Whether the midnights after the first have full dumps, operators and plan.

    Raises:
        SettingError: A value is out of its range.
    """

    ported: int = 1_000_000
    seed: int = 1
    date: date = DATE_DEFAULT
    tiers: Sequence[Tier | str] = (Tier.PORT_ALL,)
    zipped: bool = True
    plan_encoding: PlanEncoding | str = PlanEncoding.UTF_8
    plan: Sequence[Path] | None = None
    sorted: bool = True
    days: int = 0
    changes_per_window: int = 2000
    later_dumps: bool = True

    @property
    def first_date(self) -> _Date:
        """The day of the first full dump."""
        return self.date - timedelta(days=self.days)

    def __post_init__(self) -> None:
        """Refuse values out of range, so that no file is begun in vain."""
        _require_between("ported", self.ported, 0, PORTED_MAX)
        _require_between("seed", self.seed, 0, SEED_MAX)
        _require_between("days", self.days, 0, DAYS_MAX)
        _require_between("changes_per_window", self.changes_per_window, 0, CHANGES_MAX)
        if not DATE_FIRST <= self.first_date <= self.date <= DATE_LAST:
            raise SettingError(
                f"date is {self.date}" + (f", {self.days} days before it" if self.days else ""),
                hint=f"Give dates from {DATE_FIRST} to {DATE_LAST}",
            )
        if not self.tiers:
            raise SettingError("tiers is empty", hint=f"Name one of {_members(Tier)}")
        for tier in self.tiers:
            if tier not in list(Tier):
                raise SettingError(f"tier {tier} is not known", hint=f"Use {_members(Tier)}")
        if self.plan_encoding not in list(PlanEncoding):
            raise SettingError(
                f"plan encoding {self.plan_encoding} is not known",
                hint=f"Use {_members(PlanEncoding)}",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratedRegistry:
    """The files that were written and what they hold.

    Attributes:
        operators: The Operators dump.
        numbering_plan: The registry's own plan of mobile ranges.
        port_all: Full dumps in the order of ``Tier``, those that were asked for.
        plan: The open-data plan files; empty when real ones were given.
        ported: Rows of Port_All.
        returned_home: Rows of Port_All_Full that are not ported, because owner and range holder
            are the same. They are counted whether Port_All_Full was written or not.
        mobile_ranges: Rows of ``numbering_plan``.
        mobile_numbers: Numbers in those ranges.
        fixed_ranges: Rows of the ABC files that were written.
        following: What appeared after the first midnight, in the order of its time: both increments
            of each window, and the dumps of each later midnight behind the window that ends at it.
    """

    operators: Path
    numbering_plan: Path
    port_all: Sequence[Path]
    plan: Sequence[Path]
    ported: int
    returned_home: int
    mobile_ranges: int
    mobile_numbers: int
    fixed_ranges: int
    following: Sequence[Path] = ()

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files of the first midnight: what a snapshot is built from."""
        return (self.operators, self.numbering_plan, *self.port_all, *self.plan)


def _require_between(name: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise SettingError(f"{name} is {value}", hint=f"Give a whole number from {low} to {high}")


def _members(kind: type[enum.StrEnum]) -> str:
    return ", ".join(kind)
