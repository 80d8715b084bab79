"""Workbooks that runs write, read by LibreOffice: it finds the same numbers."""

from __future__ import annotations

import csv
import shutil
import subprocess
from pathlib import Path

import pytest

SOFFICE = shutil.which("soffice")
pytestmark = pytest.mark.skipif(SOFFICE is None, reason="LibreOffice is not installed")


def converted(folder: Path, book: Path) -> list[dict[str, str]]:
    """Return the rows of a workbook as LibreOffice writes them as CSV."""
    subprocess.run(
        [
            *(SOFFICE, "--headless", f"-env:UserInstallation={(folder / 'profile').as_uri()}"),
            *("--convert-to", "csv:Text - txt - csv (StarCalc):44,34,76,1", "--outdir", folder),
            book,
        ],
        check=True,
        capture_output=True,
        timeout=120,
    )
    with (folder / f"{book.stem}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_libreoffice_finds_the_same_rows(route, list_mixed: Path, tmp_path: Path) -> None:
    """Numbers, route and kept columns of a workbook are those of the CSV output."""
    plain = route(list_mixed, "--keep", "name", out="plain")
    books = route(list_mixed, "--keep", "name", "--format", "xlsx", out="books")
    largest = max(books.folder.glob("*.xlsx"), key=lambda path: path.stat().st_size)
    expected = plain.rows(f"{largest.stem}.csv")
    assert len(expected) > 100
    found = converted(tmp_path, largest)
    # The apostrophe before what may be a formula is CSV's: in a workbook each cell is a text.
    assert [{**row, "name": row["name"].lstrip("'")} for row in expected] == found
