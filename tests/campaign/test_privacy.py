"""No number of a list or of a map stands in what a command says, whatever is wrong with them."""

from __future__ import annotations

import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.registry import command

NUMBER = "79161110007"
NAME = "Петрова"

MANY_DIGITS = re.compile(r"\d{7,}")


def rejoin(report: Path, map_path: Path, out: Path) -> str:
    """Run ``numroute rejoin``, which must fail; return all that it said."""
    done = command("numroute", "rejoin", report, "--map", map_path, "--out", out)
    assert done.status == 1
    assert not out.exists()
    assert [path.name for path in out.parent.glob(".*")] == []
    return done.out + done.err


def pseudonym(i: int) -> str:
    """Return the text of a made-up pseudonym."""
    return f"{i:032x}"


@pytest.mark.parametrize(
    "damage",
    [
        f"{pseudonym(7)},{NUMBER}x",
        f"{pseudonym(7)},{NUMBER},{NAME}",
        NUMBER,
        f"{pseudonym(7)},",
        f"{pseudonym(7)},-{NUMBER}",
        f'{pseudonym(7)},"{NUMBER}\n{NAME}"',
    ],
)
def test_damage_deep_in_a_map_is_not_quoted(damage: str, tmp_path: Path) -> None:
    """A damaged row megabytes behind the beginning of a map is told without a cell of it."""
    report, map_path = tmp_path / "r.csv", tmp_path / "m.csv"
    report.write_text(f"pseudonym\n{pseudonym(1)}\n", "ascii")
    rows = "".join(f"{pseudonym(i)},{79160000000 + i}\n" for i in range(60_000))
    map_path.write_text(f"pseudonym,number\n{rows}{damage}\n{rows}", "utf-8")
    said = rejoin(report, map_path, tmp_path / "j.csv")
    assert "m.csv: not a map of pseudonyms, or a damaged one" in said
    assert "Give the file that --pseudonymize wrote" in said
    assert NAME not in said
    assert not MANY_DIGITS.search(said.replace(str(tmp_path), ""))


def test_a_map_that_is_no_text_is_not_quoted(tmp_path: Path) -> None:
    """Bytes that are not UTF-8 within a map are told without the row around them."""
    report, map_path = tmp_path / "r.csv", tmp_path / "m.csv"
    report.write_text(f"pseudonym\n{pseudonym(1)}\n", "ascii")
    map_path.write_bytes(f"pseudonym,number\n{NAME},{NUMBER}\n".encode("cp1251"))
    assert "damaged" in rejoin(report, map_path, tmp_path / "j.csv")


def test_a_parquet_report_of_any_types_is_joined(tmp_path: Path) -> None:
    """Numbers, times, categories and gaps of a report come out as texts."""
    map_path = tmp_path / "m.csv"
    map_path.write_text(f"pseudonym,number\n{pseudonym(1)},{NUMBER}\n", "ascii")
    table = pa.table(
        {
            "pseudonym": pa.array([pseudonym(1), None, pseudonym(2)]).dictionary_encode(),
            "parts": [1, None, 3],
            "state": pa.array(["=x", "b", None], pa.large_string()),
        }
    )
    pq.write_table(table, tmp_path / "r.parquet")
    words = (tmp_path / "r.parquet", "--map", map_path, "--out", tmp_path / "j.csv")
    done = command("numroute", "rejoin", *words)
    assert done.status == 0, done.err
    assert (tmp_path / "j.csv").read_text("utf-8").splitlines() == [
        "pseudonym,parts,state,number",
        f"{pseudonym(1)},1,'=x,{NUMBER}",
        ",,b,",
        f"{pseudonym(2)},3,,",
    ]


def test_a_report_of_nested_columns_is_rejoined(tmp_path: Path) -> None:
    """A list is written as JSON: it does not stop the numbers from going back."""
    map_path = tmp_path / "m.csv"
    map_path.write_text(f"pseudonym,number\n{pseudonym(1)},{NUMBER}\n", "ascii")
    table = pa.table({"pseudonym": [pseudonym(1)], "tries": [[1, 2]]})
    pq.write_table(table, tmp_path / "r.parquet")
    report, out = tmp_path / "r.parquet", tmp_path / "j.csv"
    assert command("numroute", "rejoin", report, "--map", map_path, "--out", out).status == 0
    assert (tmp_path / "j.csv").read_text("ascii").splitlines()[1].endswith(f'"[1, 2]",{NUMBER}')


def test_a_folder_is_no_report(tmp_path: Path) -> None:
    """Several reports at once are refused with what to do."""
    folder = tmp_path / "reports"
    folder.mkdir()
    for name in ("a.csv", "b.csv"):
        (folder / name).write_text("pseudonym\nx\n", "ascii")
    (tmp_path / "m.csv").touch()
    assert "one by one" in rejoin(folder, tmp_path / "m.csv", tmp_path / "j.csv")


def test_a_first_row_taken_for_a_header_is_masked(route, tmp_path: Path) -> None:
    """A list without header read with --header: its first person's number stays unsaid."""
    path = tmp_path / "list.csv"
    path.write_text(f"{NAME},8 (916) 111-00-07\nx,нет\nx,-\n", "utf-8")
    said = route(path, "--header", status=1).err
    assert "no column holds phone numbers" in said
    assert "916" not in said
    path.write_text("8 (916) 111-00-07\n79161110008\n", "utf-8")
    routed = route(path, "--header", "--column", "1")
    text = (routed.folder / "summary.json").read_text("utf-8")
    assert "111-00-07" not in text + routed.result.out
    assert "111-00-07" not in (routed.folder / "report.html").read_text("utf-8")


@pytest.mark.parametrize("text", ["Иванов Иван;ivan@x.ru\n", "ab12" * 16 + "\n", "Иванов\nПётр\n"])
@pytest.mark.parametrize("way", [(), ("--header", "--column", "x"), ("--column", "x")])
def test_first_rows_that_may_be_data_are_not_printed(
    route, tmp_path: Path, text: str, way: tuple[str, ...]
) -> None:
    """Columns whose names may be a person's data, or a key, are told by their places."""
    path = tmp_path / "list.csv"
    path.write_text(text, "utf-8")
    said = route(path, *way, status=1).err
    assert "column 1" in said or "--header" in way
    assert "ivan@" not in said
    assert "ab12" not in said
    if "--header" not in way:
        assert "Иванов" not in said


def test_a_first_person_with_a_bad_phone_is_a_row(route, tmp_path: Path) -> None:
    """A list without header counts its first person, warns, and prints nothing of the row."""
    path = tmp_path / "list.csv"
    path.write_text("Иванов;нет;Москва\nПетрова;89031234567;Казань\nС;89031234568;Тверь\n", "utf-8")
    routed = route(path)
    assert routed.summary["steps"]["rows"] == 3
    assert routed.reasons["NOT_A_NUMBER"] == 1
    assert routed.rows("rejects.csv")[0]["row_id"] == "1"
    assert "list.csv: the first row was taken for data; --header / --no-header says" in routed.err
    said = routed.result.out + routed.err + (routed.folder / "summary.json").read_text("utf-8")
    assert "Иванов" not in said + (routed.folder / "report.html").read_text("utf-8")
    assert "the first row was taken for data" in route(path, "--dry-run", out="dry").err
    assert "first row" not in route(path, "--no-header", out="none").err


@pytest.mark.parametrize(
    ("head", "words", "rows", "warned"),
    [
        ("клиент;номер телефона;город", (), 1, None),
        ("client_id;clientPhone;x", (), 1, None),
        ("кто;контактик;где", (), 2, "data"),
        ("кто;контактик;где", ("--column", "контактик"), 1, None),
        ("кто;контактик;где", ("--header",), 1, None),
        ("имя;связь;город", (), 1, "a header"),
        ("Анна;нет телефона;Омск", (), 2, "data"),
        ("Анна;мобильный;Омск", (), 1, None),
        ("Анна;;Омск", (), 2, "data"),
        ("Анна;8 (916) 111;Омск", (), 2, None),
    ],
)
def test_what_counts_as_a_header(
    route, tmp_path: Path, head: str, words: tuple[str, ...], rows: int, warned: str | None
) -> None:
    """Known names and names the user gave make a header; whatever may be data is data."""
    path = tmp_path / "list.csv"
    path.write_text(f"{head}\nx;89031234567;Казань\n", "utf-8")
    routed = route(path, *words)
    assert routed.summary["steps"]["rows"] == rows
    if warned is None:
        assert "the first row" not in routed.err
    else:
        assert f"the first row was taken for {warned};" in routed.err


def test_a_lonely_row_is_no_header(route, tmp_path: Path) -> None:
    """One row with a number in a format that nobody understands is data, not names of columns."""
    path = tmp_path / "list.csv"
    path.write_text("x,00 916 111 00 07\n", "utf-8")
    said = route(path, status=1).err
    assert "its columns are column 1, column 2" in said


def test_values_that_do_not_convert_are_not_quoted(route, tmp_path: Path) -> None:
    """Numbers that slipped into the column of segments count as one and are not repeated."""
    table = pa.table({"phone": [79161110000, 79161110001], "parts": [NUMBER, "2"]})
    pq.write_table(table, tmp_path / "list.parquet")
    prices = tmp_path / "p.toml"
    prices.write_text('currency = "RUB"\n[[price]]\nprice = "1"\n', "ascii")
    words = ("--column", "phone", "--segments-column", "parts", "--prices", prices)
    routed = route(tmp_path / "list.parquet", *words)
    assert routed.summary["cost"]["total"] == "3.00"
    assert "segments from 1 to 255, taken as 1: 1" in routed.err
    assert routed.summary["files"][0]["has_header"]
    dated = pa.table({"phone": [79161110000], "parts": pa.array([1], pa.timestamp("s"))})
    pq.write_table(dated, tmp_path / "list.parquet")
    said = route(tmp_path / "list.parquet", *words, out="dated", status=1).err
    assert "the column 'parts' holds no segments" in said


@pytest.mark.parametrize("cut", [0.2, 0.5, 0.8])
def test_damage_deep_in_a_parquet_list_is_not_quoted(route, tmp_path: Path, cut: float) -> None:
    """Overwritten pages of a Parquet list are told as damage, by the file's name alone."""
    path = tmp_path / "list.parquet"
    phones = [f"+7916{i:07}" for i in range(50_000)]
    pq.write_table(pa.table({"phone": phones, "name": [NAME] * 50_000}), path, use_dictionary=False)
    data = bytearray(path.read_bytes())
    at = int(len(data) * cut)
    data[at : at + 4000] = b"\xff" * 4000
    path.write_bytes(bytes(data))
    routed = route(path, "--column", "phone", "--region", "RU", status=1)
    assert "list.parquet: the parquet file is damaged" in routed.err
    assert not MANY_DIGITS.search(routed.err.replace(str(tmp_path), ""))


def test_an_error_that_nobody_foresaw_quotes_nothing(
    route, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever pyarrow says in the middle of a run, its words are not passed on."""

    def fail(*_: object) -> None:
        raise pa.ArrowInvalid(f"Failed to parse string: '{NUMBER}'")

    monkeypatch.setattr("numroute_campaign.run.prepare", fail)
    path = tmp_path / "list.csv"
    path.write_text(f"phone\n{NUMBER}\n", "ascii")
    said = route(path, status=1).err
    assert "list.csv: a value cannot be handled (pyarrow: ArrowInvalid)" in said
    assert NUMBER not in said
    assert [each.name for each in tmp_path.iterdir()] == ["list.csv"]


def test_an_arrow_file_holds_no_text_of_another(route, ported: list[int], tmp_path: Path) -> None:
    """What fills a column up behind its last row is not the text of the next, in another file."""
    clients, policy = tmp_path / "clients.csv", tmp_path / "policy.toml"
    clients.write_text(f"phone,name\n+{ported[0]},Anna\n+{ported[1]},Mikhail\n", "ascii")
    policy.write_text('[[rule]]\nroute = "all"\n', "ascii")
    options = ("--policy", policy, "--keep", "name", "--format", "arrow", "--rows-per-file", 1)
    first, second = sorted(route(clients, *options).folder.glob("*.arrow"))
    assert b"Anna" in first.read_bytes()
    assert b"Mikh" not in first.read_bytes()
    assert b"Mikhail" in second.read_bytes()


def test_samples_of_rejected_cells_are_masked(route, tmp_path: Path) -> None:
    """Summary and report show the shape of what was rejected: no name, and three digits at most."""
    path = tmp_path / "list.csv"
    cells = ["8 (916) 11", f"{NAME} 12345", "", "7916123456789012345", "нет", f"{NUMBER}"]
    path.write_text("phone;x\n" + "".join(f"{cell};\n" for cell in cells), "utf-8")
    routed = route(path, "--column", "phone", "--max-rejected", "1")
    samples = {each["reason"]: each["samples"] for each in routed.summary["rejects"]}
    assert samples["TOO_SHORT"] == ["8 (91•) ••", "xxxxxxx 123••"]
    assert samples["EMPTY"] == []
    assert ["xxx"] in samples.values()
    assert "8 (91•) ••" in (routed.folder / "report.html").read_text("utf-8")
    for name in ("summary.json", "report.html"):
        text = (routed.folder / name).read_text("utf-8")
        assert not any(secret in text for secret in (NAME, NUMBER, "7916123"))
