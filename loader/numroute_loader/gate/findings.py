"""The facts about a new snapshot, the findings of the gate, one per check, and its error."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from numroute.errors import NumrouteError
from numroute.index import Changes, Metadata
from numroute_loader.merge import OutsidePlan, UnknownOperator
from numroute_loader.reading.description import ParsedFile

READ_BACK = "read_back"
"""The check that the store makes after writing. It cannot be overruled: a file that does not read
as it was written cannot be published."""

NAMED_MAX = 5
"""How many rows, files, operators or numbers a message names; the rest are counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RangeHolders:
    """Which numbers of the plan have another range holder than in the current snapshot.

    ``numbers``: those that are in both plans, ``changed``: those with another holder. ``lost``: by
    operator, how many it lost and how many it had, the largest loss first. ``flows``: the largest
    changes in words.
    """

    numbers: int
    changed: int
    lost: Mapping[str, tuple[int, int]]
    flows: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutingNumbers:
    """Whether routing numbers agree with region and MNC, where a ported number has all three.

    ``usual``: whether they agree in this registry at all. ``examples``: some that do not.
    """

    numbers: int
    disagreeing: int
    usual: bool
    examples: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift(Changes):
    """In how many numbers a full dump differs from the state that increments made up to its time.

    ``changed_since``: numbers that later increments changed, which are not compared. ``examples``
    are masked.
    """

    changed_since: int
    examples: Sequence[str]

    @property
    def numbers(self) -> int:
        """The count of numbers that differ."""
        return self.ported + self.returned + self.moved + self.updated


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """All facts about a new snapshot; one that is None was not gathered.

    ``ported``: numbers with a record, ``by_operator``: the same by operator, ``ported_at``:
    when the new records were ported, in seconds since the epoch, 0 where that is unknown.
    ``ranges``, ``range_numbers``: the numbering plan's. ``unknown_operators``: those that the
    operator table lacks. ``where``: by check, the first place in the files, in words.

    ``current`` is the snapshot to compare with; ``ported_before`` and ``by_operator_before`` count
    its records, ``changes`` those since; ``updated`` there are records of the same operator with
    another route, as the registry states it. ``flows``: the largest movements in words.

    ``drift`` may say instead why it could not be compared. ``sequence``: contradictions between the
    files' names and those of the current snapshot. ``expected``: how many expectations there are,
    ``wrong``: those that are not met.
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
    drift: Drift | str = "only a full dump shows it"
    expected: int | None = None
    wrong: Sequence[str] = ()
    where: Mapping[str, str] = field(default_factory=dict)

    @property
    def days(self) -> float:
        """The days from the current snapshot's data to these; 0 where there is none."""
        if self.current is None:
            return 0.0
        return (self.as_of - self.current.as_of).total_seconds() / 86_400


class Outcome(enum.Enum):
    """How a check ended; ``NOT_CHECKED`` where there was nothing to compare with.

    ``WARNING`` is a defect that does not make the new snapshot worse than the current one.
    """

    PASSED = "passed"
    WARNING = "warning"
    FAILED = "FAILED"
    ALLOWED = "allowed"
    NOT_CHECKED = "not checked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The outcome of one check, in words in ``message``; ``actual`` and ``limit`` as figures."""

    outcome: Outcome
    message: str
    check: str = ""
    actual: float | None = None
    limit: float | None = None
    hint: str = ""


class GateError(NumrouteError):
    """The gate refused; the current snapshot stays current."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        """Name every check that failed, with what to do."""
        failed = [finding for finding in findings if finding.outcome is Outcome.FAILED]
        super().__init__(
            "refused by the gate: " + "; ".join(f"{f.check}: {f.message}" for f in failed),
            hint=" ".join(dict.fromkeys(f.hint for f in failed))
            + " To publish all the same: "
            + " ".join(f"--allow {f.check}" for f in failed)
            + " --reason TEXT",
        )
        self.checks = tuple(finding.check for finding in failed)


def finding(
    message: str, *, actual: float, limit: float, hint: str, failed: bool | None = None
) -> Finding:
    """Return a finding; it failed where ``actual`` is above the limit, unless ``failed`` says."""
    bad = actual > limit if failed is None else failed
    outcome = Outcome.FAILED if bad else Outcome.PASSED
    return Finding(outcome=outcome, message=message, actual=actual, limit=limit, hint=hint)


def named(items: Sequence[str], separator: str = ", ") -> str:
    """Return the first few items in words, and how many more there are."""
    more = len(items) - NAMED_MAX
    return separator.join(items[:NAMED_MAX]) + (f" and {more:,} more" if more > 0 else "")


def read_back(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Return the findings as they are once the store has verified the file that it wrote.

    The store records a snapshot in its history only after that, so the finding is true there.
    """
    verified = "the written file was read back: every byte is as intended"
    return tuple(
        replace(each, outcome=Outcome.PASSED, message=verified) if each.check == READ_BACK else each
        for each in findings
    )


def documents(findings: Sequence[Finding], *, reason: str) -> list[dict[str, Any]]:
    """Return the findings as the history keeps them; ``reason`` says why failed ones are allowed.

    Passed checks are kept by their figures; the others keep their words too.
    """
    return [
        {
            "check": finding.check,
            "outcome": finding.outcome.value,
            "actual": finding.actual,
            "limit": finding.limit,
            **({"message": finding.message} if finding.outcome is not Outcome.PASSED else {}),
            **({"reason": reason} if finding.outcome is Outcome.ALLOWED else {}),
        }
        for finding in findings
    ]
