"""The HTML page of a campaign run."""

from __future__ import annotations

import ast
import copy
import re
import tomllib
from dataclasses import replace
from html.parser import HTMLParser
from importlib import resources
from pathlib import Path

import pytest

from numroute_campaign.handover import METHOD
from numroute_campaign.lists import FileSummary
from numroute_campaign.prices import CategorySummary, CostSummary, StepSummary
from numroute_campaign.summary import (
    ROWS_MAX,
    THIN_SPACE,
    OperatorSummary,
    RegionSummary,
    RejectSummary,
    RouteSummary,
    Steps,
    Summary,
    report_html,
)
from numroute_campaign.vocabulary import CATEGORIES, LANGUAGES, Phrase, Reject

VOID = {"meta", "br", "hr", "wbr"}


def operator(i: int, numbers: int, cost: str = "") -> OperatorSummary:
    """Return an operator that some numbers went to."""
    return OperatorSummary(
        code=f"mOP{i}",
        name=f"Оператор {i} <ООО> & «Ко»",
        brand="" if i % 3 == 0 else f"Brand {i}",
        numbers=numbers,
        ported=numbers // 4,
        parts=2 * numbers,
        price="1.45" if cost else "",
        cost=cost,
    )


SUMMARY = Summary(
    files=(
        FileSummary(
            name="spring.csv",
            form="csv",
            encoding="utf-8",
            delimiter=";",
            has_header=True,
            phone_column="phone",
            rows=1_250_000,
            first_row_id=1,
        ),
    ),
    snapshots=("20260823T210000Z-714270",),
    region="RU",
    policy="policy.toml",
    pseudonymized=False,
    steps=Steps(
        rows=1_250_000,
        rejected=50_000,
        valid=1_200_000,
        duplicates=150_000,
        unique=1_050_000,
        suppressed=20_000,
        refused=30_000,
        routed=1_000_000,
    ),
    rejects=(
        RejectSummary(reason="DUPLICATE", meaning="stood before", rule="", rows=150_000),
        RejectSummary(
            reason="TOO_SHORT",
            meaning="too few digits",
            rule="",
            rows=50_000,
            samples=("8 (91•)", "12<b>"),
        ),
        RejectSummary(reason="SUPPRESSED", meaning="do not send", rule="", rows=20_000),
        RejectSummary(reason="EXCLUDED", meaning="by the policy", rule="no <north>", rows=30_000),
    ),
    rejects_files=("rejects.csv",),
    routes=(RouteSummary(name="gate-1", numbers=1_000_000, files=("gate-1.csv",), cost="2900.00"),),
    operators=(
        operator(1, 500_000, "1450.00"),
        operator(2, 300_000, "870.00"),
        operator(3, 200_000),
    ),
    regions=tuple(
        RegionSummary(code=f"{i:02}", name=f"Область {i}", numbers=25_000, ported=1_000)
        for i in range(40)
    ),
    ported=250_000,
    misrouted_by_prefix=200_000,
    cost=CostSummary(
        currency="RUB",
        total="2320.00",
        unpriced_numbers=200_000,
        unpriced_operators=("mOP3",),
        saved_duplicates="435.00",
        by_prefix="2500.00",
        saved_by_prefix="180.00",
        category="advertising",
        categories=(
            CategorySummary(category="advertising", total="2320.00", unpriced_numbers=200_000),
            CategorySummary(category="service", total="1160.00", unpriced_numbers=0),
        ),
        next_steps=(
            StepSummary(
                name="Brand 1",
                segments=1_000_000,
                price="1.45",
                next_from=1_500_000,
                next_price="1.2",
                saving="250000.00",
            ),
        ),
    ),
    kept_columns=("city",),
    dropped_columns=("name", "e-mail"),
    warnings=("the rule 'never' can never match",),
)


class Reader(HTMLParser):
    """Reads a page as a browser does: texts, attributes, and whether every element ends."""

    def __init__(self) -> None:
        """Begin."""
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element's begin."""
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Refuse an end that is not that of the last begin."""
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Note a text."""
        if self.open and self.open[-1] != "style":
            self.texts += [data.strip()] if data.strip() else []


def read(summary: Summary) -> Reader:
    """Return the page of a summary as it is read."""
    reader = Reader()
    reader.feed(report_html(summary))
    assert reader.open == []
    return reader


def test_the_page_says_what_the_summary_says() -> None:
    """Counts, shares, names, costs, files and columns stand there, whatever is in the names."""
    texts = " | ".join(read(SUMMARY).texts)
    for expected in (
        f"1{THIN_SPACE}250{THIN_SPACE}000",
        f"80.0{THIN_SPACE}%",  # routed of read
        f"25.0{THIN_SPACE}%",  # ported
        "Brand 1",
        "Оператор 3 <ООО> & «Ко»",
        f"2{THIN_SPACE}320.00 RUB",
        "too few digits: 8 (91•) or 12<b>",
        "435.00 RUB",
        f"1{THIN_SPACE}160.00 RUB",
        f"1{THIN_SPACE}500{THIN_SPACE}000 | 1.2 | 250{THIN_SPACE}000.00 RUB",
        "180.00 RUB",
        "mOP3",
        "EXCLUDED (no <north>)",
        "gate-1.csv",
        "rejects.csv",
        "the rule 'never' can never match",
        "the number itself, route, row id, city",
        "name, e-mail",
        f"{40 - ROWS_MAX} other regions",
    ):
        assert expected in texts, expected


def test_small_figures_are_not_rounded_away() -> None:
    """Nor do they lose their sign: routing by prefix may have been cheaper."""
    assert SUMMARY.cost is not None
    cost = replace(SUMMARY.cost, saved_by_prefix="-0.50")
    texts = read(replace(SUMMARY, cost=cost, misrouted_by_prefix=2_000)).texts
    assert "-0.50 RUB" in texts
    assert f"0.20{THIN_SPACE}%" in texts


def test_the_page_needs_nothing_else() -> None:
    """No script, and no address of anything to load: the page works without a network."""
    text = report_html(SUMMARY)
    assert "<script" not in text
    assert not re.search(r"https?://|url\(|@import", text)
    assert not {name for name, _ in read(SUMMARY).attributes} & {"src", "href", "onload"}


def test_bars_are_as_long_as_their_values() -> None:
    """The longest fills its column, the others stand in proportion."""
    widths = [
        value
        for name, value in read(replace(SUMMARY, regions=(), cost=None, rejects=())).attributes
        if name == "style" and value is not None and value.startswith("width:")
    ]
    assert widths[4:7] == ["width:100.0%", "width:60.0%", "width:40.0%"]


@pytest.mark.parametrize("pseudonymized", [False, True])
def test_a_list_of_nothing_is_reported_too(*, pseudonymized: bool) -> None:
    """No division by nothing; what is absent is said."""
    nothing = Steps(
        rows=0, rejected=0, valid=0, duplicates=0, unique=0, suppressed=0, refused=0, routed=0
    )
    empty = replace(
        SUMMARY,
        steps=nothing,
        rejects=(),
        routes=(),
        operators=(),
        regions=(),
        ported=0,
        misrouted_by_prefix=0,
        cost=None,
        warnings=(),
        dropped_columns=(),
        pseudonymized=pseudonymized,
    )
    texts = read(empty).texts
    assert "No number was routed." in texts
    assert "Every row was routed." in texts
    assert ("a pseudonym in its place, route, row id, city" in texts) is pseudonymized


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_page_is_written_in_both_languages(language: str) -> None:
    """Every text of the template and every reason is translated; figures are written as there."""
    data = resources.files("numroute_campaign") / "data"
    pages = "".join((data / name).read_text("utf-8") for name in ("report.html.j2", "act.html.j2"))
    used = {*re.findall(r'\bt\("(.*?)"', pages), *re.findall(r'most\(.*?, "(.*?)"', pages)}
    roles = ("list", "do-not-send list", "policy file", "price file", "output")
    used |= {
        *(each.meaning for each in Reject if each),
        *CATEGORIES,
        *roles,
        METHOD,
        "no region",
        "no operator",
    }
    russian = tomllib.loads((data / "report_ru.toml").read_text("utf-8"))
    phrases, texts = set(), set()
    for path in Path(resources.files("numroute_campaign")).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Constant):
                texts.add(node.value)
            elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Phrase":
                phrases |= {each.value for each in node.args[:1] if isinstance(each, ast.Constant)}
    assert used <= set(russian) <= used | texts
    assert phrases - {"{}: {}"} <= set(russian)
    assert all(russian[text].count("{}") == text.count("{}") for text in used)
    page = report_html(SUMMARY, language)
    assert f'<html lang="{language}">' in page
    assert ("Операторы" in page) is (language == "ru")
    assert (f"80,0{THIN_SPACE}%" in page) is (language == "ru")


@pytest.mark.parametrize(("language", "name"), [("en", "further numbers"), ("ru", "ещё номера")])
def test_further_numbers_of_cells_are_a_step(
    route, tmp_path: Path, language: str, name: str
) -> None:
    """The steps add up: valid rows and further numbers less duplicates are the unique ones."""
    path = tmp_path / "list.csv"
    rows = "".join(f'"7916123450{i}; 7903123450{i}"\n' for i in range(5))
    path.write_text(f"phone\n{rows}79161234500\n")
    routed = route(path, "--several", "all", "--language", language)
    steps = routed.summary["steps"]
    assert steps["valid"] + steps["further"] - steps["duplicates"] == steps["unique"] == 10
    page = (routed.folder / "report.html").read_text("utf-8")
    assert re.search(rf">{name}</td>\s*<td class=\"number\">\+5</td>", page)


def test_columns_are_named_in_the_language_of_the_page(route, tmp_path: Path) -> None:
    """A column without a name is called by its place; № is a name."""
    path = tmp_path / "list.csv"
    path.write_text("№,,Телефон\n1,Иванов,+79161234567\n2,Петров,+79161234568\n", "utf-8")
    routed = route(path, "--language", "ru")
    assert routed.summary["dropped_columns"] == ["№", "column 2"]
    page = (routed.folder / "report.html").read_text("utf-8")
    assert "<dd>№, столбец 2</dd>" in page


def test_a_phrase_is_copied_whole() -> None:
    """A name with braces, of a file or a sheet, stays as it is."""
    phrase = Phrase("{}: {}", "a{b}.csv", Phrase("{} rows were", "2"))
    copied = copy.deepcopy(phrase)
    assert (copied, copied.template, copied.values) == (phrase, phrase.template, phrase.values)


def test_warnings_are_said_in_the_language_of_the_page(route, tmp_path: Path) -> None:
    """The summary keeps English for programs; people read theirs."""
    path = tmp_path / "list.csv"
    rows = "".join(f'"7916123450{i}; 7903123450{i}"\n' for i in range(5))
    path.write_text(f"Отчёт\n\nТелефон\n{rows}нет\n", "utf-8")
    routed = route(path, "--language", "ru", "--max-rejected", 0.1, status=1)
    page = (routed.folder / "report.html").read_text("utf-8")
    assert "над заголовком, как название, пропущена 1 строка" in page
    assert "ячеек с несколькими номерами: 5; остальных номеров, которые не взяты: 5" in page
    assert "1 из 6 строк (17%) без номера" in page
    assert any("cells with several numbers: 5" in each for each in routed.summary["warnings"])
