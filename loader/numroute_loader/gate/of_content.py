"""Checks of what the files became: does it agree with the operators, the plan and what is known?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from numroute_loader.gate.findings import Finding, Outcome
from numroute_loader.gate.outcomes import not_checked, outcome

if TYPE_CHECKING:
    from numroute_loader.gate.evidence import Evidence
    from numroute_loader.gate.limits import GateLimits

_NAMED_MAX = 5
"""How many operators or numbers a message names; the rest are counted."""


def unknown_operators(evidence: Evidence, limits: GateLimits) -> Finding:
    """Is every operator in the registry's operator table?"""
    unknown = evidence.unknown_operators
    if unknown is None:
        return not_checked("unknown_operators", evidence, "there is no operator table")
    named = ", ".join(unknown.named[:_NAMED_MAX])
    more = len(unknown.named) - _NAMED_MAX
    return Finding(
        check="unknown_operators",
        outcome=Outcome.WARNING
        if unknown.named and unknown.may_be_new
        else outcome(passed=len(unknown.named) <= limits.unknown_operators),
        actual=len(unknown.named),
        limit=limits.unknown_operators,
        message=(
            f"the operator table lacks {named}{f' and {more} more' if more > 0 else ''}"
            f"{unknown.where}"
            if unknown.named
            else "every operator is in the operator table"
        ),
        hint="Give the operator table of the dump's own day.",
    )


def outside_plan(evidence: Evidence, limits: GateLimits) -> Finding:
    """Do the ported numbers lie in the numbering plan?"""
    outside, ported = evidence.outside_plan, evidence.ported
    if outside is None or not ported:
        lacking = "numbering plan" if ported else "ported numbers"
        return not_checked("outside_plan", evidence, f"there is no {lacking}")
    share = outside.count / ported
    return Finding(
        check="outside_plan",
        outcome=outcome(passed=share <= limits.outside_plan_share),
        actual=share,
        limit=limits.outside_plan_share,
        message=(
            f"{outside.count} of {ported} ported numbers lie outside the numbering plan "
            f"({share:.2%}, the limit is {limits.outside_plan_share:.2%}), "
            f"the first is {outside.example}{outside.where}"
            if outside.count
            else "every ported number lies in the numbering plan"
        ),
        hint="Give the numbering plan of the dump's own day.",
    )


def chosen_numbers(evidence: Evidence, limits: GateLimits) -> Finding:
    """Do the chosen numbers have the operators that are expected of them?"""
    chosen = evidence.chosen
    if chosen is None:
        return not_checked("chosen_numbers", evidence, "no numbers were chosen with --expect FILE")
    wrong = chosen.wrong
    named = "; ".join(
        f"{each.where}: {each.number} is served by {each.actual}, {each.expected} is expected"
        for each in wrong[:_NAMED_MAX]
    )
    more = len(wrong) - _NAMED_MAX
    return Finding(
        check="chosen_numbers",
        outcome=outcome(passed=len(wrong) <= limits.chosen_numbers),
        actual=len(wrong),
        limit=limits.chosen_numbers,
        message=(
            f"{len(wrong)} of {chosen.numbers} chosen numbers are not as expected: {named}"
            f"{f'; and {more} more' if more > 0 else ''}"
            if wrong
            else f"all {chosen.numbers} chosen numbers are as expected"
        ),
        hint="Ask who serves these numbers; when they were ported, correct the file of --expect.",
    )
