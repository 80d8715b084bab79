"""``lookup`` and ``explain`` with ``--as-of``: from a store and from a service the same."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest
from support.registry import DUMP, command, write_registry
from support.servers import running

from numroute.index import SnapshotStore

MOVED = "+79000000012"


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """Build two dumps in which a number moved; serve them. Return store, target and moments."""
    folder = tmp_path_factory.mktemp("as_of")
    store = folder / "store"
    for day, owner in enumerate(("mMEGAFON,02,D7702", "mMTS,01,D7701")):
        dump = DUMP.replace("9000000012,mMEGAFON,02,D7702", f"9000000012,{owner}")
        files = write_registry(folder / f"day{day}", dump=dump)
        words = ("--store", store, "--allow", "unknown_operators", "--reason", "a test")
        result = command("numroute-load", "build", *words, files)
        assert result.status == 0, result.err
    with running(folder, store) as server:
        yield store, server.target, SnapshotStore(store).moments()


@pytest.mark.parametrize("where", ["store", "service"])
def test_the_snapshot_of_a_time_answers_and_explains(served, where: str) -> None:
    """At the first publishing, between, and at the second; without a time the current one."""
    store, target, (first, second) = served
    place = ("--store", store) if where == "store" else ("--target", target)
    for when, snapshot, owner in (
        (first.at, first.snapshot, "mMEGAFON"),
        (second.at - timedelta(milliseconds=1), first.snapshot, "mMEGAFON"),
        (second.at, second.snapshot, "mMTS"),
        (None, second.snapshot, "mMTS"),
    ):
        at = () if when is None else ("--as-of", when.isoformat())
        found = command("numroute", "lookup", *place, MOVED, *at, "--json")
        assert found.status == 0, found.err
        answer = json.loads(found.out)
        assert answer["snapshot"]["id"] == snapshot
        assert answer["route"]["operator"]["code"] == owner
        found = command("numroute", "explain", *place, MOVED, *at, "--json")
        assert found.status == 0, found.err
        told = json.loads(found.out)
        assert told["snapshot"]["id"] == snapshot
        (decides,) = [layer for layer in told["layers"] if layer["decides"]]
        assert decides["route"]["operator"]["code"] == owner


@pytest.mark.parametrize("program", ["lookup", "explain"])
def test_a_time_before_the_first_snapshot_is_told(served, program: str) -> None:
    """Both ways name the time; a time without a zone is refused before anything is asked."""
    store, target, _ = served
    for place in (("--store", store), ("--target", target)):
        words = ("numroute", program, *place, MOVED, "--as-of")
        early = command(*words, "2020-01-01T00:00:00Z")
        assert early.status == 1
        assert "no snapshot was current at 2020-01-01T00:00:00+00:00" in early.err
        for text in ("2020-01-01", "0001-01-01T00:00:00+03:00"):
            assert "has no time zone" in command(*words, text).err


def test_a_snapshot_that_is_not_kept_any_more_is_named(tmp_path: Path) -> None:
    """Store and service say which one answered then, and that it is gone."""
    store = tmp_path / "store"
    files = write_registry(tmp_path / "files")
    for _ in range(3):
        assert command("numroute-load", "build", "--store", store, files).status == 0
    opened = SnapshotStore(store)
    first, *_ = opened.moments()
    pruned = command("numroute-load", "prune", "--store", store, "--keep-last", 1)
    assert pruned.status == 0, pruned.err
    with running(tmp_path, store) as server:
        for place in (("--store", store), ("--target", server.target)):
            for program in ("lookup", "explain"):
                words = ("numroute", program, *place, MOVED, "--as-of", first.at.isoformat())
                asked = command(*words)
                assert asked.status == 1
                assert first.snapshot in asked.err
                assert "is no longer kept" in asked.err
