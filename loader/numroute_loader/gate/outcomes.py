"""How a check says that it passed, failed, or could not be made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from numroute_loader.gate.findings import Finding, Outcome

if TYPE_CHECKING:
    from numroute_loader.gate.evidence import Evidence


def outcome(*, passed: bool) -> Outcome:
    """Return ``PASSED`` or ``FAILED``."""
    return Outcome.PASSED if passed else Outcome.FAILED


def not_checked(check: str, evidence: Evidence, why: str) -> Finding:
    """Return the finding of a check without facts; the evidence may know better than ``why``."""
    return Finding(
        check=check, outcome=Outcome.NOT_CHECKED, message=evidence.why_not.get(check, why)
    )
