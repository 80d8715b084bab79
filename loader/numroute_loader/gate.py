"""The gate before a snapshot becomes current: what was merged is judged against limits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from numroute.errors import NumrouteError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numroute_loader.merge import MergeReport


@dataclass(frozen=True, slots=True, kw_only=True)
class GateLimits:
    """How much of each finding a snapshot may have.

    ``outside_plan_share``: ported numbers that no range covers, as a share of all. The plan and the
    dump of one day are made minutes apart, so a few are normal; a plan of another month shows here.
    ``unknown_operators``: codes that the operator table lacks. A message to such an operator could
    not be routed by anything but its code.
    """

    outside_plan_share: float = 0.001
    unknown_operators: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The outcome of one check: ``actual`` against ``limit``, in words in ``message``."""

    check: str
    passed: bool
    actual: float
    limit: float
    message: str
    hint: str = ""


class GateError(NumrouteError):
    """The gate refused; the snapshot that was current stays current."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        """Name every check that failed, with what to do."""
        failed = [finding for finding in findings if not finding.passed]
        super().__init__(
            "refused by the gate: " + "; ".join(f"{f.check}: {f.message}" for f in failed),
            hint=" ".join(dict.fromkeys(f.hint for f in failed)),
        )
        self.findings = tuple(findings)


def judge(
    report: MergeReport,
    limits: GateLimits,
    *,
    where_unknown: str = "",
    where_outside: str = "",
) -> tuple[Finding, ...]:
    """Return one finding per check, failed ones among them.

    ``where_unknown`` and ``where_outside`` name the file and line of the first occurrence.
    """
    outside = report.outside_plan
    outside_count = outside.count if outside else 0
    share = outside_count / report.ported if report.ported else 0.0
    unknown = report.unknown_operators
    return (
        Finding(
            check="outside_plan",
            passed=share <= limits.outside_plan_share,
            actual=share,
            limit=limits.outside_plan_share,
            message=(
                f"{outside_count} of {report.ported} ported numbers lie outside the numbering plan "
                f"({share:.2%}, the limit is {limits.outside_plan_share:.2%}), "
                f"the first is {outside.example}{where_outside}"
                if outside
                else "every ported number lies in the numbering plan"
            ),
            hint="Give the numbering plan of the dump's own day.",
        ),
        Finding(
            check="unknown_operators",
            passed=len(unknown) <= limits.unknown_operators,
            actual=len(unknown),
            limit=limits.unknown_operators,
            message=(
                "the operator table lacks "
                + ", ".join(
                    f"{each.code} ({each.numbers} numbers, {each.ranges} ranges)"
                    for each in unknown[:5]
                )
                + (f" and {len(unknown) - 5} more" if len(unknown) > 5 else "")  # noqa: PLR2004
                + where_unknown
                if unknown
                else "every operator is in the operator table"
            ),
            hint="Give the operator table of the dump's own day.",
        ),
    )
