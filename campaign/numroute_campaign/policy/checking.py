"""Rules that can never decide: found before a list is read, from the table of all routes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from numroute.model import Status
from numroute_campaign.policy.document import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numroute.model import Route
    from numroute_campaign.policy.rules import Policy, Rule


def rules_that_never_match(policy: Policy, routes: Sequence[Route] | None) -> tuple[str, ...]:
    """Return a warning for each rule that can never decide.

    Args:
        policy: The rules.
        routes: All routes that may be answered; None when they are not known beforehand: then only
            rules behind one without a condition are found.
    """
    warnings: list[str] = []
    if routes is None:
        everything: Rule | None = None
        for rule in policy.rules:
            if everything is not None:
                warnings.append(_text(policy, rule, f"{everything.name!r} before it takes all"))
            elif rule.matches_everything:
                everything = rule
        return tuple(warnings)
    served = [route for route in routes if route.status in {Status.PORTED, Status.NOT_PORTED}]
    taken_by: dict[int, Rule] = {}
    for rule in policy.rules:
        matched = [i for i, route in enumerate(served) if rule.matches(route)]
        if not matched:
            warnings.append(_text(policy, rule, _unknown_word(rule, served)))
        elif all(i in taken_by for i in matched):
            names = sorted({repr(taken_by[i].name) for i in matched})
            warnings.append(_text(policy, rule, f"{', '.join(names[:3])} before it takes all"))
        for i in matched:
            taken_by.setdefault(i, rule)
    return tuple(warnings)


def _text(policy: Policy, rule: Rule, why: str) -> str:
    return f"{policy.name}:{rule.line}: rule {rule.name!r} can never match: {why}"


def _unknown_word(rule: Rule, served: Sequence[Route]) -> str:
    """Say which word of a rule no route has, and which one may be meant."""
    brands = {route.operator.brand for route in served if route.operator.brand}
    operators = {
        text
        for route in served
        for text in (route.operator.code, route.operator.name, route.operator.tax_number)
        if text
    }
    regions = {text for route in served for text in (route.region.code, route.region.name) if text}
    for what, words, known in (
        ("brand", rule.brands, brands),
        ("operator", rule.operators, operators),
        ("region", rule.regions, regions),
    ):
        folded = {each.casefold() for each in known}
        for word in words:
            if "*" not in word and "?" not in word and word.casefold() not in folded:
                return f"the snapshot has no {what} {word!r}. {did_you_mean(word, known)}"
    return "no route of the snapshot has all that it asks for"
