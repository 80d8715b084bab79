"""Pseudonyms, their map, and delivery reports joined back."""

from __future__ import annotations

import csv
import hmac
import os
from pathlib import Path

import numpy as np
import pytest
import xlsxwriter
from hypothesis import given, settings
from hypothesis import strategies as st
from support.files import private
from support.registry import command

from numroute.errors import InputError, SettingError
from numroute_campaign.handover import fingerprint, load_key, pseudonyms_of, rejoin


@settings(deadline=None, max_examples=20)
@given(
    st.binary(min_size=16, max_size=64),
    st.lists(st.integers(1, 10**15 - 1), max_size=20),
)
def test_pseudonyms_are_hmac_sha_256(key: bytes, numbers: list[int]) -> None:
    """Each pseudonym is the first half of the HMAC that the standard library computes."""
    texts = pseudonyms_of(np.array(numbers, np.uint64), key).to_pylist()
    assert texts == [
        hmac.digest(key, str(number).encode(), "sha256").hex()[:32] for number in numbers
    ]


@pytest.fixture
def words(tmp_path: Path) -> tuple[object, ...]:
    """Return the options of a hand-over, key and map in folders of their own."""
    for folder in ("k", "m"):
        (tmp_path / folder).mkdir()
    return ("--pseudonymize", tmp_path / "k" / "key", "--map", tmp_path / "m" / "map.csv")


@pytest.fixture
def sent(route, list_csv: Path, words: tuple[object, ...]):
    """Return the planted list, routed under pseudonyms."""
    return route(list_csv, *words)


def test_no_number_leaves(sent, planted) -> None:
    """Outputs hold pseudonyms only; the map beside them has the numbers."""
    rows = sent.routed()
    assert "number" not in rows[0]
    text = "".join(path.read_text("utf-8") for path in sent.folder.iterdir())
    assert str(planted.numbers[planted.is_first][0]) not in text
    assert sent.summary["pseudonymized"] is True


def test_key_and_map_are_private_and_outside_the_output(sent, tmp_path: Path) -> None:
    """The key file that was made and the map are 0600 and do not lie in the output folder."""
    for path in (tmp_path / "k" / "key", tmp_path / "m" / "map.csv"):
        assert path.stat().st_mode & 0o777 == 0o600
    assert not list(sent.folder.glob("*pseudonym*"))


def test_reports_are_joined_back(sent, planted, tmp_path: Path) -> None:
    """``numroute rejoin`` gives every row of a delivery report its number, in order."""
    rows = sent.routed()[:500]
    report = tmp_path / "report.csv"
    report.write_text(
        "state;pseudonym;at\n"
        + "".join(f"DELIVERED;{row['pseudonym'].upper()};=1+1\n" for row in rows)
        + "LOST;00000000000000000000000000000000;x\n",
        "utf-8",
    )
    done = command(
        "numroute", "rejoin", report, "--map", tmp_path / "m" / "map.csv",
        "--out", tmp_path / "joined.csv",
    )  # fmt: skip
    assert done.status == 0, done.err
    assert "500 of 501 rows" in done.out
    assert "1 pseudonyms" in done.err
    lines = (tmp_path / "joined.csv").read_text("utf-8").splitlines()
    assert lines[0] == "state,pseudonym,at,number"
    for line, row in zip(lines[1:-1], rows, strict=True):
        assert int(line.split(",")[-1]) == planted.numbers[int(row["row_id"]) - 1]
        assert "'=1+1" in line
    assert lines[-1].endswith(",x,")
    assert (tmp_path / "joined.csv").stat().st_mode & 0o777 == 0o600


def test_a_readable_key_is_refused(route, list_csv: Path, words: tuple[Path, ...]) -> None:
    """A key file that others may read is refused with the command that mends it."""
    key = words[1]
    key.write_text("ab" * 32, "ascii")
    key.chmod(0o644)
    err = route(list_csv, *words, status=1).err
    assert "the key can be read or changed by others" in err
    assert "chmod 600" in err


@pytest.mark.parametrize("key", [bytes(16), bytes(32), b"ab" * 16, bytes([1, 2] * 9)])
def test_a_weak_key_is_refused(key: bytes, tmp_path: Path) -> None:
    """A key file of zeros or of a few repeated bytes is refused, with the remedy."""
    path = private(tmp_path / "key", key.hex())
    with pytest.raises(InputError, match="the key is weak") as caught:
        load_key(path)
    assert "Name a new file" in caught.value.hint
    assert key.hex() not in str(caught.value)


def test_a_key_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key file that somebody else may have planted is refused."""
    path = private(tmp_path / "key", "0123456789abcdeffedcba98765432100f1e2d3c4b5a6978")
    assert len(load_key(path)) == 24
    monkeypatch.setattr("os.fstat", lambda _: os.stat_result((0o100600, 0, 0, 1, 12345, *[0] * 5)))
    with pytest.raises(SettingError, match="belongs to another user"):
        load_key(path)


def test_what_is_not_a_key_is_refused(tmp_path: Path) -> None:
    """A text, a short key and a folder are refused; a missing file is created, private."""
    for text, reason in (("secret", "holds no key"), ("ab12", "has 2 bytes")):
        with pytest.raises(InputError, match=reason):
            load_key(private(tmp_path / "key", text))
    with pytest.raises(SettingError, match="Is a directory"):
        load_key(tmp_path)
    made = load_key(tmp_path / "new")
    assert load_key(tmp_path / "new") == made
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o600
    assert fingerprint(made) not in made.hex()


def test_an_existing_map_is_not_overwritten(route, list_csv: Path, words: tuple[Path, ...]) -> None:
    """A map of an earlier campaign stays as it is."""
    words[3].write_text("old", "ascii")
    assert "exists already" in route(list_csv, *words, status=1).err
    assert words[3].read_text("ascii") == "old"


def test_rejoin_refuses_what_is_no_map(tmp_path: Path) -> None:
    """A file that is no map is refused without quoting it."""
    report, other = tmp_path / "r.csv", tmp_path / "o.csv"
    report.write_text("pseudonym\nab\n", "ascii")
    other.write_text("phone\n79161234567\n", "ascii")
    done = command("numroute", "rejoin", report, "--map", other, "--out", tmp_path / "j.csv")
    assert done.status == 1
    assert "not a map of pseudonyms" in done.err
    assert "7916" not in done.err


@pytest.mark.parametrize("way", [(), ("--dry-run",)])
def test_the_phone_column_is_not_kept_beside_pseudonyms(
    route, words: tuple[object, ...], tmp_path: Path, way: tuple[str, ...]
) -> None:
    """--keep of the phone column, by name or place, is refused where pseudonyms are written."""
    for name in ("phone", "PHONE", "2"):
        path = tmp_path / "list.csv"
        path.write_text("name,phone\nx,79161234567\n", "ascii")
        err = route(path, "--column", "phone", "--keep", name, *words, *way, status=1).err
        assert "they would leave beside their pseudonyms" in err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("way", [(), ("--dry-run",)])
@pytest.mark.parametrize(
    ("name", "cell"), [("mobile", ""), ("home_phone", "no"), ("spare", "8 916 765-43-21")]
)
def test_a_second_phone_column_is_not_kept_beside_pseudonyms(
    route, words: tuple[object, ...], tmp_path: Path, name: str, cell: str, way: tuple[str, ...]
) -> None:
    """Another column of numbers, by its name or its content, is refused as the phone column is."""
    path = tmp_path / "list.csv"
    path.write_text(f"phone,city,{name}\n79161234567,Omsk,{cell}\n", "ascii")
    words = ("--column", "phone", *words)
    err = route(path, *words, "--keep", name, *way, status=1).err
    assert f"--keep names '{name}'" in err
    assert "phone numbers: they would leave beside their pseudonyms" in err
    assert "row_id leads back to the list" in err
    assert not (tmp_path / "out").exists()
    route(path, *words, "--keep", "city", *way)


def test_a_dry_run_makes_no_key(route, list_csv: Path, tmp_path: Path) -> None:
    """--dry-run writes nothing, the key file neither."""
    words = ("--pseudonymize", tmp_path / "k" / "key", "--map", tmp_path / "m" / "map.csv")
    route(list_csv, *words, "--dry-run")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("key", "map_path"), [("k/key", "out/map.csv"), ("k/key", "map.csv"), ("key", "m/map.csv")]
)
def test_a_map_or_key_with_the_output_is_refused(
    route, list_csv: Path, words: tuple[object, ...], tmp_path: Path, key: str, map_path: str
) -> None:
    """In the output folder or beside it they could leave with it: refused before any work."""
    words = ("--pseudonymize", tmp_path / key, "--map", tmp_path / map_path)
    assert "Give it a folder of its own" in route(list_csv, *words, status=1).err
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / key).exists()


def test_a_hand_over_without_a_place_for_the_map_is_refused(
    route, list_csv: Path, words: tuple[object, ...]
) -> None:
    """The map has no default place: whoever hands over decides it."""
    assert "--map FILE" in route(list_csv, *words[:2], status=2).err


def test_a_map_without_a_folder_is_refused(
    route, list_csv: Path, words: tuple[object, ...], tmp_path: Path
) -> None:
    """A map whose folder is not there is refused before any work."""
    words = (*words[:3], tmp_path / "no" / "map.csv")
    err = route(list_csv, *words, status=1).err
    assert "its folder does not exist" in err
    assert "Make room" not in err


REPORTS = {
    "upper case": "id,PSEUDONYM,status\n1, {0} ,ok\n",
    "an apostrophe": "id,pseudonym,status\n1,'{0},ok\n",
    "a formula": 'id,pseudonym,status\n1,"=""{0}""",ok\n',
    "a row of totals": "id,pseudonym,status\n1,{0},ok\nTotal,,1\n",
    "title": "Отчёт;;\nid;pseudonym;status\n1;{0};ok\n",
    "quote in a name": 'Отчёт "доставка;pseudonym;status\nx;{0};ok\n',
    "sep": "sep=;\nid;pseudonym;status\n0;{0};ok\n",
    "empty row": ";;\nid;pseudonym;status\n0;{0};ok\n",
    "empty names": ";pseudonym;\n0;{0};=x\n",
    "same names": "state;pseudonym;state\n0;{0};1\n",
}


@pytest.mark.parametrize("kind", REPORTS)
@pytest.mark.parametrize("column", [(), ("--column", "2"), ("--column", "Pseudonym")])
@pytest.mark.parametrize("encoding", ["utf-8", "cp1251"])
def test_reports_are_read_as_lists_are(
    tmp_path: Path, kind: str, column: tuple[str, ...], encoding: str
) -> None:
    """Title rows, ``sep=``, stray quotes and repeated names; the column by name or place."""
    pseudonym = "f71b72764588c05975a91c788968a61f"
    report, map_path = tmp_path / "r.csv", tmp_path / "m.csv"
    report.write_text(REPORTS[kind].format(pseudonym), encoding)
    map_path.write_text(f"pseudonym,number\n{pseudonym},79161110007\n", "ascii")
    words = (report, "--map", map_path, "--out", tmp_path / "j.csv", *column)
    done = command("numroute", "rejoin", *words)
    assert done.status == 0, done.err
    assert "1 of 1 rows have their number" in done.out
    *_, last = csv.reader((tmp_path / "j.csv").read_text("utf-8").splitlines())
    assert (last[1].strip("'=\" "), last[-1]) == (pseudonym, "79161110007")


def test_a_workbook_is_a_report(tmp_path: Path) -> None:
    """Texts of a spreadsheet come back as they are, also those that look like numbers."""
    pseudonyms = ["1234567890123456789012345678e012", "7e120000000000000000000000000000"]
    with xlsxwriter.Workbook(tmp_path / "r.xlsx") as workbook:
        sheet = workbook.add_worksheet()
        for i, row in enumerate([("Pseudonym", "parts"), *((each, "2") for each in pseudonyms)]):
            for j, cell in enumerate(row):
                sheet.write_string(i, j, cell)
    map_path = tmp_path / "m.csv"
    rows = "".join(f"{each},7916111000{i}\n" for i, each in enumerate(pseudonyms))
    map_path.write_text(f"pseudonym,number\n{rows}", "ascii")
    words = (tmp_path / "r.xlsx", "--map", map_path, "--out", tmp_path / "j.csv")
    done = command("numroute", "rejoin", *words)
    assert done.status == 0, done.err
    assert (tmp_path / "j.csv").read_text("utf-8").splitlines()[1:] == [
        f"{each},2,7916111000{i}" for i, each in enumerate(pseudonyms)
    ]


def test_a_report_without_rows_is_an_error(tmp_path: Path) -> None:
    """A header alone is an export that went wrong, not a report that was joined."""
    (tmp_path / "map.csv").write_text("pseudonym,number\n", "ascii")
    (tmp_path / "report.csv").write_text("pseudonym,status\n", "ascii")
    with pytest.raises(InputError, match="the report has no rows"):
        rejoin(str(tmp_path / "report.csv"), tmp_path / "map.csv", tmp_path / "out.csv")
    assert not (tmp_path / "out.csv").exists()
