"""What to generate, and what was generated."""

from __future__ import annotations

import datetime as dt
import enum
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from numroute.errors import SettingError

PORTED_MAX = 100_000_000
"""The largest dump that can be asked for: about one number in seven of the whole mobile plan."""

DAYS_MAX = 366
CHANGES_MAX = 100_000
"""The largest window that can be asked for; a registry's has about two thousand rows."""

DATE_FIRST = dt.date(2014, 7, 1)
"""Numbers are ported since 2013-12-01; a dump needs some months of history behind it."""
DATE_LAST = dt.date(2039, 12, 31)


class Tier(enum.StrEnum):
    """A kind of full dump, spelled as its file name begins."""

    PORT_ALL = "Port_All"
    PORT_ALL_FULL = "Port_All_Full"


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerateOptions:
    """What to generate; equal options give equal files.

    ``ported``: rows of Port_All. ``date``: the day in the dumps' names (midnight, Moscow time); no
    port is later. ``tiers``: the kinds of full dump. ``zipped``: one zip per dump with one CSV in
    it, as the registry sends them; else plain CSV. ``plan``: real plan files (DEF and ABC of any
    vintage) to lay the ported numbers over; None makes and writes a synthetic plan.

    ``days``: days of increments, twelve windows each, before ``date``: the first full dump is that
    of ``date - days``. ``changes_per_window``: rows of both increments of a window together.
    ``later_dumps``: whether the midnights after the first have full dumps, operators and plan.

    Raises SettingError when a value is out of its range.
    """

    ported: int = 1_000_000
    seed: int = 1
    date: dt.date = dt.date(2026, 8, 1)
    tiers: Sequence[Tier | str] = (Tier.PORT_ALL,)
    zipped: bool = True
    plan: Sequence[Path] | None = None
    days: int = 0
    changes_per_window: int = 2000
    later_dumps: bool = True

    @property
    def first_date(self) -> dt.date:
        """The day of the first full dump."""
        return self.date - dt.timedelta(days=self.days)

    def __post_init__(self) -> None:
        """Refuse values out of range, so that no file is begun in vain."""
        for name, value, largest in (
            ("ported", self.ported, PORTED_MAX),
            ("seed", self.seed, 2**63 - 1),
            ("days", self.days, DAYS_MAX),
            ("changes_per_window", self.changes_per_window, CHANGES_MAX),
        ):
            if not 0 <= value <= largest:
                hint = f"Give a whole number from 0 to {largest}"
                raise SettingError(f"{name} is {value}", hint=hint)
        if not DATE_FIRST <= self.first_date <= self.date <= DATE_LAST:
            raise SettingError(
                f"date is {self.date}, with {self.days} days before it",
                hint=f"Give dates from {DATE_FIRST} to {DATE_LAST}",
            )
        if not self.tiers or not set(self.tiers) <= set(Tier):
            hint = f"Name one or several of {', '.join(Tier)}"
            raise SettingError(f"tiers are {', '.join(self.tiers) or 'missing'}", hint=hint)


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratedRegistry:
    """The files that were written and what they hold.

    ``port_all``: full dumps in the order of ``Tier``. ``plan``: the open-data plan files; empty
    when real ones were given. ``ported``: rows of Port_All, ``returned_home``: further rows of
    Port_All_Full, whose owner is the range holder. ``mobile_ranges`` and ``mobile_numbers`` count
    ``numbering_plan``, ``fixed_ranges`` the ABC files. ``following``: what appeared after the first
    midnight, in the order of its time: both increments of each window, and the dumps of each later
    midnight behind the window that ends at it.
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
