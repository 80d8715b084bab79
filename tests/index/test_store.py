"""The store: publishing, the pointer, the lock, and what crashes and foreign hands leave behind."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from support.snapshots import AS_OF, make_content, make_routes

import numroute.index.publishing as publishing_module
from numroute.errors import (
    NoSnapshotError,
    SnapshotCorruptError,
    StoreAccessError,
    StoreBusyError,
    StoreMissingError,
)
from numroute.index import SnapshotStore, writing

CONTENT = make_content(
    {79_000_000_012: 2}, {79_000_000_000: 3, 79_000_003_584: 0}, make_routes(1, 1)
)


def publish(store: SnapshotStore) -> str:
    """Publish the same small content once more and return its id."""
    with writing(store) as writer:
        return writer.publish(CONTENT, as_of=AS_OF, sources=(), counts={"ported": 1}).snapshot_id


def test_what_is_published_is_current_and_private(tmp_path: Path) -> None:
    """A published snapshot is opened by default; every file is 0600 and every folder 0700."""
    store = SnapshotStore(tmp_path / "store", create=True)
    first, second = publish(store), publish(store)
    assert first != second
    assert store.current_id() == second
    assert store.ids() == sorted([first, second])
    with store.open() as snapshot:
        assert snapshot.metadata.snapshot_id == second
        assert snapshot.lookup(np.array([79_000_000_012], np.uint64)).route.tolist() == [2]
    with store.open(first) as snapshot:
        assert snapshot.metadata.snapshot_id == first
    assert [entry["snapshot"] for entry in store.history()] == [first, second]
    for path in (tmp_path / "store").rglob("*"):
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path


def test_a_missing_store_is_told_with_the_remedy(tmp_path: Path) -> None:
    """No folder, or a folder that is no store, says how to make one."""
    with pytest.raises(StoreMissingError, match="numroute-load build"):
        SnapshotStore(tmp_path / "nowhere")


def test_an_empty_store_has_no_snapshot(tmp_path: Path) -> None:
    """A store without CURRENT says so."""
    store = SnapshotStore(tmp_path, create=True)
    with pytest.raises(NoSnapshotError, match="no current snapshot"):
        store.open()


@pytest.mark.parametrize("text", ["", "\n", "../../etc/passwd", "a/b", "x" * 200])
def test_a_pointer_that_holds_no_id_is_refused(tmp_path: Path, text: str) -> None:
    """CURRENT never leads out of the store."""
    store = SnapshotStore(tmp_path, create=True)
    publish(store)
    (tmp_path / "CURRENT").write_text(text)
    with pytest.raises(NoSnapshotError, match="does not hold the id"):
        store.open()


def test_a_pointer_at_nothing_is_told(tmp_path: Path) -> None:
    """CURRENT naming a snapshot that is gone is an error with a remedy."""
    store = SnapshotStore(tmp_path, create=True)
    publish(store)
    (tmp_path / "CURRENT").write_text("20260101T000000Z-000000\n")
    with pytest.raises(NoSnapshotError, match="which is not there"):
        store.open()


def test_a_second_writer_is_refused(tmp_path: Path) -> None:
    """Only one process writes at a time; the other is told to wait."""
    store = SnapshotStore(tmp_path, create=True)
    with writing(store), pytest.raises(StoreBusyError, match="another process"):
        publish(SnapshotStore(tmp_path))
    publish(store)


HOLD_AND_HANG = """
import sys, time
from numroute.index import SnapshotStore, writing
with writing(SnapshotStore(sys.argv[1])):
    print("locked", flush=True)
    time.sleep(60)
"""


def test_the_lock_dies_with_its_process(tmp_path: Path) -> None:
    """A writer that is killed does not lock the store for ever."""
    store = SnapshotStore(tmp_path, create=True)
    with subprocess.Popen(
        [sys.executable, "-c", HOLD_AND_HANG, str(tmp_path)], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"locked\n"
        with pytest.raises(StoreBusyError):
            publish(store)
        process.kill()
    publish(store)


def test_leftovers_of_a_crash_are_removed(tmp_path: Path) -> None:
    """Unfinished files go when the next writer comes."""
    store = SnapshotStore(tmp_path, create=True)
    kept = publish(store)
    (tmp_path / "snapshots" / ".20260101T000000Z-aaaaaa.lmdb.0a.unfinished").write_bytes(b"x")
    (tmp_path / ".CURRENT.0a.unfinished").write_text("x")
    with writing(store):
        pass
    assert store.ids() == [kept]
    assert [path.name for path in (tmp_path / "snapshots").iterdir()] == [f"{kept}.lmdb"]
    second = publish(store)
    assert store.current_id() == second
    assert not (tmp_path / ".CURRENT.0a.unfinished").exists()


def test_history_cut_by_a_crash_goes_on_in_a_line_of_its_own(tmp_path: Path) -> None:
    """Half a line at the end of the history spoils neither what stands before nor what follows."""
    store = SnapshotStore(tmp_path, create=True)
    first = publish(store)
    with (tmp_path / "history.jsonl").open("a") as file:
        file.write('{"event": "publ')
    second = publish(store)
    assert [entry["snapshot"] for entry in store.history()] == [first, second]


def test_a_full_disk_leaves_the_last_snapshot_current(tmp_path: Path, monkeypatch) -> None:
    """When the disk refuses to write, the error says so and nothing changes."""
    store = SnapshotStore(tmp_path, create=True)
    first = publish(store)

    def full(path: Path, *_: object) -> None:
        path.write_bytes(b"half")
        raise StoreAccessError(path, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(publishing_module, "write_snapshot", full)
    with pytest.raises(StoreAccessError, match="No space left"):
        publish(store)
    assert store.current_id() == first
    assert store.ids() == [first]
    assert not list((tmp_path / "snapshots").glob("*.unfinished"))


def test_a_snapshot_that_reads_back_wrong_is_not_published(tmp_path: Path, monkeypatch) -> None:
    """A byte that the disk changed between writing and reading back stops the publication."""
    store = SnapshotStore(tmp_path, create=True)
    first = publish(store)
    genuine = publishing_module.write_snapshot

    def write_and_spoil(path: Path, *rest: object) -> None:
        genuine(path, *rest)
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)

    monkeypatch.setattr(publishing_module, "write_snapshot", write_and_spoil)
    with pytest.raises(SnapshotCorruptError):
        publish(store)
    assert store.current_id() == first


def test_a_store_on_a_read_only_mount_is_read(tmp_path: Path) -> None:
    """Reading needs no right to write: no lock file, no temporary file."""
    store = SnapshotStore(tmp_path, create=True)
    first = publish(store)
    for path in [tmp_path, *tmp_path.rglob("*")]:
        path.chmod(0o500 if path.is_dir() else 0o400)
    before = sorted(path.name for path in tmp_path.rglob("*"))
    try:
        with SnapshotStore(tmp_path).open() as snapshot:
            assert snapshot.metadata.snapshot_id == first
        assert sorted(path.name for path in tmp_path.rglob("*")) == before
    finally:
        for path in [tmp_path, tmp_path / "snapshots"]:
            path.chmod(0o700)


PUBLISH_FOREVER = """
import sys
sys.path[:0] = [sys.argv[2], sys.argv[2] + "/index"]
from pathlib import Path
from test_store import publish
from numroute.index import SnapshotStore
store = SnapshotStore(Path(sys.argv[1]))
print("ready", flush=True)
while True:
    publish(store)
"""


@pytest.mark.parametrize("seed", range(6))
def test_kill_during_publishing_leaves_a_good_current_snapshot(tmp_path: Path, seed: int) -> None:
    """A writer killed at any moment leaves a store whose current snapshot opens and verifies."""
    store = SnapshotStore(tmp_path, create=True)
    publish(store)
    tests = str(Path(__file__).resolve().parents[1])
    with subprocess.Popen(
        [sys.executable, "-c", PUBLISH_FOREVER, str(tmp_path), tests], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        time.sleep(0.03 + 0.037 * seed)
        process.send_signal(signal.SIGKILL)
    current = store.current_id()
    publishing_module.verify_snapshot(store.snapshot_path(current))
    assert current in {entry["snapshot"] for entry in store.history()}
    publish(store)
    assert not list((tmp_path / "snapshots").glob("*.unfinished"))


def test_one_file_may_be_open_several_times(tmp_path: Path) -> None:
    """Readers in one process share a file's map; the last to close it ends the sharing."""
    store = SnapshotStore(tmp_path, create=True)
    publish(store)
    first, second = store.open(), store.open()
    first.close()
    first.close()
    assert second.lookup(np.array([79_000_000_012], np.uint64)).route.tolist() == [2]
    second.close()
    with store.open() as third:
        assert third.route_count == 4
