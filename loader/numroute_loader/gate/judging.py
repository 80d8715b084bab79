"""All checks in their order, and what may be overruled."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from numroute_loader.gate import of_change, of_content, of_files
from numroute_loader.gate.findings import READ_BACK, Finding, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from numroute_loader.gate.evidence import Evidence
    from numroute_loader.gate.limits import GateLimits


def _read_back(_evidence: Evidence, _limits: GateLimits) -> Finding:
    return Finding(
        check=READ_BACK,
        outcome=Outcome.NOT_CHECKED,
        message="nothing has been written yet: what is published is read back first",
    )


_CHECKS: Mapping[str, Callable[[Evidence, GateLimits], Finding]] = {
    "row_count": of_files.row_count,
    "rejected_rows": of_files.rejected_rows,
    "duplicates": of_files.duplicates,
    "sequence": of_files.sequence,
    "age": of_files.age,
    "clock": of_files.clock,
    "port_dates": of_files.port_dates,
    "unknown_operators": of_content.unknown_operators,
    "outside_plan": of_content.outside_plan,
    "chosen_numbers": of_content.chosen_numbers,
    "shrinkage": of_change.shrinkage,
    "plan_shrinkage": of_change.plan_shrinkage,
    "growth": of_change.growth,
    "operator_change": of_change.operator_change,
    "movement": of_change.movement,
    "drift": of_change.drift,
    READ_BACK: _read_back,
}

CHECKS = tuple(_CHECKS)
"""The names of all checks, in the order of the findings."""

OVERRIDABLE = tuple(name for name in CHECKS if name != READ_BACK)
"""The checks that may be allowed to fail."""


def judge(
    evidence: Evidence, limits: GateLimits, *, allowed: Collection[str] = ()
) -> tuple[Finding, ...]:
    """Return one finding per check, in the order of ``CHECKS``, failed ones among them.

    ``allowed`` names checks that may fail. A check whose facts are None in the evidence is
    ``NOT_CHECKED``, and its message says why.
    """
    return tuple(
        replace(finding, outcome=Outcome.ALLOWED)
        if finding.outcome is Outcome.FAILED and finding.check in allowed
        else finding
        for finding in (check(evidence, limits) for check in _CHECKS.values())
    )
