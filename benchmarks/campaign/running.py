"""One run of the yardstick or of ``numroute route``, and the check of what it made."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import time
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from benchmarks.children import BIN, Finished, run_measured
from numroute.index import SnapshotStore
from numroute_campaign.lists.opening import Wanted
from numroute_campaign.outputs import OutputSettings
from numroute_campaign.routers import SnapshotRouter
from numroute_campaign.run import PART_ROWS, Campaign, run_campaign

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


def digest(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file of a folder."""
    found = {}
    for path in sorted(folder.iterdir()):
        with path.open("rb") as file:
            found[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def route_and_die(form: str, material: Material, out: Path, rows: int) -> None:
    """Route a list and end this process with SIGKILL a block behind the first final part.

    A list shorter than two parts of the usual size is cut into smaller ones, which changes no
    output.
    """
    shutil.rmtree(out, ignore_errors=True)
    state = state_of(out)
    met = 0

    def die(**_: int) -> None:
        nonlocal met
        met += state.exists()
        if met > 1:
            os.kill(os.getpid(), signal.SIGKILL)

    campaign = Campaign(
        lists=(str(material.csv if form == "csv" else material.parquet),),
        out=out,
        wanted=Wanted(region="RU"),
        output=OutputSettings(form=form),
        part_rows=min(PART_ROWS, rows // 4),
    )
    with SnapshotStore(material.store).open() as snapshot:
        run_campaign(campaign, SnapshotRouter(snapshot), die)


def state_of(out: Path) -> Path:
    """Return where a run into a folder keeps its last final part."""
    return out.parent / f".{out.name}.numroute" / "state.json"


def resume(form: str, material: Material, out: Path) -> float:
    """Resume a run that was killed; return the seconds of the rest."""
    return run_measured(command(form, material, out, "--resume")).seconds
