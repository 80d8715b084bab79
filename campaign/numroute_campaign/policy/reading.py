"""A policy file, validated: every complaint names the line and what may be meant."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from numroute.model import LineType, Status
from numroute_campaign.policy.document import Document, did_you_mean
from numroute_campaign.policy.rules import Policy, Rule, Window
from numroute_campaign.time_zones import parse_offset

if TYPE_CHECKING:
    from pathlib import Path

    from numroute_campaign.policy.document import Keys

RULES_MAX: Final = 10_000

_TABLES: Final = ("rule", "fallback", "window", "time_zones")
_CONDITIONS: Final = ("brand", "operator", "network", "region", "status", "line_type")
_RULE_KEYS: Final = ("name", *_CONDITIONS, "route", "exclude", "window")
_FALLBACK_KEYS: Final = ("unallocated", "foreign", "unmatched")
_WINDOW_KEYS: Final = ("from", "until", "unknown_time_zone")
_STATUSES: Final = (Status.PORTED.name, Status.NOT_PORTED.name)
_LINE_TYPES: Final = tuple(each.name for each in LineType)

_ROUTE: Final = re.compile(r"[\w.-]{1,60}")
_TIME: Final = re.compile(r"([01]\d|2[0-3]):([0-5]\d)|24:00")


def read_policy(path: Path) -> Policy:
    """Read and validate a policy file.

    Raises:
        InputError: It is not TOML, or says something that means nothing; names the line.
    """
    document = Document(path)
    document.refuse_unknown((), document.data, _TABLES)
    windows = _windows(document)
    rules = _rules(document, windows)
    fallback = document.table(("fallback",), document.data.get("fallback", {}))
    document.refuse_unknown(("fallback",), fallback, _FALLBACK_KEYS)
    routes = {key: _route(document, ("fallback", key), value) for key, value in fallback.items()}
    return Policy(name=path.name, rules=rules, offsets=_offsets(document), **routes)


def _rules(document: Document, windows: dict[str, Window]) -> tuple[Rule, ...]:
    tables = document.data.get("rule", [])
    if not isinstance(tables, list) or not all(isinstance(each, dict) for each in tables):
        raise document.error(("rule",), "rules are written as [[rule]]")
    if len(tables) > RULES_MAX:
        raise document.error(("rule", RULES_MAX), f"more than {RULES_MAX:,} rules")
    rules: list[Rule] = []
    lines: dict[str, int] = {}
    for i, table in enumerate(tables):
        rule = _rule(document, i, table, windows)
        if rule.name in lines:
            raise document.error(
                ("rule", i, "name"),
                f"a second rule named {rule.name!r}; the first is on line {lines[rule.name]}",
            )
        lines[rule.name] = rule.line
        rules.append(rule)
    return tuple(rules)


def _rule(document: Document, i: int, table: dict[str, Any], windows: dict[str, Window]) -> Rule:
    at: Keys = ("rule", i)
    document.refuse_unknown(at, table, _RULE_KEYS)
    exclude = table.get("exclude", False)
    if not isinstance(exclude, bool):
        raise document.error((*at, "exclude"), "exclude must be true or false")
    if exclude == ("route" in table):
        raise document.error(
            at,
            "the rule must say either where to or exclude",
            hint='Write route = "NAME" or exclude = true',
        )
    window = None
    if "window" in table:
        name = document.text((*at, "window"), table["window"])
        if exclude or name not in windows:
            reason = (
                "a rule that excludes has no send window"
                if exclude
                else f"there is no window {name!r}"
            )
            hint = "" if exclude else f"Define [window.{name}]"
            if windows and not exclude:
                hint = f"{did_you_mean(name, windows)}. {hint}"
            raise document.error((*at, "window"), reason, hint=hint)
        window = windows[name]
    return Rule(
        name=document.text((*at, "name"), table.get("name", f"rule {i + 1}")),
        line=document.line(at),
        destination="" if exclude else _route(document, (*at, "route"), table["route"]),
        window=window,
        **read_conditions(document, at, table),
    )


def read_conditions(document: Document, at: Keys, table: dict[str, Any]) -> dict[str, Any]:
    """Return the conditions of a table as fields of ``Rule``. Raises InputError."""
    texts = {key: document.texts((*at, key), table[key]) for key in _CONDITIONS if key in table}
    return {
        "brands": texts.get("brand", ()),
        "operators": texts.get("operator", ()),
        "networks": texts.get("network", ()),
        "regions": texts.get("region", ()),
        "statuses": _chosen(document, (*at, "status"), texts.get("status", ()), _STATUSES),
        "line_types": _chosen(
            document, (*at, "line_type"), texts.get("line_type", ()), _LINE_TYPES
        ),
    }


def _chosen(
    document: Document, keys: Keys, texts: tuple[str, ...], known: tuple[str, ...]
) -> frozenset[str]:
    for text in texts:
        if text.upper() not in known:
            raise document.error(
                keys, f"there is no {keys[-1]} {text!r}", hint=did_you_mean(text, known)
            )
    return frozenset(text.upper() for text in texts)


def _route(document: Document, keys: Keys, value: object) -> str:
    text = document.text(keys, value)
    if not _ROUTE.fullmatch(text):
        raise document.error(
            keys,
            f"{text!r} cannot name a route",
            hint="A route's files are named for it: use up to 60 letters, digits, - _ and .",
        )
    return text


def _windows(document: Document) -> dict[str, Window]:
    windows: dict[str, Window] = {}
    for name, value in document.table(("window",), document.data.get("window", {})).items():
        at: Keys = ("window", name)
        table = document.table(at, value)
        document.refuse_unknown(at, table, _WINDOW_KEYS)
        for key in ("from", "until"):
            if key not in table:
                raise document.error(at, f"the window has no {key!r}", hint=f'{key} = "10:00"')
        begin, end = (_time(document, (*at, key), table[key]) for key in ("from", "until"))
        if begin == end:
            raise document.error((*at, "until"), "the window has no length")
        unknown = table.get("unknown_time_zone")
        windows[name] = Window(
            name=name,
            begin=begin,
            end=end,
            unknown_offset=None
            if unknown is None
            else _offset(document, (*at, "unknown_time_zone"), unknown),
        )
    return windows


def _offsets(document: Document) -> dict[str, int]:
    table = document.table(("time_zones",), document.data.get("time_zones", {}))
    return {
        region.casefold(): _offset(document, ("time_zones", region), value)
        for region, value in table.items()
    }


def _time(document: Document, keys: Keys, value: object) -> int:
    text = document.text(keys, value)
    if not _TIME.fullmatch(text):
        raise document.error(keys, f"{text!r} is no time of day", hint='Write e.g. "09:30"')
    hours, minutes = text.split(":")
    return int(hours) * 60 + int(minutes)


def _offset(document: Document, keys: Keys, value: object) -> int:
    text = document.text(keys, value)
    offset = parse_offset(text)
    if offset is None:
        raise document.error(
            keys, f"{text!r} is no offset from UTC", hint='Write e.g. "+03:00" or "-05:30"'
        )
    return offset
