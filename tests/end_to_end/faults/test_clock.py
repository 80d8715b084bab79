"""A machine's clock that goes backwards, around real commands and a real service."""

from __future__ import annotations

import json
import os
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from support.registry import command, write_registry
from support.replay import BIN
from support.servers import running

from numroute import Client
from numroute.index import SnapshotStore, verify_snapshot

NUMBER = "+79000000012"
LIBRARIES = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
needs_faketime = pytest.mark.skipif(
    not LIBRARIES, reason="needs libfaketime (Debian's package libfaketime)"
)


SLEEP = "import select, time; time.sleep = lambda seconds: select.select([], [], [], seconds)"
"""libfaketime 0.9.10 refuses an absolute sleep by the monotonic clock, which it leaves alone."""


def shifted(offset: str) -> dict[str, str]:
    """Return the environment of a process whose clock is off by so much."""
    return {
        **os.environ,
        "LD_PRELOAD": str(LIBRARIES[0]),
        "FAKETIME": offset,
        # A machine's clock that is set moves no timeouts.
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }


def build_by(offset: str, store: Path, files: Path) -> str:
    """Build by such a clock, in a process of its own where it is off; return the id."""
    words = ("numroute-load", "build", "--store", store, "--json", files)
    if not offset:
        done = command(*words)
        assert done.status == 0, done.err
        return json.loads(done.out)["snapshot"]["id"]
    ended = subprocess.run(
        [BIN / words[0], *map(str, words[1:])],
        env=shifted(offset), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)["snapshot"]["id"]


@needs_faketime
def test_commands_by_a_clock_that_was_set_back_keep_the_order_of_events(tmp_path: Path) -> None:
    """Built three days ahead, now, and three days behind: what came last is newest and current."""
    store = tmp_path / "store"
    files = write_registry(tmp_path / "files")
    opened = SnapshotStore(store, create=True)
    ids = []
    for offset in ("+3d", "", "-3d"):
        ids.append(build_by(offset, store, files))
        assert opened.current_id() == ids[-1]
        # What became current by a clock that was ahead is known to be so now, not since when.
        assert opened.current_at(datetime.now(UTC) + timedelta(seconds=1)) == ids[-1]
    first, *_, last = opened.history()
    assert first["at"] > datetime.now(UTC) + timedelta(days=2)
    assert last["at"] < datetime.now(UTC) - timedelta(days=2)
    assert [moment.snapshot for moment in opened.moments()] == ids
    assert opened.previous_id() == ids[1]
    back = command("numroute-load", "rollback", "previous", "--store", store)
    assert back.status == 0, back.err
    assert (opened.current_id(), opened.previous_id()) == (ids[1], ids[2])
    pruned = command("numroute-load", "prune", "--keep-last", "1", "--store", store)
    assert pruned.status == 0, pruned.err
    assert set(opened.ids()) == {ids[1], ids[2]}
    assert command("numroute", "lookup", "--store", store, NUMBER).status == 0
    shown = command("numroute-load", "history", "--store", store)
    assert shown.status == 0, shown.err
    for each in opened.ids():
        verify_snapshot(opened.snapshot_path(each))


@needs_faketime
def test_a_service_whose_clock_is_set_back_answers_on(tmp_path: Path, monkeypatch) -> None:
    """It follows new snapshots, and an override that had expired applies again."""
    store = tmp_path / "store"
    build = ("numroute-load", "build", "--store", store)
    files = write_registry(tmp_path / "files")
    assert command(*build, files).status == 0
    overrides = tmp_path / "overrides.csv"
    expires = (datetime.now(UTC) + timedelta(days=1)).isoformat(timespec="seconds")
    overrides.write_text(
        f"number,operator,reason,author,expires\n{NUMBER[1:]},mTELE2,why,me,{expires}\n"
    )
    done = command("numroute-load", "override", "apply", "--store", store, overrides)
    assert done.status == 0, done.err
    offset = tmp_path / "offset"
    offset.write_text("+3d")
    for name, value in shifted("+0").items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("FAKETIME")
    monkeypatch.setenv("FAKETIME_TIMESTAMP_FILE", str(offset))
    monkeypatch.setenv("FAKETIME_NO_CACHE", "1")
    with running(tmp_path, store, before=SLEEP) as server:
        monkeypatch.undo()
        with Client(server.target) as client:

            def operator() -> str:
                answers = client.lookup(np.array([int(NUMBER[1:])], np.uint64))
                return answers.routes[int(answers.route_index[0])].operator.code

            ahead = client.snapshot().age_seconds
            assert operator() == "mMEGAFON"
            offset.write_text("-1d")
            assert operator() == "mTELE2"
            assert client.snapshot().age_seconds < ahead - 3 * 86_400
            assert command(*build, files).status == 0
            server.wait_for_log("snapshot in service", 2)
            assert client.snapshot().snapshot.id == SnapshotStore(store).current_id()
            assert operator() == "mTELE2"
        assert not [line for line in server.log() if line["level"] == "error"]


def test_data_of_the_future_are_refused_and_told_where_they_were_allowed(tmp_path: Path) -> None:
    """The gate names the hours; allowed, they answer, `info` wonders, one command goes back."""
    store = tmp_path / "store"
    build = ("numroute-load", "build", "--store", store)
    files = write_registry(tmp_path / "files")
    assert command(*build, files).status == 0
    good = SnapshotStore(store).current_id()
    ahead = ("--as-of", (datetime.now(UTC) + timedelta(hours=50)).isoformat(timespec="seconds"))
    refused = command(*build, *ahead, files)
    assert refused.status == 1
    assert "hours ahead of the clock" in refused.err
    assert "Check the machine's clock" in refused.err
    assert SnapshotStore(store).current_id() == good
    allowed = command(*build, *ahead, "--allow", "clock", "--reason", "a drill", files)
    assert allowed.status == 0, allowed.err
    opened = SnapshotStore(store)
    assert opened.current_id() != good
    assert opened.current_at(datetime.now(UTC)) == opened.current_id()
    assert command("numroute", "lookup", "--store", store, NUMBER).status == 0
    assert "in the future: is the clock right?" in command("numroute", "info", "--store", store).out
    told = json.loads(command("numroute", "info", "--store", store, "--json").out)
    assert -51 * 3600 < told["age_seconds"] < -49 * 3600
    with running(tmp_path, store) as server, Client(server.target) as client:
        assert -51 * 3600 < client.snapshot().age_seconds < -49 * 3600
        assert client.lookup_text([NUMBER])[0].route.operator.code == "mMEGAFON"
    # Every later dump looks old beside it.
    assert "age: " in command(*build, files).err
    back = command("numroute-load", "rollback", "previous", "--store", store)
    assert back.status == 0, back.err
    assert command(*build, files).status == 0


def test_a_question_about_the_future_is_refused(tmp_path: Path) -> None:
    """By the store and by the service, with the reason."""
    store = tmp_path / "store"
    files = write_registry(tmp_path / "files")
    assert command("numroute-load", "build", "--store", store, files).status == 0
    when = (datetime.now(UTC) + timedelta(hours=1)).isoformat(timespec="seconds")
    with running(tmp_path, store) as server:
        for program in ("lookup", "explain"):
            for where in (("--store", store), ("--target", server.target)):
                asked = command("numroute", program, *where, NUMBER, "--as-of", when)
                assert asked.status == 1
                assert "lies in the future" in asked.err
                assert "is the clock right?" in asked.err
