"""What the gate says: one finding per check, and the error when one of them failed."""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from numroute.errors import NumrouteError

if TYPE_CHECKING:
    from collections.abc import Sequence

READ_BACK = "read_back"
"""The check that the store makes after writing, and that cannot be overruled: without a file that
reads as it was written there is nothing to publish."""


class Outcome(enum.Enum):
    """How a check ended; ``NOT_CHECKED`` where there was nothing to compare with.

    ``WARNING`` is a failure that publishing would not make worse.
    """

    PASSED = "passed"
    WARNING = "warning"
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


def passed(findings: Sequence[Finding]) -> bool:
    """Return whether no check failed that was not allowed to."""
    return all(finding.outcome is not Outcome.FAILED for finding in findings)


def read_back(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Return the findings as they are once the store has verified the file that it wrote.

    The store records a snapshot in its history only after that, so the finding is true there.
    """
    return tuple(
        replace(
            finding,
            outcome=Outcome.PASSED,
            message="the written file was read back: every byte is what was meant",
        )
        if finding.check == READ_BACK
        else finding
        for finding in findings
    )


def documents(findings: Sequence[Finding], *, reason: str = "") -> list[dict[str, Any]]:
    """Return the findings as the history keeps them; ``reason`` says why failed ones are allowed.

    What was passed is kept by its figures; the others keep their words too.
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
