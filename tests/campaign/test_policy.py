"""Policy files: what is refused, with the path of the key, and what the rules decide."""

from __future__ import annotations

import csv
import json
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from numroute.errors import InputError
from numroute.model import LineType, Operator, Region, Route, Status
from numroute_campaign.policy import offset_of, read_policy, rules_that_never_match, zones
from numroute_campaign.vocabulary import FORMS, Reject

GOOD = """\
# who goes where
[[rule]]
name = "far east"
brand = ["MTS", "Bee*"]
region = ["Приморский край"]
route = "smsc-east"
window = "day"

[[rule]]
name = "no fixed lines"
line_type = "fixed"
exclude = true

[[rule]]
name = "mts"
operator = "7740000076"
network = "250-01"
status = "PORTED"
route = "smsc-mts"

[fallback]
foreign = "world"

[window.day]
from = "10:00"
until = "20:00"
"""


@pytest.fixture
def policy(tmp_path: Path):
    """Return a function that reads a policy from its text."""

    def read(text: str = GOOD):
        path = tmp_path / "policy.toml"
        path.write_text(text, "utf-8")
        return read_policy(path)

    return read


def a_route(
    brand: str = "MTS",
    region: str = "г. Москва",
    status: Status = Status.NOT_PORTED,
    line: LineType = LineType.MOBILE,
    **operator: str,
) -> Route:
    return Route(
        status=status,
        operator=Operator(brand=brand, **operator),
        region=Region(name=region),
        mcc="250",
        mnc="01",
        line_type=line,
    )


BAD = {
    "syntax": ('[[rule]]\nname = "x\n', "not TOML: ", "(at line 2, column 10)"),
    "unknown table": ("[fallbck]\n", "unknown field 'fallbck'", "Object contains"),
    "unknown key": (
        '[[rule]]\nname = "a"\nroute = "b"\nbrnad = "MTS"\n',
        "rule 1: ", "unknown field 'brnad'",
    ),
    "unknown key of the second rule": (
        '[[rule]]\nroute = "b"\n\n[[rule]]\nroute = "c"\nregon = "x"\n',
        "rule 2: ", "unknown field 'regon'",
    ),
    "neither route nor exclude": ('[[rule]]\nbrand = "MTS"\n', "rule 1", "either route ="),
    "both": ('[[rule]]\nroute = "a"\nexclude = true\n', "rule 1", "either route ="),
    "wrong type": ('[[rule]]\nbrand = 5\nroute = "a"\n', "rule 1.brand", "Expected 'str"),
    "empty list": ('[[rule]]\nroute = "a"\nbrand = []\n', "rule 1.brand", "length >= 1"),
    "status": ('[[rule]]\nroute = "a"\nstatus = "PORTD"\n', "rule 1: status", "Known are PORTED"),
    "line type": ('[[rule]]\nroute = "a"\nline_type = "mobil"\n', "line_type", "MOBILE"),
    "route name": ('[[rule]]\nroute = "a/b"\n', "rule 1.route", "matching regex"),
    "fallback": ('[fallback]\nforeign = "a/b"\n', "fallback.foreign", "matching regex"),
    "no such window": (
        '[window.day]\nfrom = "10:00"\nuntil = "11:00"\n[[rule]]\nroute = "a"\nwindow = "dya"\n',
        "rule 1: ", "there is no window 'dya'",
    ),
    "time": ('[window.day]\nfrom = "25:00"\nuntil = "10:00"\n', "window.day.from", "regex"),
    "no until": ('[window.day]\nfrom = "10:00"\n', "window.day", "missing required field 'until'"),
    "empty window": ('[window.day]\nfrom = "10:00"\nuntil = "10:00"\n', "window.day", "no length"),
    "offset of a window": (
        '[window.day]\nfrom = "10:00"\nuntil = "11:00"\nunknown_time_zone = "3"\n',
        "window.day.unknown_time_zone", "matching regex",
    ),
    "same name": (
        '[[rule]]\nname = "a"\nroute = "b"\n[[rule]]\nname = "a"\nroute = "b"\n',
        "rule 2: ", "same name 'a'",
    ),
    "rules are not a table": ('rule = "x"\n', "rule: Expected 'array'", "policy.toml"),
    "not UTF-8": (b'[[rule]]\nroute = "\xff"\n', "not UTF-8", "Save it as UTF-8"),
}  # fmt: skip


@pytest.mark.parametrize("defect", BAD)
def test_a_bad_policy_is_refused_with_the_path_of_the_key(defect: str, tmp_path: Path) -> None:
    """Each defect names the file, the key and what to do."""
    content, where, words = BAD[defect]
    path = tmp_path / "policy.toml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError) as caught:
        read_policy(path)
    assert where in str(caught.value)
    assert words in str(caught.value)
    assert str(path) in str(caught.value)


def test_the_first_rule_that_matches_decides(policy) -> None:
    """Order is priority; a rule needs all of its conditions, one text of each."""
    rules = policy()
    east = rules.decide(a_route("Beeline", "Приморский край"))
    assert (east.destination, east.rule) == ("smsc-east", "far east")
    fixed = rules.decide(a_route(line=LineType.FIXED))
    assert (fixed.reject, fixed.rule) == (Reject.EXCLUDED, "no fixed lines")
    ported = a_route(status=Status.PORTED, tax_number="7740000076")
    assert rules.decide(ported).destination == "smsc-mts"
    assert rules.decide(a_route(tax_number="7740000076")).reject is Reject.NO_RULE


def test_fallbacks(policy) -> None:
    """Foreign numbers take the fallback's route; unallocated ones have none and stay."""
    nobody = Route(status=Status.UNALLOCATED)
    assert policy().decide(nobody, is_marked=True).destination == "world"
    assert policy().decide(nobody).reject is Reject.UNALLOCATED


def test_windows_are_given_in_utc(policy) -> None:
    """Ten to twenty in Vladivostok is midnight to ten in UTC."""
    east = policy().decide(a_route("MTS", "Приморский край"))
    assert (east.send_from, east.send_until) == ("00:00", "10:00")


def test_a_region_without_a_time_zone(policy) -> None:
    """A window and no time zone: rejected, unless the policy says what to take."""
    text = GOOD.replace('region = ["Приморский край"]\n', "")
    nowhere = a_route("MTS", "Нигде")
    assert policy(text).decide(nowhere).reject is Reject.NO_TIME_ZONE
    given = text.replace('until = "20:00"', 'until = "20:00"\nunknown_time_zone = "+03:00"')
    assert policy(given).decide(nowhere).send_from == "07:00"


def test_rules_that_never_match(policy) -> None:
    """A misspelt brand, a rule behind one that takes all, a combination nobody has: all warned."""
    rules = policy(
        '[[rule]]\nname = "all mts"\nbrand = "mts"\nroute = "a"\n'
        '[[rule]]\nname = "late"\nbrand = "MTS"\nregion = "*Москва*"\nroute = "b"\n'
        '[[rule]]\nname = "typo"\nbrand = "Belline"\nroute = "c"\n'
        '[[rule]]\nname = "nobody"\nbrand = "Beeline"\nline_type = "FIXED"\nroute = "d"\n'
    )
    routes = [a_route(), a_route("Beeline"), Route(status=Status.INVALID)]
    assert rules_that_never_match(rules, routes) == ["late", "typo", "nobody"]
    assert rules_that_never_match(rules, None) == []


def test_rules_behind_one_that_takes_all(policy) -> None:
    """They are named also where the routes are not known, as with a service."""
    rules = policy(
        '[[rule]]\nname = "new"\nported_within = "3d"\nroute = "a"\n'
        '[[rule]]\nname = "all"\nroute = "b"\n'
        '[[rule]]\nname = "late"\nbrand = "MTS"\nroute = "c"\n'
    )
    assert rules_that_never_match(rules, None) == ["late"]


def test_offsets_are_those_of_the_iana_zones() -> None:
    """The table's offset of each region is that of the zone it names, winter and summer."""
    table = resources.files("numroute_campaign") / "data" / "time_zones_ru.csv"
    rows = list(csv.DictReader(table.read_text("utf-8").splitlines()))
    for row, (_, _, minutes) in zip(rows, zones(), strict=True):
        for month in (1, 7):
            moment = datetime(2026, month, 1, tzinfo=UTC).astimezone(ZoneInfo(row["zone"]))
            offset = moment.utcoffset()
            assert offset is not None
            assert offset.total_seconds() == 60 * minutes, row["zone"]


@pytest.mark.parametrize(
    ("name", "hours"),
    [
        ("г. Москва * Московская область", 3),
        ("Ханты - Мансийский - Югра АО", 5),
        ("Ямало-Ненецкий АО", 5),
        ("Ненецкий АО", 3),
        ("Республика Саха /Якутия/", 9),
        ("Томская обл.", 7),
        ("Омская обл.", 6),
        ("Костромская обл.", 3),
        ("г.о. Озёры|Московская обл.", 3),
        ("Калининградская обл.", 2),
        ("Российская Федерация", None),
        ("Омская обл. * Томская обл.", None),
    ],
)
def test_time_zone_by_the_name_of_the_plan(name: str, hours: int | None) -> None:
    """Names as numbering plans spell them are found; a list over several zones is not guessed."""
    offset = offset_of(Region(name=name))
    assert offset == (None if hours is None else 60 * hours)


def test_dry_run_writes_nothing_and_explains(route, list_csv: Path, tmp_path: Path) -> None:
    """--dry-run says for each row of the sample which rule decided; numbers are masked."""
    path = tmp_path / "policy.toml"
    path.write_text('[[rule]]\nname = "all"\nroute = "x"\n\n[[rule]]\nname="b"\nroute="y"\n')
    done = route(list_csv, "--policy", path, "--dry-run", "--sample", 30)
    assert not done.folder.exists()
    assert "all" in done.result.out
    assert "DUPLICATE" in done.result.out or "79" in done.result.out
    assert "rule 'b' can never match" in done.err
    assert not __import__("re").search(r"\b79\d{9}\b", done.result.out)
    sample = route(list_csv, "--dry-run", "--sample", 30, "--json", out="dry").result.out
    assert [json.loads(line)["row_id"] for line in sample.splitlines()] == [*range(1, 31)]


def test_policy_of_a_run(route, list_csv: Path, tmp_path: Path) -> None:
    """Rows land in the policy's files with their window, refused ones name the rule."""
    path = tmp_path / "policy.toml"
    path.write_text(
        '[[rule]]\nname = "no mts"\nbrand = "MTS"\nexclude = true\n'
        '[[rule]]\nname = "day"\nroute = "gw"\nwindow = "w"\n'
        '[fallback]\nunallocated = "rest"\n'
        '[window.w]\nfrom = "09:00"\nuntil = "21:00"\nunknown_time_zone = "+03:00"\n'
    )
    routed = route(list_csv, "--policy", path)
    rows = routed.rows("gw.csv")
    assert {row["route"] for row in rows} == {"gw"}
    assert {int(row["send_from_utc"][:2]) for row in rows} <= {*range(7), 7, *range(21, 24)}
    refused = [row for row in routed.rows("rejects.csv") if row["reason"] == "EXCLUDED"]
    assert {row["rule"] for row in refused} == {"no mts"}
    assert {row["send_from_utc"] for row in routed.rows("rest.csv")} == {""}
    counts = {each["rule"]: each["rows"] for each in routed.summary["rejects"]}
    assert counts["no mts"] == len(refused)
    assert {each["name"]: each["numbers"] for each in routed.summary["routes"]}["gw"] == len(rows)


@pytest.mark.parametrize("form", FORMS)
def test_a_route_whose_numbers_are_all_suppressed_has_no_file(
    route, tmp_path: Path, form: str
) -> None:
    """The route is decided, but no row of it is written: whatever the form, there is no file."""
    small, suppress, policy = (tmp_path / name for name in ("small.csv", "s380.csv", "policy.toml"))
    small.write_text("phone\n+79161234567\n+380501234567\n")
    suppress.write_text("phone\n+380501234567\n")
    policy.write_text(
        '[[rule]]\nroute = "gw"\n[fallback]\nforeign = "world"\nunallocated = "hlr"\n'
    )
    routed = route(small, "--policy", policy, "--suppress", suppress, "--format", form)
    steps = routed.summary["steps"]
    assert (steps["rows"], steps["suppressed"], steps["routed"]) == (2, 1, 1)
    assert [each["numbers"] for each in routed.summary["routes"]] == [1]
    assert not list(routed.folder.glob("world*"))
