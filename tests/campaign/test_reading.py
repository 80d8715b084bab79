"""Lists as people export them: every row is routed, or counted with its reason."""

from __future__ import annotations

import datetime as dt
import random
import unicodedata
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xlsxwriter
from python_calamine import CalamineWorkbook

from numroute.errors import InputError, SettingError
from numroute.index import SnapshotStore
from numroute_campaign import Campaign, run_campaign
from numroute_campaign.lists import csv_list
from numroute_campaign.lists.cells import read_cell
from numroute_campaign.lists.csv_list import cells_of, cut_records, read_columns
from numroute_campaign.lists.files import ReadOptions, find_files
from numroute_campaign.lists.opening import open_list
from numroute_campaign.routers import SnapshotRouter
from numroute_campaign.vocabulary import SEVERAL

NAMES = ("Иванова Анна", "Петров Пётр", "Сидорова Мария", "Кузнецов Олег", "Ершова Нина")
NUMBERS = (79161234501, 79031234502, 79261234503, 79771234504, 79161234505)
FORMATTED = tuple(f"8 ({n[1:4]}) {n[4:7]}-{n[7:9]}-{n[9:]}" for n in map(str, NUMBERS))


@pytest.fixture
def write(tmp_path: Path):
    """Return a function that writes a file."""

    def make(content: str | bytes, name: str = "list.csv", encoding: str = "utf-8") -> Path:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
        return path

    return make


def numbers_of(path: Path, region: str | None = "RU", **options: object) -> list[int]:
    """Return the first numbers of the phone column of a file, 0 where a row has none."""
    (file,) = find_files([str(path)])
    opened = open_list(file, ReadOptions(region=region, **options))
    try:
        found: list[int] = []
        lines = 0
        for task in opened.tasks():
            block = task()
            lines += block.lines
            cells = [
                (read_cell(str(text or ""), region).numbers or (0,))[0]
                for text in block.phones[0].to_pylist()
            ]
            found += cells
        opened.check_lines(lines)
        return found
    finally:
        opened.close()


def found_in(path: Path, region: str | None = "RU", **options: object):
    """Return how a file is read."""
    (file,) = find_files([str(path)])
    opened = open_list(file, ReadOptions(region=region, **options))
    opened.close()
    return opened


def table(delimiter: str, *columns: object, head: str = "") -> str:
    """Return rows of columns as text."""
    rows = [delimiter.join(map(str, row)) for row in zip(*columns, strict=True)]
    return "\n".join([*([head] if head else []), *rows, ""])


@pytest.mark.parametrize(
    "head", ['Клиент;Экран 15";Телефон', 'Клиент;"Экран;Телефон"', 'Кли"ент;Экран;Телефон']
)
def test_a_stray_quote_in_a_header_is_a_character(write, head: str) -> None:
    """The sample that decides and the stream are read alike: no row is lost."""
    if head.count(";") - head.count('";') < 1:
        pytest.skip("a quoted cell")
    text = table(";", NAMES, ["да"] * 5, FORMATTED, head='Клиент;Экран 15";Телефон')
    assert numbers_of(write(text)) == list(NUMBERS)
    closed = text.replace("Петров Пётр;да", 'Петров Пётр;19" ок')
    assert numbers_of(write(closed)) == list(NUMBERS)
    quoted = text.replace("Кузнецов Олег", '"Кузнецов Олег ""ИП"""')
    assert numbers_of(write(quoted)) == list(NUMBERS)


def test_the_cells_of_the_sample_are_those_of_the_list() -> None:
    """The sample's records are cut into the cells that pyarrow reads, whatever their quotes."""
    draw = random.Random(1)
    for _ in range(3000):
        text = "".join(draw.choice('ab";,\n ') for _ in range(draw.randint(1, 16))).encode()
        for record in filter(None, (each for each, _ in cut_records(text, ";"))):
            cells = cells_of(record, ";")
            read = read_columns(record + b"\n", ";", len(cells), range(len(cells)))
            assert [[cell] for cell in cells] == [each.to_pylist() for each in read.values()]


@pytest.mark.parametrize("mark", ["\u2028", "\x0b", "\x0c", "\x85", "\x1c"])
def test_other_line_ends_of_unicode_end_no_record(write, mark: str) -> None:
    """A line separator within a cell is a character, for the sample as for the stream."""
    names = [name.replace(" ", mark) for name in NAMES]
    text = table(";", names, NUMBERS, head="Имя;Телефон")
    assert numbers_of(write(text)) == list(NUMBERS)


@pytest.mark.parametrize("lead", ["", "\n\n", ";;\n", " ; ;\n;;\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1251"])
def test_title_rows_and_totals(write, lead: str, encoding: str) -> None:
    """The header is found below titles; the row of totals is no person."""
    text = (
        lead
        + "Список клиентов;;\nна 23.08.2026;;\n;;\n"
        + table(";", NAMES, FORMATTED, ["Тверь"] * 5, head="Клиент;Телефон;Город")
        + "Итого;5;\n"
    )
    path = write(text, encoding=encoding)
    assert numbers_of(path) == [*NUMBERS, 0]
    found = found_in(path)
    assert found.columns == ("Клиент", "Телефон", "Город")
    assert (found.summary().phone_column, found.why) == ("Телефон", "by its name")
    assert any("passed over above the header" in each for each in found.warnings)
    assert found_in(path, column="Телефон", keep=("Клиент",)).why == "named by --column"


@pytest.mark.parametrize("first", ["sep=;", '"sep=;"', "SEP=;", "\ufeffsep=;", "\ufeff\ufeffsep=;"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_stated_delimiter(write, first: str, end: str) -> None:
    """The line sep=; states the delimiter; the header is behind it."""
    text = f"{first}\n" + table(";", NAMES, FORMATTED, ["Тверь"] * 5, head="Имя;Телефон;Город")
    path = write(text.replace("\n", end))
    assert numbers_of(path) == list(NUMBERS)
    assert found_in(path, column="Телефон").columns == ("Имя", "Телефон", "Город")


def test_delimiters_at_the_end_of_rows(write) -> None:
    """A last cell that is empty in every row is no cell, in the header as in the rows."""
    longer = table(";", NAMES, [f"{n};" for n in NUMBERS], head="Имя;Телефон")
    assert numbers_of(write(longer)) == list(NUMBERS)
    assert found_in(write(longer)).columns == ("Имя", "Телефон")
    assert numbers_of(write(table(";", NAMES, NUMBERS, head="Имя;Телефон;"))) == list(NUMBERS)
    mixed = table(
        ";",
        NAMES,
        [f"{n}{end}" for n, end in zip(NUMBERS, ("", ";", ";;", ";x", ";"), strict=True)],
        head="Имя;Телефон",
    )
    assert numbers_of(write(mixed)) == [*NUMBERS[:3], NUMBERS[3], NUMBERS[4]]


def test_a_comma_in_a_short_list_is_not_the_delimiter(write) -> None:
    """What cuts more of the records alike is the delimiter: the rest are not titles."""
    path = write("ФИО;Контакты\nИ;79161234501\nП;тел. 79031234502, до 18\n")
    assert numbers_of(path, has_header=True) == list(NUMBERS[:2])


def test_short_rows_and_blank_rows(write) -> None:
    """Cells missing at the end are empty; a row without its phone cell is damaged."""
    text = "Имя;Телефон;Город;Комментарий\n"
    text += "А;79161234501;Тверь;x\nБ;79161234502\n\n;;;\nВ\nГ;79161234504;Тверь;x;y\n"
    text += "Д;79161234505;Тверь;x\nЕ;79161234506;Тверь;x\n"
    assert numbers_of(write(text)) == [
        79161234501, 79161234502, 0, 0, 0, 0, 79161234505, 79161234506,
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["Оля", "Ян", "Юля", "Анна", "Щукин", "ёжик", "Ія Їжак"])
def test_short_cyrillic_names(write, route, name: str) -> None:
    """One short name is enough to tell windows-1251."""
    path = write(f"name;phone\n{name};79161234501\n", encoding="cp1251")
    assert found_in(path).summary().encoding == "cp1251"


@pytest.mark.parametrize(
    ("head", "what"),
    [
        (b"<html><body><table><tr><td>79161234501</td></tr></table>", "an HTML page"),
        (b"\xef\xbb\xbf<!DOCTYPE html>\n<html>", "an HTML page"),
        (b'<?xml version="1.0"?>\n<Workbook xmlns="x">', "an XML spreadsheet"),
        (b'<?xml version="1.0"?><clients/>', "an XML document"),
        (b"MIME-Version: 1.0\n\nx", "a web archive"),
        (b"BEGIN:VCARD\nTEL:79161234501\nEND:VCARD\n", "an address book"),
        (b'[{"phone": "79161234501"}]', "JSON"),
        (b"%PDF-1.7\n", "a PDF document"),
        (b"Rar!\x1a\x07\x00", "an archive"),
        (b"\x89PNG\r\n\x1a\n", "a picture"),
        (b"PK\x03\x04" + bytes(100), "a damaged Excel workbook"),
        (
            b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + "EncryptedPackage".encode("utf-16-le"),
            "protected with a password",
        ),
    ],
)
@pytest.mark.parametrize("name", ["list.csv", "list.xls"])
def test_another_kind_of_file(write, head: bytes, what: str, name: str) -> None:
    """A file of another kind is called what it is, whatever its name."""
    with pytest.raises(InputError, match=what) as caught:
        numbers_of(write(head, name))
    assert caught.value.hint


@pytest.mark.parametrize("member", ["list.csv", "word/document.xml"])
def test_an_archive_is_no_workbook(tmp_path: Path, member: str) -> None:
    """A zip of lists, and a text document, are refused."""
    path = tmp_path / "list.xlsx"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(member, "x")
    with pytest.raises(InputError, match="or another kind of file"):
        numbers_of(path)


TAX_NUMBERS = (7707083893, 7728168971, 7736050003, 7702070139, 7704217370)


@pytest.mark.parametrize("head", ["Наименование;ИНН;Контакты", "Название;ИНН;Телефоны", "a;b;c"])
def test_tax_numbers_are_no_phone_numbers(write, head: str) -> None:
    """ИНН is never taken, by its name or, without one, by its check digits."""
    several = [f'"{n}, (495) 123-45-6{i}; mail{i}@example.org"' for i, n in enumerate(FORMATTED)]
    path = write(table(";", NAMES, TAX_NUMBERS, several, head="" if head == "a;b;c" else head))
    assert numbers_of(path) == list(NUMBERS)
    with pytest.raises(InputError, match="no column holds phone numbers"):
        numbers_of(write(table(";", NAMES, TAX_NUMBERS, head="Название;ИНН")))
    with pytest.raises(InputError, match="no column holds phone numbers"):
        numbers_of(write(table(";", NAMES, TAX_NUMBERS)))


@pytest.mark.parametrize(
    "others",
    [
        ("5536 9138 0000 0008", "5536 9138 0000 0016", "5536 9138 0000 0024"),
        ("5513531864412", "5513531864423", "5513531864434"),
    ],
)
def test_other_numbers_by_their_check_digits(write, others: tuple[str, ...]) -> None:
    """Cards and ОГРН that read as numbers of some country are not taken, also without a name."""
    with pytest.raises(InputError, match="no column holds phone numbers"):
        numbers_of(write(table(";", NAMES[:3], others)), None)


@pytest.mark.parametrize(
    "name", ["ОГРН", "СНИЛС", "Номер карты", "Р/с", "order_id", "Номер заказа", "Account", "Дата"]
)
def test_other_numbers_by_their_names(write, name: str) -> None:
    """Numbers with another name are not taken, even where they read as phone numbers."""
    with pytest.raises(InputError, match="no column holds phone numbers"):
        numbers_of(write(table(";", NAMES, NUMBERS, head=f"Имя;{name}")))


@pytest.mark.parametrize(
    "name",
    ["Телефон", "Мобильный телефон", "Моб. тел.", "Номер телефона", "Сотовый", "Контактный телефон",
     "phone", "Phone Number", "MSISDN", "mobilePhone", "Телефоны", "Тел. 1"],
)  # fmt: skip
def test_phone_columns_by_their_names(write, name: str) -> None:
    """A column named for phones wins over other digits that read as phone numbers."""
    text = table(";", NAMES, [n + 100 for n in NUMBERS], NUMBERS, head=f"Имя;Договор;{name}")
    assert numbers_of(write(text)) == list(NUMBERS)
    assert found_in(write(text)).why == "by its name"


def test_doubt_is_an_error_that_lists_the_candidates(write) -> None:
    """Two phone columns; a phone column without numbers beside another with some."""
    two = write(table(";", NUMBERS, [n + 10 for n in NUMBERS], head="Телефон;Доп. телефон"))
    with pytest.raises(InputError, match=r"'Телефон', 'Доп\. телефон'"):
        numbers_of(two)
    assert numbers_of(two, column="Телефон") == list(NUMBERS)
    odd = write(table(";", ["нет"] * 5, NUMBERS, head="Телефон;Связь"))
    with pytest.raises(InputError, match=r"'Телефон', (?:column 2|'Связь')"):
        numbers_of(odd)


CELLS = [
    ("89161234501 (WhatsApp)", [79161234501]),
    ("8 903 123 45 02 Viber", [79031234502]),
    ("8(977)1234504 моб.", [79771234504]),
    ("спросить Ивана 8 916 123 45 05", [79161234505]),
    ("89161234508, добавочный 12", [79161234508]),
    ("8-916-123-45-10 д.11", [79161234510]),
    ("+7 (495) 913-11-11 (доб. 0792)", [74959131111]),
    ("8 916 123-45-12 с 9 до 18", [79161234512]),
    ("1) 8 916 123-45-13", [79161234513]),
    ("+7 (916) 123-45-18 TG @nick1", [79161234518]),
    ("79161234501;79031234502", [79161234501, 79031234502]),
    ("79771234504, 79161234505", [79771234504, 79161234505]),
    ("79771234504 / 79161234505", [79771234504, 79161234505]),
    ("79771234504\n79161234505", [79771234504, 79161234505]),
    ("79771234504 ::: 79161234505", [79771234504, 79161234505]),
    ("8 916 123-45-67 8 903 123-45-02", [79161234567, 79031234502]),
    ("8 (495) 123-45-60, 8 (916) 123-45-01; a1@b.ru", [79161234501, 74951234560]),
    ("79161234567.0", [79161234567]),
    ("79161234567,00", [79161234567]),
    ("8916123456.0", [78916123456]),
    ("7.9161234567E+10", [79161234567]),
    ("'79161234567", [79161234567]),
    ("7.91612E+10", []),
    ("7,91612e+10", []),
    ("Анна", []),
    ("a1234567@mail.ru", []),
    ("79161234501@c.us", [79161234501]),
    ("+79771234504, 79161234505@s.whatsapp.net", [79771234504, 79161234505]),
]


@pytest.mark.parametrize(("text", "numbers"), CELLS)
def test_cells_as_people_write_them(text: str, numbers: list[int]) -> None:
    """Several numbers, a mobile one first; notes and extensions change nothing."""
    assert list(read_cell(text, "RU").numbers) == numbers


@pytest.mark.parametrize(
    "text",
    ["+79161234501, 1234502", "79161234501, 02", "79161234501/02", "79161234501 и 555-66-77"],
)
def test_a_half_understood_cell_says_so(text: str) -> None:
    """A second number without its area code is not passed over in silence."""
    cell = read_cell(text, "RU")
    assert cell.numbers == (79161234501,)
    assert not cell.is_whole


@pytest.fixture(scope="module")
def router(store: Path):
    """Return the store's current snapshot, as campaigns ask it."""
    with SnapshotStore(store).open() as snapshot:
        yield SnapshotRouter(snapshot)


@pytest.fixture
def run(router, tmp_path: Path):
    """Return a function that routes a file and returns the summary and the rejects' reasons."""

    def routed(path: Path, **more: object):
        out = tmp_path / f"out-{random.random()}"
        options = more.pop("options", None) or ReadOptions(region="RU")
        campaign = Campaign(
            lists=(str(path),), out=out, options=options,
            suppress_reading=ReadOptions(region="RU", option="--suppress-"), **more,
        )  # fmt: skip
        summary = run_campaign(campaign, router)
        return summary, {each.reason: each.rows for each in summary.rejects}

    return routed


@pytest.mark.parametrize("several", SEVERAL)
def test_several_numbers_in_a_cell(run, write, several: str) -> None:
    """First, all or reject: each further number is counted, and the sums hold."""
    cells = ["79161234501;79031234502", "79261234503", '"79771234504, 79161234505"']
    summary, reasons = run(
        write("phone\n" + "\n".join(f'"{c}"' if ";" in c else c for c in cells) + "\n"),
        several=several,
    )
    steps = summary.steps
    assert steps.rows == 3
    assert steps.further == (2 if several == "all" else 0)
    assert reasons.get("SEVERAL_NUMBERS", 0) == (2 if several == "reject" else 0)
    assert steps.rows + steps.further == (
        steps.rejected + steps.duplicates + steps.suppressed + steps.refused + steps.routed
    )
    assert any("cells with several numbers: 2" in warning for warning in summary.warnings)


ROWS = 400


def planted(seed: int) -> tuple[list[list[str]], dict[str, int], list[int]]:
    """Return rows of name, phone and city, how many of each reason, and the valid numbers."""
    draw = random.Random(seed)
    rows: list[list[str]] = []
    plan: dict[str, int] = {}
    numbers: list[int] = []
    for i in range(ROWS):
        number = 79160000000 + i * 7 + seed
        text = str(number)
        spoken = f"8 ({text[1:4]}) {text[4:7]}-{text[7:9]}-{text[9:]}"
        kinds: list[tuple[str | None, str]] = [
            (None, text), (None, f"+{text}"), (None, spoken), (None, text[1:]),
            (None, f"{text}.0"), (None, f"{spoken} (моб.)"), (None, f"{spoken} доб. 12"),
            (None, f"{text}; 79990000000"), (None, f"'{text}"), (None, f"{spoken}\n(вечером)"),
            ("EMPTY", ""), ("NOT_A_NUMBER", "нет"), ("TOO_SHORT", "12345"),
            ("SHORTENED", "7.91612E+10"), ("TOO_LONG", "7" * 20), ("DUPLICATE", ""),
        ]  # fmt: skip
        reason, cell = draw.choice(kinds)
        if reason == "DUPLICATE":
            reason, cell = ("DUPLICATE", str(draw.choice(numbers))) if numbers else ("EMPTY", "")
        if reason is None:
            numbers.append(number)
        else:
            plan[reason] = plan.get(reason, 0) + 1
        name = draw.choice(
            ["Анна", 'ООО "Рога"', 'экран 15"', "a;b", "строка 1\nстрока 2", "=1+1", ""]
        )
        rows.append([name, cell, draw.choice(["Тверь", "Омск", ""])])
    return rows, plan, numbers


def as_csv(rows: list[list[str]], delimiter: str, draw: random.Random) -> str:
    """Return rows as a program exports them: quoted where it must be, or everywhere."""
    always = draw.random() < 0.3

    def cell(text: str) -> str:
        must = any(mark in text for mark in (delimiter, "\n", "\r")) or text.startswith('"')
        if must or always:
            return '"' + text.replace('"', '""') + '"'
        return text

    return "".join(delimiter.join(map(cell, row)) + "\n" for row in rows)


@pytest.mark.parametrize("seed", range(6))
def test_text_lists_are_routed_as_planned(
    run, tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Random delimiters, encodings, titles, totals and oddities: every count is the plan's."""
    monkeypatch.setattr(csv_list, "BLOCK_BYTES", 4096)
    draw = random.Random(seed)
    rows, plan, numbers = planted(seed)
    delimiter = draw.choice(";,\t")
    head = ["Имя", "Телефон", "Город"]
    if draw.random() < 0.5:
        rows.insert(draw.randrange(len(rows)), head)
        plan["HEADER_ROW"] = 1
    text = as_csv([head, *rows], delimiter, draw)
    if draw.random() < 0.5:
        text = f"Выгрузка{delimiter * 2}\n{delimiter * 2}\n" + text
    if draw.random() < 0.5:
        text += f"Итого{delimiter}{len(rows)}{delimiter}\n"
        plan["TOTAL_ROW"] = 1
    if draw.random() < 0.3:
        text = f"sep={delimiter}\n{text}"
    text += draw.choice(["", "\x1a"])
    encoding = draw.choice(["utf-8", "utf-8-sig", "utf-16", "cp1251"])
    path = tmp_path / "list.csv"
    path.write_bytes(text.replace("\n", draw.choice(["\n", "\r\n"])).encode(encoding))
    stop = tmp_path / "stop.csv"
    stopped = numbers[::5]
    stop.write_text("phone\n" + "".join(f"{n}\n" for n in stopped), "utf-8")
    summary, reasons = run(path, suppress=(str(stop),))
    plan["SUPPRESSED"] = len(stopped)
    unallocated = reasons.pop("UNALLOCATED", 0)
    assert reasons == plan
    assert summary.steps.rows == ROWS + plan.get("TOTAL_ROW", 0) + plan.get("HEADER_ROW", 0)
    assert summary.steps.routed + unallocated == len(numbers) - len(stopped)


@pytest.mark.parametrize("seed", range(3))
def test_workbooks_are_routed_as_planned(run, tmp_path: Path, seed: int) -> None:
    """Numeric and text cells, titles, merged, hidden and empty parts: every count is the plan's."""
    draw = random.Random(seed)
    rows, plan, numbers = planted(seed)
    path = tmp_path / "list.xlsx"
    with xlsxwriter.Workbook(path) as book:
        book.add_worksheet("Сводка").write(0, 0, "Отчёт")
        hidden = book.add_worksheet("Архив")
        hidden.write_row(0, 0, ["Телефон", 79161234599])
        hidden.hide()
        sheet = book.add_worksheet("Клиенты")
        sheet.merge_range(0, 0, 0, 2, "Клиенты")
        sheet.write_row(2, 0, ["Имя", "Телефон", "Дата"])
        for i, (name, phone, _) in enumerate(rows, 3):
            sheet.write_string(i, 0, name)
            if phone.isdecimal() and len(phone) < 15 and draw.random() < 0.5:
                sheet.write_number(i, 1, int(phone))
            elif phone:
                sheet.write_string(i, 1, phone)
            sheet.write_datetime(i, 2, dt.datetime(2026, 1, 1, tzinfo=dt.UTC).replace(tzinfo=None))
        sheet.write_row(len(rows) + 3, 0, ["Итого:", len(rows)])
    plan["TOTAL_ROW"] = 1
    summary, reasons = run(path)
    unallocated = reasons.pop("UNALLOCATED", 0)
    assert reasons == plan
    assert summary.steps.rows == ROWS + 1
    assert summary.steps.routed + unallocated == len(numbers)
    (file,) = summary.files
    assert (file.sheet, file.phone_column, file.phone_column_why) == (
        "Клиенты", "Телефон", "by its name",
    )  # fmt: skip
    assert any("hidden sheets were not read: 'Архив'" in each for each in summary.warnings)


DICTIONARY = pa.dictionary(pa.int32(), pa.string())


@pytest.mark.parametrize("seed", range(4))
def test_columns_are_routed_as_planned(run, tmp_path: Path, seed: int) -> None:
    """Parquet and Arrow, texts of any kind, numbers, floats: every count is the plan's."""
    draw = random.Random(seed)
    rows, plan, numbers = planted(seed)
    cells: list[object] = [cell or None for _, cell, _ in rows]
    kind = draw.choice([pa.string(), pa.large_string(), pa.binary(), DICTIONARY])
    if seed == 0:
        valid = [number for number in numbers for _ in range(2)]
        cells, kind, plan = [*map(float, valid), None], pa.float64(), {"EMPTY": 1}
        plan["DUPLICATE"] = len(numbers)
    texts = [cell.encode() if cell and kind == pa.binary() else cell for cell in cells]
    table = pa.table({"name": ["x"] * len(cells), "Телефон": pa.array(texts, kind)})
    path = tmp_path / "list.bin"
    if draw.random() < 0.5:
        pq.write_table(table, path, row_group_size=97)
    else:
        with pa.ipc.new_file(path, table.schema) as file:
            file.write_table(table, max_chunksize=89)
    summary, reasons = run(path, rejects_max=1)
    unallocated = reasons.pop("UNALLOCATED", 0)
    assert reasons == plan
    assert summary.steps.rows == len(cells)
    assert summary.steps.routed + unallocated == len(numbers)


@pytest.mark.parametrize("seed", range(6))
def test_do_not_send_lists_suppress_as_planned(run, tmp_path: Path, seed: int) -> None:
    """Numbers in every form and column, several in a cell: all are suppressed, and no other.

    One cell that is not understood, anywhere, is an error with its row.
    """
    draw = random.Random(seed)
    numbers = [79160000000 + i * 13 + seed for i in range(300)]
    stopped, waiting = [], draw.sample(numbers, 120)
    rows: list[list[str]] = []

    def spoken() -> str:
        stopped.append(waiting.pop())
        text = str(stopped[-1])
        return draw.choice(
            [text, f"+{text}", text[1:], f"8 ({text[1:4]}) {text[4:7]}-{text[7:9]}-{text[9:]}"]
        )

    while len(waiting) > 8:
        mark, note = draw.choice([";", ", ", " / ", "\n", " ::: "]), draw.choice(["", " (моб.)"])
        cell = mark.join(spoken() + note for _ in range(draw.randint(1, 3)))
        rows.append(["Анна", cell, spoken() if draw.random() < 0.3 else "", "12.03.2026"])
        if draw.random() < 0.1:
            rows.append(draw.choice([["", "", "", ""], ["Имя", "Телефон", "Телефон 2", "Дата"]]))
    everyone = tmp_path / "list.csv"
    everyone.write_text("phone\n" + "".join(f"{n}\n" for n in numbers), "utf-8")
    stop = tmp_path / "stop.csv"
    delimiter = draw.choice(";,\t")
    head = [["Имя", "Телефон", "Телефон 2", "Дата"]]
    stop.write_text(as_csv([*head, *rows], delimiter, draw), "utf-8")
    summary, reasons = run(everyone, suppress=(str(stop),))
    assert reasons["SUPPRESSED"] == len(stopped)
    assert summary.steps.routed + summary.steps.refused == len(numbers) - len(stopped)
    rows.insert(at := draw.randrange(len(rows)), ["Пётр", "не звонить", "", ""])
    stop.write_text(as_csv([*head, *rows], delimiter, draw), "utf-8")
    with pytest.raises(InputError, match=rf"row {at + 1} \(not a phone number\)"):
        run(everyone, suppress=(str(stop),))


@pytest.mark.parametrize(
    ("text", "suppressed"),
    [
        ("Телефон;Доп. телефон;Причина\n79161234501;79031234502;x\n79261234503;;y\n", 3),
        ('name,phone\nА,"79161234501;79031234502"\nБ,79261234503\n', 3),
        ("79161234501;79031234502\n79261234503\n79771234504\n79000000001\n79000000002\n", 4),
        ("sep=;\nТелефон;Причина\n79161234501;жалоба\n", 1),
        ("Телефон;Причина\n79161234501;жалоба\nВсего: 1;\n", 1),
        ("Телефон;Причина\n79161234501;жалоба;\n79031234502;жалоба;\n", 2),
        ('Причина "отказ;Телефон\nжалоба;79161234501\nжалоба;79031234502\n', 2),
        ("Номер в стоп-листе\n79161234501\n\n\n", 1),
        ("Стоп-лист;\nТелефон;ИНН\n89161234501;7707083893\n", 1),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "cp1251"])
def test_do_not_send_lists(run, write, text: str, suppressed: int, encoding: str) -> None:
    """Every number in every phone column is suppressed, whatever the list looks like."""
    path = write("phone\n" + "".join(f"{n}\n" for n in NUMBERS))
    stop = write(text, "stop.csv", encoding)
    _, reasons = run(path, suppress=(str(stop),))
    assert reasons.get("SUPPRESSED") == suppressed


@pytest.mark.parametrize(
    "text",
    [
        "phone\n79161234501\nнет\n",
        "name;phone\nА;+79161234501, 1234502\n",
        "phone\n7.91612E+10\n79161234501\n",
        "phone;why\n79161234501;x\n;жалоба\n",
        "phone\n",
    ],
)
def test_a_do_not_send_list_that_is_not_understood_is_refused(run, write, text: str) -> None:
    """Each cell that is not understood is an error with its place, unless --suppress-lenient."""
    path = write("phone\n" + "".join(f"{n}\n" for n in NUMBERS))
    stop = write(text, "stop.csv")
    with pytest.raises(InputError, match=r"row \d|no rows") as caught:
        run(path, suppress=(str(stop),))
    assert "7916123" not in str(caught.value)
    if text != "phone\n":
        run(path, suppress=(str(stop),), suppress_lenient=True)


def test_a_do_not_send_workbook(run, write, tmp_path: Path) -> None:
    """Both phone columns of a sheet count, numeric cells as well as text."""
    stop = tmp_path / "stop.xlsx"
    with xlsxwriter.Workbook(stop) as book:
        sheet = book.add_worksheet()
        sheet.write_row(0, 0, ["Телефон", "Доп. телефон", "Причина"])
        sheet.write_row(1, 0, [NUMBERS[0], NUMBERS[1], "жалоба"])
        sheet.write_row(2, 0, [FORMATTED[2], "", "жалоба"])
        sheet.write_row(4, 0, ["Всего:", 2])
    path = write("phone\n" + "".join(f"{n}\n" for n in NUMBERS))
    _, reasons = run(path, suppress=(str(stop),))
    assert reasons == {"SUPPRESSED": 3}


def test_options_for_do_not_send_lists(route, write) -> None:
    """A do-not-send list has options of its own, and its errors name them."""
    path = write("phone\n" + "".join(f"{n}\n" for n in NUMBERS))
    stop = write("a|b\n79161234501|79031234502\n", "stop.csv", "utf-16")
    words = ("--suppress", stop, "--suppress-column", "2", "--suppress-delimiter", "|")
    routed = route(path, *words, "--suppress-header", "--suppress-encoding", "utf-16")
    assert routed.reasons["SUPPRESSED"] == 1
    err = route(path, "--suppress", stop, "--suppress-column", "c", out="no", status=1).err
    assert "no column is named 'c'" in err


def test_too_many_rejects_end_the_run_with_status_1(route, write) -> None:
    """More than a tenth of the rows without a number is a failure, unless the user allows it."""
    path = write("phone\n" + "".join(f"{n}\n" for n in NUMBERS) + "нет\n")
    failed = route(path, "--max-rejected", "0.1", status=1)
    assert "1 of 6 rows (17%) have no number: more than --max-rejected 0.1" in failed.err
    assert failed.summary["has_failed"]
    assert not route(path, "--max-rejected", "0.2", out="more").summary["has_failed"]


def test_the_screen_says_which_column_and_why(route, write) -> None:
    """The column and the reason are on the screen and in the summary."""
    routed = route(write(table(";", NAMES, NUMBERS, head="Имя;Связь")))
    assert "list.csv: numbers from 'column 2', by its content" in routed.result.out
    (file,) = routed.summary["files"]
    assert (file["phone_column"], file["phone_column_why"]) == ("column 2", "by its content")


@pytest.mark.parametrize(
    "name", ["Номер\u00a0телефона", "Моби\u0438\u0306льный номер", "Мой  ТЕЛЕФОН"]
)
def test_a_named_column_however_its_name_is_spelled(write, name: str) -> None:
    """No-break spaces, loose accents and case of a header do not hide a column."""
    path = write(table(";", NAMES, NUMBERS, head=f"Имя;{name}"))
    typed = unicodedata.normalize("NFC", name).replace("\u00a0", " ").replace("  ", " ").lower()
    assert numbers_of(path, column=typed) == list(NUMBERS)


@pytest.mark.parametrize("delimiter", ['"', "\n", "\r"])
def test_what_cannot_be_a_delimiter(write, delimiter: str) -> None:
    """A quote or a line end as the delimiter is refused before anything is read."""
    with pytest.raises(SettingError, match="is not one ASCII character"):
        numbers_of(write("phone\n79161234501\n"), delimiter=delimiter)


@pytest.mark.parametrize("row", [0, 2, 5])
def test_a_table_that_begins_below_and_beside(tmp_path: Path, row: int) -> None:
    """Blank rows and columns before a sheet's table are counted; a sheet's name has no case."""
    path = tmp_path / "list.xlsx"
    with xlsxwriter.Workbook(path) as book:
        sheet = book.add_worksheet("Лист")
        sheet.write_column(row, 2, ["Телефон", *NUMBERS])
    assert numbers_of(path, sheet="лист ") == list(NUMBERS)


@pytest.mark.parametrize("kind", [pa.float32()])
def test_single_precision_is_refused(tmp_path: Path, kind: pa.DataType) -> None:
    """A type that cannot hold the value is refused, not rounded."""
    values = np.array(NUMBERS, np.float64).astype(kind.to_pandas_dtype())
    pq.write_table(pa.table({"phone": pa.array(values, kind)}), tmp_path / "x.parquet")
    with pytest.raises(InputError, match="single precision"):
        numbers_of(tmp_path / "x.parquet")


@pytest.mark.parametrize(
    "column",
    [
        pa.array(NUMBERS, pa.float64()),
        pa.array(list(map(float, NUMBERS))).dictionary_encode(),
        pa.array(list(map(str, NUMBERS))).dictionary_encode(),
        pa.array([str(n).encode() for n in NUMBERS], pa.binary(11)),
        pa.array([str(n).encode() for n in NUMBERS], pa.large_binary()),
        pa.array(NUMBERS, pa.int64()).cast(pa.decimal128(20, 0)),
    ],
)
def test_other_types_that_hold_numbers(tmp_path: Path, column: pa.Array) -> None:
    """Floats of whole numbers, categories, bytes and decimals are read."""
    pq.write_table(pa.table({"phone": column}), tmp_path / "x.parquet")
    assert numbers_of(tmp_path / "x.parquet") == list(NUMBERS)


@pytest.mark.parametrize("kind", [pa.int32(), pa.uint32()])
def test_integers_that_are_too_small_are_refused(tmp_path: Path, kind: pa.DataType) -> None:
    """A named column whose type cannot hold a phone number has lost digits."""
    column = pa.array([1916123450, 2012345], pa.int32()).cast(kind)
    pq.write_table(pa.table({"phone": column}), tmp_path / "x.parquet")
    with pytest.raises(InputError, match="int32, which cannot hold a phone number"):
        numbers_of(tmp_path / "x.parquet", column="phone")


@pytest.mark.parametrize("text", ["7 916 123 45 O1", "8 916 12З 45 01", "7916l234501"])
def test_a_letter_amid_digits_is_a_slip(text: str) -> None:
    """What is left when a letter is left out may be somebody else's number."""
    assert read_cell(text, "RU").numbers == ()


def test_bytes_that_are_no_text_beside_the_phones(tmp_path: Path) -> None:
    """A column of binary identifiers is not a phone column, nor a reason to fail."""
    names = pa.array([bytes([0xFF, i]) * 8 for i in range(5)], pa.binary(16))
    pq.write_table(pa.table({"id": names, "phone": list(NUMBERS)}), tmp_path / "x.parquet")
    assert numbers_of(tmp_path / "x.parquet") == list(NUMBERS)


@pytest.mark.parametrize("form", ["csv", "xlsx"])
def test_a_nested_column_is_kept_as_json(router, tmp_path: Path, form: str) -> None:
    """Lists and structs beside the numbers are written as JSON where a form has only texts."""
    table = pa.table({"phone": list(NUMBERS), "tags": [["a", "b"]] * 5})
    pq.write_table(table, tmp_path / "x.parquet")
    campaign = Campaign(
        lists=(str(tmp_path / "x.parquet"),),
        out=tmp_path / "out",
        options=ReadOptions(region="RU", keep=("tags",)),
        form=form,
    )
    (route,) = run_campaign(campaign, router).routes[:1]
    if form == "csv":
        text = (tmp_path / "out" / route.files[0]).read_text("utf-8")
        assert '"[""a"", ""b""]"' in text
    else:
        sheet = CalamineWorkbook.from_path(tmp_path / "out" / route.files[0]).get_sheet_by_index(0)
        assert sheet.to_python()[1][-1] == '["a", "b"]'


@pytest.mark.parametrize("option", ["several", "form", "language"])
def test_an_unknown_word_is_refused(option: str) -> None:
    """A word misspelt by a program is not taken for a default."""
    with pytest.raises(SettingError, match=f"{option}: unknown word"):
        Campaign(lists=("x",), out=Path("out"), options=ReadOptions(), **{option: "frist"})


def test_fractions_are_refused(tmp_path: Path) -> None:
    """A float column with a value that is not whole is no phone column."""
    values = pa.array([*map(float, NUMBERS[:4]), 79161234505.5])
    pq.write_table(pa.table({"phone": values}), tmp_path / "x.parquet")
    with pytest.raises(InputError, match="fractions"):
        numbers_of(tmp_path / "x.parquet")


def test_empty_parts_of_a_folder_are_passed_over(run, tmp_path: Path) -> None:
    """Programs that write in parts leave empty files."""
    folder = tmp_path / "parts"
    folder.mkdir()
    for name in ("a.csv", "c.csv"):
        (folder / name).touch()
    (folder / "b.csv").write_text("phone\n79161234501\n", "utf-8")
    summary, _ = run(folder)
    assert [file.name for file in summary.files] == ["b.csv"]


def test_a_broken_quote_in_any_block_loses_only_its_row(
    run, write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blocks end between records, also where quotes are stray, unclosed or hold line ends."""
    monkeypatch.setattr(csv_list, "BLOCK_BYTES", 512)
    rows = [f'"{name}\nвторая строка";{79160000000 + i}' for i, name in enumerate(NAMES * 40)]
    rows[50] = f'"Анна;{79160000050}'
    rows[120] = f'5" труба;{79160000120}'
    summary, reasons = run(write("\n".join(["Имя;Телефон", *rows, ""])))
    assert summary.steps.rows == len(rows)
    assert sum(reasons.get(name, 0) for name in ("BROKEN_QUOTES", "RAGGED_ROW")) == 1
    assert summary.steps.rejected == 1


def test_no_block_ends_within_a_record_of_two_lines(
    run, write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A list in which every record has a line end in quotes is cut between records all the same."""
    monkeypatch.setattr(csv_list, "BLOCK_BYTES", 2**17)
    rows = [f'"Иванова\nАнна";{79160000000 + i}' for i in range(20_000)]
    summary, _ = run(write("\n".join(["Имя;Телефон", *rows, ""])))
    assert (summary.steps.rows, summary.steps.rejected) == (len(rows), 0)


@pytest.mark.parametrize("column", [0, "phone", "1"])
def test_frames_take_a_column_by_name_or_place(store: Path, column: int | str) -> None:
    """Mixed cells are read one by one; other columns, also of the same name, do not matter."""
    import pandas as pd

    from numroute_campaign.frames import route_pandas

    frame = pd.DataFrame(
        [["8 (916) 123-45-01", object(), 1], [79031234502, "x", 2.5], [79261234503.0, None, "12а"]]
    )
    if column != 0:
        frame.columns = ["phone", "x", "x"]
    routed = route_pandas(frame, store=store, region="RU", column=column)
    assert routed["number"].tolist() == list(NUMBERS[:3])
    assert list(routed.columns[:3]) == list(frame.columns)


@pytest.mark.parametrize("kind", ["float32", "float16"])
def test_frames_of_single_precision_are_refused(store: Path, kind: str) -> None:
    """No message quotes a number, and none is rounded."""
    import pandas as pd
    import polars as pl

    from numroute_campaign.frames import route_pandas, route_polars

    values = np.array([1, 2, 3], kind)
    with pytest.raises(InputError, match="single precision"):
        route_pandas(pd.DataFrame({"phone": values}), store=store, column="phone")
    if kind == "float32":
        with pytest.raises(InputError, match="single precision"):
            route_polars(pl.DataFrame({"phone": values}), store=store, column="phone")


ODS = """<?xml version="1.0" encoding="UTF-8"?>
<office:document-content xmlns:office="urn:oasis:names:tc:opendocument:xmlns:office:1.0"
 xmlns:table="urn:oasis:names:tc:opendocument:xmlns:table:1.0"
 xmlns:text="urn:oasis:names:tc:opendocument:xmlns:text:1.0" office:version="1.2">
<office:body><office:spreadsheet><table:table table:name="Лист1">{rows}</table:table>
</office:spreadsheet></office:body></office:document-content>"""


MANIFEST = (
    '<?xml version="1.0"?><manifest:manifest '
    'xmlns:manifest="urn:oasis:names:tc:opendocument:xmlns:manifest:1.0"/>'
)


def test_an_open_document_spreadsheet(tmp_path: Path) -> None:
    """An .ods file is read like any workbook, under any name."""

    def cell(value: object) -> str:
        kind = (
            f'office:value-type="float" office:value="{value}"'
            if isinstance(value, int)
            else 'office:value-type="string"'
        )
        return f"<table:table-cell {kind}><text:p>{value}</text:p></table:table-cell>"

    rows = [("Имя", "Телефон"), *zip(NAMES, (*NUMBERS[:3], *FORMATTED[3:]), strict=True)]
    content = "".join(
        f"<table:table-row>{''.join(map(cell, row))}</table:table-row>" for row in rows
    )
    path = tmp_path / "list.xls"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet")
        archive.writestr("META-INF/manifest.xml", MANIFEST)
        archive.writestr("content.xml", ODS.format(rows=content))
    assert numbers_of(path) == list(NUMBERS)
