"""What a service announces of real snapshots: a build from dumps, then a day of increments."""

from __future__ import annotations

import asyncio
import csv
from pathlib import Path

import pytest
from support.registry import command

import numroute
from numroute.index import SnapshotStore
from numroute.model import Changes, SnapshotInfo, SnapshotNews

DATE = "2026-08-23"
Dump = dict[str, tuple[str, ...]]


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Return a day of a made-up registry: the dumps of two midnights and the windows between."""
    folder = tmp_path / "registry"
    made = command(
        *("numroute-load", "generate", folder, "--csv", "--ported", 3_000, "--date", DATE),
        *("--days", 1, "--changes-per-window", 60, "--seed", 4),
    )
    assert made.status == 0, made.err
    return folder


def dumps(files: Path) -> list[Path]:
    """Return the full dumps, the older one first."""
    return sorted(files.glob("Port_All_*.csv"), key=lambda path: path.name.split("_")[2])


def rows(dump: Path) -> Dump:
    """Return who serves each number of a dump, and by which route."""
    with dump.open(newline="", encoding="utf-8") as file:
        return {
            row["Number"]: (row["OwnerId"], row["MNC"], row["Route"], row["RegionCode"])
            for row in csv.DictReader(file, quoting=csv.QUOTE_NONE)
        }


def changes(old: Dump, new: Dump) -> dict[str, int]:
    """Return how many numbers have changed how, as a person would count them."""
    both = old.keys() & new.keys()
    return {
        "ported": len(new.keys() - old.keys()),
        "returned": len(old.keys() - new.keys()),
        "moved": sum(old[number][0] != new[number][0] for number in both),
        "updated": sum(
            old[number][0] == new[number][0] and old[number] != new[number] for number in both
        ),
    }


def load(word: str, store: Path, *paths: Path) -> None:
    """Run a command on a store."""
    done = command("numroute-load", word, "--store", store, *paths)
    assert done.status == 0, done.err


async def watched(
    target: str, store: Path, windows: list[Path]
) -> tuple[list[SnapshotNews], list[SnapshotInfo]]:
    """Apply the windows while a client watches; return what both calls said before and after."""
    async with numroute.AsyncClient(target, timeout=30.0) as client:
        watch = client.watch_snapshots()
        news = [await anext(watch)]
        infos = [await client.snapshot()]
        await asyncio.to_thread(load, "apply", store, *windows)
        news.append(await anext(watch))
        infos.append(await client.snapshot())
        await watch.aclose()
    return news, infos


def test_a_build_and_a_day_of_increments(files: Path, tmp_path: Path, run_server) -> None:
    """WatchSnapshots and GetSnapshot report how many numbers changed how, as the dumps differ."""
    store = tmp_path / "store"
    first, last = dumps(files)
    common = [path for path in files.iterdir() if path.name.startswith(("ABC-", "DEF-"))]
    operators = min(files.glob("Operators_*"), key=lambda path: path.name.split("_")[1])
    load("build", store, first, operators, *common)
    built = SnapshotStore(store).current_id()
    server = run_server(store)
    windows = sorted(files.glob("*_Increment_*"))
    news, infos = asyncio.run(watched(server.target, store, windows))
    expected = changes(rows(first), rows(last))
    assert all(expected.values()), "the registry's day has changes of every kind"
    assert news[0].changes is infos[0].changes is None
    assert news[0].snapshot.id == infos[0].snapshot.id == built
    assert news[1].changes == Changes(against=built, **expected)
    assert infos[1].changes == news[1].changes
    assert infos[1].snapshot.id == news[1].snapshot.id == SnapshotStore(store).current_id()
    assert infos[1].counts["ported"] == len(rows(last))
