"""The gate before a snapshot becomes current: facts are judged against limits, one check at a time.

``Evidence`` holds what is known of the snapshot that is to be, ``judge`` returns one ``Finding``
per check, and ``GateError`` names those that failed. The gate knows no registry and reads no file
but its own settings: those who read the files gather the evidence.
"""

from numroute_loader.gate.evidence import (
    ChosenNumbers,
    Drift,
    Evidence,
    Movement,
    OutsidePlan,
    PortDates,
    Previous,
    Rejected,
    RowCount,
    UnknownOperators,
    WindowDates,
    WrongNumber,
)
from numroute_loader.gate.findings import Finding, GateError, Outcome, documents, passed, read_back
from numroute_loader.gate.judging import CHECKS, OVERRIDABLE, judge
from numroute_loader.gate.limits import GateLimits, LimitsFile, limits_from

__all__ = [
    "CHECKS",
    "OVERRIDABLE",
    "ChosenNumbers",
    "Drift",
    "Evidence",
    "Finding",
    "GateError",
    "GateLimits",
    "LimitsFile",
    "Movement",
    "Outcome",
    "OutsidePlan",
    "PortDates",
    "Previous",
    "Rejected",
    "RowCount",
    "UnknownOperators",
    "WindowDates",
    "WrongNumber",
    "documents",
    "judge",
    "limits_from",
    "passed",
    "read_back",
]
