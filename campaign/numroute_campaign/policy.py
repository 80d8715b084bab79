"""Policy files: rules in order; the first that matches a route decides about its numbers.

A policy is TOML, read into structs by msgspec, whose errors carry the path of the wrong key.
"""

from __future__ import annotations

import codecs
import difflib
import functools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final, TypeVar

import msgspec

from numroute.errors import InputError
from numroute.model import LineType, Status
from numroute_campaign.decisions import Decision, without_route
from numroute_campaign.templates import Template
from numroute_campaign.time_zones import offset_of, parse_offset
from numroute_campaign.vocabulary import Phrase, Reject

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from numroute.model import Route

    Document = TypeVar("Document")

FILE_BYTES_MAX: Final = 2**20
RULES_MAX: Final = 10_000

_DAY_MINUTES: Final = 24 * 60
_STATUSES: Final = tuple(status.name for status in Status if status.has_route)
_LINE_TYPES: Final = tuple(each.name for each in LineType)
_ROUTE: Final = re.compile(r"[\w.-]{1,60}")
_TIME: Final = re.compile(r"([01]\d|2[0-3]):([0-5]\d)|24:00")
_AGE: Final = re.compile(r"(\d{1,4})([mhd])")
_SECONDS: Final = {"m": 60, "h": 3600, "d": 86_400}
_UNKNOWN_KEY: Final = re.compile(r"Object contains unknown field `(.*?)`")
_PLAIN: Final = {
    "Expected `str | array`": "expected a text or a list of texts",
    "Expected `str`": "expected a text in quotes",
    "Expected `array`": "expected a list",
    "Expected `object`": "expected a table",
    "Expected": "expected",
    "Object missing required field": "missing key",
    "`": "'",
}
"""What msgspec says, in words of TOML."""

Text = Annotated[str, msgspec.Meta(min_length=1)]
Texts = Text | Annotated[tuple[Text, ...], msgspec.Meta(min_length=1)]


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
            _any(self.line_type, route.line_type.name)
            and _any(self.brand, operator.brand)
            and _any(self.operator, operator.code, operator.name, operator.tax_number)
            and _any(self.network, f"{route.mcc}{route.mnc}", f"{route.mcc}-{route.mnc}")
            and _any(self.region, region.code, region.name)
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
        return not (
            self.brand
            or self.operator
            or self.network
            or self.region
            or self.line_type
            or self.status
            or self.ported_within
        )

    def decides(self, route: Route, *, recently_ported: bool) -> bool:
        """Return whether the rule is about the numbers of a route, recently ported or not."""
        return (
            (recently_ported or not self.ported_within)
            and _any(self.status, route.status.name)
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


class Window(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[window.NAME]``: when messages may arrive, in the receiver's local time.

    Attributes:
        begin: ``HH:MM``.
        until: ``HH:MM``.
        unknown_time_zone: The offset from UTC for regions whose time zone is unknown; empty
            rejects their numbers.
    """

    begin: str = msgspec.field(name="from")
    until: str
    unknown_time_zone: str = ""

    def __post_init__(self) -> None:
        for name, text in (("from", self.begin), ("until", self.until)):
            if not _TIME.fullmatch(text):
                raise ValueError(f'{name}: invalid time of day {text!r}. Write e.g. "09:30"')
        if self.begin == self.until:
            raise ValueError("the window has no length: from and until are equal")
        if self.unknown_time_zone:
            check_offset("unknown_time_zone", self.unknown_time_zone)

    def utc(self, offset: int) -> tuple[str, str]:
        """Return begin and end in UTC at an offset in minutes."""
        return _clock(_minutes(self.begin) - offset), _clock(_minutes(self.until) - offset)


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
    """The rules of a file.

    Attributes:
        name: The file's.
        offsets: Minutes east of UTC by region, before the built-in table.
        templates: Output templates by route; other routes have none.
    """

    name: str
    rules: tuple[Rule, ...]
    fallback: Fallback
    windows: Mapping[str, Window]
    offsets: Mapping[str, int]
    templates: Mapping[str, Template]

    @property
    def has_windows(self) -> bool:
        """Whether a rule limits the time of sending."""
        return any(rule.window for rule in self.rules)

    @property
    def ported_within_seconds(self) -> int:
        """How long a number counts as recently ported; 0 if no rule asks."""
        ages = [_AGE.fullmatch(rule.ported_within) for rule in self.rules]
        return next((int(age[1]) * _SECONDS[age[2]] for age in ages if age), 0)

    def decide(self, route: Route, *, foreign: bool, recently_ported: bool = False) -> Decision:
        """Decide about the numbers of a route, of another country or recently ported."""
        if foreign:
            return self._fall_back("foreign", Reject.FOREIGN)
        if not route.status.has_route:
            reject = without_route(route.status)
            return self._fall_back(reject.name.lower(), reject)
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
        if offset is None:
            offset = parse_offset(window.unknown_time_zone)
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


def read_policy(path: Path) -> Policy:
    """Read and check a policy file.

    Raises:
        InputError: The file cannot be read, is not TOML, or a key of it is wrong.
    """
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
            offsets[region.casefold()] = check_offset(region, text)
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


def read_toml(
    path: Path, kind: type[Document], structs: Sequence[type[msgspec.Struct]]
) -> Document:
    """Read a TOML file into a struct.

    Args:
        path: The file.
        kind: The struct of the whole document.
        structs: All structs in it: their keys are proposed for a misspelt one.

    Raises:
        InputError: The file cannot be read, is not TOML, or a key of it is wrong.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise InputError(
            path, f"cannot be read: {error.strerror}", hint="Check the path and its permissions"
        ) from None
    if len(raw) > FILE_BYTES_MAX:
        raise InputError(path, f"longer than {FILE_BYTES_MAX:,} bytes", hint="Split the file")
    try:
        document = msgspec.toml.decode(raw.removeprefix(codecs.BOM_UTF8))
    except UnicodeDecodeError:
        raise InputError(path, "not UTF-8", hint="Save it as UTF-8") from None
    except msgspec.DecodeError as error:
        raise InputError(path, f"not TOML: {error}", hint="See docs/campaign.md") from None
    return convert(path, document, kind, structs=structs)


def convert(
    path: Path,
    value: object,
    kind: type[Document],
    *,
    at: str = "",
    structs: Sequence[type[msgspec.Struct]] = (),
) -> Document:
    """Return a table of a file as a struct. Raises InputError, which names the path of the key."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        reason, _, where = str(error).partition(" - at `$")
        inner = re.sub(r"\[(\d+)\]", lambda match: f" {int(match[1]) + 1}", where.strip("`"))
        at = f"{at}{inner}".strip(".")
        if match := _UNKNOWN_KEY.match(reason):
            known = {key for each in (kind, *structs) for key in _keys(each)}
            reason = f"unknown key {match[1]!r}. {did_you_mean(match[1], known)}"
        for word, plain in _PLAIN.items():
            reason = reason.replace(word, plain)
        raise InputError(path, f"{at}: {reason}" if at else reason) from None


def _keys(kind: type) -> tuple[str, ...]:
    return getattr(kind, "__struct_encode_fields__", ())


def check_words(key: str, texts: Texts, known: Sequence[str]) -> None:
    """Make sure that texts are among the known words, in any case. Raises ValueError."""
    for text in (texts,) if isinstance(texts, str) else texts:
        if text.casefold() not in {word.casefold() for word in known}:
            raise ValueError(f"{key}: unknown word {text!r}. {did_you_mean(text, known)}")


def check_offset(key: str, text: str) -> int:
    """Return an offset from UTC in minutes. Raises ValueError if it is malformed."""
    offset = parse_offset(text)
    if offset is None:
        raise ValueError(f'{key}: invalid offset {text!r}. Write e.g. "+03:00" or "-05:30"')
    return offset


def did_you_mean(word: str, known: Collection[str]) -> str:
    """Return the hint for a misspelt word: the closest known one, or all of them."""
    folded = {each.casefold(): each for each in known}
    close = difflib.get_close_matches(word.casefold(), folded, n=1)
    if close:
        return Phrase("Did you mean {}?", repr(folded[close[0]]))
    return Phrase("Known are {}", ", ".join(sorted(known)[:20]))


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
    if policy.ported_within_seconds:
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


def _check_route(key: str, text: str) -> None:
    if text and not _ROUTE.fullmatch(text):
        raise ValueError(
            f"{key}: invalid route name {text!r}. A route's files are named after it: use up to "
            "60 letters, digits, - _ and ."
        )


def _any(patterns: Texts, *values: str) -> bool:
    """Return whether some value matches some pattern; no pattern matches everything."""
    if isinstance(patterns, str):
        patterns = (patterns,)
    return not patterns or any(
        _pattern(pattern).fullmatch(value) for pattern in patterns for value in values if value
    )


@functools.cache
def _pattern(text: str) -> re.Pattern[str]:
    escaped = re.escape(text).replace(r"\*", ".*").replace(r"\?", ".")
    return re.compile(escaped, re.IGNORECASE | re.DOTALL)


def _minutes(text: str) -> int:
    hours, minutes = text.split(":")
    return int(hours) * 60 + int(minutes)


def _clock(minutes: int) -> str:
    hours, rest = divmod(minutes % _DAY_MINUTES, 60)
    return f"{hours:02}:{rest:02}"
