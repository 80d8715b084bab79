"""Depersonalised hand-overs: where key and map lie, the act, and the check before sending."""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xlsxwriter
from support.registry import command

from numroute.errors import InputError, SettingError
from numroute_campaign.handover import check_places, fingerprint
from numroute_campaign.personal_data import KINDS, Finding, check_handover

PLANTED = {
    "name": [
        "Анна", "Петров", "ИВАНОВА МАРИЯ", "Сидоренко А.Б.", "Kuznetsova", "olga: Olga",
        "Здравствуйте, Сергей!", "Пётр Ильич",
    ],
    "e-mail": ["a.b@mail.ru", "пишите на x_1@почта.рф", "Anna <anna@x.example>"],
    "date of birth": ["12.03.1985", "1990-01-31", "р. 1/2/2001 г."],
    "address": ["ул. Ленина, 5", "г. Омск", "пр-т Мира д. 3", "10 Baker Street", "проспект Мира"],
    "phone number": [
        "+7 916 123-45-67", "89161234567", "тел. 8 (916) 123-45-67 Анне", "79161234567",
    ],
    "document": ["45 08 123456", "112-233-445 95", "2200 0000 0000 0004"],
}  # fmt: skip
CLEAN = {
    "row_id": ["1", "25", "10000000"],
    "pseudonym": ["0123456789abcdef0123456789abcdef", "79161234567791612345677916123456"],
    "operator": ["МТС", "Билайн", "МегаФон", "T2", "ПАО Ростелеком"],
    "status": ["PORTED", "NOT_PORTED"],
    "send_from_utc": ["07:00", "21:30"],
    "text": ["Скидка 20 % до 31.12.2026", "Снова в продаже", "Заказ 12345 готов", "код 8812"],
    "amount": ["1200.50", "0", "99999"],
}


def write(path: Path, columns: dict[str, list[str]], *, header: bool = True) -> None:
    """Write a file of columns in the form that its ending says."""
    rows = list(zip(*columns.values(), strict=True))
    if path.suffix == ".xlsx":
        with xlsxwriter.Workbook(path) as workbook:
            sheet = workbook.add_worksheet()
            for i, row in enumerate([tuple(columns), *rows]):
                for j, cell in enumerate(row):
                    sheet.write_string(i, j, cell)
    elif path.suffix == ".parquet":
        pq.write_table(pa.table(columns), path)
    elif path.suffix == ".arrow":
        with pa.ipc.new_file(path, pa.table(columns).schema) as file:
            file.write_table(pa.table(columns))
    else:
        encoding = "cp1251" if path.suffix == ".txt" else "utf-8"
        with path.open("w", encoding=encoding, newline="") as file:
            writer = csv.writer(file, delimiter=";" if path.suffix == ".txt" else ",")
            writer.writerows([list(columns)] if header else [])
            writer.writerows(rows)


def filled(cells: list[str], rows: int = 60) -> list[str]:
    """Return a column of so many cells."""
    return [cells[i % len(cells)] for i in range(rows)]


@pytest.mark.parametrize("form", ["csv", "txt", "parquet", "arrow", "xlsx"])
def test_every_planted_column_is_found_and_no_other(form: str, tmp_path: Path) -> None:
    """A column of each kind under a name that says nothing, between columns that are clean."""
    columns = {name: filled(cells) for name, cells in CLEAN.items()}
    for i, cells in enumerate(PLANTED.values()):
        columns[f"x{i}"] = filled(cells)
    write(tmp_path / f"a.{form}", columns)
    check = check_handover(tmp_path, "RU")
    found = {(each.column, each.kind): each.cells for each in check.findings}
    for i, kind in enumerate(PLANTED):
        assert found.pop((f"x{i}", kind)) == 60, kind
    # Some planted cells have two kinds of personal data.
    assert {column for column, _ in found} <= {f"x{i}" for i in range(len(PLANTED))}
    assert (check.rows, check.unread) == (60, ())


@pytest.mark.parametrize("kind", KINDS)
def test_one_planted_cell_is_found_with_its_row(kind: str, tmp_path: Path) -> None:
    """One cell among many, in a file without a header, is found with column and row."""
    rng = random.Random(kind)
    for i, cell in enumerate(PLANTED[kind]):
        columns = {name: filled(cells, 500) for name, cells in CLEAN.items()}
        at = rng.randrange(500)
        columns["text"][at] = cell
        write(tmp_path / "a.csv", columns, header=False)
        found = [each for each in check_handover(tmp_path, "RU").findings if each.kind == kind]
        assert found == [
            Finding(file="a.csv", column="column 6", kind=kind, cells=1, filled=500, rows=(at + 1,))
        ], (i, cell)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("ФИО", "name"), ("last_name", "name"), ("Имя клиента", "name"), ("E-mail", "e-mail"),
        ("Почта", "e-mail"), ("Дата рождения", "date of birth"), ("Адрес доставки", "address"),
        ("Моб.", "phone number"), ("phone2", "phone number"), ("Паспорт", "document"),
        ("ИНН", "document"), ("Имя/название", "name"), ("№ паспорта", "document"),
        ("Почта (личная)", "e-mail"),
    ],
)  # fmt: skip
def test_a_column_is_found_by_its_name(name: str, kind: str, tmp_path: Path) -> None:
    """A column named for personal data is reported whatever its cells look like."""
    write(tmp_path / "a.csv", {"row_id": ["1", "2"], name: ["x", "y"]})
    (found,) = check_handover(tmp_path, "RU").findings
    assert (found.column, found.kind, found.cells) == (name, kind, 0)


def test_lines_outside_the_table_are_searched(tmp_path: Path) -> None:
    """A header block, and rows with more cells than the others, are not overlooked."""
    rows = "".join(f"{i};{i:032x}\n" for i in range(50))
    (tmp_path / "job.txt").write_text(f"#job;for Иванов Иван;x;y\n{rows}", "utf-8")
    (found,) = check_handover(tmp_path, "RU").findings
    assert (found.column, found.kind, found.rows) == ("column 2", "name", (1,))
    (tmp_path / "job.txt").write_text(f"{rows}1;{'x;' * 30_000}Иванов Иван\n", "utf-8")
    (found,) = check_handover(tmp_path, "RU").findings
    assert (found.column, found.kind, found.rows) == ("column 3", "name", (51,))


def test_a_workbook_s_first_row_names_its_columns(tmp_path: Path) -> None:
    """Whatever it holds: names of people spelt with brackets are found."""
    with xlsxwriter.Workbook(tmp_path / "a.xlsx") as workbook:
        sheet = workbook.add_worksheet()
        for row, cells in enumerate((("row_id", "ФИО (полностью)"), ("1", "x"), ("2", "y"))):
            sheet.write_row(row, 0, cells)
    (found,) = check_handover(tmp_path, "RU").findings
    assert (found.column, found.kind, found.cells) == ("ФИО (полностью)", "name", 0)


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    """Damaged files and files of another form are named; an empty folder is an error."""
    with pytest.raises(InputError, match="nothing to check"):
        check_handover(tmp_path, None)
    with pytest.raises(InputError, match="not a folder"):
        check_handover(tmp_path / "x", None)
    (tmp_path / "a.zip").write_bytes(b"PK\0\0")
    assert check_handover(tmp_path, None).unread == ("a.zip",)
    (tmp_path / "b.parquet").write_bytes(b"PAR1")
    assert check_handover(tmp_path, None).unread == ("a.zip", "b.parquet")


@pytest.mark.parametrize(
    ("map_path", "key", "words"),
    [
        (
            "d/out/m/map.csv",
            "k/key",
            "the map of pseudonyms would lie in, beside or above the output",
        ),
        ("d/map.csv", "k/key", "the map of pseudonyms would lie in, beside or above the output"),
        ("map.csv", "k/key", "the map of pseudonyms would lie in, beside or above the output"),
        ("m/map.csv", "d/out/key", "the key would lie in, beside or above the output"),
        ("m/map.csv", "d/key", "the key would lie in, beside or above the output"),
        ("m/map.csv", "m/key", "would lie in one folder"),
        (
            "m/link/map.csv",
            "k/key",
            "the map of pseudonyms would lie in, beside or above the output",
        ),
        ("m/map.csv", "k/key", ""),
    ],
)
def test_places_of_key_and_map(tmp_path: Path, map_path: str, key: str, words: str) -> None:
    """Not in the output folder, beside or above it, nor both together; links are followed."""
    for folder in ("d/out", "m", "k"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "m" / "link").symlink_to(tmp_path / "d" / "out")
    paths = (tmp_path / "d" / "out", tmp_path / map_path, tmp_path / key)
    if not words:
        check_places(*paths)
        return
    with pytest.raises(SettingError, match=words):
        check_places(*paths)


@pytest.mark.parametrize("language", ["en", "ru"])
def test_the_act_says_what_was_handed_over(route, tmp_path: Path, language: str) -> None:
    """Who, when, from which files, which columns, by which key and where the map lies."""
    for folder in ("k", "m"):
        (tmp_path / folder).mkdir()
    path, stop, rules = (tmp_path / name for name in ("list.csv", "stop.csv", "p.toml"))
    path.write_text("phone,name,city\n79161110000,Anna,Omsk\n79161110001,Petr,Tver\nx,,\n", "utf-8")
    stop.write_text("phone\n79161110001\n", "ascii")
    rules.write_text('[[rule]]\nroute = "all"\n', "ascii")
    key, map_path = tmp_path / "k" / "key", tmp_path / "m" / "map.csv"
    words = ("--pseudonymize", key, "--map", map_path, "--policy", rules, "--suppress", stop)
    routed = route(path, *words, "--keep", "city", "--language", language, "--max-rejected", "1")
    act = json.loads((routed.folder / "act.json").read_text("utf-8"))
    digests = {
        (each["role"], each["name"]): (each["bytes"], each["sha256"])
        for each in (*act["inputs"], *act["outputs"])
    }
    for role, file in (
        ("list", path), ("do-not-send list", stop), ("policy file", rules),
        ("output", routed.folder / "all.csv"), ("output", routed.folder / "summary.json"),
    ):  # fmt: skip
        name = next(name for kind, name in digests if kind == role and file.name in name)
        data = file.read_bytes()
        assert digests[role, name] == (len(data), hashlib.sha256(data).hexdigest())
    assert act["columns"] == [
        "row_id", "pseudonym", "route", "operator", "mcc", "mnc", "status", "city",
    ]  # fmt: skip
    assert act["dropped_columns"] == ["name"]
    assert act["map"] == str(map_path)
    assert (act["steps"]["rows"], act["steps"]["routed"]) == (3, 1)
    secret = bytes.fromhex(key.read_text("ascii"))
    assert act["key_fingerprint"] == fingerprint(secret)
    page = (routed.folder / "act.html").read_text("utf-8")
    assert f'<html lang="{language}">' in page
    assert ("Акт передачи" in page) is (language == "ru")
    assert all(digest in page for _, digest in digests.values())
    for text in (page, json.dumps(act)):
        assert secret.hex() not in text
        assert "7916111" not in text
    assert (routed.folder / "act.json").stat().st_mode & 0o777 == 0o600


def test_the_command_finds_what_was_kept(route, list_csv: Path, tmp_path: Path) -> None:
    """``check-handover`` passes pseudonyms, and fails on a name that --keep let out."""
    for folder in ("k", "m"):
        (tmp_path / folder).mkdir()
    words = ("--pseudonymize", tmp_path / "k" / "key", "--map", tmp_path / "m" / "map.csv")
    clean = route(list_csv, *words)
    done = command("numroute", "check-handover", clean.folder, "--region", "RU")
    assert (done.status, done.err) == (0, "")
    assert "looks like personal data" in done.out
    (tmp_path / "m" / "map.csv").unlink()
    dirty = route(list_csv, *words, "--keep", "name", out="dirty")
    done = command("numroute", "check-handover", dirty.folder, "--region", "RU")
    assert done.status == 1
    assert "name" in done.out
    done = command("numroute", "check-handover", dirty.folder, "--region", "RU", "--json")
    assert {each["kind"] for each in json.loads(done.out)["findings"]} == {"name"}


@pytest.mark.parametrize("form", ["parquet", "arrow"])
def test_nested_columns_are_searched(tmp_path: Path, form: str) -> None:
    """Lists and structs hold texts too."""
    table = pa.table({"x": [["79161234567"]], "y": [{"a": "a@b.example"}], "z": ["ok"]})
    if form == "parquet":
        pq.write_table(table, tmp_path / "a.parquet")
    else:
        with pa.ipc.new_stream(tmp_path / "a.arrow", table.schema) as file:
            file.write_table(table)
    found = {(each.column, each.kind) for each in check_handover(tmp_path, "RU").findings}
    assert found == {("x", "phone number"), ("y", "e-mail")}


def test_other_encodings_and_packed_files_are_searched(tmp_path: Path) -> None:
    """UTF-16 and gzip are read; a number in a file's name is not printed whole."""
    (tmp_path / "a.csv").write_text("x\nАнна\n", "utf-16")
    with gzip.open(tmp_path / "b.csv.gz", "wt", encoding="utf-8") as file:
        file.write("x\n+7 916 123-45-67\n")
    (tmp_path / "ivan-79161234567.csv").write_text("x\na@b.example\n", "ascii")
    (tmp_path / "empty.csv").touch()
    check = check_handover(tmp_path, "RU")
    assert check.unread == ()
    assert {(each.file, each.kind) for each in check.findings} == {
        ("a.csv", "name"), ("b.csv.gz", "phone number"),
        ("ivan-791********.csv", "e-mail"),
    }  # fmt: skip


def test_what_cannot_be_searched_is_said(tmp_path: Path) -> None:
    """A file of a form that is not searched is named."""
    (tmp_path / "a.pdf").write_bytes(b"%PDF-1.7\n")
    (tmp_path / "b.csv").write_text("x\n1\n", "ascii")
    assert check_handover(tmp_path, "RU").unread == ("a.pdf",)
