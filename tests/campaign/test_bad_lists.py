"""Lists as people really hand them over: each defect has a clear message or a counted reject."""

from __future__ import annotations

import gzip
import os
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xlsxwriter
from support.mounts import mounted

NUMBERS = ("8 (900) 123-45-67", "+7 916 765-43-21", "79161112233")


@pytest.fixture
def write(tmp_path: Path):
    """Return a function that writes a list."""

    def make(content: str | bytes, name: str = "list.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return make


def rows_of(*cells: str, head: str = "name,phone") -> str:
    """Return a list with the three numbers and more cells."""
    return "\n".join([head, *(f"x,{cell}" for cell in (*NUMBERS, *cells)), ""])


def test_no_phone_column(route, write) -> None:
    """The message names the columns and says how to name one."""
    err = route(write("name,city\nАнна,Омск\nПётр,Тула\n"), status=1).err
    assert "no column holds phone numbers; its columns are 'name', 'city'" in err
    assert "--column" in err


def test_two_candidates(route, write) -> None:
    """Two phone columns are named; --column decides."""
    path = write("phone,mobile\n79161234567,79001234567\n79161234568,79001234568\n")
    err = route(path, status=1).err
    assert "'phone', 'mobile'" in err
    assert route(path, "--column", "mobile").summary["files"][0]["phone_column"] == "mobile"


def test_a_name_decides_between_two_columns_of_digits(route, write) -> None:
    """Account numbers that look like phone numbers do not hide the column named for phones."""
    path = write("account,телефон\n79161234567,79001234567\n79161234568,79001234568\n")
    assert route(path).summary["files"][0]["phone_column"] == "телефон"


def test_a_column_that_is_not_there(route, write) -> None:
    """--column with a wrong name lists the names."""
    err = route(write(rows_of()), "--column", "tel", status=1).err
    assert "no column is named 'tel'; its columns are 'name', 'phone'" in err


@pytest.mark.parametrize("cell", [b"z", b"\xff"])
@pytest.mark.parametrize("blank", [0, 50_000], ids=["last block", "block before"])
def test_ragged_rows_are_rejected_one_by_one(route, write, cell: bytes, blank: int) -> None:
    """Rows with more or fewer cells are set aside by number, whatever their bytes."""
    ragged = b"x\ny,79161112244,z," + cell + b"\nq,79161112255\n"
    text = rows_of().replace("x,", "Анна,").encode()
    routed = route(write(text + ragged + b",\n" * blank))
    assert routed.reasons["RAGGED_ROW"] == 2
    assert routed.summary["steps"]["routed"] + routed.summary["steps"]["refused"] == 4
    rejects = routed.rows("rejects.csv")
    assert [row["row_id"] for row in rejects if row["reason"] == "RAGGED_ROW"] == ["4", "5"]


def test_an_unclosed_quote_loses_only_its_own_row(route, write) -> None:
    """A quote that nothing closes does not swallow the rows behind it."""
    text = rows_of().replace("x,79161112233", '"x,79161112233') + 'y,79161112244\n"z,1\n'
    routed = route(write(text))
    assert routed.summary["steps"]["rows"] == 5
    assert routed.reasons["BROKEN_QUOTES"] == 2
    rejects = routed.rows("rejects.csv")
    assert [row["row_id"] for row in rejects if row["reason"] == "BROKEN_QUOTES"] == ["3", "5"]


@pytest.mark.parametrize("sound", ['"y, z",79161112244', '"y",79161112244', 'y,"79161112244"'])
def test_a_quote_that_the_next_row_would_close_loses_only_its_own(route, write, sound) -> None:
    """A whole record whose own quotes stand behind an open one is a record."""
    text = rows_of().replace("x,79161112233", f'"x,79161112233\n{sound}')
    routed = route(write(text))
    assert routed.summary["steps"]["rows"] == 4
    assert routed.reasons["BROKEN_QUOTES"] == 1
    assert "79161112244" in {row["number"] for row in routed.routed()}


def test_a_quoted_cell_of_several_lines_is_one_row(route, write) -> None:
    """Line ends within quotes belong to the cell, doubled quotes too."""
    text = rows_of() + '"first\nsecond ""x""\nthird",79161112244\ny,79161112255\n'
    routed = route(write(text), "--keep", "name")
    assert routed.summary["steps"]["rows"] == 5
    assert routed.summary["steps"]["rejected"] == 0
    kept = {row["row_id"]: row["name"] for row in routed.routed()}
    assert kept["4"] == 'first\nsecond "x"\nthird'
    assert kept["5"] == "y"


def test_quotes_that_are_data(route, write) -> None:
    """A quote inside an unquoted cell is an ordinary character."""
    text = rows_of() + 'ООО "Рога",79161112244\n5" pipe,79161112255\n'
    routed = route(write(text), "--keep", "name")
    assert routed.summary["steps"]["rejected"] == 0
    kept = {row["row_id"]: row["name"] for row in routed.routed()}
    assert (kept["4"], kept["5"]) == ('ООО "Рога"', '5" pipe')


@pytest.mark.parametrize("encoding", ["cp1251", "koi8_r", "cp866", "utf-16", "utf-8-sig"])
def test_encodings_are_detected(route, write, encoding: str) -> None:
    """Russian lists in the usual encodings keep their names readable."""
    lines = ["имя;телефон;город"]
    names = ("Анна Петровна Кузнецова", "Пётр Иванович Сидоров", "Мария Львовна Ершова")
    lines += [f"{name};{n};Нижний Новгород" for name, n in zip(names, NUMBERS, strict=True)] * 3
    routed = route(write("\r\n".join([*lines, ""]).encode(encoding)), "--keep", "имя")
    assert routed.summary["steps"]["rows"] == 9
    assert routed.summary["files"][0]["phone_column"] == "телефон"
    kept = {row["row_id"]: row["имя"] for row in routed.routed()}
    assert kept == dict(zip("123", names, strict=True))


def test_a_given_encoding_wins(route, write) -> None:
    """--encoding is taken as it is; one that does not exist is named."""
    path = write("имя;phone\nАнна;79161234567\n".encode("cp1251"))
    kept = route(path, "--encoding", "cp1251", "--keep", "имя")
    assert kept.summary["kept_columns"] == ["имя"]
    assert [row["имя"] for row in kept.routed()] == ["Анна"]
    err = route(path, "--encoding", "cp9999", out="other", status=1).err
    assert "unknown encoding 'cp9999'" in err


def test_mixed_encodings(route, write) -> None:
    """A row of another encoding within a UTF-8 list: its number counts, its bytes are marked."""
    foreign = "Анна,79161112244\n".encode("cp1251")
    text = rows_of().encode() + foreign + "Пётр,79161112255\n".encode()
    routed = route(write(text), "--keep", "name")
    assert routed.summary["steps"]["rejected"] == 0
    names = {row["row_id"]: row["name"] for row in routed.routed()}
    assert names["4"] == "\ufffd" * 4
    assert names["5"] == "Пётр"


def test_nul_bytes(route, write) -> None:
    """A cell with a NUL byte is no number; the other rows are routed."""
    routed = route(write(rows_of("7916\x00111", "79161112255")))
    assert routed.summary["steps"]["rejected"] == 1
    assert routed.summary["steps"]["rows"] == 5


def test_binary_rubbish(route, write) -> None:
    """A file full of NUL bytes is no list."""
    assert "NUL bytes" in route(write(bytes(5000) + b"x"), status=1).err


def test_an_excel_workbook(route, write) -> None:
    """A workbook is named as one, with what to do."""
    err = route(write(b"PK\x03\x04" + bytes(100), "list.xlsx"), status=1).err
    assert "Excel workbook" in err
    assert "Save the sheet as CSV" in err


def test_formulas_are_disarmed(route, write) -> None:
    """No cell of an output begins as a formula; the text behind the apostrophe is whole."""
    cells = ["=1+1", "+1", "@SUM(1)", "-2", "=cmd|'x'", '"=a,b"', "\tx", '"=""q"""', "plain"]
    text = "\n".join(["comment,phone", *(f"{c},7916111{i:04}" for i, c in enumerate(cells)), ""])
    routed = route(write(text), "--keep", "comment", "--delimiter", ",")
    assert [row["comment"] for row in routed.routed()] == [
        "'=1+1", "'+1", "'@SUM(1)", "'-2", "'=cmd|'x'", "'=a,b", "'\tx", "'=\"q\"", "plain",
    ]  # fmt: skip


@pytest.mark.parametrize("kind", [pa.dictionary(pa.int8(), pa.string()), pa.large_string()])
def test_formulas_of_other_text_types_are_disarmed(route, tmp_path: Path, kind) -> None:
    """A formula in a Parquet column of categories or of long texts is disarmed as well."""
    comment = pa.array(["=1+1", "a", None]).cast(kind)
    table = pa.table({"phone": [int(f"7916111000{i}") for i in range(3)], "comment": comment})
    pq.write_table(table, tmp_path / "x.parquet")
    routed = route(tmp_path / "x.parquet", "--keep", "comment")
    assert [row["comment"] for row in routed.routed()] == ["'=1+1", "a", ""]


@pytest.mark.parametrize("form", ["parquet", "arrow"])
def test_kept_columns_keep_their_types(route, tmp_path: Path, form: str) -> None:
    """Categories leave as the texts that they stand for, times and integers as they are."""
    table = pa.table(
        {
            "phone": [79161110000, 79161110001],
            "city": pa.array(["Омск", "Тула"]).dictionary_encode(),
            "at": pa.array([1, None], pa.timestamp("ms")),
        }
    )
    pq.write_table(table, tmp_path / "x.parquet")
    routed = route(tmp_path / "x.parquet", "--keep", "city", "--keep", "at", "--format", form)
    ((name,),) = [each["files"] for each in routed.summary["routes"]]
    found = (
        pq.read_table(routed.folder / name)
        if form == "parquet"
        else pa.ipc.open_file(routed.folder / name).read_all()
    )
    assert found["city"].to_pylist() == ["Омск", "Тула"]
    assert found["at"].cast(pa.int64()).to_pylist() == [1, None]


def test_files_that_disagree_about_a_kept_column(route, write, tmp_path: Path) -> None:
    """Two types of one column: refused for a form with types, text in a CSV output."""
    folder = tmp_path / "lists"
    folder.mkdir()
    pq.write_table(pa.table({"phone": [79161110000], "x": [1]}), folder / "a.parquet")
    (folder / "b.csv").write_text("phone,x\n79161110001,2\n", "utf-8")
    err = route(folder, "--keep", "x", "--format", "parquet", status=1).err
    assert "b.csv: the column 'x' is string, in a.parquet it is int64" in err
    assert [row["x"] for row in route(folder, "--keep", "x").routed()] == ["1", "2"]


def test_a_kept_column_of_a_type_that_the_output_has_not(route, tmp_path: Path) -> None:
    """A column of lists leaves as JSON in CSV, and as it is in Parquet."""
    pq.write_table(pa.table({"phone": [79161110000], "x": [[1]]}), tmp_path / "x.parquet")
    fallback = tmp_path / "p.toml"
    fallback.write_text('[[rule]]\nroute = "a"\n[fallback]\nunallocated = "a"\n', "ascii")
    words = (tmp_path / "x.parquet", "--keep", "x", "--policy", fallback)
    assert [row["x"] for row in route(*words).rows("a.csv")] == ["[1]"]
    route(*words, "--format", "parquet", out="b")
    assert pq.read_table(tmp_path / "b" / "a.parquet")["x"].to_pylist() == [[1]]


def test_a_million_character_cell(route, write) -> None:
    """A huge cell is too long for a number; beside the number it does no harm."""
    routed = route(write(rows_of("9" * 1_000_000) + "z" * 1_000_000 + ",79161112244\n"))
    assert routed.reasons["TOO_LONG"] == 1
    assert routed.summary["steps"]["rows"] == 5


@pytest.mark.parametrize("content", ["", "\n\n", "phone\n"])
def test_an_empty_list(route, write, content: str) -> None:
    """Nothing, blank lines, or a header alone: an error, never an output of no rows."""
    err = route(write(content), status=1).err
    assert ("the list has no rows" if content == "phone\n" else "empty") in err


def test_a_list_of_only_rejects(route, write) -> None:
    """A list without any number gives a full reject file, no route, and a report that says so."""
    routed = route(write("phone\nнет\n-\n12\n"), status=1)
    assert routed.summary["routes"] == []
    assert [row["reason"] for row in routed.rows("rejects.csv")] == [
        "NOT_A_NUMBER", "NOT_A_NUMBER", "TOO_SHORT",
    ]  # fmt: skip
    assert sorted(path.name for path in routed.folder.iterdir()) == [
        "rejects.csv", "report.html", "summary.json",
    ]  # fmt: skip
    assert "Ported: 0 of the routed numbers" in routed.result.out


def test_an_unwritable_folder(route, write, tmp_path: Path) -> None:
    """An output folder that cannot be made is named."""
    (tmp_path / "file").touch()
    err = route(write(rows_of()), out="file/out", status=1).err
    assert "file/out: it cannot be made" in err
    assert "Give another --out" in err


def test_a_folder_without_write_permission(route, write, tmp_path: Path) -> None:
    """A folder that nothing may be made in is named, with the system's reason."""
    closed = tmp_path / "closed"
    with mounted(closed, "-t", "tmpfs", "-o", "ro", "none"):
        err = route(write(rows_of()), out="closed/out", status=1).err
    assert "closed/out: it cannot be made: Read-only file system" in err


def test_an_output_folder_in_use(route, write, tmp_path: Path) -> None:
    """A folder with files in it is left as it is."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "precious").touch()
    assert "not empty" in route(write(rows_of()), status=1).err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["precious"]


def test_the_input_is_not_touched(route, write) -> None:
    """Neither the list's bytes nor its time change."""
    path = write(rows_of())
    before = (path.read_bytes(), path.stat().st_mtime_ns)
    route(path)
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before


def test_errors_quote_no_number(route, write) -> None:
    """A list without header and without phone column is described without its cells."""
    err = route(write("12345678901234567,Анна\n22345678901234567,Пётр\n"), status=1).err
    assert "12345678901234567" not in err
    assert "its columns are column 1, column 2" in err


def test_a_headerless_list(route, write) -> None:
    """A list that begins with a number has no header, and its first row counts."""
    assert route(write("\n".join(NUMBERS))).summary["steps"]["rows"] == 3


def test_gz_and_zst_and_cut_gz(route, write, tmp_path: Path) -> None:
    """Compressed lists are read; one that is cut short is refused."""
    data = rows_of().encode() * 2000
    path = write(gzip.compress(data), "list.csv.gz")
    assert route(path).summary["steps"]["rows"] > 3
    with pa.CompressedOutputStream(str(tmp_path / "l.zst"), "zstd") as file:
        file.write(rows_of().encode())
    assert route(tmp_path / "l.zst", out="zst").summary["steps"]["rows"] == 3
    short = write(gzip.compress(os.urandom(3000) + data)[:1500], "short.csv.gz")
    assert "damaged or cut short" in route(short, out="short", status=1).err


def test_parquet_with_integers_and_floats(route, tmp_path: Path) -> None:
    """Whole numbers in a Parquet column are read, as pandas keeps them with gaps too."""
    for name, kind in (("i", pa.int64()), ("f", pa.float64()), ("s", pa.string())):
        values = pa.array([79161234567, None, 79001234567]).cast(kind)
        pq.write_table(pa.table({"phone": values, "x": ["a", "b", "c"]}), tmp_path / f"{name}.pq")
        routed = route(tmp_path / f"{name}.pq", out=name)
        assert routed.summary["steps"]["valid"] == 2
        assert routed.reasons["EMPTY"] == 1


def test_a_damaged_parquet_file(route, write) -> None:
    """A Parquet file that is cut short is refused."""
    assert "damaged" in route(write(b"PAR1" + bytes(50), "x.parquet"), status=1).err


def test_several_files_and_a_folder(route, write, tmp_path: Path) -> None:
    """Files of a folder are one list; the summary says where each begins, duplicates count once."""
    folder = tmp_path / "lists"
    folder.mkdir()
    for name, delimiter in (("a.csv", ";"), ("b.csv", "\t"), (".hidden", ";")):
        (folder / name).write_text(
            rows_of(head="name,phone").replace(",", delimiter), encoding="utf-8"
        )
    routed = route(folder)
    files = routed.summary["files"]
    assert [(f["name"], f["delimiter"], f["first_row_id"]) for f in files] == [
        ("a.csv", ";", 1), ("b.csv", "\t", 4),
    ]  # fmt: skip
    assert routed.summary["steps"]["duplicates"] == 3


def test_no_such_file(route, tmp_path: Path) -> None:
    """A path that is not there is named."""
    assert "no such file" in route(tmp_path / "nothing.csv", status=1).err


def test_a_suppression_list_with_a_bad_row_is_refused(route, write) -> None:
    """Whoever cannot be read on a do-not-send list must not get messages unnoticed."""
    stop = write("phone\n79161112233\nnobody\n", "stop.csv")
    err = route(write(rows_of()), "--suppress", stop, status=1).err
    assert "1 of 2 rows of the do-not-send list hold no phone number" in err


def test_suppressed_numbers_stay(route, write) -> None:
    """Numbers of a do-not-send list are rejected, in whatever format they stand there."""
    stop = write("phone\n8 916 111-22-33\n", "stop.csv")
    routed = route(write(rows_of()), "--suppress", stop)
    assert routed.reasons["SUPPRESSED"] == 1
    assert "79161112233" not in {row["number"] for row in routed.routed()}


def test_a_column_named_below_data_is_no_header(route, write) -> None:
    """Two exports in one file: the rows above the second one's header are not taken for titles."""
    above = "".join(f"7916123450{place},Ivanov\n" for place in range(6))
    text = f"{above}phone,name\n79161112233,Petrov\n"
    assert "no column is named 'phone'" in route(write(text), "--column", "phone", status=1).err


@pytest.mark.parametrize("end", ["\r", "\r\n", "\r\r\n"])
def test_other_line_ends(route, write, end: str) -> None:
    """Lines that end with CR alone, or were translated twice: no row of a list is lost."""
    stop = write(end.join(["phone", "79161112233", "79161112244", ""]).encode(), "stop.csv")
    routed = route(write(rows_of("79161112244").replace("\n", end)), "--suppress", stop)
    assert routed.summary["steps"]["rows"] == 4
    assert routed.reasons["SUPPRESSED"] == 2


@pytest.mark.parametrize("way", [(), ("--dry-run",)])
def test_a_suppression_list_from_standard_input(route, way: tuple[str, ...]) -> None:
    """--suppress - is refused before a list is opened: that one may come from there."""
    err = route("missing.csv", "--suppress", "-", *way, status=1).err
    assert "a do-not-send list cannot come from standard input\n" in err
    assert "Give it as a file" in err


def test_a_file_that_cannot_be_read(route, tmp_path: Path) -> None:
    """The system's reason is said, and what to do."""
    (tmp_path / "list.csv").symlink_to(tmp_path / "list.csv")
    err = route(tmp_path / "list.csv", status=1).err
    assert "list.csv: it cannot be read: Too many levels of symbolic links" in err
    assert "Check that the user who runs this may read it" in err


PEOPLE = (79161234501, 79031234502, 79261234503, 79771234504, 79161234505)


def people(*rows: str, head: str = "", step: int = 0) -> str:
    """Return rows, a header and five people."""
    return "".join(
        f"{row}\n" for row in (*rows, head, *(f"Анна;{n + step}" for n in PEOPLE)) if row
    )


@pytest.mark.parametrize(
    "title",
    [
        "Отдел продаж +7 495 123-45-67;",
        "Менеджер Иванов;+7 916 111-22-33",
        "Вопросы;8 (800) 555-35-35\nили;+7 916 111-22-33\n;",
    ],
)
def test_a_phone_number_in_a_title_is_nobody_to_write_to(route, write, title: str) -> None:
    """Who answers questions about the list stands above its header, and gets no message."""
    routed = route(write(people(title, head="Имя;Телефон")))
    assert routed.summary["steps"]["rows"] == 5
    assert "passed over above the header" in routed.err
    alone = "".join(f"{n}\n" for n in ("Список, вопросы: +7 916 111-22-33", "Телефон", *PEOPLE))
    assert route(write(alone), out="alone").summary["steps"]["rows"] == 5


def test_a_number_above_a_lonely_header_stays_a_person(route, write) -> None:
    """Two lists of one column, joined: the people of the first are not taken for titles."""
    text = "".join(f"{n}\n" for n in (*PEOPLE[:2], "Телефон", *PEOPLE[2:]))
    routed = route(write(text))
    assert routed.summary["steps"]["routed"] + routed.summary["steps"]["refused"] == 5


def test_a_header_again_and_the_end_mark_of_dos_are_nobody(route, write) -> None:
    """Joined files repeat the header; old programs end a text with Ctrl-Z."""
    text = people(head="Имя;Телефон") + people(head="Имя;Телефон", step=1000) + "\x1a"
    routed = route(write(text), "--max-rejected", 0)
    assert routed.summary["steps"]["rows"] == 11
    assert routed.reasons["HEADER_ROW"] == 1
    stop = write(people(head="Имя;Телефон") + "Имя;Телефон\n\x1a", "stop.csv")
    assert route(write(text), "--suppress", stop, out="b").reasons["SUPPRESSED"] == 5


def test_a_run_that_routed_nothing_has_failed(write, route) -> None:
    """However many rows may be rejected."""
    routed = route(write("phone\n-\nabc\n"), "--max-rejected", 1, status=1)
    assert "no number was routed" in routed.result.err


@pytest.mark.parametrize("blank", ["", ";", " ; ", '"";""', ";;"])
def test_blank_rows_are_no_rejected_people(route, write, blank: str) -> None:
    """Rows without any content do not count towards --max-rejected; empty phone cells do."""
    text = people(head="Имя;Телефон")
    routed = route(write(text + f"{blank}\n" * 30), "--max-rejected", 0.1)
    assert routed.reasons["EMPTY"] == 30
    route(write(text + "Анна;\n" * 30), "--max-rejected", 0.1, out="b", status=1)


@pytest.mark.parametrize(
    "start",
    [
        "-- MySQL dump\n/*!40101 SET NAMES utf8 */;\nSET time_zone = '+00:00';\n",
        "",
        "BEGIN;\nCREATE TABLE `c` (`phone` text);\n",
    ],
)
def test_statements_of_sql_are_no_csv(route, write, start: str) -> None:
    """A dump named .csv is refused; the message says what it is."""
    rows = "".join(f"INSERT INTO `clients` VALUES ('{n}');\n" for n in PEOPLE)  # noqa: S608
    err = route(write(start + rows), status=1).err
    assert "it is SQL statements, not CSV" in err
    assert route(write("begin;phone\n" + people()), out="b").summary["steps"]["rows"] == 5


@pytest.fixture
def workbook(tmp_path: Path):
    """Return a function that writes a workbook of sheets."""

    def make(sheets: dict[str, list[Sequence[object]]]) -> Path:
        with xlsxwriter.Workbook(tmp_path / "list.xlsx") as book:
            for name, rows in sheets.items():
                sheet = book.add_worksheet(name)
                for place, row in enumerate(rows):
                    sheet.write_row(place, 0, row)
        return tmp_path / "list.xlsx"

    return make


@pytest.mark.parametrize("head", [[], ["Имя", "Телефон"]])
def test_a_sheet_about_the_list_is_not_the_list(route, workbook, head: list[str]) -> None:
    """A sheet that holds a number for questions comes first; the list is another."""
    people = [head, *(["Анна", number] for number in PEOPLE)]
    notes = [["Вопросы", "+7 916 111-22-33"], ["по выгрузке", ""]]
    routed = route(workbook({"ReadMe": notes, "Список": people}))
    assert routed.summary["files"][0]["sheet"] == "Список"
    routed = route(workbook({"Январь": people, "Февраль": [*people, *people[1:]]}), out="b")
    assert routed.summary["files"][0]["sheet"] == "Январь"


def test_the_sheet_with_the_named_column_is_the_list(route, workbook) -> None:
    """A sheet with other numbers comes first."""
    others = [["Телефон"], *([n] for n in PEOPLE)]
    path = workbook({"Офисы": others, "Клиенты": [["Контакт"], *([n] for n in PEOPLE)]})
    summary = route(path, "--column", "Контакт").summary
    assert summary["files"][0]["sheet"] == "Клиенты"


@pytest.mark.parametrize("name", ["status", "row_id"])
def test_a_kept_column_named_as_an_output_s_is_refused(route, write, name: str) -> None:
    """A list's own ``status`` does not stand under the name of the output's."""
    path = write(f"phone,{name}\n" + "".join(f"{n},new\n" for n in PEOPLE))
    err = route(path, "--keep", name, status=1).err
    assert f"--keep names '{name}', which is the name of an output's own column" in err


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (pa.table({"phone": pa.array([], pa.string())}), "the list has no rows"),
        (
            pa.table([pa.array(PEOPLE)] * 2, names=["phone", "phone"]),
            "'phone', 'phone'",
        ),
        (pa.table({"phone": [[n] for n in PEOPLE]}), "'phone' is of type list<"),
        (pa.table({"phone": [True] * 5}), "'phone' is of type bool, which holds no phone numbers"),
        (pa.table({"phone": pa.array(PEOPLE).cast(pa.timestamp("us"))}), "of type timestamp[us]"),
    ],
)
def test_parquet_that_holds_no_numbers(route, tmp_path: Path, table: pa.Table, said: str) -> None:
    """No rows, a name given twice, a type without numbers: each is said, with the column."""
    pq.write_table(table, tmp_path / "list.parquet")
    assert said in route(tmp_path / "list.parquet", status=1).err
    assert said in route(tmp_path / "list.parquet", "--column", "phone", status=1).err
    stop = route(tmp_path / "list.parquet", "--suppress", tmp_path / "list.parquet", status=1)
    assert "list.parquet" in stop.err


@pytest.mark.parametrize(
    ("second", "said"),
    [
        (pa.array(map(float, PEOPLE), pa.float32()), "'second' is of single precision"),
        (pa.array([*map(float, PEOPLE[1:]), 0.5]), "'second' holds fractions"),
    ],
)
def test_second_numbers_as_floats_are_not_passed_over(
    route, write, tmp_path: Path, second: pa.Array, said: str
) -> None:
    """A do-not-send list's column of lost digits is refused, also where another column is read."""
    stop = tmp_path / "stop.parquet"
    pq.write_table(pa.table({"phone": PEOPLE, "second": second}), stop)
    path = write("phone\n" + "".join(f"{n}\n" for n in PEOPLE))
    assert said in route(path, "--suppress", stop, status=1).err


@pytest.mark.parametrize(
    "text",
    [
        "phone\n8 (916) 123-45-01, 02\n",
        "8 (916) 123-45-01, 02\n8 (903) 123-45-09\n",
        "name,phone\nАнна,8 (916) 123-45-01, 02\nПётр,8 (903) 123-45-09\n",
        "name,phone,note\nАнна,8 (916) 123-45-01, 02\nПётр,8 (903) 123-45-09,\n",
        "phone;note\n8 (916) 123-45-01; 02\n8 (903) 123-45-09;\n",
    ],
)
def test_the_end_of_a_second_number_in_the_next_cell_is_an_error(route, write, text: str) -> None:
    """A do-not-send list that separates numbers by its own delimiter loses nobody silently."""
    path = write("phone\n" + "".join(f"{n}\n" for n in PEOPLE))
    err = route(path, "--suppress", write(text, "stop.csv"), status=1).err
    assert "stop.csv: 1 of " in err
    assert "row 1" in err
    both = write('phone\n"8 (916) 123-45-01, 8 (916) 123-45-05"\n', "stop.csv")
    assert route(path, "--suppress", both, out="b").reasons["SUPPRESSED"] == 2
