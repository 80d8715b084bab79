"""Damaged copies of the numbering plan are refused with file, line, reason and remedy."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from numroute.errors import InputError
from numroute_loader.registries import read as read_file
from numroute_loader.registries import ru_numbering_plan

SIX = "АВС/ DEF;От;До;Емкость;Оператор;Регион"
SEVEN = SIX + ";ИНН"
EIGHT = SIX + ";Территория ГАР;ИНН"
GOOD = "900;0000000;0000009;10;Оператор;Край"
NEXT = "900;0000010;0000019;10;Оператор;Край"


def refusal(tmp_path: Path, raw: bytes) -> InputError:
    """Return the error that reading the bytes raises, after checks that hold for every refusal."""
    path = tmp_path / "DEF-9xx.csv"
    path.write_bytes(raw)
    with pytest.raises(InputError) as caught:
        read_file(path)
    error = caught.value
    assert error.path == path
    assert error.hint
    assert error.__cause__ is None
    assert re.search(r"\d{7}", str(error).replace(str(path), "")) is None
    return error


def lines(*texts: str, encoding: str = "utf-8") -> bytes:
    """Return the lines as a file's bytes."""
    return "".join(f"{text}\n" for text in texts).encode(encoding)


DEFECTS = {
    "empty file": (b"", None, "empty"),
    "only a mark": (b"\xef\xbb\xbf", None, "empty"),
    "only blank lines": (b"\r\n\r\n", None, "empty"),
    "error page of a server": (
        b"\xef\xbb\xbf\r\n<!DOCTYPE html><html><body>503</body></html>",
        None,
        "HTML page",
    ),
    "header only": (lines(SIX), None, "no ranges"),
    "wrong header": (
        lines("Code;From;To;Count;Operator;Region", GOOD),
        1,
        "the first line is not a header of its kind",
    ),
    "header without the region": (
        lines(SIX.rpartition(";")[0], GOOD),
        1,
        "the first line is not a header of its kind",
    ),
    "column twice": (lines(SEVEN + ";Регион", GOOD), 1, "a column occurs twice"),
    "column without a name": (lines(SIX + ";", GOOD + ";"), 1, "is without a name"),
    "delimited by commas": (
        lines(SIX.replace(";", ",")),
        1,
        "the first line is not a header of its kind",
    ),
    "UTF-16": (lines(SIX, GOOD, encoding="utf-16"), None, "UTF-16"),
    "NUL byte": (lines(SIX, GOOD, "901;0\0"), 3, "NUL"),
    "letters lost in a conversion": (lines(SIX, GOOD, NEXT.replace("К", "\ufffd")), 3, "lost"),
    "windows-1251 line after a mark": (
        lines(SIX, GOOD, encoding="utf-8-sig") + lines(NEXT, encoding="cp1251"),
        3,
        "mixed encodings: line 1 is in UTF-8, line 3 is not",
    ),
    "windows-1251 after a mark and nothing else": (
        b"\xef\xbb\xbf" + lines("900;0;9;10;Оператор;Край", encoding="cp1251"),
        1,
        "mixed encodings: line 1 is in UTF-8, line 1 is not, or only in part",
    ),
    "two encodings in a headerless line": (
        "900;0;9;10;Оператор;".encode() + "Край\n".encode("cp1251"),
        1,
        "mixed encodings: line 1 is in UTF-8, line 1 is not, or only in part",
    ),
    "windows-1251 line in UTF-8": (
        lines(SIX, GOOD) + lines(NEXT, encoding="cp1251"),
        3,
        "mixed encodings: line 1 is in UTF-8, line 3 is not",
    ),
    "UTF-8 line in windows-1251": (
        lines(SIX, GOOD, encoding="cp1251") + lines(NEXT),
        3,
        "mixed encodings: line 3 is in UTF-8, line 1 is not",
    ),
    "two encodings in one line": (
        lines(SIX, GOOD, encoding="cp1251")
        + "901;0;9;10;Оператор;".encode()
        + "Край".encode("1251"),
        3,
        "mixed encodings: line 3 is in UTF-8, line 1 is not",
    ),
    "byte of no encoding": (
        lines(SIX, GOOD, encoding="cp1251") + b"901;0;9;10;\xe0\x98;\xe0\n",
        3,
        "neither",
    ),
    "return inside a line": (lines(SIX, GOOD, "900;0000010\r;"), 3, "carriage return"),
    "last line cut off": (lines(SIX, GOOD) + b"900;0000010;00000", 3, "3 columns where 6"),
    "last tax number cut off": (
        lines(SEVEN, f"{GOOD};7700000001") + f"{NEXT};77000".encode(),
        3,
        "cut off",
    ),
    "rows that end in a delimiter and a carriage return": (
        f"{GOOD};\r{NEXT};\r".encode(),
        1,
        "carriage return in its middle",
    ),
    "too few fields": (lines(SIX, "900;0000000;0000009;10;Оператор", NEXT), 2, "5 columns where 6"),
    "too many fields": (lines(SEVEN, f"{GOOD};Район;7700000001"), 2, "8 columns where 7"),
    "too many fields in 2026": (lines(EIGHT, f"{GOOD};A;B;7700000001"), 2, "9 columns where 8"),
    "tax number in a six-column file": (lines(SIX, GOOD, f"{NEXT};7700000001"), 3, "7 columns"),
    "total row": (lines(SIX, GOOD, "Итого;;;10;;"), 3, "the code is not"),
    "total row of one field": (lines(SIX, GOOD, "Итого: 10"), 3, "1 columns where 6"),
    "total row under the bounds": (lines(SIX, GOOD, ";;Всего;10;;"), 3, "the code is not"),
    "row of empty fields": (lines(SIX, GOOD, ";;;;;"), 3, "code"),
    "code of two digits": (lines(SIX, "90;0000000;0000009;10;О;К"), 2, "code"),
    "code of another country": (lines(SIX, "700;0000000;0000009;10;О;К"), 2, "code"),
    "code with other digits": (lines(SIX, "٩٠٠;0000000;0000009;10;О;К"), 2, "code"),
    "От of eight digits": (lines(SIX, "900;00000000;0000009;10;О;К"), 2, "От is not"),
    "От as a fraction": (lines(SIX, "900;0,0;0000009;10;О;К"), 2, "От is not"),
    "До in hexadecimal": (lines(SIX, "900;0000000;0x9;10;О;К"), 2, "До is not"),
    "empty До": (lines(SIX, "900;0000000;;10;О;К"), 2, "До is not"),
    "От greater than До": (lines(SIX, "900;0000009;0000000;10;О;К"), 2, "От is greater"),
    "capacity mismatch": (
        lines(SIX, GOOD, "900;0000010;0000019;9;О;К"),
        3,
        "Емкость is not До - От + 1",
    ),
    "capacity with a blank": (lines(SIX, "900;0000000;0009999;10 000;О;К"), 2, "Емкость"),
    "duplicate range": (lines(SIX, GOOD, NEXT, GOOD), 4, "overlaps that of line 2"),
    "overlapping ranges": (
        lines(SIX, GOOD, "900;0000009;0000018;10;О;К"),
        3,
        "overlaps that of line 2",
    ),
    "range within another": (
        lines(SIX, "900;0000005;0000005;1;О;К", "900;0000000;0000009;10;О;К"),
        3,
        "overlaps that of line 2",
    ),
    "no operator": (lines(SEVEN, "900;0000000;0000009;10; ;Край;"), 2, "no operator"),
}


@pytest.mark.parametrize("name", DEFECTS)
def test_damage_is_refused(tmp_path: Path, name: str):
    """Each kind of damage is refused with the line that shows it and the reason."""
    raw, line, reason = DEFECTS[name]
    error = refusal(tmp_path, raw)
    assert error.line == line
    assert reason in error.reason


def test_overlong_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A file longer than any plan is refused before it is looked at."""
    monkeypatch.setattr(ru_numbering_plan, "PLAN_BYTES_MAX", 20)
    assert "longer than 20 bytes" in refusal(tmp_path, lines(SIX, GOOD)).reason


def test_missing_file_is_refused(tmp_path: Path):
    """A path that leads nowhere is refused as the user's mistake."""
    with pytest.raises(InputError) as caught:
        read_file(tmp_path / "DEF-9xx.csv")
    assert caught.value.hint


def test_real_plan_with_one_broken_line_is_refused(reference_data: Path, tmp_path: Path):
    """In a real file of sixteen thousand lines the one edited line is named."""
    raw = (reference_data / "numbering_plan" / "2026-04" / "DEF-9xx.csv").read_bytes()
    records = raw.split(b"\n")
    records[9_999] = records[9_998]
    error = refusal(tmp_path, b"\n".join(records))
    assert error.line == 10_000
    assert "overlaps that of line 9999" in error.reason
