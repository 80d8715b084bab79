"""Faults around a store: killed commands, full and read-only disks, damage, two writers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from support.mounts import MOUNT, mounted
from support.registry import command, write_registry
from support.servers import running

from numroute import Client
from numroute.index import SnapshotStore, verify_snapshot

NUMBER = "+79000000012"


def build(store: Path, files: Path) -> str:
    """Build once more and return the id."""
    result = command("numroute-load", "build", "--store", store, "--json", files)
    assert result.status == 0, result.err
    return json.loads(result.out)["snapshot"]["id"]


def test_commands_killed_at_random_moments_leave_a_good_store(tmp_path: Path) -> None:
    """A dozen of the points of `make faults`: nothing lost or wrong, and one command mends."""
    program = Path(__file__).with_name("killing.py")
    words = [program, "--points", "12", "--seed", str(os.getpid()), "--folder", tmp_path]
    done = subprocess.run(
        [sys.executable, *map(str, words)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary["killed"] == 12
    assert set(summary["killed_in"]) >= {"apply", "build", "prune", "rollback"}
    assert summary["batches_read_in_process"] > 0
    service = summary["service"]
    assert min(service["answers"].values()) > 0
    assert service["snapshots_seen"] > 1


def test_a_full_disk_leaves_the_last_snapshot_and_pruning_makes_room(tmp_path: Path) -> None:
    """No room: build and override fail and say so, lookups go on, prune frees, build works."""
    files = write_registry(tmp_path / "files")
    trial = tmp_path / "trial"
    built = build(trial, files)
    size = SnapshotStore(trial).snapshot_path(built).stat().st_size
    small = tmp_path / "small"
    with mounted(small, "-t", "tmpfs", "-o", f"size={6 * size}", "none"):
        store = small / "store"
        keep = ("--keep-last", 100)
        ids = [build(store, files)]
        while True:
            result = command("numroute-load", "build", "--store", store, *keep, files)
            if result.status:
                break
            ids.append(SnapshotStore(store).current_id())
        assert "No space left on device" in result.err
        assert "full" in result.err
        opened = SnapshotStore(store)
        assert opened.current_id() == ids[-1]
        assert sorted(opened.ids()) == sorted(ids)
        verify_snapshot(opened.snapshot_path(ids[-1]))
        overrides = tmp_path / "overrides.csv"
        overrides.write_text("number,operator,reason,author\n79000000012,mTELE2,why,me\n")
        words = ("numroute-load", "override", "apply", "--store", store, *keep, overrides)
        assert "No space left on device" in command(*words).err
        # To the last byte: even the record of what is removed finds no room.
        filler = small / "filler"
        with pytest.raises(OSError, match="No space left"):
            filler.write_bytes(bytes(6 * size))
        assert command("numroute", "lookup", "--store", store, NUMBER).status == 0
        result = command("numroute-load", "prune", "--store", store, "--keep-last", 2)
        assert result.status == 0, result.err
        assert sorted(opened.ids()) == sorted(ids[-2:])
        pruned = {e["snapshot"] for e in opened.history() if e["event"] == "pruned"}
        assert pruned == set(ids[:-2])
        assert command("numroute-load", "build", "--store", store, files).status == 0
        assert command(*words).status == 0


def test_a_read_only_mount_is_read_and_says_why_it_is_not_written(tmp_path: Path) -> None:
    """Reading commands work; each that writes names the store and what to look at."""
    files = write_registry(tmp_path / "files")
    build(tmp_path / "store", files)
    build(tmp_path / "store", files)
    view = tmp_path / "view"
    with mounted(view, "--bind", str(tmp_path / "store")):
        subprocess.run([MOUNT, "-o", "remount,ro,bind", view], check=True)
        for words in (
            ("numroute", "lookup", "--store", view, NUMBER),
            ("numroute", "explain", "--store", view, NUMBER),
            ("numroute", "info", "--store", view),
            ("numroute-load", "history", "--store", view),
            ("numroute-load", "diff", "--store", view),
            ("numroute-load", "verify", "--store", view),
        ):
            result = command(*words)
            assert result.status == 0, result.err
        for words in (
            ("build", "--store", view, files),
            ("rollback", "previous", "--store", view),
            ("prune", "--store", view),
            ("pin", "current", "--store", view),
            ("override", "clear", "--store", view),
        ):
            result = command("numroute-load", *words)
            assert result.status == 1
            assert f"{view}: cannot be written: Read-only file system" in result.err
            assert "Check owner and mount" in result.err


def test_two_loaders_at_once_do_not_mix(tmp_path: Path) -> None:
    """Of several builds at the same time each publishes whole or is told of another."""
    files = write_registry(tmp_path / "files")
    store = tmp_path / "store"
    build(store, files)
    words = [sys.executable, "-m", "numroute_loader.cli", "build", "--store", store, files]
    words[1:3] = ["-c", "from numroute_loader.cli import main; main()"]
    loaders = [
        subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    ended = [(loader.communicate()[1], loader.returncode) for loader in loaders]
    for said, status in ended:
        refused = ("another process is writing to the store", "when the files were read, and is")
        assert status == 0 or any(reason in said for reason in refused), said
    published = sum(status == 0 for _, status in ended)
    assert published >= 1
    opened = SnapshotStore(store)
    assert len(opened.ids()) == len(opened.moments()) == 1 + published
    assert not opened.read_history().damaged
    for each in opened.ids():
        verify_snapshot(opened.snapshot_path(each))


def test_a_flipped_byte_is_refused_while_the_service_goes_on(tmp_path: Path) -> None:
    """Verify and rollback refuse the damaged snapshot; a service answers from the other one."""
    files = write_registry(tmp_path / "files")
    store = tmp_path / "store"
    first = build(store, files)
    with running(tmp_path, store) as server, Client(server.target) as client:
        second = build(store, files)
        server.wait_for_log("snapshot in service", 2)
        path = SnapshotStore(store).snapshot_path(first)
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
        result = command("numroute-load", "verify", "--store", store, first)
        assert "not what was written" in result.err
        result = command("numroute-load", "rollback", "previous", "--store", store)
        assert result.status == 1
        assert "not what was written" in result.err
        assert SnapshotStore(store).current_id() == second
        assert client.snapshot().snapshot.id == second


def test_a_service_whose_pointer_leads_nowhere_goes_on(tmp_path: Path) -> None:
    """CURRENT naming nothing is logged; answers go on; one command mends it."""
    files = write_registry(tmp_path / "files")
    store = tmp_path / "store"
    first = build(store, files)
    asked = np.array([79_000_000_012], np.uint64)
    with running(tmp_path, store) as server, Client(server.target) as client:
        (store / "CURRENT").write_text("20200101T000000Z-000000\n")
        server.wait_for_log("snapshot refused")
        assert client.lookup(asked).snapshot.id == first
        assert "rollback" in command("numroute", "lookup", "--store", store, NUMBER).err
        result = command("numroute-load", "rollback", "previous", "--store", store)
        assert result.status == 0, result.err
        assert SnapshotStore(store).current_id() == first
        (store / "CURRENT").unlink()
        time.sleep(0.5)
        assert client.lookup(asked).snapshot.id == first
        second = build(store, files)
        server.wait_for_log("snapshot in service", 2)
        assert client.lookup(asked).snapshot.id == second
