"""``numroute route`` on a list, beside pyarrow reading and writing the same file."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from benchmarks.lists.planted import Planted, make_list, write_list
from benchmarks.material import Material
from benchmarks.oracle import Ported, Truth
from benchmarks.processes import BIN, run
from benchmarks.report import Figure, beside, rounds

ROWS_MAX = 10_000_000
FORMS = ("csv", "parquet")
SEED = 6
RANGE_NUMBERS = 14


def campaign(material: Material, seconds: float) -> Sequence[Figure]:
    """Route a list in which everything is planted, and read every output again."""
    rows = min(ROWS_MAX, len(material.truth.ported))
    planted = make_list(rows, planted_ranges(material.truth.ported), SEED)
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory(dir=material.work) as folder:
        for form in FORMS:
            path, out = Path(folder) / f"list.{form}", Path(folder) / "out"
            write_list(planted, path)
            section = f"A campaign list of {rows:,} rows, {form} to {form}"
            reading, routing = "pyarrow reads and writes the list", "`numroute route`"
            times: dict[str, list[float]] = {reading: [], routing: []}
            peaks = []
            for _ in rounds(seconds / len(FORMS)):
                times[reading].append(_copy_seconds(path, out.with_suffix(f".{form}")))
                shutil.rmtree(out, ignore_errors=True)
                done = run(
                    *(BIN / "numroute", "route", path, "--store", material.store),
                    *("--region", "RU", "--out", out, "--format", form),
                )
                times[routing].append(done.seconds)
                peaks.append(done.peak_rss_bytes / 1e6)
            check(material, planted, out)
            figures += beside(section, times, unit="s")
            figures.append(
                Figure(section=section, name="most memory resident", unit="MB", values=peaks)
            )
            figures.append(
                Figure(
                    section=section,
                    name="rate",
                    unit="rows/s",
                    values=[rows / each for each in times[routing]],
                )
            )
    return figures


def check(material: Material, planted: Planted, out: Path) -> None:
    """Assert that the outputs, read again, are exactly what was planted."""
    summary = json.loads((out / "summary.json").read_text("utf-8"))
    steps = summary["steps"]
    assert steps["rows"] == len(planted.numbers)
    assert steps["duplicates"] == planted.duplicates
    assert steps["rejected"] == sum(planted.rejects.values())
    reasons = Counter({each["reason"]: each["rows"] for each in summary["rejects"]})
    assert all(reasons[reason] == rows for reason, rows in planted.rejects.items())
    times = np.zeros(len(planted.numbers) + 1, np.uint8)
    operators = _operators(material.truth, planted.numbers)
    routes_of: dict[int, set[str]] = {}
    for each in summary["routes"]:
        found = 0
        for name in each["files"]:
            table = _columns(out / name, ["row_id", "number"])
            row_id = table["row_id"].to_numpy().astype(np.int64)
            assert np.array_equal(planted.numbers[row_id - 1], table["number"].to_numpy())
            assert planted.is_first[row_id - 1].all()
            times[row_id] += 1
            found += len(row_id)
            for operator in np.unique(operators[row_id - 1]).tolist():
                routes_of.setdefault(operator, set()).add(each["name"])
        assert found == each["numbers"], each["name"]
    routed = (times[1:] == 1) | ~planted.is_first
    assert routed[operators > 0].all(), "a ported number has no route"
    split = [names for operator, names in routes_of.items() if operator and len(names) > 1]
    assert not split, f"numbers of one operator have several routes: {split}"
    for name in summary["rejects_files"]:
        times[_columns(out / name, ["row_id"])["row_id"].to_numpy()] += 1
    assert (times[1:] == 1).all(), "a row is missing, or occurs twice"


def planted_ranges(ported: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return ranges of which each begins with a ported number: 7 % of their numbers are ported."""
    apart = np.flatnonzero(np.diff(ported) >= RANGE_NUMBERS)
    return np.stack([ported[apart], ported[apart] + np.uint64(RANGE_NUMBERS - 1)], axis=1)


def _operators(truth: Truth, numbers: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Return an id of each ported number's operator; 0 for other numbers."""
    codes = [fact.operator if isinstance(fact, Ported) else "" for fact in truth.facts]
    # The empty text sorts first.
    ids: NDArray[np.int64] = np.unique(codes, return_inverse=True)[1][truth.expected(numbers)]
    return ids


def _copy_seconds(path: Path, copy: Path) -> float:
    """Return the seconds that pyarrow takes to read a list and to write it again."""
    begin = time.perf_counter()
    if path.suffix == ".csv":
        pa_csv.write_csv(pa_csv.read_csv(path), copy)
    else:
        pq.write_table(pq.read_table(path), copy)
    seconds = time.perf_counter() - begin
    copy.unlink()
    return seconds


def _columns(path: Path, names: list[str]) -> pa.Table:
    if path.suffix == ".parquet":
        return pq.read_table(path, columns=names)
    return pa_csv.read_csv(path, convert_options=pa_csv.ConvertOptions(include_columns=names))
