"""The gate before a snapshot becomes current: it judges facts against limits, check by check.

``Evidence`` holds the facts, ``judge`` returns one ``Finding`` per check, and ``GateError`` names
those that failed. The gate knows no registry and reads no file but its own settings. A new check is
a function in ``file_checks`` or ``change_checks``, a line in the table below, its limits in
``limits`` and its facts in ``findings``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace

from numroute_loader.gate import change_checks, file_checks
from numroute_loader.gate.findings import READ_BACK, Evidence, Finding, GateError, Outcome
from numroute_loader.gate.limits import Approval, GateLimits

__all__ = [
    "CHECKS",
    "OVERRIDABLE",
    "Approval",
    "Evidence",
    "Finding",
    "GateError",
    "GateLimits",
    "Outcome",
    "judge",
]


def _not_written(_evidence: Evidence, _limits: GateLimits) -> Finding | str:
    return "nothing has been written yet: the file is read back before it is published"


_CHECKS: Mapping[str, Callable[[Evidence, GateLimits], Finding | str]] = {
    "row_count": file_checks.row_count,
    "rejected_rows": file_checks.rejected_rows,
    "duplicates": file_checks.duplicates,
    "sequence": file_checks.sequence,
    "age": file_checks.age,
    "clock": file_checks.clock,
    "port_dates": file_checks.port_dates,
    "unknown_operators": file_checks.unknown_operators,
    "outside_plan": file_checks.outside_plan,
    "routing_numbers": file_checks.routing_numbers,
    "chosen_numbers": file_checks.chosen_numbers,
    "shrinkage": change_checks.shrinkage,
    "plan_shrinkage": change_checks.plan_shrinkage,
    "range_holders": change_checks.range_holders,
    "growth": change_checks.growth,
    "operator_change": change_checks.operator_change,
    "movement": change_checks.movement,
    "updates": change_checks.updates,
    "drift": change_checks.drift,
    READ_BACK: _not_written,
}

CHECKS = tuple(_CHECKS)
"""The names of all checks, in the order of the findings."""

OVERRIDABLE = tuple(name for name in CHECKS if name != READ_BACK)
"""The checks that may be allowed to fail."""


def judge(
    evidence: Evidence, limits: GateLimits, *, allowed: Collection[str] = ()
) -> tuple[Finding, ...]:
    """Return one finding per check, in the order of ``CHECKS``.

    ``allowed`` names checks that may fail. A check whose facts were not gathered is
    ``NOT_CHECKED``, and its message says why.
    """
    findings = []
    for name, check in _CHECKS.items():
        result = check(evidence, limits)
        if isinstance(result, str):
            reason = evidence.why_not.get(name, result)
            result = Finding(outcome=Outcome.NOT_CHECKED, message=reason)
        elif result.outcome is Outcome.FAILED and name in allowed:
            result = replace(result, outcome=Outcome.ALLOWED)
        findings.append(replace(result, check=name))
    return tuple(findings)
