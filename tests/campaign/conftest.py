"""A small synthetic registry's snapshot, and the command as a user runs it."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pytest
from benchmarks.lists.planted import make_list, write_list
from support.registry import command, generated_store

PARTS = 6
MOBILE = np.array([[79000000000, 79099999999], [79160000000, 79299999999]], np.uint64)


@pytest.fixture(scope="session")
def store(tmp_path_factory) -> Path:
    """Return a store with a snapshot of a synthetic registry of 20,000 ported numbers."""
    return generated_store(tmp_path_factory)


@pytest.fixture(scope="session")
def planted():
    """Return a list of 30,000 rows with everything planted."""
    return make_list(30_000, MOBILE, seed=3)


@pytest.fixture(scope="session")
def list_csv(planted, tmp_path_factory) -> Path:
    """Return the planted list as a CSV file."""
    return write_list(planted, tmp_path_factory.mktemp("list") / "clients.csv")


@pytest.fixture(scope="session")
def ported(store: Path) -> list[int]:
    """Return ported numbers of the registry, as its dump has them."""
    (dump,) = (store.parent / "r").glob("Port_All*.csv")
    with dump.open(encoding="utf-8") as file:
        return [70_000_000_000 + int(row["Number"]) for row in csv.DictReader(file)][::7]


@pytest.fixture(scope="session")
def list_mixed(planted, ported: list[int], tmp_path_factory) -> Path:
    """Return 3,000 rows of the planted list and, between them, 2,000 ported numbers."""
    path = tmp_path_factory.mktemp("mixed") / "mixed.csv"
    rows = planted.table.slice(0, 3000).to_pylist()
    for i, number in enumerate(ported[:2000]):
        rows.insert(2 * i, {**rows[i], "phone": f"+{number}"})
    pa_csv.write_csv(pa.Table.from_pylist(rows), path)
    return path


@pytest.fixture(scope="session")
def list_parts(planted, tmp_path_factory) -> Path:
    """Return the planted list cut into six files, each of which is read as a block of its own."""
    path = tmp_path_factory.mktemp("lists")
    rows = planted.table.num_rows // PARTS
    for i in range(PARTS):
        pa_csv.write_csv(planted.table.slice(i * rows, rows), path / f"{i}.csv")
    return path


@pytest.fixture
def route(store: Path, tmp_path: Path):
    """Return a function that runs ``numroute route`` into OUT and reads what it made."""

    def run(*arguments: object, status: int = 0, out: str = "out", **stdin: str) -> Routed:
        folder = tmp_path / out
        result = command(
            "numroute", "route", "--store", store, "--region", "RU", "--out", folder,
            # Small lists have large shares of planted rejects.
            "--max-rejected", 1, *arguments, **stdin,
        )  # fmt: skip
        assert result.status == status, result.err
        return Routed(folder, result)

    return run


class Routed:
    """What a run printed and made."""

    def __init__(self, folder: Path, result) -> None:
        """Keep the folder and the command's result."""
        self.folder, self.result = folder, result

    @property
    def err(self) -> str:
        """What the command printed on standard error."""
        return self.result.err

    @property
    def summary(self) -> dict:
        """The summary as JSON."""
        return json.loads((self.folder / "summary.json").read_text("utf-8"))

    def rows(self, name: str) -> list[dict[str, str]]:
        """Return the rows of one CSV output."""
        with (self.folder / name).open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))

    def routed(self) -> list[dict[str, str]]:
        """Return the rows of all CSV outputs but the rejects."""
        return [
            row
            for path in sorted(self.folder.glob("*.csv"))
            if not path.name.startswith("rejects")
            for row in self.rows(path.name)
        ]

    @property
    def reasons(self) -> dict[str, int]:
        """How many rows were rejected per reason, by the summary."""
        return {each["reason"]: each["rows"] for each in self.summary["rejects"]}
