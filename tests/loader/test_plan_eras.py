"""What each era of the numbering plan's files does that the others do not."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from numroute.errors import InputError
from numroute.model import LineType
from numroute_loader.reading.description import ParsedFile, RouteKey
from numroute_loader.registries import read as read_file
from numroute_loader.registries.ru_numbering_plan import KINDS, begins_like_plan

SIX = "АВС/ DEF;От;До;Емкость;Оператор;Регион"
SEVEN = SIX + ";ИНН"
EIGHT = SIX + ";Территория ГАР;ИНН"


def read(
    path: Path, *lines: str, encoding: str = "utf-8", end: str = "\n", last_end: bool = True
) -> ParsedFile:
    """Write the lines to a file and read it."""
    path.write_bytes((end.join(lines) + (end if last_end else "")).encode(encoding))
    return read_file(path)


def rows_of(parsed: ParsedFile) -> list[tuple[int, int, RouteKey]]:
    """Return the ranges as (first, last, key)."""
    ranges = parsed.ranges
    return [
        (first, last, ranges.keys[key])
        for first, last, key in zip(
            ranges.first.tolist(), ranges.last.tolist(), ranges.key.tolist(), strict=True
        )
    ]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a file's path, named as published."""
    return tmp_path / "DEF-9xx.csv"


def test_2014_windows_1251_without_leading_zeros(path: Path):
    """In 2014 the text is windows-1251, and От and До may lack their leading zeros."""
    parsed = read(path, SIX, "812;70;79;10;Связист;Псков", encoding="windows-1251")
    key = RouteKey(operator_name="Связист", region_name="Псков", line_type=LineType.FIXED)
    assert rows_of(parsed) == [(78120000070, 78120000079, key)]


def test_2017_fields_padded_with_tabs(path: Path):
    """In 2017 fields are padded with tabs, which belong to no field."""
    parsed = read(
        path, SIX, '\t900\t;\t0000000;0000009\t;\t10\t;\tООО "А"\t;\tКрай\t', encoding="cp1251"
    )
    key = RouteKey(operator_name='ООО "А"', region_name="Край", line_type=LineType.MOBILE)
    assert rows_of(parsed) == [(79000000000, 79000000009, key)]


def test_2018_delimiter_inside_the_region(path: Path):
    """In the six-column era fields beyond the sixth are part of the region, and it is said so."""
    parsed = read(
        path,
        SIX,
        "900;0000000;0000009;10;А;Край",
        "900;0000010;0000019;10;А;Край; Область;Округ",
        encoding="windows-1251",
    )
    assert [key.region_name for _, _, key in rows_of(parsed)] == ["Край", "Край;Область;Округ"]
    (warning,) = parsed.warnings
    assert "the first on line 3" in warning


def test_2021_no_header_and_trailing_blanks(path: Path):
    """A copy without header is read by position, and the operator's trailing blanks are dropped."""
    parsed = read(path, "900;0000000;0000009;10;А  Б   ;Край", "900;0000010;0000019;10;А Б;Край")
    key = RouteKey(operator_name="А Б", region_name="Край", line_type=LineType.MOBILE)
    assert rows_of(parsed) == [
        (79000000000, 79000000009, key),
        (79000000010, 79000000019, key),
    ]


def test_2022_mark_and_tax_number(path: Path):
    """Since 2022 a byte order mark leads and the tax number of the holder is given."""
    parsed = read(path, SEVEN, "900;0000000;0000009;10;А;Край;7700000001", encoding="utf-8-sig")
    key = RouteKey(
        operator_name="А",
        region_name="Край",
        tax_number="7700000001",
        line_type=LineType.MOBILE,
    )
    assert rows_of(parsed) == [(79000000000, 79000000009, key)]


def test_2026_territory_names_an_open_region(path: Path):
    """Since 2026 a region ``-`` is named by its territory, any other keeps its own text."""
    parsed = read(
        path,
        EIGHT,
        "900;0000000;0000009;10;А;-;Область;7700000001",
        "900;0000010;0000019;10;А;обл.;Область;7700000001",
        "900;0000020;0000029;10;А;-;-;7700000001",
        encoding="utf-8-sig",
        last_end=False,
    )
    assert [key.region_name for _, _, key in rows_of(parsed)] == ["Область", "обл.", ""]


def test_headerless_copy_of_a_later_era(path: Path):
    """A tax number at the end of a headerless copy's rows is not taken for part of the region."""
    with pytest.raises(InputError, match="7 columns where 6 are expected"):
        read(path, "900;0000000;0000009;10;А;Край;7700000001")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "windows-1251"])
@pytest.mark.parametrize("last_end", [True, False])
def test_copy_with_crlf(path: Path, encoding: str, *, last_end: bool):
    """A copy with CRLF line ends reads as the published file does."""
    lines = (SIX, "900;0000000;0000009;10;А;Край", "900;0000010;0000019;10;Б;Край")
    published = read(path, *lines, encoding=encoding)
    copy = read(path, *lines, encoding=encoding, end="\r\n", last_end=last_end)
    assert rows_of(copy) == rows_of(published)
    assert copy.warnings == ()


def test_quotes_are_data(path: Path):
    """Quotes of any kind stay in the name, matched or not."""
    parsed = read(path, SIX, '900;0000000;0000009;10;"АО "А" «Б";"Край', "901;0;9;10;\"Б;'В'")
    assert [(key.operator_name, key.region_name) for _, _, key in rows_of(parsed)] == [
        ('"АО "А" «Б"', '"Край'),
        ('"Б', "'В'"),
    ]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_quotes_of_a_spreadsheet_are_taken_off(path: Path, end: str):
    """A copy that a spreadsheet saved has quoted cells; its names are those of the original."""
    parsed = read(
        path,
        SEVEN,
        '900;0;9;10;"ООО ""Т2 Мобайл""";Край;7743895280',
        '900;10;19;10;Оператор;"Край; Область";7743895280',
        '900;20;29;10;"ООО ""А"" ""Б""";"Край";7743895280',
        encoding="utf-8-sig",
        end=end,
    )
    assert [(key.operator_name, key.region_name) for _, _, key in rows_of(parsed)] == [
        ('ООО "Т2 Мобайл"', "Край"),
        ("Оператор", "Край; Область"),
        ('ООО "А" "Б"', "Край"),
    ]


def test_doubled_quotes_of_the_publisher_stay(path: Path):
    """Doubled quotes are data where another cell shows that quotes are not a spreadsheet's."""
    parsed = read(path, SIX, '900;0;9;10;"ООО ""А""";Край', '901;0;9;10;ООО "Б";Край')
    assert [key.operator_name for _, _, key in rows_of(parsed)] == ['"ООО ""А"""', 'ООО "Б"']


@pytest.mark.parametrize(
    "header",
    [
        " АВС / DEF ;От;До; Емкость;Оператор ;Регион;ИНН",
        "ABC/DEF;От;До;Ёмкость;ОПЕРАТОР;регион;инн",
    ],
)
def test_header_names_with_other_blanks_and_letters(path: Path, header: str):
    """Columns are known by name whatever the blanks, the case and the alphabet of АВС."""
    parsed = read(path, header, "900;0000000;0000009;10;А;Край;7700000001")
    ((_, _, key),) = rows_of(parsed)
    assert (key.operator_name, key.tax_number) == ("А", "7700000001")


def test_columns_are_found_by_name_not_by_place(path: Path):
    """Columns may stand in any order, and one that is not known is left out with a warning."""
    parsed = read(
        path,
        "ИНН;Регион;Новое;Оператор;Емкость;До;От;АВС/ DEF",
        "7700000001;Край;1;А;10;0000009;0000000;900",
    )
    ((first, last, key),) = rows_of(parsed)
    assert (first, last) == (79000000000, 79000000009)
    assert (key.operator_name, key.region_name, key.tax_number) == ("А", "Край", "7700000001")
    (warning,) = parsed.warnings
    assert "Новое" in warning


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("301", LineType.FIXED),
        ("499", LineType.FIXED),
        ("800", LineType.TOLL_FREE),
        ("801", LineType.SERVICE),
        ("809", LineType.SERVICE),
        ("810", LineType.FIXED),
        ("879", LineType.FIXED),
        ("900", LineType.MOBILE),
        ("999", LineType.MOBILE),
    ],
)
def test_line_type_follows_the_code(path: Path, code: str, expected: LineType):
    """The code decides what kind of line a range serves."""
    ((_, _, key),) = rows_of(read(path, SIX, f"{code};0000000;0000009;10;А;Край"))
    assert key.line_type is expected


@pytest.mark.parametrize("bad", ["77", "77000000012", "нет", "77000000O1"])
def test_what_is_no_tax_number_is_left_empty(path: Path, bad: str):
    """An ИНН that is not 10 or 12 digits is left empty, and the warning names its line."""
    parsed = read(
        path,
        SEVEN,
        "900;0000000;0000009;10;А;Край;7700000001",
        f"900;0000010;0000019;10;А;Край;{bad}",
        "900;0000020;0000029;10;А;Край;",
        "900;0000030;0000039;10;А;Край;770000000112",
    )
    tax_numbers = [key.tax_number for _, _, key in rows_of(parsed)]
    assert tax_numbers == ["7700000001", "", "", "770000000112"]
    (warning,) = parsed.warnings
    assert "1 rows, the first on line 3" in warning


def test_rows_out_of_order_are_put_into_it(path: Path):
    """An edited copy whose rows are not in order is read, in order, with a warning."""
    parsed = read(path, SIX, "901;0000000;0000009;10;Б;Край", "900;0000000;0000009;10;А;Край")
    assert [(first, key.operator_name) for first, _, key in rows_of(parsed)] == [
        (79000000000, "А"),
        (79010000000, "Б"),
    ]
    (warning,) = parsed.warnings
    assert "ascending" in warning


def test_blank_lines_are_passed_over_and_counted(path: Path):
    """Blank lines hold no range, but they count as lines in what is said of later ones."""
    parsed = read(
        path, SEVEN, "", "900;0000000;0000009;10;А;Край;", "  ", "901;0000000;0000009;10;А;Край;1"
    )
    assert len(parsed.ranges.first) == 2
    (warning,) = parsed.warnings
    assert "the first on line 5" in warning


def test_a_zip_reads_as_the_file_in_it(path: Path, tmp_path: Path):
    """A plan in a zip is the plan itself."""
    plain = read(path, SIX, "900;0000000;0000009;10;А;Край")
    packed = tmp_path / "DEF-9xx.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        archive.write(path, path.name)
    assert rows_of(read_file(packed)) == rows_of(plain)


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("DEF-9xx", True),
        ("ABC-3xx", True),
        ("abc-8XX", True),
        ("Kody_DEF-9kh", True),
        ("Kody_ABC-4kh", True),
        ("DEF-9xx (1)", True),
        ("ABC-5xx", False),
        ("Numbering_plan_202307180000_3528", False),
    ],
)
def test_names_of_every_era_are_known(name: str, *, known: bool):
    """The names under which the plan was published are recognised, others are not."""
    assert (KINDS[0].file_name.fullmatch(name) is not None) == known


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (f"{EIGHT}\n".encode("utf-8-sig"), True),
        (f"{SIX}\r\n".encode("windows-1251"), True),
        ("301;2110000;2129999;20000;ПАО;г. Улан-Удэ\n".encode(), True),
        (b"NumberFrom,NumberTo,OwnerId,RegionCode,MNC,RowCount\r\n", False),
        (b"<html><body>503</body></html>", False),
        (b"", False),
    ],
)
def test_content_is_recognised(head: bytes, *, expected: bool):
    """A plan is known by its header, or by its first row where it has no header."""
    assert begins_like_plan(head) is expected


def test_progress_is_told(path: Path):
    """The reader says when the whole file is read, in bytes of the file."""
    path.write_text(f"{SIX}\n900;0000000;0000009;10;А;Край\n")
    told: list[tuple[int, int]] = []
    read_file(path, progress=lambda done, total: told.append((done, total)))
    assert told == [(path.stat().st_size, path.stat().st_size)]
