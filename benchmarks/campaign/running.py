"""One run of the yardstick or of ``numroute route``, and the check of what it made."""

from __future__ import annotations

import json
import shutil
import time
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from benchmarks.children import BIN, Finished, run_measured

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.campaign.prepare import Material


def yardstick(form: str, material: Material, out: Path) -> float:
    """Return the seconds that pyarrow takes to read a list and to write it again."""
    begin = time.perf_counter()
    if form == "csv":
        pa_csv.write_csv(pa_csv.read_csv(material.csv), out)
    else:
        pq.write_table(pq.read_table(material.parquet), out)
    seconds = time.perf_counter() - begin
    out.unlink()
    return seconds


def command(form: str, material: Material, out: Path, *more: str | Path) -> list[str | Path]:
    """Return the command that routes a list."""
    return [
        *(BIN / "numroute", "route", material.csv if form == "csv" else material.parquet),
        *("--store", material.store, "--region", "RU", "--out", out, "--format", form, *more),
    ]


def route(form: str, material: Material, out: Path, *more: str | Path) -> Finished:
    """Route a list in a process of its own; the start of the interpreter is part of its time."""
    shutil.rmtree(out, ignore_errors=True)
    return run_measured(command(form, material, out, *more))


def check(material: Material, out: Path) -> None:
    """Assert that the outputs, read again, are exactly what was planted."""
    expected = json.loads(material.expected.read_text("utf-8"))
    summary = json.loads((out / "summary.json").read_text("utf-8"))
    steps = summary["steps"]
    assert steps["rows"] == expected["rows"]
    assert steps["duplicates"] == expected["duplicates"]
    assert steps["rejected"] == sum(expected["rejects"].values())
    reasons = {each["reason"]: each["rows"] for each in summary["rejects"]}
    for reason, rows in expected["rejects"].items():
        assert reasons.get(reason, 0) == rows, reason
    routes = {each["name"]: each["numbers"] for each in summary["routes"]}
    assert routes == expected["routes"]
    numbers = np.load(material.numbers, mmap_mode="r")
    is_first = np.load(material.is_first, mmap_mode="r")
    times = np.zeros(len(numbers) + 1, np.uint8)
    for each in summary["routes"]:
        found = 0
        for name in each["files"]:
            table = _columns(out / name, ["row_id", "number"])
            row_id = table["row_id"].to_numpy().astype(np.int64)
            np.testing.assert_array_equal(numbers[row_id - 1], table["number"].to_numpy())
            assert is_first[row_id - 1].all()
            times[row_id] += 1
            found += len(row_id)
        assert found == each["numbers"], each["name"]
    for name in summary["rejects_files"]:
        times[_columns(out / name, ["row_id"])["row_id"].to_numpy()] += 1
    assert (times[1:] == 1).all(), "a row is missing, or stands twice"


def _columns(path: Path, names: list[str]) -> pa.Table:
    if path.suffix == ".parquet":
        return pq.read_table(path, columns=names)
    return pa_csv.read_csv(path, convert_options=pa_csv.ConvertOptions(include_columns=names))
