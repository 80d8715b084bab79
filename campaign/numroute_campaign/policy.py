"""Policy files: rules in order; the first that matches a route decides where its numbers go.

Without a file each operator's brand is an output route.

Send windows need the time zones of regions, by code or by name as numbering plans spell it.
``data/time_zones_*.csv`` has one table per country: the region's code, a pattern that starts a word
of its name, the offset from UTC, and the IANA zone that the offset was taken from. A region that
spans several zones has its capital's. A region in no table is unknown; nothing is guessed.
"""

from __future__ import annotations

import csv
import functools
import re
import time
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

import msgspec

from numroute.errors import InputError
from numroute.model import LineType, Region, Route, Status
from numroute_campaign.templates import LIST_PREFIX, Template
from numroute_campaign.vocabulary import Decision, Reject

Document = TypeVar("Document")

_LINE_TYPES: Final = tuple(each.name for each in LineType)
_STATUSES: Final = tuple(status.name for status in Status if status.has_route)
_SECONDS: Final = {"m": 60, "h": 3600, "d": 86_400}
_DAY_MINUTES: Final = 24 * 60

Text = Annotated[str, msgspec.Meta(min_length=1)]
Texts = Text | Annotated[tuple[Text, ...], msgspec.Meta(min_length=1)]

RouteName = Annotated[str, msgspec.Meta(pattern=r"^[\w.-]{0,60}\Z")]
"""The name of an output route; files are named after it."""

Time = Annotated[str, msgspec.Meta(pattern=r"^(([01]\d|2[0-3]):[0-5]\d|24:00)\Z")]
Offset = Annotated[str, msgspec.Meta(pattern=r"^[+-](0\d|1[0-4]):[0-5]\d\Z")]
Age = Annotated[str, msgspec.Meta(pattern=r"^(\d{1,4}[mhd])?\Z")]


class Conditions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Conditions on a route. All that are given must hold; of a list, one text must match.

    Texts may contain ``*`` and ``?``; case does not matter.

    Attributes:
        brand: The operator's brand.
        operator: The registry's code, the name or the tax number.
        network: MCC and MNC, with or without a dash.
        region: The code or the name.
        line_type: Names of ``LineType``.
    """

    brand: Texts = ()
    operator: Texts = ()
    network: Texts = ()
    region: Texts = ()
    line_type: Texts = ()

    def __post_init__(self) -> None:
        check_words("line_type", self.line_type, _LINE_TYPES)

    def matches(self, route: Route) -> bool:
        """Return whether the conditions hold for a route."""
        operator, region = route.operator, route.region
        return (
            any_matches(self.line_type, route.line_type.name)
            and any_matches(self.brand, operator.brand)
            and any_matches(self.operator, operator.code, operator.name, operator.tax_number)
            and any_matches(self.network, f"{route.mcc}{route.mnc}", f"{route.mcc}-{route.mnc}")
            and any_matches(self.region, region.code, region.name)
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
    ported_within: Age = ""
    route: RouteName = ""
    exclude: bool = False
    window: str = ""
    template: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_words("status", self.status, _STATUSES)
        if self.exclude == bool(self.route):
            raise ValueError('the rule needs either route = "NAME" or exclude = true')


class Window(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[window.NAME]``: when messages may arrive, in the receiver's local time.

    ``unknown_time_zone`` is the offset from UTC for regions whose time zone is unknown; None
    rejects their numbers.
    """

    begin: Time = msgspec.field(name="from")
    until: Time
    unknown_time_zone: Offset | None = None

    def __post_init__(self) -> None:
        if self.begin == self.until:
            raise ValueError("the window has no length: from and until are equal")

    def utc(self, region: Region) -> tuple[str, str] | None:
        """Return begin and end in UTC for a region, None if its time zone is unknown."""
        offset = offset_of(region)
        if offset is None and self.unknown_time_zone:
            offset = _minutes(self.unknown_time_zone)
        return None if offset is None else (_clock(self.begin, offset), _clock(self.until, offset))


class Fallback(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[fallback]``: output routes of numbers that no rule decides; empty rejects them.

    ``not_covered`` are those that no plan covers and that are not foreign.
    """

    unallocated: RouteName = ""
    not_covered: RouteName = ""
    foreign: RouteName = ""
    unmatched: RouteName = ""


class PolicyFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The tables of a policy file; ``use_template``: of routes whose rules name none."""

    use_template: str = ""
    rule: tuple[Rule, ...] = ()
    fallback: Fallback = Fallback()
    window: dict[str, dict[str, Any]] = {}
    template: dict[str, dict[str, Any]] = {}


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """The rules of a file, by its name; ``templates`` are by route, other routes have none."""

    name: str = ""
    rules: tuple[Rule, ...] = ()
    fallback: Fallback = Fallback()
    windows: dict[str, Window] = {}
    templates: dict[str, Template] = {}

    @property
    def list_columns(self) -> tuple[str, ...]:
        """The columns of the list that the templates write."""
        sources = [each for made in self.templates.values() for each in made.columns.values()]
        return tuple(
            each.removeprefix(LIST_PREFIX) for each in sources if each.startswith(LIST_PREFIX)
        )

    def ported_since(self) -> int:
        """Return the Unix time since which a number is recently ported; 0 if no rule asks."""
        age = next((rule.ported_within for rule in self.rules if rule.ported_within), "")
        return int(time.time()) - int(age[:-1]) * _SECONDS[age[-1]] if age else 0

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
            if rule.ported_within and not recently_ported:
                continue
            if any_matches(rule.status, route.status.name) and rule.matches(route):
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
        times = self.windows[rule.window].utc(route.region)
        if times is None:
            return Decision(reject=Reject.NO_TIME_ZONE, rule=rule.name)
        template = self.templates.get(rule.route)
        by_window = template is not None and template.file_per_window
        return Decision(
            destination=rule.route,
            rule=rule.name,
            send_from=times[0],
            send_until=times[1],
            group="-".join((rule.route, *times)).replace(":", "") if by_window else "",
        )


BY_OPERATOR: Final = Policy()
"""The policy without a file: a route per brand, or per operator that has none."""


def listed(texts: Texts) -> tuple[str, ...]:
    """Return one text or several as a tuple."""
    return (texts,) if isinstance(texts, str) else texts


def any_matches(patterns: Texts, *values: str) -> bool:
    """Return whether some value matches some pattern; no pattern matches everything."""
    return not patterns or any(
        _pattern(pattern).fullmatch(value)
        for pattern in listed(patterns)
        for value in values
        if value
    )


@functools.cache
def _pattern(text: str) -> re.Pattern[str]:
    escaped = re.escape(text).replace(r"\*", ".*").replace(r"\?", ".")
    return re.compile(escaped, re.IGNORECASE | re.DOTALL)


def check_words(key: str, texts: Texts, known: Sequence[str]) -> None:
    """Make sure that texts are among the known words, in any case. Raises ValueError."""
    for text in listed(texts):
        if text.casefold() not in {word.casefold() for word in known}:
            raise ValueError(f"{key}: unknown word {text!r}. Known are {', '.join(known)}")


def read_policy(path: Path) -> Policy:
    """Read and check a policy file; errors as in ``read_toml``."""
    document = read_toml(path, PolicyFile)
    windows = {
        name: convert(path, table, Window, f"window.{name}")
        for name, table in document.window.items()
    }
    templates = {
        name: convert(path, table, Template, f"template.{name}")
        for name, table in document.template.items()
    }
    rules = tuple(
        msgspec.structs.replace(rule, name=rule.name or f"rule {number}")
        for number, rule in enumerate(document.rule, 1)
    )
    names: set[str] = set()
    template_of: dict[str, str] = {}
    for number, rule in enumerate(rules, 1):
        template = rule.template or document.use_template
        problem = ""
        if rule.name in names:
            problem = f"an earlier rule has the same name {rule.name!r}"
        elif rule.window and rule.window not in windows:
            problem = f"there is no window {rule.window!r}"
        elif rule.route and template_of.setdefault(rule.route, template) != template:
            problem = f"the route {rule.route!r} has another template in an earlier rule"
        if problem:
            raise InputError(path, f"rule {number}: {problem}")
        names.add(rule.name)
    if len({rule.ported_within for rule in rules} - {""}) > 1:
        raise InputError(path, "ported_within differs from rule to rule", hint="Give all the same")
    for route in msgspec.structs.astuple(document.fallback):
        template_of.setdefault(route, document.use_template)
    unknown = {*template_of.values(), document.use_template} - {"", *templates}
    if unknown:
        raise InputError(path, f"there is no template {min(unknown)!r}")
    return Policy(
        name=path.name,
        rules=rules,
        fallback=document.fallback,
        windows=windows,
        templates={route: templates[name] for route, name in template_of.items() if route and name},
    )


def read_toml(path: Path, kind: type[Document]) -> Document:
    """Read a TOML file into a struct. Raises InputError, also if a key of it is wrong."""
    try:
        document = msgspec.toml.decode(path.read_text("utf-8-sig"))
    except OSError as error:
        raise InputError(
            path, f"cannot be read: {error.strerror}", hint="Check the path and its permissions"
        ) from None
    except UnicodeDecodeError:
        raise InputError(path, "not UTF-8", hint="Save it as UTF-8") from None
    except msgspec.DecodeError as error:
        raise InputError(path, f"not TOML: {error}", hint="See docs/campaign.md") from None
    return convert(path, document, kind)


def convert(path: Path, value: object, kind: type[Document], at: str = "") -> Document:
    """Return a table of a file as a struct. Raises InputError, which names the path of the key."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        reason, _, where = str(error).replace("`", "'").partition(" - at '$")
        inner = re.sub(r"\[(\d+)\]", lambda match: f" {int(match[1]) + 1}", where.strip("'"))
        at = f"{at}{inner}".strip(".")
        raise InputError(
            path, f"{at}: {reason}" if at else reason, hint="See docs/campaign.md"
        ) from None


def rules_that_never_match(policy: Policy, routes: Sequence[Route] | None) -> list[str]:
    """Return the names of the rules that decide about none of all routes.

    If the routes are not known (None), these are the rules behind one without a condition.
    """
    if routes is None:
        keys = (*Conditions.__struct_fields__, "status", "ported_within")
        has_conditions = [any(getattr(rule, key) for key in keys) for rule in policy.rules]
        first = has_conditions.index(False) if False in has_conditions else len(has_conditions)
        return [rule.name for rule in policy.rules[first + 1 :]]
    served = [route for route in routes if route.status.has_route]
    decided = {policy.decide(route).rule for route in served}
    if policy.ported_since():
        ported = (route for route in served if route.status is Status.PORTED)
        decided |= {policy.decide(route, is_marked=True).rule for route in ported}
    return [rule.name for rule in policy.rules if rule.name not in decided]


@functools.cache
def offset_of(region: Region) -> int | None:
    """Return a region's offset from UTC in minutes, None if it is unknown.

    The name comes first, as the same code means different regions in different countries. A name
    that lists regions of several zones has no offset.
    """
    text = region.name.casefold().replace("ё", "е")
    found = {offset for _, pattern, offset in zones() if pattern.search(text)}
    if not found and not text:
        found = {offset for code, _, offset in zones() if code == region.code != ""}
    return found.pop() if len(found) == 1 else None


@functools.cache
def zones() -> tuple[tuple[str, re.Pattern[str], int], ...]:
    """Return the rows of all tables: region code, pattern of the name, minutes east of UTC."""
    data = (resources.files("numroute_campaign") / "data").iterdir()
    tables = sorted((each for each in data if each.name.startswith("time_zones_")), key=str)
    return tuple(
        (row["region_code"], re.compile(rf"\b{row['pattern']}"), _minutes(row["utc_offset"]))
        for table in tables
        for row in csv.DictReader(table.read_text("utf-8").splitlines())
    )


def _minutes(text: str) -> int:
    """Return a time of day or an offset from UTC in minutes."""
    hours, minutes = text.lstrip("+-").split(":")
    total = int(hours) * 60 + int(minutes)
    return -total if text.startswith("-") else total


def _clock(text: str, offset: int) -> str:
    """Return a time of day in UTC."""
    hours, rest = divmod((_minutes(text) - offset) % _DAY_MINUTES, 60)
    return f"{hours:02}:{rest:02}"
