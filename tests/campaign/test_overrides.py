"""Campaign lists follow the overrides of the snapshot that answers."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
from support.registry import command
from support.servers import running

from numroute.index import SnapshotStore
from numroute.model import Status


@pytest.fixture
def own_store(store: Path, tmp_path: Path) -> Path:
    """Return a copy of the store that a test may change."""
    return Path(shutil.copytree(store, tmp_path / "own"))


def route(source: tuple[object, ...], numbers: list[int], out: Path) -> dict[int, dict[str, str]]:
    """Route a list; return the row of each number in any output, the rejects' reasons too."""
    listed = out.with_suffix(".csv")
    listed.write_text("phone\n" + "".join(f"+{number}\n" for number in numbers))
    done = command("numroute", "route", *source, "--out", out, listed)
    assert done.status == 0, done.err
    rows = {}
    for path in out.glob("*.csv"):
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                number = row.get("number") or numbers[int(row["row_id"]) - 1]
                rows[int(number)] = row
    assert rows.keys() == set(numbers)
    return rows


@pytest.mark.parametrize("way", ["store", "service"])
def test_a_list_follows_an_override(own_store: Path, planted, tmp_path: Path, way: str) -> None:
    """Overridden numbers, ported, home, in a range and nobody's, change; all others stay."""
    known = np.unique(planted.numbers[planted.numbers > 0])
    with SnapshotStore(own_store).open() as snapshot:
        found = snapshot.lookup(known).route
        status = np.array([snapshot.route(row).status for row in found.tolist()])
        of = {each: known[status == each].tolist() for each in Status}
        spread = np.arange(79_000_000_000, 80_000_000_000, 100_003, np.uint64)
        rows = snapshot.lookup(spread).route
        held = np.array(
            [snapshot.route(row).status.has_route for row in range(snapshot.route_count)]
        )
        nobodys = int(spread[~held[rows]][0])
        target = snapshot.route(int(found[status == Status.NOT_PORTED][-1])).operator
    ported, others = of[Status.PORTED][:2], of[Status.NOT_PORTED]
    home, first = others[0], others[10]
    ranged = [number for number in others if first <= number <= first + 50_000]
    asked = [*ported, home, nobodys, *ranged, *others[200:300]]
    file = tmp_path / "overrides.csv"
    file.write_text(
        "number,last,operator,mcc,mnc,reason,author\n"
        + "".join(
            f"{a},{b},{target.code},999,{mnc},why,me\n"
            for mnc, (a, b) in enumerate(
                [(ported[0], ""), (home, ""), (nobodys, ""), (first, first + 50_000)], 10
            )
        )
    )

    def routed(name: str) -> dict[int, dict[str, str]]:
        if way == "store":
            return route(("--store", own_store), asked, tmp_path / name)
        with running(tmp_path, own_store) as server:
            return route(("--target", server.target), asked, tmp_path / name)

    before = routed("before")
    applied = command("numroute-load", "override", "apply", "--store", own_store, file)
    assert applied.status == 0, applied.err
    after = routed("after")
    network = {ported[0]: "10", home: "11", nobodys: "12"} | dict.fromkeys(ranged, "13")
    for number in asked:
        if number not in network:
            assert after[number] == before[number]
            continue
        row = after[number]
        assert (row["mcc"], row["mnc"]) == ("999", network[number])
        assert row["operator"] == (target.brand or target.name or target.code)
        assert row["route"] == (target.brand or target.name or target.code)
        assert row["status"] == ("PORTED" if number == ported[0] else "NOT_PORTED")
    assert "mcc" not in before[nobodys]
    cleared = command("numroute-load", "override", "clear", "--store", own_store)
    assert cleared.status == 0, cleared.err
    assert routed("cleared") == before
