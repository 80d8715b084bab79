"""Policy files: rules in order; the first that matches a route decides where its numbers go.

Without a file each operator's brand is an output route.
"""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final, TypeVar

import msgspec

from numroute.errors import InputError
from numroute.model import Route, Status
from numroute_campaign.conditions import (
    Conditions,
    Texts,
    any_matches,
    check_words,
    convert,
    did_you_mean,
    read_toml,
)
from numroute_campaign.templates import Template
from numroute_campaign.vocabulary import Decision, Phrase, Reject
from numroute_campaign.windows import Window, offset_of, parse_offset

Document = TypeVar("Document")

RULES_MAX: Final = 10_000

_STATUSES: Final = tuple(status.name for status in Status if status.has_route)
_ROUTE: Final = re.compile(r"[\w.-]{1,60}")
_AGE: Final = re.compile(r"(\d{1,4})([mhd])")
_SECONDS: Final = {"m": 60, "h": 3600, "d": 86_400}


def _check_route(key: str, text: str) -> None:
    if text and not _ROUTE.fullmatch(text):
        raise ValueError(
            f"{key}: invalid route name {text!r}. A route's files are named after it: use up to "
            "60 letters, digits, - _ and ."
        )


class Rule(Conditions, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A ``[[rule]]``: conditions, and either an output route or ``exclude``.

    Attributes:
        status: ``PORTED``, ``NOT_PORTED`` or ``RANGE_ONLY``.
        ported_within: Only numbers ported this long before the run: ``90m``, ``24h``, ``3d``.
        window: The name of the send window.
        template: The name of the output template of the route; the file's own if empty.
    """

    name: str = ""
    status: Texts = ()
    ported_within: str = ""
    route: str = ""
    exclude: bool = False
    window: str = ""
    template: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_words("status", self.status, _STATUSES)
        if self.exclude == bool(self.route):
            raise ValueError('the rule needs either route = "NAME" or exclude = true')
        if self.exclude and (self.window or self.template):
            raise ValueError("a rule that excludes has no window and no template")
        if self.ported_within and not _AGE.fullmatch(self.ported_within):
            raise ValueError(
                f'ported_within: invalid time {self.ported_within!r}. Write e.g. "24h", "90m", "3d"'
            )
        _check_route("route", self.route)

    @property
    def matches_everything(self) -> bool:
        """Whether the rule has no condition."""
        names = (*Conditions.__struct_fields__, "status", "ported_within")
        return not any(getattr(self, name) for name in names)

    def decides(self, route: Route, *, recently_ported: bool) -> bool:
        """Return whether the rule applies to the numbers of a route, recently ported or not."""
        return (
            (recently_ported or not self.ported_within)
            and any_matches(self.status, route.status.name)
            and self.matches(route)
        )


class Fallback(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[fallback]``: output routes of numbers that no rule decides; empty rejects them.

    Attributes:
        unallocated: Of numbers that no operator holds.
        not_covered: Of numbers that no plan covers and that are not foreign.
        foreign: Of numbers of other countries.
        unmatched: Of numbers that no rule matches.
    """

    unallocated: str = ""
    not_covered: str = ""
    foreign: str = ""
    unmatched: str = ""

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            _check_route(name, getattr(self, name))


class PolicyFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The tables of a policy file; ``use_template``: of routes whose rules name none."""

    use_template: str = ""
    rule: Annotated[tuple[Rule, ...], msgspec.Meta(max_length=RULES_MAX)] = ()
    fallback: Fallback = msgspec.field(default_factory=Fallback)
    window: dict[str, dict[str, object]] = {}
    template: dict[str, dict[str, object]] = {}
    time_zones: dict[str, str] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The rules of a file; without any, one output route per brand.

    Attributes:
        name: The file's name; empty where there is no file.
        offsets: Minutes east of UTC by region, before the built-in table.
        templates: Output templates by route; other routes have none.
    """

    name: str = ""
    rules: tuple[Rule, ...] = ()
    fallback: Fallback = field(default_factory=Fallback)
    windows: Mapping[str, Window] = field(default_factory=dict)
    offsets: Mapping[str, int] = field(default_factory=dict)
    templates: Mapping[str, Template] = field(default_factory=dict)

    @property
    def list_columns(self) -> tuple[str, ...]:
        """The columns of the list that the templates write."""
        names = (name for each in self.templates.values() for name in each.list_columns)
        return tuple(dict.fromkeys(names))

    @property
    def has_windows(self) -> bool:
        """Whether a rule limits the time of sending."""
        return any(rule.window for rule in self.rules)

    def ported_since(self) -> int:
        """Return the Unix time since which a number is recently ported; 0 if no rule asks."""
        ages = [_AGE.fullmatch(rule.ported_within) for rule in self.rules]
        seconds = next((int(age[1]) * _SECONDS[age[2]] for age in ages if age), 0)
        return int(time.time()) - seconds if seconds else 0

    def decide(self, route: Route, *, is_marked: bool = False) -> Decision:
        """Decide about the numbers of a route.

        ``is_marked``: they are recently ported where the route is of ported numbers, else foreign.
        """
        recently_ported = is_marked and route.status is Status.PORTED
        if is_marked and not recently_ported:
            return self._fall_back("foreign", Reject.FOREIGN)
        if not route.status.has_route:
            reject = Reject[route.status.name]
            return self._fall_back(reject.name.lower(), reject)
        if not self.name:
            operator = route.operator
            destination = operator.brand or operator.name or operator.code or "unknown-operator"
            return Decision(destination=destination)
        for rule in self.rules:
            if rule.decides(route, recently_ported=recently_ported):
                return self._apply(rule, route)
        return self._fall_back("unmatched", Reject.NO_RULE)

    def _fall_back(self, name: str, reject: Reject) -> Decision:
        destination = getattr(self.fallback, name)
        if destination:
            return Decision(destination=destination, rule=f"fallback.{name}")
        return Decision(reject=reject)

    def _apply(self, rule: Rule, route: Route) -> Decision:
        if rule.exclude:
            return Decision(reject=Reject.EXCLUDED, rule=rule.name)
        if not rule.window:
            return Decision(destination=rule.route, rule=rule.name)
        window = self.windows[rule.window]
        offset = self._offset(route)
        if offset is None and window.unknown_time_zone:
            offset = parse_offset("unknown_time_zone", window.unknown_time_zone)
        if offset is None:
            return Decision(reject=Reject.NO_TIME_ZONE, rule=rule.name)
        send_from, send_until = window.utc(offset)
        template = self.templates.get(rule.route)
        by_window = template is not None and template.file_per_window
        return Decision(
            destination=rule.route,
            rule=rule.name,
            send_from=send_from,
            send_until=send_until,
            group=f"{rule.route}-{send_from}-{send_until}".replace(":", "") if by_window else "",
        )

    def _offset(self, route: Route) -> int | None:
        for key in (route.region.name, route.region.code):
            if key and key.casefold() in self.offsets:
                return self.offsets[key.casefold()]
        return offset_of(route.region)


BY_OPERATOR: Final = Policy()
"""The policy without a file: a route per brand, or per operator that has none."""


def read_policy(path: Path) -> Policy:
    """Read and check a policy file; errors as in ``read_toml``."""
    document = read_toml(path, PolicyFile, (PolicyFile, Rule, Fallback))
    windows = _tables(path, "window", document.window, Window)
    rules: list[Rule] = []
    numbers: dict[str, int] = {}
    for number, row in enumerate(document.rule, 1):
        rule = msgspec.structs.replace(row, name=row.name or f"rule {number}")
        if rule.name in numbers:
            raise InputError(
                path,
                f"rule {number} and rule {numbers[rule.name]} have the same name {rule.name!r}",
                hint="Rename one of them",
            )
        if rule.window:
            _check_name(path, f"rule {number}", "window", rule.window, windows)
        ages = {each.ported_within for each in (*rules, rule) if each.ported_within}
        if len(ages) > 1:
            raise InputError(
                path,
                f"rule {number}: ported_within differs from that of an earlier rule",
                hint="Give all rules the same time",
            )
        numbers[rule.name] = number
        rules.append(rule)
    offsets = {}
    for region, text in document.time_zones.items():
        try:
            offsets[region.casefold()] = parse_offset(region, text)
        except ValueError as error:
            raise InputError(path, f"time_zones: {error}") from None
    return Policy(
        name=path.name,
        rules=tuple(rules),
        fallback=document.fallback,
        windows=windows,
        offsets=offsets,
        templates=_templates(path, document, rules),
    )


def _templates(path: Path, document: PolicyFile, rules: Sequence[Rule]) -> dict[str, Template]:
    """Return the template of each route that has one."""
    templates = _tables(path, "template", document.template, Template)
    names: dict[str, str] = {}
    for number, rule in enumerate(rules, 1):
        name = rule.template or document.use_template
        if rule.route and names.setdefault(rule.route, name) != name:
            raise InputError(
                path,
                f"rule {number}: the route {rule.route!r} has the template "
                f"{names[rule.route]!r} in an earlier rule, {name!r} in this one",
                hint="Give a route one template",
            )
        if name and rule.route:
            _check_name(path, f"rule {number}", "template", name, templates)
    if document.use_template:
        _check_name(path, "use_template", "template", document.use_template, templates)
        for route in msgspec.structs.astuple(document.fallback):
            names.setdefault(route, document.use_template)
    return {route: templates[name] for route, name in names.items() if route and name}


def _tables(
    path: Path, key: str, tables: Mapping[str, object], kind: type[Document]
) -> dict[str, Document]:
    return {name: convert(path, table, kind, at=f"{key}.{name}") for name, table in tables.items()}


def _check_name(path: Path, at: str, key: str, name: str, known: Collection[str]) -> None:
    if name not in known:
        close = f"{did_you_mean(name, known)}. " if known else ""
        raise InputError(
            path, f"{at}: there is no {key} {name!r}", hint=f"{close}Define [{key}.{name}]"
        )


def rules_that_never_match(policy: Policy, routes: Sequence[Route] | None) -> tuple[str, ...]:
    """Return a warning for each rule that can never decide.

    Args:
        policy: The rules.
        routes: All routes that may be answered; None if they are not known beforehand: then only
            rules behind one without a condition are found.
    """
    warnings: list[str] = []
    if routes is None:
        for i, rule in enumerate(policy.rules):
            if rule.matches_everything:
                warnings += [_never(policy, later, [rule.name]) for later in policy.rules[i + 1 :]]
                break
        return tuple(warnings)
    served = [route for route in routes if route.status.has_route]
    cases = [(route, False) for route in served]
    if policy.ported_since():
        cases += [(route, True) for route in served if route.status is Status.PORTED]
    taken_by: dict[int, str] = {}
    for rule in policy.rules:
        matches = [
            i
            for i, (route, recent) in enumerate(cases)
            if rule.decides(route, recently_ported=recent)
        ]
        if not matches or all(i in taken_by for i in matches):
            before = sorted({taken_by[i] for i in matches})
            warnings.append(_never(policy, rule, before, served))
        for i in matches:
            taken_by.setdefault(i, rule.name)
    return tuple(warnings)


def _never(policy: Policy, rule: Rule, before: Sequence[str], served: Sequence[Route] = ()) -> str:
    """Return the warning about a rule whose routes the rules ``before`` take, or that has none."""
    why = Phrase("{} before it takes all", ", ".join(map(repr, before[:3])))
    return Phrase(
        "{}: rule {} can never match: {}",
        policy.name,
        repr(rule.name),
        why if before else _unknown_word(rule, served),
    )


def _unknown_word(rule: Rule, served: Sequence[Route]) -> str:
    """Name the text of a rule that no route has, and a similar one that exists."""
    operators = [route.operator for route in served]
    regions = [route.region for route in served]
    known_of = {
        "brand": {each.brand for each in operators},
        "operator": {
            text for each in operators for text in (each.code, each.name, each.tax_number)
        },
        "region": {text for each in regions for text in (each.code, each.name)},
    }
    for key, known in known_of.items():
        folded = {each.casefold() for each in known}
        texts = getattr(rule, key)
        for text in (texts,) if isinstance(texts, str) else texts:
            if "*" not in text and "?" not in text and text.casefold() not in folded:
                return Phrase(
                    "the snapshot has no {} {}. {}",
                    key,
                    repr(text),
                    did_you_mean(text, known - {""}),
                )
    return Phrase("no route of the snapshot meets all its conditions")
