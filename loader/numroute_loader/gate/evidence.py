"""The facts about a new snapshot that the gate judges. A fact that is None was not gathered."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Previous:
    """The current snapshot, with which the new one is compared.

    ``by_operator``: ported numbers by the code of the operator that serves them, None where they
    were not counted. ``range_numbers``: the numbers in its numbering plan, 0 without one.
    """

    ported: int
    as_of: datetime
    range_numbers: int = 0
    snapshot_id: str = ""
    by_operator: Mapping[str, int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RowCount:
    """The number of data rows that a file states, and the number that it has."""

    file: str
    stated: int
    actual: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """Malformed rows that were skipped; ``places`` names the first of them, masked."""

    rows: int
    of_rows: int
    places: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PortDates:
    """When the numbers were ported.

    ``newest``: the latest time that is not ahead of the data's own, None where there is none.
    ``ahead``: how many lie further ahead of the data's own time than the limit allows.
    ``dated``: how many numbers have a time.
    """

    newest: datetime | None
    ahead: int
    dated: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowDates:
    """When the changes of a window of increments took place.

    ``time``: the time in its files' names. ``middle``: half of the changes are not later.
    ``dated``: how many have a time.
    """

    name: str
    time: datetime
    middle: datetime
    dated: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownOperators:
    """Operators that the operator table lacks.

    ``codes``: their codes with what refers to them, e.g. "mX (3 numbers)". ``numbers``: their
    ported numbers. ``share``: their share of the ported numbers, or of the ranges if that is
    larger. ``where``: the first place.
    """

    codes: Sequence[str] = ()
    numbers: int = 0
    share: float = 0.0
    where: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutsidePlan:
    """Ported numbers that no range covers; ``example`` is masked, ``where`` names file and line."""

    count: int
    example: str = ""
    where: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Movement:
    """How the ported numbers differ from those of the current snapshot.

    ``ported``: records that it does not have. ``returned``: its records that are gone. ``moved``:
    records of another operator. ``updated``: records of the same operator with another route, as
    the registry states it. ``flows``: the largest movements in words, the largest first, e.g.
    "mA to mB 1,200".
    """

    ported: int
    returned: int
    moved: int
    updated: int
    flows: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RangeHolders:
    """Which numbers of the plan have another range holder than in the current snapshot.

    ``numbers``: those that are in both plans, ``changed``: those with another holder. ``lost``: by
    operator, how many it lost and how many it had, the largest loss first. ``flows``: the largest
    changes in words.
    """

    numbers: int
    changed: int
    lost: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    flows: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutingNumbers:
    """Whether routing numbers agree with region and MNC, where a ported number has all three.

    ``usual``: whether they agree in this registry at all. ``examples``: routing numbers that do
    not, with region and MNC.
    """

    numbers: int
    disagreeing: int
    usual: bool
    examples: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """How a full dump differs from the state that was built from increments up to its time.

    ``updated``: numbers of the same operator with another route. ``changed_since``: numbers that
    increments after the dump's time have changed, which are not compared. ``examples`` are masked.
    """

    against: str
    ported: int
    returned: int
    moved: int
    updated: int
    changed_since: int = 0
    examples: Sequence[str] = ()

    @property
    def numbers(self) -> int:
        """The count of numbers that differ."""
        return self.ported + self.returned + self.moved + self.updated


@dataclass(frozen=True, slots=True, kw_only=True)
class WrongNumber:
    """A chosen number that another operator serves than was expected, masked."""

    where: str
    number: str
    expected: str
    actual: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenNumbers:
    """The count of chosen numbers, and those with another operator than expected."""

    numbers: int
    wrong: Sequence[WrongNumber] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """All facts about a new snapshot; None where a fact was not gathered.

    ``as_of``: the time up to which the data is known. ``now``: the clock's time.
    ``ported``: numbers with a record; ``by_operator``: the same by operator code.
    ``range_numbers``: numbers in the numbering plan, 0 without one.
    ``duplicates``: rows whose number has an earlier row too.
    ``sequence``: contradictions between the files' names and those of the current snapshot, in
    words; empty where there are none.
    ``windows``: the windows of increments that have times.
    ``why_not``: by the name of a check, why a fact that it needs was not gathered.
    """

    as_of: datetime
    now: datetime | None = None
    ported: int | None = None
    by_operator: Mapping[str, int] | None = None
    range_numbers: int | None = None
    previous: Previous | None = None
    row_counts: Sequence[RowCount] | None = None
    rejected: Rejected | None = None
    duplicates: int | None = None
    sequence: Sequence[str] | None = None
    port_dates: PortDates | None = None
    windows: Sequence[WindowDates] = ()
    unknown_operators: UnknownOperators | None = None
    outside_plan: OutsidePlan | None = None
    movement: Movement | None = None
    range_holders: RangeHolders | None = None
    routing_numbers: RoutingNumbers | None = None
    drift: Drift | None = None
    chosen: ChosenNumbers | None = None
    why_not: Mapping[str, str] = field(default_factory=dict)

    @property
    def days(self) -> float:
        """Return the days from the current snapshot's data to these; 0 where there is none."""
        if self.previous is None:
            return 0.0
        return (self.as_of - self.previous.as_of).total_seconds() / 86_400
