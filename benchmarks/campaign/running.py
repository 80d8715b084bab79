"""One run of the yardstick or of ``numroute route``, and the check of what it made."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import time
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from benchmarks.children import BIN, ChildError, Finished, run_measured

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.campaign.prepare import Material

KILL_SECONDS_MAX: Final = 300


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


def check(form: str, material: Material, out: Path) -> None:
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
    numbers, is_first = np.load(material.numbers), np.load(material.is_first)
    times = np.zeros(len(numbers) + 1, np.uint8)
    for each in summary["routes"]:
        found = 0
        for name in each["files"]:
            reader = pa_csv.read_csv if form == "csv" else pq.read_table
            table = reader(out / name).select(["row_id", "number"])
            row_id = table["row_id"].to_numpy().astype(np.int64)
            np.testing.assert_array_equal(numbers[row_id - 1], table["number"].to_numpy())
            assert is_first[row_id - 1].all()
            times[row_id] += 1
            found += len(row_id)
        assert found == each["numbers"], each["name"]
    for name in summary["rejects_files"]:
        times[pa_csv.read_csv(out / name)["row_id"].to_numpy()] += 1
    assert (times[1:] == 1).all(), "a row is missing, or stands twice"


def digest(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file of a folder."""
    found = {}
    for path in sorted(folder.iterdir()):
        with path.open("rb") as file:
            found[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def kill_and_resume(form: str, material: Material, out: Path) -> float:
    """Kill a run with SIGKILL after its first final part, resume it, return the second's seconds.

    Raises:
        ChildError: The run ended before it could be killed.
    """
    shutil.rmtree(out, ignore_errors=True)
    child = subprocess.Popen(
        [str(word) for word in command(form, material, out)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    state = out.parent / f".{out.name}.numroute" / "state.json"
    end = time.monotonic() + KILL_SECONDS_MAX
    while not state.exists() and child.poll() is None and time.monotonic() < end:
        time.sleep(0.01)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    if not state.exists():
        raise ChildError("the run ended before its first part was final")
    return run_measured(command(form, material, out, "--resume")).seconds
