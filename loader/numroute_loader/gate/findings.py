"""Findings, one per check, and the error that is raised when a check failed."""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from numroute.errors import NumrouteError

if TYPE_CHECKING:
    from collections.abc import Sequence

READ_BACK = "read_back"
"""The check that the store makes after writing. It cannot be overruled: a file that does not read
as it was written cannot be published."""

NAMED_MAX = 5
"""How many rows, files, operators or numbers a message names; the rest are counted."""


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
        self.findings = tuple(findings)


def finding(
    passed: bool,  # noqa: FBT001 - a finding is about this
    message: str,
    *,
    actual: float,
    limit: float,
    hint: str,
) -> Finding:
    """Return a finding that passed or failed."""
    outcome = Outcome.PASSED if passed else Outcome.FAILED
    return Finding(outcome=outcome, message=message, actual=actual, limit=limit, hint=hint)


def named(items: Sequence[str], separator: str = ", ") -> str:
    """Return the first few items in words, and how many more there are."""
    more = len(items) - NAMED_MAX
    rest = f"{separator.strip(' ,')} and {more:,} more" if more > 0 else ""
    return separator.join(items[:NAMED_MAX]) + rest


def passed(findings: Sequence[Finding]) -> bool:
    """Return whether no check failed that was not allowed to."""
    return all(finding.outcome is not Outcome.FAILED for finding in findings)


def read_back(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Return the findings as they are once the store has verified the file that it wrote.

    The store records a snapshot in its history only after that, so the finding is true there.
    """
    verified = "the written file was read back: every byte is as intended"
    return tuple(
        replace(each, outcome=Outcome.PASSED, message=verified) if each.check == READ_BACK else each
        for each in findings
    )


def documents(findings: Sequence[Finding], *, reason: str = "") -> list[dict[str, Any]]:
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
