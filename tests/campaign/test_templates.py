"""Output templates: files as suppliers take them, read again; cells that no spreadsheet runs."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from python_calamine import CalamineWorkbook

from numroute.errors import InputError
from numroute_campaign import outputs
from numroute_campaign.policy import read_policy
from numroute_campaign.templates import Template, bytes_of, rows_text

RECIPES = Path(__file__).parents[2] / "docs" / "recipes"
TEXTS = ["Скидка 20 %; ждём", 'Ваш "код" 1', "Привет, Анна", "строка\nвторая", "обычный"]


@pytest.fixture
def list_file(ported: list[int], tmp_path: Path) -> Path:
    """Return a list of ported numbers with a text each."""
    path = tmp_path / "list.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["phone", "text"])
        writer.writerows([number, TEXTS[i % 5]] for i, number in enumerate(ported[:100]))
    return path


def test_the_plain_recipe_is_read_again(route, list_file: Path, ported: list[int]) -> None:
    """``number;text`` has every number with its text, in order, and nothing else."""
    routed = route(list_file, "--policy", RECIPES / "policy-plain.toml")
    with (routed.folder / "supplier.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file, delimiter=";"))
    assert rows[0] == ["number", "text"]
    assert rows[1:] == [[str(n), TEXTS[i % 5]] for i, n in enumerate(ported[:100])]
    assert routed.summary["kept_columns"] == ["text"]


def test_the_job_recipe_is_read_again(route, list_file: Path, ported: list[int]) -> None:
    """A job file per window: its header block, CR LF, cp1251, quotes, identifiers of the list."""
    routed = route(list_file, "--policy", RECIPES / "policy-job.toml")
    files = sorted(routed.folder.glob("job-*.txt"))
    rows: dict[int, tuple[str, str]] = {}
    for path in files:
        data = path.read_bytes()
        assert re.sub(rb'"[^"]*(""[^"]*)*"', b"", data).count(b"\n") == data.count(b"\r\n")
        text = data.decode("cp1251")
        job, window, rest = text.split("\r\n", 2)
        assert job == "#job;job"
        begin, end = re.fullmatch(r"#send;(\d\d:\d\d);(\d\d:\d\d)", window).groups()
        assert path.name == f"job-{begin}-{end}.txt".replace(":", "")
        for identifier, number, words in csv.reader(rest.splitlines(keepends=True), delimiter=";"):
            rows[int(identifier)] = (number, words)
    assert len(files) > 1
    assert rows == {i + 1: (f"+{n}", TEXTS[i % 5]) for i, n in enumerate(ported[:100])}
    groups = {name for each in routed.summary["routes"] for name in each["files"]}
    assert groups == {path.name for path in files}


def policy(path: Path, *lines: str, columns: str = 'n = "number"') -> Path:
    """Write a policy whose only route has a template."""
    rule = 'use_template = "t"\n[[rule]]\nroute = "a"\n[template.t]\n'
    path.write_text(rule + "\n".join(lines) + f"\n[template.t.columns]\n{columns}\n", "utf-8")
    return path


@pytest.mark.parametrize(
    ("lines", "shown"),
    [
        ((), "{n}"),
        (('number_prefix = "+"',), "+{n}"),
        (('number = "national"',), "{national}"),
        (('number = "national"', 'number_prefix = "8"', 'quoting = "all"'), '"8{national}"'),
    ],
)
def test_numbers_are_written_as_the_supplier_takes_them(
    route, tmp_path: Path, ported: list[int], lines: tuple[str, ...], shown: str
) -> None:
    """International or national, with a prefix or without."""
    path, number = tmp_path / "list.csv", ported[0]
    path.write_text(f"phone\n{number}\n", "ascii")
    routed = route(path, "--policy", policy(tmp_path / "p.toml", "header = false", *lines))
    expected = shown.format(n=number, national=number - 70_000_000_000)
    assert (routed.folder / "a.csv").read_text("ascii") == expected + "\n"


def test_columns_of_another_route_stay(route, list_file: Path, tmp_path: Path) -> None:
    """A column that one route's template writes is not in the files of a route without one."""
    path = tmp_path / "p.toml"
    path.write_text(
        '[[rule]]\nroute = "a"\nbrand = "M*"\ntemplate = "t"\n[[rule]]\nroute = "b"\n'
        '[template.t.columns]\nid = "row_id"\nfixed = "text:Sale"\nwords = "list:TEXT"\n'
        'op = "operator"\nst = "status"\n',
        "utf-8",
    )
    routed = route(list_file, "--policy", path)
    with (routed.folder / "a.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter=";"))
    assert {row["fixed"] for row in rows} == {"Sale"}
    assert {row["st"] for row in rows} == {"PORTED"}
    assert all(row["words"] == TEXTS[(int(row["id"]) - 1) % 5] for row in rows)
    assert list(routed.rows("b.csv")[0]) == [
        "row_id", "number", "route", "operator", "mcc", "mnc", "status",
    ]  # fmt: skip
    assert len(rows) + len(routed.rows("b.csv")) == 100


def test_what_an_encoding_or_a_dialect_cannot_write_is_an_error(
    route, tmp_path: Path, ported: list[int]
) -> None:
    """A character that cp1251 lacks or a bare delimiter ends the run; the cell is not quoted."""
    path = tmp_path / "list.csv"
    words = 'n = "number"\nt = "list:text"'
    for cell, line in (("Привет 🎉", 'encoding = "cp1251"'), ("a;b", 'quoting = "none"')):
        path.write_text(f"phone,text\n{ported[0]},{cell}\n", "utf-8")
        rules = policy(tmp_path / "p.toml", line, columns=words)
        err = route(path, "--policy", rules, status=1).err
        assert cell not in err
        assert "Give the template" in err
        assert not (tmp_path / "out").exists()


BAD = {
    "source": ('n = "nubmer"', "", "unknown source 'nubmer'"),
    "no column": ("", "", "the template has no column"),
    "delimiter": ('n = "number"', 'delimiter = ";;"', "template.t.delimiter"),
    "quote": ('n = "number"', "delimiter = '\"'", "template.t.delimiter"),
    "encoding": ('n = "number"', 'encoding = "cp1252"', "template.t.encoding"),
    "block": ('n = "number"', 'header_block = ["{number}"]', "unknown placeholder"),
    "braces": ('n = "number"', 'header_block = ["{", "{"]', "unknown placeholder"),
    "prefix": ('n = "number"', 'number_prefix = "tel"', "template.t.number_prefix"),
}


@pytest.mark.parametrize("defect", BAD)
def test_a_bad_template_is_refused_with_the_path_of_the_key(defect: str, tmp_path: Path) -> None:
    """Each defect names the template and the key."""
    columns, line, words = BAD[defect]
    with pytest.raises(InputError) as caught:
        read_policy(policy(tmp_path / "p.toml", line, columns=columns))
    assert "template.t" in str(caught.value)
    assert words in str(caught.value)


def test_a_route_has_one_template(tmp_path: Path) -> None:
    """Two rules with the same route and different templates, or an unknown one, are refused."""
    path = tmp_path / "p.toml"
    text = '[[rule]]\nroute = "a"\nbrand = "x"\ntemplate = "t"\n[[rule]]\nroute = "a"\n'
    path.write_text(text + '[template.t.columns]\nn = "number"\n', "utf-8")
    with pytest.raises(InputError, match="has another template in an earlier rule"):
        read_policy(path)
    path.write_text('use_template = "s"\n[template.t.columns]\nn = "number"\n', "utf-8")
    with pytest.raises(InputError, match="there is no template 's'"):
        read_policy(path)


CELL = st.text(st.sampled_from("=+-@;,\t\r\n\"'a1 "), max_size=8)


@settings(deadline=None)
@given(st.lists(CELL, min_size=1, max_size=4), st.sampled_from([",", ";", "\t"]))
@example(["x;=cmd|' /C calc'!A1"], ",")
def test_no_cell_is_a_formula_however_a_spreadsheet_splits_it(
    cells: list[str], delimiter: str
) -> None:
    """Read with its own delimiter, or split at another or at line breaks, no piece is a formula."""
    template = Template(columns={"row_id": "row_id"}, delimiter=delimiter)
    text = rows_text([pa.array([cell]) for cell in ["1", *cells]], template)
    line = bytes(bytes_of(text)).decode()
    (row,) = csv.reader([line], delimiter=delimiter) if "\n" not in line[:-1] else [[]]
    assert not any(cell[:1] in tuple("=+-@\t\r\n") for cell in row if cell)
    others = "".join({",", ";", "\t"} - {delimiter})
    for piece in re.split(f"[{others}\r\n]", line):
        assert not piece.startswith(tuple("=+-@"))


def sheet_of(path: Path) -> list[list[object]]:
    """Return the rows of a workbook's first sheet."""
    return CalamineWorkbook.from_path(path).get_sheet_by_index(0).to_python()


def test_a_workbook_has_every_number_as_text(route, tmp_path: Path, ported: list[int]) -> None:
    """--format xlsx: numbers, formulas and long digits come back exactly, as texts."""
    path = tmp_path / "list.csv"
    cells = ["=1+1", "00123456789012345678", "http://x.ru", "", 'q"; x']
    rows = [[str(n), cells[i % 5]] for i, n in enumerate(ported[:50])]
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["phone", "note"], *rows])
    routed = route(path, "--format", "xlsx", "--keep", "note")
    found = {}
    for file in routed.folder.glob("*.xlsx"):
        head, *body = sheet_of(file)
        assert head == ["row_id", "number", "route", "operator", "mcc", "mnc", "status", "note"]
        assert all(isinstance(cell, str) for row in body for cell in row)
        found |= {int(row[0]): [row[1], row[-1]] for row in body}
        assert file.stat().st_mode & 0o777 == 0o600
    assert found == {i + 1: row for i, row in enumerate(rows)}


def test_a_workbook_is_split_before_the_limit_of_a_sheet(
    route, tmp_path: Path, ported: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """More rows than a sheet can hold go to several files, whatever --rows-per-file says."""
    monkeypatch.setattr(outputs, "SHEET_ROWS_MAX", 21)
    path, rules = tmp_path / "list.csv", tmp_path / "p.toml"
    path.write_text("phone\n" + "".join(f"{n}\n" for n in ported[:50]), "ascii")
    rules.write_text('[[rule]]\nroute = "all"\n', "ascii")
    for out, words in (("a", ()), ("b", ("--rows-per-file", 1000))):
        routed = route(path, "--format", "xlsx", "--policy", rules, *words, out=out)
        files = sorted(routed.folder.glob("*.xlsx"))
        assert [file.name for file in files] == [f"all-{i:05}.xlsx" for i in (1, 2, 3)]
        sheets = [
            CalamineWorkbook.from_path(file).get_sheet_by_index(0).to_python() for file in files
        ]
        assert [len(sheet) for sheet in sheets] == [21, 21, 11]
        assert [row[1] for sheet in sheets for row in sheet[1:]] == [str(n) for n in ported[:50]]


def test_a_cell_that_a_sheet_cannot_hold_is_an_error(
    route, tmp_path: Path, ported: list[int]
) -> None:
    """A text longer than a worksheet's cell ends the run; it is not cut."""
    path = tmp_path / "list.csv"
    path.write_text(f"phone,note\n{ported[0]},{'x' * 40_000}\n", "ascii")
    err = route(path, "--format", "xlsx", "--keep", "note", status=1).err
    assert "longer than the 32,767 characters" in err
    assert not (tmp_path / "out").exists()
    rules = policy(tmp_path / "p.toml")
    assert "templates" in route(path, "--format", "xlsx", "--policy", rules, status=1).err
