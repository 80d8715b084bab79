"""The gate before a snapshot becomes current: what was merged is judged against limits."""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from numroute.errors import NumrouteError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime

    from numroute_loader.merge import MergeReport

_OPERATORS_NAMED_MAX = 5
"""How many unknown operators a message names; the rest are counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GateLimits:
    """How much of each finding a snapshot may have.

    ``outside_plan_share``: ported numbers that no range covers, as a share of all. The plan and the
    dump of one day are made minutes apart, so a few are normal; a plan of another month shows here.
    ``unknown_operators``: codes that the operator table lacks. A message to such an operator could
    not be routed by anything but its code.
    ``shrinkage_share``: ported numbers fewer than in the current snapshot, as a share of its. Ports
    accumulate, so a tenth less is no day's work but half a file.
    """

    outside_plan_share: float = 0.001
    unknown_operators: int = 0
    shrinkage_share: float = 0.1


class Outcome(enum.Enum):
    """How a check ended; ``NOT_CHECKED`` where there was nothing to compare with."""

    PASSED = "passed"
    FAILED = "FAILED"
    ALLOWED = "allowed"
    NOT_CHECKED = "not checked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The outcome of one check, in words in ``message``; ``actual`` and ``limit`` as figures."""

    check: str
    outcome: Outcome
    message: str
    actual: float | None = None
    limit: float | None = None
    hint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Previous:
    """The snapshot that is current now: what a new one is compared with."""

    ported: int
    as_of: datetime


CHECKS = ("outside_plan", "unknown_operators", "shrinkage", "age")
"""The names of all checks, in the order of the findings."""


class GateError(NumrouteError):
    """The gate refused; the snapshot that was current stays current."""

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
        self.findings = tuple(findings)


def judge(
    report: MergeReport,
    as_of: datetime,
    limits: GateLimits,
    *,
    previous: Previous | None = None,
    allowed: Collection[str] = (),
    where_unknown: str = "",
    where_outside: str = "",
) -> tuple[Finding, ...]:
    """Return one finding per check, failed ones among them.

    ``allowed`` names checks that may fail. ``where_unknown`` and ``where_outside`` name the file
    and line of the first occurrence.
    """
    findings = (
        _outside_plan(report, limits, where_outside),
        _unknown_operators(report, limits, where_unknown),
        _shrinkage(report, limits, previous),
        _age(as_of, previous),
    )
    return tuple(
        replace(finding, outcome=Outcome.ALLOWED)
        if finding.outcome is Outcome.FAILED and finding.check in allowed
        else finding
        for finding in findings
    )


def _outcome(*, passed: bool) -> Outcome:
    return Outcome.PASSED if passed else Outcome.FAILED


def _outside_plan(report: MergeReport, limits: GateLimits, where: str) -> Finding:
    if not report.ported or not report.ranges:
        lacking = "ported numbers" if not report.ported else "numbering plan"
        return Finding(
            check="outside_plan", outcome=Outcome.NOT_CHECKED, message=f"there is no {lacking}"
        )
    outside = report.outside_plan
    count = outside.count if outside else 0
    share = count / report.ported
    return Finding(
        check="outside_plan",
        outcome=_outcome(passed=share <= limits.outside_plan_share),
        actual=share,
        limit=limits.outside_plan_share,
        message=(
            f"{count} of {report.ported} ported numbers lie outside the numbering plan "
            f"({share:.2%}, the limit is {limits.outside_plan_share:.2%}), "
            f"the first is {outside.example}{where}"
            if outside
            else "every ported number lies in the numbering plan"
        ),
        hint="Give the numbering plan of the dump's own day.",
    )


def _unknown_operators(report: MergeReport, limits: GateLimits, where: str) -> Finding:
    if not report.operator_rows:
        return Finding(
            check="unknown_operators",
            outcome=Outcome.NOT_CHECKED,
            message="there is no operator table",
        )
    unknown = report.unknown_operators
    named = ", ".join(
        f"{each.code} ({each.numbers} numbers, {each.ranges} ranges)"
        for each in unknown[:_OPERATORS_NAMED_MAX]
    )
    more = len(unknown) - _OPERATORS_NAMED_MAX
    return Finding(
        check="unknown_operators",
        outcome=_outcome(passed=len(unknown) <= limits.unknown_operators),
        actual=len(unknown),
        limit=limits.unknown_operators,
        message=(
            f"the operator table lacks {named}{f' and {more} more' if more > 0 else ''}{where}"
            if unknown
            else "every operator is in the operator table"
        ),
        hint="Give the operator table of the dump's own day.",
    )


def _shrinkage(report: MergeReport, limits: GateLimits, previous: Previous | None) -> Finding:
    if previous is None or not previous.ported:
        return Finding(
            check="shrinkage",
            outcome=Outcome.NOT_CHECKED,
            message="there is no current snapshot with ported numbers to compare with",
        )
    share = max(0.0, 1 - report.ported / previous.ported)
    return Finding(
        check="shrinkage",
        outcome=_outcome(passed=share <= limits.shrinkage_share),
        actual=share,
        limit=limits.shrinkage_share,
        message=(
            f"{report.ported} ported numbers, the current snapshot has {previous.ported}"
            + (f": {share:.2%} fewer, the limit is {limits.shrinkage_share:.2%}" if share else "")
        ),
        hint="Give the whole dump of the day.",
    )


def _age(as_of: datetime, previous: Previous | None) -> Finding:
    if previous is None:
        return Finding(
            check="age",
            outcome=Outcome.NOT_CHECKED,
            message="there is no current snapshot to compare with",
        )
    behind = (previous.as_of - as_of).total_seconds()
    return Finding(
        check="age",
        outcome=_outcome(passed=behind <= 0),
        actual=behind,
        limit=0,
        message=f"data as of {as_of.isoformat()}, the current snapshot's is "
        + ("newer: " if behind > 0 else "")
        + f"as of {previous.as_of.isoformat()}",
        hint="Give the newest dump; --as-of TIME says of when a file without a date is.",
    )
