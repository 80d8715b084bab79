"""The facts about a new snapshot that the gate judges. A fact that is None was not gathered."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    import numpy as np
    from numpy.typing import NDArray

    from numroute.index import Changes, Metadata
    from numroute_loader.merge import OutsidePlan, UnknownOperator
    from numroute_loader.reading.description import ParsedFile


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

    ``usual``: whether they agree in this registry at all. ``examples``: some that do not.
    """

    numbers: int
    disagreeing: int
    usual: bool
    examples: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """In how many numbers a full dump differs from the state that increments made up to its time.

    ``updated``: numbers of the same operator with another route. ``changed_since``: numbers that
    later increments changed, which are not compared. ``examples`` are masked.
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
class Evidence:
    """All facts about a new snapshot.

    ``ported``: numbers with a record, ``by_operator``: the same by operator code, ``ported_at``:
    when the new records were ported, in seconds since the epoch, 0 where that is unknown.
    ``ranges``, ``range_numbers``: the numbering plan's, 0 without one. ``unknown_operators``: those
    that the operator table lacks.

    ``current`` is the snapshot to compare with; ``ported_before`` and ``by_operator_before`` count
    its records, ``changes`` those since; ``updated`` there are records of the same operator with
    another route, as the registry states it. ``flows``: the largest movements in words.

    ``sequence``: contradictions between the files' names and those of the current snapshot.
    ``expected``: how many expectations there are, ``wrong``: those that are not met.
    ``why_not``: by check, why a fact that it needs was not gathered.
    """

    as_of: datetime
    files: Sequence[ParsedFile]
    ported: int
    by_operator: Mapping[str, int]
    ported_at: NDArray[np.uint32] | None
    ranges: int = 0
    range_numbers: int | None = None
    current: Metadata | None = None
    ported_before: int = 0
    by_operator_before: Mapping[str, int] | None = None
    changes: Changes | None = None
    flows: Sequence[str] = ()
    sequence: Sequence[str] | None = None
    unknown_operators: Sequence[UnknownOperator] | None = None
    outside_plan: OutsidePlan | None = None
    range_holders: RangeHolders | None = None
    routing_numbers: RoutingNumbers | None = None
    drift: Drift | None = None
    expected: int | None = None
    wrong: Sequence[str] = ()
    why_not: Mapping[str, str] = field(default_factory=dict)

    @property
    def days(self) -> float:
        """The days from the current snapshot's data to these; 0 where there is none."""
        if self.current is None:
            return 0.0
        return (self.as_of - self.current.as_of).total_seconds() / 86_400
